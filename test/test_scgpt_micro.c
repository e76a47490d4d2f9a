/* A micro scGPT with random weights (test/golden/scgpt, made by scGPT's own code): embeddings of
 * its cells, and what the options of scgpt.h do to them. */
#include "scgpt_golden.h"

enum { N = 10, WIDTH = 16, LONGEST = 21 };

typedef struct cells {
    cpt_csr csr;
    cpt_counts counts;
    int64_t indptr[N + 1];
    int32_t indices[N * 22], to_model[22];
    float values[N * 22];
} cells;

static cpt_model *micro(void)
{
    return scgpt_load("test/golden/scgpt", "micro");
}

static void load_cells(const cpt_model *m, cells *c)
{
    cpt_err err;
    cpt_checkpoint *file;
    json_t *json = golden_json("test/golden/scgpt/micro.json"), *names;
    assert_ok(cpt_checkpoint_open("test/golden/scgpt/micro.safetensors", &file, &err));
    double *counts = golden_numbers(file, "counts");
    names = json_object_get(json, "column_names");
    int64_t nnz = 0;
    for (int i = 0; i < N; i++) {
        c->indptr[i] = nnz;
        for (int j = 0; j < 22; j++) {
            if (counts[i * 22 + j] == 0) continue;
            c->indices[nnz] = j;
            c->values[nnz++] = (float)counts[i * 22 + j];
        }
    }
    c->indptr[N] = nnz;
    for (int j = 0; j < 22; j++) {
        c->to_model[j] = -1;
        for (int32_t g = 0; g < m->n_genes; g++)
            if (strcmp(json_string_value(json_array_get(names, (size_t)j)),
                       cpt_strings_get(&m->gene_names, g)) == 0)
                c->to_model[j] = g;
    }
    c->csr = (cpt_csr){N, 22, c->indptr, c->indices, c->values};
    assert_ok(cpt_counts_init(&c->counts, &c->csr, c->to_model, m->n_genes, &err));
    free(counts);
    json_decref(json);
    cpt_checkpoint_free(file);
}

static void embed(cpt_model *m, const cells *c, const cpt_scgpt_options *o, int threads,
                  float out[N * WIDTH])
{
    cpt_err err;
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = threads;
    assert_ok(cpt_scgpt_set_options(m, o, &err));
    assert_ok(m->ops->embed(m, &c->counts, 0, N, out, &ctx, &err));
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int j = 0; j < WIDTH; j++) {
        ab += (double)a[j] * (double)b[j];
        aa += (double)a[j] * (double)a[j];
        bb += (double)b[j] * (double)b[j];
    }
    return ab / sqrt(aa * bb);
}

static void golden_embeddings(void **state)
{
    cpt_err err;
    cpt_model *m = micro();
    cells c;
    cpt_scgpt_options o;
    float out[N * WIDTH];
    cpt_checkpoint *file;
    load_cells(m, &c);
    cpt_scgpt_options_init(&o);
    embed(m, &c, &o, 2, out);
    assert_ok(cpt_checkpoint_open("test/golden/scgpt/micro.safetensors", &file, &err));
    double *want = golden_numbers(file, "cls_l2_f64");
    for (int i = 0; i < N * WIDTH; i++) assert_near(out[i], want[i], 2e-6);
    free(want);
    cpt_checkpoint_free(file);
    cpt_model_free(m);
}

/* Rounded to 8 bits, an embedding points the same way; and threads change nothing. */
static void bf16_embeddings(void **state)
{
    cpt_model *m = micro();
    cells c;
    cpt_scgpt_options o;
    float exact[N * WIDTH], one[N * WIDTH], two[N * WIDTH];
    load_cells(m, &c);
    cpt_scgpt_options_init(&o);
    embed(m, &c, &o, 1, exact);
    o.precision = CPT_SCGPT_BF16;
    embed(m, &c, &o, 1, one);
    embed(m, &c, &o, 2, two);
    assert_memory_equal(one, two, sizeof one);
    assert_memory_not_equal(one, exact, sizeof one);
    for (int i = 0; i < N; i++) {
        double c_i = cosine(exact + i * WIDTH, one + i * WIDTH);
        if (!(c_i > 0.9998)) print_error("cell %d: cosine %.6f\n", i, c_i);
        assert_true(c_i > 0.9998); /* 2^-9 per rounding, a dozen of them in a row */
    }
    o.precision = CPT_SCGPT_F32;
    embed(m, &c, &o, 2, two);
    assert_memory_equal(two, exact, sizeof two);
    cpt_model_free(m);
}

/* More draws: closer to the mean of very many; of unit length; the first draw is that of one draw.
 */
static void averaged_ties(void **state)
{
    enum { MANY = 400 };
    cpt_model *m = micro();
    cells c;
    cpt_scgpt_options o;
    float many[N * WIDTH], few[N * WIDTH], one[N * WIDTH];
    double away_one = 0, away_few = 0;
    load_cells(m, &c);
    cpt_scgpt_options_init(&o);
    o.ties = CPT_SCGPT_TIES_RANDOM;
    embed(m, &c, &o, 2, one);
    o.tie_draws = 20;
    embed(m, &c, &o, 2, few);
    o.tie_draws = MANY;
    o.seed = 99;
    embed(m, &c, &o, 2, many);
    for (int i = 0; i < N; i++) {
        double length = 0;
        for (int j = 0; j < WIDTH; j++) length += pow((double)few[i * WIDTH + j], 2);
        assert_near(length, 1, 1e-6);
        away_one += 1 - cosine(one + i * WIDTH, many + i * WIDTH);
        away_few += 1 - cosine(few + i * WIDTH, many + i * WIDTH);
    }
    print_message("away from the mean of %d: 1 draw %.2g, 20 draws %.2g\n", MANY, away_one,
                  away_few);
    assert_true(away_one > 0 && away_few < away_one / 4);
    cpt_model_free(m);
}

static void bad_options(void **state)
{
    cpt_err err;
    cpt_model *m = micro();
    cpt_scgpt_options o;
    cpt_scgpt_options_init(&o);
    o.tie_draws = 0;
    assert_int_equal(cpt_scgpt_set_options(m, &o, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "1 to 1000"));
    o.tie_draws = 1;
    o.max_tokens = 1;
    assert_int_equal(cpt_scgpt_set_options(m, &o, &err), CPT_ERR_USAGE);
    cpt_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_embeddings), cmocka_unit_test(bf16_embeddings),
        cmocka_unit_test(averaged_ties), cmocka_unit_test(bad_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
