/* UMAP: quality on planted clusters, sameness over threads, small and awkward inputs. */
#include "check.h"

#include "base/random.h"
#include "math/layout.h"
#include "math/moves.h"
#include "math/neighbours.h"
#include "math/umap.h"

static cpt_err err;

/* n points around n_clusters far centres; point i belongs to cluster i % n_clusters. */
static float *clustered(int64_t n, int32_t dim, int32_t n_clusters, uint64_t item)
{
    float *x = malloc((size_t)(n * dim) * sizeof *x), *centres = malloc((size_t)(n_clusters * dim) * sizeof *x);
    cpt_stream s;
    cpt_stream_init(&s, 11, CPT_RANDOM_TEST, item);
    for (int32_t i = 0; i < n_clusters * dim; i++) centres[i] = (float)(4 * cpt_stream_normal(&s));
    for (int64_t i = 0; i < n; i++)
        for (int32_t d = 0; d < dim; d++)
            x[i * dim + d] = centres[(i % n_clusters) * dim + d] + (float)cpt_stream_normal(&s);
    free(centres);
    return x;
}

static void assert_finite(const float *y, int64_t n)
{
    for (int64_t i = 0; i < 2 * n; i++) assert_true(isfinite(y[i]));
}

/* The golden values are those of umap-learn 0.5.12, find_ab_params. */
static void curve(void **state)
{
    double a, b;
    cpt_umap_curve(0.3, 1, &a, &b);
    assert_near(a, 0.9921756195894755, 1e-5);
    assert_near(b, 1.112253384404663, 1e-5);
    cpt_umap_curve(0.1, 1, &a, &b);
    assert_near(a, 1.5769434602697652, 1e-5);
    assert_near(b, 0.8950608778515733, 1e-5);
    cpt_umap_curve(0, 0.01, &a, &b);
    assert_true(isfinite(a) && isfinite(b) && a > 0 && b > 0);
}

static void graph_by_hand(void **state)
{
    /* Points 0, 1, 3 on a line, k = 2. rho = 1, 1, 2; the nearest has strength 1. */
    const int32_t neighbours[6] = {1, 2, 0, 2, 1, 0};
    const float distances[6] = {1, 3, 1, 2, 2, 3};
    cpt_umap_graph g;
    assert_ok(cpt_umap_graph_build(neighbours, distances, 3, 2, &g, NULL, &err));
    assert_int_equal(g.starts[3], 6);
    const int32_t ends[6] = {1, 2, 0, 2, 0, 1};
    assert_memory_equal(g.ends, ends, sizeof ends);
    /* Strengths sum to log2(3): the second is log2(3) - 1 in every row. */
    double p = log2(3) - 1, both = p + p - p * p;
    assert_near(g.weights[0], 1, 1e-6);
    assert_near(g.weights[1], both, 1e-4);
    assert_near(g.weights[3], 1, 1e-6);
    for (int i = 0; i < 3; i++) /* symmetric */
        for (int64_t t = g.starts[i]; t < g.starts[i + 1]; t++)
            for (int64_t r = g.starts[g.ends[t]]; r < g.starts[g.ends[t] + 1]; r++)
                if (g.ends[r] == i) assert_near(g.weights[r], g.weights[t], 0);
    cpt_umap_graph_free(&g);
}

static void keeps_neighbours_together(void **state)
{
    enum { N = 1200, DIM = 20, CLUSTERS = 8, K = 15 };
    float *x = clustered(N, DIM, CLUSTERS, 0), *y = malloc(2 * N * sizeof *y), *d = malloc(N * K * sizeof *d);
    int32_t *nb = malloc(N * K * sizeof *nb);
    cpt_umap_options o;
    cpt_umap_options_init(&o);
    cpt_context ctx = {.n_threads = 2};
    assert_ok(cpt_umap(x, N, DIM, &o, y, &ctx, &err));
    assert_finite(y, N);
    double trust;
    assert_ok(cpt_trustworthiness(x, N, DIM, y, K, &trust, &ctx, &err));
    assert_true(trust > 0.9605); /* umap-learn 0.5.12 on these data: 0.9655 to 0.9658 */
    int same = 0;
    assert_ok(cpt_neighbours(y, N, 2, K, nb, d, &ctx, &err));
    for (int i = 0; i < N * K; i++) same += nb[i] % CLUSTERS == i / K % CLUSTERS;
    assert_true(same > 0.999 * N * K);
    free(x), free(y), free(d), free(nb);
}

