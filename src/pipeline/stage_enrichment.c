#include "base/each.h"
#include "base/memory.h"
#include "enrich/term_rows.h"
#include "pipeline/concept_rankings.h"
#include "pipeline/enrichment_corrections.h"
#include "study/genesets_open.h"
#include "study/gzip_table.h"
#include "study/shards.h"
#include "pipeline/shared_null.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Terms of every concept: preranked GSEA and over-representation, on the attribution and on the
 * differential expression, against every family of gene sets.
 *
 * One concept is one unit of parallel work. Its lines are composed and compressed as a gzip member
 * of their own; the members are put one after the other in order of concepts, which is a valid gzip
 * file and the same bytes for any number of threads. */

enum { PATH_LIMIT = 4096 };

/* Names as in column `method` and in --dag-tests. */
static const struct {
    const char *name;
    cpt_dag_method method;
} dag_tests[] = {{"elim", CPT_DAG_ELIM},
                 {"weight01", CPT_DAG_WEIGHT01},
                 {"parent_child", CPT_DAG_UNION},
                 {"parent_child_intersect", CPT_DAG_INTERSECTION}};
enum { N_DAG_TESTS = sizeof dag_tests / sizeof *dag_tests };
static const double ELIM_CUT = 0.01; /* topGO's */

typedef struct job {
    const cpt_universe *universe;
    cpt_concept_rankings rankings;
    const cpt_families *families;
    cpt_gsea_engine **engines; /* [families->n] */
    cpt_reduction reduction;
    bool dag_test[N_DAG_TESTS], weight01_as_topgo;
    cpt_kept_table *kept; /* a cell per concept: filled by whoever works on it */
} job;

/* Where rows belong in the table. */
typedef struct place {
    int32_t concept, family, ranking;
    const char *method;
} place;

static void add_number(cpt_text *t, double x)
{
    if (isnan(x)) cpt_text_add(t, "\tNA");
    else cpt_text_addf(t, "\t%.6g", x);
}

static void add_line(cpt_text *t, const job *j, const place *at, const cpt_term_rows *all,
                     int32_t i)
{
    const cpt_genesets *sets = j->families->sets[at->family];
    const cpt_term_row *row = &all->rows[i];
    cpt_text_addf(t, "c%d\tconcept\t%s\t%s\t%s\t%s\t%s\t%d\t%d", at->concept,
                  cpt_ranking_names[at->ranking], at->method, sets->collection,
                  cpt_strings_get(&sets->ids, row->set), cpt_strings_get(&sets->names, row->set),
                  row->size, row->overlap);
    const double numbers[] = {row->es, row->nes, row->p, row->log10p, row->q, row->log2err};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) add_number(t, numbers[k]);
    cpt_text_add(t, "\t");
    for (int32_t k = 0; k < row->n_genes && row->p <= CPT_ENRICHMENT_P; k++)
        cpt_text_addf(t, "%s%s", k ? "," : "",
                      cpt_strings_get(&j->universe->symbols, row->genes[k]));
    add_number(t, sets->ic[row->set]);
    cpt_text_add(t, "\t");
    if (row->representative != i)
        cpt_text_add(t, cpt_strings_get(&sets->ids, all->rows[row->representative].set));
    cpt_text_add(t, "\n");
}

/* Folds redundant rows and writes all of them; the rows are freed. */
static cpt_status add_rows(cpt_text *t, const job *j, const place *at, cpt_term_rows *rows,
                           cpt_err *e)
{
    cpt_status status = cpt_term_rows_reduce(rows, j->families->sets[at->family], &j->reduction, e);
    for (int32_t i = 0; i < rows->n && status == CPT_OK; i++) add_line(t, j, at, rows, i);
    cpt_term_rows_free(rows);
    return status;
}

/* The same for the tests that are corrected over all concepts. */
static cpt_status keep_and_add_rows(cpt_text *t, const job *j, const place *at, int method,
                                    cpt_term_rows *rows, cpt_err *e)
{
    cpt_status status =
        cpt_kept_table_add(j->kept, at->ranking, method, at->family, at->concept, rows, e);
    if (status == CPT_OK) return add_rows(t, j, at, rows, e);
    cpt_term_rows_free(rows);
    return status;
}

