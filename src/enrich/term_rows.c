/* term_rows.c - results of GSEA, ORA and the graph's tests brought to one form, and their reduction.
 *
 * The three kinds of test answer in structures of their own. Whoever writes tables, counts findings or
 * folds redundant ones needs the same few numbers of each: this is the one place that knows all three.
 * Sorting is total (strength.h, then set), so rows do not depend on the sort's whims.
 *
 * Reduction: similarity of the significant rows, opposite directions set to 0, then redundancy.c. O(k^2)
 * for k significant rows.
 *
 * Trap: log10p, not p, is compared: p has a floor.
 */
#include "enrich/term_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "enrich/strength.h"
#include "math/statistics.h"

enum { MOST_REDUCED = 2000 };

static int by_strength(const void *a, const void *b)
{
    const cpt_term_row *x = a, *y = b;
    return cpt_strength_then_set(cpt_strength_of(x->log10p, x->nes, x->log2err), x->set,
                                 cpt_strength_of(y->log10p, y->nes, y->log2err), y->set);
}

static void finish(cpt_term_rows *r)
{
    if (r->n) qsort(r->rows, (size_t)r->n, sizeof *r->rows, by_strength);
    for (int32_t i = 0; i < r->n; i++) r->rows[i].representative = i;
}

cpt_status cpt_term_rows_gsea(const cpt_gsea_engine *engine, const double *statistic,
                              cpt_term_rows *out, cpt_err *e)
{
    cpt_status status;
    *out = (cpt_term_rows){0};
    CPT_TRY(cpt_gsea_engine_run(engine, statistic, &out->gsea, e));
    CPT_TRY(cpt_alloc(&out->rows, (size_t)out->gsea->n_rows, sizeof *out->rows, e));
    out->n = out->gsea->n_rows;
    for (int32_t i = 0; i < out->n; i++) {
        const cpt_gsea_row *g = &out->gsea->rows[i];
        out->n_tested += !isnan(g->p);
        out->rows[i] = (cpt_term_row){
            .set = g->set, .size = g->size, .overlap = g->n_leading, .es = g->es, .nes = g->nes, .p = g->p,
            .log10p = g->log10p, .q = g->q, .log2err = g->log2err, .n_genes = g->n_leading, .genes = g->leading};
    }
    finish(out);
done:
    if (status) cpt_term_rows_free(out);
    return status;
}

cpt_status cpt_term_rows_ora(const cpt_genesets *sets, int32_t n_study, const int32_t *study,
                             cpt_term_rows *out, cpt_err *e)
{
    cpt_status status;
    *out = (cpt_term_rows){0};
    CPT_TRY(cpt_ora_run(sets, n_study, study, &out->ora, e));
    CPT_TRY(cpt_alloc(&out->rows, (size_t)out->ora->n_rows, sizeof *out->rows, e));
    out->n = out->n_tested = out->ora->n_rows;
    for (int32_t i = 0; i < out->n; i++) {
        const cpt_ora_row *o = &out->ora->rows[i];
        out->rows[i] = (cpt_term_row){
            .set = o->set, .size = o->size, .overlap = o->overlap, .es = NAN, .nes = NAN, .p = o->p,
            .log10p = o->log10p, .q = o->q, .log2err = NAN, .n_genes = o->n_genes, .genes = o->genes};
    }
    finish(out);
done:
    if (status) cpt_term_rows_free(out);
    return status;
}

/* ---- the graph's tests ---- */

static int by_term(const void *key, const void *row)
{
    int32_t t = *(const int32_t *)key, u = ((const cpt_dag_row *)row)->term;
    return (t > u) - (t < u);
}

