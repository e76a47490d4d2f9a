/* Concentration in a donor, and pairs that differ beside their concept. */
#include "check.h"

#include "base/random.h"
#include "evaluate/unit_flags.h"

enum { CELLS = 200, DIM = 6 };
static cpt_err err;

static void donors(void **state)
{
    (void)state;
    /* donors A (30 %), B (70 %). Concept 0: 12 cells of A; 1: 9 cells of A; 2: 20 cells of B; 3:
     * half and half; 4: dead */
    int32_t codes[CELLS], indices[CELLS];
    float values[CELLS];
    bool usable[CELLS];
    int64_t indptr[6] = {0, 12, 21, 41, 61, 61}, n = 0;
    for (int i = 0; i < CELLS; i++) {
        codes[i] = i >= 60;
        usable[i] = true;
        values[i] = 1;
    }
    for (int i = 0; i < 12; i++) indices[n++] = i;
    for (int i = 0; i < 9; i++) indices[n++] = i;
    for (int i = 0; i < 20; i++) indices[n++] = 100 + i;
    for (int i = 0; i < 20; i++) indices[n++] = 50 + i;
    cpt_activations u = {.n_cells = CELLS,
                         .n_concepts = 5,
                         .usable = usable,
                         .by_concept = {5, CELLS, indptr, indices, values}};
    cpt_column column = {.name = "donor", .kind = CPT_COLUMN_CATEGORY, .codes = codes};
    cpt_concentration c[5];
    assert_ok(cpt_strings_add(&column.categories, "A", 1, &err));
    assert_ok(cpt_strings_add(&column.categories, "B", 1, &err));
    assert_ok(cpt_concentrations(&u, &column, c, &err));
    assert_true(c[0].flagged && c[0].code == 0);
    assert_near(c[0].background, 0.3, 1e-12);
    assert_false(c[1].flagged); /* too few cells */
    assert_false(c[2].flagged); /* B has most cells anyway */
    assert_near(c[2].share, 1, 0);
    assert_false(c[3].flagged);
    assert_int_equal(c[4].code, -1);
    cpt_strings_free(&column.categories);
}

/* Pair 0 differs along its concept only, far; pair 1 is two random cells; pair 2 does not exist. */
static void rests(void **state)
{
    (void)state;
    static float a[CELLS * DIM];
    float decoder[3 * DIM] = {0};
    bool usable[CELLS];
    cpt_stream s;
    cpt_stream_init(&s, 2, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < CELLS * DIM; i++) a[i] = (float)cpt_stream_normal(&s);
    for (int i = 0; i < CELLS; i++) usable[i] = i != 7;
    for (int j = 0; j < DIM; j++) a[DIM + j] = a[j];
    a[DIM + 2] -= 50;
    decoder[2] = 3; /* need not have unit norm */
    decoder[DIM + 1] = 1;
    cpt_pair list[2] = {{.prototype = 0, .counterfactual = 1},
                        {.prototype = 20, .counterfactual = 90}};
    int64_t first[4] = {0, 1, 2, 2};
    cpt_pairs pairs = {.n_concepts = 3, .first = first, .pairs = list};
    double rest[3], along[3], again[3];
    assert_ok(cpt_pair_rests(&pairs, a, CELLS, DIM, usable, decoder, 500, rest, along, NULL, &err));
    assert_near(rest[0], 0, 0);
    assert_near(along[0], 1, 1e-6);
    assert_true(rest[1] > 0.05);
    assert_true(isnan(rest[2]) && isnan(along[2]));
    assert_ok(
        cpt_pair_rests(&pairs, a, CELLS, DIM, usable, decoder, 500, again, along, NULL, &err));
    assert_near(again[1], rest[1], 0);
    memset(usable, 0, sizeof usable);
    assert_int_equal(
        cpt_pair_rests(&pairs, a, CELLS, DIM, usable, decoder, 500, rest, along, NULL, &err),
        CPT_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(donors), cmocka_unit_test(rests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