static cpt_status add_dag_tests(cpt_text *t, const job *j, place at, int32_t n_study,
                                const int32_t *study, cpt_err *e)
{
    const cpt_families *f = j->families;
    cpt_status status = CPT_OK;
    for (int m = 0; m < N_DAG_TESTS && status == CPT_OK; m++)
        for (at.family = 0; at.family < f->n && status == CPT_OK; at.family++) {
            cpt_term_rows rows;
            cpt_dag_method method = dag_tests[m].method;
            if (!j->dag_test[m] || f->aspect[at.family] < 0) continue;
            if (method == CPT_DAG_WEIGHT01 && j->weight01_as_topgo) method = CPT_DAG_WEIGHT01_TOPGO;
            at.method = dag_tests[m].name;
            status =
                cpt_term_rows_dag(f->go, f->annotation, (cpt_go_aspect)f->aspect[at.family],
                                  f->sets[at.family], method, ELIM_CUT, n_study, study, &rows, e);
            if (status == CPT_OK) status = add_rows(t, j, &at, &rows, e);
        }
    return status;
}

static cpt_status concept_text(const job *j, int32_t concept, cpt_text *t, cpt_err *e)
{
    double *statistic = NULL;
    int32_t *study = NULL, n_study;
    cpt_term_rows rows;
    cpt_status status;
    CPT_TRY(cpt_alloc(&statistic, (size_t)j->universe->n, sizeof *statistic, e));
    CPT_TRY(cpt_alloc(&study, (size_t)j->universe->n, sizeof *study, e));
    for (int ranking = 0; ranking < CPT_N_RANKINGS; ranking++) {
        if (!cpt_concept_statistic(&j->rankings, concept, ranking, statistic)) continue;
        CPT_TRY(cpt_concept_study_list(&j->rankings, concept, ranking, study, &n_study, e));
        place at = {.concept = concept, .ranking = ranking, .method = "gsea"};
        for (; at.family < j->families->n; at.family++) {
            CPT_TRY(cpt_term_rows_gsea(j->engines[at.family], statistic, &rows, e));
            CPT_TRY(keep_and_add_rows(t, j, &at, CPT_KEPT_GSEA, &rows, e));
        }
        at.method = "ora";
        for (at.family = 0; at.family < j->families->n; at.family++) {
            CPT_TRY(cpt_term_rows_ora(j->families->sets[at.family], n_study, study, &rows, e));
            CPT_TRY(keep_and_add_rows(t, j, &at, CPT_KEPT_ORA, &rows, e));
        }
        CPT_TRY(add_dag_tests(t, j, at, n_study, study, e));
    }
    status = cpt_text_status(t, e);
done:
    free(statistic);
    free(study);
    return status;
}

static cpt_status concept_member(const job *j, int32_t concept, cpt_gzip_member *out, cpt_err *e)
{
    cpt_text t = {0};
    cpt_status status = concept_text(j, concept, &t, e);
    if (status == CPT_OK) status = cpt_gzip_member_make(&t, out, e);
    if (status) cpt_fail_in(e, "concept c%d", concept);
    cpt_text_free(&t);
    return status;
}

typedef struct some {
    const job *j;
    int32_t from;
    cpt_gzip_member *members; /* of all concepts */
} some;

static cpt_status make_member(void *data, int32_t item, cpt_err *e)
{
    const some *of = data;
    return concept_member(of->j, of->from + item, &of->members[of->from + item], e);
}

/* Of concepts [from, to). */
static cpt_status some_members(const job *j, int32_t from, int32_t to, cpt_gzip_member *members,
                               const cpt_context *ctx, cpt_err *e)
{
    some of = {j, from, members};
    return cpt_each(to - from, "terms", make_member, &of, cpt_threads(ctx), ctx, e);
}

static cpt_status write_members(const cpt_study *s, int32_t n, const cpt_gzip_member *members,
                                cpt_err *e)
{
    static const char header[] =
        "concept\tunit_kind\tranking\tmethod\tcollection\tterm\tname\tsize\toverlap\tes\tnes\tp\t"
        "log10p\tq\tlog2err\tleading_edge\tic\trepresented_by\n";
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(s, "enrichment.tsv.gz", path, sizeof path, e);
    return status ? status : cpt_gzip_table_write(path, header, n, members, e);
}

static cpt_status open_engines(job *j, const cpt_options *o, uint64_t seed, cpt_gsea_options *g,
                               cpt_err *e)
{
    cpt_gsea_options_init(g);
    g->weight = cpt_options_number(o, "weight");
    g->n_permutations = (int32_t)cpt_options_integer(o, "permutations");
    g->multilevel = strcmp(cpt_options_text(o, "gsea-p"), "multilevel") == 0;
    g->split_floor = true;
    g->seed = seed;
    cpt_status status = cpt_alloc(&j->engines, (size_t)j->families->n, sizeof *j->engines, e);
    for (int32_t i = 0; i < j->families->n && status == CPT_OK; i++) {
        j->engines[i] = cpt_gsea_engine_new(j->families->sets[i], g, e);
        if (!j->engines[i]) status = e ? e->code : CPT_ERR_MEMORY;
    }
    return status;
}