/* Overlap of every row's set with the study, into the pool. */
static cpt_status list_overlaps(cpt_term_rows *r, const cpt_genesets *sets, int32_t n_study,
                                const int32_t *study, cpt_err *e)
{
    uint8_t *in_study = NULL;
    int64_t total = 0;
    cpt_status status;
    for (int32_t i = 0; i < r->n; i++) total += r->rows[i].overlap;
    CPT_TRY(cpt_alloc(&r->pool, (size_t)total, sizeof *r->pool, e));
    CPT_TRY(cpt_alloc(&in_study, (size_t)sets->n_universe, 1, e));
    for (int32_t i = 0; i < n_study; i++) in_study[study[i]] = 1;
    int32_t *next = r->pool;
    for (int32_t i = 0; i < r->n; i++) {
        cpt_term_row *row = &r->rows[i];
        row->genes = next;
        for (int64_t k = sets->first[row->set]; k < sets->first[row->set + 1]; k++)
            if (in_study[sets->genes[k]] && row->n_genes < row->overlap) {
                *next++ = sets->genes[k];
                row->n_genes++;
            }
    }
done:
    free(in_study);
    return status;
}

static cpt_status correct(cpt_term_rows *r, const double *tested_p, cpt_err *e)
{
    double *q = NULL;
    cpt_status status = cpt_alloc(&q, (size_t)r->n, sizeof *q, e);
    if (status == CPT_OK) status = cpt_bh(r->n, tested_p, 0, q, e);
    for (int32_t i = 0; i < r->n && status == CPT_OK; i++) r->rows[i].q = q[i];
    free(q);
    return status;
}

cpt_status cpt_term_rows_dag(const cpt_go *go, const cpt_annotation *a, cpt_go_aspect aspect,
                             const cpt_genesets *sets, cpt_dag_method method, double cut,
                             int32_t n_study, const int32_t *study, cpt_term_rows *out, cpt_err *e)
{
    cpt_dag_row *all = NULL;
    double *tested_p = NULL; /* NaN where the row is not a test */
    int32_t n_all;
    cpt_status status;
    *out = (cpt_term_rows){0};
    CPT_TRY(cpt_dag_test(go, a, aspect, method, cut, n_study, study, &all, &n_all, e));
    CPT_TRY(cpt_alloc(&out->rows, (size_t)sets->n_sets, sizeof *out->rows, e));
    CPT_TRY(cpt_alloc(&tested_p, (size_t)sets->n_sets, sizeof *tested_p, e));
    out->n = sets->n_sets;
    for (int32_t s = 0; s < sets->n_sets; s++) {
        const cpt_dag_row *d = bsearch(&sets->term[s], all, (size_t)n_all, sizeof *all, by_term);
        if (!d) {
            status = cpt_fail(e, CPT_ERR_INTERNAL, "gene set %d is no term of the ontology's aspect", s);
            goto done;
        }
        out->rows[s] = (cpt_term_row){.set = s, .size = d->size, .overlap = d->overlap, .es = NAN, .nes = NAN,
                                      .p = d->p, .log10p = d->log10p, .q = NAN, .log2err = NAN};
        tested_p[s] = d->tested ? d->p : NAN;
        out->n_tested += d->tested;
    }
    CPT_TRY(correct(out, tested_p, e));
    CPT_TRY(list_overlaps(out, sets, n_study, study, e));
    finish(out);
done:
    free(all);
    free(tested_p);
    if (status) cpt_term_rows_free(out);
    return status;
}

void cpt_term_rows_free(cpt_term_rows *r)
{
    free(r->rows);
    free(r->pool);
    cpt_gsea_free(r->gsea);
    cpt_ora_free(r->ora);
    *r = (cpt_term_rows){0};
}

