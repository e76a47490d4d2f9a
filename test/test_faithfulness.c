/* Joint substitution on the analytic model: against brute force, and attribution must beat chance. */
#include "fake_model.h"

#include "concept/faithfulness.h"

enum { N = 200, G = 260, DIM = 6, F = 8, K = 3 };

static void curves_equal_re_embedding(void **state)
{
    (void)state;
    cpt_err err;
    cpt_context ctx;
    cpt_context_init(&ctx);
    ctx.n_threads = 2;
    fake_cells cells = fake_cells_random(N, G, 4, 1);
    cells.counts.csr = &cells.by_cell;
    cpt_model *m = fake_model_new(G, DIM, 2);
    fake_dictionary *d = fake_dictionary_new(F, DIM, K, 3);
    d->offset[5] = -1e6; /* dead */
    float *a = fake_embedding(m, &cells);
    cpt_activations *u;
    cpt_pairs *pairs;
    cpt_pair_options po;
    cpt_attribution_options o;
    cpt_attribution *attribution;
    cpt_faithfulness *f, *again;
    cpt_pair_options_init(&po);
    po.n_prototypes = 4;
    cpt_attribution_options_init(&o);
    o.n_bootstrap = o.n_sign_flips = 0;
    o.readout = CPT_READOUT_PRE;
    assert_ok(cpt_activations_encode(&d->base, a, N, &u, &ctx, &err));
    assert_ok(cpt_pairs_find(u, a, DIM, &po, &pairs, &ctx, &err));
    assert_ok(cpt_attribute_all(m, &d->base, &cells.counts, pairs, &o, &attribution, &ctx, &err));
    const float *rankings[2] = {attribution->mean, NULL};
    assert_ok(cpt_faithfulness_curves(m, &d->base, &cells.counts, pairs, CPT_READOUT_PRE, 2, rankings, &f,
                                      &ctx, &err));
    ctx.n_threads = 1;
    assert_ok(cpt_faithfulness_curves(m, &d->base, &cells.counts, pairs, CPT_READOUT_PRE, 2, rankings,
                                      &again, &ctx, &err));
    assert_memory_equal(f->drop, again->drop, 2 * F * CPT_FAITHFULNESS_POINTS * sizeof *f->drop);
    assert_true(isnan(f->area[5]) && f->n_pairs[5] == 0);

    for (int32_t c = 0; c < F; c++) { /* means of the drops of single pairs */
        if (c == 5) continue;
        double mean = 0;
        int64_t n_pairs = pairs->first[c + 1] - pairs->first[c];
        for (int64_t i = pairs->first[c]; i < pairs->first[c + 1]; i++)
            mean += (double)f->pair_drop[(i * 2 + 1) * CPT_FAITHFULNESS_POINTS + 3] / (double)n_pairs;
        assert_near(mean, f->drop[(F + c) * CPT_FAITHFULNESS_POINTS + 3], 1e-6);
    }
    double attributed = 0, random = 0;
    for (int32_t c = 0; c < F; c++) {
        if (c == 5) continue;
        attributed += f->area[c];
        random += f->area[F + c];
        for (int point = 0; point < CPT_FAITHFULNESS_POINTS; point++) {
            double want = 0;
            for (int64_t i = pairs->first[c]; i < pairs->first[c + 1]; i++) {
                const float *p = cells.dense + pairs->pairs[i].prototype * G;
                const float *cf = cells.dense + pairs->pairs[i].counterfactual * G;
                float x[G], e[DIM], u_p, h_p, h;
                double z[DIM];
                memcpy(x, p, sizeof x);
                for (int taken = 0; taken < cpt_faithfulness_sizes[point]; taken++) {
                    int best = -1; /* the largest mean among genes that still differ */
                    for (int g = 0; g < G; g++)
                        if (x[g] != cf[g] && (best < 0 || attribution->mean[c * G + g] >
                                                              attribution->mean[c * G + best]))
                            best = g;
                    if (best >= 0) x[best] = cf[best];
                }
                fake_forward(fake_of(m), p, z, e);
                assert_ok(d->base.ops->readout(&d->base, c, 1, e, &u_p, &h_p, &err));
                fake_forward(fake_of(m), x, z, e);
                assert_ok(d->base.ops->readout(&d->base, c, 1, e, NULL, &h, &err));
                want += (h_p - h) / u_p / (double)(pairs->first[c + 1] - pairs->first[c]);
            }
            assert_near(f->drop[c * CPT_FAITHFULNESS_POINTS + point], want, 1e-5);
        }
    }
    assert_true(attributed > 2 * random);
    cpt_faithfulness_free(f);
    assert_int_equal(cpt_faithfulness_curves(m, &d->base, &cells.counts, pairs, CPT_READOUT_PRE, 0, rankings,
                                             &f, &ctx, &err), CPT_ERR_USAGE);
    assert_null(f);
    cpt_faithfulness_free(again);
    cpt_attribution_free(attribution);
    cpt_pairs_free(pairs);
    cpt_activations_free(u);
    free(a);
    fake_dictionary_free(&d->base);
    fake_model_free(m);
    fake_cells_free(&cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(curves_equal_re_embedding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
