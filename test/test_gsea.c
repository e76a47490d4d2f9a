/* Preranked GSEA: the statistic against fgsea and brute force, the null, the rules, the engine. */
#include "check.h"
#include "exact_null.h"
#include "golden_sets.h"

#include "enrich/enrich.h"
#include "math/columns.h"
#include "math/walk.h"

/* ---- the statistic ---- */

static const char *const type_names[] = {"std", "pos", "neg"};

static void test_es_golden(void **state)
{
    NEED_SHARED(path, "golden/gsea/es.json");
    NEED_SHARED(ranking, "golden/gsea/ranking.tsv");
    enum { N = 4131 };
    static int64_t weights[3][N];
    golden_tsv t;
    golden_tsv_open(&t, ranking);
    for (int i = 0; golden_tsv_next(&t); i++) { /* four decimals: integers without rounding */
        int64_t s = llabs(llround(golden_number(&t, "stat") * 1e4));
        weights[0][i] = 1;
        weights[1][i] = s;
        weights[2][i] = s * s;
    }
    json_t *root = golden_json(path), *entry;
    size_t i;
    json_array_foreach(json_object_get(root, "sets"), i, entry) {
        int m;
        double *list = golden_array(json_object_get(entry, "positions"), &m);
        int32_t positions[N];
        for (int j = 0; j < m; j++) positions[j] = (int32_t)list[j] - 1;
        for (int p = 0; p < 3; p++)
            for (int type = 0; type < 3; type++) {
                char name[32];
                snprintf(name, sizeof name, "ES_%s_p%d", type_names[type], p);
                assert_near(cpt_gsea_es(weights[p], N, positions, m, (cpt_score_type)type),
                            golden_get(entry, name), 1e-12);
            }
        free(list);
    }
    assert_int_equal(i, 60);
    json_decref(root);
}

/* Scores and leading edges of the whole run on the golden ranking. */
static void test_run_golden(void **state)
{
    NEED_SHARED(path, "golden/gsea/es.json");
    NEED_SHARED(ranking, "golden/gsea/ranking.tsv");
    cpt_err err;
    static double statistic[GOLDEN_GENES];
    golden_ranking(ranking, statistic);
    json_t *root = golden_json(path), *list = json_object_get(root, "sets"), *entry;
    cpt_genesets sets = golden_sets(list, "positions", GOLDEN_GENES);
    size_t i;
    for (int type = 0; type < 3; type++) {
        cpt_gsea_options o;
        cpt_gsea_options_init(&o);
        o.multilevel = false;
        o.score_type = (cpt_score_type)type;
        cpt_gsea *g;
        assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
        json_array_foreach(list, i, entry) {
            char name[40];
            snprintf(name, sizeof name, "ES_%s_p1", type_names[type]);
            const cpt_gsea_row *row = &g->rows[i];
            assert_near(row->es, golden_get(entry, name), 1e-6); /* integer weights */
            snprintf(name, sizeof name, "leading_edge_%s", type_names[type]);
            int n;
            double *leading = golden_array(json_object_get(entry, name), &n);
            assert_int_equal(row->n_leading, n);
            for (int j = 0; j < n; j++) assert_int_equal(row->leading[j], leading[j] - 1); /* outermost first, both */
            free(leading);
        }
        cpt_gsea_free(g);
    }
    json_decref(root);
    by_hand_free(&sets);
}

static void test_es_edges(void **state)
{
    NEED_SHARED(path, "golden/gsea/es_edge.json");
    cpt_err err;
    json_t *root = golden_json(path), *entry;
    size_t i;
    json_array_foreach(root, i, entry) {
        int n, m, n_leading;
        double *statistic = golden_array(json_object_get(entry, "stats"), &n);
        double *list = golden_array(json_object_get(entry, "S"), &m);
        double *leading = golden_array(json_object_get(entry, "leading_edge"), &n_leading);
        int32_t genes[64];
        for (int j = 0; j < m; j++) genes[j] = (int32_t)list[j] - 1;
        cpt_genesets sets = by_hand_new(n);
        by_hand_add(&sets, m, genes);
        cpt_gsea_options o;
        cpt_gsea_options_init(&o);
        o.multilevel = false;
        o.weight = golden_get(entry, "p");
        cpt_gsea *g;
        assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
        double es = golden_get(entry, "ES");
        assert_near(g->rows[0].es, es, 1e-8); /* integer weights */
        assert_int_equal(g->rows[0].n_leading, n_leading);
        for (int j = 0; j < n_leading; j++)
            assert_int_equal(g->rows[0].leading[j], leading[j] - 1);
        cpt_gsea_free(g);
        by_hand_free(&sets);
        free(statistic);
        free(list);
        free(leading);
    }
    assert_int_equal(i, 11);
    json_decref(root);
}

