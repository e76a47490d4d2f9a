/* dag_tests.c - over-representation tests that use the graph of the ontology.
 *
 * elim, weight01: Alexa, Rahnenfuehrer and Lengauer (2006). Terms are tested from the deepest level up;
 * genes that a more specific term explains are removed from its ancestors - from the term, from the
 * universe and from the study list alike. Parent-child: Grossmann et al. (2007), a term is tested within
 * the genes of its parents.
 *
 * weight01 is offered in two forms. topGO 2.31 as shipped treats every child as more significant than its
 * parent (its .sigRatio.01 never returns less than 1), so a poor child takes the genes of a good
 * parent; CPT_DAG_WEIGHT01_TOPGO reproduces that. CPT_DAG_WEIGHT01 is the published rule with two
 * changes: "not worse" for "better", since otherwise terms with identical genes report one finding
 * several times; and children are compared with the term once, before any of them takes its genes,
 * where the paper compares the remaining ones again with what is left of the term.
 *
 * By the true-path rule what is removed from a term is part of it, so that counters of removed genes
 * suffice for every test; a bitset per touched term keeps the counters right. O(terms + sum over
 * removals of genes * ancestors).
 *
 * Trap: -ln p of equal sets may differ in the last bit between sums in different order, hence SLACK.
 */
#include "enrich/dag_tests.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/statistics.h"

static const double SLACK = 1e-12;

typedef struct tester {
    const cpt_go *go;
    const cpt_annotation *a;
    cpt_dag_method method;
    double log_cut;
    int32_t n_study;
    uint8_t *in_study;      /* [n_universe] */
    cpt_dag_row *rows;
    int32_t n_rows;
    int32_t *row_of;        /* [n_terms] or -1 */
    double *log_p;          /* [n_rows] */
    uint64_t **removed;     /* [n_rows] bits over the universe; NULL = nothing */
    int32_t *n_removed, *n_removed_study; /* [n_rows] */
    int32_t *child_first, *children;      /* of rows, numbers of rows */
    int32_t *stamp, *queue, n_walks;      /* [n_rows] each */
    int32_t *seen;          /* [n_universe] parents of the term at hand that have the gene */
} tester;

/* ---- set-up ---- */

static cpt_status make_rows(tester *t, cpt_go_aspect aspect, cpt_err *e)
{
    const cpt_annotation *a = t->a;
    cpt_status status;
    CPT_TRY(cpt_alloc(&t->row_of, (size_t)t->go->n_terms, sizeof *t->row_of, e));
    for (int32_t k = 0; k < t->go->n_terms; k++)
        t->row_of[k] = t->go->aspect[k] == aspect && a->first[k + 1] > a->first[k] ? t->n_rows++ : -1;
    CPT_TRY(cpt_alloc(&t->rows, (size_t)t->n_rows, sizeof *t->rows, e));
    CPT_TRY(cpt_alloc(&t->log_p, (size_t)t->n_rows, sizeof *t->log_p, e));
    CPT_TRY(cpt_alloc(&t->removed, (size_t)t->n_rows, sizeof *t->removed, e));
    CPT_TRY(cpt_alloc(&t->n_removed, (size_t)t->n_rows, sizeof *t->n_removed, e));
    CPT_TRY(cpt_alloc(&t->n_removed_study, (size_t)t->n_rows, sizeof *t->n_removed_study, e));
    CPT_TRY(cpt_alloc(&t->stamp, (size_t)t->n_rows, sizeof *t->stamp, e));
    CPT_TRY(cpt_alloc(&t->queue, (size_t)t->n_rows, sizeof *t->queue, e));
    CPT_TRY(cpt_alloc(&t->seen, (size_t)a->n_universe, sizeof *t->seen, e));
    for (int32_t k = 0; k < t->go->n_terms; k++) {
        if (t->row_of[k] < 0) continue;
        cpt_dag_row *row = &t->rows[t->row_of[k]];
        *row = (cpt_dag_row){.term = k, .size = (int32_t)(a->first[k + 1] - a->first[k]), .tested = true};
        for (int64_t i = a->first[k]; i < a->first[k + 1]; i++) row->overlap += t->in_study[a->genes[i]];
    }
done:
    return status;
}

