/* Tokens and bins of scGPT against numpy, torch and the reference's own code (golden/scgpt), digit
 * for digit; what our random choices may and may not depend on; folders that must be refused. */
#include "scgpt_golden.h"

#include "base/random.h"
#include "model/mersenne.h"

enum { LONGEST = 4096 }; /* of the golden binning cases */

static void test_generators(void **state)
{
    NEED_SHARED(path, "golden/scgpt/binning.json");
    json_t *root = golden_json(path);
    static const struct { const char *key; uint32_t seed;
    } permutations[] = {{"torch_manual_seed0_randperm10", 0},
                        {"torch_manual_seed123456789_randperm300", 123456789}};
    cpt_mersenne g;
    int n, order[300];
    double *want = golden_array(json_object_get(root, "np_seed0_first5"), &n);
    cpt_mersenne_seed(&g, 0);
    for (int i = 0; i < n; i++) assert_near(cpt_mersenne_uniform(&g), want[i], 0);
    free(want);
    for (int k = 0; k < 2; k++) {
        want = golden_array(json_object_get(root, permutations[k].key), &n);
        cpt_mersenne_seed(&g, permutations[k].seed);
        cpt_mersenne_torch_permutation(&g, n, order);
        for (int i = 0; i < n; i++) assert_int_equal(order[i], (int)want[i]);
        free(want);
    }
    json_decref(root);
}

/* A model without a network: as many genes as asked, token = gene + 1, <cls> = 0. */
static cpt_scgpt *bare_model(int32_t n_genes, int32_t max_tokens)
{
    cpt_scgpt *m = calloc(1, sizeof *m);
    m->base.ops = &scgpt_ops;
    m->base.n_genes = n_genes;
    m->token_of = calloc((size_t)n_genes, sizeof *m->token_of);
    for (int32_t i = 0; i < n_genes; i++) m->token_of[i] = i + 1;
    m->shape = (scgpt_shape){.n_tokens = n_genes + 1, .pad_value = -2};
    cpt_scgpt_options_init(&m->options);
    m->options.max_tokens = max_tokens;
    return m;
}

static void test_binning_is_numpys(void **state)
{
    cpt_err err;
    NEED_SHARED(path, "golden/scgpt/binning.json");
    json_t *root = golden_json(path), *cases = json_object_get(root, "cases");
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *one = json_array_get(cases, c);
        int n, n_edges;
        double *values = golden_array(json_object_get(one, "values"), &n);
        double *edges = golden_array(json_object_get(one, "bins"), &n_edges), got[SCGPT_EDGES];
        double *left = golden_array(json_object_get(one, "left"), &n);
        double *right = golden_array(json_object_get(one, "right"), &n);
        double *u = golden_array(json_object_get(one, "u"), &n);
        double *digit = golden_array(json_object_get(one, "digits"), &n);
        assert_in_range(n, 1, LONGEST);
        float *x = calloc(LONGEST, 4), *sorted = calloc(LONGEST, 4), *bins = calloc(LONGEST, 4);
        for (int i = 0; i < n; i++) x[i] = (float)values[i];
        cpt_scgpt *m = bare_model(LONGEST, 1200);
        scgpt_tokenizer t;
        assert_ok(scgpt_tokenizer_init(&t, m, &err));
        scgpt_bin(&t, n, x, u, bins);
        memcpy(sorted, t.sorted, sizeof *sorted * (size_t)n);
        scgpt_bin_edges(n, sorted, got);
        assert_int_equal(n_edges, SCGPT_EDGES);
        for (int j = 0; j < n_edges; j++) assert_near(got[j], edges[j], 0);
        for (int i = 0; i < n; i++) {
            int32_t l, r;
            scgpt_bin_range(got, x[i], &l, &r);
            assert_int_equal(l, (int)left[i]);
            assert_int_equal(r, (int)right[i]);
            assert_int_equal(scgpt_bin_choose(l, r, u[i]), (int)digit[i]);
            assert_near(bins[i], digit[i], 0);
        }
        scgpt_bin(&t, n, x, NULL, bins);
        for (int i = 0; i < n; i++) assert_near(bins[i], left[i], 0);
        scgpt_tokenizer_free(&t);
        cpt_model_free(&m->base);
        free(values), free(edges), free(left), free(right), free(u), free(digit), free(x),
            free(sorted), free(bins);
    }
    assert_true(json_array_size(cases) >= 13);
    json_decref(root);
}

