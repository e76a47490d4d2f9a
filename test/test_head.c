/* One head of attention, forward and back, against plain double precision: every precision that comes in parts, on every
 * level, rows cut in blocks, several directions. */
#include "base/cpu.h"
#include "base/random.h"
#include "check.h"
#include "math/head.h"

enum { MOST = 300, WIDEST = 96, DIRECTIONS = 2, STRIDE = 320, SPACE = 3 }; /* SPACE: numbers between rows */

typedef struct shape {
    int64_t n, size;
} shape;

static const shape shapes[] = {{1, 17}, {16, 20}, {33, 32}, {150, 64}, {300, 33}, {129, 96}, {161, 24}};

/* Inputs, what a plain computation makes of them, and what math/head.h does. Rows have `size` + SPACE numbers. */
static float q[MOST * (WIDEST + SPACE)], k[MOST * (WIDEST + SPACE)], v[MOST * (WIDEST + SPACE)],
    context[MOST * (WIDEST + SPACE)], g[DIRECTIONS][MOST * (WIDEST + SPACE)], bounds[MOST], sums[MOST];
static float dq[DIRECTIONS][MOST * (WIDEST + SPACE)], dk[MOST * (WIDEST + SPACE)], dv[MOST * (WIDEST + SPACE)];
static float weights[MOST * STRIDE], slopes[DIRECTIONS * MOST * STRIDE];
static double p[MOST][MOST], dp[MOST][MOST], want_context[MOST][WIDEST], want_dq[MOST][WIDEST], want_dk[MOST][WIDEST],
    want_dv[MOST][WIDEST];

static double dot(int64_t n, const float *x, const float *y)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += (double)x[j] * (double)y[j];
    return sum;
}

static void fill(const shape *z, cpt_stream *s)
{
    const int64_t step = z->size + SPACE;
    for (int64_t i = 0; i < z->n * step; i++) {
        q[i] = (float)cpt_stream_normal(s);
        k[i] = (float)cpt_stream_normal(s);
        v[i] = (float)cpt_stream_normal(s);
        for (int w = 0; w < DIRECTIONS; w++) g[w][i] = (float)cpt_stream_normal(s);
    }
}

static void plain_forward(const shape *z, double scale)
{
    const int64_t step = z->size + SPACE;
    memset(want_context, 0, sizeof want_context);
    for (int64_t i = 0; i < z->n; i++) {
        double sum = 0, longest = 0;
        for (int64_t j = 0; j < z->n; j++) sum += p[i][j] = exp(scale * dot(z->size, q + i * step, k + j * step));
        for (int64_t j = 0; j < z->n; j++) {
            longest = fmax(longest, sqrt(dot(z->size, k + j * step, k + j * step)));
            p[i][j] /= sum;
            for (int64_t c = 0; c < z->size; c++) want_context[i][c] += p[i][j] * (double)v[j * step + c];
        }
        bounds[i] = (float)(scale * longest * sqrt(dot(z->size, q + i * step, q + i * step)));
    }
}

static void plain_back(const shape *z, double scale, const float *grads)
{
    const int64_t step = z->size + SPACE;
    memset(want_dq, 0, sizeof want_dq);
    memset(want_dk, 0, sizeof want_dk);
    memset(want_dv, 0, sizeof want_dv);
    for (int64_t i = 0; i < z->n; i++) {
        double mean = 0;
        for (int64_t j = 0; j < z->n; j++)
            mean += p[i][j] * (dp[i][j] = dot(z->size, grads + i * step, v + j * step));
        for (int64_t j = 0; j < z->n; j++)
            for (int64_t c = 0; c < z->size; c++) {
                const double ds = scale * p[i][j] * (dp[i][j] - mean);
                want_dv[j][c] += p[i][j] * (double)grads[i * step + c];
                want_dq[i][c] += ds * (double)k[j * step + c];
                want_dk[j][c] += ds * (double)q[i * step + c];
            }
    }
}

/* Largest error relative to the largest number. */
static double error_of(const shape *z, const float *got, double want[][WIDEST])
{
    double worst = 0, size = 1e-30;
    for (int64_t i = 0; i < z->n; i++)
        for (int64_t c = 0; c < z->size; c++) {
            worst = fmax(worst, fabs((double)got[i * (z->size + SPACE) + c] - want[i][c]));
            size = fmax(size, fabs(want[i][c]));
        }
    return worst / size;
}

static void *memory_of(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(memory);
    memset(memory, 0xff, bytes); /* NaN: nothing may be read before it is written */
    return memory;
}

static cpt_packed packed(int level, cpt_precision precision, int64_t n_out, int64_t n_in, const float *w,
                         int64_t out_step, int64_t in_step)
{
    cpt_packed out;
    void *memory = memory_of((size_t)(n_out + 32) * (size_t)(n_in + 32) * 6);
    assert_true(cpt_pack_at(level, precision, n_out, n_in, w, out_step, in_step, memory, &out));
    return out;
}

