#include "base/file.h"
#include "base/memory.h"
#include "enrich/strength.h"
#include "enrich/enrich.h"
#include "ontology/genes.h"
#include "pipeline/enrich_plots.h"
#include "pipeline/gene_list.h"
#include "study/genesets_open.h"
#include "study/share.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `enrich` without a study: a ranked list (GSEA) or a plain list of genes (ORA) against gene sets.
 * Names are taken as symbols; Ensembl ids and unique aliases are brought to current symbols. */

enum { PATH_LIMIT = 4096 };

/* Every symbol with an annotation: the default universe of a bare gene list. */
static cpt_status annotated_genes(const cpt_options *o, const cpt_gene_table *table, cpt_gene_list *g,
                                  cpt_err *e)
{
    char path[PATH_LIMIT], *line;
    cpt_strings names = {0};
    cpt_index *seen = NULL;
    cpt_lines *in = NULL;
    cpt_status status = CPT_OK;
    snprintf(path, sizeof path, "%s", cpt_options_text(o, "annotation"));
    if (!path[0]) CPT_TRY(cpt_share_path("goa_human.gaf.gz", path, sizeof path, e));
    if (!(in = cpt_lines_open(path, 1 << 20, e))) {
        status = e ? e->code : CPT_ERR_IO;
        goto done;
    }
    while ((status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) {
        char *symbol = line;
        for (int i = 0; i < 2 && symbol; i++)
            symbol = strchr(symbol, '\t') ? strchr(symbol, '\t') + 1 : NULL;
        if (line[0] == '!' || !symbol) continue;
        CPT_TRY(cpt_strings_add(&names, symbol, strcspn(symbol, "\t"), e));
    }
    if (status) goto done;
    if (!(seen = cpt_index_new((size_t)names.n, e))) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    for (int64_t i = 0; i < names.n; i++) {
        int64_t first;
        CPT_TRY(cpt_index_add(seen, cpt_strings_get(&names, i), i, &first, e));
        if (first == i) CPT_TRY(cpt_gene_list_add(g, table, cpt_strings_get(&names, i), NAN, e));
    }
done:
    cpt_index_free(seen);
    cpt_lines_close(in);
    cpt_strings_free(&names);
    return status;
}

/* ---- output ---- */

typedef struct result_row {
    const cpt_genesets *sets;
    int32_t set, size, overlap, n_genes;
    double es, nes, p, log10p, q, log2err, odds, odds_low, odds_high, fold;
    const int32_t *genes;
} result_row;

static int by_strength(const void *a, const void *b)
{
    const result_row *x = a, *y = b;
    return cpt_strength_then_set(cpt_strength_of(x->log10p, x->nes, x->log2err), x->set,
                                 cpt_strength_of(y->log10p, y->nes, y->log2err), y->set);
}

static void print_number(FILE *out, double x)
{
    if (isnan(x)) fputs("\tNA", out);
    else fprintf(out, "\t%.6g", x);
}

static void print_tsv(FILE *out, bool gsea, int32_t n, const result_row *rows,
                      const cpt_strings *symbols)
{
    fputs(gsea ? "collection\tterm\tname\tsize\toverlap\tes\tnes\tp\tlog10p\tq\tlog2err\tleading_"
                 "edge\n"
               : "collection\tterm\tname\tsize\toverlap\tp\tlog10p\tq\todds_ratio\todds_low\todds_"
                 "high\tfold\tgenes\n",
          out);
    for (int32_t i = 0; i < n; i++) {
        const result_row *r = &rows[i];
        fprintf(out, "%s\t%s\t%s\t%d\t%d", r->sets->collection,
                cpt_strings_get(&r->sets->ids, r->set), cpt_strings_get(&r->sets->names, r->set),
                r->size, r->overlap);
        const double g[] = {r->es, r->nes, r->p, r->log10p, r->q, r->log2err};
        const double o[] = {r->p, r->log10p, r->q, r->odds, r->odds_low, r->odds_high, r->fold};
        for (size_t k = 0; k < (gsea ? sizeof g : sizeof o) / sizeof *g; k++)
            print_number(out, gsea ? g[k] : o[k]);
        fputc('\t', out);
        for (int32_t k = 0; k < r->n_genes; k++)
            fprintf(out, "%s%s", k ? "," : "", cpt_strings_get(symbols, r->genes[k]));
        fputc('\n', out);
    }
}

static json_t *json_finite(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static cpt_status print_json(FILE *out, bool gsea, int32_t n, const result_row *rows,
                             const cpt_strings *symbols, const json_t *provenance, cpt_err *e)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < n; i++) {
        const result_row *r = &rows[i];
        json_t *genes = json_array();
        for (int32_t k = 0; k < r->n_genes; k++)
            json_array_append_new(genes, json_string(cpt_strings_get(symbols, r->genes[k])));
        json_t *row =
            json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o}", "collection",
                      r->sets->collection, "term", cpt_strings_get(&r->sets->ids, r->set), "name",
                      cpt_strings_get(&r->sets->names, r->set), "size", r->size, "overlap",
                      r->overlap, "p", json_finite(r->p), "log10p", json_finite(r->log10p), "q",
                      json_finite(r->q), gsea ? "leading_edge" : "genes", genes);
        if (gsea) {
            json_object_set_new(row, "es", json_finite(r->es));
            json_object_set_new(row, "nes", json_finite(r->nes));
            json_object_set_new(row, "log2err", json_finite(r->log2err));
        } else {
            json_object_set_new(row, "odds_ratio", json_finite(r->odds));
            json_object_set_new(row, "odds_low", json_finite(r->odds_low));
            json_object_set_new(row, "odds_high", json_finite(r->odds_high));
            json_object_set_new(row, "fold", json_finite(r->fold));
        }
        json_array_append_new(list, row);
    }
    json_t *root = json_pack("{s:s, s:O, s:o}", "method", gsea ? "gsea" : "ora", "provenance",
                             provenance, "results", list);
    int failed = !root || json_dumpf(root, out, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0;
    fputc('\n', out);
    json_decref(root);
    return failed ? cpt_fail(e, CPT_ERR_IO, "the result cannot be written") : CPT_OK;
}