static void test_zeros_stay_zero(void **state)
{
    cpt_err err;
    NEED_SHARED(path, "golden/scgpt/binning.json");
    json_t *root = golden_json(path), *zeros = json_object_get(root, "zeros");
    int n;
    double *row = golden_array(json_object_get(zeros, "row_with_zeros"), &n), u[16];
    double *want = golden_array(json_object_get(zeros, "binned_seed5"), &n);
    float x[16] = {0}, bins[16];
    cpt_mersenne g;
    cpt_scgpt *m = bare_model(16, 1200);
    scgpt_tokenizer t;
    assert_ok(scgpt_tokenizer_init(&t, m, &err));
    cpt_mersenne_seed(&g, 5);
    for (int i = 0; i < n; i++) x[i] = (float)row[i];
    for (int i = 0; i < n; i++) u[i] = cpt_mersenne_uniform(&g);
    scgpt_bin(&t, n, x, u, bins);
    for (int i = 0; i < n; i++) assert_near(bins[i], want[i], 0);
    memset(x, 0, sizeof x);
    scgpt_bin(&t, 4, x, NULL, bins);
    for (int i = 0; i < 4; i++) assert_near(bins[i], 0, 0);
    scgpt_tokenizer_free(&t);
    cpt_model_free(&m->base);
    free(row), free(want);
    json_decref(root);
}

/* Golden counts as rows of model genes; columns of unknown genes and second columns of a gene -1.
 */
typedef struct golden_counts {
    cpt_csr csr;
    cpt_counts counts;
    int32_t *map;
    bool *repeated; /* [12] cells that have a second column of a gene */
} golden_counts;

static void read_counts(const golden_scgpt *g, golden_counts *out)
{
    cpt_err err;
    double *values = golden_numbers(g->file, "counts"),
           *token = golden_numbers(g->file, "gene_token_id");
    const int32_t columns = g->columns, cells = GOLDEN_SCGPT_CELLS;
    int64_t *indptr = calloc((size_t)cells + 1, sizeof *indptr), n = 0;
    int32_t *indices = calloc((size_t)(columns * cells), 4);
    float *kept = calloc((size_t)(columns * cells), 4);
    bool *taken = calloc((size_t)g->model->n_genes, 1);
    out->map = calloc((size_t)columns, 4);
    out->repeated = calloc((size_t)cells, 1);
    for (int32_t j = 0; j < columns; j++) {
        out->map[j] = token[j] < 0 ? -1 : golden_gene(golden_network(g), (int32_t)token[j]);
        const bool again = out->map[j] >= 0 && taken[out->map[j]];
        if (out->map[j] >= 0) taken[out->map[j]] = true;
        if (again) {
            out->map[j] = -1;
            for (int32_t c = 0; c < cells; c++) out->repeated[c] |= values[c * columns + j] != 0;
        }
    }
    for (int32_t c = 0; c < cells; c++) {
        for (int32_t j = 0; j < columns; j++)
            if (values[c * columns + j] != 0) {
                indices[n] = j;
                kept[n++] = (float)values[c * columns + j];
            }
        indptr[c + 1] = n;
    }
    out->csr = (cpt_csr){cells, columns, indptr, indices, kept};
    assert_ok(cpt_counts_init(&out->counts, &out->csr, out->map, g->model->n_genes, &err));
    free(values), free(token), free(taken);
}

static void free_counts(golden_counts *c)
{
    free((void *)(uintptr_t)c->csr.indptr);
    free((void *)(uintptr_t)c->csr.indices);
    free((void *)(uintptr_t)c->csr.values);
    free(c->map);
    free(c->repeated);
}

