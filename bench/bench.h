/* bench.h - what the programs that `make bench` runs have in common.
 *
 * A program, ours or a peer, prints one line per figure to stdout, fields separated by tabs:
 *
 *     path  what  value  unit  [name]
 *
 * `path` is the hot path (sae, scvi, ...), `what` names the figure within it; a peer prints the same two
 * for the same work. Units of time are s, ms, us, ns; a unit that ends in /s is a rate; all others
 * (recall, loss, MB) are shown beside each other without a ratio. `name`: of a peer's line, which of its
 * variants; of ours, nothing. What a figure costs at least is told by a line with the same `what` and
 *
 *     path  what  amount  GFLOP  peak        peak: f32, bf16, amx (see bench_peak.c)
 *     path  what  amount  GB     peak        peak: read, triad, inflate ...
 *
 * from which run.sh prints the share of the machine's peak (of several peaks the first is the one judged). Lines with fewer fields are notes for
 * readers. Times are medians of at least three repetitions after a warm-up. */
#ifndef CPT_BENCH_BENCH_H
#define CPT_BENCH_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double bench_now(void) /* seconds on the clock */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int bench_by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_median(double *x, int n) /* sorts x */
{
    qsort(x, (size_t)n, sizeof *x, bench_by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* Numbers that a peer can make as well (peers/problem.py): "lowbias32" of a counter. */
static inline uint32_t bench_hash(uint32_t key, uint32_t i)
{
    uint32_t x = i + key * 0x9e3779b9u;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

static inline float bench_uniform(uint32_t key, uint32_t i) /* in [0, 1) */
{
    return (float)(bench_hash(key, i) >> 8) * 0x1p-24f;
}

static inline void bench_line(const char *path, const char *what, double value, const char *unit)
{
    printf("%s\t%s\t%.6g\t%s\n", path, what, value, unit);
    fflush(stdout);
}

/* The work behind a figure: unit GFLOP or GB, against which peak. */
static inline void bench_work(const char *path, const char *what, double amount, const char *unit,
                              const char *peak)
{
    printf("%s\t%s\t%.6g\t%s\t%s\n", path, what, amount, unit, peak);
    fflush(stdout);
}

#endif
