/* Prototypes and counterfactuals against brute force. */
#include "fake_model.h"

#include "concept/pairs.h"

enum { N = 1500, DIM = 20, F = 24, K = 5 }; /* more inputs than products in f32 have */

typedef struct fixture {
    fake_dictionary *d;
    float *a;
    cpt_activations *u;
    int32_t codes[N];
    cpt_column donor;
} fixture;

static cpt_context context(int n_threads)
{
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = n_threads;
    return ctx;
}

/* `far` shifts the cloud away from 0; coordinates are rounded to a grid so that distances tie. */
static void fixture_make(fixture *f, double far, bool grid)
{
    cpt_err err;
    cpt_stream s;
    cpt_context ctx = context(2);
    memset(f, 0, sizeof *f);
    f->d = fake_dictionary_new(F, DIM, K, 11);
    for (int i = 0; i < F * DIM; i++) f->d->offset[i / DIM] -= far * f->d->rows[i];
    f->d->offset[2] = -1e6; /* dead */
    f->d->offset[4] = 1e7;  /* active in every cell */
    f->a = calloc(N * DIM, sizeof *f->a);
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N * DIM; i++) {
        double x = cpt_stream_normal(&s);
        f->a[i] = (float)(far + (grid ? floor(2 * x) / 2 : x));
    }
    for (int i = 0; i < N; i++) f->codes[i] = (int32_t)cpt_stream_below(&s, 4) - (i % 97 == 0);
    f->a[9 * DIM + 1] = NAN;
    f->a[1200 * DIM] = NAN;
    f->donor = (cpt_column){.name = "donor", .kind = CPT_COLUMN_CATEGORY, .codes = f->codes};
    for (int c = 0; c < 4; c++) {
        char name[8];
        int n = snprintf(name, sizeof name, "d%d", c);
        assert_ok(cpt_strings_add(&f->donor.categories, name, (size_t)n, &err));
    }
    assert_ok(cpt_activations_encode(&f->d->base, f->a, N, &f->u, &ctx, &err));
}

static void fixture_free(fixture *f)
{
    fake_dictionary_free(&f->d->base);
    cpt_activations_free(f->u);
    cpt_strings_free(&f->donor.categories);
    free(f->a);
}

static double distance(const fixture *f, int64_t x, int64_t y)
{
    double sum = 0;
    for (int j = 0; j < DIM; j++) {
        double d = (double)f->a[x * DIM + j] - f->a[y * DIM + j];
        sum += d * d;
    }
    return sqrt(sum);
}

/* The rank-th nearest allowed cell, by sorting nothing: repeated minimum. -1 = none. */
static int64_t brute_nearest(const fixture *f, const float *column, int64_t p, int rank, bool match)
{
    int64_t last = -1;
    double last_distance = -1;
    for (int r = 0; r <= rank; r++) {
        int64_t best = -1;
        double best_distance = INFINITY;
        for (int64_t x = 0; x < N; x++) {
            if (column[x] > 0 || !f->u->usable[x]) continue;
            if (match && (f->codes[p] < 0 || f->codes[x] != f->codes[p])) continue;
            double d = distance(f, p, x);
            bool after = d > last_distance || (d == last_distance && x > last);
            if (after && d < best_distance) best = x, best_distance = d;
        }
        if (best < 0) return -1;
        last = best;
        last_distance = best_distance;
    }
    return last;
}

/* Prototype of the given rank among the largest activations, by repeated maximum. */
static int64_t brute_prototype(const float *column, int rank)
{
    int64_t last = -1;
    float value = INFINITY;
    for (int r = 0; r <= rank; r++) {
        int64_t best = -1;
        for (int64_t x = 0; x < N; x++) {
            bool after = column[x] < value || (column[x] == value && x > last);
            if (column[x] > 0 && after && (best < 0 || column[x] > column[best])) best = x;
        }
        if (best < 0) return -1;
        last = best;
        value = column[best];
    }
    return last;
}

