#include "base/file.h"
#include "base/memory.h"
#include "io/checkpoint.h"
#include "io/import.h"
#include "io/npy.h"
#include "study/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* `inspect`: what a file is, told by its content, and what it holds. Text formats are told apart by
 * their first lines; the readers proper then judge them when they are used. */

enum { MAX_TENSORS = 400, MAX_LINE = 1 << 24, HEAD_BYTES = 512 };

static cpt_status dump(json_t *root, char **text, cpt_err *e)
{
    *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    return *text ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

/* ---- tensors ---- */

static json_t *shape_json(int n, const int64_t *shape)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer((json_int_t)shape[i]));
    return list;
}

static json_t *tensor_json(const cpt_tensor *t)
{
    json_t *shape = shape_json(t->n_dims, t->shape);
    char *text = json_dumps(shape, 0);
    char line[256];
    snprintf(line, sizeof line, "%s %s", cpt_dtype_name(t->dtype), text ? text : "");
    free(text);
    json_decref(shape);
    return json_string(line);
}

/* Keys of the top-level dictionary of a .pt: what a model of scvi-tools or scGPT shows itself by.
 */
static json_t *root_keys(const cpt_value *root)
{
    json_t *keys = json_array();
    for (int64_t i = 0; root && root->kind == CPT_VALUE_DICT && i < root->as.list.n && i < 32;
         i++) {
        const char *key = cpt_value_text(root->as.list.items[2 * i]);
        if (key) json_array_append_new(keys, json_string(key));
    }
    return keys;
}

static cpt_status inspect_checkpoint(const char *path, char **text, cpt_err *e)
{
    cpt_checkpoint *c;
    cpt_status status = cpt_checkpoint_open(path, &c, e);
    if (status) return status;
    json_t *tensors = json_object();
    int64_t n_items = 0;
    for (int32_t i = 0; i < c->n_tensors; i++) {
        n_items += c->tensors[i].n_items;
        if (i < MAX_TENSORS)
            json_object_set_new(tensors, c->tensors[i].name, tensor_json(&c->tensors[i]));
    }
    json_t *root = json_pack("{s:s, s:i, s:I, s:o, s:o}", "kind",
                             c->root ? "PyTorch checkpoint" : "safetensors", "n_tensors",
                             c->n_tensors, "n_numbers", (json_int_t)n_items, "top_level",
                             root_keys(c->root), "tensors", tensors);
    cpt_checkpoint_free(c);
    return dump(root, text, e);
}

static cpt_status inspect_npy(const char *path, char **text, cpt_err *e)
{
    cpt_npy a;
    cpt_status status = cpt_npy_open(path, &a, e);
    if (status) return status;
    json_t *root = json_pack("{s:s, s:s, s:o}", "kind", "NumPy array", "type",
                             cpt_dtype_name(a.dtype), "shape", shape_json(a.n_dims, a.shape));
    cpt_npy_close(&a);
    return dump(root, text, e);
}

/* ---- text formats ---- */

typedef struct counts {
    int64_t lines, stanzas, obsolete, rows, negated, sets, members;
    char first[200], release[200];
} counts;

static void count_line(const char *line, counts *n)
{
    if (n->lines++ == 0) snprintf(n->first, sizeof n->first, "%s", line);
    n->stanzas += strcmp(line, "[Term]") == 0;
    n->obsolete += strcmp(line, "is_obsolete: true") == 0;
    if (strncmp(line, "data-version:", 13) == 0)
        snprintf(n->release, sizeof n->release, "%s", line + 14);
    if (line[0] == '!' || line[0] == '\0') return;
    int64_t tabs = 0;
    for (const char *p = line; *p; p++) tabs += *p == '\t';
    n->rows += tabs >= 14;
    n->negated += tabs >= 14 && strstr(line, "\tNOT") != NULL;
    n->sets += tabs >= 2;
    n->members += tabs >= 2 ? tabs - 1 : 0;
}

