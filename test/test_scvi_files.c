/* Files of scVI models: what scvi-tools wrote, what we write, and what is refused, with the words. */
#include "check.h"

#include "base/file.h"
#include "base/random.h"
#include "io/import.h"
#include "scvi_golden.h"

/* ---- models of scvi-tools ---- */

static void test_golden_models(void **state)
{
    cpt_err err;
    NEED_SHARED(folder, "golden/scvi");
    for (int which = 0; which < 2; which++) {
        golden_model g;
        golden_open(&g, folder, which);
        char path[1200];
        cpt_model *m;
        snprintf(path, sizeof path, "%s/%s%s", folder, g.name, which ? "/model.pt" : "");
        assert_ok(cpt_model_open(path, &m, NULL, &err));
        const cpt_scvi *a = scvi_of(m), *b = scvi_of(g.model);
        assert_int_equal(a->n_parameters, b->n_parameters);
        assert_memory_equal(a->parameters, b->parameters, sizeof(float) * (size_t)a->n_parameters);
        assert_string_equal(cpt_strings_get(&m->gene_names, 0), "SDHB");
        assert_int_equal(m->gene_names.n, 200);
        assert_string_equal(cpt_text_str(&m->description),
                            which ? "scVI, 200 genes, 2 layers, 12 hidden, 30 latent, ZINB, 2 batches"
                                  : "scVI, 200 genes, 1 layer, 12 hidden, 10 latent, NB");
        assert_int_equal(a->batch_names.n, which ? 2 : 0);
        if (which) assert_string_equal(cpt_strings_get(&a->batch_names, 1), "donor_b");
        if (which) assert_string_equal(cpt_text_str(&a->batch_key), "batch");
        cpt_model_free(m);
        golden_close(&g);
    }
}

/* The model's genes in another order, some absent, some unknown. */
static void test_golden_query(void **state)
{
    cpt_err err;
    NEED_SHARED(folder, "golden/scvi");
    NEED_SHARED(names_path, "golden/scvi/nb1/query.json");
    char path[1200], text[8192];
    cpt_model *m;
    snprintf(path, sizeof path, "%s/nb1", folder);
    assert_ok(cpt_model_open(path, &m, NULL, &err));
    FILE *in = fopen(names_path, "rb");
    assert_non_null(in);
    size_t length = fread(text, 1, sizeof text - 1, in);
    text[length] = 0;
    fclose(in);
    /* the only texts in the file that matter here are the 185 gene names, in order */
    int32_t to_model[185], n = 0;
    char *list = strstr(text, "\"query_genes\"");
    if (!list) list = strstr(text, "genes");
    assert_non_null(list);
    list = strchr(list, '[');
    for (char *p = list + 1; *p && *p != ']' && n < 185;) {
        char *start = strchr(p, '"'), *end = strchr(start + 1, '"');
        *end = 0;
        to_model[n] = -1;
        for (int32_t g = 0; g < 200; g++)
            if (strcmp(cpt_strings_get(&m->gene_names, g), start + 1) == 0) to_model[n] = g;
        n++;
        p = end + 1;
        while (*p == ',' || *p == ' ' || *p == '\n') p++;
    }
    assert_int_equal(n, 185);
    cpt_checkpoint *c = golden_file(folder, "nb1", "query.safetensors");
    float *counts = golden_f32(c, "query_counts"), *want = golden_f32(c, "q_m"), out[80];
    cpt_csr csr = dense_csr(counts, 8, 185);
    cpt_counts view;
    assert_ok(cpt_counts_init(&view, &csr, to_model, 200, &err));
    assert_ok(cpt_model_embed_all(m, &view, out, NULL, NULL, &err));
    for (int i = 0; i < 80; i++) assert_near(out[i], want[i], 5e-6);
    free(counts), free(want);
    dense_free(&csr);
    cpt_checkpoint_free(c);
    cpt_model_free(m);
}

static void test_scanvi(void **state)
{
    cpt_err err;
    NEED_SHARED(path, "weights/scvi-family/pre_logits_fix_scanvi.pt");
    cpt_model *m;
    assert_ok(cpt_model_open(path, &m, NULL, &err));
    assert_int_equal(m->dim, 10);
    assert_string_equal(cpt_text_str(&m->description),
                        "scANVI (its scVI part), 100 genes, 1 layer, 128 hidden, 10 latent, ZINB");
    cpt_model_free(m);
}