static void check_against_brute_force(const fixture *f, const cpt_pair_options *o)
{
    cpt_err err;
    cpt_context one = context(1), two = context(2);
    cpt_pairs *p, *again;
    float column[N];
    assert_ok(cpt_pairs_find(f->u, f->a, DIM, o, &p, &two, &err));
    assert_ok(cpt_pairs_find(f->u, f->a, DIM, o, &again, &one, &err));
    assert_int_equal(p->first[F], again->first[F]);
    assert_memory_equal(p->pairs, again->pairs, (size_t)p->first[F] * sizeof *p->pairs);
    for (int32_t c = 0; c < F; c++) {
        int64_t at = p->first[c];
        int32_t unmatched = 0;
        cpt_activations_column(f->u, c, column);
        if (c == 4) continue; /* no inactive cell: a test of its own */
        assert_false(p->substitute_low[c]);
        for (int32_t r = 0; r < o->n_prototypes; r++) {
            int64_t prototype = brute_prototype(column, r), cell = 0;
            if (prototype < 0) break;
            for (int32_t k = 0; k < o->n_counterfactuals && cell >= 0; k++) {
                cell = brute_nearest(f, column, prototype, k, o->match);
                unmatched += k == 0 && cell < 0;
                if (cell < 0) break;
                const cpt_pair *pair = &p->pairs[at++];
                assert_int_equal(pair->prototype, prototype);
                assert_int_equal(pair->counterfactual, cell);
                assert_int_equal(pair->prototype_rank, r);
                assert_int_equal(pair->counterfactual_rank, k);
                assert_true(pair->activation == column[prototype]);
                assert_near(pair->distance, distance(f, prototype, cell), 1e-6 * pair->distance);
            }
        }
        assert_int_equal(at, p->first[c + 1]);
        assert_int_equal(unmatched, p->n_unmatched[c]);
    }
    cpt_pairs_free(p);
    cpt_pairs_free(again);
}

static void finds_what_brute_force_finds(void **state)
{
    (void)state;
    cpt_pair_options o;
    cpt_pair_options_init(&o);
    assert_int_equal(o.n_prototypes, 32);
    assert_int_equal(o.n_counterfactuals, 1);
    o.n_prototypes = 12;
    o.min_share = 0;
    for (int variant = 0; variant < 3; variant++) {
        fixture f;
        fixture_make(&f, variant == 1 ? 300 : 0, variant == 2);
        o.n_counterfactuals = 1;
        o.match = NULL;
        check_against_brute_force(&f, &o);
        o.n_counterfactuals = 3;
        o.match = &f.donor;
        check_against_brute_force(&f, &o);
        fixture_free(&f);
    }
}

static void serves_the_least_active_where_all_are_active(void **state)
{
    (void)state;
    cpt_err err;
    fixture f;
    cpt_pairs *p;
    cpt_context ctx = context(2);
    cpt_pair_options o;
    float column[N];
    fixture_make(&f, 0, false);
    cpt_pair_options_init(&o);
    assert_ok(cpt_pairs_find(f.u, f.a, DIM, &o, &p, &ctx, &err));
    assert_true(p->substitute_low[4]);
    assert_true(f.u->stats[4].dense);
    assert_int_equal(p->first[5] - p->first[4], 32);
    assert_int_equal(p->first[3] - p->first[2], 0); /* dead */
    assert_false(p->substitute_low[2]);
    cpt_activations_column(f.u, 4, column);
    for (int64_t i = p->first[4]; i < p->first[5]; i++) {
        int lower = 0; /* usable cells that activate the concept less than the counterfactual */
        for (int x = 0; x < N; x++)
            lower += f.u->usable[x] && column[x] < column[p->pairs[i].counterfactual];
        assert_true(lower < 15); /* a hundredth of 1,498 cells, rounded up */
        assert_true(column[p->pairs[i].counterfactual] < p->pairs[i].activation);
    }
    cpt_pairs_free(p);
    fixture_free(&f);
}

