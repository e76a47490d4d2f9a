/* Opens model files: tells the format by the first bytes and hands over to its reader.
 *
 * Files that are no model file are the most frequent trouble of all (a web page or a Git LFS pointer
 * under the right name, an interrupted download), so what they are is said, and what to do. */
#include "base/memory.h"
#include "io/checkpoint_owned.h"

#include <stdlib.h>
#include <string.h>

cpt_status cpt_checkpoint_add(struct checkpoint_owned *o, const cpt_tensor *t, cpt_err *e)
{
    int64_t first;
    if (o->n_tensors >= INT32_MAX)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%s: too many tensors", o->path);
    cpt_status status = cpt_grow(&o->tensors, &o->capacity, o->n_tensors + 1, sizeof *o->tensors, e);
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

static bool starts_with(const cpt_map *m, size_t at, const void *bytes, size_t n)
{
    return m->size >= at + n && memcmp(m->bytes + at, bytes, n) == 0;
}
#define STARTS(at, literal) starts_with(&o->map, at, literal, sizeof(literal) - 1)

static cpt_status read_by_content(struct checkpoint_owned *o, cpt_err *e)
{
    if (STARTS(8, "{") || o->map.size < 8) return cpt_safetensors_read(o, e);
    return cpt_fail(e, CPT_ERR_FORMAT, "%s: is neither a .pt nor a .safetensors file", o->path);
}

cpt_status cpt_checkpoint_open(const char *path, cpt_checkpoint **out, cpt_err *e)
{
    *out = NULL;
    cpt_status status;
    cpt_checkpoint *c = calloc(1, sizeof *c);
    struct checkpoint_owned *o = calloc(1, sizeof *o);
    if (!c || !o || !(o->path = cpt_strdup(path))) {
        free(o);
        free(c);
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    }
    c->owned = o;
    if (!(o->names = cpt_index_new(64, e))) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    CPT_TRY(cpt_map_open(path, &o->map, e));
    CPT_TRY(read_by_content(o, e));
    CPT_TRY(index_names(o, e));
    c->n_tensors = (int32_t)o->n_tensors;
    c->tensors = o->tensors;
    c->metadata_keys = &o->keys;
    c->metadata_values = &o->values;
    *out = c;
    return CPT_OK;
done:
    cpt_checkpoint_free(c);
    return status;
}

void cpt_checkpoint_free(cpt_checkpoint *c)
{
    if (!c) return;
    struct checkpoint_owned *o = c->owned;
    cpt_index_free(o->names);
    cpt_strings_free(&o->keys);
    cpt_strings_free(&o->values);
    cpt_arena_free(&o->arena);
    cpt_map_close(&o->map);
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
    cpt_fail(e, CPT_ERR_FORMAT,
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
    cpt_fail(e, CPT_ERR_FORMAT, "%s: has no tensor '%s' among its %d%s%s%s; is it of another model?",
             c->owned->path, name, c->n_tensors, near ? " (the nearest is '" : "", near ? near : "",
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
