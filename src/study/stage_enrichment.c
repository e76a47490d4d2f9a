#include "base/file.h"
#include "base/memory.h"
#include "enrich/enrich.h"
#include "study/genesets_open.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Terms of every concept: preranked GSEA and over-representation, on the attribution and on the
 * differential expression, against every family of gene sets.
 *
 * One concept is one unit of parallel work. Its lines are composed and compressed as a gzip member of
 * their own; the members are put one after the other in order of concepts, which is a valid gzip file
 * and the same bytes for any number of threads. */

enum { PATH_LIMIT = 4096 };

typedef struct job {
    const cpt_study *s;
    const cpt_universe *universe;
    const cpt_attribution *attribution; /* NULL for fixed embeddings */
    const cpt_expression *expression;
    const cpt_families *families;
    cpt_gsea_engine **engines; /* [families->n] */
    double cutoff;
    int32_t study_genes;
} job;

/* A finished row before it becomes text; sorted by p, then by set. */
typedef struct line {
    int32_t set, size, overlap;
    double es, nes, p, log10p, q, log2err;
    const int32_t *genes;
    int32_t n_genes;
} line;

static int by_p(const void *a, const void *b)
{
    const line *x = a, *y = b;
    bool nan_x = isnan(x->p), nan_y = isnan(y->p);
    if (nan_x != nan_y) return nan_x - nan_y;
    if (!nan_x && x->log10p != y->log10p) return x->log10p < y->log10p ? -1 : 1;
    return (x->set > y->set) - (x->set < y->set);
}

static void add_number(cpt_text *t, double x)
{
    if (isnan(x)) cpt_text_add(t, "\tNA");
    else cpt_text_addf(t, "\t%.6g", x);
}

static void add_line(cpt_text *t, const job *j, int32_t concept, const char *ranking, const char *method,
                     const cpt_genesets *sets, const line *l)
{
    cpt_text_addf(t, "c%d\tconcept\t%s\t%s\t%s\t%s\t%s\t%d\t%d", concept, ranking, method, sets->collection,
                  cpt_strings_get(&sets->ids, l->set), cpt_strings_get(&sets->names, l->set), l->size, l->overlap);
    const double numbers[] = {l->es, l->nes, l->p, l->log10p, l->q, l->log2err};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) add_number(t, numbers[i]);
    cpt_text_add(t, "\t");
    for (int32_t i = 0; i < l->n_genes && l->p <= CPT_ENRICHMENT_P; i++)
        cpt_text_addf(t, "%s%s", i ? "," : "", cpt_strings_get(&j->universe->symbols, l->genes[i]));
    add_number(t, sets->ic[l->set]);
    cpt_text_add(t, "\t\n");
}

static cpt_status add_gsea(cpt_text *t, const job *j, int32_t concept, const char *ranking, int32_t family,
                           const double *statistic, cpt_err *e)
{
    const cpt_genesets *sets = j->families->sets[family];
    cpt_gsea *result = NULL;
    line *lines = NULL;
    cpt_status status;
    CPT_TRY(cpt_gsea_engine_run(j->engines[family], statistic, &result, e));
    CPT_TRY(cpt_alloc(&lines, (size_t)result->n_rows, sizeof *lines, e));
    for (int32_t i = 0; i < result->n_rows; i++) {
        const cpt_gsea_row *r = &result->rows[i];
        lines[i] = (line){r->set, r->size, r->n_leading, r->es, r->nes, r->p, r->log10p, r->q, r->log2err,
                          r->leading, r->n_leading};
    }
    qsort(lines, (size_t)result->n_rows, sizeof *lines, by_p);
    for (int32_t i = 0; i < result->n_rows; i++) add_line(t, j, concept, ranking, "gsea", sets, &lines[i]);
done:
    free(lines);
    cpt_gsea_free(result);
    return status;
}

static cpt_status add_ora(cpt_text *t, const job *j, int32_t concept, const char *ranking, int32_t family,
                          int32_t n_study, const int32_t *study, cpt_err *e)
{
    const cpt_genesets *sets = j->families->sets[family];
    cpt_ora *result = NULL;
    line *lines = NULL;
    cpt_status status;
    CPT_TRY(cpt_ora_run(sets, n_study, study, &result, e));
    CPT_TRY(cpt_alloc(&lines, (size_t)result->n_rows, sizeof *lines, e));
    for (int32_t i = 0; i < result->n_rows; i++) {
        const cpt_ora_row *r = &result->rows[i];
        lines[i] = (line){r->set, r->size, r->overlap, NAN, NAN, r->p, r->log10p, r->q, NAN, r->genes, r->n_genes};
    }
    qsort(lines, (size_t)result->n_rows, sizeof *lines, by_p);
    for (int32_t i = 0; i < result->n_rows; i++) add_line(t, j, concept, ranking, "ora", sets, &lines[i]);
done:
    free(lines);
    cpt_ora_free(result);
    return status;
}