static cpt_status inspect_text(const char *path, char **text, cpt_err *e)
{
    char *line;
    counts n = {0};
    cpt_lines *in = cpt_lines_open(path, MAX_LINE, e);
    if (!in) return e ? e->code : CPT_ERR_IO;
    cpt_status status;
    while ((status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) count_line(line, &n);
    cpt_lines_close(in);
    if (status) return status;
    json_t *root;
    if (strncmp(n.first, "format-version:", 15) == 0)
        root = json_pack("{s:s, s:s, s:I, s:I}", "kind", "ontology (OBO)", "release", n.release,
                         "n_terms", (json_int_t)(n.stanzas - n.obsolete), "n_obsolete",
                         (json_int_t)n.obsolete);
    else if (strncmp(n.first, "!gaf-version:", 13) == 0)
        root =
            json_pack("{s:s, s:s, s:I, s:I}", "kind", "annotation (GAF)", "version", n.first + 14,
                      "n_rows", (json_int_t)n.rows, "n_not", (json_int_t)n.negated);
    else if (n.sets > 0 && n.sets == n.lines)
        root = json_pack("{s:s, s:I, s:I}", "kind", "gene sets (GMT)", "n_sets", (json_int_t)n.sets,
                         "n_members", (json_int_t)n.members);
    else
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "%s: none of the known formats: h5ad, 10x, .pt, .safetensors, .npy, obo, "
                        "gaf, gmt, dictionary folder, study",
                        path);
    return dump(root, text, e);
}

/* ---- folders ---- */

static cpt_status inspect_json_file(const char *folder, const char *name, const char *kind,
                                    char **text, cpt_err *e)
{
    char path[4096];
    json_error_t reason;
    cpt_status status = cpt_path_join(path, sizeof path, folder, name, e);
    if (status) return status;
    json_t *content = json_load_file(path, 0, &reason);
    if (!content)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: line %d: %s", path, reason.line, reason.text);
    json_t *root = json_pack("{s:s, s:o}", "kind", kind, "content", content);
    return dump(root, text, e);
}

static bool has(const char *folder, const char *name)
{
    char path[4096];
    return cpt_path_join(path, sizeof path, folder, name, NULL) == CPT_OK && cpt_path_exists(path);
}

static cpt_status inspect_folder(const char *path, char **text, cpt_err *e)
{
    char inner[4096];
    cpt_input_kind kind;
    if (has(path, "study.json")) return inspect_json_file(path, "study.json", "study", text, e);
    if (has(path, "cfg.json")) return inspect_json_file(path, "cfg.json", "dictionary", text, e);
    static const char *const models[] = {"model.pt", "best_model.pt", "model_params.pt",
                                         "model.safetensors"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (has(path, models[i])) {
            cpt_status status = cpt_path_join(inner, sizeof inner, path, models[i], e);
            return status ? status : inspect_checkpoint(inner, text, e);
        }
    cpt_status status = cpt_input_detect(path, &kind, e);
    if (status) return status;
    if (kind == CPT_INPUT_TENX_FOLDER) return cpt_import_inspect(path, text, e);
    return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                    "%s: neither a study, a dictionary, a model nor a 10x folder", path);
}

cpt_status cpt_inspect(const char *path, char **text, cpt_err *e)
{
    *text = NULL;
    if (!cpt_path_exists(path)) return cpt_fail(e, CPT_ERR_IO, "%s: no such file or folder", path);
    if (cpt_path_is_folder(path)) return inspect_folder(path, text, e);
    struct stat st; /* opening a pipe would wait for its writer */
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return cpt_fail(e, CPT_ERR_IO, "%s: not a regular file", path);
    cpt_map head;
    cpt_status status = cpt_map_open(path, &head, e);
    if (status) return status;
    const unsigned char *b = head.bytes;
    size_t n = head.size;
    bool hdf5 = n >= 8 && memcmp(b, "\x89HDF\r\n\x1a\n", 8) == 0,
         npy = n >= 6 && memcmp(b, "\x93NUMPY", 6) == 0;
    bool zip = n >= 4 && memcmp(b, "PK\3\4", 4) == 0, pickle = n >= 2 && b[0] == 0x80 && b[1] <= 5;
    bool gzip = n >= 2 && b[0] == 0x1f && b[1] == 0x8b;
    bool safetensors = n >= 10 && b[8] == '{' && b[7] == 0 && b[6] == 0;
    cpt_map_close(&head);
    size_t length = strlen(path);
    if (hdf5 || (length > 5 && strcmp(path + length - 5, ".h5ad") == 0))
        return cpt_import_inspect(path, text, e);
    if (npy) return inspect_npy(path, text, e);
    if (zip || pickle || safetensors ||
        (!gzip && length > 3 && strcmp(path + length - 3, ".pt") == 0) ||
        (length > 12 && strcmp(path + length - 12, ".safetensors") == 0))
        return inspect_checkpoint(path, text, e);
    return inspect_text(path, text, e);
}
