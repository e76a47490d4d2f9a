/* sort.c - radix sort, 11 bits at a time: the upper half of the keys first, from its least significant digit up, then
 * within runs that agree in it, which doubles seldom do.
 *
 * Complexity O(3 n) for doubles, O(6 n) where keys differ in both halves; a digit that is the same in all costs nothing.
 *            Sorting by the upper half alone moves one word per item and pass, not two.
 * Trap       For short arrays the tables cost more than the data: those are sorted by insertion.
 */
#include "math/sort.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* HALF: digits of half a key; twice as many cover 64 bits. */
enum { DIGIT_BITS = 11, N_BUCKETS = 1 << DIGIT_BITS, HALF = 3, SHORT_ARRAY = 48 };

static void insertion_sort(int64_t n, uint64_t *keys, int32_t *items)
{
    for (int64_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        int32_t item = items[i];
        int64_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--) {
            keys[j] = keys[j - 1];
            items[j] = items[j - 1];
        }
        keys[j] = key;
        items[j] = item;
    }
}

/* By digits first .. first + 2, lowest first. */
static void sort_digits(int64_t n, uint64_t *keys, int32_t *items, uint64_t *key_scratch, int32_t *item_scratch,
                        int first)
{
    uint32_t counts[HALF][N_BUCKETS];
    memset(counts, 0, sizeof counts);
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < HALF; d++) counts[d][keys[i] >> (first + d) * DIGIT_BITS & (N_BUCKETS - 1)]++;
    uint64_t *from = keys, *to = key_scratch;
    int32_t *items_from = items, *items_to = item_scratch;
    for (int d = 0; d < HALF; d++) {
        int shift = (first + d) * DIGIT_BITS;
        uint32_t *start = counts[d], sum = 0;
        if (start[from[0] >> shift & (N_BUCKETS - 1)] == n) continue; /* one digit for all */
        for (int b = 0; b < N_BUCKETS; b++) {
            uint32_t here = start[b];
            start[b] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < n; i++) {
            uint32_t at = start[from[i] >> shift & (N_BUCKETS - 1)]++;
            to[at] = from[i];
            items_to[at] = items_from[i];
        }
        uint64_t *k = from;
        from = to;
        to = k;
        int32_t *t = items_from;
        items_from = items_to;
        items_to = t;
    }
    if (from != keys) {
        memcpy(keys, from, (size_t)n * sizeof *keys);
        memcpy(items, items_from, (size_t)n * sizeof *items);
    }
}

void cpt_radix_sort(int64_t n, uint64_t *keys, int32_t *items, uint64_t *key_scratch,
                    int32_t *item_scratch)
{
    if (n <= SHORT_ARRAY) {
        insertion_sort(n, keys, items);
        return;
    }
    sort_digits(n, keys, items, key_scratch, item_scratch, HALF);
    for (int64_t i = 0, end; i < n; i = end) { /* runs of one upper half: mostly of length 1 */
        uint64_t differ = 0;
        for (end = i + 1; end < n && (keys[end] ^ keys[i]) >> HALF * DIGIT_BITS == 0; end++)
            differ |= keys[end] ^ keys[i];
        if (!differ) continue;
        if (end - i <= SHORT_ARRAY) insertion_sort(end - i, keys + i, items + i);
        else sort_digits(end - i, keys + i, items + i, key_scratch, item_scratch, 0);
    }
}

void cpt_radix_sort_upper(int64_t n, uint64_t *items, uint64_t *scratch)
{
    enum { FIRST = 32 };
    uint32_t counts[HALF][N_BUCKETS];
    uint64_t *from = items, *to = scratch;
    memset(counts, 0, sizeof counts);
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < HALF; d++) counts[d][items[i] >> (FIRST + d * DIGIT_BITS) & (N_BUCKETS - 1)]++;
    for (int d = 0; d < HALF && n > 0; d++) {
        int shift = FIRST + d * DIGIT_BITS;
        uint32_t *start = counts[d], sum = 0;
        if (start[from[0] >> shift & (N_BUCKETS - 1)] == n) continue; /* one digit for all */
        for (int b = 0; b < N_BUCKETS; b++) {
            uint32_t here = start[b];
            start[b] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < n; i++) to[start[from[i] >> shift & (N_BUCKETS - 1)]++] = from[i];
        uint64_t *t = from;
        from = to;
        to = t;
    }
    if (from != items) memcpy(items, from, (size_t)n * sizeof *items);
}

cpt_status cpt_argsort(int64_t n, const double *values, int64_t *order, cpt_err *e)
{
    cpt_status status = CPT_OK;
    uint64_t *keys = NULL;
    int32_t *items = NULL;
    if (n > INT32_MAX)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "cannot sort %lld numbers, at most %d", (long long)n,
                        INT32_MAX);
    CPT_TRY(cpt_alloc(&keys, 2 * (size_t)n, sizeof *keys, e));
    CPT_TRY(cpt_alloc(&items, 2 * (size_t)n, sizeof *items, e));
    for (int64_t i = 0; i < n; i++) {
        keys[i] = cpt_order_key(values[i]);
        items[i] = (int32_t)i;
    }
    cpt_radix_sort(n, keys, items, keys + n, items + n);
    for (int64_t i = 0; i < n; i++) order[i] = items[i];
done:
    free(keys);
    free(items);
    return status;
}
