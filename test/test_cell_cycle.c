/* Cell cycle scores: against a plain reading of the definition, and phases by hand. */
#include "check.h"

#include "base/random.h"
#include "evaluate/cell_cycle.h"

enum { GENES = 400, CELLS = 60, LISTED = 12 };
static cpt_err err;

typedef struct counts {
    float dense[GENES][CELLS];
    int64_t indptr[GENES + 1];
    int32_t indices[GENES * CELLS];
    float values[GENES * CELLS];
    double totals[CELLS];
    cpt_csr by_gene;
} counts;

static void pack(counts *c)
{
    int64_t n = 0;
    memset(c->totals, 0, sizeof c->totals);
    for (int g = 0; g < GENES; g++) {
        for (int i = 0; i < CELLS; i++) {
            if (c->dense[g][i] == 0) continue;
            c->indices[n] = i;
            c->values[n++] = c->dense[g][i];
            c->totals[i] += (double)c->dense[g][i];
        }
        c->indptr[g + 1] = n;
    }
    c->by_gene = (cpt_csr){GENES, CELLS, c->indptr, c->indices, c->values};
}

static counts *random_counts(void)
{
    counts *c = calloc(1, sizeof *c);
    cpt_stream s;
    cpt_stream_init(&s, 1, CPT_RANDOM_TEST, 0);
    for (int g = 3; g < GENES; g++) /* the first three are never expressed */
        for (int i = 0; i < CELLS; i++) c->dense[g][i] = (float)cpt_stream_poisson(&s, 0.02 * g);
    pack(c);
    return c;
}

static double level(const counts *c, int g, int i)
{
    return log1p((double)c->dense[g][i] / c->totals[i] * 1e4);
}

/* Bins as scanpy makes them: rank (lowest among equals) / round(genes / 24). */
static void reference_scores(const counts *c, const int32_t *list, double *out)
{
    double means[GENES];
    int bin[GENES], n_pool = 0, n_control = 0;
    bool listed[GENES] = {false}, wanted[64] = {false}, control[GENES] = {false};
    for (int g = 0; g < GENES; g++) {
        means[g] = 0;
        for (int i = 0; i < CELLS; i++) means[g] += level(c, g, i) / CELLS;
        n_pool += means[g] > 0;
    }
    const int size = (int)nearbyint(n_pool / 24.0);
    for (int g = 0; g < GENES; g++) {
        int rank = 1;
        for (int h = 0; h < GENES; h++) rank += means[h] > 0 && means[h] < means[g] - 1e-12;
        bin[g] = means[g] > 0 ? rank / size : -1;
    }
    for (int k = 0; k < LISTED; k++) listed[list[k]] = wanted[bin[list[k]]] = true;
    for (int g = 0; g < GENES; g++) {
        control[g] = bin[g] >= 0 && wanted[bin[g]] && !listed[g];
        n_control += control[g];
    }
    for (int i = 0; i < CELLS; i++) {
        out[i] = 0;
        for (int g = 0; g < GENES; g++)
            out[i] += listed[g]    ? level(c, g, i) / LISTED
                      : control[g] ? -level(c, g, i) / n_control
                                   : 0;
    }
}

static void scores_follow_the_definition(void **state)
{
    (void)state;
    counts *c = random_counts();
    int32_t s[LISTED], g2m[LISTED + 1];
    double want[CELLS];
    cpt_cell_cycle r;
    for (int k = 0; k < LISTED; k++) {
        s[k] = 20 + 7 * k;
        g2m[k] = 150 + 11 * k;
    }
    g2m[LISTED] = 1; /* not expressed: passed over */
    const int32_t *const lists[2] = {s, g2m};
    const int32_t n[2] = {LISTED, LISTED + 1};
    assert_ok(cpt_cell_cycle_score(&c->by_gene, c->totals, lists, n, &r, NULL, &err));
    for (int which = 0; which < 2; which++) {
        reference_scores(c, lists[which], want);
        for (int i = 0; i < CELLS; i++) assert_near(r.score[which][i], want[i], 1e-12);
        assert_int_equal(r.n_genes[which], LISTED);
    }
    for (int i = 0; i < CELLS; i++) {
        const double a = r.score[0][i], b = r.score[1][i];
        const int phase = a < 0 && b < 0 ? CPT_PHASE_G1 : b > a ? CPT_PHASE_G2M : CPT_PHASE_S;
        assert_int_equal(r.phase[i], phase);
    }
    cpt_cell_cycle_free(&r);
    free(c);
}

/* Cells with one program switched on are named after it. */
static void switched_on_programs_are_found(void **state)
{
    (void)state;
    counts *c = random_counts();
    int32_t s[LISTED], g2m[LISTED];
    cpt_cell_cycle r;
    for (int k = 0; k < LISTED; k++) {
        s[k] = 100 + 20 * k;
        g2m[k] = 110 + 20 * k;
        for (int i = 0; i < CELLS; i++) {
            c->dense[s[k]][i] += i < 20 ? 30 : 0;
            c->dense[g2m[k]][i] += i >= 20 && i < 40 ? 30 : 0;
        }
    }
    for (int g = 0; g < GENES; g++) c->dense[g][59] = 0; /* a cell without counts */
    pack(c);
    const int32_t *const lists[2] = {s, g2m};
    const int32_t n[2] = {LISTED, LISTED};
    assert_ok(cpt_cell_cycle_score(&c->by_gene, c->totals, lists, n, &r, NULL, &err));
    for (int i = 0; i < CELLS; i++)
        assert_int_equal(r.phase[i], i == 59  ? -1
                                     : i < 20 ? CPT_PHASE_S
                                     : i < 40 ? CPT_PHASE_G2M
                                              : CPT_PHASE_G1);
    assert_true(isnan(r.score[0][59]));
    cpt_cell_cycle_free(&r);
    free(c);
}

static void too_few_genes_are_refused(void **state)
{
    (void)state;
    counts *c = random_counts();
    const int32_t few[6] = {0, 1, 2, 50, 60, 70}, *const lists[2] = {few, few}, n[2] = {6, 6};
    cpt_cell_cycle r;
    assert_int_equal(cpt_cell_cycle_score(&c->by_gene, c->totals, lists, n, &r, NULL, &err),
                     CPT_ERR_DATA);
    assert_non_null(strstr(err.text, "3 of 6 S genes"));
    assert_null(r.phase);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_follow_the_definition),
        cmocka_unit_test(switched_on_programs_are_found),
        cmocka_unit_test(too_few_genes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