/* Parents of a term with genes have genes too, so every edge is between rows. */
static cpt_status make_children(tester *t, cpt_err *e)
{
    const cpt_go *go = t->go;
    cpt_status status;
    CPT_TRY(cpt_alloc(&t->child_first, (size_t)t->n_rows + 2, sizeof *t->child_first, e));
    int32_t *at = t->child_first + 1;
    for (int32_t r = 0; r < t->n_rows; r++)
        for (int32_t k = t->rows[r].term, i = go->parent_first[k]; i < go->parent_first[k + 1]; i++)
            at[t->row_of[go->parents[i]] + 1]++;
    for (int32_t r = 0; r < t->n_rows; r++) at[r + 1] += at[r];
    CPT_TRY(cpt_alloc(&t->children, (size_t)at[t->n_rows], sizeof *t->children, e));
    for (int32_t r = 0; r < t->n_rows; r++)
        for (int32_t k = t->rows[r].term, i = go->parent_first[k]; i < go->parent_first[k + 1]; i++)
            t->children[at[t->row_of[go->parents[i]]]++] = r;
done:
    return status;
}

static cpt_status mark_study(tester *t, const int32_t *study, cpt_err *e)
{
    cpt_status status = cpt_alloc(&t->in_study, (size_t)t->a->n_universe, 1, e);
    if (status) return status;
    for (int32_t i = 0; i < t->n_study; i++) {
        if (study[i] < 0 || study[i] >= t->a->n_universe || t->in_study[study[i]])
            return cpt_fail(e, CPT_ERR_USAGE, "study gene %d (number %d) is repeated or not in the "
                            "universe of %d genes", i, study[i], t->a->n_universe);
        t->in_study[study[i]] = 1;
    }
    return CPT_OK;
}

/* ---- testing and removing ---- */

/* Over what is left of the term, the universe and the study. */
static void test_row(tester *t, int32_t r)
{
    cpt_dag_row *row = &t->rows[r];
    row->size_left = row->size - t->n_removed[r];
    row->overlap_left = row->overlap - t->n_removed_study[r];
    t->log_p[r] = cpt_hyper_log_upper(t->a->n_universe - t->n_removed[r], row->size_left,
                                      t->n_study - t->n_removed_study[r], row->overlap_left);
}

static cpt_status remove_from(tester *t, int32_t r, int32_t source, cpt_err *e)
{
    const cpt_annotation *a = t->a;
    int32_t term = t->rows[source].term;
    if (!t->removed[r]) {
        cpt_status status = cpt_alloc(&t->removed[r], ((size_t)a->n_universe + 63) / 64, 8, e);
        if (status) return status;
    }
    for (int64_t i = a->first[term]; i < a->first[term + 1]; i++) {
        int32_t g = a->genes[i];
        uint64_t *word = &t->removed[r][g / 64], bit = (uint64_t)1 << g % 64;
        t->n_removed[r] += !(*word & bit);
        t->n_removed_study[r] += !(*word & bit) && t->in_study[g];
        *word |= bit;
    }
    return CPT_OK;
}

/* The genes of `source` leave `from` and all its ancestors; `itself` false: the ancestors only. */
static cpt_status remove_upwards(tester *t, int32_t from, int32_t source, bool itself, cpt_err *e)
{
    const cpt_go *go = t->go;
    int32_t n = 0, walk = ++t->n_walks;
    cpt_status status = CPT_OK;
    t->stamp[from] = walk;
    t->queue[n++] = from;
    for (int32_t at = 0; at < n && status == CPT_OK; at++) {
        int32_t r = t->queue[at], k = t->rows[r].term;
        if (r != from || itself) status = remove_from(t, r, source, e);
        for (int32_t i = go->parent_first[k]; i < go->parent_first[k + 1]; i++) {
            int32_t p = t->row_of[go->parents[i]];
            if (t->stamp[p] == walk) continue;
            t->stamp[p] = walk;
            t->queue[n++] = p;
        }
    }
    return status;
}

static cpt_status elim_row(tester *t, int32_t r, cpt_err *e)
{
    test_row(t, r);
    return t->log_p[r] <= t->log_cut ? remove_upwards(t, r, r, false, e) : CPT_OK;
}

static bool takes_its_genes(const tester *t, int32_t child, double log_p_parent)
{
    return t->method == CPT_DAG_WEIGHT01_TOPGO ||
           t->log_p[child] <= log_p_parent + SLACK * fabs(log_p_parent);
}