/* Its cells, embedded by the real SCANVI.load. */
static void test_scanvi_embedding(void **state)
{
    cpt_err err;
    NEED_SHARED(model_path, "weights/scvi-family/pre_logits_fix_scanvi.pt");
    NEED_SHARED(cells_path, "weights/scvi-family/pre_logits_fix_scanvi.h5ad");
    NEED_SHARED(golden, "golden/scvi");
    char folder[] = "/tmp/cpt_scvi_XXXXXX";
    const cpt_import_options options = {.need_counts = true, .allow_non_counts = true};
    cpt_context ctx;
    cpt_cells *cells;
    cpt_model *m;
    cpt_counts counts;
    cpt_context_init(&ctx);
    assert_non_null(mkdtemp(folder));
    assert_ok(cpt_import(cells_path, folder, &options, &ctx, &err));
    assert_ok(cpt_cells_open(folder, &cells, &err));
    assert_ok(cpt_model_open(model_path, &m, &ctx, &err));
    for (int g = 0; g < 100; g++)
        assert_string_equal(cpt_strings_get(&cells->gene_ids, g), cpt_strings_get(&m->gene_names, g));
    assert_ok(cpt_counts_init(&counts, &cells->by_cell, NULL, m->n_genes, &err));
    cpt_checkpoint *c = golden_file(golden, ".", "scanvi_pre_logits_fix.safetensors");
    float *want = golden_f32(c, "q_m"), out[400];
    assert_ok(m->ops->embed(m, &counts, 0, 40, out, &ctx, &err));
    for (int i = 0; i < 400; i++) assert_near(out[i], want[i], 5e-6);
    free(want);
    cpt_checkpoint_free(c);
    cpt_model_free(m);
    cpt_cells_free(cells);
    assert_ok(cpt_remove_tree(folder, &err));
}

static void test_other_classes_are_refused(void **state)
{
    cpt_err err;
    NEED_SHARED(folder, "weights/scvi-family");
    static const char *const files[][2] = {
        {"decipher.pt", "is a Decipher model"}, {"exp_activation_totalvi.pt", "is a TOTALVI model"},
        {"rnastereoscope.pt", "is a RNAStereoscope model"}, {"saved_model_multimodal.pt", "is a TOTALVI model"},
        {"test_condscvi.pt", "is a CondSCVI model"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1200];
        cpt_model *m;
        snprintf(path, sizeof path, "%s/%s", folder, files[i][0]);
        assert_int_equal(cpt_model_open(path, &m, NULL, &err), CPT_ERR_UNSUPPORTED);
        if (!strstr(err.text, files[i][1]) || !strstr(err.text, files[i][0]))
            fail_msg("%s: %s", files[i][0], err.text);
        assert_null(m);
    }
}

/* ---- our own ---- */

static cpt_scvi *small_model(bool zero_inflated, int32_t n_batches)
{
    cpt_err err;
    const scvi_shape shape = {.n_genes = 30, .n_hidden = 9, .n_latent = 4, .n_layers = 2,
                              .n_covariates = n_batches, .deep = true, .encoder_norm = true,
                              .decoder_norm = true, .has_px_r = true, .log_input = true,
                              .zero_inflated = zero_inflated};
    cpt_scvi *m;
    assert_ok(scvi_new(&shape, &m, &err));
    scvi_initialise(m, 4);
    m->n_batches = n_batches;
    m->dropout = 0.1;
    m->encoder[1].n_tracked = 77;
    for (int32_t j = 0; j < 9; j++) m->encoder[0].running_var[j] = 0.1f * (float)(j + 1);
    for (int g = 0; g < 30; g++) {
        char name[24];
        int n = snprintf(name, sizeof name, g == 3 ? "g\xc3\xa9ne-%d" : "gene\"%d", g);
        assert_ok(cpt_strings_add(&m->base.gene_names, name, (size_t)n, &err));
    }
    for (int32_t b = 0; b < n_batches; b++) assert_ok(cpt_strings_add(&m->batch_names, b ? "two" : "one", 3, &err));
    if (n_batches) cpt_text_add(&m->batch_key, "donor");
    assert_ok(scvi_finish(m, &err));
    return m;
}

