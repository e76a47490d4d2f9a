/* review_plan.c - which units a session shows, in which order, under which names.
 *
 * Draws  Units of a kind are shuffled by (seed, kind): the first of them are taken, so that a
 * longer session of the same seed contains a shorter one. Order  Shuffled by (seed, author).
 * Repeats are drawn from the first half and put in at least a third of the session later, at a
 * random place; so no expert can remember, nor tell a repeat by its place. Names  Random digits out
 * of (seed, author, position): they tell nothing.
 *
 * Trap: neurons are active in half of the cells and concepts in a few; an expert sees that. Names
 * are hidden, but no protocol can hide what the evidence itself shows (doc/methods.md). */
#include "base/memory.h"
#include "base/random.h"
#include "notes/notes_db.h"
#include "notes/review.h"

#include <stdlib.h>
#include <string.h>

const char *const cpt_unit_kind_names[CPT_UNIT_KINDS] = {"concept", "neuron", "random"};

enum { STREAM_DRAW = 1, STREAM_ORDER, STREAM_REPEATS, STREAM_NAMES };

/* A stream for an author: FNV-1a over the name keeps experts apart. */
static void author_stream(cpt_stream *s, uint64_t seed, const char *author, uint64_t what)
{
    uint64_t h = 14695981039346656037ULL;
    for (const unsigned char *p = (const unsigned char *)author; *p; p++)
        h = (h ^ *p) * 1099511628211ULL;
    cpt_stream_init(s, seed, CPT_RANDOM_REVIEW, (h << 3 | what));
}

/* How many of each kind: 2:2:1, what one lacks goes to the others in their order. */
static void shares(const cpt_review_pool *pool, int32_t n_items, int32_t take[CPT_UNIT_KINDS])
{
    int32_t left = n_items;
    take[CPT_UNIT_CONCEPT] = (2 * n_items + 4) / 5;
    take[CPT_UNIT_NEURON] = (2 * n_items + 2) / 5;
    take[CPT_UNIT_RANDOM] = n_items - take[CPT_UNIT_CONCEPT] - take[CPT_UNIT_NEURON];
    for (int k = 0; k < CPT_UNIT_KINDS; k++) {
        if (take[k] > pool->n[k]) take[k] = pool->n[k];
        left -= take[k];
    }
    for (int k = 0; k < CPT_UNIT_KINDS; k++) {
        int32_t more = pool->n[k] - take[k] < left ? pool->n[k] - take[k] : left;
        take[k] += more;
        left -= more;
    }
}

static cpt_status draw(const cpt_review_pool *pool, const int32_t take[CPT_UNIT_KINDS],
                       uint64_t seed, cpt_review_item *items, cpt_err *e)
{
    int32_t n = 0;
    for (int k = 0; k < CPT_UNIT_KINDS; k++) {
        int32_t *order;
        cpt_stream s;
        cpt_status status = cpt_alloc(&order, (size_t)pool->n[k], sizeof *order, e);
        if (status) return status;
        for (int32_t i = 0; i < pool->n[k]; i++) order[i] = i;
        cpt_stream_init(&s, seed, CPT_RANDOM_REVIEW, (uint64_t)k << 3 | STREAM_DRAW);
        cpt_stream_shuffle_i32(&s, order, pool->n[k]);
        for (int32_t i = 0; i < take[k]; i++, n++) {
            items[n] = (cpt_review_item){
                .kind = (cpt_unit_kind)k, .unit = pool->units[k][order[i]], .repeats = -1};
            memcpy(items[n].key, pool->keys[k][order[i]], sizeof items[n].key);
        }
        free(order);
    }
    return CPT_OK;
}

/* An item of the session being made: stands at `place`; ties (repeats) keep the order of making. */
typedef struct planned {
    double place;
    int32_t base; /* item in the shuffled list */
    bool repeat;
} planned;

static int by_place(const void *a, const void *b)
{
    const planned *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return (x->base > y->base) - (x->base < y->base);
}

