/* Opens model files: tells the format by the first bytes and hands over to its reader.
 *
 * Files that are no model file are the most frequent trouble of all (a web page or a Git LFS
 * pointer under the right name, an interrupted download): what they are is said, and what to do. */
#include "base/memory.h"
#include "io/checkpoint_owned.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

cpt_status cpt_checkpoint_add(struct checkpoint_owned *o, const cpt_tensor *t, cpt_err *e)
{
    int64_t first;
    if (o->n_tensors >= INT32_MAX)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%s: too many tensors", o->path);
    cpt_status status =
        cpt_grow(&o->tensors, &o->capacity, o->n_tensors + 1, sizeof *o->tensors, e);
    if (status) return status;
    status = cpt_index_add(o->names, t->name, (int64_t)o->n_tensors, &first, e);
    if (status) return status;
    if (first != (int64_t)o->n_tensors)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: two tensors are called '%s'; save the file again",
                        o->path, t->name);
    o->tensors[o->n_tensors++] = *t;
    return CPT_OK;
}

/* The tensors may have been sorted since they were added. */
static cpt_status index_names(struct checkpoint_owned *o, cpt_err *e)
{
    cpt_index_free(o->names);
    if (!(o->names = cpt_index_new(o->n_tensors, e))) return CPT_ERR_MEMORY;
    for (size_t i = 0; i < o->n_tensors; i++) {
        cpt_status status = cpt_index_add(o->names, o->tensors[i].name, (int64_t)i, NULL, e);
        if (status) return status;
    }
    return CPT_OK;
}

/* ---- what a file is ---- */

static bool starts_with(const cpt_map *m, size_t at, const char *bytes, size_t n)
{
    return m->size >= at + n && memcmp(m->bytes + at, bytes, n) == 0;
}
#define STARTS(at, literal) starts_with(&o->map, at, literal, sizeof(literal) - 1)

/* Web pages begin with blanks or a byte order mark now and then. */
static bool is_web_page(const cpt_map *m)
{
    static const char *const starts[] = {"<!doctype", "<html", "<?xml", "<head"};
    size_t at = 0;
    while (at < m->size && at < 512 && strchr("\xef\xbb\xbf \t\r\n", m->bytes[at]) && m->bytes[at])
        at++;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        size_t n = strlen(starts[i]);
        if (m->size - at >= n && strncasecmp((const char *)m->bytes + at, starts[i], n) == 0)
            return true;
    }
    return false;
}