static void check_same(const cpt_model *one, const cpt_model *two)
{
    const cpt_scvi *a = scvi_of(one), *b = scvi_of(two);
    assert_int_equal(a->n_parameters, b->n_parameters);
    assert_memory_equal(a->parameters, b->parameters, sizeof(float) * (size_t)a->n_parameters);
    assert_memory_equal(a->encoder[0].running_var, b->encoder[0].running_var, 9 * sizeof(float));
    assert_memory_equal(a->encoder[0].shift, b->encoder[0].shift, 9 * sizeof(float));
    assert_int_equal(a->encoder[1].n_tracked, b->encoder[1].n_tracked);
    assert_int_equal(a->n_batches, b->n_batches);
    assert_near(a->dropout, b->dropout, 0);
    assert_string_equal(cpt_text_str(&one->description), cpt_text_str(&two->description));
    assert_string_equal(cpt_text_str(&a->batch_key), cpt_text_str(&b->batch_key));
    for (int g = 0; g < 30; g++)
        assert_string_equal(cpt_strings_get(&one->gene_names, g), cpt_strings_get(&two->gene_names, g));
    for (int32_t i = 0; i < a->n_batches; i++)
        assert_string_equal(cpt_strings_get(&a->batch_names, i), cpt_strings_get(&b->batch_names, i));
}

static void test_round_trips(void **state)
{
    cpt_err err;
    char folder[] = "/tmp/cpt_scvi_XXXXXX", path[300];
    assert_non_null(mkdtemp(folder));
    for (int which = 0; which < 4; which++) {
        cpt_scvi *m = small_model(which & 1, which & 2);
        cpt_model *again;
        snprintf(path, sizeof path, "%s/model.safetensors", folder);
        assert_ok(cpt_scvi_save_tensors(&m->base, path, &err));
        assert_ok(cpt_model_open(path, &again, NULL, &err));
        check_same(&m->base, again);
        cpt_model_free(again);
        snprintf(path, sizeof path, "%s/tools%d", folder, which);
        assert_ok(m->base.ops->save(&m->base, path, &err));
        assert_ok(cpt_model_open(path, &again, NULL, &err));
        check_same(&m->base, again);
        cpt_model_free(again);
        cpt_model_free(&m->base);
    }
    assert_ok(cpt_remove_tree(folder, &err));
}

/* With $CPT_SCVI_CASES, the folders stay there for test/golden/check_scvi_save.py. */
static void test_golden_models_saved_again(void **state)
{
    cpt_err err;
    NEED_SHARED(golden, "golden/scvi");
    const char *keep = getenv("CPT_SCVI_CASES");
    char folder[] = "/tmp/cpt_scvi_XXXXXX", path[1200], saved[1200];
    assert_non_null(mkdtemp(folder));
    for (int which = 0; which < 2; which++) {
        cpt_model *m, *again;
        snprintf(path, sizeof path, "%s/%s", golden, which ? "zinb2" : "nb1");
        snprintf(saved, sizeof saved, "%s/%s", keep ? keep : folder, which ? "zinb2" : "nb1");
        assert_ok(cpt_model_open(path, &m, NULL, &err));
        assert_ok(cpt_scvi_save(m, saved, &err));
        assert_ok(cpt_model_open(saved, &again, NULL, &err));
        assert_memory_equal(scvi_of(m)->parameters, scvi_of(again)->parameters,
                            sizeof(float) * (size_t)scvi_of(m)->n_parameters);
        assert_memory_equal(scvi_of(m)->encoder[0].shift, scvi_of(again)->encoder[0].shift,
                            12 * sizeof(float));
        cpt_model_free(m);
        cpt_model_free(again);
    }
    assert_ok(cpt_remove_tree(folder, &err));
}

static void expect(const char *path, cpt_status code, const char *words)
{
    cpt_err err;
    cpt_model *m = NULL;
    cpt_status got = cpt_model_open(path, &m, NULL, &err);
    if (got != code || !strstr(err.text, words)) fail_msg("%s: %d, %s", path, got, got ? err.text : "opened");
    assert_null(m);
}