/* The whole walk over all n positions, in long double. */
static double brute_force(const int64_t *weights, int n, const int32_t *positions, int m)
{
    int64_t total = 0;
    for (int i = 0; i < m; i++) total += weights[positions[i]];
    /* Numerators over total * (n - m), as integers. */
    int64_t value = 0, high = 0, low = 0, unit = total ? total : m;
    for (int at = 0, i = 0; at < n; at++) {
        if (i < m && positions[i] == at) {
            value += (total ? weights[at] : 1) * (n - m);
            i++;
        } else {
            value -= unit;
        }
        if (value > high) high = value;
        if (value < low) low = value;
    }
    assert_int_equal(value, 0);
    return (double)(high > -low ? high : high < -low ? low : 0) / ((double)unit * (n - m));
}

static void test_es_brute_force(void **state)
{
    cpt_stream s;
    int n_zero_total = 0, n_balanced = 0;
    for (int trial = 0; trial < 20000; trial++) {
        cpt_stream_init(&s, 3, CPT_RANDOM_TEST, (uint64_t)trial);
        int n = 2 + (int)cpt_stream_below(&s, 29), m = 0;
        int64_t weights[32], total = 0, largest = trial % 3 ? 3 : 1000;
        int32_t positions[32];
        for (int i = 0; i < n; i++) {
            weights[i] = (int64_t)cpt_stream_below(&s, 3) ? (int64_t)cpt_stream_below(&s, (uint64_t)largest) : 0;
            if (cpt_stream_below(&s, 3) == 0) {
                total += weights[i];
                positions[m++] = i;
            }
        }
        if (m == 0 || m == n) {
            assert_true(cpt_gsea_es(weights, n, positions, m, CPT_SCORE_STD) == 0);
            continue;
        }
        double want = brute_force(weights, n, positions, m);
        assert_true(cpt_gsea_es(weights, n, positions, m, CPT_SCORE_STD) == want);
        n_zero_total += total == 0;
        n_balanced += want == 0;
    }
    assert_true(n_zero_total > 100 && n_balanced > 100);
}

/* ---- kernels: every instruction set gives the bits of the plain one ---- */

/* Random swaps in one sorted subset; the arrays must stay what they would be when built anew. */
static void compare_subset_kernels(const cpt_walk_kernels *plain, const cpt_walk_kernels *other,
                                   cpt_stream *s)
{
    enum { K = 445, N = 2700 };
    int32_t position[2][K];
    double sum[2][K], weight[N];
    for (int i = 0; i < N; i++) weight[i] = (double)cpt_stream_below(s, 1000);
    for (int i = 0; i < K; i++) {
        position[0][i] = position[1][i] = 6 * i;
        sum[0][i] = sum[1][i] = (i ? sum[0][i - 1] : 0) + weight[6 * i];
    }
    for (int trial = 0; trial < 1000; trial++) {
        int32_t from = (int32_t)cpt_stream_below(s, K), newcomer = (int32_t)cpt_stream_below(s, N), to = 0;
        while (to < K && position[0][to] < newcomer) to++;
        assert_int_equal(plain->find(K, position[0], newcomer), to);
        assert_int_equal(other->find(K, position[0], newcomer), to);
        if (to < K && position[0][to] == newcomer) continue;
        double loss = weight[position[0][from]], gain = weight[newcomer], total = 0;
        plain->swap(K, from, to, newcomer, loss, gain, position[0], sum[0]);
        other->swap(K, from, to, newcomer, loss, gain, position[1], sum[1]);
        for (int i = 0; i < K; i++) {
            total += weight[position[0][i]];
            assert_true(!i || position[0][i] > position[0][i - 1]);
            assert_true(sum[0][i] == total);
        }
        assert_memory_equal(position[0], position[1], sizeof position[0]);
        assert_memory_equal(sum[0], sum[1], sizeof sum[0]);
        int32_t first = from < to ? from : to, last = from < to ? to : from;
        double want = -INFINITY;
        for (int i = first; i < last; i++) want = fmax(want, sum[0][i] * 9 - (position[0][i] - i) * 700.0);
        assert_true(plain->highest(first, last, sum[0], position[0], 9, 700) == want);
        assert_true(other->highest(first, last, sum[0], position[0], 9, 700) == want);
    }
}

