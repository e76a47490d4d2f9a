#include "small_study.h"

#include "math/statistics.h"
#include "view/ranked_cells.h"

#include <jansson.h>
#include <sys/stat.h>

/* What a view says of a small study, against the same numbers computed another way. */

static cpt_view *view;
static cpt_context ctx;

static int set_up(void **state)
{
    cpt_err err;
    small_study_make(state);
    cpt_context_init(&ctx);
    ctx.n_threads = 1;
    assert_ok(cpt_view_open(small_study, &ctx, &view, &err));
    return 0;
}

static int tear_down(void **state)
{
    cpt_view_close(view);
    return small_study_remove(state);
}

/* Parses and frees; fails when it is not JSON. */
static json_t *parsed(char *text)
{
    json_error_t why;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (!root) print_error("%s: %.200s\n", why.text, text);
    assert_non_null(root);
    free(text);
    return root;
}

static double real(const json_t *object, const char *key)
{
    const json_t *x = json_object_get(object, key);
    return json_is_number(x) ? json_number_value(x) : NAN;
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* ---- the study and its landscape ---- */

static void test_study(void **state)
{
    cpt_err err;
    char *json;
    (void)state;
    assert_ok(cpt_view_study(view, &json, &err));
    json_t *study = parsed(json);
    assert_int_equal(real(study, "cells"), SMALL_CELLS);
    assert_int_equal(real(study, "genes"), cpt_view_n_genes(view));
    assert_int_equal(real(study, "concepts"), SMALL_CONCEPTS);
    assert_string_equal(text(study, "model"), "scvi");
    assert_int_equal(json_array_size(json_object_get(study, "columns")), 3);
    assert_true(real(json_object_get(study, "reconstruction"), "r2_feature") > -10);
    json_decref(study);
}

static void test_landscape_agrees_with_concepts(void **state)
{
    cpt_err err;
    char *json;
    (void)state;
    assert_ok(cpt_view_concepts(view, &json, &err));
    json_t *all = parsed(json);
    for (int32_t c = 0; c < cpt_view_n_concepts(view); c++) {
        assert_ok(cpt_view_concept(view, c, &json, &err));
        json_t *one = parsed(json),
               *counts = json_object_get(json_object_get(one, "histogram"), "counts");
        const char *const fields[] = {"frequency", "active",   "max",    "mean",
                                      "label_f1",  "distance", "quality"};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            const json_t *x = json_array_get(json_object_get(all, fields[i]), (size_t)c),
                         *y = json_object_get(one, fields[i]);
            assert_true(json_equal((json_t *)(uintptr_t)x, (json_t *)(uintptr_t)y));
        }
        double n = 0;
        for (size_t i = 0; i < json_array_size(counts); i++)
            n += json_number_value(json_array_get(counts, i));
        assert_int_equal(n, real(one, "active"));
        json_decref(one);
    }
    json_decref(all);
}

/* ---- vectors ---- */

static float *activation(int32_t concept)
{
    cpt_err err;
    cpt_vector v;
    assert_ok(cpt_view_activation(view, concept, &v, &err));
    float *dense = calloc(SMALL_CELLS, sizeof *dense);
    size_t n = v.size / 8;
    const uint32_t *cells = v.bytes;
    assert_string_equal(v.type, "sparse");
    for (size_t k = 0; k < n; k++) dense[cells[k]] = ((const float *)v.bytes)[n + k];
    free(v.bytes);
    return dense;
}