/* ---- study lists for ORA: the strongest genes first, then in ascending order ---- */

typedef struct ranked {
    double strength;
    int32_t gene;
} ranked;

static int by_strength(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->strength != y->strength) return x->strength > y->strength ? -1 : 1;
    return (x->gene > y->gene) - (x->gene < y->gene);
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Attributed genes (method.md 4) by |mean|, or significantly higher expressed genes by score. */
static int32_t study_list(const job *j, int32_t concept, bool attribution, ranked *scratch, int32_t *study)
{
    int32_t n = 0, g = j->universe->n;
    for (int32_t i = 0; i < g; i++) {
        size_t at = (size_t)concept * (size_t)g + (size_t)i;
        if (attribution) {
            double m = fabs((double)j->attribution->mean[at]);
            if (m >= j->cutoff && j->attribution->q[at] < 0.05) scratch[n++] = (ranked){m, i};
        } else if (j->expression->q[at] < 0.05 && j->expression->logfc[at] > 0) {
            scratch[n++] = (ranked){j->expression->score[at], i};
        }
    }
    qsort(scratch, (size_t)n, sizeof *scratch, by_strength);
    if (n > j->study_genes) n = j->study_genes;
    for (int32_t i = 0; i < n; i++) study[i] = scratch[i].gene;
    qsort(study, (size_t)n, sizeof *study, ascending);
    return n;
}

static cpt_status concept_text(const job *j, int32_t concept, cpt_text *t, cpt_err *e)
{
    int32_t g = j->universe->n;
    double *statistic = NULL;
    ranked *scratch = NULL;
    int32_t *study = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&statistic, (size_t)g, sizeof *statistic, e));
    CPT_TRY(cpt_alloc(&scratch, (size_t)g, sizeof *scratch, e));
    CPT_TRY(cpt_alloc(&study, (size_t)g, sizeof *study, e));
    for (int ranking = 0; ranking < 2; ranking++) {
        bool attribution = ranking == 0;
        const char *name = attribution ? "attribution" : "expression";
        if (attribution && (!j->attribution || j->attribution->n_pairs[concept] == 0)) continue;
        const float *values = attribution ? j->attribution->mean : j->expression->score;
        int32_t n_ranked = 0;
        for (int32_t i = 0; i < g; i++) {
            statistic[i] = values[(size_t)concept * (size_t)g + (size_t)i];
            n_ranked += isfinite(statistic[i]);
        }
        if (n_ranked < 2) continue; /* dead concept, or active everywhere */
        int32_t n_study = study_list(j, concept, attribution, scratch, study);
        for (int32_t f = 0; f < j->families->n; f++) CPT_TRY(add_gsea(t, j, concept, name, f, statistic, e));
        for (int32_t f = 0; f < j->families->n; f++) CPT_TRY(add_ora(t, j, concept, name, f, n_study, study, e));
    }
    status = cpt_text_status(t, e);
done:
    free(statistic);
    free(scratch);
    free(study);
    return status;
}

/* ---- gzip members ---- */

typedef struct member {
    unsigned char *bytes;
    size_t n;
} member;

static cpt_status compress_member(const cpt_text *t, member *out, cpt_err *e)
{
    z_stream z = {0};
    if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    size_t bound = deflateBound(&z, (uLong)t->length) + 32;
    cpt_status status = cpt_alloc(&out->bytes, bound, 1, e);
    if (status == CPT_OK) {
        z.next_in = (Bytef *)(uintptr_t)cpt_text_str(t);
        z.avail_in = (uInt)t->length; /* one concept's lines stay far below 4 GiB: checked by the caller */
        z.next_out = out->bytes;
        z.avail_out = (uInt)bound;
        if (deflate(&z, Z_FINISH) != Z_STREAM_END)
            status = cpt_fail(e, CPT_ERR_INTERNAL, "compression of a table failed");
        out->n = z.total_out;
    }
    deflateEnd(&z);
    return status;
}

static cpt_status concept_member(const job *j, int32_t concept, member *out, cpt_err *e)
{
    cpt_text t = {0};
    cpt_status status = concept_text(j, concept, &t, e);
    if (status == CPT_OK && t.length > UINT32_MAX / 2)
        status = cpt_fail(e, CPT_ERR_UNSUPPORTED, "concept c%d: its table exceeds 2 GiB; use fewer gene sets", concept);
    if (status == CPT_OK && t.length) status = compress_member(&t, out, e);
    cpt_text_free(&t);
    return status;
}