/* The names were judged when the option was set. */
static void read_dag_tests(job *j, const char *list)
{
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        for (int m = 0; m < N_DAG_TESTS; m++)
            if (strncmp(p, dag_tests[m].name, strcspn(p, ",")) == 0 &&
                strlen(dag_tests[m].name) == strcspn(p, ","))
                j->dag_test[m] = true;
}

static void read_settings(job *j, const cpt_options *o)
{
    static const char *const kinds[] = {"resnik", "lin", "simrel",
                                        "wang"}; /* in order of cpt_similarity */
    const char *similarity = cpt_options_text(o, "similarity");
    j->reduction = (cpt_reduction){.by_genes = strcmp(similarity, "jaccard") == 0,
                                   .kind = CPT_SIMILARITY_SIMREL,
                                   .cutoff = cpt_options_number(o, "redundancy"),
                                   .alpha = 0.05,
                                   .go = j->families->go,
                                   .ic = j->families->ic};
    for (int i = 0; i < 4; i++)
        if (strcmp(similarity, kinds[i]) == 0) j->reduction.kind = (cpt_similarity)i;
    j->weight01_as_topgo = strcmp(cpt_options_text(o, "weight01"), "topgo") == 0;
    read_dag_tests(j, cpt_options_text(o, "dag-tests"));
}

/* What the stage works on, whole or in pieces. */
typedef struct work {
    job job;
    cpt_families families;
    cpt_kept_table kept;
    cpt_gsea_options gsea;
    cpt_rank_null *shared;
    json_t *by_rank;
    int32_t n_concepts;
    cpt_gzip_member *members; /* [n_concepts] */
} work;

static void work_free(work *w)
{
    for (int32_t i = 0; w->members && i < w->n_concepts; i++) free(w->members[i].bytes);
    free(w->members);
    for (int32_t i = 0; w->job.engines && i < w->families.n; i++)
        cpt_gsea_engine_free(w->job.engines[i]);
    free(w->job.engines);
    cpt_rank_null_free(w->shared);
    json_decref(w->by_rank);
    cpt_kept_table_free(&w->kept);
    cpt_families_free(&w->families);
}

static cpt_status work_open(cpt_study *s, work *w, cpt_err *e)
{
    job *j = &w->job;
    cpt_status status;
    j->families = &w->families;
    j->kept = &w->kept;
    CPT_TRY(cpt_study_universe(s, &j->universe, e));
    CPT_TRY(cpt_concept_rankings_open(s, &j->rankings, e));
    CPT_TRY(cpt_families_open(s->options, &j->universe->symbols, &w->families, s->ctx, e));
    read_settings(j, s->options);
    CPT_TRY(open_engines(j, s->options, s->ctx->seed, &w->gsea, e));
    CPT_TRY(cpt_shared_null_open(s, &w->families, j->engines, &j->rankings, &w->gsea, &w->shared,
                                 &w->by_rank, e));
    CPT_TRY(cpt_alloc(&w->members, (size_t)j->rankings.n_concepts, sizeof *w->members, e));
    w->n_concepts = j->rankings.n_concepts;
    status = cpt_kept_table_make(w->families.n, w->n_concepts, &w->kept, e);
done:
    return status;
}

/* Length of the short list that ORA was made on, by ranking and concept: 0 = no gene qualified, and every set has a p
 * of 1; null = nothing was ranked, and the table has no rows. */
static cpt_status study_lists(const job *j, json_t *root, cpt_err *e)
{
    double *statistic = NULL;
    int32_t *study = NULL, n_study;
    cpt_status status;
    json_t *lists = json_object();
    json_object_set_new(root, "n_study_genes", lists);
    CPT_TRY(cpt_alloc(&statistic, (size_t)j->universe->n, sizeof *statistic, e));
    CPT_TRY(cpt_alloc(&study, (size_t)j->universe->n, sizeof *study, e));
    for (int ranking = 0; ranking < CPT_N_RANKINGS; ranking++) {
        json_t *list = json_array();
        json_object_set_new(lists, cpt_ranking_names[ranking], list);
        for (int32_t c = 0; c < j->rankings.n_concepts; c++) {
            bool ranked = cpt_concept_statistic(&j->rankings, c, ranking, statistic);
            if (ranked) CPT_TRY(cpt_concept_study_list(&j->rankings, c, ranking, study, &n_study, e));
            json_array_append_new(list, ranked ? json_integer(n_study) : json_null());
        }
    }
done:
    free(statistic);
    free(study);
    return status;
}