static void test_kernels(void **state)
{
    enum { T = 90, L = CPT_WALK_LANES, SIZES = 5 };
    static double position[T * L], weight[T * L], arrival[T * L], totals[SIZES * L];
    double *aligned[8];
    static const double sizes[SIZES] = {3, 17, 18, 60, 90};
    cpt_stream s;
    cpt_stream_init(&s, 8, CPT_RANDOM_TEST, 0);
    for (int l = 0; l < L; l++) {
        int32_t order[T];
        for (int t = 0; t < T; t++) order[t] = t;
        cpt_stream_shuffle_i32(&s, order, T);
        for (int t = 0, at = 0; t < T; t++) {
            at += 1 + (int)cpt_stream_below(&s, 9);
            position[t * L + l] = at;
            weight[t * L + l] = (double)cpt_stream_below(&s, 1 << 20);
            arrival[t * L + l] = order[t];
            for (int i = 0; i < SIZES; i++) totals[i * L + l] += order[t] < sizes[i] ? weight[t * L + l] : 0;
        }
    }
    static const size_t lengths[4] = {T * L, T * L, T * L, SIZES * L};
    const double *sources[4] = {position, weight, arrival, totals};
    for (int i = 0; i < 8; i++) {
        aligned[i] = aligned_alloc(64, T * L * sizeof(double));
        assert_non_null(aligned[i]);
        if (i < 4) memcpy(aligned[i], sources[i], lengths[i] * sizeof(double));
    }
    const cpt_walk_kernels *plain = cpt_walk_kernels_at(0);
    plain->prefixes(T, aligned[0], aligned[1], aligned[2], 1000, SIZES, sizes, aligned[3], aligned[4], aligned[5]);
    for (int i = 0; i < SIZES; i++)
        for (int l = 0; l < L; l++) { /* against the bare statistic */
            int64_t weights[1000] = {0};
            int32_t members[T], m = 0;
            for (int t = 0; t < T; t++)
                if (arrival[t * L + l] < sizes[i]) {
                    members[m++] = (int32_t)position[t * L + l];
                    weights[members[m - 1]] = (int64_t)weight[t * L + l];
                }
            double unit = totals[i * L + l] * (1000 - m);
            assert_near(aligned[4][i * L + l] / unit, cpt_gsea_es(weights, 1000, members, m, CPT_SCORE_POS), 0);
            assert_near(aligned[5][i * L + l] / unit, cpt_gsea_es(weights, 1000, members, m, CPT_SCORE_NEG), 0);
        }
    for (int level = 1; level < 3; level++) {
        const cpt_walk_kernels *k = cpt_walk_kernels_at(level);
        if (!k) continue;
        k->prefixes(T, aligned[0], aligned[1], aligned[2], 1000, SIZES, sizes, aligned[3], aligned[6], aligned[7]);
        assert_memory_equal(aligned[4], aligned[6], SIZES * L * sizeof(double));
        assert_memory_equal(aligned[5], aligned[7], SIZES * L * sizeof(double));
        compare_subset_kernels(plain, k, &s);
    }
    for (int i = 0; i < 8; i++) free(aligned[i]);
}

/* Eight sets side by side, on every instruction set and for both widths of positions, against the bare statistic. One of
 * them may be empty. */