static void test_golden_cells(void **state)
{
    cpt_err err;
    NEED_SHARED(folder, "golden/scgpt");
    static const char *const names[] = {"tiny", "medium"};
    for (int k = 0; k < 2; k++) {
        golden_scgpt g;
        golden_counts c;
        golden_scgpt_open(&g, folder, names[k]);
        read_counts(&g, &c);
        const cpt_scgpt *m = golden_network(&g);
        double *want = golden_numbers(g.file, "cls_l2_f64"),
               *random = golden_numbers(g.file, "cls_l2_ties_random");
        float *out = calloc(GOLDEN_SCGPT_CELLS * 64, 4),
              *again = calloc(GOLDEN_SCGPT_CELLS * 64, 4);
        cpt_context ctx;
        scgpt_tokenizer t;
        int n_checked = 0;
        assert_ok(scgpt_tokenizer_init(&t, m, &err));
        cpt_context_init(&ctx);
        ctx.n_threads = 1;
        assert_ok(g.model->ops->embed(g.model, &c.counts, 0, GOLDEN_SCGPT_CELLS, out, &ctx, &err));
        for (int i = 0; i < GOLDEN_SCGPT_CELLS; i++) {
            if (c.repeated[i]) continue; /* the reference makes two tokens of such a gene */
            int32_t ids[256], n = golden_cell(&g, i, "bin_left", ids, (float[256]){0});
            float values[256];
            golden_cell(&g, i, "bin_left", ids, values);
            scgpt_tokenize(&t, m, &c.counts, i, CPT_SCGPT_TIES_LEFT);
            assert_int_equal(t.cell.n, n);
            for (int a = 0; a < n; a++)
                for (int b = 0; b < n; b++)
                    if (t.cell.ids[b] == ids[a]) assert_near(t.cell.values[b], values[a], 0);
            for (int j = 0; j < g.width; j++)
                assert_near(out[i * g.width + j], want[i * g.width + j], 2e-6);
            n_checked++;
        }
        assert_true(n_checked >=
                    (k == 0 ? 12 : 3)); /* nearly all cells of medium have such a gene */
        ctx.n_threads = 3;
        assert_ok(
            g.model->ops->embed(g.model, &c.counts, 0, GOLDEN_SCGPT_CELLS, again, &ctx, &err));
        assert_memory_equal(out, again, sizeof *out * (size_t)(GOLDEN_SCGPT_CELLS * g.width));
        for (int i = 0; i < GOLDEN_SCGPT_CELLS; i++) { /* one by one, threads inside the cell */
            assert_ok(g.model->ops->embed(g.model, &c.counts, i, 1, again, &ctx, &err));
            assert_memory_equal(out + i * g.width, again, sizeof *out * (size_t)g.width);
        }
        cpt_scgpt_options o = m->options;
        o.ties = CPT_SCGPT_TIES_NUMPY;
        o.seed = 1000;
        assert_ok(cpt_scgpt_set_options(g.model, &o, &err));
        assert_ok(g.model->ops->embed(g.model, &c.counts, 0, GOLDEN_SCGPT_CELLS, out, &ctx, &err));
        for (int i = 0; i < GOLDEN_SCGPT_CELLS; i++)
            for (int j = 0; !c.repeated[i] && j < g.width; j++)
                assert_near(out[i * g.width + j], random[i * g.width + j], 2e-6);
        scgpt_tokenizer_free(&t);
        free(want), free(random), free(out), free(again);
        free_counts(&c);
        golden_scgpt_close(&g);
    }
}

/* ---- our own random choices ---- */

enum { MANY = 400 };

/* One row over MANY genes, its columns turned round by `shift`, at row `at`. */
static void make_row(int32_t shift, int32_t at, golden_counts *c)
{
    cpt_err err;
    cpt_stream s;
    int64_t *indptr = calloc((size_t)at + 2, sizeof *indptr);
    int32_t *indices = calloc(MANY, 4);
    float *values = calloc(MANY, 4), counts[MANY];
    c->map = calloc(MANY, 4);
    c->repeated = NULL;
    cpt_stream_init(&s, 4, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < MANY; i++) counts[i] = (float)(1 + cpt_stream_poisson(&s, 0.7));
    for (int i = 0; i < MANY; i++) {
        indices[i] = i;
        c->map[i] = (i * 7 + shift) % MANY;
        values[i] = counts[c->map[i]];
    }
    indptr[at + 1] = MANY;
    c->csr = (cpt_csr){at + 1, MANY, indptr, indices, values};
    assert_ok(cpt_counts_init(&c->counts, &c->csr, c->map, MANY, &err));
}

