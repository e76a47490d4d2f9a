/* Replays the corpus of every fuzz target without a fuzzer: what was once found stays fixed, also
 * where there is no clang. A new target: include it under a name of its own and add a line to
 * `targets`. */
#include "check.h"

#include <dirent.h>

#define LLVMFuzzerTestOneInput fuzz_one_torch
#include "fuzz/fuzz_torch.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_one_pickle
#include "fuzz/fuzz_pickle.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_one_safetensors
#include "fuzz/fuzz_safetensors.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_one_notes
#include "fuzz/fuzz_notes.c"
#undef LLVMFuzzerTestOneInput
#define check check_uri
#define LLVMFuzzerTestOneInput fuzz_one_uri
#include "fuzz/fuzz_uri.c"
#undef LLVMFuzzerTestOneInput
#undef check

typedef int fuzz_fn(const uint8_t *bytes, size_t size);

static const struct {
    const char *folder;
    fuzz_fn *run;
    int n_least; /* inputs that must be there */
} targets[] = {
    {"test/fuzz/corpus/torch", fuzz_one_torch, 6},
    {"test/fuzz/corpus/pickle", fuzz_one_pickle, 40},
    {"test/fuzz/corpus/safetensors", fuzz_one_safetensors, 3},
    {"test/fuzz/corpus/uri", fuzz_one_uri, 7},
    {"test/fuzz/corpus/notes", fuzz_one_notes, 2},
};

/* The input as it is, and cut off in several places. */
static void replay(fuzz_fn *run, const char *path)
{
    cpt_map m;
    cpt_err err;
    assert_ok(cpt_map_open(path, &m, &err));
    for (size_t n = 0; n <= m.size; n += m.size / 16 + 1) {
        uint8_t *copy = malloc(n + 1); /* on the heap, so that sanitizers see its end */
        assert_non_null(copy);
        memcpy(copy, m.bytes, n);
        run(copy, n);
        free(copy);
    }
    run(m.bytes, m.size);
    cpt_map_close(&m);
}

static int replay_folder(fuzz_fn *run, const char *folder)
{
    char path[1200];
    int n = 0;
    DIR *d = opendir(folder);
    if (!d) fail_msg("%s is missing", folder);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        replay(run, path);
        n++;
    }
    closedir(d);
    return n;
}

static void test_corpus(void **state)
{
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        assert_true(replay_folder(targets[i].run, targets[i].folder) >= targets[i].n_least);
}

static void test_golden_files(void **state)
{
    NEED_SHARED(folder, "golden/checkpoints");
    assert_true(replay_folder(fuzz_one_torch, folder) >= 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_golden_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
