#include "pipeline/enrichment_corrections.h"
#include "base/memory.h"
#include "enrich/corrections.h"
#include "study/gzip_table.h"
#include "study/shards.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Ranking, method and collection each make a question of their own; within one, all concepts are
 * corrected together. Of the millions of p only those up to 0.05 are kept, which is all that
 * step-up procedures at that level look at (corrections.c). */

enum { PATH_LIMIT = 4096 };
static const double ALPHA = 0.05;
static const char *const methods[CPT_N_KEPT_METHODS] = {"gsea", "ora"};

cpt_status cpt_kept_table_make(int32_t n_families, int32_t n_concepts, cpt_kept_table *t,
                               cpt_err *e)
{
    *t = (cpt_kept_table){.n_families = n_families, .n_concepts = n_concepts};
    size_t n =
        (size_t)CPT_N_RANKINGS * CPT_N_KEPT_METHODS * (size_t)n_families * (size_t)n_concepts;
    return cpt_alloc(&t->cells, n, sizeof *t->cells, e);
}

static cpt_kept *cell(const cpt_kept_table *t, int ranking, int method, int32_t family,
                      int32_t concept)
{
    int64_t stratum = ((int64_t)ranking * CPT_N_KEPT_METHODS + method) * t->n_families + family;
    return &t->cells[stratum * t->n_concepts + concept];
}

cpt_status cpt_kept_table_add(cpt_kept_table *t, int ranking, int method, int32_t family,
                              int32_t concept, const cpt_term_rows *rows, cpt_err *e)
{
    cpt_kept *k = cell(t, ranking, method, family, concept);
    int32_t n = 0;
    cpt_status status;
    while (n < rows->n && rows->rows[n].p <= CPT_ENRICHMENT_P) n++; /* in order of p, NaN last */
    CPT_TRY(cpt_alloc(&k->set, (size_t)n, sizeof *k->set, e));
    CPT_TRY(cpt_alloc(&k->log10p, (size_t)n, sizeof *k->log10p, e));
    CPT_TRY(cpt_alloc(&k->p, (size_t)n, sizeof *k->p, e));
    CPT_TRY(cpt_alloc(&k->q, (size_t)n, sizeof *k->q, e));
    k->n = n;
    k->n_tests = rows->n_tested;
    for (int32_t i = 0; i < n; i++) {
        k->set[i] = rows->rows[i].set;
        k->log10p[i] = rows->rows[i].log10p;
        k->p[i] = rows->rows[i].p;
        k->q[i] = rows->rows[i].q;
    }
done:
    return status;
}

void cpt_kept_table_free(cpt_kept_table *t)
{
    int64_t n = (int64_t)CPT_N_RANKINGS * CPT_N_KEPT_METHODS * t->n_families * t->n_concepts;
    for (int64_t i = 0; t->cells && i < n; i++) {
        free(t->cells[i].set);
        free(t->cells[i].log10p);
        free(t->cells[i].p);
        free(t->cells[i].q);
    }
    free(t->cells);
    *t = (cpt_kept_table){0};
}

/* ---- pieces: per cell the number of tests and of kept p; per kept p set, log10 p, p, q ---- */

enum { N_HEAD = 2, N_KEPT_COLUMNS = 4 };

static cpt_status keep_make(cpt_kept *k, int64_t n_tests, int64_t n, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_alloc(&k->set, (size_t)n, sizeof *k->set, e));
    CPT_TRY(cpt_alloc(&k->log10p, (size_t)n, sizeof *k->log10p, e));
    CPT_TRY(cpt_alloc(&k->p, (size_t)n, sizeof *k->p, e));
    CPT_TRY(cpt_alloc(&k->q, (size_t)n, sizeof *k->q, e));
    k->n = (int32_t)n;
    k->n_tests = n_tests;
done:
    return status;
}

static int64_t n_strata(const cpt_kept_table *t)
{
    return (int64_t)CPT_N_RANKINGS * CPT_N_KEPT_METHODS * t->n_families;
}

cpt_status cpt_kept_table_write(const cpt_kept_table *t, int64_t from, int64_t to,
                                const char *folder, cpt_err *e)
{
    const int64_t n_cells = n_strata(t) * (to - from);
    int64_t *head = NULL, n = 0, i = 0;
    double *rows = NULL;
    cpt_status status;
    for (int64_t k = 0; k < n_strata(t); k++)
        for (int64_t c = from; c < to; c++) n += t->cells[k * t->n_concepts + c].n;
    CPT_TRY(cpt_alloc(&head, (size_t)(n_cells * N_HEAD), sizeof *head, e));
    CPT_TRY(cpt_alloc(&rows, (size_t)(n * N_KEPT_COLUMNS), sizeof *rows, e));
    double *to_row = rows;
    for (int64_t k = 0; k < n_strata(t); k++)
        for (int64_t c = from; c < to; c++) {
            const cpt_kept *kept = &t->cells[k * t->n_concepts + c];
            head[i++] = kept->n_tests;
            head[i++] = kept->n;
            for (int32_t r = 0; r < kept->n; r++, to_row += N_KEPT_COLUMNS) {
                const double row[N_KEPT_COLUMNS] = {kept->set[r], kept->log10p[r], kept->p[r],
                                                    kept->q[r]};
                memcpy(to_row, row, sizeof row);
            }
        }
    CPT_TRY(cpt_piece_write(folder, "kept_cells", CPT_I64, n_cells, N_HEAD, head, e));
    status = cpt_piece_write(folder, "kept", CPT_F64, n, N_KEPT_COLUMNS, rows, e);
done:
    free(head);
    free(rows);
    return status;
}

