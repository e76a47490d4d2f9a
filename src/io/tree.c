/* Trees of values for cpt_torch_write: one arena, freed at once. Every function accepts NULL for
 * the values it is given and then fails, so that a chain of calls needs one test at its end. */
#include "io/checkpoint_owned.h"
#include "io/value.h"

#include <stdlib.h>
#include <string.h>

struct cpt_tree {
    cpt_arena arena;
};

cpt_tree *cpt_tree_new(void)
{
    return calloc(1, sizeof(cpt_tree));
}

void cpt_tree_free(cpt_tree *t)
{
    if (!t) return;
    cpt_arena_free(&t->arena);
    free(t);
}

cpt_value *cpt_tree_none(cpt_tree *t)
{
    return cpt_value_new(&t->arena, CPT_VALUE_NONE);
}

cpt_value *cpt_tree_bool(cpt_tree *t, bool b)
{
    cpt_value *v = cpt_value_new(&t->arena, CPT_VALUE_BOOL);
    if (v) v->as.boolean = b;
    return v;
}

cpt_value *cpt_tree_int(cpt_tree *t, int64_t i)
{
    return cpt_value_new_int(&t->arena, i);
}

cpt_value *cpt_tree_float(cpt_tree *t, double x)
{
    cpt_value *v = cpt_value_new(&t->arena, CPT_VALUE_FLOAT);
    if (v) v->as.number = x;
    return v;
}

cpt_value *cpt_tree_text(cpt_tree *t, const char *s)
{
    return s ? cpt_value_new_bytes(&t->arena, CPT_VALUE_TEXT, s, strlen(s)) : NULL;
}

cpt_value *cpt_tree_list(cpt_tree *t)
{
    return cpt_value_new(&t->arena, CPT_VALUE_LIST);
}

cpt_value *cpt_tree_tuple(cpt_tree *t)
{
    return cpt_value_new(&t->arena, CPT_VALUE_TUPLE);
}

cpt_value *cpt_tree_dict(cpt_tree *t, bool ordered)
{
    cpt_value *v = cpt_value_new(&t->arena, CPT_VALUE_DICT);
    if (v && ordered) cpt_node_of(v)->role = CPT_ROLE_ORDERED;
    return v;
}

cpt_value *cpt_tree_tensor(cpt_tree *t, cpt_dtype dtype, int n_dims, const int64_t *shape,
                           const void *data)
{
    cpt_tensor *tensor = cpt_arena_take(&t->arena, sizeof *tensor);
    cpt_value *v = cpt_value_new(&t->arena, CPT_VALUE_TENSOR);
    if (!tensor || !v || !cpt_tensor_lay_out(tensor, n_dims, shape, NULL)) return NULL;
    tensor->name = "";
    tensor->dtype = dtype;
    tensor->data = data;
    v->as.tensor = tensor;
    return v;
}

static cpt_value *new_array(cpt_tree *t, int64_t n)
{
    cpt_value *v = cpt_value_new(&t->arena, CPT_VALUE_ARRAY);
    if (!v) return NULL;
    v->as.array.n_dims = 1;
    v->as.array.shape[0] = n;
    return v;
}

cpt_value *cpt_tree_text_array(cpt_tree *t, const cpt_strings *s)
{
    cpt_value *v = new_array(t, s->n);
    cpt_value **items = cpt_arena_take(&t->arena, ((size_t)s->n + 1) * sizeof *items);
    if (!v || !items) return NULL;
    for (int64_t i = 0; i < s->n; i++)
        if (!(items[i] = cpt_tree_text(t, cpt_strings_get(s, i)))) return NULL;
    v->as.array.objects = items;
    return v;
}

cpt_value *cpt_tree_int_array(cpt_tree *t, const int64_t *values, int64_t n)
{
    cpt_value *v = new_array(t, n);
    if (!v || !(v->as.array.data = cpt_arena_copy(&t->arena, values, (size_t)n * sizeof *values)))
        return NULL;
    v->as.array.dtype = CPT_I64;
    return v;
}

bool cpt_tree_append(cpt_tree *t, cpt_value *list, cpt_value *item)
{
    if (!list || !item || (list->kind != CPT_VALUE_LIST && list->kind != CPT_VALUE_TUPLE))
        return false;
    return cpt_value_append(&t->arena, list, item) == CPT_PUT_DONE;
}

bool cpt_tree_set(cpt_tree *t, cpt_value *dict, const char *key, cpt_value *value)
{
    if (!dict || !value || dict->kind != CPT_VALUE_DICT) return false;
    cpt_value *k = cpt_tree_text(t, key);
    return k && cpt_value_add_pair(&t->arena, dict, k, value) == CPT_PUT_DONE;
}
