/* test_term_rows.c - the tests brought to one form; which significant rows are folded under which. */
#include "check.h"
#include "genesets_by_hand.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "enrich/strength.h"
#include "enrich/term_rows.h"

enum { N_GENES = 400 };

/* root > a > b (b holds most of a), root > c; genes 0-39 a, 0-35 b, 100-129 c. */
typedef struct fixture {
    cpt_go *go;
    cpt_annotation *a;
    cpt_genesets *sets;
    double *ic;
    int32_t study[30];
} fixture;

static void write_text(const char *path, const char *text)
{
    cpt_err err;
    assert_ok(cpt_write_file(path, text, strlen(text), &err));
}

static const char obo[] =
    "format-version: 1.2\ndata-version: toy\n\n"
    "[Term]\nid: GO:0008150\nname: biological_process\nnamespace: biological_process\n\n"
    "[Term]\nid: GO:0000001\nname: a\nnamespace: biological_process\nis_a: GO:0008150\n\n"
    "[Term]\nid: GO:0000002\nname: b\nnamespace: biological_process\nis_a: GO:0000001\n\n"
    "[Term]\nid: GO:0000003\nname: c\nnamespace: biological_process\nis_a: GO:0008150\n";

static int setup(void **state)
{
    cpt_err err;
    cpt_strings u = {0};
    cpt_text gaf = {0};
    char path[64];
    fixture *f = calloc(1, sizeof *f);
    cpt_go_options options = {.part_of = true};
    snprintf(path, sizeof path, "/tmp/cpt_test_term_rows_%ld", (long)getpid());
    write_text(path, obo);
    assert_ok(cpt_go_open(path, &options, &f->go, &err));
    for (int i = 0; i < N_GENES; i++) {
        char gene[16];
        snprintf(gene, sizeof gene, "g%03d", i);
        assert_ok(cpt_strings_add(&u, gene, strlen(gene), &err));
        const char *term = i < 36 ? "GO:0000002" : i < 40 ? "GO:0000001" : i >= 100 && i < 130 ? "GO:0000003"
                           : i >= 200 ? "GO:0008150" : NULL;
        if (term) cpt_text_addf(&gaf, "D\ti\t%s\t\t%s\tr\tIDA\t\tP\t\t\t\t\t\t\t\t\n", gene, term);
    }
    write_text(path, gaf.bytes);
    assert_ok(cpt_annotation_open(path, f->go, &u, NULL, &f->a, &err));
    unlink(path);
    assert_ok(cpt_genesets_from_go(f->go, f->a, CPT_GO_BP, 5, 100, &f->sets, &err));
    assert_int_equal(f->sets->n_sets, 3);
    assert_ok(cpt_alloc(&f->ic, (size_t)f->go->n_terms, sizeof *f->ic, &err));
    assert_ok(cpt_term_ic(f->go, f->a, f->ic, &err));
    for (int i = 0; i < 30; i++) f->study[i] = i < 20 ? i : 100 + i; /* 20 of b, 10 of c */
    cpt_text_free(&gaf);
    cpt_strings_free(&u);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    cpt_genesets_free(f->sets);
    cpt_annotation_free(f->a);
    cpt_go_free(f->go);
    free(f->ic);
    free(f);
    return 0;
}

static const char *id(const fixture *f, const cpt_term_rows *r, int32_t i)
{
    return cpt_strings_get(&f->sets->ids, r->rows[i].set);
}

static cpt_reduction how(const fixture *f, cpt_similarity kind, double cutoff)
{
    return (cpt_reduction){.kind = kind, .cutoff = cutoff, .alpha = 0.05, .go = f->go, .ic = f->ic};
}

