/* Values in an arena. Lists double their room, so that appending is O(1) amortised; the room left
 * behind stays in the arena and is at most as much again. */
#include "io/value.h"

#include <string.h>

static size_t content_size(cpt_value_kind kind)
{
    switch (kind) {
    case CPT_VALUE_NONE:
    case CPT_VALUE_BOOL:
    case CPT_VALUE_INT:
    case CPT_VALUE_FLOAT:
    case CPT_VALUE_TENSOR: return sizeof(int64_t);
    case CPT_VALUE_ARRAY: return sizeof(((cpt_value *)0)->as);
    default: return sizeof(((cpt_value *)0)->as.list);
    }
}

cpt_value *cpt_value_new(cpt_arena *a, cpt_value_kind kind)
{
    cpt_node *node = cpt_arena_take(a, offsetof(cpt_node, value.as) + content_size(kind));
    if (!node) return NULL;
    node->value.kind = kind;
    return &node->value;
}

cpt_value *cpt_value_new_bytes(cpt_arena *a, cpt_value_kind kind, const void *bytes, size_t n)
{
    cpt_value *v = cpt_value_new(a, kind);
    if (!v || !(v->as.text.bytes = cpt_arena_copy(a, bytes, n))) return NULL;
    v->as.text.length = n;
    return v;
}

cpt_value *cpt_value_new_int(cpt_arena *a, int64_t i)
{
    cpt_value *v = cpt_value_new(a, CPT_VALUE_INT);
    if (v) v->as.integer = i;
    return v;
}

static bool make_room(cpt_arena *a, cpt_value *list, int64_t need)
{
    cpt_node *node = cpt_node_of(list);
    if (need <= node->capacity) return true;
    int64_t capacity = 2 * node->capacity < need ? need : 2 * node->capacity;
    cpt_value **items = cpt_arena_take(a, (size_t)capacity * sizeof *items);
    if (!items) return false;
    if (node->capacity) memcpy(items, list->as.list.items, (size_t)node->capacity * sizeof *items);
    list->as.list.items = items;
    node->capacity = capacity;
    return true;
}

bool cpt_value_reserve(cpt_arena *a, cpt_value *list, int64_t n)
{
    int64_t have = list->kind == CPT_VALUE_DICT ? 2 * list->as.list.n : list->as.list.n;
    return make_room(a, list, have + n);
}

/* The container becomes at least one taller than what is put into it. */
static bool raise_height(cpt_value *container, const cpt_value *item)
{
    uint32_t height = cpt_node_of(item)->height + 1;
    if (height > CPT_MOST_NESTED) return false;
    if (cpt_node_of(container)->height < height) cpt_node_of(container)->height = height;
    return true;
}

cpt_put cpt_value_append(cpt_arena *a, cpt_value *list, cpt_value *item)
{
    if (!raise_height(list, item)) return CPT_PUT_TOO_DEEP;
    if (!make_room(a, list, list->as.list.n + 1)) return CPT_PUT_MEMORY;
    list->as.list.items[list->as.list.n++] = item;
    return CPT_PUT_DONE;
}

cpt_put cpt_value_add_pair(cpt_arena *a, cpt_value *dict, cpt_value *key, cpt_value *value)
{
    if (!raise_height(dict, key) || !raise_height(dict, value)) return CPT_PUT_TOO_DEEP;
    int64_t n = 2 * dict->as.list.n;
    if (!make_room(a, dict, n + 2)) return CPT_PUT_MEMORY;
    dict->as.list.items[n] = key;
    dict->as.list.items[n + 1] = value;
    dict->as.list.n++;
    return CPT_PUT_DONE;
}

cpt_value *cpt_value_item(const cpt_value *v, int64_t i)
{
    if (!v || (v->kind != CPT_VALUE_TUPLE && v->kind != CPT_VALUE_LIST)) return NULL;
    return i >= 0 && i < v->as.list.n ? v->as.list.items[i] : NULL;
}

bool cpt_value_is_text(const cpt_value *v, const char *text)
{
    return v && (v->kind == CPT_VALUE_TEXT || v->kind == CPT_VALUE_NAME) &&
           v->as.text.length == strlen(text) &&
           memcmp(v->as.text.bytes, text, v->as.text.length) == 0;
}

/* From the back, so that of two equal keys the later one counts, as in Python. */
const cpt_value *cpt_value_get(const cpt_value *dict, const char *key)
{
    if (!dict || dict->kind != CPT_VALUE_DICT) return NULL;
    for (int64_t i = dict->as.list.n - 1; i >= 0; i--) {
        const cpt_value *k = dict->as.list.items[2 * i];
        if (k->kind == CPT_VALUE_TEXT && cpt_value_is_text(k, key))
            return dict->as.list.items[2 * i + 1];
    }
    return NULL;
}

const char *cpt_value_text(const cpt_value *v)
{
    return v && v->kind == CPT_VALUE_TEXT ? v->as.text.bytes : NULL;
}
