/* Simulated cells: the file holds what the header says, counts follow their distribution. */
#include "check.h"

#include "base/file.h"
#include "base/memory.h"
#include "evaluate/simulate.h"
#include "io/import.h"

static cpt_err err;
static char folder[256];

static const char *in_folder(const char *name)
{
    static char path[2][512];
    static int turn;
    char *p = path[turn++ & 1];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static int make_folder(void **state)
{
    const char *root = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/cpt_simulate.XXXXXX", root ? root : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    return cpt_remove_tree(folder, &err);
}

static cpt_simulate_options small(void)
{
    cpt_simulate_options o;
    cpt_simulate_options_init(&o);
    o.n_cells = 300, o.n_genes = 500, o.n_programs = 7, o.n_types = 4, o.n_donors = 2, o.depth = 1000;
    return o;
}

static void read_back(void **state)
{
    cpt_simulate_options o = small();
    cpt_context ctx = {.n_threads = 2, .seed = 5};
    cpt_cells *cells;
    cpt_simulated_truth t;
    assert_ok(cpt_simulate_h5ad(in_folder("a.h5ad"), &o, &ctx, &err));
    assert_ok(cpt_import(in_folder("a.h5ad"), in_folder("cache"), &(cpt_import_options){.need_counts = true}, &ctx, &err));
    assert_ok(cpt_cells_open(in_folder("cache"), &cells, &err));
    assert_ok(cpt_simulated_truth_make(&o, 5, &t, &err));
    assert_int_equal(cells->n_cells, 300);
    assert_int_equal(cells->n_genes, 500);
    assert_true(cells->integer);
    assert_string_equal(cpt_strings_get(&cells->gene_ids, 499), "GENE500");
    assert_string_equal(cpt_strings_get(&cells->cell_ids, 0), "CELL1");

    const cpt_column *type = cpt_table_find(&cells->obs, "cell_type"), *donor = cpt_table_find(&cells->obs, "donor");
    const cpt_obsm *activity = cpt_cells_obsm(cells, "program_activity");
    assert_non_null(type);
    assert_non_null(donor);
    assert_non_null(activity);
    assert_int_equal(type->categories.n, 4);
    assert_string_equal(cpt_strings_get(&donor->categories, 1), "donor_2");
    assert_int_equal(activity->width, 7);

    /* Each row is what the cell's own stream gives. */
    int32_t genes[500];
    float counts[500], a[7];
    double rates[500];
    for (int64_t c = 0; c < 300; c += 11) {
        cpt_simulated_cell cell = {.activity = a};
        cpt_simulate_cell(&t, o.depth, 5, c, &cell);
        int32_t n = cpt_simulate_counts(&t, &cell, 5, c, genes, counts, rates);
        assert_int_equal(cells->by_cell.indptr[c + 1] - cells->by_cell.indptr[c], n);
        assert_memory_equal(cells->by_cell.indices + cells->by_cell.indptr[c], genes, (size_t)n * sizeof *genes);
        assert_memory_equal(cells->by_cell.values + cells->by_cell.indptr[c], counts, (size_t)n * sizeof *counts);
        assert_memory_equal(activity->values + 7 * c, a, sizeof a);
        assert_int_equal(type->codes[c], cell.type);
        assert_int_equal(donor->codes[c], cell.donor);
    }
    cpt_simulated_truth_free(&t);
    cpt_cells_free(cells);
}

static void same_bytes(void **state)
{
    cpt_simulate_options o = small();
    char hex[3][65];
    for (int i = 0; i < 3; i++) {
        cpt_context ctx = {.n_threads = i == 1 ? 3 : 1, .seed = i == 2};
        assert_ok(cpt_simulate_h5ad(in_folder("b.h5ad"), &o, &ctx, &err));
        assert_ok(cpt_sha256_path(in_folder("b.h5ad"), hex[i], &err));
    }
    assert_string_equal(hex[0], hex[1]);
    assert_string_not_equal(hex[0], hex[2]);
}

/* One cell drawn many times: mean and variance of every well expressed gene as promised. */
static void distribution(void **state)
{
    enum { DRAWS = 4000, GENES = 60 };
    cpt_simulate_options o = small();
    cpt_simulated_truth t;
    o.n_genes = GENES;
    assert_ok(cpt_simulated_truth_make(&o, 9, &t, &err));
    int32_t genes[GENES];
    float counts[GENES], a[7];
    double rates[GENES], sum[GENES] = {0}, square[GENES] = {0};
    cpt_simulated_cell cell = {.activity = a};
    cpt_simulate_cell(&t, 500, 9, 0, &cell);
    for (int64_t i = 0; i < DRAWS; i++) {
        int32_t n = cpt_simulate_counts(&t, &cell, 9, i, genes, counts, rates);
        for (int32_t j = 0; j < n; j++) {
            sum[genes[j]] += (double)counts[j];
            square[genes[j]] += (double)counts[j] * (double)counts[j];
        }
    }
    double expected = 0;
    int n_tested = 0;
    for (int g = 0; g < GENES; g++) {
        double mean = sum[g] / DRAWS, variance = square[g] / DRAWS - mean * mean;
        double want = rates[g] + rates[g] * rates[g] / t.size[g];
        expected += rates[g];
        assert_near(mean, rates[g], 5 * sqrt(want / DRAWS) + 1e-12);
        if (rates[g] < 1) continue;
        n_tested++;
        assert_near(variance / want, 1, 0.35); /* relative error of a variance: sqrt(kurtosis / draws) */
    }
    assert_true(n_tested >= 5);
    assert_near(expected, cell.depth, 1e-9 * cell.depth);
    cpt_simulated_truth_free(&t);
}

static void truth(void **state)
{
    cpt_simulate_options o;
    cpt_simulate_options_init(&o);
    cpt_simulated_truth t;
    assert_ok(cpt_simulated_truth_make(&o, 1, &t, &err));
    double sum = 0;
    for (int32_t g = 0; g < t.n_genes; g++) sum += t.base[g];
    assert_near(sum, 1, 1e-12);
    for (int32_t p = 0; p < t.n_programs; p++) {
        int32_t n = 0, up = 0;
        for (int32_t g = 0; g < t.n_genes; g++) n += t.loadings[g * t.n_programs + p] != 0;
        for (int32_t g = 0; g < t.n_genes; g++) up += t.loadings[g * t.n_programs + p] > 0;
        assert_int_equal(n, 60);
        assert_true(up > 35);
        assert_int_equal(t.first[p + 1] - t.first[p], 60);
        for (int64_t i = t.first[p]; i < t.first[p + 1]; i++)
            assert_true(t.loadings[t.members[i] * t.n_programs + p] != 0);
        for (int32_t k = 0; t.is_state[p] && k < t.n_types; k++)
            assert_true(t.type_activity[k * t.n_programs + p] == 0);
    }
    for (int32_t k = 0; k < t.n_types; k++) {
        int32_t n = 0;
        for (int32_t p = 0; p < t.n_programs; p++) n += t.type_activity[k * t.n_programs + p] > 0;
        assert_in_range(n, 1, 3);
    }
    for (int32_t p = 0; p < t.n_programs; p++) { /* none is idle */
        bool used = t.is_state[p];
        for (int32_t k = 0; k < t.n_types; k++) used |= t.type_activity[k * t.n_programs + p] > 0;
        assert_true(used);
    }

    /* More programs and cells leave the first ones as they were. */
    cpt_simulated_truth more;
    o.n_programs = 30;
    assert_ok(cpt_simulated_truth_make(&o, 1, &more, &err));
    assert_memory_equal(t.members, more.members, (size_t)t.first[t.n_programs] * sizeof *t.members);
    assert_memory_equal(t.base, more.base, (size_t)t.n_genes * sizeof *t.base);
    cpt_simulated_truth_free(&t);
    cpt_simulated_truth_free(&more);
}

static void gene_names(void **state)
{
    const char *table = "symbol\tensembl_ids\tentrez_id\tgene_type\n"
                        "TP53\tE1\t1\tprotein-coding\nLINC1\tE2\t2\tncRNA\nMYC\tE3\t3\tprotein-coding\n";
    assert_ok(cpt_write_file(in_folder("genes.tsv"), table, strlen(table), &err));
    cpt_simulate_options o = small();
    cpt_simulated_truth t;
    o.n_genes = 10;
    o.gene_table = in_folder("genes.tsv");
    assert_ok(cpt_simulated_truth_make(&o, 1, &t, &err));
    int found = 0;
    for (int g = 0; g < 2; g++) {
        const char *name = cpt_strings_get(&t.genes, g);
        found += !strcmp(name, "TP53") || !strcmp(name, "MYC");
    }
    assert_int_equal(found, 2);
    assert_string_equal(cpt_strings_get(&t.genes, 2), "GENE3");
    cpt_simulated_truth_free(&t);

    assert_ok(cpt_write_file(in_folder("genes.tsv"), "what\n", 5, &err));
    assert_int_equal(cpt_simulated_truth_make(&o, 1, &t, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "genes.tsv"));
    o.gene_table = "/nowhere/genes.tsv";
    assert_int_equal(cpt_simulated_truth_make(&o, 1, &t, &err), CPT_ERR_IO);
}

static void real_gene_names(void **state)
{
    NEED_SHARED(table, "data/human_genes.tsv.gz");
    cpt_simulate_options o = small();
    cpt_simulated_truth t;
    o.n_genes = 19000;
    o.gene_table = table;
    assert_ok(cpt_simulated_truth_make(&o, 1, &t, &err));
    for (int64_t g = 0; g < t.genes.n; g++)
        assert_true(strncmp(cpt_strings_get(&t.genes, g), "GENE", 4) != 0);
    cpt_index *ix = cpt_index_new(19000, &err);
    for (int64_t g = 0; g < t.genes.n; g++) {
        int64_t first;
        assert_ok(cpt_index_add(ix, cpt_strings_get(&t.genes, g), g, &first, &err));
        assert_int_equal(first, g); /* no name twice */
    }
    cpt_index_free(ix);
    cpt_simulated_truth_free(&t);
}

static void wrong_input(void **state)
{
    cpt_simulate_options o = small();
    o.n_cells = 0;
    assert_int_equal(cpt_simulate_h5ad(in_folder("c.h5ad"), &o, NULL, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "cells"));
    o = small(), o.n_genes = 3;
    assert_int_equal(cpt_simulate_h5ad(in_folder("c.h5ad"), &o, NULL, &err), CPT_ERR_USAGE);
    o = small(), o.depth = NAN;
    assert_int_equal(cpt_simulate_h5ad(in_folder("c.h5ad"), &o, NULL, &err), CPT_ERR_USAGE);
    o = small();
    assert_int_equal(cpt_simulate_h5ad("/nowhere/c.h5ad", &o, NULL, &err), CPT_ERR_IO);

    int stop = 1;
    cpt_context ctx = {.n_threads = 1, .stop = &stop};
    assert_ok(cpt_make_folder(in_folder("empty"), &err));
    assert_int_equal(cpt_simulate_h5ad(in_folder("empty/c.h5ad"), &o, &ctx, &err), CPT_ERR_INTERRUPTED);
    assert_int_equal(rmdir(in_folder("empty")), 0); /* nothing is left behind */
    ctx.stop = NULL;
    assert_ok(cpt_make_folder(in_folder("one"), &err));
    assert_ok(cpt_simulate_h5ad(in_folder("one/c.h5ad"), &o, &ctx, &err));
    assert_int_equal(unlink(in_folder("one/c.h5ad")), 0);
    assert_int_equal(rmdir(in_folder("one")), 0); /* no spool either */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_back),
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(distribution),
        cmocka_unit_test(truth),
        cmocka_unit_test(gene_names),
        cmocka_unit_test(real_gene_names),
        cmocka_unit_test(wrong_input),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
