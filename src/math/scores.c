/* scores.c - areas, correlations, ranks and order statistics.
 *
 * AUROC      = Mann-Whitney U / (n1 n0), ties as one half: one linear radix sort of the scores.
 * Spearman   = Pearson of midranks.
 * Median     by quickselect with the median of three, O(n) expected.
 */
#include "base/memory.h"
#include "math/sort.h"
#include "math/statistics.h"

#include <math.h>
#include <stdlib.h>

/* Sorts keys (a score's order in the high 32 bits, its label in bit 0) by the high half. */
static void sort_high_half(int64_t n, uint64_t **keys, uint64_t **scratch)
{
    for (int shift = 32; shift < 64; shift += 11) {
        uint32_t start[2048] = {0}, sum = 0;
        uint64_t *from = *keys, *to = *scratch;
        for (int64_t i = 0; i < n; i++) start[from[i] >> shift & 2047]++;
        for (int b = 0; b < 2048; b++) {
            uint32_t here = start[b];
            start[b] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < n; i++) to[start[from[i] >> shift & 2047]++] = from[i];
        *keys = to;
        *scratch = from;
    }
}

double cpt_auroc(int64_t n, const float *score, const uint8_t *positive)
{
    uint64_t *memory = NULL;
    if (n <= 0 || n > INT32_MAX || cpt_alloc(&memory, 2 * (size_t)n, sizeof *memory, NULL)) return NAN;
    uint64_t *keys = memory, *scratch = memory + n;
    double area = NAN;
    for (int64_t i = 0; i < n; i++) {
        union {
            float value;
            uint32_t bits;
        } u = {score[i] + 0.0f};
        if (score[i] != score[i]) goto done;
        uint32_t ordered = u.bits >> 31 ? ~u.bits : u.bits | 1u << 31;
        keys[i] = (uint64_t)ordered << 32 | (positive[i] != 0);
    }
    sort_high_half(n, &keys, &scratch);
    double wins = 0; /* twice U: exact in a double below 2^53 pairs */
    int64_t n0 = 0, n1 = 0;
    for (int64_t i = 0; i < n;) {
        int64_t group0 = 0, group1 = 0;
        uint64_t value = keys[i] >> 32;
        for (; i < n && keys[i] >> 32 == value; i++) {
            group1 += (int64_t)(keys[i] & 1);
            group0 += (int64_t)(~keys[i] & 1);
        }
        wins += (double)group1 * (double)(2 * n0 + group0);
        n0 += group0;
        n1 += group1;
    }
    if (n0 && n1) area = wins / (2.0 * (double)n0 * (double)n1);
done:
    free(memory);
    return area;
}

double cpt_pearson(int64_t n, const double *x, const double *y)
{
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < n; i++) {
        mx += x[i];
        my += y[i];
    }
    mx /= (double)n;
    my /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        double dx = x[i] - mx, dy = y[i] - my;
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    if (!(xx > 0 && yy > 0)) return NAN;
    return fmax(-1, fmin(1, xy / (sqrt(xx) * sqrt(yy))));
}

/* Heap sort of `order` by value, ties by index: in place, and never worse than n log n. */
static bool before(const double *values, int64_t a, int64_t b)
{
    return values[a] < values[b] || (values[a] == values[b] && a < b);
}

static void sift_down(const double *values, int64_t *order, int64_t root, int64_t n)
{
    int64_t item = order[root];
    for (int64_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && before(values, order[child], order[child + 1])) child++;
        if (!before(values, item, order[child])) break;
        order[root] = order[child];
    }
    order[root] = item;
}

static void heap_sort(int64_t n, const double *values, int64_t *order)
{
    for (int64_t i = n / 2; i-- > 0;) sift_down(values, order, i, n);
    for (int64_t i = n; i-- > 1;) {
        int64_t largest = order[0];
        order[0] = order[i];
        order[i] = largest;
        sift_down(values, order, 0, i);
    }
}

double cpt_midranks(int64_t n, const double *values, double *ranks, int64_t *order)
{
    double ties = 0;
    if (cpt_argsort(n, values, order, NULL) != CPT_OK) { /* no memory to sort fast: sort in place */
        for (int64_t i = 0; i < n; i++) order[i] = i;
        heap_sort(n, values, order);
    }
    for (int64_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && values[order[j]] == values[order[i]]; j++) continue;
        double t = (double)(j - i), rank = 0.5 * (double)(i + 1 + j);
        ties += t * t * t - t;
        for (int64_t k = i; k < j; k++) ranks[order[k]] = rank;
    }
    return ties;
}

double cpt_spearman(int64_t n, const double *x, const double *y, cpt_err *e)
{
    double *ranks = NULL, rho = NAN;
    int64_t *order = NULL;
    if (cpt_alloc(&ranks, 2 * (size_t)n, sizeof *ranks, e)) goto done;
    if (cpt_alloc(&order, (size_t)n, sizeof *order, e)) goto done;
    cpt_midranks(n, x, ranks, order);
    cpt_midranks(n, y, ranks + n, order);
    rho = cpt_pearson(n, ranks, ranks + n);
done:
    free(ranks);
    free(order);
    return rho;
}

static void swap(double *a, double *b)
{
    double t = *a;
    *a = *b;
    *b = t;
}

/* Puts the value of rank `want` (from 0) in its place, smaller ones before it. */
static double quickselect(int64_t n, double *v, int64_t want)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (v[middle] < v[low]) swap(&v[middle], &v[low]);
        if (v[high] < v[low]) swap(&v[high], &v[low]);
        if (v[high] < v[middle]) swap(&v[high], &v[middle]);
        double pivot = v[middle];
        int64_t i = low, j = high;
        while (i <= j) { /* Hoare: equal values are spread over both sides */
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i <= j) swap(&v[i++], &v[j--]);
        }
        if (want <= j) high = j;
        else if (want >= i) low = i;
        else break;
    }
    return v[want];
}

double cpt_median(int64_t n, double *values)
{
    if (n <= 0) return NAN;
    double upper = quickselect(n, values, n / 2);
    if (n % 2) return upper;
    double lower = values[0];
    for (int64_t i = 1; i < n / 2; i++)
        if (values[i] > lower) lower = values[i];
    return lower + (upper - lower) / 2;
}

double cpt_quantile_sorted(int64_t n, const double *sorted, double q)
{
    if (n <= 0 || !(q >= 0 && q <= 1)) return NAN;
    double at = q * (double)(n - 1);
    int64_t i = (int64_t)at;
    if (i >= n - 1) return sorted[n - 1];
    return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}