static void test_random_choices_depend_on_content(void **state)
{
    cpt_err err;
    static const cpt_scgpt_overflow rules[] = {CPT_SCGPT_OVERFLOW_RANDOM, CPT_SCGPT_OVERFLOW_TOP};
    for (int k = 0; k < 2; k++) {
        cpt_scgpt *m = bare_model(MANY, 101);
        scgpt_tokenizer a, b;
        golden_counts first, second;
        m->options.overflow = rules[k];
        assert_ok(scgpt_tokenizer_init(&a, m, &err));
        assert_ok(scgpt_tokenizer_init(&b, m, &err));
        make_row(0, 0, &first);
        make_row(13, 5, &second);
        scgpt_tokenize(&a, m, &first.counts, 0, CPT_SCGPT_TIES_RANDOM);
        scgpt_tokenize(&b, m, &second.counts, 5, CPT_SCGPT_TIES_RANDOM);
        assert_int_equal(a.cell.n, 101);
        assert_int_equal(b.cell.n, 101);
        assert_memory_equal(a.cell.genes, b.cell.genes, 101 * sizeof(int32_t));
        assert_memory_equal(a.cell.values, b.cell.values, 101 * sizeof(float));
        for (int i = 2; i < 101; i++) assert_true(a.cell.genes[i] > a.cell.genes[i - 1]);
        double least = INFINITY, most_out = 0; /* counts kept, and lost */
        for (int i = 0; i < MANY; i++) {
            bool kept = false;
            for (int j = 1; j < 101; j++) kept = kept || a.cell.genes[j] == first.map[i];
            if (kept) least = fmin(least, first.csr.values[i]);
            else most_out = fmax(most_out, first.csr.values[i]);
        }
        assert_int_equal(rules[k] == CPT_SCGPT_OVERFLOW_TOP, least >= most_out);
        m->options.seed = 1; /* another seed, another choice */
        scgpt_tokenize(&b, m, &second.counts, 5, CPT_SCGPT_TIES_RANDOM);
        assert_memory_not_equal(a.cell.genes, b.cell.genes, 101 * sizeof(int32_t));
        free_counts(&first), free_counts(&second);
        scgpt_tokenizer_free(&a), scgpt_tokenizer_free(&b);
        cpt_model_free(&m->base);
    }
}

/* Ties are uniform over the bins that are possible. */
static void test_random_ties_are_uniform(void **state)
{
    cpt_err err;
    cpt_scgpt *m = bare_model(MANY, 1200);
    scgpt_tokenizer t;
    golden_counts row;
    double sum = 0;
    int32_t n = 0, low = 50, high = 0, left, right;
    double edges[SCGPT_EDGES];
    assert_ok(scgpt_tokenizer_init(&t, m, &err));
    make_row(0, 0, &row);
    for (uint64_t seed = 0; seed < 40; seed++) {
        m->options.seed = seed;
        scgpt_tokenize(&t, m, &row.counts, 0, CPT_SCGPT_TIES_RANDOM);
        for (int32_t i = 0; i < MANY; i++) {
            if (t.raw_counts[i] != 1) continue;
            int32_t bin = (int32_t)t.raw_bins[i];
            sum += bin;
            n++;
            low = bin < low ? bin : low;
            high = bin > high ? bin : high;
        }
    }
    scgpt_bin_edges(MANY, t.sorted, edges);
    scgpt_bin_range(edges, 1, &left, &right);
    assert_int_equal(low, right + 1);
    assert_int_equal(high, left);
    const double width = left - right, error = width / sqrt(12.0 * n);
    assert_near(sum / n, (left + right + 1) / 2.0, 4 * error);
    free_counts(&row);
    scgpt_tokenizer_free(&t);
    cpt_model_free(&m->base);
}