/* ---- reduction ---- */

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Jaccard index of the genes of the rows named by `which`. */
static cpt_status similarity_of_genes(const cpt_term_rows *r, int32_t n, const int32_t *which, double *out,
                                      cpt_err *e)
{
    int64_t *first = NULL;
    int32_t *genes = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&first, (size_t)n + 1, sizeof *first, e));
    for (int32_t i = 0; i < n; i++) first[i + 1] = first[i] + r->rows[which[i]].n_genes;
    CPT_TRY(cpt_alloc(&genes, (size_t)first[n], sizeof *genes, e));
    for (int32_t i = 0; i < n; i++) {
        const cpt_term_row *row = &r->rows[which[i]];
        if (row->n_genes == 0) continue;
        memcpy(genes + first[i], row->genes, (size_t)row->n_genes * sizeof *genes);
        qsort(genes + first[i], (size_t)row->n_genes, sizeof *genes, ascending);
    }
    cpt_list_similarity(n, first, genes, out);
done:
    free(first);
    free(genes);
    return status;
}

static cpt_status similarity_of_terms(const cpt_genesets *sets, const cpt_reduction *how, int32_t n,
                                      const cpt_finding *f, double *out, cpt_err *e)
{
    int32_t *terms;
    cpt_status status = cpt_alloc(&terms, (size_t)n, sizeof *terms, e);
    if (status) return status;
    for (int32_t i = 0; i < n; i++) terms[i] = f[i].term;
    status = cpt_term_similarity(how->go, how->ic, how->kind, n, terms, out, e);
    free(terms);
    if (status || how->kind != CPT_SIMILARITY_RESNIK) return status;
    double largest = log(sets->n_universe > 1 ? sets->n_universe : 2);
    for (int64_t i = 0; i < (int64_t)n * n; i++) out[i] /= largest;
    return CPT_OK;
}

/* The findings in order of p: the numbers of their rows, and what redundancy.c wants to know. */
static int32_t list_findings(const cpt_term_rows *r, const cpt_genesets *sets, double alpha, int32_t *which,
                             cpt_finding *f)
{
    int32_t n = 0;
    for (int32_t i = 0; i < r->n && n < MOST_REDUCED; i++) {
        const cpt_term_row *row = &r->rows[i];
        if (!(row->q < alpha)) continue;
        which[n] = i;
        f[n++] = (cpt_finding){.term = sets->term ? sets->term[row->set] : -1, .size = row->size,
                               .value = -row->log10p};
    }
    return n;
}

cpt_status cpt_term_rows_reduce(cpt_term_rows *r, const cpt_genesets *sets, const cpt_reduction *how,
                                cpt_err *e)
{
    size_t most = r->n < MOST_REDUCED ? (size_t)r->n : MOST_REDUCED;
    int32_t *which = NULL, *representative = NULL;
    cpt_finding *f = NULL;
    double *similarity = NULL, *dispensability = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&which, most, sizeof *which, e));
    CPT_TRY(cpt_alloc(&f, most, sizeof *f, e));
    int32_t n = list_findings(r, sets, how->alpha, which, f);
    if (n < 2) goto done;
    CPT_TRY(cpt_alloc(&similarity, (size_t)n * (size_t)n, sizeof *similarity, e));
    CPT_TRY(cpt_alloc(&representative, (size_t)n, sizeof *representative, e));
    CPT_TRY(cpt_alloc(&dispensability, (size_t)n, sizeof *dispensability, e));
    bool terms = how->go && f[0].term >= 0;
    if (how->by_genes || !terms) CPT_TRY(similarity_of_genes(r, n, which, similarity, e));
    else CPT_TRY(similarity_of_terms(sets, how, n, f, similarity, e));
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < n; j++)
            if (r->rows[which[i]].nes * r->rows[which[j]].nes < 0) similarity[(int64_t)i * n + j] = 0;
    CPT_TRY(cpt_reduce_findings(terms ? how->go : NULL, sets->n_universe, n, f, similarity, how->cutoff,
                                representative, dispensability, e));
    for (int32_t i = 0; i < n; i++) r->rows[which[i]].representative = which[representative[i]];
done:
    free(which);
    free(f);
    free(similarity);
    free(representative);
    free(dispensability);
    return status;
}