/* ---- the two tests ---- */

typedef struct results {
    result_row *rows;
    int32_t n;
    size_t capacity;
    cpt_gsea **gsea; /* [families] keep the gene lists alive */
    cpt_ora **ora;
} results;

static cpt_status run_gsea(const cpt_families *f, const double *statistic, const cpt_options *o,
                           const cpt_enrich_request *what, results *r, const cpt_context *ctx, cpt_err *e)
{
    int32_t n_plots, n_all_plots = 0;
    cpt_gsea_options g;
    cpt_status status;
    cpt_gsea_options_init(&g);
    g.weight = cpt_options_number(o, "weight");
    g.n_permutations = (int32_t)cpt_options_integer(o, "permutations");
    /* Alone there is time for small p: multilevel unless told otherwise. */
    g.multilevel =
        !cpt_options_given(o, "gsea-p") || strcmp(cpt_options_text(o, "gsea-p"), "multilevel") == 0;
    g.split_floor = true;
    g.seed = ctx->seed;
    for (int32_t i = 0; i < f->n; i++) {
        CPT_TRY(cpt_gsea_run(f->sets[i], statistic, &g, &r->gsea[i], ctx, e));
        const cpt_gsea *result = r->gsea[i];
        cpt_info(ctx, "%s: %d genes ranked, %d share a statistic, %d are exactly 0",
                 f->sets[i]->collection, result->n_genes, result->n_tied, result->n_zero);
        CPT_TRY(
            cpt_grow(&r->rows, &r->capacity, (size_t)(r->n + result->n_rows), sizeof *r->rows, e));
        for (int32_t k = 0; k < result->n_rows; k++) {
            const cpt_gsea_row *w = &result->rows[k];
            r->rows[r->n++] =
                (result_row){f->sets[i], w->set, w->size,   w->n_leading, w->n_leading, w->es,
                             w->nes,     w->p,   w->log10p, w->q,         w->log2err,   NAN,
                             NAN,        NAN,    NAN,       w->leading};
        }
        qsort(r->rows + r->n - result->n_rows, (size_t)result->n_rows, sizeof *r->rows, by_strength);
        if (!what->plots) continue;
        CPT_TRY(cpt_enrich_plots(what->plots, what->n_plots, f->sets[i], result, statistic, g.weight,
                                 &n_plots, e));
        n_all_plots += n_plots;
    }
    if (what->plots) cpt_info(ctx, "%d running sums in %s", n_all_plots, what->plots);
    status = CPT_OK;
done:
    return status;
}

static cpt_status run_ora(const cpt_families *f, int32_t n_study, const int32_t *study, results *r,
                          cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < f->n; i++) {
        CPT_TRY(cpt_ora_run(f->sets[i], n_study, study, &r->ora[i], e));
        const cpt_ora *result = r->ora[i];
        CPT_TRY(
            cpt_grow(&r->rows, &r->capacity, (size_t)(r->n + result->n_rows), sizeof *r->rows, e));
        for (int32_t k = 0; k < result->n_rows; k++) {
            const cpt_ora_row *w = &result->rows[k];
            r->rows[r->n++] = (result_row){f->sets[i],  w->set,       w->size, w->overlap,
                                           w->n_genes,  NAN,          NAN,     w->p,
                                           w->log10p,   w->q,         NAN,     w->odds_ratio,
                                           w->odds_low, w->odds_high, w->fold, w->genes};
        }
        qsort(r->rows + r->n - result->n_rows, (size_t)result->n_rows, sizeof *r->rows, by_strength);
    }
done:
    return status;
}