/* By hand: b 20 of 36, a 20 of 40, c 10 of 30; b < a < c in p. */
static void test_ora(void **state)
{
    fixture *f = *state;
    cpt_err err;
    cpt_term_rows r;
    assert_ok(cpt_term_rows_ora(f->sets, 30, f->study, &r, &err));
    assert_int_equal(r.n, 3);
    assert_int_equal(r.n_tested, 3);
    assert_string_equal(id(f, &r, 0), "GO:0000002");
    assert_string_equal(id(f, &r, 1), "GO:0000001");
    assert_string_equal(id(f, &r, 2), "GO:0000003");
    assert_int_equal(r.rows[0].overlap, 20);
    assert_int_equal(r.rows[0].n_genes, 20);
    assert_int_equal(r.rows[2].genes[0], 120);
    for (int i = 0; i < 3; i++) assert_int_equal(r.rows[i].representative, i);
    cpt_term_rows_free(&r);
}

static void test_reduce_ora(void **state)
{
    fixture *f = *state;
    cpt_err err;
    static const cpt_similarity kinds[] = {CPT_SIMILARITY_LIN, CPT_SIMILARITY_SIMREL, CPT_SIMILARITY_WANG};
    for (int k = 0; k < 4; k++) { /* the fourth: by genes */
        cpt_term_rows r;
        cpt_reduction h = how(f, kinds[k % 3], k == 2 ? 0.5 : 0.7);
        h.by_genes = k == 3;
        assert_ok(cpt_term_rows_ora(f->sets, 30, f->study, &r, &err));
        assert_ok(cpt_term_rows_reduce(&r, f->sets, &h, &err));
        assert_int_equal(r.rows[0].representative, 0);
        assert_int_equal(r.rows[1].representative, 0); /* a under b */
        assert_int_equal(r.rows[2].representative, 2);
        cpt_term_rows_free(&r);
    }
}

/* Nothing is folded that is not significant, nor above the cut-off. */
static void test_reduce_nothing(void **state)
{
    fixture *f = *state;
    cpt_err err;
    cpt_term_rows r;
    cpt_reduction strict = how(f, CPT_SIMILARITY_LIN, 1), none = how(f, CPT_SIMILARITY_LIN, 0.1);
    none.alpha = 0;
    assert_ok(cpt_term_rows_ora(f->sets, 30, f->study, &r, &err));
    assert_ok(cpt_term_rows_reduce(&r, f->sets, &strict, &err));
    assert_ok(cpt_term_rows_reduce(&r, f->sets, &none, &err));
    for (int i = 0; i < 3; i++) assert_int_equal(r.rows[i].representative, i);
    cpt_term_rows_free(&r);
    assert_ok(cpt_term_rows_ora(f->sets, 0, f->study, &r, &err)); /* empty study */
    assert_ok(cpt_term_rows_reduce(&r, f->sets, &strict, &err));
    for (int i = 0; i < 3; i++) assert_near(r.rows[i].p, 1, 1e-12);
    cpt_term_rows_free(&r);
}

/* Resnik lies in 0 .. 1 here: MICA of a and b is a, ln(270 / 40) over ln 400 = 0.319. */
static void test_resnik_scale(void **state)
{
    fixture *f = *state;
    cpt_err err;
    for (int k = 0; k < 2; k++) {
        cpt_term_rows r;
        cpt_reduction h = how(f, CPT_SIMILARITY_RESNIK, k ? 0.33 : 0.31);
        assert_ok(cpt_term_rows_ora(f->sets, 30, f->study, &r, &err));
        assert_ok(cpt_term_rows_reduce(&r, f->sets, &h, &err));
        assert_int_equal(r.rows[1].representative, k ? 1 : 0);
        cpt_term_rows_free(&r);
    }
}

static int32_t row_of(const fixture *f, const cpt_term_rows *r, const char *term)
{
    for (int32_t i = 0; i < r->n; i++)
        if (strcmp(id(f, r, i), term) == 0) return i;
    fail();
    return -1;
}

