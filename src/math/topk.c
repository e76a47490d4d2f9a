#include "math/topk.h"

#include <stdlib.h>

/* Two lists of candidates (positions, values) and a copy of the values for the selection; the lists
 * are written 16 at a time, so up to 16 behind the end. */
size_t cpt_topk_scratch(int32_t n)
{
    return 3 * ((size_t)n + 64) * sizeof(float);
}

typedef struct item {
    float value;
    int32_t position;
} item;

static int by_value_then_position(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static int by_position(const void *a, const void *b)
{
    const item *x = a, *y = b;
    return x->position < y->position ? -1 : x->position > y->position;
}

int32_t cpt_topk_reference(const float *row, int32_t n, int32_t k, float floor, int32_t *index,
                           float *value, void *scratch)
{
    item *items = scratch;
    int32_t m = 0;
    for (int32_t i = 0; i < n; i++)
        if (row[i] > floor) items[m++] = (item){row[i], i};
    qsort(items, (size_t)m, sizeof *items, by_value_then_position);
    if (m > k) m = k > 0 ? k : 0;
    qsort(items, (size_t)m, sizeof *items, by_position);
    for (int32_t i = 0; i < m; i++) {
        index[i] = items[i].position;
        value[i] = items[i].value;
    }
    return m;
}