/* Writes the model's tensors with one left out or changed, or other metadata. */
static void write_changed(const cpt_scvi *m, const char *path, const char *drop, const char *key,
                          const char *text)
{
    cpt_err err;
    scvi_export x;
    const char *const pairs[] = {key, text};
    assert_ok(scvi_export_init(&x, m, false, &err));
    for (int32_t i = 0; i < x.n; i++)
        if (drop && strcmp(x.tensors[i].name, drop) == 0) x.tensors[i] = x.tensors[--x.n];
    assert_ok(cpt_safetensors_write(path, x.n, x.tensors, 1, pairs, &err));
    scvi_export_free(&x);
}

static void test_damaged_files(void **state)
{
    cpt_err err;
    char folder[] = "/tmp/cpt_scvi_XXXXXX", path[300], text[1024] = "", *p = text;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    cpt_scvi *m = small_model(true, 0);
    for (int g = 0; g < 30; g++) p += sprintf(p, "%s\"g%d\"", g ? "," : "", g);
    char good[1300], bad[1300];
    snprintf(good, sizeof good, "{\"likelihood\":\"zinb\",\"log_input\":true,\"genes\":[%s]}", text);
    static const char *const needed[] = {"px_r", "z_encoder.mean_encoder.bias",
        "decoder.px_scale_decoder.0.bias", "decoder.px_dropout_decoder.weight",
        "z_encoder.encoder.fc_layers.Layer 1.1.running_var", "decoder.px_decoder.fc_layers.Layer 1.0.bias",
        "z_encoder.encoder.fc_layers.Layer 0.0.weight", "decoder.px_decoder.fc_layers.Layer 0.0.weight"};
    for (size_t i = 1; i < sizeof needed / sizeof *needed; i++) {
        write_changed(m, path, needed[i], SCVI_METADATA, good);
        expect(path, CPT_ERR_FORMAT, needed[i]);
        expect(path, CPT_ERR_FORMAT, "model.safetensors");
    }
    write_changed(m, path, NULL, "other", good);
    expect(path, CPT_ERR_UNSUPPORTED, "not of a model that conceptome saved");
    write_changed(m, path, NULL, SCVI_METADATA, "{\"likelihood\"");
    expect(path, CPT_ERR_FORMAT, "damaged");
    write_changed(m, path, NULL, SCVI_METADATA, "{\"likelihood\":\"nb\",\"genes\":[\"A\"]}");
    expect(path, CPT_ERR_FORMAT, "1 gene names, but the tensors are of 30 genes");
    snprintf(bad, sizeof bad, "{\"likelihood\":\"nb\",\"genes\":[%s]}", text);
    memcpy(strstr(bad, "\"g1\""), "\"g0\"", 4);
    write_changed(m, path, NULL, SCVI_METADATA, bad);
    expect(path, CPT_ERR_DATA, "genes 0 and 1 of the model are both called g0");
    m->encoder[0].weight[3] = NAN;
    write_changed(m, path, NULL, SCVI_METADATA, good);
    expect(path, CPT_ERR_DATA, "not finite");
    cpt_model_free(&m->base);
    assert_ok(cpt_remove_tree(folder, &err));
}

static void test_paths_that_are_no_model(void **state)
{
    cpt_err err;
    char folder[] = "/tmp/cpt_scvi_XXXXXX", path[300];
    assert_non_null(mkdtemp(folder));
    expect("/nowhere/at/all", CPT_ERR_IO, "there is no such file or folder");
    expect(folder, CPT_ERR_FORMAT, "holds no model");
    static const char *const scgpt[] = {"best_model.pt", "args.json", "vocab.json"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, scgpt[i]);
        assert_ok(cpt_write_file(path, "{}", 2, &err));
    }
    cpt_model *m;
    assert_int_not_equal(cpt_model_open(folder, &m, NULL, &err), CPT_OK);
    assert_non_null(strstr(err.text, folder));
    assert_ok(cpt_remove_tree(folder, &err));
    NEED_SHARED(toplevel, "golden/checkpoints/plain.pt");
    expect(toplevel, CPT_ERR_UNSUPPORTED, "no model_state_dict");
    NEED_SHARED(other, "golden/checkpoints/ok.safetensors");
    expect(other, CPT_ERR_UNSUPPORTED, "not of a model that conceptome saved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_models),
        cmocka_unit_test(test_golden_query),
        cmocka_unit_test(test_scanvi),
        cmocka_unit_test(test_scanvi_embedding),
        cmocka_unit_test(test_other_classes_are_refused),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_golden_models_saved_again),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_paths_that_are_no_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
