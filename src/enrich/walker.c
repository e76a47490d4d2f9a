/* walker.c - swapping members of a subset without leaving the region above a bound.
 *
 * Method     A swap changes the running sum by constants on three ranges of members, so whether any
 *            point still exceeds the bound is a maximum of sum * a - miss * r over unchanged arrays plus
 *            a constant per range: one SIMD pass, nothing written until the swap is accepted. The member
 *            that was highest last time is asked first, and usually settles it.
 * Complexity O(1) for most accepted swaps' tests, O(k / lanes) otherwise; O(k) to carry one out.
 * Exactness  All quantities are integers in doubles below 2^53 (ranking.h); two scores are compared as
 *            doubles first and in 128 bits when that is too close to call.
 * Trap       A subset whose weights are all 0 is scored with equal weights, a different walk.
 */
#include "enrich/walker.h"

#include <string.h>

int cpt_score_compare(double numerator1, double total1, double numerator2, double total2)
{
    double left = numerator1 * total2, right = numerator2 * total1;
    if (left > right * (1 + 1e-14) || left < right * (1 - 1e-14)) return left > right ? 1 : -1;
    __int128 l = (__int128)(int64_t)numerator1 * (int64_t)total2;
    __int128 r = (__int128)(int64_t)numerator2 * (int64_t)total1;
    return (l > r) - (l < r);
}

int cpt_element_compare(const cpt_element *a, const cpt_element *b)
{
    int c = cpt_score_compare(a->numerator, a->total, b->numerator, b->total);
    return c ? c : (a->hash > b->hash) - (a->hash < b->hash);
}

/* ---- one walker ---- */

size_t cpt_walker_bytes(int32_t k)
{
    size_t padded = ((size_t)k + 15) / 16 * 16;
    return padded * (sizeof(int32_t) + sizeof(double));
}

void cpt_walker_place(cpt_walker *w, int32_t k, void *bytes)
{
    size_t padded = ((size_t)k + 15) / 16 * 16;
    w->sum = bytes;
    w->position = (int32_t *)(w->sum + padded);
}

void cpt_walker_copy(cpt_walker *to, const cpt_walker *from, int32_t k)
{
    memcpy(to->sum, from->sum, (size_t)k * sizeof *to->sum);
    memcpy(to->position, from->position, (size_t)k * sizeof *to->position);
    to->total = from->total;
    to->hash = from->hash;
    to->peak = from->peak;
}

/* Floyd's sampling (Bentley & Floyd 1987) into a bitmap, which also sorts. */
void cpt_walker_draw(cpt_walker *w, const cpt_field *f, cpt_stream *stream, uint64_t *bitmap)
{
    for (int32_t j = f->n - f->k; j < f->n; j++) {
        int32_t t = (int32_t)cpt_stream_below(stream, (uint64_t)j + 1);
        if (bitmap[t >> 6] >> (t & 63) & 1) t = j;
        bitmap[t >> 6] |= 1ull << (t & 63);
    }
    w->total = 0;
    w->hash = 0;
    w->peak = 0;
    for (int32_t word = 0, at = 0; at < f->k; word++) {
        for (uint64_t bits = bitmap[word]; bits; bits &= bits - 1, at++) {
            int32_t p = word * 64 + __builtin_ctzll(bits);
            w->position[at] = p;
            w->sum[at] = w->total += f->weight[p];
            w->hash ^= f->hash[p];
        }
        bitmap[word] = 0;
    }
}

cpt_element cpt_walker_score(cpt_walker *w, const cpt_field *f)
{
    bool equal = w->total == 0;
    double a = f->n - f->k, r = equal ? f->k : w->total, high = 0, low = 0, last = 0;
    w->peak = 0;
    for (int32_t i = 0; i < f->k; i++) {
        double sum = equal ? i + 1 : w->sum[i], fall = (w->position[i] - i) * r;
        double top = sum * a - fall, bottom = last * a - fall;
        if (top > high) {
            high = top;
            w->peak = i;
        }
        if (bottom < low) low = bottom;
        last = sum;
    }
    return (cpt_element){high, r, w->hash, high >= -low};
}

/* ---- swaps ---- */

/* Member `from` leaves, a gene at `position` enters before member `to` (as numbered now). */
typedef struct swap {
    int32_t from, to, position;
    double loss, gain, total; /* weights of both, and the sum after */
    uint64_t hash;
} swap;

/* Point of the sum after the swap at a member that stays (numbered as before). */
static double point_after(const cpt_walker *w, const swap *s, int32_t i, double a)
{
    double sum = w->sum[i], miss = w->position[i] - i;
    if (i > s->from) {
        sum -= s->loss;
        miss += 1;
    }
    if (i >= s->to) {
        sum += s->gain;
        miss -= 1;
    }
    return sum * a - miss * s->total;
}

