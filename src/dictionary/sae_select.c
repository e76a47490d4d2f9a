/* sae_select.c - the selection of Batch-Top-K: the k n largest pre-activations of a whole batch.
 *
 * Bussmann, Leask, Nanda 2024, "BatchTopK Sparse Autoencoders" (arXiv 2412.06410): samples share
 * one budget, so that a sample that needs more latents gets them from one that needs fewer.
 *
 * Method: the order of positive floats is that of their bits as unsigned numbers. Three histograms,
 * of 11, 11 and 10 bits, find the n-th largest value exactly without sorting or moving anything; a
 * fourth and a fifth pass count and write the chosen ones. O(n F) per pass, reading only.
 *
 * Histograms are whole numbers, so their sum over threads is the same for any number of them; equal
 * values at the edge are taken in order of sample, then latent. NaN is never chosen. */
#include "dictionary/sae_step.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { ROUNDS = 3, MAX_BUCKETS = 1 << 11 };
static const int shifts[ROUNDS] = {21, 10, 0}, widths[ROUNDS] = {11, 11, 10};

size_t cpt_sae_select_scratch(int n_threads)
{
    return (size_t)n_threads * MAX_BUCKETS;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Counts the positive values whose bits above `shift + width` are `prefix` by their next `width`
 * bits; all counts end up in the first histogram. */
static void count_bits(const float *x, int64_t n, int round, uint32_t prefix, int64_t *histograms,
                       int n_threads)
{
    const int shift = shifts[round], width = widths[round];
    const uint32_t mask = (1u << width) - 1;
    memset(histograms, 0, (size_t)n_threads * MAX_BUCKETS * sizeof *histograms);
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        int64_t *own = histograms + (int64_t)omp_get_thread_num() * MAX_BUCKETS;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++) {
            if (!(x[i] > 0)) continue;
            const uint32_t bits = bits_of(x[i]), digits = bits >> shift;
            if (round == 0 || digits >> width == prefix) own[digits & mask]++;
        }
    }
    for (int t = 1; t < n_threads; t++)
        for (int64_t b = 0; b <= mask; b++)
            histograms[b] += histograms[(int64_t)t * MAX_BUCKETS + b];
}

/* The value at place *n_chosen of the falling order; *n_chosen falls to the number of positive
 * values when there are fewer. *n_equal = how many of the values equal to it are chosen. */
static float find_edge(const float *x, int64_t n, int64_t *n_chosen, int64_t *n_equal,
                       int64_t *histograms, int n_threads)
{
    uint32_t prefix = 0;
    int64_t left = *n_chosen;
    for (int round = 0; round < ROUNDS; round++) {
        count_bits(x, n, round, prefix, histograms, n_threads);
        const int64_t n_buckets = (int64_t)1 << widths[round];
        if (round == 0) {
            int64_t n_positive = 0;
            for (int64_t b = 0; b < n_buckets; b++) n_positive += histograms[b];
            if (left > n_positive) *n_chosen = left = n_positive;
            if (left == 0) return 0;
        }
        int64_t b = n_buckets - 1;
        for (; b > 0 && histograms[b] < left; b--) left -= histograms[b];
        prefix = prefix << widths[round] | (uint32_t)b;
    }
    float edge;
    memcpy(&edge, &prefix, sizeof edge);
    *n_equal = left;
    return edge;
}

float cpt_sae_select_batch(const float *pre, int64_t n, int32_t F, int64_t n_chosen,
                           cpt_sae_active *a, int32_t *equal, int64_t *histograms, int n_threads)
{
    int64_t n_equal = 0, at = 0;
    const float edge = find_edge(pre, n * F, &n_chosen, &n_equal, histograms, n_threads);
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n_threads > 1)
    for (int64_t i = 0; i < n; i++) {
        const float *row = pre + i * F;
        int32_t above = 0, same = 0;
        for (int32_t c = 0; c < F; c++) {
            above += row[c] > edge;
            same += row[c] == edge;
        }
        a->counts[i] = n_chosen > 0 ? above : 0;
        equal[i] = n_chosen > 0 ? same : 0;
    }
    for (int64_t i = 0; i < n; i++) {
        if (equal[i] > n_equal) equal[i] = (int32_t)n_equal;
        n_equal -= equal[i];
        a->first[i] = at;
        at += a->counts[i] += equal[i];
    }
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n_threads > 1)
    for (int64_t i = 0; i < n; i++) {
        const float *row = pre + i * F;
        int64_t to = a->first[i];
        int32_t same = equal[i];
        for (int32_t c = 0; c < F && to < a->first[i] + a->counts[i]; c++) {
            if (!(row[c] > edge) && !(row[c] == edge && same-- > 0)) continue;
            a->samples[to] = (int32_t)i;
            a->latents[to] = c;
            a->values[to++] = row[c];
        }
    }
    return edge;
}
