/* Reading an .h5ad: the counts alone, streamed in blocks as the import streams them, and the whole
 * import with all checks into the flat cache by cell and by gene.
 *     bench_read FILE.h5ad THREADS [TIMES [NAME]]      NAME: what the figures are called
 * bench/peers/read_peer.py measures anndata on the same file. */
#include "bench.h"

#include "base/file.h"
#include "base/memory.h"
#include "io/h5_util.h"
#include "io/import.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 22 };

static double wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double cpu(void)
{
    double sum = 0;
    for (int i = 0; i < 2; i++) {
        struct rusage u;
        getrusage(i ? RUSAGE_CHILDREN : RUSAGE_SELF, &u);
        sum += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
    }
    return sum;
}

static cpt_status read_counts(const char *path, int threads, int64_t *nnz, cpt_err *e)
{
    cpt_status status;
    h5_file f = {0};
    h5_array indices = {0}, values = {0};
    int32_t *index_block = NULL;
    float *value_block = NULL;
    CPT_TRY(h5_open(path, &f, e));
    f.n_threads = threads;
    CPT_TRY(h5_array_open(&f, "X/indices", &indices, e));
    CPT_TRY(h5_array_open(&f, "X/data", &values, e));
    CPT_TRY(cpt_alloc(&index_block, BLOCK, sizeof *index_block, e));
    CPT_TRY(cpt_alloc(&value_block, BLOCK, sizeof *value_block, e));
    *nnz = indices.shape[0];
    for (int64_t first = 0; first < *nnz; first += BLOCK) {
        int64_t n = *nnz - first < BLOCK ? *nnz - first : BLOCK;
        CPT_TRY(h5_array_read(&indices, first, n, H5T_NATIVE_INT32, index_block, e));
        CPT_TRY(h5_array_read(&values, first, n, H5T_NATIVE_FLOAT, value_block, e));
    }
done:
    h5_array_close(&indices);
    h5_array_close(&values);
    h5_close(&f);
    free(index_block);
    free(value_block);
    return status;
}

int main(int argc, char **argv)
{
    cpt_err err;
    char folder[4096];
    int64_t nnz = 0;
    if (argc < 3) return fprintf(stderr, "bench_read FILE.h5ad THREADS [TIMES]\n"), 2;
    int threads = atoi(argv[2]), times = argc > 3 ? atoi(argv[3]) : 3;
    const char *name = argc > 4 ? argv[4] : "counts";
    char what[64];
    double seconds[64];
    if (times < 1 || times > 64) return fprintf(stderr, "bench_read: 1 to 64 times\n"), 2;
    const cpt_context ctx = {.n_threads = threads};
    const cpt_import_options options = {.need_counts = true};
    snprintf(folder, sizeof folder, "%s.bench-%ld", argv[1], (long)getpid());
    for (int i = 0; i < times; i++) {
        double w = wall(), c = cpu();
        if (read_counts(argv[1], threads, &nnz, &err)) return fprintf(stderr, "%s\n", err.text), 1;
        seconds[i] = wall() - w;
        printf("read by %d threads, %.1f M counts: %.2f s (CPU %.2f), %.2f GB/s\n", threads,
               1e-6 * (double)nnz, seconds[i], cpu() - c, 8e-9 * (double)nnz / seconds[i]);
    }
    snprintf(what, sizeof what, "%s, counts in blocks", name);
    bench_line("read", what, bench_median(seconds, times), "s");
    bench_work("read", what, 8e-9 * (double)nnz, "GB", "read");
    for (int i = 0; i < times; i++) {
        double w = wall(), c = cpu();
        if (cpt_import(argv[1], folder, &options, &ctx, &err)) return fprintf(stderr, "%s\n", err.text), 1;
        seconds[i] = wall() - w;
        printf("import by %d threads, %.1f M counts: %.2f s (CPU %.2f)\n", threads, 1e-6 * (double)nnz,
               seconds[i], cpu() - c);
        cpt_remove_tree(folder, NULL);
    }
    snprintf(what, sizeof what, "%s, checked, both orders", name);
    bench_line("read", what, bench_median(seconds, times), "s");
    return 0;
}