/* Lanes of any level against one vertex after the other: the same bytes, far and near, with and
 * without events. */
static void lanes_as_plainly(void **state)
{
    enum { N = 1000, MOST = 9 };
    static cpt_moves m;
    static cpt_plane at[2 * N];
    cpt_stream s;
    cpt_stream_init(&s, 4, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < 2 * N; i++) {
        double far = i % 3 ? 1 : i % 7 ? 1e-3 : 100;
        at[i] = (cpt_plane){(float)(far * cpt_stream_normal(&s)), (float)(far * cpt_stream_normal(&s))};
    }
    for (int i = 0; i <= CPT_TABLE_SIZE; i++) {
        m.pull[i] = (cpt_table_cell){-(float)cpt_stream_uniform(&s), 1e-7f};
        m.push[i] = (cpt_table_cell){(float)cpt_stream_uniform(&s), -1e-7f};
    }
    m.at = at, m.n = N, m.before = N, m.group = 3, m.rate = 0.7f, m.negatives = 5;
    m.key[0] = 12, m.key[1] = 34, m.purpose = 56, m.epoch = 78;
    for (int trial = 0; trial < 50; trial++) {
        uint32_t vertices[CPT_MOVES_LANES];
        int32_t n_events[CPT_MOVES_LANES], ends[MOST * CPT_MOVES_LANES];
        float x[CPT_MOVES_LANES], y[CPT_MOVES_LANES], a[2][CPT_MOVES_LANES], b[2][CPT_MOVES_LANES];
        for (int l = 0; l < CPT_MOVES_LANES; l++) {
            vertices[l] = (uint32_t)cpt_stream_below(&s, N);
            n_events[l] = (int32_t)cpt_stream_below(&s, MOST + 1);
            x[l] = at[vertices[l]].x, y[l] = at[vertices[l]].y;
        }
        for (int i = 0; i < MOST * CPT_MOVES_LANES; i++) ends[i] = (int32_t)cpt_stream_below(&s, 2 * N);
        memcpy(a[0], x, sizeof x), memcpy(a[1], y, sizeof y);
        cpt_moves_plain(&m, vertices, n_events, ends, a[0], a[1]);
        for (int level = 0; level < 3; level++) {
            const cpt_moves_kernels *k = cpt_moves_kernels_at(level);
            if (!k) continue;
            memcpy(b[0], x, sizeof x), memcpy(b[1], y, sizeof y);
            k->move(&m, vertices, n_events, ends, b[0], b[1]);
            assert_memory_equal(a, b, sizeof a);
        }
    }
}

/* Enough points that threads are really used. */
static void same_for_any_thread_count(void **state)
{
    enum { N = 4200, DIM = 3 };
    float *x = clustered(N, DIM, 5, 1), *y[3];
    cpt_umap_options o;
    cpt_umap_options_init(&o);
    o.n_epochs = 12;
    for (int t = 0; t < 3; t++) {
        cpt_context ctx = {.n_threads = t == 1 ? 3 : 1, .seed = t == 2};
        y[t] = malloc(2 * N * sizeof **y);
        assert_ok(cpt_umap(x, N, DIM, &o, y[t], &ctx, &err));
    }
    assert_memory_equal(y[0], y[1], 2 * N * sizeof **y);
    assert_memory_not_equal(y[0], y[2], 2 * N * sizeof **y); /* another seed */
    for (int t = 0; t < 3; t++) free(y[t]);
    free(x);
}

