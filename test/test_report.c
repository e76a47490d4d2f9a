#include "check.h"

#include "base/file.h"
#include "base/text.h"
#include "io/h5ad_write.h"

/* Small studies through all stages with names that would break a careless page; then the page is
 * read. */

enum { N_CELLS = 120, N_GENES = 40, N_LABELS = 3, DIM = 6 };

static const char *const labels[N_LABELS] = {"<img src=x onerror=alert(1)>",
                                             "B & \"plasma\" 'cells'", "</script><b>T"};
static char folder[64];

static uint32_t step(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

static cpt_status add_names(cpt_strings *s, int n, const char *const *first, int n_first,
                            char kind, cpt_err *e)
{
    for (int i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "%c%d", kind, i);
        const char *text = i < n_first ? first[i] : name;
        cpt_status status = cpt_strings_add(s, text, strlen(text), e);
        if (status) return status;
    }
    return CPT_OK;
}

/* Three groups of cells, each with genes of its own. */
static void write_cells(const char *path, bool with_labels)
{
    static const char *const genes[] = {"</script><b>", "A\"onload=\"x", "<svg onload=alert(2)>"};
    static const char *const cells[] = {"<i>cell</i>"};
    static float counts[N_CELLS * N_GENES], embedding[N_CELLS * DIM];
    int32_t codes[N_CELLS];
    cpt_strings obs = {0}, var = {0};
    cpt_column label = {.name = "cell_type", .kind = CPT_COLUMN_CATEGORY, .codes = codes};
    uint32_t seed = 1;
    cpt_err err;
    for (int i = 0; i < N_CELLS; i++) {
        codes[i] = i % N_LABELS;
        for (int g = 0; g < N_GENES; g++)
            counts[i * N_GENES + g] = (float)(step(&seed) % 4 + (g % N_LABELS == codes[i] ?
                                                                 step(&seed) % 20 : 0));
        for (int d = 0; d < DIM; d++)
            embedding[i * DIM + d] = (float)(step(&seed) % 1000) / 1000 + (d % N_LABELS == codes[i]
                                                                           ? 3 : 0);
    }
    assert_ok(add_names(&obs, N_CELLS, cells, 1, 'c', &err));
    assert_ok(add_names(&var, N_GENES, genes, 3, 'g', &err));
    assert_ok(add_names(&label.categories, N_LABELS, labels, N_LABELS, 'l', &err));
    cpt_h5ad *f = cpt_h5ad_create(path, &obs, &var, &err);
    assert_non_null(f);
    assert_ok(cpt_h5ad_dense(f, "X", CPT_F32, counts, &err));
    if (with_labels) assert_ok(cpt_h5ad_column(f, 'o', &label, &err));
    assert_ok(cpt_h5ad_matrix(f, "obsm/X_test", DIM, embedding, &err));
    assert_ok(cpt_h5ad_finish(f, &err));
    cpt_strings_free(&obs);
    cpt_strings_free(&var);
    cpt_strings_free(&label.categories);
}

static void write_sets(const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("<u>SET</u>\tna", f);
    for (int g = 3; g < N_GENES; g += 3) fprintf(f, "\tg%d", g);
    fputs("\nSECOND\tna", f);
    for (int g = 4; g < N_GENES; g += 3) fprintf(f, "\tg%d", g);
    fputs("\n", f);
    assert_int_equal(fclose(f), 0);
}

static void run_study(const char *name, const char *model, bool with_labels, char study[256])
{
    char cells[256], sets[256];
    const char *const settings[][2] = {
        {"model", model}, {"epochs", "2"}, {"genes", "0"}, {"latent", "4"}, {"hidden", "8"},
            {"concepts", "24"}, {"k", "2"},
        {"dictionary-epochs", "20"}, {"prototypes", "4"}, {"noise-directions", "2"},
            {"permutations", "50"},
        {"aspects", "none"}, {"gmt", sets}, {"min-size", "2"}};
    cpt_context ctx;
    cpt_err err;
    snprintf(cells, sizeof cells, "%s/%s.h5ad", folder, name);
    snprintf(sets, sizeof sets, "%s/sets.gmt", folder);
    snprintf(study, 256, "%s/%s", folder, name);
    write_cells(cells, with_labels);
    write_sets(sets);
    cpt_options *o = cpt_options_new(&err);
    assert_non_null(o);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        assert_ok(cpt_options_set(o, settings[i][0], settings[i][1], &err));
    cpt_context_init(&ctx);
    ctx.n_threads = 1;
    assert_ok(cpt_study_run(cells, study, NULL, o, "test", &ctx, &err));
    cpt_options_free(o);
}

static cpt_map read_page(const char *study)
{
    char path[512];
    cpt_map map;
    cpt_err err;
    snprintf(path, sizeof path, "%s/report.html", study);
    assert_ok(cpt_map_open(path, &map, &err));
    return map;
}

/* ---- what every page must satisfy ---- */

static bool begins(const char *p, const char *word)
{
    return strncmp(p, word, strlen(word)) == 0;
}