static cpt_status all_members(const job *j, int32_t n_concepts, member *members, const cpt_context *ctx, cpt_err *e)
{
    cpt_status first = CPT_OK;
    int32_t done = 0;
#pragma omp parallel for schedule(dynamic) num_threads(cpt_threads(ctx))
    for (int32_t c = 0; c < n_concepts; c++) {
        cpt_err inner;
        cpt_status status;
#pragma omp atomic read
        status = first;
        if (status == CPT_OK) status = cpt_check_stop(ctx, &inner);
        if (status == CPT_OK) status = concept_member(j, c, &members[c], &inner);
        else continue;
#pragma omp critical(cpt_enrichment_progress)
        {
            if (status && first == CPT_OK) {
                first = status;
                if (e) *e = inner;
            }
            cpt_progress(ctx, "terms", ++done, n_concepts, NULL);
        }
    }
    return first ? first : cpt_check_stop(ctx, e);
}

static cpt_status write_members(const cpt_study *s, int32_t n, const member *members, cpt_err *e)
{
    static const char header[] = "concept\tunit_kind\tranking\tmethod\tcollection\tterm\tname\tsize\toverlap\tes\tnes\tp\t"
                                 "log10p\tq\tlog2err\tleading_edge\tic\trepresented_by\n";
    char path[PATH_LIMIT];
    cpt_atomic out = {0};
    cpt_text t = {0};
    member head = {0};
    cpt_status status;
    cpt_text_add(&t, header);
    CPT_TRY(cpt_text_status(&t, e));
    CPT_TRY(compress_member(&t, &head, e));
    CPT_TRY(cpt_study_path(s, "enrichment.tsv.gz", path, sizeof path, e));
    CPT_TRY(cpt_atomic_open(path, &out, e));
    fwrite(head.bytes, 1, head.n, out.file);
    for (int32_t c = 0; c < n; c++)
        if (members[c].n) fwrite(members[c].bytes, 1, members[c].n, out.file); /* dead concepts have no lines */
    status = cpt_atomic_commit(&out, e);
done:
    cpt_atomic_abandon(&out);
    cpt_text_free(&t);
    free(head.bytes);
    return status;
}

static cpt_status open_engines(job *j, const cpt_options *o, uint64_t seed, cpt_err *e)
{
    cpt_gsea_options g;
    cpt_gsea_options_init(&g);
    g.weight = cpt_options_number(o, "weight");
    g.n_permutations = (int32_t)cpt_options_integer(o, "permutations");
    g.multilevel = strcmp(cpt_options_text(o, "gsea-p"), "multilevel") == 0;
    g.seed = seed;
    cpt_status status = cpt_alloc(&j->engines, (size_t)j->families->n, sizeof *j->engines, e);
    for (int32_t i = 0; i < j->families->n && status == CPT_OK; i++) {
        j->engines[i] = cpt_gsea_engine_new(j->families->sets[i], &g, e);
        if (!j->engines[i]) status = e ? e->code : CPT_ERR_MEMORY;
    }
    return status;
}

cpt_status cpt_stage_enrichment(cpt_study *s, cpt_err *e)
{
    const cpt_activations *u;
    cpt_families families = {0};
    job j = {.s = s, .families = &families};
    member *members = NULL;
    int32_t n_concepts = 0;
    cpt_status status;
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_universe(s, &j.universe, e));
    CPT_TRY(cpt_study_attribution(s, &j.attribution, e));
    CPT_TRY(cpt_study_expression(s, &j.expression, e));
    CPT_TRY(cpt_families_open(s->options, &j.universe->symbols, &families, s->ctx, e));
    j.cutoff = cpt_options_number(s->options, "cutoff");
    j.study_genes = (int32_t)cpt_options_integer(s->options, "study-genes");
    CPT_TRY(open_engines(&j, s->options, s->ctx->seed, e));
    CPT_TRY(cpt_alloc(&members, (size_t)u->n_concepts, sizeof *members, e));
    n_concepts = u->n_concepts;
    CPT_TRY(all_members(&j, n_concepts, members, s->ctx, e));
    CPT_TRY(write_members(s, n_concepts, members, e));
    status = cpt_store_write_json(s, "cache/enrichment.json", families.provenance, e);
done:
    for (int32_t i = 0; members && i < n_concepts; i++) free(members[i].bytes);
    free(members);
    for (int32_t i = 0; j.engines && i < families.n; i++) cpt_gsea_engine_free(j.engines[i]);
    free(j.engines);
    cpt_families_free(&families);
    return status;
}
