/* small_study.h - a whole study of simulated cells, made once per test program in a folder of its
 * own. */
#ifndef CPT_TEST_SMALL_STUDY_H
#define CPT_TEST_SMALL_STUDY_H

#include "check.h"

enum { SMALL_CELLS = 300, SMALL_GENES = 400, SMALL_CONCEPTS = 40 };

static char small_root[40], small_study[64];

/* Eight sets of the cells' genes: every eighth one. Names of simulated genes are real symbols. */
static inline void small_write_sets(const char *path)
{
    static char symbols[SMALL_GENES][64];
    char genes[160], line[512];
    int n = 0;
    snprintf(genes, sizeof genes, "%s/cache/genes.tsv", small_study);
    FILE *in = fopen(genes, "r"), *out = fopen(path, "w");
    assert_non_null(in);
    assert_non_null(out);
    assert_non_null(fgets(line, sizeof line, in)); /* header */
    while (n < SMALL_GENES && fgets(line, sizeof line, in)) sscanf(line, "%*s %63s", symbols[n++]);
    for (int s = 0; s < 8; s++) {
        fprintf(out, "SET_%c\tna", 'A' + s);
        for (int g = s; g < n; g += 8) fprintf(out, "\t%s", symbols[g]);
        fputs("\n", out);
    }
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Group set-up: small_study is the folder afterwards. */
static inline int small_study_make(void **state)
{
    static const char *const settings[][2] = {{"epochs", "6"},           {"genes", "300"},
                                              {"expansion", "4"},        {"dictionary-epochs", "8"},
                                              {"prototypes", "8"},       {"min-size", "5"},
                                              {"noise-directions", "4"}, {"permutations", "500"},
                                              {"donor", "donor"},        {"aspects", "none"},
                                              {"label", "cell_type"}};
    char cells[128], sets[128];
    cpt_err err;
    cpt_context ctx;
    const cpt_simulation what = {.n_cells = SMALL_CELLS, .n_genes = SMALL_GENES, .n_programs = 4};
    (void)state;
    cpt_context_init(&ctx);
    ctx.n_threads = 1;
    ctx.seed = 3;
    snprintf(small_root, sizeof small_root, "/tmp/cpt_small_XXXXXX");
    assert_non_null(mkdtemp(small_root));
    snprintf(cells, sizeof cells, "%s/cells.h5ad", small_root);
    snprintf(sets, sizeof sets, "%s/sets.gmt", small_root);
    snprintf(small_study, sizeof small_study, "%s/study", small_root);
    assert_ok(cpt_simulate(cells, &what, &ctx, &err));
    cpt_options *o = cpt_options_new(&err);
    assert_non_null(o);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        assert_ok(cpt_options_set(o, settings[i][0], settings[i][1], &err));
    assert_ok(cpt_study_run(cells, small_study, NULL, o, "test", &ctx, &err)); /* its genes are known now */
    small_write_sets(sets);
    assert_ok(cpt_options_set(o, "gmt", sets, &err));
    assert_ok(cpt_study_run(cells, small_study, NULL, o, "test", &ctx, &err));
    cpt_options_free(o);
    return 0;
}

static inline int small_study_remove(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", small_root);
    return system(command) == 0 ? 0 : -1;
}

#endif