static void test_vectors(void **state)
{
    cpt_err err;
    cpt_vector v;
    (void)state;
    assert_ok(cpt_view_umap(view, &v, &err));
    assert_int_equal(v.size, SMALL_CELLS * 4);
    assert_string_equal(v.shape, "300x2");
    uint16_t low = UINT16_MAX, high = 0;
    for (int i = 0; i < 2 * SMALL_CELLS; i += 2) {
        uint16_t x = ((const uint16_t *)v.bytes)[i];
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    assert_int_equal(low, 0);
    assert_int_equal(high, 65534);
    free(v.bytes);
    assert_ok(cpt_view_column(view, "donor", &v, &err));
    assert_string_equal(v.type, "u16");
    free(v.bytes);
    assert_ok(cpt_view_column(view, "depth", &v, &err));
    assert_string_equal(v.type, "f32");
    free(v.bytes);
    assert_ok(cpt_view_neuron(view, 0, &v, &err));
    assert_int_equal(v.size, SMALL_CELLS * sizeof(float));
    free(v.bytes);
    assert_ok(cpt_view_concept_map(view, &v, &err));
    assert_int_equal(v.size, SMALL_CONCEPTS * 8);
    free(v.bytes);
    assert_ok(cpt_view_expression(view, 0, &v, &err));
    free(v.bytes);
    assert_int_equal(cpt_view_activation(view, SMALL_CONCEPTS, &v, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_view_activation(view, -1, &v, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_view_neuron(view, 9999, &v, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_view_column(view, "no such", &v, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "no column 'no such'"));
}

/* ---- genes, terms ---- */

static void test_genes_are_in_order(void **state)
{
    cpt_err err;
    char *json;
    (void)state;
    for (int by = 0; by < 2; by++) {
        const cpt_gene_query q = {.order = by ? "expression" : "attribution"};
        assert_ok(cpt_view_genes(view, 1, &q, &json, &err));
        json_t *root = parsed(json), *rows = json_object_get(root, "rows");
        assert_int_equal(json_array_size(rows), cpt_view_n_genes(view));
        double last = INFINITY;
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            double x = by ? real(row, "score")
                          : fabs(real(row, "mean")) + (real(row, "q") < 0.05 ? 1e6 : 0);
            if (isnan(x)) continue;
            assert_true(x <= last);
            last = x;
            if (!isnan(real(row, "higher")))
                assert_in_range((int)(1000 * real(row, "higher")), 0, 1000);
        }
        json_decref(root);
    }
    const cpt_gene_query some = {.text = "a", .limit = 5, .offset = 2}, wrong = {.order = "beauty"};
    assert_ok(cpt_view_genes(view, 1, &some, &json, &err));
    json_t *root = parsed(json);
    assert_int_equal(json_array_size(json_object_get(root, "rows")), 5);
    assert_non_null(
        strpbrk(text(json_array_get(json_object_get(root, "rows"), 0), "symbol"), "Aa"));
    json_decref(root);
    assert_int_equal(cpt_view_genes(view, 1, &wrong, &json, &err), CPT_ERR_USAGE);
}

/* The score behind the plot is the score in the table. */
static void test_running_sum_ends_at_the_tables_score(void **state)
{
    cpt_err err;
    char *json;
    int n = 0;
    (void)state;
    for (int32_t c = 0; c < cpt_view_n_concepts(view); c++) {
        const cpt_term_query q = {.method = "gsea", .all = true};
        assert_ok(cpt_view_terms(view, c, &q, &json, &err));
        json_t *root = parsed(json), *row;
        size_t i;
        json_array_foreach(json_object_get(root, "rows"), i, row)
        {
            assert_ok(
                cpt_view_running(view, c, text(row, "term"), text(row, "ranking"), &json, &err));
            json_t *run = parsed(json);
            assert_near(real(run, "es"), real(row, "es"), 2e-6); /* the table has 6 digits */
            size_t leading = 0, k;
            json_t *hit;
            json_array_foreach(json_object_get(run, "hits"), k, hit) leading +=
                json_is_true(json_object_get(hit, "leading"));
            assert_int_equal(leading, real(row, "overlap"));
            assert_int_equal(json_array_size(json_object_get(row, "genes")), real(row, "overlap"));
            json_decref(run);
            n++;
        }
        json_decref(root);
    }
    assert_true(n > 5);
    assert_int_equal(cpt_view_running(view, 0, "SET_NONE", NULL, &json, &err), CPT_ERR_USAGE);
}

static void test_term_lists_what_concepts_list(void **state)
{
    cpt_err err;
    char *json;
    int by_concept = 0, by_term = 0;
    (void)state;
    for (int32_t c = 0; c < cpt_view_n_concepts(view); c++) {
        const cpt_term_query q = {.all = true};
        assert_ok(cpt_view_terms(view, c, &q, &json, &err));
        json_t *root = parsed(json), *row;
        size_t i;
        json_array_foreach(json_object_get(root, "rows"), i, row) by_concept +=
            real(row, "q") < 0.05;
        json_decref(root);
    }
    for (int s = 0; s < 8; s++) {
        const char id[] = {'S', 'E', 'T', '_', (char)('A' + s), '\0'};
        assert_ok(cpt_view_term(view, id, &json, &err));
        json_t *root = parsed(json);
        by_term += (int)json_array_size(json_object_get(root, "concepts"));
        assert_string_equal(text(root, "collection"), "sets");
        json_decref(root);
    }
    assert_int_equal(by_concept, by_term);
}

static void test_gene_page(void **state)
{
    cpt_err err;
    char *json;
    (void)state;
    for (int32_t g = 0; g < cpt_view_n_genes(view); g += 37) {
        assert_ok(cpt_view_gene(view, g, &json, &err));
        json_t *root = parsed(json), *row;
        size_t i;
        json_array_foreach(json_object_get(root, "concepts"), i, row)
        {
            const cpt_gene_query q = {.text = text(root, "symbol")};
            assert_ok(cpt_view_genes(view, (int32_t)real(row, "concept"), &q, &json, &err));
            json_t *genes = parsed(json), *gene;
            size_t k;
            json_array_foreach(json_object_get(genes, "rows"), k, gene) if (real(gene, "gene") == g)
                assert_true(
                    json_equal(json_object_get(gene, "mean"), json_object_get(row, "mean")));
            json_decref(genes);
            if (i > 3) break;
        }
        json_decref(root);
    }
    assert_int_equal(cpt_view_gene(view, 99999, &json, &err), CPT_ERR_USAGE);
}

/* ---- cells ---- */

static void test_bands(void **state)
{
    static const char *const bands[] = {"high", "middle", "low"};
    cpt_err err;
    char *json;
    float *u = activation(2);
    double last = INFINITY;
    (void)state;
    for (int b = 0; b < 3; b++) {
        assert_ok(cpt_view_cells(view, 2, bands[b], 4, &json, &err));
        json_t *root = parsed(json), *row;
        size_t i;
        json_array_foreach(json_object_get(root, "rows"), i, row)
        {
            double x = real(row, "activation");
            assert_near(x, u[(int)real(row, "cell")], 1e-6 * x);
            assert_true(x <= last);
            last = x;
        }
        json_decref(root);
    }
    free(u);
    assert_ok(cpt_view_cells(view, 2, "prototypes", 3, &json, &err));
    json_t *root = parsed(json), *row;
    size_t i;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        assert_int_equal(json_array_size(json_object_get(row, "counterfactual")), 1);
        assert_non_null(json_object_get(row, "differing"));
        assert_non_null(text(json_object_get(row, "columns"), "donor"));
    }
    json_decref(root);
    assert_int_equal(cpt_view_cells(view, 2, "best", 3, &json, &err), CPT_ERR_USAGE);
}

static void test_composition(void **state)
{
    cpt_err err;
    char *json;
    (void)state;
    for (int32_t c = 0; c < cpt_view_n_concepts(view); c++) {
        assert_ok(cpt_view_composition(view, c, "donor", &json, &err));
        json_t *root = parsed(json), *row;
        double active = 0, cells = 0;
        size_t i;
        json_array_foreach(json_object_get(root, "rows"), i, row)
        {
            active += real(row, "active");
            cells += real(row, "cells");
            if (real(root, "active") == 0) continue;
            double k = real(row, "active"), n = real(root, "active");
            assert_true(real(row, "low") <= k / n + 1e-9 && real(row, "high") >= k / n - 1e-9);
            assert_true(real(row, "p") > 0 && real(row, "p") <= 1 &&
                        real(row, "q") >= real(row, "p") - 1e-9);
        }
        assert_int_equal(active, real(root, "active"));
        assert_int_equal(cells, SMALL_CELLS);
        json_decref(root);
    }
    assert_int_equal(cpt_view_composition(view, 0, "depth", &json, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "categories"));
}

/* ---- selections ---- */

static void test_auroc_of_a_selection(void **state)
{
    uint32_t a[60];
    uint8_t positive[SMALL_CELLS] = {0};
    cpt_err err;
    char *json;
    (void)state;
    for (uint32_t i = 0; i < 60; i++) positive[a[i] = (i * 7 + 3) % SMALL_CELLS] = 1;
    const cpt_selection s = {.a = a, .n_a = 60};
    assert_ok(cpt_view_selection_concepts(view, &s, &ctx, &json, &err));
    json_t *root = parsed(json), *row;
    size_t i;
    assert_int_equal(real(root, "a"), 60);
    assert_int_equal(real(root, "b"), SMALL_CELLS - 60);
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        float *u = activation((int32_t)real(row, "concept"));
        double ranks[SMALL_CELLS], values[SMALL_CELLS], sum = 0;
        int64_t order[SMALL_CELLS];
        for (int k = 0; k < SMALL_CELLS; k++) values[k] = u[k];
        double ties = cpt_midranks(SMALL_CELLS, values, ranks, order);
        for (int k = 0; k < SMALL_CELLS; k++) sum += positive[k] ? ranks[k] : 0;
        assert_near(real(row, "auroc"), cpt_auroc(SMALL_CELLS, u, positive), 1e-6);
        assert_near(real(row, "p"), cpt_rank_sum(sum, 60, SMALL_CELLS - 60, ties, false).p, 1e-6);
        free(u);
    }
    json_decref(root);
}

/* "Against all others" by subtraction and with the others listed must say the same. */
static void test_others_listed_or_not(void **state)
{
    uint32_t a[50], b[SMALL_CELLS];
    size_t n_b = 0;
    cpt_err err;
    char *json;
    (void)state;
    for (uint32_t i = 0; i < SMALL_CELLS; i++) {
        if (i < 50) a[i] = i;
        else b[n_b++] = i;
    }
    const cpt_selection rest = {.a = a, .n_a = 50},
                        listed = {.a = a, .n_a = 50, .b = b, .n_b = n_b};
    for (int what = 0; what < 2; what++) {
        cpt_status (*ask)(const cpt_view *, const cpt_selection *, const cpt_context *, char **,
                          cpt_err *) =
            what ? cpt_view_selection_genes : cpt_view_selection_concepts;
        assert_ok(ask(view, &rest, &ctx, &json, &err));
        json_t *first = parsed(json), *x = json_object_get(first, "rows");
        assert_ok(ask(view, &listed, &ctx, &json, &err));
        json_t *second = parsed(json), *y = json_object_get(second, "rows");
        assert_int_equal(json_array_size(x), json_array_size(y));
        for (size_t i = 0; i < json_array_size(x); i++) {
            const json_t *p = json_array_get(x, i), *q = json_array_get(y, i);
            assert_near(real(p, "p"), real(q, "p"), 1e-6);
            assert_near(real(p, what ? "score" : "auroc"), real(q, what ? "score" : "auroc"), 1e-5);
        }
        json_decref(first);
        json_decref(second);
    }
}

static void test_wrong_selections(void **state)
{
    const uint32_t a[] = {1, 2, 2}, b[] = {2}, far[] = {SMALL_CELLS};
    volatile int stop = 1;
    cpt_context stopped = ctx;
    cpt_err err;
    char *json;
    (void)state;
    const cpt_selection both = {.a = a, .n_a = 3, .b = b, .n_b = 1}, outside = {.a = far, .n_a = 1},
                        none = {0}, good = {.a = a, .n_a = 3};
    assert_int_equal(cpt_view_selection_concepts(view, &both, &ctx, &json, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "cell 2 is in both"));
    assert_int_equal(cpt_view_selection_genes(view, &outside, &ctx, &json, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_view_selection_genes(view, &none, &ctx, &json, &err), CPT_ERR_USAGE);
    stopped.stop = &stop;
    assert_int_equal(cpt_view_selection_concepts(view, &good, &stopped, &json, &err),
                     CPT_ERR_INTERRUPTED);
    assert_ok(cpt_view_selection_concepts(view, &good, &ctx, &json, &err));
    json_t *root = parsed(json);
    assert_int_equal(real(root, "a"), 2); /* doubles count once */
    json_decref(root);
}

/* Ties among positive values, and a group of one. */
static void test_ranked_compare_by_hand(void **state)
{
    const int32_t cells[] = {0, 1, 2, 3};
    const float values[] = {3, 2, 2, 1};
    const uint8_t group[] = {1, 1, 2, 2, 1, 2, 0};
    (void)state;
    cpt_ranked_comparison r = cpt_ranked_compare(4, cells, values, group, 3, 3);
    /* a: 3, 2, 0; b: 2, 1, 0. U = (3 beats 3) 3 + (2: ties 1, beats 2) 2.5 + (0: ties 1) 0.5 = 6 of
     * 9 */
    assert_near(r.auroc, 6.0 / 9, 1e-12);
    assert_near(r.ties, 6 + 6, 1e-12);
    assert_int_equal(r.active_a, 2);
    assert_int_equal(r.active_b, 2);
    assert_true(isnan(cpt_ranked_compare(4, cells, values, group, 3, 0).auroc));
}

/* ---- the rest ---- */

static void test_all_json_parses(void **state)
{
    cpt_err err;
    char *json;
    (void)state;
    for (int32_t c = 0; c < cpt_view_n_concepts(view); c++) {
        assert_ok(cpt_view_similar(view, c, &json, &err));
        json_decref(parsed(json));
        assert_ok(cpt_view_trust(view, c, &json, &err));
        json_decref(parsed(json));
        assert_ok(cpt_view_pair(view, c, view, 0, &json, &err));
        json_t *pair = parsed(json);
        assert_int_equal(real(pair, "same_cells"), SMALL_CELLS);
        if (c == 0 && real(pair, "a_active") > 0) {
            assert_near(real(pair, "correlation"), 1, 1e-6);
            assert_near(real(pair, "jaccard"), 1, 1e-6);
        }
        json_decref(pair);
    }
    static const char *const words[] = {"", "gene1", "SET", "c3", "\xFF", "'; drop", "cell"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_ok(cpt_view_search(view, words[i], 1000, &json, &err));
        json_decref(parsed(json));
    }
    assert_ok(cpt_view_cell(view, 7, &json, &err));
    json_decref(parsed(json));
    assert_int_equal(cpt_view_cell(view, SMALL_CELLS, &json, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_view_comparison(view, "../../etc/passwd", &json, &err), CPT_ERR_USAGE);
}

static void copy_study(char *to, size_t capacity, const char *name)
{
    char command[400];
    snprintf(to, capacity, "%s/%s", small_root, name);
    snprintf(command, sizeof command, "cp -r '%s' '%s'", small_study, to);
    assert_int_equal(system(command), 0);
}

/* A study whose later stages are not there shows what there is and says what is missing. */
static void test_unfinished_study(void **state)
{
    char folder[96], path[400], *json;
    cpt_err err;
    cpt_view *v;
    cpt_vector vector;
    (void)state;
    copy_study(folder, sizeof folder, "unfinished");
    snprintf(path, sizeof path, "rm -rf '%s/cache/index' '%s'/cache/activations*", folder, folder);
    assert_int_equal(system(path), 0);
    assert_ok(cpt_view_open(folder, &ctx, &v, &err));
    assert_ok(cpt_view_study(v, &json, &err));
    json_decref(parsed(json));
    assert_ok(cpt_view_umap(v, &vector, &err));
    free(vector.bytes);
    assert_int_equal(cpt_view_concept(v, 0, &json, &err), CPT_ERR_DATA);
    assert_int_equal(cpt_view_concepts(v, &json, &err), CPT_ERR_DATA);
    assert_int_equal(cpt_view_search(v, "gene", 5, &json, &err), CPT_OK);
    free(json);
    assert_int_equal(cpt_view_gene(v, 0, &json, &err), CPT_ERR_DATA);
    cpt_view_close(v);
}

/* Files that are cut off or filled with nonsense are errors, never reads beyond them. */
static void test_damaged_files(void **state)
{
    static const char *const files[] = {"index/ranked.cells",
                                        "index/rows.codes",
                                        "index/edges.items",
                                        "index/facts",
                                        "activations_by_concept.indices",
                                        "cells/counts_by_gene.indices",
                                        "attribution/mean",
                                        "index/universe",
                                        "index/terms.genes.items",
                                        "pairs/pairs",
                                        "index/gene_concepts.items",
                                        "index/coactive.concepts"};
    char folder[96], path[300], *json;
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (int how = 0; how < 2; how++) {
            cpt_err err;
            cpt_view *v;
            cpt_vector vector;
            struct stat st;
            const uint32_t cells[] = {1, 2, 3};
            const cpt_selection s = {.a = cells, .n_a = 3};
            const cpt_gene_query genes = {.limit = 10};
            const cpt_term_query terms = {.all = true};
            copy_study(folder, sizeof folder, "damaged");
            snprintf(path, sizeof path, "%s/cache/%s.npy", folder, files[i]);
            assert_int_equal(stat(path, &st), 0);
            if (how == 0) { /* other numbers: all bits set */
                FILE *f = fopen(path, "r+b");
                assert_non_null(f);
                fseek(f, 256, SEEK_SET);
                for (long k = 256; k < st.st_size; k++) fputc(k % 4 == 3 ? 0x7F : 0xFF, f);
                fclose(f);
            } else {
                assert_int_equal(truncate(path, st.st_size / 2), 0);
            }
            if (cpt_view_open(folder, &ctx, &v, &err) == CPT_OK) {
                for (int32_t c = 0; c < cpt_view_n_concepts(v); c += 3) {
                    if (cpt_view_concept(v, c, &json, &err) == CPT_OK) free(json);
                    if (cpt_view_genes(v, c, &genes, &json, &err) == CPT_OK) free(json);
                    if (cpt_view_terms(v, c, &terms, &json, &err) == CPT_OK) free(json);
                    if (cpt_view_running(v, c, "SET_A", NULL, &json, &err) == CPT_OK) free(json);
                    if (cpt_view_cells(v, c, "prototypes", 5, &json, &err) == CPT_OK) free(json);
                    if (cpt_view_cells(v, c, "high", 5, &json, &err) == CPT_OK) free(json);
                    if (cpt_view_similar(v, c, &json, &err) == CPT_OK) free(json);
                    if (cpt_view_composition(v, c, "donor", &json, &err) == CPT_OK) free(json);
                    if (cpt_view_activation(v, c, &vector, &err) == CPT_OK) free(vector.bytes);
                    if (cpt_view_gene(v, c, &json, &err) == CPT_OK) free(json);
                    if (cpt_view_expression(v, c, &vector, &err) == CPT_OK) free(vector.bytes);
                }
                if (cpt_view_concepts(v, &json, &err) == CPT_OK) free(json);
                if (cpt_view_selection_concepts(v, &s, &ctx, &json, &err) == CPT_OK) free(json);
                if (cpt_view_selection_genes(v, &s, &ctx, &json, &err) == CPT_OK) free(json);
                if (cpt_view_search(v, "gene1", 5, &json, &err) == CPT_OK) free(json);
                cpt_view_close(v);
            }
            snprintf(path, sizeof path, "rm -rf '%s'", folder);
            assert_int_equal(system(path), 0);
        }
}

static void test_generation(void **state)
{
    char one[33], two[33], running[32], folder[96], path[400];
    cpt_err err;
    cpt_options *o;
    (void)state;
    copy_study(folder, sizeof folder, "changing");
    assert_ok(cpt_study_generation(folder, one, running, &err));
    assert_string_equal(running, "");
    o = cpt_options_new(&err);
    assert_ok(cpt_study_stage(folder, "report", o, true, NULL, &ctx, &err));
    cpt_options_free(o);
    snprintf(path, sizeof path, "mkdir '%s/comparisons' && echo {} > '%s/comparisons/x.json'",
             folder, folder);
    assert_int_equal(system(path), 0);
    assert_ok(cpt_study_generation(folder, two, running, &err));
    assert_string_not_equal(one, two);
    assert_int_equal(cpt_study_generation("/nonexistent", two, running, &err), CPT_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_study),
        cmocka_unit_test(test_landscape_agrees_with_concepts),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_genes_are_in_order),
        cmocka_unit_test(test_running_sum_ends_at_the_tables_score),
        cmocka_unit_test(test_term_lists_what_concepts_list),
        cmocka_unit_test(test_gene_page),
        cmocka_unit_test(test_bands),
        cmocka_unit_test(test_composition),
        cmocka_unit_test(test_auroc_of_a_selection),
        cmocka_unit_test(test_others_listed_or_not),
        cmocka_unit_test(test_wrong_selections),
        cmocka_unit_test(test_ranked_compare_by_hand),
        cmocka_unit_test(test_all_json_parses),
        cmocka_unit_test(test_unfinished_study),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_generation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
