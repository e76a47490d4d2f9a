/* checkpoint_owned.h - what an open checkpoint owns; shared by its readers, of no use elsewhere. */
#ifndef CPT_IO_CHECKPOINT_OWNED_H
#define CPT_IO_CHECKPOINT_OWNED_H

#include "base/file.h"
#include "io/arena.h"
#include "io/checkpoint.h"

struct checkpoint_owned {
    cpt_map map;
    bool borrowed; /* the bytes of map are not ours to unmap */
    char *path;
    cpt_arena arena;     /* names, values, tensors of the value tree */
    cpt_tensor *tensors; /* named ones, in file order */
    size_t n_tensors, capacity;
    cpt_index *names;
    const cpt_value *root;    /* of a .pt or .pkl */
    cpt_strings keys, values; /* safetensors metadata */
};

/* Sets n_items and contiguous out of shape and strides; strides NULL = row-major (filled in).
 * False when a length is negative or the product overflows. */
bool cpt_tensor_lay_out(cpt_tensor *t, int n_dims, const int64_t *shape, const int64_t *strides);

/* Appends to owned->tensors; t->name must live in the arena. */
cpt_status cpt_checkpoint_add(struct checkpoint_owned *o, const cpt_tensor *t, cpt_err *e);

/* As cpt_checkpoint_open, of bytes in memory that outlive the result; `name` stands in errors. */
cpt_status cpt_checkpoint_parse(const char *name, const void *bytes, size_t size,
                                cpt_checkpoint **out, cpt_err *e);

/* The readers, one per format; errors begin with the path. */
cpt_status cpt_safetensors_read(struct checkpoint_owned *o, cpt_err *e);
cpt_status cpt_torch_read(struct checkpoint_owned *o, cpt_err *e);  /* ZIP */
cpt_status cpt_pickle_read(struct checkpoint_owned *o, cpt_err *e); /* bare pickle */

#endif