/* Elements without content, and those closed in place. */
static bool is_void(const char *p, const char *name)
{
    static const char *const list[] = {"meta", "input", "!DOCTYPE", NULL};
    for (int i = 0; list[i]; i++)
        if (strcmp(name, list[i]) == 0) return true;
    return p[strcspn(p, ">") - 1] == '/';
}

/* Every element that is opened is closed in order; style and script are skipped. */
static void check_tags(const char *page)
{
    static char stack[64][16];
    int depth = 0;
    for (const char *p = strchr(page, '<'); p; p = strchr(p + 1, '<')) {
        bool closing = p[1] == '/';
        char name[16] = "";
        sscanf(p + 1 + closing, "%15[A-Za-z0-9!]", name);
        assert_true(name[0]);
        if (closing) {
            assert_true(depth > 0);
            if (strcmp(stack[--depth], name) != 0) {
                print_error("</%s> closes <%s>: %.80s\n", name, stack[depth], p);
                fail();
            }
        } else if (!is_void(p, name)) {
            assert_true(depth < 64);
            strcpy(stack[depth++], name);
            if (begins(p, "<script") || begins(p, "<style")) p =
                strstr(p, begins(p, "<script") ? "</script" : "</style") - 1;
        }
    }
    assert_int_equal(depth, 0);
}

/* Nothing is loaded: the only addresses are links that a reader may click. */
static void check_closed(const char *page)
{
    static const char *const loading[] = {"<img", "<image", "<link", "<iframe", "<object",
                                          "<embed", "<video", "<audio",
                                          "<script src", "<use", "url(", "@import", "fetch(",
                                              "XMLHttp"};
    for (size_t i = 0; i < sizeof loading / sizeof *loading; i++) assert_null(strstr(page,
                                                                                     loading[i]));
    for (const char *p = page; (p = strstr(p, "http")); p++)
        assert_true(begins(p - 6, "href=\"https://arxiv.org/") ||
                    begins(p - 6, "href=\"https://creativecommons.org/"));
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, word)); p += strlen(word)) n++;
    return n;
}

/* Every link inside the page has its target. */
static void check_links(const char *page)
{
    for (const char *p = page; (p = strstr(p, "href=\"#")); p++) {
        char target[64], id[80];
        assert_int_equal(sscanf(p, "href=\"#%63[^\"]", target), 1);
        snprintf(id, sizeof id, " id=\"%s\"", target);
        if (!strstr(page, id)) {
            print_error("no target for #%s\n", target);
            fail();
        }
    }
}

static void check_page(const cpt_map *map)
{
    char *page = strndup((const char *)map->bytes, map->size);
    assert_non_null(page);
    assert_int_equal(strlen(page), map->size); /* no NUL */
    assert_true(cpt_utf8_valid(page, map->size));
    assert_int_equal(count(page, "<script"), 2);
    assert_int_equal(count(page, "</script"), 2);
    check_tags(page);
    check_closed(page);
    check_links(page);
    assert_null(strstr(page, ">nan"));
    assert_null(strstr(page, "-nan"));
    free(page);
}

/* ---- tests ---- */

static void test_hostile_names(void **state)
{
    char study[256];
    run_study("hostile", "scvi", true, study);
    cpt_map map = read_page(study);
    check_page(&map);
    const char *page = (const char *)map.bytes;
    assert_null(memmem(page, map.size, "<img", 4));
    assert_null(memmem(page, map.size, "<svg onload", 11));
    assert_null(memmem(page, map.size, "</script><b>", 12));
    assert_null(memmem(page, map.size, "\"onload=\"", 9));
    assert_null(memmem(page, map.size, "<u>SET", 6));
    assert_non_null(memmem(page, map.size, "&lt;img src=x onerror=alert(1)&gt;", 34));
    assert_non_null(memmem(page, map.size, "&lt;/script&gt;&lt;b&gt;", 24));
    assert_non_null(memmem(page, map.size, "Genes by attribution", 20));
    cpt_map_close(&map);
}

static void test_same_bytes(void **state)
{
    char study[256];
    cpt_context ctx;
    cpt_err err;
    snprintf(study, sizeof study, "%s/hostile", folder);
    cpt_context_init(&ctx);
    cpt_map first = read_page(study);
    assert_ok(cpt_study_stage(study, "report", NULL, true, "test", &ctx, &err));
    cpt_map second = read_page(study);
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.bytes, second.bytes, first.size);
    cpt_map_close(&first);
    cpt_map_close(&second);
}

/* A fixed embedding has no attribution, and here no labels either: the page says so and is whole.
 * */
static void test_without_model_or_labels(void **state)
{
    char study[256];
    run_study("bare", "obsm:X_test", false, study);
    cpt_map map = read_page(study);
    check_page(&map);
    const char *page = (const char *)map.bytes;
    assert_null(memmem(page, map.size, "Genes by attribution", 20));
    assert_non_null(memmem(page, map.size, "Genes by differential expression", 32));
    assert_non_null(memmem(page, map.size, "No label column was given", 25));
    assert_non_null(memmem(page, map.size, "there are no attributions", 25));
    cpt_map_close(&map);
}

static int set_up(void **state)
{
    strcpy(folder, "/tmp/cpt_report_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    cpt_err err;
    return cpt_remove_tree(folder, &err) ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_without_model_or_labels),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
