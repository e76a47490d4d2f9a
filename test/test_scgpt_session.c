/* Perturbation sessions of scGPT against the real network's changed cells (golden/scgpt swaps),
 * against a whole forward pass of every changed cell, and gradients against central differences. */
#include "scgpt_golden.h"

#include "base/memory.h"
#include "base/random.h"

/* ---- a random network ---- */

static const float *random_values(cpt_scgpt *m, cpt_stream *s, int64_t n, double mean,
                                  double spread)
{
    cpt_err err;
    float *v;
    assert_ok(cpt_grow(&m->owned, &m->owned_capacity, m->n_owned + 1, sizeof *m->owned, &err));
    assert_ok(cpt_alloc(&v, (size_t)n, sizeof *v, &err));
    for (int64_t i = 0; i < n; i++) v[i] = (float)(mean + spread * cpt_stream_normal(s));
    m->owned[m->n_owned++] = v;
    return v;
}

static scgpt_norm random_norm(cpt_scgpt *m, cpt_stream *s, int64_t d)
{
    const float *gain = random_values(m, s, d, 1, 0.2);
    return (scgpt_norm){gain, random_values(m, s, d, 0, 0.2)};
}

/* `sharp` scales queries and keys: attention that hangs on single tokens. */
static cpt_scgpt *random_network(int32_t genes, int32_t d, int32_t heads, int32_t hidden,
                                 int32_t layers, double sharp)
{
    cpt_err err;
    cpt_stream s;
    cpt_scgpt *m;
    const double unit = 1 / sqrt(d);
    assert_ok(cpt_alloc(&m, 1, sizeof *m, &err));
    cpt_stream_init(&s, 3, CPT_RANDOM_TEST, (uint64_t)(d * layers));
    m->base.ops = &scgpt_ops;
    m->base.n_genes = genes;
    m->base.dim = d;
    m->shape = (scgpt_shape){genes + 1, d, hidden, heads, layers, -2};
    cpt_scgpt_options_init(&m->options);
    assert_ok(cpt_alloc(&m->token_of, (size_t)genes, sizeof *m->token_of, &err));
    for (int32_t i = 0; i < genes; i++) {
        m->token_of[i] = i + 1;
        assert_ok(cpt_strings_add(&m->base.gene_names, "G", 1, &err));
    }
    m->embedding = random_values(m, &s, (genes + 1) * d, 0, 1);
    m->token_norm = random_norm(m, &s, d);
    m->value_in = random_values(m, &s, d, 0, 0.1);
    m->value_in_bias = random_values(m, &s, d, 0, 1);
    m->value_out = random_values(m, &s, d * d, 0, unit);
    m->value_out_bias = random_values(m, &s, d, 0, 0.2);
    m->value_norm = random_norm(m, &s, d);
    assert_ok(cpt_alloc(&m->layers, (size_t)layers, sizeof *m->layers, &err));
    for (int32_t i = 0; i < layers; i++) {
        scgpt_layer *l = &m->layers[i];
        l->qkv_weight = random_values(m, &s, 3 * d * d, 0, unit * sharp);
        l->qkv_bias = random_values(m, &s, 3 * d, 0, 0.1);
        l->out_weight = random_values(m, &s, d * d, 0, unit);
        l->out_bias = random_values(m, &s, d, 0, 0.1);
        l->up_weight = random_values(m, &s, hidden * d, 0, unit);
        l->up_bias = random_values(m, &s, hidden, 0, 0.1);
        l->down_weight = random_values(m, &s, hidden * d, 0, unit);
        l->down_bias = random_values(m, &s, d, 0, 0.1);
        l->norm1 = random_norm(m, &s, d);
        l->norm2 = random_norm(m, &s, d);
    }
    assert_ok(scgpt_finish(m, &err));
    return m;
}

enum { MAX = 400 };

/* A cell in the model's inputs. */
typedef struct cell {
    int32_t n, genes[MAX];
    float values[MAX];
} cell;

static void random_cell(const cpt_scgpt *m, double share, cell *c)
{
    cpt_stream s;
    cpt_stream_init(&s, 8, CPT_RANDOM_TEST, 1);
    c->n = 0;
    for (int32_t g = 0; g < m->base.n_genes; g++) {
        if (cpt_stream_uniform(&s) >= share) continue;
        c->genes[c->n] = g;
        c->values[c->n++] = (float)(1 + cpt_stream_below(&s, 50));
    }
}