/* Children that are not worse than the whole term take their genes; the rest is tested once more. */
static cpt_status weight_row(tester *t, int32_t r, cpt_err *e)
{
    test_row(t, r);
    double log_p = t->log_p[r];
    for (int32_t i = t->child_first[r]; i < t->child_first[r + 1]; i++) {
        if (!takes_its_genes(t, t->children[i], log_p)) continue;
        cpt_status status = remove_upwards(t, r, t->children[i], true, e);
        if (status) return status;
    }
    test_row(t, r);
    return CPT_OK;
}

static void family_row(tester *t, int32_t r)
{
    const cpt_go *go = t->go;
    const cpt_annotation *a = t->a;
    cpt_dag_row *row = &t->rows[r];
    int32_t begin = go->parent_first[row->term], n_parents = go->parent_first[row->term + 1] - begin;
    int32_t need = t->method == CPT_DAG_UNION ? 1 : n_parents, family = 0, family_study = 0;
    for (int32_t i = 0; i < n_parents; i++)
        for (int64_t k = a->first[go->parents[begin + i]]; k < a->first[go->parents[begin + i] + 1]; k++)
            if (++t->seen[a->genes[k]] == need) {
                family++;
                family_study += t->in_study[a->genes[k]];
            }
    for (int32_t i = 0; i < n_parents; i++)
        for (int64_t k = a->first[go->parents[begin + i]]; k < a->first[go->parents[begin + i] + 1]; k++)
            t->seen[a->genes[k]] = 0;
    row->size_left = row->size;
    row->overlap_left = row->overlap;
    row->tested = n_parents > 0 && family > row->size;
    t->log_p[r] = row->tested ? cpt_hyper_log_upper(family, row->size, family_study, row->overlap) : 0;
}

/* ---- all of it ---- */

typedef struct place {
    int32_t level, row;
} place;

static int deepest_first(const void *x, const void *y)
{
    const place *a = x, *b = y;
    if (a->level != b->level) return a->level > b->level ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

static cpt_status test_all(tester *t, cpt_err *e)
{
    place *order;
    cpt_status status = cpt_alloc(&order, (size_t)t->n_rows, sizeof *order, e);
    if (status) return status;
    for (int32_t r = 0; r < t->n_rows; r++) order[r] = (place){t->go->level[t->rows[r].term], r};
    qsort(order, (size_t)t->n_rows, sizeof *order, deepest_first);
    for (int32_t i = 0; i < t->n_rows && status == CPT_OK; i++) {
        int32_t r = order[i].row;
        switch (t->method) {
        case CPT_DAG_CLASSIC: test_row(t, r); break;
        case CPT_DAG_ELIM: status = elim_row(t, r, e); break;
        case CPT_DAG_WEIGHT01:
        case CPT_DAG_WEIGHT01_TOPGO: status = weight_row(t, r, e); break;
        case CPT_DAG_UNION:
        case CPT_DAG_INTERSECTION: family_row(t, r); break;
        }
    }
    for (int32_t r = 0; r < t->n_rows; r++) {
        t->rows[r].log10p = t->log_p[r] / log(10);
        t->rows[r].p = fmax(exp(t->log_p[r]), DBL_MIN);
    }
    free(order);
    return status;
}

static void tester_free(tester *t)
{
    for (int32_t r = 0; t->removed && r < t->n_rows; r++) free(t->removed[r]);
    free(t->removed);
    free(t->in_study);
    free(t->rows);
    free(t->row_of);
    free(t->log_p);
    free(t->n_removed);
    free(t->n_removed_study);
    free(t->child_first);
    free(t->children);
    free(t->stamp);
    free(t->queue);
    free(t->seen);
}

cpt_status cpt_dag_test(const cpt_go *go, const cpt_annotation *a, cpt_go_aspect aspect,
                        cpt_dag_method method, double cut, int32_t n_study, const int32_t *study,
                        cpt_dag_row **rows, int32_t *n_rows, cpt_err *e)
{
    *rows = NULL;
    *n_rows = 0;
    tester t = {.go = go, .a = a, .method = method, .log_cut = log(cut), .n_study = n_study};
    cpt_status status;
    if (method == CPT_DAG_ELIM && !(cut > 0 && cut < 1))
        return cpt_fail(e, CPT_ERR_USAGE, "elim cut-off %g: must lie between 0 and 1", cut);
    CPT_TRY(mark_study(&t, study, e));
    CPT_TRY(make_rows(&t, aspect, e));
    CPT_TRY(make_children(&t, e));
    CPT_TRY(test_all(&t, e));
    *rows = t.rows;
    *n_rows = t.n_rows;
    t.rows = NULL;
done:
    tester_free(&t);
    return status;
}