static void check_context(const shape *z, const cpt_packed *keys, const cpt_packed *values, float scale, double room)
{
    const int64_t step = z->size + SPACE;
    const cpt_head h = {*keys, *values, scale};
    void *memory = memory_of(cpt_head_bytes(z->size, 0));
    for (int64_t i = 0; i < z->n * step; i++) context[i] = -7;
    for (int64_t first = 0; first < z->n; first += CPT_HEAD_ROWS)
        cpt_head_context(&h, z->n - first < CPT_HEAD_ROWS ? z->n - first : CPT_HEAD_ROWS, q + first * step, step,
                         bounds + first, memory, context + first * step, step, sums + first);
    assert_true(error_of(z, context, want_context) <= room);
    for (int64_t i = 0; i < z->n; i++) /* nothing behind the row's end is touched */
        for (int64_t c = z->size; c < step; c++) assert_true(context[i * step + c] == -7);
    if (z->n > 20) { /* a row is the same whatever rows it is computed with */
        float alone[WIDEST], sum;
        cpt_head_context(&h, 1, q + 18 * step, step, bounds + 18, memory, alone, z->size, &sum);
        assert_memory_equal(alone, context + 18 * step, (size_t)z->size * sizeof *alone);
        assert_true(sum == sums[18]);
    }
    free(memory);
}

static void check_copies(const shape *z, int64_t first, int64_t rows, double room)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < z->n; j++) assert_near(weights[i * STRIDE + j], p[first + i][j], room);
}

/* `most_rows` at a time. */
static void check_back(const shape *z, const cpt_packed *keys, const cpt_packed *values, const cpt_packed *turned,
                       float scale, int64_t most_rows, double room)
{
    const int64_t step = z->size + SPACE, most = MOST * (WIDEST + SPACE);
    const size_t columns = cpt_head_columns(z->n, z->size);
    float *to_keys = memory_of(DIRECTIONS * columns * sizeof(float)),
          *to_values = memory_of(DIRECTIONS * columns * sizeof(float));
    cpt_head_back h = {.keys = *keys, .values = *values, .turned = *turned, .scale = scale, .n_w = DIRECTIONS,
                       .to_keys = to_keys, .to_values = to_values, .fresh = true,
                       .memory = memory_of(cpt_head_bytes(z->size, DIRECTIONS))};
    for (int64_t first = 0; first < z->n; first += most_rows) {
        const int64_t rows = z->n - first < most_rows ? z->n - first : most_rows;
        const cpt_head_rows r = {.rows = rows,
                                 .queries = q + first * step,
                                 .context = context + first * step,
                                 .bounds = bounds + first,
                                 .sums = sums + first,
                                 .grads = g[0] + first * step,
                                 .to_queries = dq[0] + first * step,
                                 .query_stride = step,
                                 .stride = step,
                                 .query_step = most,
                                 .step = most,
                                 .weights = weights,
                                 .slopes = slopes,
                                 .copy_stride = STRIDE,
                                 .slope_step = MOST * STRIDE};
        cpt_head_rows_back(&h, &r);
        check_copies(z, first, rows, room);
    }
    for (int w = 0; w < DIRECTIONS; w++) {
        plain_back(z, (double)scale, g[w]);
        cpt_head_unfold(z->n, z->size, to_keys + (size_t)w * columns, dk, step);
        cpt_head_unfold(z->n, z->size, to_values + (size_t)w * columns, dv, step);
        assert_true(error_of(z, dv, want_dv) <= room);
        if (z->n == 1) continue; /* one weight of 1: no gradients but of the value */
        assert_true(error_of(z, dq[w], want_dq) <= room);
        assert_true(error_of(z, dk, want_dk) <= room);
        const int64_t first = (z->n - 1) / most_rows * most_rows;
        for (int64_t j = 0; j < z->n; j++) /* of the last block */
            assert_near(slopes[w * MOST * STRIDE + j], dp[first][j], 30 * room);
    }
    free(to_keys);
    free(to_values);
    free(h.memory);
}

static void check(int level, cpt_precision precision, const shape *z, int *n_checked)
{
    static const double rooms[] = {[CPT_GEMM_F32] = 3e-6, [CPT_GEMM_SPLIT] = 1e-4, [CPT_GEMM_BF16] = 3e-2};
    const int64_t step = z->size + SPACE;
    const float scale = 1 / sqrtf((float)z->size);
    cpt_stream s;
    cpt_stream_init(&s, 12, CPT_RANDOM_TEST, (uint64_t)(z->n * 1000 + z->size));
    fill(z, &s);
    plain_forward(z, (double)scale);
    const cpt_packed keys = packed(level, precision, z->n, z->size, k, step, 1),
                     rows = packed(level, precision, z->n, z->size, v, step, 1),
                     values = packed(level, precision, z->size, z->n, v, 1, step),
                     turned = packed(level, precision, z->size, z->n, k, 1, step);
    if (cpt_in_parts(&keys, &values)) {
        check_context(z, &keys, &values, scale, rooms[precision]);
        check_back(z, &keys, &rows, &turned, scale, CPT_HEAD_ROWS, rooms[precision]);
        check_back(z, &keys, &rows, &turned, scale, CPT_HEAD_BACK_ROWS, rooms[precision]);
        ++*n_checked;
    }
    free(keys.data);
    free(rows.data);
    free(values.data);
    free(turned.data);
}

static void heads(void **state)
{
    for (int level = 0; level <= cpt_cpu_best(); level++) {
        int n_checked = 0;
        for (int precision = CPT_GEMM_F32; precision <= CPT_GEMM_BF16; precision++)
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                check(level, precision, &shapes[i], &n_checked);
        print_message("level %s: %d\n", cpt_cpu_level_name(level), n_checked);
        assert_true(n_checked >= (int)(sizeof shapes / sizeof *shapes)); /* bfloat16 everywhere */
        if (level >= CPT_CPU_AMX) assert_true(n_checked >= 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(heads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