static void walk_side_by_side(int32_t size_of_third)
{
    enum { T = 50, L = CPT_WALK_LANES, N = 1000, C = CPT_COLUMNS };
    static double weight[N + 1];
    static int64_t weights[N];
    static _Alignas(64) int32_t wide[T * C];
    static _Alignas(64) uint16_t narrow[T * C];
    static _Alignas(64) double found[T * L];
    _Alignas(64) double sizes[C] = {0}, out[6][5][L];
    int32_t members[L][T];
    cpt_stream s;
    cpt_stream_init(&s, 9, CPT_RANDOM_TEST, 1);
    for (int32_t i = 0; i < T * C; i++) wide[i] = narrow[i] = N;
    for (int g = 0; g < N; g++) weight[g] = (double)(weights[g] = (int64_t)cpt_stream_below(&s, 1 << 20));
    for (int l = 0; l < L; l++) {
        int32_t at = -1;
        sizes[l] = l == 3 ? size_of_third : T - 3 * l;
        for (int t = 0; t < T; t++) {
            at += 1 + (int32_t)cpt_stream_below(&s, 19);
            members[l][t] = t < sizes[l] ? at : N; /* nobody behind the last */
            wide[t * C + l] = narrow[t * C + l] = (uint16_t)members[l][t];
        }
    }
    int n = 0;
    for (int level = 0; level < 3; level++) {
        const cpt_walk_kernels *k = cpt_walk_kernels_at(level);
        if (!k) continue;
        k->subsets32(T, wide, weight, N, sizes, found, out[n][0], out[n][1], out[n][2], out[n][3], out[n][4]);
        n++;
        k->subsets16(T, narrow, weight, N, sizes, found, out[n][0], out[n][1], out[n][2], out[n][3], out[n][4]);
        n++;
    }
    for (int l = 0; l < L; l++) {
        int32_t m = (int32_t)sizes[l];
        if (m == 0) continue;
        double unit = out[0][0][l] * (N - m);
        assert_near(out[0][1][l] / unit, cpt_gsea_es(weights, N, members[l], m, CPT_SCORE_POS), 0);
        assert_near(out[0][2][l] / unit, cpt_gsea_es(weights, N, members[l], m, CPT_SCORE_NEG), 0);
        for (int side = 0; side < 2; side++) /* the member where it is met is one */
            assert_true(out[0][3 + side][l] >= 0 && out[0][3 + side][l] < m);
    }
    for (int i = 1; i < n; i++) assert_memory_equal(out[0], out[i], sizeof out[0]);
    for (int g = 0; g < N; g++) weight[g] = abs(2 * g + 1 - N);
    cpt_walk_kernels_at(0)->subsets16(T, narrow, weight, N, sizes, found, out[0][0], out[0][1], out[0][2], out[0][3],
                                      out[0][4]);
    for (int level = 0; level < 3; level++) { /* weights by rank */
        const cpt_walk_kernels *k = cpt_walk_kernels_at(level);
        _Alignas(64) double sums[2][C];
        if (!k) continue;
        k->rank_sums16(T, narrow, N, sizes, sums[0]);
        k->rank_sums32(T, wide, N, sizes, sums[1]);
        for (int l = 0; l < C; l++) assert_true(sums[0][l] == (l < L ? out[0][0][l] : 0) && sums[1][l] == sums[0][l]);
        for (int i = 1; i < 3; i++) memcpy(out[i][0], sums[0], sizeof out[i][0]);
        k->ranked16(T, narrow, N, sizes, out[1][0], out[1][1], out[1][2], out[1][3], out[1][4]);
        k->ranked32(T, wide, N, sizes, out[2][0], out[2][1], out[2][2], out[2][3], out[2][4]);
        assert_memory_equal(out[0], out[1], sizeof out[0]);
        assert_memory_equal(out[0], out[2], sizeof out[0]);
    }
}

static void test_side_by_side(void **state)
{
    walk_side_by_side(0);
    walk_side_by_side(1);
    walk_side_by_side(41);
}