/* A whole forward pass of the cell with all n changes, new genes at the end. */
static void changed_forward(const cpt_scgpt *m, const cell *c, int32_t n, const cpt_change *changes,
                            float *out)
{
    int32_t ids[2 * MAX] = {m->cls}, size = 1;
    float values[2 * MAX] = {m->shape.pad_value};
    for (int32_t i = 0; i < c->n + n; i++) {
        int32_t gene = i < c->n ? c->genes[i] : changes[i - c->n].gene;
        float value = i < c->n ? c->values[i] : changes[i - c->n].value;
        bool known = i < c->n;
        for (int32_t k = 0; i < c->n && k < n; k++)
            if (changes[k].gene == gene) value = changes[k].value;
        for (int32_t k = 0; i >= c->n && k < c->n; k++) known = known || c->genes[k] == gene;
        if (value == 0 || (i >= c->n && known)) continue;
        ids[size] = m->token_of[gene];
        values[size++] = value;
    }
    network_forward(m, size, ids, values, NULL, out);
}

static cpt_session *open_cell(const cpt_scgpt *m, cell *c)
{
    cpt_err err;
    cpt_session *s;
    const cpt_profile p = {c->n, c->genes, c->values};
    assert_ok(m->base.ops->session_open(&m->base, &p, &s, &err));
    return s;
}

static double largest(int32_t n, const float *a, const float *b)
{
    double worst = 0;
    for (int32_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

static const struct { int32_t genes, d, heads, hidden, layers; double share, sharp; } cases[] = {
    {60, 32, 4, 24, 3, 0.5, 1}, {300, 64, 2, 64, 4, 0.6, 1}, {40, 8, 2, 6, 1, 0.5, 1},
    {50, 24, 3, 40, 2, 0.4, 4}, {30, 16, 1, 16, 2, 1, 5}, {12, 20, 5, 7, 2, 0.1, 1}};

static void test_singles_are_whole_forwards(void **state)
{
    cpt_err err;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        cpt_scgpt *m = random_network(cases[k].genes, cases[k].d, cases[k].heads, cases[k].hidden,
                                      cases[k].layers, cases[k].sharp);
        const int32_t genes = cases[k].genes, d = cases[k].d;
        cell c;
        cpt_change *changes = calloc((size_t)genes, sizeof *changes);
        float *got = calloc((size_t)(genes * d), 4), *again = calloc((size_t)(genes * d), 4),
              want[64];
        double worst = 0;
        random_cell(m, cases[k].share, &c);
        cpt_session *s = open_cell(m, &c);
        changed_forward(m, &c, 0, NULL, want);
        assert_memory_equal(m->base.ops->session_embedding(s), want, sizeof *want * (size_t)d);
        for (int32_t g = 0; g < genes; g++) /* away, another bin, a real number, the same */
            changes[g] = (cpt_change){g, g % 4 == 0   ? 0
                                         : g % 4 == 1 ? (float)(1 + g % 50)
                                         : g % 4 == 2 ? 17.25f
                                                      : 3};
        assert_ok(m->base.ops->session_singles(s, genes, changes, got, &err));
        for (int32_t g = 0; g < genes; g++) {
            changed_forward(m, &c, 1, &changes[g], want);
            worst = fmax(worst, largest(d, got + g * d, want));
        }
        print_message("%d genes, %d layers: singles differ by %.2g\n", genes, cases[k].layers,
                      worst);
        assert_true(worst <= 2e-6);
        for (int32_t g = genes; g-- > 0;) /* the order of calls leaves nothing behind */
            assert_ok(m->base.ops->session_singles(s, 1, &changes[g], again + g * d, &err));
        assert_memory_equal(got, again, sizeof *got * (size_t)(genes * d));
        m->base.ops->session_free(s);
        cpt_model_free(&m->base);
        free(changes), free(got), free(again);
    }
}

static void test_joint_is_a_whole_forward(void **state)
{
    cpt_err err;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        cpt_scgpt *m = random_network(cases[k].genes, cases[k].d, cases[k].heads, cases[k].hidden,
                                      cases[k].layers, cases[k].sharp);
        cell c;
        cpt_change changes[MAX];
        float want[64], got[64];
        random_cell(m, cases[k].share, &c);
        cpt_session *s = open_cell(m, &c);
        for (int32_t n = 0; n <= cases[k].genes; n = 2 * n + 1) {
            for (int32_t i = 0; i < n; i++) /* genes downwards */
                changes[i] = (cpt_change){cases[k].genes - 1 - i, i % 3 ? (float)(1 + i % 50) : 0};
            assert_ok(m->base.ops->session_joint(s, n, changes, got, &err));
            changed_forward(m, &c, n, changes, want);
            assert_true(largest(cases[k].d, got, want) <= 2e-6);
        }
        changes[1] = changes[0];
        assert_int_equal(m->base.ops->session_joint(s, 2, changes, got, &err), CPT_ERR_USAGE);
        assert_non_null(strstr(err.text, "twice"));
        assert_ok(m->base.ops->session_joint(s, 1, changes, got, &err)); /* no mark is left */
        m->base.ops->session_free(s);
        cpt_model_free(&m->base);
    }
}