/* Tables, corrections and provenance to disk. */
static cpt_status work_finish(cpt_study *s, work *w, cpt_err *e)
{
    json_t *corrections = NULL;
    cpt_status status;
    CPT_TRY(write_members(s, w->n_concepts, w->members, e));
    CPT_TRY(cpt_corrections_write(s, &w->kept, &w->families, &corrections, e));
    json_object_set_new(w->families.provenance, "corrections", corrections);
    CPT_TRY(study_lists(&w->job, w->families.provenance, e));
    if (w->by_rank) json_object_set(w->families.provenance, "weights_by_rank", w->by_rank);
    status = cpt_store_write_json(s, "cache/enrichment.json", w->families.provenance, e);
done:
    return status;
}

cpt_status cpt_stage_enrichment(cpt_study *s, cpt_err *e)
{
    work w = {.n_concepts = 0};
    cpt_status status;
    CPT_TRY(work_open(s, &w, e));
    CPT_TRY(some_members(&w.job, 0, w.n_concepts, w.members, s->ctx, e));
    status = work_finish(s, &w, e);
done:
    work_free(&w);
    return status;
}

/* ---- the same in pieces: a range of concepts each ---- */

/* The compressed lines of concepts [from, to): their sizes, and all bytes in one. */
static cpt_status write_piece(const work *w, int64_t from, int64_t to, const char *folder,
                              cpt_err *e)
{
    int64_t *sizes = NULL, total = 0;
    unsigned char *bytes = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&sizes, (size_t)(to - from), sizeof *sizes, e));
    for (int64_t c = from; c < to; c++)
        total += sizes[c - from] = (int64_t)w->members[c].n;
    CPT_TRY(cpt_alloc(&bytes, (size_t)total, 1, e));
    total = 0;
    for (int64_t c = from; c < to; total += (int64_t)w->members[c++].n)
        if (w->members[c].n) memcpy(bytes + total, w->members[c].bytes, w->members[c].n);
    CPT_TRY(cpt_piece_write(folder, "line_bytes", CPT_U8, total, 0, bytes, e));
    CPT_TRY(cpt_piece_write(folder, "line_sizes", CPT_I64, to - from, 0, sizes, e));
    status = cpt_kept_table_write(&w->kept, from, to, folder, e);
done:
    free(sizes);
    free(bytes);
    return status;
}

static cpt_status read_piece(work *w, int64_t from, int64_t to, const char *folder, cpt_err *e)
{
    int64_t *sizes = NULL, total = 0;
    unsigned char *bytes = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&sizes, (size_t)(to - from), sizeof *sizes, e));
    CPT_TRY(cpt_piece_read(folder, "line_sizes", CPT_I64, to - from, 0, sizes, e));
    for (int64_t i = 0; i < to - from; i++) {
        if (sizes[i] < 0 || sizes[i] > INT64_MAX - total)
            CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s: damaged; remove this folder and make the piece again",
                             folder));
        total += sizes[i];
    }
    CPT_TRY(cpt_alloc(&bytes, (size_t)total, 1, e));
    CPT_TRY(cpt_piece_read(folder, "line_bytes", CPT_U8, total, 0, bytes, e));
    total = 0;
    for (int64_t c = from; c < to; total += sizes[c++ - from]) {
        cpt_gzip_member *m = &w->members[c];
        const size_t n = (size_t)sizes[c - from];
        CPT_TRY(cpt_alloc(&m->bytes, n, 1, e));
        memcpy(m->bytes, bytes + total, n);
        m->n = n;
    }
    status = cpt_kept_table_read(&w->kept, from, to, folder, e);
done:
    free(sizes);
    free(bytes);
    return status;
}

cpt_status cpt_piece_enrichment(cpt_study *s, cpt_shard shard, const char *folder, cpt_err *e)
{
    work w = {.n_concepts = 0};
    int64_t from, to;
    cpt_status status;
    CPT_TRY(work_open(s, &w, e));
    cpt_shard_range(shard, w.n_concepts, &from, &to);
    CPT_TRY(some_members(&w.job, (int32_t)from, (int32_t)to, w.members, s->ctx, e));
    status = write_piece(&w, from, to, folder, e);
done:
    work_free(&w);
    return status;
}

cpt_status cpt_join_enrichment(cpt_study *s, const char *pieces, int32_t n, cpt_err *e)
{
    work w = {.n_concepts = 0};
    char folder[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(work_open(s, &w, e));
    for (int32_t i = 1; i <= n; i++) {
        int64_t from, to;
        cpt_shard_range((cpt_shard){i, n}, w.n_concepts, &from, &to);
        CPT_TRY(cpt_shard_folder(pieces, (cpt_shard){i, n}, folder, sizeof folder, e));
        CPT_TRY(read_piece(&w, from, to, folder, e));
    }
    status = work_finish(s, &w, e);
done:
    work_free(&w);
    return status;
}