/* Places of all showings: item i at i, its repeat between two others. */
static void place(int32_t n, int32_t n_repeats, uint64_t seed, const char *author, int32_t *half,
                  planned *out)
{
    cpt_stream s;
    author_stream(&s, seed, author, STREAM_REPEATS);
    for (int32_t i = 0; i < n; i++) out[i] = (planned){i, i, false};
    for (int32_t i = 0; i < (n + 1) / 2; i++) half[i] = i;
    cpt_stream_shuffle_i32(&s, half, (n + 1) / 2);
    for (int32_t r = 0; r < n_repeats; r++) {
        int32_t first = half[r], earliest = first + (n + 2) / 3;
        double at = earliest + (double)cpt_stream_below(&s, (uint64_t)(n - earliest) + 1);
        out[n + r] = (planned){at - 0.5 + 0.25 * cpt_stream_uniform(&s), first, true};
    }
    qsort(out, (size_t)(n + n_repeats), sizeof *out, by_place);
}

static void name_items(cpt_review_item *items, int32_t n, uint64_t seed, const char *author)
{
    cpt_stream s;
    author_stream(&s, seed, author, STREAM_NAMES);
    for (int32_t i = 0; i < n; i++) {
        bool taken = true;
        while (taken) {
            for (int d = 0; d < CPT_REVIEW_ITEM; d++)
                items[i].item[d] = "0123456789abcdef"[cpt_stream_below(&s, 16)];
            items[i].item[CPT_REVIEW_ITEM] = '\0';
            taken = false;
            for (int32_t j = 0; j < i && !taken; j++)
                taken = strcmp(items[j].item, items[i].item) == 0;
        }
    }
}

cpt_status cpt_review_plan(const cpt_review_pool *pool, int32_t n_items, uint64_t seed,
                           const char *author, cpt_review_item **items, int32_t *n, cpt_err *e)
{
    int32_t take[CPT_UNIT_KINDS], *order = NULL, *half = NULL, *shown = NULL;
    cpt_review_item *drawn = NULL;
    planned *plan = NULL;
    cpt_stream s;
    cpt_status status;
    int64_t there = (int64_t)pool->n[0] + pool->n[1] + pool->n[2];
    *items = NULL;
    *n = 0;
    if (n_items < CPT_REVIEW_LEAST || n_items > CPT_REVIEW_MOST)
        return cpt_fail(e, CPT_ERR_USAGE, "items: %d; a session has %d to %d", n_items,
                        CPT_REVIEW_LEAST, CPT_REVIEW_MOST);
    if (there < CPT_REVIEW_LEAST)
        return cpt_fail(e, CPT_ERR_DATA,
                        "only %lld units are active in enough cells to be reviewed",
                        (long long)there);
    if (n_items > there) n_items = (int32_t)there;
    int32_t n_repeats = (n_items + 5) / 10;
    shares(pool, n_items, take);
    CPT_TRY(cpt_alloc(&drawn, (size_t)n_items, sizeof *drawn, e));
    CPT_TRY(cpt_alloc(&order, (size_t)n_items, sizeof *order, e));
    CPT_TRY(cpt_alloc(&half, (size_t)n_items, sizeof *half, e));
    CPT_TRY(cpt_alloc(&shown, (size_t)n_items, sizeof *shown, e));
    CPT_TRY(cpt_alloc(&plan, (size_t)(n_items + n_repeats), sizeof *plan, e));
    CPT_TRY(cpt_alloc(items, (size_t)(n_items + n_repeats), sizeof **items, e));
    CPT_TRY(draw(pool, take, seed, drawn, e));
    for (int32_t i = 0; i < n_items; i++) order[i] = i;
    author_stream(&s, seed, author, STREAM_ORDER);
    cpt_stream_shuffle_i32(&s, order, n_items);
    place(n_items, n_repeats, seed, author, half, plan);
    *n = n_items + n_repeats;
    for (int32_t i = 0; i < *n; i++) {
        (*items)[i] = drawn[order[plan[i].base]];
        if (plan[i].repeat) (*items)[i].repeats = shown[plan[i].base];
        else shown[plan[i].base] = i;
    }
    name_items(*items, *n, seed, author);
done:
    free(drawn);
    free(order);
    free(half);
    free(shown);
    free(plan);
    return status;
}
