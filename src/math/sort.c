/* sort.c - radix sort, 11 bits at a time: the upper half of the keys first, from its least significant digit up, then
 * within runs that agree in it, which doubles seldom do.
 *
 * Numbers    that are spread out between their extremes, as statistics and p values are, are put in order by their place
 *            on a linear scale, two digits. Where they are not, or many, by the upper half of the key, three digits,
 *            in words whose lower half is the index. Runs that share either are sorted by the numbers themselves.
 * Complexity O(3 n) for doubles, O(6 n) where keys differ in both halves; a digit that is the same in all costs nothing.
 * Trap       For short arrays the tables cost more than the data: those are sorted by insertion.
 */
#include "math/sort.h"
#include "base/memory.h"
#include "math/order.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* HALF: digits of half a key; twice as many cover 64 bits. Up to SCALE_LIMIT numbers have an index of 16 bits, and few
 * share a step of a scale of SCALE_DIGITS digits. */
enum {
    DIGIT_BITS = 11, N_BUCKETS = 1 << DIGIT_BITS, HALF = 3, UPPER = 32, SCALE_DIGITS = 2, SCALE_LIMIT = 1 << 16,
    SHORT_ARRAY = 48
};

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

/* ---- numbers ---- */

/* From counts to where the items of a digit begin; false when one digit is all there is. */
static bool begin(uint32_t n, uint32_t *counts)
{
    uint32_t sum = 0, largest = 0;
    for (int b = 0; b < N_BUCKETS; b++) {
        uint32_t here = counts[b];
        counts[b] = sum;
        sum += here;
        largest = here > largest ? here : largest;
    }
    return largest < n;
}

/* By digit d of the upper halves of items, whose lower ones say what is sorted. */
static void sort_upper(int32_t n, uint64_t **items, uint64_t **scratch, int d, uint32_t *counts)
{
    uint64_t *from = *items, *to = *scratch;
    const int shift = UPPER + d * DIGIT_BITS;
    if (!begin((uint32_t)n, counts)) return;
    for (int32_t i = 0; i < n; i++) to[counts[from[i] >> shift & (N_BUCKETS - 1)]++] = from[i];
    *items = to;
    *scratch = from;
}

static uint64_t directed_key(double x, bool descending)
{
    return descending ? ~cpt_order_key(x) : cpt_order_key(x);
}

/* The upper half of items: that of the key. */
static int32_t lay_keys(int32_t n, const double *values, bool descending, uint64_t *items,
                        uint32_t (*counts)[N_BUCKETS])
{
    int32_t m = 0;
    memset(counts, 0, HALF * sizeof *counts);
    for (int32_t i = 0; i < n; i++) {
        if (isnan(values[i])) continue;
        uint64_t item = directed_key(values[i], descending) >> UPPER << UPPER | (uint32_t)i;
        items[m++] = item;
        for (int d = 0; d < HALF; d++) counts[d][item >> (UPPER + d * DIGIT_BITS) & (N_BUCKETS - 1)]++;
    }
    return m;
}

/* Numbers of one upper half, in order of their index so far. Returns how many equal another. */
static int32_t settle_run(const double *values, bool descending, int32_t n, int32_t *order, uint64_t *keys,
                          uint64_t *scratch, int32_t *item_scratch)
{
    uint64_t differ = 0;
    int32_t n_tied = 0;
    for (int32_t i = 0; i < n; i++) {
        keys[i] = directed_key(values[order[i]], descending);
        differ |= keys[i] ^ keys[0];
    }
    if (!differ) return n;
    cpt_radix_sort(n, keys, order, scratch, item_scratch);
    for (int32_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && keys[j] == keys[i]; j++) continue;
        if (j - i > 1) n_tied += j - i;
    }
    return n_tied;
}

/* Where a call works. */
typedef struct desk {
    uint64_t *items, *other;  /* [n] */
    int32_t *more, *step;     /* [n] */
    uint16_t *first, *second; /* [n] indices by one digit, by both */
    uint32_t counts[HALF][N_BUCKETS];
} desk;

/* By steps of the way from the first number to the last, which rounding cannot turn round. Only indices move, and
 * everything stays in the first cache. false when most would share few steps, or the range is not finite. */