cpt_status cpt_kept_table_read(cpt_kept_table *t, int64_t from, int64_t to, const char *folder,
                               cpt_err *e)
{
    const int64_t n_cells = n_strata(t) * (to - from);
    int64_t *head = NULL, n = 0;
    double *rows = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&head, (size_t)(n_cells * N_HEAD), sizeof *head, e));
    CPT_TRY(cpt_piece_read(folder, "kept_cells", CPT_I64, n_cells, N_HEAD, head, e));
    for (int64_t i = 0; i < n_cells; i++) {
        if (head[N_HEAD * i] < 0 || head[N_HEAD * i + 1] < 0 || head[N_HEAD * i + 1] > INT32_MAX)
            CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT,
                             "%s: damaged; remove this folder and make the piece again", folder));
        n += head[N_HEAD * i + 1];
    }
    CPT_TRY(cpt_alloc(&rows, (size_t)(n * N_KEPT_COLUMNS), sizeof *rows, e));
    CPT_TRY(cpt_piece_read(folder, "kept", CPT_F64, n, N_KEPT_COLUMNS, rows, e));
    const int64_t *at = head;
    const double *row = rows;
    for (int64_t k = 0; k < n_strata(t); k++)
        for (int64_t c = from; c < to; c++, at += N_HEAD) {
            cpt_kept *kept = &t->cells[k * t->n_concepts + c];
            CPT_TRY(keep_make(kept, at[0], at[1], e));
            for (int32_t r = 0; r < kept->n; r++, row += N_KEPT_COLUMNS) {
                kept->set[r] = (int32_t)row[0];
                kept->log10p[r] = row[1];
                kept->p[r] = row[2];
                kept->q[r] = row[3];
            }
        }
done:
    free(head);
    free(rows);
    return status;
}

/* ---- one question: the families of the concepts that were asked it ---- */

typedef struct stratum {
    int32_t n, *concept; /* [n] */
    const cpt_kept **kept;
    int64_t *first, *n_tests;
    double *log10p;
    cpt_corrections c;
} stratum;

static void stratum_free(stratum *s)
{
    free(s->concept);
    free(s->kept);
    free(s->first);
    free(s->n_tests);
    free(s->log10p);
    cpt_corrections_free(&s->c);
}

static cpt_status stratum_make(const cpt_kept_table *t, int ranking, int method, int32_t family,
                               stratum *s, cpt_err *e)
{
    size_t most = (size_t)t->n_concepts;
    cpt_status status;
    CPT_TRY(cpt_alloc(&s->concept, most, sizeof *s->concept, e));
    CPT_TRY(cpt_alloc(&s->kept, most, sizeof *s->kept, e));
    CPT_TRY(cpt_alloc(&s->first, most + 1, sizeof *s->first, e));
    CPT_TRY(cpt_alloc(&s->n_tests, most, sizeof *s->n_tests, e));
    for (int32_t i = 0; i < t->n_concepts; i++) {
        const cpt_kept *k = cell(t, ranking, method, family, i);
        if (k->n_tests == 0) continue;
        s->concept[s->n] = i;
        s->kept[s->n] = k;
        s->n_tests[s->n] = k->n_tests;
        s->first[s->n + 1] = s->first[s->n] + k->n;
        s->n++;
    }
    CPT_TRY(cpt_alloc(&s->log10p, (size_t)s->first[s->n], sizeof *s->log10p, e));
    for (int32_t f = 0; f < s->n; f++)
        for (int32_t i = 0; i < s->kept[f]->n; i++)
            s->log10p[s->first[f] + i] = s->kept[f]->log10p[i];
    cpt_test_families families = {s->n, s->first, s->n_tests, s->log10p};
    CPT_TRY(cpt_corrections_make(&families, ALPHA, &s->c, e));
done:
    return status;
}

typedef struct counts {
    int64_t n_tests, within, all, hierarchical;
    int32_t with_within, with_all;
} counts;