/* Attention that hangs on one token: most of the first layer's rows are computed anew. */
static void test_dominant_token(void **state)
{
    cpt_err err;
    cpt_scgpt *m = random_network(40, 16, 2, 16, 3, 1);
    float *keys = (float *)(uintptr_t)m->layers[0].qkv_weight + 16 * 16, got[16], want[16];
    cell c;
    random_cell(m, 0.7, &c);
    int32_t ids[MAX] = {m->cls}; /* find token 5's row and point all queries at it */
    float values[MAX] = {-2}, x[MAX * 16], scratch[MAX * 32];
    for (int32_t i = 0; i < c.n; i++) {
        ids[i + 1] = m->token_of[c.genes[i]];
        values[i + 1] = c.values[i];
    }
    scgpt_input(m, c.n + 1, ids, values, x, scratch);
    float *query_bias = (float *)(uintptr_t)m->layers[0].qkv_bias;
    for (int h = 0; h < 2; h++) {
        query_bias[h * 8] = 40;
        for (int j = 0; j < 16; j++) keys[h * 8 * 16 + j] = x[6 * 16 + j] * 0.3f;
    }
    cpt_session *s = open_cell(m, &c);
    const cpt_change changes[3] = {{c.genes[5], 0}, {c.genes[5], 9}, {c.genes[2], 0}};
    for (int k = 0; k < 3; k++) {
        assert_ok(m->base.ops->session_singles(s, 1, &changes[k], got, &err));
        changed_forward(m, &c, 1, &changes[k], want);
        assert_true(largest(16, got, want) <= 2e-6);
        if (k == 0) assert_true(largest(16, got, m->base.ops->session_embedding(s)) > 1e-3);
    }
    m->base.ops->session_free(s);
    cpt_model_free(&m->base);
}

/* ---- gradients ---- */

static void check_gradients(const cpt_scgpt *m, int32_t step)
{
    cpt_err err;
    enum { W = 6 };
    const int32_t d = m->shape.width, genes = m->base.n_genes;
    cell c;
    cpt_stream s;
    float w[W * 64], *got = calloc((size_t)(W * genes), 4), *one = calloc((size_t)genes, 4);
    random_cell(m, 0.5, &c);
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 2);
    for (int i = 0; i < W * d; i++) w[i] = (float)cpt_stream_normal(&s);
    for (int i = 0; i < c.n; i++) c.values[i] += 0.37f; /* away from kinks at whole numbers */
    cpt_session *session = open_cell(m, &c);
    memset(got, 0x7f, (size_t)(W * genes) * sizeof *got);
    assert_ok(m->base.ops->session_gradient(session, W, w, got, &err));
    for (int k = 0; k < W; k++) {
        double scale = 0, wrong = 0;
        assert_ok(m->base.ops->session_gradient(session, 1, w + k * d, one, &err));
        assert_true(largest(genes, one, got + k * genes) <= 1e-6); /* alone or together */
        for (int32_t g = 0, at = 0; g < genes; g++) {
            if (at == c.n || c.genes[at] != g) {
                assert_near(got[k * genes + g], 0, 0);
                continue;
            }
            const float h = 0.02f;
            const cpt_change up[2] = {{g, c.values[at] + h}, {g, c.values[at] - h}};
            float f[2][64];
            double slope = 0;
            if (at++ % step) continue;
            for (int side = 0; side < 2; side++) changed_forward(m, &c, 1, &up[side], f[side]);
            for (int j = 0; j < d; j++) slope += w[k * d + j] * ((double)f[0][j] - f[1][j]);
            slope /= (double)up[0].value - (double)up[1].value;
            scale = fmax(scale, fabs(slope));
            wrong = fmax(wrong, fabs(slope - got[k * genes + g]));
        }
        assert_true(wrong <= 0.02 * scale + 2e-4);
    }
    m->base.ops->session_free(session);
    free(got), free(one);
}