static int by_value(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* Columns of any number of rows, with many equals and with none, against qsort on every instruction set. */
static void sort_columns(int32_t n_rows, uint64_t n_different, cpt_stream *s)
{
    enum { C = CPT_COLUMNS };
    static _Alignas(64) int32_t wide[600 * C];
    static _Alignas(64) uint16_t narrow[600 * C];
    static int32_t given[C][600], want[600];
    for (int c = 0; c < C; c++)
        for (int r = 0; r < n_rows; r++) given[c][r] = (int32_t)cpt_stream_below(s, n_different);
    for (int level = 0; level < 3; level++) {
        const cpt_column_kernels *k = cpt_column_kernels_at(level);
        if (!k) continue;
        for (int c = 0; c < C; c++)
            for (int r = 0; r < n_rows; r++)
                narrow[r * C + c] = (uint16_t)(wide[r * C + c] = given[c][r]);
        k->sort16(n_rows, narrow);
        k->sort32(n_rows, wide);
        for (int c = 0; c < C; c++) {
            memcpy(want, given[c], sizeof want);
            qsort(want, (size_t)n_rows, sizeof *want, by_value);
            for (int r = 0; r < n_rows; r++) {
                assert_int_equal(wide[r * C + c], want[r]);
                assert_int_equal(narrow[r * C + c], want[r]);
            }
        }
    }
}

/* Looking up, on every instruction set. */
static void test_look_up(void **state)
{
    enum { ROWS = 24, N = ROWS * CPT_COLUMNS };
    static _Alignas(64) uint16_t of[65537], from[N], to[N];
    cpt_stream s;
    cpt_stream_init(&s, 12, CPT_RANDOM_TEST, 1);
    for (int i = 0; i < 65536; i++) of[i] = (uint16_t)cpt_stream_below(&s, 65536);
    for (int i = 0; i < N; i++) from[i] = (uint16_t)(i == 5 ? 65535 : cpt_stream_below(&s, 65536));
    for (int level = 0; level < 3; level++) {
        const cpt_column_kernels *k = cpt_column_kernels_at(level);
        if (!k) continue;
        memset(to, 0, sizeof to);
        k->look_up16(ROWS, from, of, to);
        for (int i = 0; i < N; i++) assert_int_equal(to[i], of[from[i]]);
    }
}

static void test_columns(void **state)
{
    cpt_stream s;
    cpt_stream_init(&s, 10, CPT_RANDOM_TEST, 1);
    for (int32_t n = 0; n <= 600; n += CPT_COLUMN_BLOCK) {
        sort_columns(n, 65536, &s);
        sort_columns(n, 5, &s);
    }
}

/* A list of more than 65,536 genes. */
static void test_long_list(void **state)
{
    enum { N = 70000, M = 40 };
    cpt_err err;
    static double statistic[N];
    static int64_t weights[N];
    int32_t genes[M], positions[M];
    for (int g = 0; g < N; g++) {
        statistic[g] = N / 2 - g;
        weights[g] = abs(N / 2 - g);
    }
    cpt_genesets sets = by_hand_new(N);
    for (int i = 0; i < M; i++) positions[i] = genes[i] = 66000 + 37 * i;
    by_hand_add(&sets, M, genes);
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.n_permutations = 100;
    o.multilevel = false;
    cpt_gsea *g;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    assert_near(g->rows[0].es, cpt_gsea_es(weights, N, positions, M, CPT_SCORE_STD), 1e-4);
    assert_int_equal(g->rows[0].n_leading, M);
    for (int i = 0; i < M; i++) assert_int_equal(g->rows[0].leading[i], genes[M - 1 - i]);
    cpt_gsea_free(g);
    by_hand_free(&sets);
}

/* ---- p values ---- */

/* All subsets of exact_small.json have been counted: simple p must agree within sampling error. */
static void test_exact_small(void **state)
{
    NEED_SHARED(path, "golden/gsea/exact_small.json");
    static exact_null null;
    cpt_err err;
    json_t *root = golden_json(path), *group, *item;
    size_t i, j;
    json_array_foreach(root, i, group) {
        int n;
        double *statistic = golden_array(json_object_get(group, "stats"), &n);
        json_t *cases = json_object_get(group, "cases");
        cpt_genesets sets = golden_sets(cases, "S", n);
        int64_t weights[32];
        for (int k = 0; k < n; k++) { /* three decimals: integers lose nothing */
            statistic[k] = round(statistic[k] * 1000);
            weights[k] = llabs((long long)statistic[k]);
        }
        for (int type = 0; type < 2; type++) {
            cpt_gsea_options o;
            cpt_gsea_options_init(&o);
            o.multilevel = false;
            o.n_permutations = 40000;
            o.score_type = (cpt_score_type)type;
            exact_list(&null, weights, n, (int)golden_get(group, "k"), o.score_type);
            assert_int_equal(null.n, (int)golden_get(json_array_get(cases, 0), "n_total"));
            cpt_gsea *g;
            assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
            json_array_foreach(cases, j, item) {
                const cpt_gsea_row *row = &g->rows[j];
                int n_same;
                double mean, golden = golden_get(item, type ? "p_pos" : "p_conditional");
                assert_near(row->es, golden_get(item, type ? "ES_pos" : "ES"), 1e-8);
                double p = exact_p(&null, row->es, &n_same, &mean), trials = 40000. * n_same / null.n;
                assert_near(p, golden, (type ? 0.01 : 0.13) * golden); /* see exact_null.h */
                assert_near(row->p, p, 4.5 * sqrt(p * (1 - p) / trials) + 1 / trials);
                assert_near(row->nes, row->es / fabs(mean), 0.02 * fabs(row->nes));
                if (row->es == 0 && !type) assert_int_equal(row->reason, CPT_GSEA_ES_ZERO);
            }
            cpt_gsea_free(g);
        }
        free(statistic);
        by_hand_free(&sets);
    }
    json_decref(root);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Distance of Kolmogorov and Smirnov from the uniform distribution, times sqrt n. */
static double uniform_distance(double *p, int n)
{
    double d = 0;
    qsort(p, (size_t)n, sizeof *p, ascending);
    for (int i = 0; i < n; i++) d = fmax(d, fmax(p[i] - (double)i / n, (i + 1.0) / n - p[i]));
    return d * sqrt(n);
}

/* Random sets have uniform p, also when 60 % of the statistics are 0. */
static void test_calibrated(void **state)
{
    enum { N = 2000, SETS = 1500 };
    cpt_err err;
    static double statistic[N], p[SETS];
    cpt_stream s;
    for (int zeros = 0; zeros < 2; zeros++) {
        cpt_stream_init(&s, 4, CPT_RANDOM_TEST, (uint64_t)zeros);
        int n_zero = 0;
        for (int g = 0; g < N; g++) {
            statistic[g] = zeros && cpt_stream_uniform(&s) < 0.6 ? 0 : cpt_stream_normal(&s);
            n_zero += statistic[g] == 0;
        }
        cpt_genesets sets = by_hand_new(N);
        for (int i = 0; i < SETS; i++) by_hand_add_random(&sets, 10 + i % 60, N, &s);
        cpt_gsea_options o;
        cpt_gsea_options_init(&o);
        o.multilevel = false;
        cpt_gsea *g;
        assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
        assert_int_equal(g->n_zero, n_zero);
        assert_int_equal(g->n_tied, n_zero);
        int n = 0;
        for (int i = 0; i < SETS; i++)
            if (!isnan(g->rows[i].p)) p[n++] = g->rows[i].p;
        assert_int_equal(n, SETS);
        assert_true(uniform_distance(p, n) < 1.95); /* 1 in 1,000 */
        cpt_gsea_free(g);
        by_hand_free(&sets);
    }
}

/* ---- invariances ---- */

enum { GENES = 600, FAMILY = 40 };

static cpt_genesets make_family(uint64_t seed)
{
    cpt_genesets sets = by_hand_new(GENES);
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 77);
    for (int i = 0; i < FAMILY; i++) by_hand_add_random(&sets, 5 + i, i % 4 ? GENES : 150, &s);
    return sets;
}

static void make_statistic(double *statistic, uint64_t seed)
{
    cpt_stream s;
    cpt_stream_init(&s, seed, CPT_RANDOM_TEST, 78);
    for (int g = 0; g < GENES; g++) statistic[g] = cpt_stream_normal(&s) + (g < 150);
}

static void assert_same_rows(const cpt_gsea *a, const cpt_gsea *b)
{
    assert_int_equal(a->n_rows, b->n_rows);
    for (int i = 0; i < a->n_rows; i++) {
        cpt_gsea_row x = a->rows[i], y = b->rows[i];
        assert_int_equal(x.n_leading, y.n_leading);
        assert_memory_equal(x.leading, y.leading, (size_t)x.n_leading * sizeof *x.leading);
        double values[2][6] = {{x.es, x.nes, x.p, x.log10p, x.q, x.log2err},
                               {y.es, y.nes, y.p, y.log10p, y.q, y.log2err}};
        assert_memory_equal(values[0], values[1], sizeof values[0]);
        assert_true(x.reason == y.reason && x.multilevel == y.multilevel && x.below_eps == y.below_eps);
    }
}

/* Threads, the engine, and powers of two as scale change no bit. */
static void test_same_bits(void **state)
{
    cpt_err err;
    cpt_genesets sets = make_family(1);
    double statistic[GENES];
    make_statistic(statistic, 1);
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.n_permutations = 2500; /* more than one batch, and a group that is not full */
    cpt_context ctx;
    cpt_context_init(&ctx);
    cpt_gsea *one, *other;
    ctx.n_threads = 1;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &one, &ctx, &err));
    ctx.n_threads = 8;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &other, &ctx, &err));
    assert_same_rows(one, other);
    cpt_gsea_free(other);
    cpt_gsea_engine *engine = cpt_gsea_engine_new(&sets, &o, &err);
    assert_non_null(engine);
    double half[GENES], with_gap[GENES];
    for (int g = 0; g < GENES; g++) {
        half[g] = statistic[g] * 0.5;
        with_gap[g] = g % 7 ? statistic[g] : NAN;
    }
    assert_ok(cpt_gsea_engine_run(engine, with_gap, &other, &err)); /* leaves no trace */
    assert_int_equal(other->n_genes, GENES - (GENES + 6) / 7);
    cpt_gsea_free(other);
    assert_ok(cpt_gsea_engine_run(engine, half, &other, &err));
    for (int i = 0; i < one->n_rows; i++) { /* c is floored, so weights round differently */
        assert_near(one->rows[i].es, other->rows[i].es, 1e-5);
        assert_near(log2(one->rows[i].p), log2(other->rows[i].p), 4 * one->rows[i].log2err);
    }
    cpt_gsea_free(other);
    assert_ok(cpt_gsea_engine_run(engine, statistic, &other, &err));
    assert_same_rows(one, other);
    cpt_gsea_free(other);
    cpt_gsea_free(one);
    half[3] = INFINITY; /* nor does a complete list, or one that is refused */
    assert_int_equal(cpt_gsea_engine_run(engine, half, &other, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "gene 3 is infinite"));
    assert_ok(cpt_gsea_engine_run(engine, statistic, &other, &err));
    cpt_gsea_free(other);
    assert_ok(cpt_gsea_engine_run(engine, with_gap, &other, &err));
    assert_ok(cpt_gsea_run(&sets, with_gap, &o, &one, NULL, &err));
    assert_same_rows(one, other);
    cpt_gsea_free(other);
    cpt_gsea_free(one);
    cpt_gsea_engine_free(engine);
    by_hand_free(&sets);
}