static void relates_distances_to_the_median(void **state)
{
    (void)state;
    cpt_err err;
    fixture f;
    cpt_pairs *p;
    cpt_context ctx = context(1);
    cpt_pair_options o;
    static double nearest[N];
    fixture_make(&f, 0, false);
    cpt_pair_options_init(&o);
    assert_ok(cpt_pairs_find(f.u, f.a, DIM, &o, &p, &ctx, &err));
    int n = 0, below = 0;
    for (int x = 0; x < N; x++) {
        if (!f.u->usable[x]) continue;
        double best = INFINITY;
        for (int y = 0; y < N; y++)
            if (y != x && f.u->usable[y]) best = fmin(best, distance(&f, x, y));
        nearest[n++] = best;
    }
    for (int i = 0; i < n; i++) below += nearest[i] < p->median_neighbour_distance;
    assert_true(abs(2 * below - n) <= 2);
    for (int64_t i = 0; i < p->first[F]; i++)
        assert_near(p->pairs[i].relative_distance,
                    p->pairs[i].distance / p->median_neighbour_distance, 1e-5);
    cpt_pairs_free(p);
    fixture_free(&f);
}

static void spreads_prototypes(void **state)
{
    (void)state;
    cpt_err err;
    fixture f;
    cpt_pairs *p;
    cpt_context ctx = context(1);
    cpt_pair_options o;
    float column[N];
    fixture_make(&f, 0, false);
    cpt_pair_options_init(&o);
    o.n_prototypes = 8;
    o.min_share = 0;
    o.choice = CPT_PROTOTYPES_QUANTILES;
    assert_ok(cpt_pairs_find(f.u, f.a, DIM, &o, &p, &ctx, &err));
    for (int32_t c = 0; c < F; c++) {
        int64_t n = f.u->stats[c].n_active;
        if (n < 8 || c == 4) continue;
        cpt_activations_column(f.u, c, column);
        for (int i = 0; i < 8; i++) {
            int64_t rank = 0, cell = p->pairs[p->first[c] + i].prototype;
            for (int x = 0; x < N; x++) rank += column[x] > column[cell];
            assert_int_equal(rank, i * n / 8);
        }
    }
    cpt_pairs_free(p);

    o.choice = CPT_PROTOTYPES_SPREAD;
    o.spread = &f.donor;
    assert_ok(cpt_pairs_find(f.u, f.a, DIM, &o, &p, &ctx, &err));
    for (int32_t c = 0; c < F; c++) { /* 4 donors and the missing: two rounds at most over 8 */
        int seen[5] = {0};
        if (f.u->stats[c].n_active < 200) continue;
        for (int i = 0; i < 8; i++) seen[f.codes[p->pairs[p->first[c] + i].prototype] + 1]++;
        for (int d = 0; d < 4; d++) assert_in_range(seen[d + 1], 1, 2);
        cpt_activations_column(f.u, c, column);
        for (int64_t k = p->first[c]; k < p->first[c] + 1; k++)
            assert_true(p->pairs[k].activation == f.u->stats[c].max);
    }
    cpt_pairs_free(p);
    fixture_free(&f);
}

static void leaves_out_weak_prototypes(void **state)
{
    (void)state;
    cpt_err err;
    fixture f;
    cpt_pairs *p;
    cpt_pair_options o;
    float column[N];
    fixture_make(&f, 0, false);
    cpt_pair_options_init(&o);
    assert_near(o.min_share, 0.1, 0);
    o.n_prototypes = N;
    o.min_share = 0.6;
    assert_ok(cpt_pairs_find(f.u, f.a, DIM, &o, &p, NULL, &err));
    for (int32_t c = 0; c < F; c++) {
        int64_t strong = 0;
        if (c == 4) continue;
        cpt_activations_column(f.u, c, column);
        for (int x = 0; x < N; x++) strong += column[x] > 0 && column[x] >= 0.6 * f.u->stats[c].max;
        assert_int_equal(p->first[c + 1] - p->first[c], strong);
    }
    cpt_pairs_free(p);
    o.min_share = 1.5;
    assert_int_equal(cpt_pairs_find(f.u, f.a, DIM, &o, &p, NULL, &err), CPT_ERR_USAGE);
    fixture_free(&f);
}

