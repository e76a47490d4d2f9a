#include "view/pair_counts.h"
#include "base/memory.h"

#include <stdlib.h>

static cpt_pair_count *find_slot(const cpt_pair_counts *p, int32_t gene, int32_t term)
{
    uint64_t h = ((uint64_t)(uint32_t)gene << 32 | (uint32_t)term) * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(h >> 20) & (p->capacity - 1);
    while (p->slots[at].gene >= 0 && (p->slots[at].gene != gene || p->slots[at].term != term))
        at = (at + 1) & (p->capacity - 1);
    return &p->slots[at];
}

static cpt_status grow_counts(cpt_pair_counts *p, cpt_err *e)
{
    cpt_pair_counts bigger = {.capacity = p->capacity ? 2 * p->capacity : 4096, .used = p->used};
    cpt_status status = cpt_alloc(&bigger.slots, bigger.capacity, sizeof *bigger.slots, e);
    if (status) return status;
    for (size_t i = 0; i < bigger.capacity; i++) bigger.slots[i].gene = -1;
    for (size_t i = 0; i < p->capacity; i++)
        if (p->slots[i].gene >= 0)
            *find_slot(&bigger, p->slots[i].gene, p->slots[i].term) = p->slots[i];
    free(p->slots);
    *p = bigger;
    return CPT_OK;
}

cpt_status cpt_pair_counts_add(cpt_pair_counts *p, int32_t gene, int32_t term, int32_t concept, cpt_err *e)
{
    if (2 * p->used >= p->capacity) {
        cpt_status status = grow_counts(p, e);
        if (status) return status;
    }
    cpt_pair_count *slot = find_slot(p, gene, term);
    if (slot->gene < 0) {
        *slot = (cpt_pair_count){gene, term, 0, -1};
        p->used++;
    }
    slot->concepts += slot->last != concept;
    slot->last = concept;
    return CPT_OK;
}

static int by_gene(const void *a, const void *b)
{
    const cpt_pair_count *x = a, *y = b;
    if (x->gene != y->gene) return x->gene < y->gene ? -1 : 1;
    if (x->concepts != y->concepts) return x->concepts > y->concepts ? -1 : 1;
    return (x->term > y->term) - (x->term < y->term);
}

size_t cpt_pair_counts_sort(cpt_pair_counts *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->capacity; i++)
        if (p->slots[i].gene >= 0) p->slots[n++] = p->slots[i];
    if (n) qsort(p->slots, n, sizeof *p->slots, by_gene);
    return n;
}
