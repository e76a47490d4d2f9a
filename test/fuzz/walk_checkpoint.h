/* walk_checkpoint.h - touches all that a parsed checkpoint offers, for the fuzz targets: every
 * tensor is read, every value looked at (with limits, since values may be shared or cyclic). */
#ifndef CPT_FUZZ_WALK_CHECKPOINT_H
#define CPT_FUZZ_WALK_CHECKPOINT_H

#include "io/checkpoint_owned.h"

#include <stdlib.h>
#include <string.h>

enum { FUZZ_MOST_ITEMS = 1 << 16, FUZZ_MOST_VISITS = 10000, FUZZ_DEEPEST = 250 };

static inline void fuzz_read_tensor(const cpt_tensor *t)
{
    if (t->n_items < 0) abort();
    if (t->n_items > FUZZ_MOST_ITEMS) return;
    void *room = malloc((size_t)t->n_items * 8 + 1);
    cpt_err err;
    if (!room) return;
    if (cpt_tensor_read_f64(t, room, &err) != CPT_OK) abort();
    if (cpt_tensor_read_f32(t, room, &err) != CPT_OK) abort();
    (void)cpt_tensor_read_i64(t, room, &err);
    free(room);
}

static inline void fuzz_touch(const void *bytes, size_t n)
{
    volatile unsigned char sink = 0;
    for (size_t i = 0; i < n; i++) sink = (unsigned char)(sink + ((const unsigned char *)bytes)[i]);
}

static inline void fuzz_walk(const cpt_value *v, int depth, int *visits)
{
    if (++*visits > FUZZ_MOST_VISITS || depth > FUZZ_DEEPEST) return;
    int64_t n;
    switch (v->kind) {
    case CPT_VALUE_NONE:
    case CPT_VALUE_BOOL:
    case CPT_VALUE_INT:
    case CPT_VALUE_FLOAT: return;
    case CPT_VALUE_TEXT:
    case CPT_VALUE_NAME:
    case CPT_VALUE_BYTES: fuzz_touch(v->as.text.bytes, v->as.text.length + 1); return;
    case CPT_VALUE_TENSOR: fuzz_read_tensor(v->as.tensor); return;
    case CPT_VALUE_ARRAY:
        n = 1;
        for (int i = 0; i < v->as.array.n_dims; i++) n *= v->as.array.shape[i];
        if (!v->as.array.objects)
            fuzz_touch(v->as.array.data, (size_t)n * cpt_dtype_size(v->as.array.dtype));
        for (int64_t i = 0; v->as.array.objects && i < n; i++)
            fuzz_walk(v->as.array.objects[i], depth + 1, visits);
        return;
    default: n = v->kind == CPT_VALUE_DICT ? 2 * v->as.list.n : v->as.list.n;
    }
    for (int64_t i = 0; i < n; i++) fuzz_walk(v->as.list.items[i], depth + 1, visits);
}

/* Parses the bytes; a refusal must come with a message. */
static inline void fuzz_checkpoint(const void *bytes, size_t size)
{
    cpt_checkpoint *c;
    cpt_err err = {0};
    int visits = 0;
    if (cpt_checkpoint_parse("input", bytes, size, &c, &err) != CPT_OK) {
        if (c || strncmp(err.text, "input: ", 7) != 0) abort();
        return;
    }
    for (int32_t i = 0; i < c->n_tensors; i++) {
        if (cpt_checkpoint_find(c, c->tensors[i].name) != &c->tensors[i]) abort();
        fuzz_read_tensor(&c->tensors[i]);
    }
    if (c->root) fuzz_walk(c->root, 0, &visits);
    cpt_checkpoint_free(c);
}

#endif