static void test_gradients_are_differences(void **state)
{
    cpt_scgpt *small = random_network(60, 32, 4, 24, 3, 1), *wide = random_network(300, 64, 2, 64, 4, 1);
    check_gradients(small, 1);
    check_gradients(wide, 13); /* heads of 32, more tokens than a block has rows */
    cpt_model_free(&small->base);
    cpt_model_free(&wide->base);
}

/* ---- estimates ---- */

static double correlation(int32_t n, const double *a, const double *b)
{
    double ab = 0, aa = 0, bb = 0, ma = 0, mb = 0;
    for (int32_t i = 0; i < n; i++) ma += a[i] / n, mb += b[i] / n;
    for (int32_t i = 0; i < n; i++) {
        ab += (a[i] - ma) * (b[i] - mb);
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
    }
    return ab / sqrt(aa * bb);
}

/* Estimates of tokens that come, go and change, against whole forward passes of the changed cells. */
static void test_screen_foretells_singles(void **state)
{
    enum { W = 6 };
    cpt_err err;
    for (size_t k = 0; k < sizeof cases / sizeof *cases - 1; k++) {
        cpt_scgpt *m = random_network(cases[k].genes, cases[k].d, cases[k].heads, cases[k].hidden,
                                      cases[k].layers, cases[k].sharp);
        const int32_t genes = cases[k].genes, d = cases[k].d;
        cell c;
        cpt_stream s;
        cpt_change *changes = calloc((size_t)genes, sizeof *changes);
        float *got = calloc((size_t)(W * genes), 4), *one = calloc((size_t)genes, 4), w[W * 64],
              want[64];
        double *a = calloc((size_t)genes, sizeof *a), *b = calloc((size_t)genes, sizeof *b), worst = 1;
        cpt_stream_init(&s, 4, CPT_RANDOM_TEST, k);
        for (int i = 0; i < W * d; i++) w[i] = (float)cpt_stream_normal(&s);
        random_cell(m, cases[k].share, &c);
        cpt_session *session = open_cell(m, &c);
        const float *base = m->base.ops->session_embedding(session);
        for (int32_t g = 0; g < genes; g++)
            changes[g] = (cpt_change){g, g % 3 == 0 ? 0 : (float)(1 + (7 * g) % 50)};
        assert_ok(m->base.ops->session_screen(session, W, w, genes, changes, got, &err));
        for (int j = 0; j < W; j++) {
            for (int32_t g = 0; g < genes; g++) {
                changed_forward(m, &c, 1, &changes[g], want);
                a[g] = got[j * genes + g];
                b[g] = 0;
                for (int i = 0; i < d; i++) b[g] += w[j * d + i] * ((double)want[i] - base[i]);
            }
            worst = fmin(worst, correlation(genes, a, b));
            assert_ok(m->base.ops->session_screen(session, 1, w + j * d, genes, changes, one, &err));
            assert_true(largest(genes, one, got + j * genes) <= 1e-5); /* alone or together */
        }
        print_message("%d genes, %d layers: correlation of estimates and truth at least %.3f\n", genes,
                      cases[k].layers, worst);
        if (cases[k].sharp <= 1) assert_true(worst > 0.9); /* else a row hangs on one token */
        m->base.ops->session_free(session);
        cpt_model_free(&m->base);
        free(changes), free(got), free(one), free(a), free(b);
    }
}