/* a up, c down: opposite directions stay apart even when everything is called alike. */
static void test_gsea_directions(void **state)
{
    fixture *f = *state;
    cpt_err err;
    cpt_term_rows r;
    double s[N_GENES];
    cpt_gsea_options o;
    cpt_stream stream;
    cpt_stream_init(&stream, 1, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N_GENES; i++)
        s[i] = cpt_stream_normal(&stream) + (i < 40 ? 3 : i >= 100 && i < 130 ? -3 : 0);
    cpt_gsea_options_init(&o);
    o.multilevel = false;
    cpt_gsea_engine *engine = cpt_gsea_engine_new(f->sets, &o, &err);
    assert_non_null(engine);
    assert_ok(cpt_term_rows_gsea(engine, s, &r, &err));
    assert_int_equal(r.n, 3);
    cpt_reduction h = how(f, CPT_SIMILARITY_WANG, 0.01);
    assert_ok(cpt_term_rows_reduce(&r, f->sets, &h, &err));
    for (int i = 0; i < 3; i++) {
        const cpt_term_row *row = &r.rows[i], *stays = &r.rows[row->representative];
        assert_true(row->q < 0.05 && row->p > 0);
        assert_true(row->nes * stays->nes > 0);
        assert_int_equal(row->n_genes, row->overlap);
        if (i) assert_true(r.rows[i - 1].log10p <= row->log10p);
    }
    int32_t at_a = row_of(f, &r, "GO:0000001"), at_b = row_of(f, &r, "GO:0000002");
    assert_int_equal(r.rows[at_a].representative, r.rows[at_b].representative);
    cpt_term_rows_free(&r);
    cpt_gsea_engine_free(engine);
}

/* The order of findings is a weak order: for any three, what is before or as good as what is before is so itself. And
 * what the rule is for. */
static void test_strength(void **state)
{
    enum { N = 60 };
    cpt_strength x[N];
    cpt_stream stream;
    cpt_stream_init(&stream, 3, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) {
        const double beyond = (double)cpt_stream_below(&stream, 3), same = 300 + (double)cpt_stream_below(&stream, 9000);
        const double error = beyond == 0 ? 1.85 : beyond < 2 ? 1.16 : NAN, nes = (double)cpt_stream_below(&stream, 8) / 4 - 1;
        x[i] = cpt_strength_of(i % 11 ? log10((beyond + 1) / (same + 1)) : NAN, i % 5 ? nes : NAN, error);
    }
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) {
            const int ab = cpt_strength_compare(x[a], x[b]);
            assert_int_equal(ab, -cpt_strength_compare(x[b], x[a]));
            for (int c = 0; c < N; c++)
                if (ab <= 0 && cpt_strength_compare(x[b], x[c]) <= 0)
                    assert_true(cpt_strength_compare(x[a], x[c]) <= (ab < 0 ? -1 : 0));
        }
    /* Floors of 10,000 permutations: skew nulls, a narrow set behind a broad one by p. */
    const cpt_strength broad = cpt_strength_of(-3.93, 1.3, 1.85), narrow = cpt_strength_of(-3.25, 2.9, 1.85),
                       one_beyond = cpt_strength_of(log10(2 / 10001.0), 3.5, 1.16),
                       weak = cpt_strength_of(-2.1, 3, 1.85), split = cpt_strength_of(-9, 2, 0.4),
                       least = cpt_strength_of(-50, 2, NAN), none = cpt_strength_of(NAN, 3, NAN);
    const cpt_strength order[] = {least, split, narrow, broad, one_beyond, weak, none};
    for (size_t i = 1; i < sizeof order / sizeof *order; i++)
        assert_true(cpt_strength_compare(order[i - 1], order[i]) < 0);
    assert_true(cpt_strength_compare(cpt_strength_of(-50, 3, NAN), least) < 0);
    assert_true(cpt_strength_then_set(broad, 1, broad, 2) < 0);
}