static void test_sampling_is_torchs(void **state)
{
    cpt_err err;
    NEED_SHARED(path, "golden/scgpt/binning.json");
    json_t *root = golden_json(path), *cases = json_object_get(root, "sampling");
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *one = json_array_get(cases, c);
        const int32_t tokens = (int32_t)golden_get(one, "tokens"),
                      room = (int32_t)golden_get(one, "max_length");
        int n, found = 0;
        double *want = golden_array(json_object_get(one, "kept_positions"), &n);
        cpt_scgpt *m = bare_model(tokens - 1, room);
        m->options.overflow = CPT_SCGPT_OVERFLOW_TORCH;
        m->options.seed = (uint64_t)golden_get(one, "seed");
        const int64_t indptr[2] = {0, tokens - 1};
        int32_t *indices = calloc((size_t)tokens, 4);
        float *values = calloc((size_t)tokens, 4);
        for (int32_t i = 0; i < tokens - 1; i++) {
            indices[i] = i;
            values[i] = 1;
        }
        const cpt_csr csr = {1, tokens - 1, indptr, indices, values};
        cpt_counts counts;
        scgpt_tokenizer t;
        assert_ok(cpt_counts_init(&counts, &csr, NULL, tokens - 1, &err));
        assert_ok(scgpt_tokenizer_init(&t, m, &err));
        scgpt_tokenize(&t, m, &counts, 0, CPT_SCGPT_TIES_LEFT);
        assert_int_equal(t.cell.n, n);
        for (int i = 0; i < n; i++) /* token id = gene + 1 = the reference's position */
            for (int j = 0; j < n; j++) found += t.cell.ids[i] == (int)want[j];
        assert_int_equal(found, n);
        scgpt_tokenizer_free(&t);
        cpt_model_free(&m->base);
        free(want), free(indices), free(values);
    }
    json_decref(root);
}

/* ---- folders ---- */

static void link_file(const char *from, const char *folder, const char *name)
{
    char path[1200], full[4096];
    assert_non_null(realpath(from, full));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    assert_int_equal(symlink(full, path), 0);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    cpt_err err;
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    assert_ok(cpt_write_file(path, text, strlen(text), &err));
}

/* A new folder with a checkpoint of golden/scgpt/micro. */
static void micro_folder(const char *golden, const char *checkpoint, char folder[64])
{
    char from[1200];
    strcpy(folder, "/tmp/scgpt_test_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(from, sizeof from, "%s/micro/%s", golden, checkpoint);
    link_file(from, folder, "best_model.pt");
    snprintf(from, sizeof from, "%s/micro/args.json", golden);
    link_file(from, folder, "args.json");
    snprintf(from, sizeof from, "%s/micro/vocab.json", golden);
    link_file(from, folder, "vocab.json");
}

static void remove_folder(const char *folder)
{
    cpt_err err;
    assert_ok(cpt_remove_tree(folder, &err));
}

typedef struct log_lines {
    int n;
    char last[512];
} log_lines;

static void count_warnings(void *data, cpt_log_level level, const char *text)
{
    log_lines *l = data;
    if (level != CPT_LOG_WARN) return;
    l->n++;
    snprintf(l->last, sizeof l->last, "%s", text);
}

static void test_micro_files(void **state)
{
    cpt_err err;
    NEED_SHARED(golden, "golden/scgpt");
    static const struct { const char *file, *want, *in_error, *in_warning; } cases[] = {
        {"good.pt", "cls_l2_f64", NULL, NULL},
        {"module_prefix.pt", "cls_l2_f64", NULL, NULL},
        {"half_weights.pt", "cls_l2_half_weights", NULL, NULL},
        {"with_batchnorm.pt", "cls_l2_f64", NULL, "batch normalisation"},
        {"missing_attention.pt", NULL, "transformer_encoder.layers.0.self_attn.Wqkv.weight", NULL},
        {"wrong_shape.pt", NULL, "has shape", NULL},
        {"vocab_mismatch.pt", NULL, "vocab.json has 8 tokens", NULL},
        {"nan_weight.pt", NULL, "is not finite", NULL}};
    char path[1200];
    cpt_checkpoint *file;
    snprintf(path, sizeof path, "%s/micro/manifest.json", golden);
    json_t *manifest = golden_json(path), *cells = json_object_get(manifest, "cells");
    snprintf(path, sizeof path, "%s/micro/golden.safetensors", golden);
    assert_ok(cpt_checkpoint_open(path, &file, &err));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char folder[64];
        log_lines lines = {0};
        cpt_context ctx;
        cpt_model *m;
        cpt_context_init(&ctx);
        ctx.log = count_warnings;
        ctx.log_data = &lines;
        micro_folder(golden, cases[k].file, folder);
        cpt_status status = cpt_model_open(folder, &m, &ctx, &err);
        if (cases[k].in_error) {
            assert_int_not_equal(status, CPT_OK);
            if (!strstr(err.text, cases[k].in_error) || !strstr(err.text, "/tmp/"))
                fail_msg("%s: %s", cases[k].file, err.text);
            assert_null(m);
        } else {
            if (status) fail_msg("%s: %s", cases[k].file, err.text);
            assert_int_equal(lines.n, cases[k].in_warning != NULL);
            if (cases[k].in_warning) assert_non_null(strstr(lines.last, cases[k].in_warning));
            for (int c = 0; c < 2; c++) {
                int32_t ids[16], n;
                float values[16], out[8];
                char name[64];
                snprintf(name, sizeof name, "cell%d.%s", c, cases[k].want);
                double *want = golden_numbers(file, name);
                n = golden_tokens(json_array_get(cells, (size_t)c), ids, values);
                network_forward(scgpt_of(m), n, ids, values, NULL, out);
                for (int j = 0; j < 8; j++) assert_near(out[j], want[j], 2e-6);
                free(want);
            }
            cpt_model_free(m);
        }
        remove_folder(folder);
    }
    cpt_checkpoint_free(file);
    json_decref(manifest);
}