/* s -> -s turns the list over: ES changes sign (no ties here), p agrees within its error. */
static void test_sign_symmetry(void **state)
{
    cpt_err err;
    cpt_genesets sets = make_family(2);
    double statistic[GENES], turned[GENES];
    make_statistic(statistic, 2);
    for (int g = 0; g < GENES; g++) turned[g] = -statistic[g];
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    cpt_gsea *a, *b;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &a, NULL, &err));
    assert_ok(cpt_gsea_run(&sets, turned, &o, &b, NULL, &err));
    for (int i = 0; i < a->n_rows; i++) {
        assert_near(a->rows[i].es, -b->rows[i].es, 1e-15);
        assert_near(a->rows[i].nes, -b->rows[i].nes, 0.1 * fabs(a->rows[i].nes));
        double error = hypot(a->rows[i].log2err, b->rows[i].log2err);
        assert_near(log2(a->rows[i].p), log2(b->rows[i].p), 4.5 * error);
        assert_int_equal(a->rows[i].n_leading, b->rows[i].n_leading); /* the genes that matter most come first */
        assert_memory_equal(a->rows[i].leading, b->rows[i].leading, (size_t)a->rows[i].n_leading * sizeof(int32_t));
    }
    cpt_gsea_free(a);
    cpt_gsea_free(b);
    by_hand_free(&sets);
}