static void few_points(void **state)
{
    cpt_umap_options o;
    cpt_umap_options_init(&o);
    for (int64_t n = 0; n < 20; n++)
        for (int32_t dim = 1; dim < 4; dim++) {
            float *x = clustered(n, dim, 2, 2), y[40];
            assert_ok(cpt_umap(x, n, dim, &o, y, NULL, &err));
            assert_finite(y, n);
            if (n < 4)
                for (int64_t i = 0; i < n; i++) assert_near(y[2 * i + 1], 0, 0);
            free(x);
        }
}

static void duplicate_points(void **state)
{
    enum { N = 300, DIM = 4 };
    float *x = calloc(N * DIM, sizeof *x), y[2 * N];
    cpt_umap_options o;
    cpt_umap_options_init(&o);
    o.n_epochs = 100;
    assert_ok(cpt_umap(x, N, DIM, &o, y, NULL, &err)); /* all in one place */
    assert_finite(y, N);
    for (int i = 0; i < N / 2; i++) x[i * DIM] = 1; /* two places */
    assert_ok(cpt_umap(x, N, DIM, &o, y, NULL, &err));
    assert_finite(y, N);
    for (int i = 0; i < 2; i++) assert_true(y[i] != y[2 + i]); /* not left on one spot */
    free(x);
}

static void trustworthiness(void **state)
{
    /* The same picture: 1. Reversed ranks on a line with one point thrown to the far end, by hand:
     * in the map 1 2 3 4 0 (k = 1) point 0 takes 4 for its nearest (rank 4, penalty 3), and 4 takes
     * 3. */
    const float x[5] = {0, 1, 2.1f, 3.3f, 4.6f}, same[10] = {0, 0, 1, 0, 2.1f, 0, 3.3f, 0, 4.6f, 0};
    const float moved[10] = {6, 0, 1, 0, 2.1f, 0, 3.3f, 0, 4.6f, 0};
    double t;
    assert_ok(cpt_trustworthiness(x, 5, 1, same, 1, &t, NULL, &err));
    assert_near(t, 1, 0);
    assert_ok(cpt_trustworthiness(x, 5, 1, moved, 1, &t, NULL, &err));
    /* Point 1's nearest in the map is 2, of rank 2 in x: penalty 1. n k (2n - 3k - 1) = 5 * 6. */
    assert_near(t, 1 - 2.0 * (3 + 1) / 30, 1e-12);
    assert_int_equal(cpt_trustworthiness(x, 5, 1, same, 3, &t, NULL, &err), CPT_ERR_USAGE);
}

static void wrong_input(void **state)
{
    float x[8] = {0, 1, 2, 3, 4, NAN, 6, 7}, y[8];
    cpt_umap_options o;
    cpt_umap_options_init(&o);
    assert_int_equal(cpt_umap(x, 4, 2, &o, y, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "row 2"));
    x[5] = 5;
    o.min_dist = 4;
    assert_int_equal(cpt_umap(x, 4, 2, &o, y, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "min_dist"));
    cpt_umap_options_init(&o);
    o.n_neighbours = 1;
    assert_int_equal(cpt_umap(x, 4, 2, &o, y, NULL, &err), CPT_ERR_USAGE);
    cpt_umap_options_init(&o);
    int stop = 1;
    cpt_context ctx = {.n_threads = 1, .stop = &stop};
    assert_int_equal(cpt_umap(x, 4, 2, &o, y, &ctx, &err), CPT_ERR_INTERRUPTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curve),
        cmocka_unit_test(graph_by_hand),
        cmocka_unit_test(keeps_neighbours_together),
        cmocka_unit_test(lanes_as_plainly),
        cmocka_unit_test(same_for_any_thread_count),
        cmocka_unit_test(few_points),
        cmocka_unit_test(duplicate_points),
        cmocka_unit_test(trustworthiness),
        cmocka_unit_test(wrong_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