static void refuses_bad_options(void **state)
{
    (void)state;
    cpt_err err;
    fixture f;
    cpt_pairs *p;
    cpt_pair_options o;
    fixture_make(&f, 0, false);
    cpt_pair_options_init(&o);
    o.n_prototypes = 0;
    assert_int_equal(cpt_pairs_find(f.u, f.a, DIM, &o, &p, NULL, &err), CPT_ERR_USAGE);
    assert_null(p);
    cpt_pair_options_init(&o);
    o.choice = CPT_PROTOTYPES_SPREAD;
    assert_int_equal(cpt_pairs_find(f.u, f.a, DIM, &o, &p, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "donor"));
    cpt_pair_options_init(&o);
    f.donor.kind = CPT_COLUMN_NUMBER;
    o.match = &f.donor;
    assert_int_equal(cpt_pairs_find(f.u, f.a, DIM, &o, &p, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "--match donor"));
    fixture_free(&f);
}

static void handles_a_single_cell(void **state)
{
    (void)state;
    cpt_err err;
    fake_dictionary *d = fake_dictionary_new(1, 2, 1, 1);
    d->offset[0] = 100;
    float a[2] = {1, 2};
    cpt_activations *u;
    cpt_pairs *p;
    cpt_pair_options o;
    cpt_pair_options_init(&o);
    assert_ok(cpt_activations_encode(&d->base, a, 1, &u, NULL, &err));
    assert_ok(cpt_pairs_find(u, a, 2, &o, &p, NULL, &err));
    assert_int_equal(p->first[1], 0);
    assert_int_equal(p->n_unmatched[0], 1);
    assert_true(p->substitute_low[0]);
    assert_true(isnan(p->median_neighbour_distance));
    cpt_pairs_free(p);
    cpt_activations_free(u);
    fake_dictionary_free(&d->base);
}

static void selects_a_part(void **state)
{
    (void)state;
    cpt_err err;
    cpt_pair list[6] = {{.prototype = 1, .counterfactual = 9}, {.prototype = 1, .counterfactual = 8},
                        {.prototype = 2, .counterfactual = 9}, {.prototype = 3, .counterfactual = 9},
                        {.prototype = 1, .counterfactual = 7}, {.prototype = 4, .counterfactual = 7}};
    int64_t first[3] = {0, 4, 6}, first_old[3] = {0, 1, 1};
    int32_t unmatched[2] = {0, 5};
    bool low[2] = {false, true}, chosen[2] = {true, false};
    cpt_pairs all = {.n_concepts = 2, .first = first, .pairs = list, .n_unmatched = unmatched, .substitute_low = low};
    cpt_pair old_list[1] = {{.prototype = 2, .counterfactual = 9}};
    cpt_pairs old = {.n_concepts = 2, .first = first_old, .pairs = old_list}, *p;
    assert_ok(cpt_pairs_select(&all, NULL, 0, NULL, &p, &err));
    assert_int_equal(p->first[2], 6);
    assert_true(p->substitute_low[1] && p->n_unmatched[1] == 5);
    cpt_pairs_free(p);
    assert_ok(cpt_pairs_select(&all, chosen, 2, &old, &p, &err)); /* 1 with both counterfactuals, 3; 2 is old */
    assert_int_equal(p->first[1], 3);
    assert_int_equal(p->first[2], 3);
    assert_int_equal(p->pairs[1].counterfactual, 8);
    assert_int_equal(p->pairs[2].prototype, 3);
    cpt_pairs_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_brute_force_finds),
        cmocka_unit_test(serves_the_least_active_where_all_are_active),
        cmocka_unit_test(relates_distances_to_the_median),
        cmocka_unit_test(spreads_prototypes),
        cmocka_unit_test(leaves_out_weak_prototypes),
        cmocka_unit_test(refuses_bad_options),
        cmocka_unit_test(handles_a_single_cell),
        cmocka_unit_test(selects_a_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