/* Small steps: estimates are the gradient times the step. Steps of nothing are 0. */
static void test_screen_of_small_steps(void **state)
{
    cpt_err err;
    cpt_scgpt *m = random_network(60, 32, 4, 24, 3, 1);
    cell c;
    float w[32], slopes[60], got[60];
    double scale = 0, wrong = 0;
    cpt_change changes[60];
    random_cell(m, 0.5, &c);
    for (int i = 0; i < c.n; i++) c.values[i] += 0.37f;
    for (int j = 0; j < 32; j++) w[j] = (float)(j % 5) - 2;
    cpt_session *s = open_cell(m, &c);
    for (int i = 0; i < c.n; i++) changes[i] = (cpt_change){c.genes[i], c.values[i] + 0.01f};
    assert_ok(m->base.ops->session_gradient(s, 1, w, slopes, &err));
    assert_ok(m->base.ops->session_screen(s, 1, w, c.n, changes, got, &err));
    for (int i = 0; i < c.n; i++) {
        scale = fmax(scale, fabs((double)slopes[c.genes[i]]) * 0.01);
        wrong = fmax(wrong, fabs((double)got[i] - (double)slopes[c.genes[i]] * 0.01));
    }
    print_message("small steps: %.2g of the largest\n", wrong / scale);
    assert_true(wrong < 0.05 * scale);
    for (int i = 0; i < c.n; i++) changes[i].value = c.values[i];
    changes[0] = (cpt_change){59, 0};
    for (int g = 0; g < 60; g++) {
        bool there = false;
        for (int i = 0; i < c.n; i++) there = there || c.genes[i] == g;
        if (!there) changes[0].gene = g; /* absent, and stays so */
    }
    assert_ok(m->base.ops->session_screen(s, 1, w, c.n, changes, got, &err));
    for (int i = 0; i < c.n; i++) assert_near(got[i], 0, 0);
    assert_ok(m->base.ops->session_screen(s, 1, w, 0, changes, got, &err));
    changes[0].gene = 60;
    assert_int_equal(m->base.ops->session_screen(s, 1, w, 1, changes, got, &err), CPT_ERR_USAGE);
    m->base.ops->session_free(s);
    cpt_model_free(&m->base);
}

/* ---- golden ---- */

/* The base cell of a swap: complete lists, of which the profile is made. */
static void golden_base(const golden_scgpt *g, int which, cell *c)
{
    int32_t ids[256], n;
    float values[256];
    n = golden_cell(g, which, "bin_left", ids, values);
    c->n = 0;
    for (int32_t gene = 0; gene < g->model->n_genes; gene++) /* ascending, once */
        for (int32_t i = 1; i < n; i++)
            if (golden_gene(golden_network(g), ids[i]) == gene &&
                (!c->n || c->genes[c->n - 1] != gene)) {
                c->genes[c->n] = gene;
                c->values[c->n++] = values[i];
            }
}

static void test_golden_swaps(void **state)
{
    cpt_err err;
    NEED_SHARED(folder, "golden/scgpt");
    static const char *const names[] = {"tiny", "medium"};
    int n_singles = 0, n_forwards = 0;
    for (int k = 0; k < 2; k++) {
        golden_scgpt g;
        golden_scgpt_open(&g, folder, names[k]);
        const cpt_scgpt *m = golden_network(&g);
        double *want = golden_numbers(g.file, "swap_cls_l2_f64");
        const json_t *swaps = json_object_get(g.json, "swaps");
        for (size_t i = 0; i < json_array_size(swaps); i++) {
            const json_t *swap = json_array_get(swaps, i);
            const int which = (int)golden_get(swap, "cell");
            int32_t ids[256], n, base_ids[256], base_n;
            float values[256], base_values[256], got[64];
            cell c;
            n = golden_tokens(swap, ids, values);
            network_forward(m, n, ids, values, NULL, got);
            for (int j = 0; j < g.width; j++) assert_near(got[j], want[(int)i * g.width + j], 2e-6);
            n_forwards++;
            base_n = golden_cell(&g, which, "bin_left", base_ids, base_values);
            golden_base(&g, which, &c);
            if (c.n + 1 != base_n ||
                !strcmp(json_string_value(json_object_get(swap, "kind")), "recount"))
                continue;
            const bool insert = json_object_get(swap, "token") != NULL;
            const int32_t token = insert ? (int32_t)golden_get(swap, "token")
                                         : base_ids[(int)golden_get(swap, "position")];
            const cpt_change change = {golden_gene(m, token), (float)golden_get(swap, "new")};
            cpt_session *s = open_cell(m, &c);
            assert_ok(m->base.ops->session_singles(s, 1, &change, got, &err));
            for (int j = 0; j < g.width; j++) assert_near(got[j], want[(int)i * g.width + j], 2e-6);
            assert_ok(m->base.ops->session_joint(s, 1, &change, got, &err));
            for (int j = 0; j < g.width; j++) assert_near(got[j], want[(int)i * g.width + j], 2e-6);
            m->base.ops->session_free(s);
            n_singles++;
        }
        free(want);
        golden_scgpt_close(&g);
    }
    print_message("%d changed cells, %d of them as sessions\n", n_forwards, n_singles);
    assert_int_equal(n_forwards, 48);
    assert_true(n_singles >= 12);
}

