/* value.h - making and changing values (checkpoint.h): shared by the pickle reader and by cpt_tree.
 *
 * A value lives in an arena as the last member of a node, and is never taller than CPT_MOST_NESTED
 * when it is put together through these functions (a cycle counts as endless only when walked).
 */
#ifndef CPT_IO_VALUE_H
#define CPT_IO_VALUE_H

#include "io/arena.h"
#include "io/checkpoint.h"

enum { CPT_MOST_NESTED = 200 };

/* What a value stands for beyond its kind, while a file is read or written. */
typedef enum cpt_role {
    CPT_ROLE_PLAIN,
    CPT_ROLE_STORAGE, /* OPAQUE: `extra` is a torch storage */
    CPT_ROLE_DTYPE,   /* OPAQUE: a numpy dtype; `code` and `size` */
    CPT_ROLE_NDARRAY, /* ARRAY that awaits its content */
    CPT_ROLE_ORDERED  /* DICT to be written as OrderedDict */
} cpt_role;

typedef struct cpt_node {
    uint32_t height; /* 0 for a leaf, else 1 + the largest of its items when they were put in */
    uint32_t size;
    uint8_t role, code;
    int64_t capacity; /* of as.list.items, in pointers */
    const void *extra;
    cpt_value value; /* only as much of it is allocated as its kind needs (arena.h: with slack) */
} cpt_node;

static inline cpt_node *cpt_node_of(const cpt_value *v)
{
    return (cpt_node *)((uintptr_t)v - offsetof(cpt_node, value));
}

/* NULL when out of memory. */
cpt_value *cpt_value_new(cpt_arena *a, cpt_value_kind kind);
cpt_value *cpt_value_new_bytes(cpt_arena *a, cpt_value_kind kind, const void *bytes, size_t n);
cpt_value *cpt_value_new_int(cpt_arena *a, int64_t i);

typedef enum cpt_put { CPT_PUT_DONE, CPT_PUT_MEMORY, CPT_PUT_TOO_DEEP } cpt_put;
/* Room for n more items (DICT: twice as many as pairs) at once; false when out of memory. */
bool cpt_value_reserve(cpt_arena *a, cpt_value *list, int64_t n);
/* To the items of a LIST, TUPLE or OPAQUE. */
cpt_put cpt_value_append(cpt_arena *a, cpt_value *list, cpt_value *item);
/* A pair to a DICT; a key that is there already is not looked for. */
cpt_put cpt_value_add_pair(cpt_arena *a, cpt_value *dict, cpt_value *key, cpt_value *value);

/* Item i of a TUPLE (or LIST); NULL when there is none. */
cpt_value *cpt_value_item(const cpt_value *v, int64_t i);
bool cpt_value_is_text(const cpt_value *v, const char *text); /* TEXT or NAME that reads so */

#endif