/* Genes without a statistic leave the list: the same as a universe without them. */
static void test_missing_genes(void **state)
{
    cpt_err err;
    cpt_genesets sets = make_family(3), cut = by_hand_new(GENES / 2);
    double statistic[GENES], dense[GENES / 2];
    make_statistic(statistic, 3);
    for (int g = 0; g < GENES; g++) {
        if (g % 2) statistic[g] = NAN;
        else dense[g / 2] = statistic[g];
    }
    for (int i = 0; i < FAMILY; i++) {
        int32_t genes[GENES], n = 0;
        for (int64_t k = sets.first[i]; k < sets.first[i + 1]; k++)
            if (sets.genes[k] % 2 == 0) genes[n++] = sets.genes[k] / 2;
        by_hand_add(&cut, n, genes);
    }
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    cpt_gsea *a, *b;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &a, NULL, &err));
    assert_ok(cpt_gsea_run(&cut, dense, &o, &b, NULL, &err));
    for (int i = 0; i < FAMILY; i++) {
        assert_int_equal(a->rows[i].size, b->rows[i].size);
        assert_true(a->rows[i].es == b->rows[i].es && a->rows[i].p == b->rows[i].p);
        for (int j = 0; j < a->rows[i].n_leading; j++)
            assert_int_equal(a->rows[i].leading[j], 2 * b->rows[i].leading[j]);
    }
    cpt_gsea_free(a);
    cpt_gsea_free(b);
    by_hand_free(&sets);
    by_hand_free(&cut);
}

/* ---- edges and wrong input ---- */

static void test_untestable(void **state)
{
    cpt_err err;
    cpt_genesets sets = by_hand_new(20);
    int32_t all[20];
    for (int i = 0; i < 20; i++) all[i] = i;
    by_hand_add(&sets, 0, all);
    by_hand_add(&sets, 20, all);
    by_hand_add(&sets, 1, (int32_t[]){19});
    by_hand_add(&sets, 19, all);
    by_hand_add(&sets, 3, (int32_t[]){0, 1, 2});
    double statistic[20], zeros[20] = {0};
    for (int i = 0; i < 20; i++) statistic[i] = 20 - i; /* all positive */
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    cpt_gsea *g;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(g->rows[i].reason, CPT_GSEA_ES_ZERO);
        assert_true(isnan(g->rows[i].p) && isnan(g->rows[i].q) && g->rows[i].n_leading == 0);
    }
    for (int i = 2; i < 5; i++) assert_true(g->rows[i].p > 0 && g->rows[i].p <= 1);
    assert_int_equal(g->rows[2].leading[0], 19);
    cpt_gsea_free(g);
    assert_ok(cpt_gsea_run(&sets, zeros, &o, &g, NULL, &err)); /* equal weights, order by gene */
    assert_int_equal(g->n_zero, 20);
    assert_int_equal(g->n_tied, 20);
    assert_near(g->rows[4].es, 1, 0);
    cpt_gsea_free(g);
    for (int i = 0; i < 20; i++) zeros[i] = NAN;
    assert_ok(cpt_gsea_run(&sets, zeros, &o, &g, NULL, &err));
    assert_int_equal(g->n_genes, 0);
    for (int i = 0; i < 5; i++) assert_true(isnan(g->rows[i].p));
    cpt_gsea_free(g);
    o.n_permutations = 15; /* too few of one sign */
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    int few = 0;
    for (int i = 2; i < 5; i++) few += g->rows[i].reason == CPT_GSEA_FEW_SAME_SIGN && isnan(g->rows[i].p);
    assert_true(few > 0);
    cpt_gsea_free(g);
    sets.n_sets = 0;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    assert_int_equal(g->n_rows, 0);
    cpt_gsea_free(g);
    by_hand_free(&sets);
}