/* No permutation beyond: |NES| decides, not the floor of p, which is lower for larger sets. */
static void test_floors(void **state)
{
    enum { N = 2000 };
    static double s[N];
    cpt_err err;
    cpt_term_rows r;
    cpt_gsea_options o;
    cpt_stream stream;
    int32_t genes[300];
    cpt_genesets sets = by_hand_new(N);
    cpt_stream_init(&stream, 2, CPT_RANDOM_TEST, 0);
    for (int i = 0; i < N; i++) s[i] = N / 2 - i;
    for (int i = 0; i < 300; i++) genes[i] = i * 4; /* broad and weak */
    by_hand_add(&sets, 300, genes);
    for (int i = 0; i < 40; i++) genes[i] = i * 2;
    by_hand_add(&sets, 40, genes);
    by_hand_add_random(&sets, 50, N, &stream);
    cpt_gsea_options_init(&o);
    o.multilevel = false;
    cpt_gsea_engine *engine = cpt_gsea_engine_new(&sets, &o, &err);
    assert_non_null(engine);
    assert_ok(cpt_term_rows_gsea(engine, s, &r, &err));
    assert_int_equal(r.rows[0].set, 1);
    assert_int_equal(r.rows[1].set, 0);
    assert_int_equal(r.rows[2].set, 2);
    assert_true(r.rows[0].log2err == r.rows[1].log2err && r.rows[0].nes > r.rows[1].nes);
    assert_true(r.rows[0].p > r.rows[1].p); /* so p alone would have put the broad one first */
    cpt_term_rows_free(&r);
    cpt_gsea_engine_free(engine);
    by_hand_free(&sets);
}

/* elim: b takes a's only hits; a is left with none of them: p = 1. Numbers stay as annotated. */
static void test_dag(void **state)
{
    fixture *f = *state;
    cpt_err err;
    cpt_term_rows r;
    assert_ok(cpt_term_rows_dag(f->go, f->a, CPT_GO_BP, f->sets, CPT_DAG_ELIM, 0.01, 30, f->study, &r, &err));
    assert_int_equal(r.n, 3);
    const cpt_term_row *a = &r.rows[row_of(f, &r, "GO:0000001")], *b = &r.rows[row_of(f, &r, "GO:0000002")];
    assert_near(a->p, 1, 1e-12);
    assert_true(b->p < 1e-10 && b->q < 1e-9);
    assert_int_equal(a->overlap, 20);
    assert_int_equal(a->n_genes, 20);
    assert_int_equal(a->size, 40);
    cpt_term_rows_free(&r);
    assert_ok(cpt_term_rows_dag(f->go, f->a, CPT_GO_BP, f->sets, CPT_DAG_UNION, 0.01, 30, f->study, &r, &err));
    assert_int_equal(r.n_tested, 3);
    b = &r.rows[row_of(f, &r, "GO:0000002")];
    assert_near(b->p, 0.0530145530145530, 1e-12); /* C(36,20) / C(40,20) */
    cpt_term_rows_free(&r);
}

static void test_foreign_sets(void **state)
{
    fixture *f = *state;
    cpt_err err;
    cpt_term_rows r;
    int32_t saved = f->sets->term[1];
    f->sets->term[1] = -1;
    assert_int_equal(cpt_term_rows_dag(f->go, f->a, CPT_GO_BP, f->sets, CPT_DAG_ELIM, 0.01, 30, f->study, &r, &err),
                     CPT_ERR_INTERNAL);
    f->sets->term[1] = saved;
    assert_null(r.rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ora),           cmocka_unit_test(test_reduce_ora),
        cmocka_unit_test(test_reduce_nothing), cmocka_unit_test(test_resnik_scale),
        cmocka_unit_test(test_gsea_directions), cmocka_unit_test(test_strength), cmocka_unit_test(test_floors), cmocka_unit_test(test_dag),
        cmocka_unit_test(test_foreign_sets),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