static void results_free(results *r, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        if (r->gsea) cpt_gsea_free(r->gsea[i]);
        if (r->ora) cpt_ora_free(r->ora[i]);
    }
    free(r->gsea);
    free(r->ora);
    free(r->rows);
}

/* Universe numbers of the listed genes; every one counts once. */
static cpt_status find_study(const cpt_gene_list *genes, const cpt_strings *universe, int32_t **study,
                             int32_t *n_study, const cpt_context *ctx, cpt_err *e)
{
    uint8_t *in = NULL;
    int32_t n_absent = 0;
    cpt_status status;
    cpt_index *index = cpt_index_new((size_t)universe->n, e);
    if (!index) return CPT_ERR_MEMORY;
    for (int64_t i = 0; i < universe->n; i++)
        CPT_TRY(cpt_index_add(index, cpt_strings_get(universe, i), i, NULL, e));
    CPT_TRY(cpt_alloc(&in, (size_t)universe->n, 1, e));
    CPT_TRY(cpt_alloc(study, (size_t)universe->n, sizeof **study, e));
    for (int64_t i = 0; i < genes->symbols.n; i++) {
        int64_t at = cpt_index_get(index, cpt_strings_get(&genes->symbols, i));
        if (at >= 0) in[at] = 1;
        else n_absent++;
    }
    for (int64_t i = 0; i < universe->n; i++)
        if (in[i]) (*study)[(*n_study)++] = (int32_t)i;
    cpt_info(ctx, "%d of the listed genes are in the universe of %lld, %d are not", *n_study,
             (long long)universe->n, n_absent);
    if (*n_study == 0)
        status = cpt_fail(
            e, CPT_ERR_DATA,
            "none of the listed genes is in the universe; are they human symbols or Ensembl ids?");
done:
    cpt_index_free(index);
    free(in);
    return status;
}

/* What only a study can do is refused, not ignored. */
static cpt_status check_alone(const cpt_options *o, cpt_err *e)
{
    static const char *const of_studies[] = {"dag-tests", "weights", "markers", "study-genes"};
    for (size_t i = 0; i < sizeof of_studies / sizeof *of_studies; i++)
        if (cpt_options_given(o, of_studies[i]))
            return cpt_fail(e, CPT_ERR_USAGE, "--%s is for the rankings of a study (enrich STUDY), not for one list",
                            of_studies[i]);
    return CPT_OK;
}

cpt_status cpt_enrich_list(const cpt_enrich_request *what, const cpt_options *o, bool json, FILE *out,
                           const cpt_context *ctx, cpt_err *e)
{
    const char *ranking = what->ranking, *genes = what->genes, *background = what->background;
    char path[PATH_LIMIT];
    cpt_gene_table *table = NULL;
    cpt_gene_list listed = {0}, universe = {0};
    cpt_families families = {0};
    results r = {0};
    int32_t *study = NULL, n_study = 0;
    cpt_status status;
    CPT_TRY(check_alone(o, e));
    CPT_TRY(cpt_share_path("human_genes.tsv.gz", path, sizeof path, e));
    CPT_TRY(cpt_gene_table_open(path, &table, e));
    CPT_TRY(cpt_gene_list_read(ranking ? ranking : genes, ranking != NULL, table, &listed, e));
    if (listed.n_unknown)
        cpt_info(ctx, "%d of %lld names are not known genes; they are used as they stand",
                 listed.n_unknown, (long long)listed.symbols.n);
    if (!ranking && background) CPT_TRY(cpt_gene_list_read(background, false, table, &universe, e));
    if (!ranking && !background) CPT_TRY(annotated_genes(o, table, &universe, e));
    const cpt_strings *symbols = ranking ? &listed.symbols : &universe.symbols;
    CPT_TRY(cpt_families_open(o, symbols, &families, ctx, e));
    if (families.n == 0) {
        status = cpt_fail(e, CPT_ERR_USAGE,
                          "there are no gene sets to test: give --gmt FILE, or aspects of GO");
        goto done;
    }
    CPT_TRY(cpt_alloc(&r.gsea, (size_t)families.n, sizeof *r.gsea, e));
    CPT_TRY(cpt_alloc(&r.ora, (size_t)families.n, sizeof *r.ora, e));
    if (ranking) {
        CPT_TRY(run_gsea(&families, listed.values, o, what, &r, ctx, e));
    } else {
        CPT_TRY(find_study(&listed, symbols, &study, &n_study, ctx, e));
        CPT_TRY(run_ora(&families, n_study, study, &r, e));
    }
    if (json)
        status = print_json(out, ranking != NULL, r.n, r.rows, symbols, families.provenance, e);
    else print_tsv(out, ranking != NULL, r.n, r.rows, symbols);
done:
    results_free(&r, families.n);
    cpt_families_free(&families);
    cpt_gene_list_free(&listed);
    cpt_gene_list_free(&universe);
    cpt_gene_table_free(table);
    free(study);
    return status;
}