/* Counts exchanged and the cell binned again. */
static void test_golden_recounts(void **state)
{
    cpt_err err;
    NEED_SHARED(folder, "golden/scgpt");
    golden_scgpt g;
    golden_scgpt_open(&g, folder, "tiny");
    const cpt_scgpt *m = golden_network(&g);
    double *want = golden_numbers(g.file, "swap_cls_l2_f64");
    const json_t *swaps = json_object_get(g.json, "swaps");
    cpt_scgpt_options o = m->options;
    int n = 0;
    o.space = CPT_SCGPT_SPACE_COUNTS;
    assert_ok(cpt_scgpt_set_options(g.model, &o, &err));
    for (size_t i = 0; i < json_array_size(swaps); i++) {
        const json_t *swap = json_array_get(swaps, i);
        if (strcmp(json_string_value(json_object_get(swap, "kind")), "recount")) continue;
        int32_t ids[256], size;
        float counts[256], got[16], w[16] = {1}, slope[20];
        cell c = {0};
        size = golden_cell(&g, (int)golden_get(swap, "cell"), "raw_value", ids, counts);
        for (int32_t k = 1; k < size; k++) { /* tiny's columns are its genes in order */
            c.genes[c.n] = golden_gene(m, ids[k]);
            c.values[c.n++] = counts[k];
        }
        cpt_session *s = open_cell(m, &c);
        const cpt_change change = {golden_gene(m, ids[(int)golden_get(swap, "position")]),
                                   (float)golden_get(swap, "new")};
        assert_ok(m->base.ops->session_singles(s, 1, &change, got, &err));
        for (int j = 0; j < g.width; j++) assert_near(got[j], want[(int)i * g.width + j], 2e-6);
        assert_ok(m->base.ops->session_joint(s, 1, &change, got, &err));
        for (int j = 0; j < g.width; j++) assert_near(got[j], want[(int)i * g.width + j], 2e-6);
        assert_int_equal(m->base.ops->session_gradient(s, 1, w, slope, &err), CPT_ERR_UNSUPPORTED);
        m->base.ops->session_free(s);
        n++;
    }
    assert_true(n >= 4);
    free(want);
    golden_scgpt_close(&g);
}

static void test_wrong_changes(void **state)
{
    cpt_err err;
    cpt_scgpt *m = random_network(10, 8, 2, 8, 2, 1);
    float out[8];
    cell c = {2, {3, 5}, {7, 9}}, down = {2, {5, 3}, {7, 9}}, beyond = {1, {10}, {1}}, none = {0};
    cpt_session *s;
    const cpt_profile bad[2] = {{2, down.genes, down.values}, {1, beyond.genes, beyond.values}};
    for (int k = 0; k < 2; k++) {
        assert_int_equal(m->base.ops->session_open(&m->base, &bad[k], &s, &err), CPT_ERR_USAGE);
        assert_null(s);
    }
    s = open_cell(m, &c);
    const cpt_change wrong[3] = {{10, 1}, {-1, 1}, {3, NAN}};
    for (int k = 0; k < 3; k++) {
        assert_int_equal(m->base.ops->session_singles(s, 1, &wrong[k], out, &err), CPT_ERR_USAGE);
        assert_int_equal(m->base.ops->session_joint(s, 1, &wrong[k], out, &err), CPT_ERR_USAGE);
    }
    const cpt_change away[2] = {{3, 0}, {5, 0}}; /* nothing but <cls> is left: still defined */
    float want[8];
    assert_ok(m->base.ops->session_joint(s, 2, away, out, &err));
    changed_forward(m, &none, 0, NULL, want);
    assert_true(largest(8, out, want) <= 2e-6);
    m->base.ops->session_free(s);
    s = open_cell(m, &none); /* and a first gene may come */
    assert_ok(m->base.ops->session_singles(s, 1, &(cpt_change){4, 2}, out, &err));
    changed_forward(m, &none, 1, &(cpt_change){4, 2}, want);
    assert_true(largest(8, out, want) <= 2e-6);
    m->base.ops->session_free(s);
    m->base.ops->session_free(NULL);
    cpt_model_free(&m->base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_singles_are_whole_forwards),
        cmocka_unit_test(test_joint_is_a_whole_forward),
        cmocka_unit_test(test_dominant_token),
        cmocka_unit_test(test_gradients_are_differences),
        cmocka_unit_test(test_screen_foretells_singles),
        cmocka_unit_test(test_screen_of_small_steps),
        cmocka_unit_test(test_golden_swaps),
        cmocka_unit_test(test_golden_recounts),
        cmocka_unit_test(test_wrong_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