static void test_spellings_are_one_model(void **state)
{
    NEED_SHARED(golden, "golden/scgpt");
    static const char *const names[] = {"tiny_in_proj", "tiny_impl"};
    cpt_model *tiny = scgpt_load(golden, "tiny");
    const int32_t ids[5] = {21, 0, 1, 12, 14};
    const float values[5] = {-2, 50, 7, 3, 28};
    float want[16], got[16];
    network_forward(scgpt_of(tiny), 5, ids, values, NULL, want);
    for (int k = 0; k < 2; k++) {
        cpt_model *m = scgpt_load(golden, names[k]);
        network_forward(scgpt_of(m), 5, ids, values, NULL, got);
        assert_memory_equal(got, want, sizeof got);
        cpt_model_free(m);
    }
    assert_int_equal(tiny->n_genes, 20); /* without <pad>, <cls>, <eoc> */
    assert_string_equal(cpt_strings_get(&tiny->gene_names, 19), "GENE19");
    assert_non_null(strstr(cpt_text_str(&tiny->description), "scGPT, 20 genes, 2 layers"));
    cpt_model_free(tiny);
}

/* model.safetensors, with a tensor that belongs to no scGPT. */
static void test_safetensors(void **state)
{
    cpt_err err;
    NEED_SHARED(golden, "golden/scgpt");
    char folder[64], path[1200];
    cpt_model *tiny = scgpt_load(golden, "tiny"), *m;
    const cpt_checkpoint *file = scgpt_of(tiny)->file;
    cpt_tensor *tensors = calloc((size_t)file->n_tensors + 1, sizeof *tensors);
    const int32_t ids[4] = {21, 3, 1, 12};
    const float values[4] = {-2, 50, 7, 3};
    float want[16], got[16];
    memcpy(tensors, file->tensors, sizeof *tensors * (size_t)file->n_tensors);
    tensors[file->n_tensors] = tensors[0];
    tensors[file->n_tensors].name = "lora.A";
    micro_folder(golden, "good.pt", folder);
    snprintf(path, sizeof path, "%s/best_model.pt", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_ok(cpt_safetensors_write(path, file->n_tensors + 1, tensors, 0, NULL, &err));
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = {"args.json", "vocab.json"};
        snprintf(path, sizeof path, "%s/tiny/%s", golden, names[i]);
        link_file(path, folder, names[i]);
    }
    assert_ok(cpt_model_open(folder, &m, NULL, &err));
    network_forward(scgpt_of(tiny), 4, ids, values, NULL, want);
    network_forward(scgpt_of(m), 4, ids, values, NULL, got);
    assert_memory_equal(got, want, sizeof got);
    assert_int_equal(cpt_scgpt_unknown_tensors(tiny)->n, 0);
    assert_int_equal(cpt_scgpt_unknown_tensors(m)->n, 1);
    assert_string_equal(cpt_strings_get(cpt_scgpt_unknown_tensors(m), 0), "lora.A");
    free(tensors);
    cpt_model_free(tiny);
    cpt_model_free(m);
    remove_folder(folder);
}