static bool sort_on_scale(int32_t n, const double *values, bool descending, const cpt_order_facts *facts, desk *d,
                          int32_t *n_sorted)
{
    const int32_t most = (1 << SCALE_DIGITS * DIGIT_BITS) - 1;
    const double range = 0.5 * facts->high - 0.5 * facts->low; /* halves: no overflow */
    int32_t m = 0;
    uint32_t *low = d->counts[0], *high = d->counts[1], largest = 0;
    if (!(range < INFINITY && range > 1e-290)) return false;
    cpt_order_kernels_get()->steps(n, values, 0.5 * (descending ? facts->high : facts->low),
                                   (descending ? -most : most) / range, most, d->step);
    memset(d->counts, 0, SCALE_DIGITS * sizeof *d->counts);
    for (int32_t i = 0; i < n; i++) {
        if (d->step[i] == CPT_NO_STEP) continue;
        low[d->step[i] & (N_BUCKETS - 1)]++;
        high[d->step[i] >> DIGIT_BITS]++;
        m++;
    }
    for (int b = 0; b < N_BUCKETS; b++) largest = high[b] > largest ? high[b] : largest;
    if (largest > (uint32_t)m / 4 + SHORT_ARRAY) return false;
    begin((uint32_t)m, low);
    begin((uint32_t)m, high);
    for (int32_t i = 0; i < n; i++)
        if (d->step[i] != CPT_NO_STEP) d->first[low[d->step[i] & (N_BUCKETS - 1)]++] = (uint16_t)i;
    for (int32_t i = 0; i < m; i++) d->second[high[d->step[d->first[i]] >> DIGIT_BITS]++] = d->first[i];
    *n_sorted = m;
    return true;
}

/* order[from .. to) share a key of sorting. */
static void end_run(const double *values, bool descending, int32_t from, int32_t to, desk *d, int32_t *order,
                    cpt_order_facts *facts)
{
    if (to - from > 1)
        facts->n_tied += settle_run(values, descending, to - from, order + from, d->items + from, d->other, d->more);
}

static int32_t order_on_scale(int32_t n, const double *values, bool descending, desk *d, int32_t *order,
                              cpt_order_facts *facts)
{
    int32_t m, from = 0;
    if (n > SCALE_LIMIT || !sort_on_scale(n, values, descending, facts, d, &m)) return -1;
    for (int32_t i = 0; i < m; i++) {
        order[i] = d->second[i];
        if (d->step[order[i]] == d->step[order[from]]) continue;
        end_run(values, descending, from, i, d, order, facts);
        from = i;
    }
    end_run(values, descending, from, m, d, order, facts);
    return m;
}

static int32_t order_by_keys(int32_t n, const double *values, bool descending, desk *d, int32_t *order,
                             cpt_order_facts *facts)
{
    int32_t m = lay_keys(n, values, descending, d->items, d->counts);
    for (int digit = 0; digit < HALF; digit++) sort_upper(m, &d->items, &d->other, digit, d->counts[digit]);
    for (int32_t i = 0, j; i < m; i = j) {
        order[i] = (int32_t)(uint32_t)d->items[i];
        for (j = i + 1; j < m && (d->items[j] ^ d->items[i]) >> UPPER == 0; j++)
            order[j] = (int32_t)(uint32_t)d->items[j];
        end_run(values, descending, i, j, d, order, facts);
    }
    return m;
}

int32_t cpt_order(int32_t n, const double *values, bool descending, int32_t *order, cpt_order_facts *facts,
                  uint64_t *scratch)
{
    desk d;
    int32_t m = 0;
    d.items = scratch;
    d.other = scratch + n;
    d.more = (int32_t *)(void *)(scratch + 2 * (int64_t)n);
    d.step = d.more + n;
    d.first = (uint16_t *)(void *)(scratch + 3 * (int64_t)n);
    d.second = d.first + n;
    *facts = (cpt_order_facts){0};
    cpt_order_kernels_get()->range(n, values, &facts->low, &facts->high, &facts->n_zero);
    if (n <= SHORT_ARRAY) {
        for (int32_t i = 0; i < n; i++)
            if (!isnan(values[i])) order[m++] = i;
        end_run(values, descending, 0, m, &d, order, facts);
        return m;
    }
    m = order_on_scale(n, values, descending, &d, order, facts);
    return m < 0 ? order_by_keys(n, values, descending, &d, order, facts) : m;
}

cpt_status cpt_argsort(int64_t n, const double *values, int64_t *order, cpt_err *e)
{
    cpt_status status = CPT_OK;
    uint64_t *scratch = NULL;
    int32_t *ascending = NULL;
    cpt_order_facts facts;
    if (n > INT32_MAX)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "cannot sort %lld numbers, at most %d", (long long)n,
                        INT32_MAX);
    CPT_TRY(cpt_alloc(&scratch, CPT_ORDER_SCRATCH * (size_t)n, sizeof *scratch, e));
    CPT_TRY(cpt_alloc(&ascending, (size_t)n, sizeof *ascending, e));
    int32_t m = cpt_order((int32_t)n, values, false, ascending, &facts, scratch);
    for (int32_t i = 0; i < m; i++) order[i] = ascending[i];
    for (int64_t i = 0, at = m; at < n; i++)
        if (isnan(values[i])) order[at++] = i;
done:
    free(scratch);
    free(ascending);
    return status;
}