static double point_of_newcomer(const cpt_walker *w, const swap *s, double a)
{
    bool later = s->to > s->from; /* it enters after the place of the one that left */
    double sum = (s->to ? w->sum[s->to - 1] : 0) + s->gain - (later ? s->loss : 0);
    double miss = s->position - (s->to - (later ? 1 : 0));
    return sum * a - miss * s->total;
}

/* Highest point after the swap. */
static double highest_after(const cpt_walker *w, const cpt_field *f, const swap *s, double a)
{
    const cpt_walk_kernels *kernels = f->kernels;
    double r = s->total, best = point_of_newcomer(w, s, a), before, between, behind;
    if (s->from < s->to) { /* members between lose the leaver: sum - loss, one more miss */
        before = kernels->highest(0, s->from, w->sum, w->position, a, r);
        between = kernels->highest(s->from + 1, s->to, w->sum, w->position, a, r) - s->loss * a - r;
        behind = kernels->highest(s->to, f->k, w->sum, w->position, a, r);
    } else { /* members between gain the newcomer: sum + gain, one miss less */
        before = kernels->highest(0, s->to, w->sum, w->position, a, r);
        between = kernels->highest(s->to, s->from, w->sum, w->position, a, r) + s->gain * a + r;
        behind = kernels->highest(s->from + 1, f->k, w->sum, w->position, a, r);
    }
    behind += (s->gain - s->loss) * a;
    if (before > best) best = before;
    if (between > best) best = between;
    return behind > best ? behind : best;
}

/* The same when all weights are 0 after the swap: every member counts 1. */
static double highest_of_equals(const cpt_walker *w, const cpt_field *f, const swap *s, double a)
{
    double best = 0;
    bool later = s->to > s->from;
    int32_t place = s->to - (later ? 1 : 0);
    for (int32_t i = -1; i < f->k; i++) { /* -1: the newcomer */
        if (i == s->from) continue;
        int32_t now = i < 0 ? place : i - (i > s->from) + (i >= s->to);
        double position = i < 0 ? s->position : w->position[i];
        double v = (now + 1) * a - (position - now) * f->k;
        if (v > best) best = v;
    }
    return best;
}

static void carry_out(cpt_walker *w, const cpt_field *f, const swap *s)
{
    f->kernels->swap(f->k, s->from, s->to, s->position, s->loss, s->gain, w->position, w->sum);
    w->total = s->total;
    w->hash = s->hash;
}

static int32_t find_peak(const cpt_walker *w, int32_t k, double a, double highest)
{
    for (int32_t i = 0; i < k; i++)
        if (w->sum[i] * a - (w->position[i] - i) * w->total == highest) return i;
    return 0;
}

/* Whether a point settles that the subset stays above the bound. */
static bool above(double point, const swap *s, const cpt_element *bound)
{
    int c = cpt_score_compare(point, s->total, bound->numerator, bound->total);
    return c > 0 || (c == 0 && s->hash > bound->hash);
}

static bool try_swap(cpt_walker *w, const cpt_field *f, const swap *s, const cpt_element *bound)
{
    double a = f->n - f->k;
    if (s->total == 0) {
        swap equal = *s;
        equal.total = f->k;
        if (!above(highest_of_equals(w, f, s, a), &equal, bound)) return false;
        carry_out(w, f, s);
        w->peak = 0;
        return true;
    }
    if (w->peak != s->from && above(point_after(w, s, w->peak, a), s, bound)) {
        int32_t peak = w->peak - (w->peak > s->from) + (w->peak >= s->to);
        carry_out(w, f, s);
        w->peak = peak;
        return true;
    }
    double highest = highest_after(w, f, s, a);
    if (!above(highest, s, bound)) return false;
    carry_out(w, f, s);
    w->peak = find_peak(w, f->k, a, highest);
    return true;
}

/* Unbiased below n from 32-bit words (Lemire 2019): half the random bits of cpt_stream_below. */
static int32_t below(cpt_stream *stream, uint32_t n)
{
    uint64_t m = (uint64_t)cpt_stream_u32(stream) * n;
    if ((uint32_t)m < n)
        for (uint32_t floor = -n % n; (uint32_t)m < floor;) m = (uint64_t)cpt_stream_u32(stream) * n;
    return (int32_t)(m >> 32);
}

int32_t cpt_walker_move(cpt_walker *w, const cpt_field *f, const cpt_element *bound, int32_t tries,
                        cpt_stream *stream)
{
    int32_t accepted = 0;
    for (int32_t t = 0; t < tries; t++) {
        swap s;
        s.from = below(stream, (uint32_t)f->k);
        s.position = below(stream, (uint32_t)f->n);
        s.to = f->kernels->find(f->k, w->position, s.position);
        if (s.to < f->k && w->position[s.to] == s.position) continue; /* a member already */
        int32_t leaver = w->position[s.from];
        s.loss = f->weight[leaver];
        s.gain = f->weight[s.position];
        s.total = w->total - s.loss + s.gain;
        s.hash = w->hash ^ f->hash[leaver] ^ f->hash[s.position];
        accepted += try_swap(w, f, &s, bound);
    }
    return accepted;
}