static void test_huge_and_tiny_statistics(void **state)
{
    cpt_err err;
    cpt_genesets sets = make_family(5);
    double statistic[GENES], scaled[GENES];
    make_statistic(statistic, 5);
    static const double factors[] = {1e300, 1e-300};
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.multilevel = false;
    o.weight = 1.5;
    cpt_gsea *a, *b;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &a, NULL, &err));
    for (int f = 0; f < 2; f++) {
        for (int g = 0; g < GENES; g++) scaled[g] = statistic[g] * factors[f];
        assert_ok(cpt_gsea_run(&sets, scaled, &o, &b, NULL, &err));
        for (int i = 0; i < FAMILY; i++) assert_near(a->rows[i].es, b->rows[i].es, 1e-5);
        cpt_gsea_free(b);
    }
    cpt_gsea_free(a);
    by_hand_free(&sets);
}

static void test_wrong_input(void **state)
{
    cpt_err err;
    cpt_genesets sets = make_family(6);
    double statistic[GENES];
    make_statistic(statistic, 6);
    cpt_gsea_options o, bad;
    cpt_gsea_options_init(&o);
    cpt_gsea *g;
    statistic[17] = INFINITY;
    assert_int_equal(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err), CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "gene 17 is infinite"));
    assert_null(g);
    statistic[17] = 0;
    bad = o;
    bad.sample_size = 100;
    assert_int_equal(cpt_gsea_run(&sets, statistic, &bad, &g, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "odd"));
    bad = o;
    bad.n_permutations = 0;
    assert_int_equal(cpt_gsea_run(&sets, statistic, &bad, &g, NULL, &err), CPT_ERR_USAGE);
    bad = o;
    bad.weight = -1;
    assert_int_equal(cpt_gsea_run(&sets, statistic, &bad, &g, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "-1"));
    bad = o;
    bad.eps = NAN;
    assert_int_equal(cpt_gsea_run(&sets, statistic, &bad, &g, NULL, &err), CPT_ERR_USAGE);
    sets.genes[3] = GENES;
    assert_int_equal(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err), CPT_ERR_INTERNAL);
    volatile int stop = 1;
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.stop = &stop;
    sets.n_sets = 0;
    by_hand_add(&sets, 3, (int32_t[]){1, 2, 3});
    assert_int_equal(cpt_gsea_run(&sets, statistic, &o, &g, &ctx, &err), CPT_ERR_INTERRUPTED);
    by_hand_free(&sets);
}

static void test_running_sum(void **state)
{
    cpt_err err;
    cpt_genesets sets = make_family(7);
    double statistic[GENES];
    make_statistic(statistic, 7);
    statistic[5] = NAN;
    cpt_gsea_options o;
    cpt_gsea_options_init(&o);
    o.multilevel = false;
    cpt_gsea *g;
    assert_ok(cpt_gsea_run(&sets, statistic, &o, &g, NULL, &err));
    for (int s = 0; s < FAMILY; s++) {
        int32_t *x, n;
        double *y, high = 0, low = 0;
        assert_ok(cpt_gsea_running_sum(&sets, statistic, s, 1, &x, &y, &n, &err));
        assert_int_equal(n, 2 * g->rows[s].size + 2);
        assert_true(x[0] == 0 && y[0] == 0 && x[n - 1] == g->n_genes);
        assert_near(y[n - 1], 0, 1e-12);
        for (int i = 0; i < n; i++) {
            assert_true(!i || x[i] >= x[i - 1]);
            high = fmax(high, y[i]);
            low = fmin(low, y[i]);
        }
        assert_near(high > -low ? high : low, g->rows[s].es, 1e-12);
        free(x);
        free(y);
    }
    int32_t *x, n;
    double *y;
    assert_int_equal(cpt_gsea_running_sum(&sets, statistic, FAMILY, 1, &x, &y, &n, &err), CPT_ERR_USAGE);
    cpt_gsea_free(g);
    by_hand_free(&sets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_es_golden),
        cmocka_unit_test(test_run_golden),
        cmocka_unit_test(test_es_edges),
        cmocka_unit_test(test_es_brute_force),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_look_up),
        cmocka_unit_test(test_long_list),
        cmocka_unit_test(test_exact_small),
        cmocka_unit_test(test_calibrated),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_sign_symmetry),
        cmocka_unit_test(test_missing_genes),
        cmocka_unit_test(test_untestable),
        cmocka_unit_test(test_huge_and_tiny_statistics),
        cmocka_unit_test(test_wrong_input),
        cmocka_unit_test(test_running_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
