/* Replays the corpora of the readers of ontologies, annotations, gene sets, gene tables and ranked lists, as
 * test_fuzz_corpus.c does for the others. */
#include "check.h"

#include <dirent.h>

#define LLVMFuzzerTestOneInput fuzz_one_obo
#include "fuzz/fuzz_obo.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_one_genes
#include "fuzz/fuzz_genes.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_one_gaf
#define LLVMFuzzerInitialize initialize_gaf
#define check check_gaf
#define universe universe_gaf
#include "fuzz/fuzz_gaf.c"
#undef LLVMFuzzerTestOneInput
#undef LLVMFuzzerInitialize
#undef check
#undef universe
#define LLVMFuzzerTestOneInput fuzz_one_gmt
#define LLVMFuzzerInitialize initialize_gmt
#define check check_gmt
#define genes genes_gmt
#define table table_gmt
#include "fuzz/fuzz_gmt.c"
#undef LLVMFuzzerTestOneInput
#undef LLVMFuzzerInitialize
#undef check
#undef genes
#undef table
#define LLVMFuzzerTestOneInput fuzz_one_rnk
#include "fuzz/fuzz_rnk.c"
#undef LLVMFuzzerTestOneInput

typedef int fuzz_fn(const uint8_t *bytes, size_t size);

static int replay_folder(fuzz_fn *run, const char *folder)
{
    char path[1200];
    int n = 0;
    cpt_err err;
    DIR *d = opendir(folder);
    if (!d) fail_msg("%s is missing", folder);
    for (struct dirent *entry; (entry = readdir(d)) != NULL; n++) {
        cpt_map m;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_ok(cpt_map_open(path, &m, &err));
        for (size_t length = 0; length <= m.size; length += m.size / 16 + 1) run(m.bytes, length); /* cut off, too */
        run(m.bytes, m.size);
        cpt_map_close(&m);
    }
    closedir(d);
    return n;
}

static void test_corpora(void **state)
{
    static const struct {
        const char *folder;
        fuzz_fn *run;
    } targets[] = {{"test/fuzz/corpus/obo", fuzz_one_obo},
                   {"test/fuzz/corpus/gaf", fuzz_one_gaf},
                   {"test/fuzz/corpus/gmt", fuzz_one_gmt},
                   {"test/fuzz/corpus/genes", fuzz_one_genes},
                   {"test/fuzz/corpus/rnk", fuzz_one_rnk}};
    initialize_gaf(NULL, NULL);
    initialize_gmt(NULL, NULL);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        assert_true(replay_folder(targets[i].run, targets[i].folder) >= 3);
    cpt_go_free(go);
    cpt_strings_free(&universe_gaf);
    cpt_strings_free(&universe);
    cpt_gene_table_free(table_gmt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpora)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