/* A file that was cut short, at any place. */
static void test_truncated_weights(void **state)
{
    cpt_err err;
    NEED_SHARED(golden, "golden/scgpt");
    char folder[64], path[1200];
    cpt_map map;
    cpt_model *m;
    snprintf(path, sizeof path, "%s/micro/good.pt", golden);
    assert_ok(cpt_map_open(path, &map, &err));
    micro_folder(golden, "good.pt", folder);
    snprintf(path, sizeof path, "%s/best_model.pt", folder);
    for (size_t size = 0; size < map.size; size += 1 + map.size / 23) {
        unlink(path);
        assert_ok(cpt_write_file(path, map.bytes, size, &err));
        assert_int_not_equal(cpt_model_open(folder, &m, NULL, &err), CPT_OK);
        assert_non_null(strstr(err.text, "best_model.pt"));
        assert_null(m);
    }
    cpt_map_close(&map);
    remove_folder(folder);
}

static void test_bad_settings_are_refused(void **state)
{
    cpt_err err;
    NEED_SHARED(golden, "golden/scgpt");
    static const struct { const char *file, *text, *in_error;
    } cases[] =
        {{"vocab.json",
          "{\"A\": 0, \"B\": 1, \"C\": 2, \"D\": 3, \"E\": 4, \"<pad>\": 5, \"<cls>\": 6, "
          "\"<eoc>\": 8}",
          "gap"},
         {"vocab.json",
          "{\"A\": 0, \"B\": 1, \"C\": 2, \"D\": 3, \"E\": 4, \"<pad>\": 5, \"<cls>\": 6, "
          "\"<eoc>\": 6}",
          "both have id 6"},
         {"vocab.json", "{\"A\": 0, \"A\": 1}", "duplicate"},
         {"vocab.json", "{\"A\": 0, \"B\": -1}", "no whole number"},
         {"vocab.json", "{\"A\": 0, \"B\": 1.5}", "no whole number"},
         {"vocab.json", "{\"A\": 0, \"B\": 1}", "<cls>"},
         {"vocab.json", "{\"<cls>\": 0}", "no genes"},
         {"vocab.json", "[1, 2]", "no JSON object"},
         {"vocab.json", "{\"A\": 0,", "line 1"},
         {"vocab.json", "", "line"},
         {"args.json", "{\"embsize\": 8, \"nheads\": 2, \"d_hid\": 6}", "nlayers"},
         {"args.json", "{\"embsize\": 8, \"nheads\": 2, \"d_hid\": 6, \"nlayers\": 0}", "nlayers"},
         {"args.json", "{\"embsize\": 8, \"nheads\": 2, \"d_hid\": 6, \"nlayers\": 1e9}",
          "nlayers"},
         {"args.json", "{\"embsize\": 8, \"nheads\": 3, \"d_hid\": 6, \"nlayers\": 1}",
          "no multiple"},
         {"args.json", "{\"embsize\": 16, \"nheads\": 2, \"d_hid\": 6, \"nlayers\": 1}",
          "embsize 16"},
         {"args.json", "{\"embsize\": 8, \"nheads\": 2, \"d_hid\": 7, \"nlayers\": 1}",
          "linear1.weight"},
         {"args.json", "{\"embsize\": 8, \"nheads\": 2, \"d_hid\": 6, \"nlayers\": 2}",
          "layers.1."},
         {"args.json",
          "{\"embsize\": 8, \"nheads\": 2, \"d_hid\": 6, \"nlayers\": 1, \"input_emb_style\": "
          "\"category\"}",
          "category"},
         {"args.json",
          "{\"embsize\": 8, \"nheads\": 2, \"d_hid\": 6, \"nlayers\": 1, \"pre_norm\": true}",
          "pre_norm"},
         {"args.json",
          "{\"embsize\": 8, \"nheads\": 2, \"d_hid\": 6, \"nlayers\": 1, \"pad_value\": \"x\"}",
          "pad_value"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char folder[64];
        cpt_model *m;
        micro_folder(golden, "good.pt", folder);
        write_text(folder, cases[k].file, cases[k].text);
        assert_int_not_equal(cpt_model_open(folder, &m, NULL, &err), CPT_OK);
        if (!strstr(err.text, cases[k].in_error)) fail_msg("%s: %s", cases[k].text, err.text);
        assert_null(m);
        remove_folder(folder);
    }
}

/* args.json that says less layers than the file has would silently be another model. */
static void test_layers_left_over(void **state)
{
    cpt_err err;
    NEED_SHARED(golden, "golden/scgpt");
    char folder[64], from[1200];
    cpt_model *m;
    micro_folder(golden, "good.pt", folder);
    snprintf(from, sizeof from, "%s/tiny/best_model.pt", golden);
    link_file(from, folder, "best_model.pt");
    snprintf(from, sizeof from, "%s/tiny/vocab.json", golden);
    link_file(from, folder, "vocab.json");
    write_text(folder, "args.json",
               "{\"embsize\": 16, \"nheads\": 2, \"d_hid\": 16, \"nlayers\": 1}");
    assert_int_equal(cpt_model_open(folder, &m, NULL, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "nlayers 1, but there is a tensor"));
    remove_folder(folder);
}

static void test_unusable_cells_and_options(void **state)
{
    cpt_err err;
    NEED_SHARED(golden, "golden/scgpt");
    cpt_model *m = scgpt_load(golden, "tiny");
    const int64_t indptr[4] = {0, 0, 2, 4};
    const int32_t indices[4] = {1, 5, 0, 3}, map[6] = {0, -1, 1, 2, 3, -1};
    const float values[4] = {3, 4, NAN, 1};
    const cpt_csr csr = {3, 6, indptr, indices, values};
    cpt_counts counts;
    cpt_profile p;
    float out[3 * 16];
    int64_t unusable;
    assert_ok(cpt_counts_init(&counts, &csr, map, m->n_genes, &err));
    assert_ok(cpt_model_embed_all(m, &counts, out, &unusable, NULL, &err));
    assert_int_equal(unusable, 3); /* empty, no gene of the vocabulary, not finite */
    for (int i = 0; i < 3 * 16; i++) assert_true(isnan(out[i]));
    assert_ok(m->ops->profile(m, &counts, 1, &p, &err));
    assert_int_equal(p.n, 0);
    cpt_profile_free(&p);
    assert_int_equal(m->ops->profile(m, &counts, 2, &p, &err), CPT_ERR_DATA);
    counts.n_genes = 5;
    assert_int_equal(m->ops->embed(m, &counts, 0, 1, out, NULL, &err), CPT_ERR_USAGE);
    cpt_scgpt_options o = scgpt_of(m)->options;
    o.max_tokens = 1;
    assert_int_equal(cpt_scgpt_set_options(m, &o, &err), CPT_ERR_USAGE);
    o.max_tokens = 900;
    o.overflow = CPT_SCGPT_OVERFLOW_TOP;
    assert_ok(cpt_scgpt_set_options(m, &o, &err));
    assert_non_null(
        strstr(cpt_text_str(&m->description), "more than 899 genes keep the highest counts"));
    cpt_model_free(m);
}

static void test_whole_human_vocabulary(void **state)
{
    cpt_err err;
    NEED_SHARED(weights, "weights/scgpt");
    NEED_SHARED(golden, "golden/scgpt");
    char folder[64], from[1200];
    cpt_model *m;
    micro_folder(golden, "good.pt", folder);
    snprintf(from, sizeof from, "%s/vocab.json", weights);
    link_file(from, folder, "vocab.json");
    snprintf(from, sizeof from, "%s/args_whole_human.json", weights);
    link_file(from, folder, "args.json");
    assert_int_equal(cpt_model_open(folder, &m, NULL, &err),
                     CPT_ERR_FORMAT); /* read, and told apart */
    assert_non_null(strstr(err.text, "vocab.json has 60697 tokens"));
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generators),
        cmocka_unit_test(test_binning_is_numpys),
        cmocka_unit_test(test_zeros_stay_zero),
        cmocka_unit_test(test_golden_cells),
        cmocka_unit_test(test_random_choices_depend_on_content),
        cmocka_unit_test(test_random_ties_are_uniform),
        cmocka_unit_test(test_sampling_is_torchs),
        cmocka_unit_test(test_micro_files),
        cmocka_unit_test(test_spellings_are_one_model),
        cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_truncated_weights),
        cmocka_unit_test(test_bad_settings_are_refused),
        cmocka_unit_test(test_layers_left_over),
        cmocka_unit_test(test_unusable_cells_and_options),
        cmocka_unit_test(test_whole_human_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