static void add_number(cpt_text *t, double x)
{
    if (isnan(x)) cpt_text_add(t, "\tNA");
    else cpt_text_addf(t, "\t%.6g", x);
}

/* Lines of everything that any of the three corrections lets through. */
static counts add_lines(const stratum *s, int ranking, int method, const cpt_genesets *sets,
                        cpt_text *t)
{
    counts n = {0};
    for (int32_t f = 0; f < s->n; f++) {
        const cpt_kept *k = s->kept[f];
        bool any_within = false, any_all = false;
        n.n_tests += k->n_tests;
        for (int32_t i = 0; i < k->n; i++) {
            int64_t at = s->first[f] + i;
            bool within = k->q[i] < ALPHA, all = s->c.q_all[at] < ALPHA,
                 tree = s->c.q_hierarchical[at] < ALPHA;
            any_within |= within;
            any_all |= all;
            n.within += within;
            n.all += all;
            n.hierarchical += tree;
            if (!within && !all && !tree) continue;
            cpt_text_addf(t, "c%d\t%s\t%s\t%s\t%s", s->concept[f], cpt_ranking_names[ranking],
                          methods[method], sets -> collection,
                          cpt_strings_get(&sets->ids, k->set[i]));
            const double numbers[] = {k->p[i],         k->q[i],         s->c.q_all[at],
                                      s->c.p_simes[f], s->c.q_simes[f], s->c.q_hierarchical[at]};
            for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) add_number(t, numbers[j]);
            cpt_text_add(t, "\n");
        }
        n.with_within += any_within;
        n.with_all += any_all;
    }
    return n;
}

static json_t *counts_json(const stratum *s, const counts *n)
{
    return json_pack("{s:i, s:I, s:{s:I, s:i}, s:{s:I, s:i}, s:{s:I, s:i}}", "n_concepts", s->n,
                     "n_tests", (json_int_t)n->n_tests, "within_concept", "n_findings",
                     (json_int_t)n->within, "n_concepts", n->with_within, "over_all_concepts",
                     "n_findings", (json_int_t)n->all, "n_concepts", n->with_all, "hierarchical",
                     "n_findings", (json_int_t)n->hierarchical, "n_concepts", s->c.n_selected);
}

static cpt_status correct_stratum(const cpt_kept_table *t, int ranking, int method, int32_t family,
                                  const cpt_genesets *sets, cpt_gzip_member *out, json_t *summary,
                                  cpt_err *e)
{
    stratum s = {0};
    cpt_text text = {0};
    cpt_status status;
    CPT_TRY(stratum_make(t, ranking, method, family, &s, e));
    counts n = add_lines(&s, ranking, method, sets, &text);
    CPT_TRY(cpt_text_status(&text, e));
    CPT_TRY(cpt_gzip_member_make(&text, out, e));
    if (s.n) json_object_set_new(summary, sets->collection, counts_json(&s, &n));
done:
    stratum_free(&s);
    cpt_text_free(&text);
    return status;
}

cpt_status cpt_corrections_write(const cpt_study *s, const cpt_kept_table *t,
                                 const cpt_families *families, json_t **summary, cpt_err *e)
{
    static const char header[] =
        "concept\tranking\tmethod\tcollection\tterm\tp\tq\tq_all\tp_concept\tq_concept\t"
        "q_hierarchical\n";
    int32_t n = CPT_N_RANKINGS * CPT_N_KEPT_METHODS * t->n_families, k = 0;
    cpt_gzip_member *members = NULL;
    char path[PATH_LIMIT];
    cpt_status status;
    json_t *root = json_object();
    CPT_TRY(cpt_alloc(&members, (size_t)n, sizeof *members, e));
    for (int r = 0; r < CPT_N_RANKINGS; r++) {
        json_t *by_method = json_object();
        json_object_set_new(root, cpt_ranking_names[r], by_method);
        for (int m = 0; m < CPT_N_KEPT_METHODS; m++) {
            json_t *by_collection = json_object();
            json_object_set_new(by_method, methods[m], by_collection);
            for (int32_t f = 0; f < t->n_families; f++)
                CPT_TRY(correct_stratum(t, r, m, f, families->sets[f], &members[k++], by_collection,
                                        e));
        }
    }
    CPT_TRY(cpt_study_path(s, "enrichment_corrections.tsv.gz", path, sizeof path, e));
    CPT_TRY(cpt_gzip_table_write(path, header, n, members, e));
    json_object_set_new(
        root, "rule",
        json_string("q < 0.05; within_concept: BH within concept; over_all_concepts: BH over "
                    "the tests of all concepts; hierarchical: Simes per concept, BH over "
                    "concepts, then BH within the selected ones at 0.05 times their share"));
    *summary = root;
    root = NULL;
done:
    json_decref(root);
    for (int32_t i = 0; members && i < n; i++) free(members[i].bytes);
    free(members);
    return status;
}