/* What else ends up under the name of a model; NULL when it is none of these. */
static const char *mistaken_for(const struct checkpoint_owned *o)
{
    if (o->map.size == 0) return "is empty; download it again";
    if (STARTS(0, "version https://git-lfs.github.com/"))
        return "is a Git LFS pointer, not the file itself; run `git lfs pull`, or download the "
               "file from the web page of the repository";
    if (is_web_page(&o->map))
        return "is a web page, not a model; the download asked for a log-in or the address is "
               "wrong: open the address in a browser";
    if (STARTS(0, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"))
        return "is in the format of PyTorch before 1.6; open it with torch.load and save it again "
               "with torch.save";
    if (STARTS(0, "\x1f\x8b")) return "is compressed with gzip; unpack it with gunzip";
    if (STARTS(0, "\3757zXZ")) return "is compressed with xz; unpack it with unxz";
    if (STARTS(0, "BZh")) return "is compressed with bzip2; unpack it with bunzip2";
    if (STARTS(0, "\x28\xb5\x2f\xfd")) return "is compressed with zstd; unpack it with unzstd";
    if (STARTS(257, "ustar"))
        return "is a tar archive; unpack it with tar -xf and give the file inside";
    if (STARTS(0, "\x89HDF\r\n\x1a\n")) return "is an HDF5 file; is it the cells (.h5ad)?";
    if (STARTS(0, "\x93NUMPY")) return "is a NumPy array, not a model";
    if (STARTS(0, "\0\0\0\0\0\0\0\0\0"))
        return "begins with zeros only; the download is not complete";
    return NULL;
}

/* The length of the header (LE, 64 bit) that comes first in a .safetensors may look like any other
 * format's mark: 1 of 32 of them begin with the byte of a pickle. None of these has a plausible length
 * and a brace. */
static bool is_safetensors(const cpt_map *m)
{
    uint64_t length = 0;
    if (m->size < 9 || m->bytes[8] != '{') return false;
    for (int i = 7; i >= 0; i--) length = length << 8 | m->bytes[i];
    return length <= m->size - 8;
}

static cpt_status read_by_content(struct checkpoint_owned *o, cpt_err *e)
{
    if (is_safetensors(&o->map)) return cpt_safetensors_read(o, e);
    const char *other = mistaken_for(o);
    if (other) return cpt_fail(e, CPT_ERR_FORMAT, "%s: %s", o->path, other);
    if (STARTS(0, "PK\3\4") || STARTS(0, "PK\5\6")) return cpt_torch_read(o, e);
    if (STARTS(0, "\x80")) return cpt_pickle_read(o, e);
    if (STARTS(8, "{") || o->map.size < 8) return cpt_safetensors_read(o, e);
    return cpt_fail(
        e, CPT_ERR_FORMAT,
        "%s: is neither a PyTorch (.pt), nor a pickle (.pkl), nor a .safetensors file; is it "
        "the right one?",
        o->path);
}

/* ---- open and close ---- */

static cpt_checkpoint *new_checkpoint(const char *path, cpt_err *e)
{
    cpt_checkpoint *c = calloc(1, sizeof *c);
    struct checkpoint_owned *o = calloc(1, sizeof *o);
    if (c) c->owned = o;
    if (c && o && (o->path = cpt_strdup(path)) && (o->names = cpt_index_new(64, e))) return c;
    cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    if (!c) free(o);
    cpt_checkpoint_free(c);
    return NULL;
}

/* Of the bytes that are in place in owned->map. Takes c over: it is freed or becomes *out. */
static cpt_status parse(cpt_checkpoint *c, cpt_checkpoint **out, cpt_err *e)
{
    struct checkpoint_owned *o = c->owned;
    cpt_status status = read_by_content(o, e);
    if (!status) status = index_names(o, e);
    if (status) {
        cpt_checkpoint_free(c);
        return status;
    }
    c->n_tensors = (int32_t)o->n_tensors;
    c->tensors = o->tensors;
    c->root = o->root;
    c->metadata_keys = &o->keys;
    c->metadata_values = &o->values;
    *out = c;
    return CPT_OK;
}

cpt_status cpt_checkpoint_open(const char *path, cpt_checkpoint **out, cpt_err *e)
{
    *out = NULL;
    cpt_checkpoint *c = new_checkpoint(path, e);
    if (!c) return CPT_ERR_MEMORY;
    cpt_status status = cpt_map_open(path, &c->owned->map, e);
    if (!status) return parse(c, out, e);
    cpt_checkpoint_free(c);
    return status;
}

cpt_status cpt_checkpoint_parse(const char *name, const void *bytes, size_t size,
                                cpt_checkpoint **out, cpt_err *e)
{
    *out = NULL;
    cpt_checkpoint *c = new_checkpoint(name, e);
    if (!c) return CPT_ERR_MEMORY;
    c->owned->map = (cpt_map){bytes, size};
    c->owned->borrowed = true;
    return parse(c, out, e);
}

void cpt_checkpoint_free(cpt_checkpoint *c)
{
    if (!c) return;
    struct checkpoint_owned *o = c->owned;
    if (!o) {
        free(c);
        return;
    }
    cpt_index_free(o->names);
    cpt_strings_free(&o->keys);
    cpt_strings_free(&o->values);
    cpt_arena_free(&o->arena);
    if (!o->borrowed) cpt_map_close(&o->map);
    free(o->tensors);
    free(o->path);
    free(o);
    free(c);
}

const cpt_tensor *cpt_checkpoint_find(const cpt_checkpoint *c, const char *name)
{
    int64_t i = cpt_index_get(c->owned->names, name);
    return i < 0 ? NULL : &c->tensors[i];
}

/* ---- a tensor of a given shape ---- */

static void add_shape(cpt_text *t, int n_dims, const int64_t *shape)
{
    cpt_text_add(t, "[");
    for (int i = 0; i < n_dims; i++) {
        if (i) cpt_text_add(t, ", ");
        if (shape[i] < 0) cpt_text_add(t, "any");
        else cpt_text_addf(t, "%lld", (long long)shape[i]);
    }
    cpt_text_add(t, "]");
}

static cpt_status wrong_shape(const cpt_checkpoint *c, const cpt_tensor *t, int n_dims,
                              const int64_t *shape, cpt_err *e)
{
    cpt_text have = {0}, want = {0};
    add_shape(&have, t->n_dims, t->shape);
    add_shape(&want, n_dims, shape);
    cpt_fail(
        e, CPT_ERR_FORMAT,
        "%s: tensor '%s' has shape %s, %s was expected; the file is of another model or does not "
        "fit its settings",
        c->owned->path, t->name, cpt_text_str(&have), cpt_text_str(&want));
    cpt_text_free(&have);
    cpt_text_free(&want);
    return CPT_ERR_FORMAT;
}

static cpt_status missing_tensor(const cpt_checkpoint *c, const char *name, cpt_err *e)
{
    const char **names = calloc((size_t)c->n_tensors + 1, sizeof *names);
    const char *near = NULL;
    for (int32_t i = 0; names && i < c->n_tensors; i++) names[i] = c->tensors[i].name;
    if (names) near = cpt_nearest_word(name, names, (size_t)c->n_tensors);
    cpt_fail(e, CPT_ERR_FORMAT,
             "%s: has no tensor '%s' among its %d%s%s%s; is it of another model?", c->owned->path,
             name, c->n_tensors, near ? " (the nearest is '" : "", near ? near : "",
             near ? "')" : "");
    free(names);
    return CPT_ERR_FORMAT;
}

cpt_status cpt_checkpoint_need(const cpt_checkpoint *c, const char *name, int n_dims,
                               const int64_t *shape, const cpt_tensor **out, cpt_err *e)
{
    const cpt_tensor *t = cpt_checkpoint_find(c, name);
    *out = NULL;
    if (!t) return missing_tensor(c, name, e);
    bool fits = t->n_dims == n_dims;
    for (int i = 0; fits && i < n_dims; i++) fits = shape[i] == -1 || shape[i] == t->shape[i];
    if (!fits) return wrong_shape(c, t, n_dims, shape, e);
    *out = t;
    return CPT_OK;
}
