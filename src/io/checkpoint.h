/* checkpoint.h - named tensors and the plain values around them, out of .pt and .safetensors.
 *
 * A PyTorch file is a ZIP of stored entries: data.pkl (a pickle program) and one raw entry per
 * storage. The pickle is run by an inert machine that builds values and never imports, looks up or
 * calls anything (pickle.h). Tensors are views into the mapped file where their layout allows, else
 * gathered on request. Nothing in a file is trusted: sizes, ranges, checksums and names are checked
 * when it is opened, at the speed of memory (200 MB: some 30 ms once the file is cached).
 */
#ifndef CPT_IO_CHECKPOINT_H
#define CPT_IO_CHECKPOINT_H

#include "base/text.h"
#include "io/npy.h"

enum { CPT_TENSOR_MAX_DIMS = 16 };

typedef struct cpt_tensor {
    const char *name; /* "decoder.px_r"; nested dictionaries joined by '.' */
    cpt_dtype dtype;
    int n_dims;
    int64_t shape[CPT_TENSOR_MAX_DIMS];
    int64_t strides[CPT_TENSOR_MAX_DIMS]; /* in items */
    int64_t n_items;
    bool contiguous;       /* row-major without gaps */
    const void *data;      /* first item, inside the map; maybe unaligned */
} cpt_tensor;

/* ---- inert values (JSON-like, plus names and opaque objects) ----
 * Sets are lists, of equal keys the last one counts. A file can make values that contain
 * themselves: code that walks needs a limit, code that asks by key does not. */
typedef enum cpt_value_kind {
    CPT_VALUE_NONE, CPT_VALUE_BOOL, CPT_VALUE_INT, CPT_VALUE_FLOAT, CPT_VALUE_TEXT, CPT_VALUE_BYTES,
    CPT_VALUE_LIST, CPT_VALUE_TUPLE, CPT_VALUE_DICT, CPT_VALUE_TENSOR, CPT_VALUE_ARRAY,
    CPT_VALUE_NAME,  /* a global such as torch.nn.Module: never resolved */
    CPT_VALUE_OPAQUE /* an object of a kind not known here; items = its arguments and state */
} cpt_value_kind;

typedef struct cpt_value cpt_value;
struct cpt_value {
    cpt_value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct { const char *bytes; size_t length; } text; /* TEXT, BYTES, NAME; NUL-terminated */
        struct { cpt_value **items; int64_t n; } list;     /* LIST, TUPLE, OPAQUE; DICT: n pairs,
                                                              2n items: key, value, ... */
        const cpt_tensor *tensor;
        struct { cpt_dtype dtype; int n_dims; int64_t shape[CPT_TENSOR_MAX_DIMS]; const void *data;
                 cpt_value **objects; } array; /* numpy; objects instead of data for dtype object */
    } as;
};
const cpt_value *cpt_value_get(const cpt_value *dict, const char *key); /* NULL: absent or no dict */
const char *cpt_value_text(const cpt_value *v);                         /* NULL when not a text */

/* ---- files ---- */
typedef struct cpt_checkpoint {
    int32_t n_tensors;
    const cpt_tensor *tensors; /* in file order */
    const cpt_value *root;     /* whole content of a .pt / .pkl; NULL for safetensors */
    const cpt_strings *metadata_keys, *metadata_values; /* safetensors __metadata__ */
    struct checkpoint_owned *owned;
} cpt_checkpoint;

/* Tells .pt, legacy .pkl and .safetensors by content. Tensors inside of dictionaries, lists and
 * tuples are listed; a .pt without any is refused, as are two of one name. */
cpt_status cpt_checkpoint_open(const char *path, cpt_checkpoint **out, cpt_err *e);
void cpt_checkpoint_free(cpt_checkpoint *c);
const cpt_tensor *cpt_checkpoint_find(const cpt_checkpoint *c, const char *name);

/* The tensor must exist with exactly this shape (-1 = any length); error names tensor and shapes. */
cpt_status cpt_checkpoint_need(const cpt_checkpoint *c, const char *name, int n_dims,
                               const int64_t *shape, const cpt_tensor **out, cpt_err *e);
/* Row-major copy as f32 / f64, converted from f16, bf16, f32, f64 and integers. `out` has n_items. */
cpt_status cpt_tensor_read_f32(const cpt_tensor *t, float *out, cpt_err *e);
cpt_status cpt_tensor_read_f64(const cpt_tensor *t, double *out, cpt_err *e);
cpt_status cpt_tensor_read_i64(const cpt_tensor *t, int64_t *out, cpt_err *e);

/* ---- writing ---- */

/* .safetensors: tensors contiguous; metadata as key, value, key, value (n_metadata pairs). */
cpt_status cpt_safetensors_write(const char *path, int32_t n, const cpt_tensor *tensors,
                                 int32_t n_metadata, const char *const *metadata, cpt_err *e);

/* .pt as torch.save writes it (ZIP, protocol 2), for a tree of values whose tensors are contiguous.
 * Build the tree with cpt_tree below. Same input, same bytes. */
cpt_status cpt_torch_write(const char *path, const cpt_value *root, cpt_err *e);

/* Values for writing live in a tree and are freed with it. All return NULL when out of memory. */
typedef struct cpt_tree cpt_tree;
cpt_tree *cpt_tree_new(void);
void cpt_tree_free(cpt_tree *t);
cpt_value *cpt_tree_none(cpt_tree *t);
cpt_value *cpt_tree_bool(cpt_tree *t, bool b);
cpt_value *cpt_tree_int(cpt_tree *t, int64_t i);
cpt_value *cpt_tree_float(cpt_tree *t, double x);
cpt_value *cpt_tree_text(cpt_tree *t, const char *s);             /* copied */
cpt_value *cpt_tree_list(cpt_tree *t);                            /* append with _append */
cpt_value *cpt_tree_tuple(cpt_tree *t);
cpt_value *cpt_tree_dict(cpt_tree *t, bool ordered);              /* ordered: collections.OrderedDict */
cpt_value *cpt_tree_tensor(cpt_tree *t, cpt_dtype dtype, int n_dims, const int64_t *shape,
                           const void *data);                     /* data borrowed until written */
cpt_value *cpt_tree_text_array(cpt_tree *t, const cpt_strings *s); /* numpy object array of str */
cpt_value *cpt_tree_int_array(cpt_tree *t, const int64_t *values, int64_t n); /* numpy int64 */
bool cpt_tree_append(cpt_tree *t, cpt_value *list, cpt_value *item);
bool cpt_tree_set(cpt_tree *t, cpt_value *dict, const char *key, cpt_value *value);

#endif
