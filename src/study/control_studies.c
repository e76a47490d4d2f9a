#include "study/control_studies.h"
#include "base/file.h"
#include "base/memory.h"
#include "study/annotated.h"
#include "study/concept_rankings.h"
#include "study/store.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A control is a study of its own that has cells, model and embedding in common with this one: these
 * files are linked into cache/controls/KIND (files of a study are replaced, never changed, so links
 * are safe), and its manifest starts with those stages done. From the dictionary on everything is
 * computed by the stages themselves, which is what makes it the same pipeline, and lets a stopped run
 * go on. Random directions are as many, and as many are active per cell, as the study's concepts. */

enum { PATH_LIMIT = 4096 };
static const char *const kinds[] = {"neurons", "pca", "random"};
enum { N_KINDS = sizeof kinds / sizeof *kinds };
static const char *const common_stages[] = {"cells", "model", "embedding"};

/* ---- making one ---- */

static cpt_status link_file(const char *from, const char *to, cpt_err *e)
{
    if (unlink(to) != 0 && errno != ENOENT)
        return cpt_fail(e, CPT_ERR_IO, "%s: %s", to, strerror(errno));
    if (link(from, to) == 0) return CPT_OK;
    cpt_map map; /* file systems without links: a copy */
    cpt_status status = cpt_map_open(from, &map, e);
    if (status) return status;
    status = cpt_write_file(to, map.bytes, map.size, e);
    cpt_map_close(&map);
    return status;
}

/* A file of the study, or all files of a folder; absent is fine. */
static cpt_status share(const cpt_study *s, const char *folder, const char *name, cpt_err *e)
{
    char from[PATH_LIMIT], to[PATH_LIMIT], inner[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(cpt_path_join(from, sizeof from, s->folder, name, e));
    CPT_TRY(cpt_path_join(to, sizeof to, folder, name, e));
    if (!cpt_path_exists(from)) return CPT_OK;
    if (!cpt_path_is_folder(from)) return link_file(from, to, e);
    CPT_TRY(cpt_make_folder(to, e));
    DIR *d = opendir(from);
    if (!d) return cpt_fail(e, CPT_ERR_IO, "%s: %s", from, strerror(errno));
    for (const struct dirent *f = readdir(d); f && status == CPT_OK; f = readdir(d)) {
        if (f->d_name[0] == '.') continue;
        status = cpt_path_join(inner, sizeof inner, name, f->d_name, e);
        if (status == CPT_OK) status = share(s, folder, inner, e);
    }
    closedir(d);
done:
    return status;
}

static json_t *options_of(const cpt_study *s, const char *kind, const cpt_dictionary *own)
{
    json_t *o = json_deep_copy(json_object_get(s->manifest, "options"));
    bool random = strcmp(kind, "random") == 0;
    json_object_set_new(o, "dictionary", json_string(kind));
    json_object_set_new(o, "preset", json_string(""));
    json_object_set_new(o, "expansion", json_integer(0));
    json_object_set_new(o, "concepts", json_integer(random ? own->n_concepts : 0));
    json_object_set_new(o, "k", json_integer(random ? own->max_active : 0));
    json_object_set_new(o, "completeness", json_string("no"));
    json_object_set_new(o, "controls", json_string("no"));
    return o;
}

/* The manifest: as it was after an earlier run, with this study's options and common stages. */
static cpt_status write_manifest(const cpt_study *s, const char *kind, const char *folder,
                                 const cpt_dictionary *own, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_path_join(path, sizeof path, folder, "study.json", e);
    if (status) return status;
    json_t *m = json_load_file(path, 0, NULL);
    if (!json_is_object(json_object_get(m, "stages"))) {
        json_decref(m);
        m = json_pack("{s:{}}", "stages");
    }
    static const char *const same[] = {"format", "conceptome", "input"};
    for (int i = 0; i < 3; i++) json_object_set(m, same[i], json_object_get(s->manifest, same[i]));
    json_object_set_new(m, "options", options_of(s, kind, own));
    for (int i = 0; i < 3; i++)
        json_object_set(json_object_get(m, "stages"), common_stages[i],
                        json_object_get(json_object_get(s->manifest, "stages"), common_stages[i]));
    char *text = json_dumps(m, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    status = text ? cpt_write_file(path, text, strlen(text), e)
                  : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    free(text);
    json_decref(m);
    return status;
}

/* Opens the control, brings it up to date as far as its terms, and leaves it open. */
static cpt_status run_control(cpt_study *s, const char *kind, cpt_study **out, cpt_err *e)
{
    static const char *const files[] = {"cache/cells",          "cache/genes.tsv", "cache/model.json",
                                        "cache/embedding.npy", "model.safetensors"};
    char name[64], folder[PATH_LIMIT], cache[PATH_LIMIT];
    cpt_dictionary *own;
    cpt_context quiet = *s->ctx;
    cpt_status status;
    quiet.log = NULL;
    snprintf(name, sizeof name, "cache/controls/%s", kind);
    CPT_TRY(cpt_study_dictionary(s, &own, e));
    CPT_TRY(cpt_study_path(s, name, folder, sizeof folder, e));
    CPT_TRY(cpt_path_join(cache, sizeof cache, folder, "cache", e));
    CPT_TRY(cpt_make_folder(cache, e));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) CPT_TRY(share(s, folder, files[i], e));
    CPT_TRY(write_manifest(s, kind, folder, own, e));
    CPT_TRY(cpt_study_begin(folder, NULL, NULL, NULL, &quiet, out, e));
    cpt_info(s->ctx, "control: the same pipeline on %s", kind);
    status = cpt_study_advance(*out, "enrichment", false, e);
done:
    if (status) cpt_fail_in(e, "control dictionary %s", kind);
    return status;
}

/* ---- reading one ---- */

/* Largest |NES| among a unit's lines of GSEA, 0 without; NaN for dead units. */
static cpt_status best_scores(cpt_study *s, double **best, int32_t *n, int64_t *n_alive, cpt_err *e)
{
    const cpt_enrichment *r;
    const cpt_activations *u;
    cpt_status status;
    CPT_TRY(cpt_study_activations(s, &u, e));
    CPT_TRY(cpt_study_enrichment(s, &r, e));
    CPT_TRY(cpt_alloc(best, (size_t)u->n_concepts * CPT_N_RANKINGS, sizeof **best, e));
    *n = u->n_concepts;
    *n_alive = 0;
    for (int32_t c = 0; c < u->n_concepts; c++) {
        double *of = *best + (int64_t)c * CPT_N_RANKINGS;
        *n_alive += !u->stats[c].dead;
        for (int k = 0; k < CPT_N_RANKINGS && u->stats[c].dead; k++) of[k] = NAN;
        for (int64_t i = r->first[c]; i < r->first[c + 1] && !u->stats[c].dead; i++) {
            const cpt_enrichment_row *row = &r->rows[i];
            int k = strcmp(row->ranking, cpt_ranking_names[CPT_BY_ATTRIBUTION]) != 0;
            if (strcmp(row->method, "gsea") == 0 && fabs(row->nes) > of[k]) of[k] = fabs(row->nes);
        }
    }
done:
    return status;
}

/* Per concept the share of the control's units whose best score is smaller. */
static json_t *percentiles(int32_t n, const double *best, int32_t n_control, const double *control,
                           int ranking)
{
    json_t *list = json_array();
    int64_t n_beyond = 0, n_known = 0;
    for (int32_t c = 0; c < n; c++) {
        double own = best[(int64_t)c * CPT_N_RANKINGS + ranking];
        int64_t below = 0, all = 0;
        for (int32_t i = 0; i < n_control; i++) {
            double other = control[(int64_t)i * CPT_N_RANKINGS + ranking];
            all += !isnan(other);
            below += other < own;
        }
        bool known = !isnan(own) && all > 0;
        double share = known ? 100.0 * (double)below / (double)all : NAN;
        json_array_append_new(list, cpt_json_number(share));
        n_known += known;
        n_beyond += known && share >= 95;
    }
    return json_pack("{s:I, s:I, s:o}", "n_concepts", (json_int_t)n_known, "n_at_least_95",
                     (json_int_t)n_beyond, "by_concept", list);
}

static json_t *score_list(int32_t n, const double *best, int ranking)
{
    json_t *list = json_array();
    for (int32_t c = 0; c < n; c++)
        json_array_append_new(list, cpt_json_number(best[(int64_t)c * CPT_N_RANKINGS + ranking]));
    return list;
}

typedef struct units {
    int32_t n;
    int64_t n_alive;
    double *best; /* [n][ranking] */
    bool with_attribution;
} units;

static cpt_status describe(cpt_study *s, units *x, json_t **out, cpt_err *e)
{
    const cpt_enrichment *r;
    const cpt_attribution *a;
    json_t *annotated, *scores = json_object();
    cpt_status status;
    CPT_TRY(best_scores(s, &x->best, &x->n, &x->n_alive, e));
    CPT_TRY(cpt_study_enrichment(s, &r, e));
    CPT_TRY(cpt_study_attribution(s, &a, e));
    x->with_attribution = a != NULL;
    CPT_TRY(cpt_annotated_json(r, x->n_alive, a != NULL, &annotated, e));
    json_object_del(annotated, "routes");
    json_object_del(annotated, "rule");
    for (int k = a ? 0 : 1; k < CPT_N_RANKINGS; k++)
        json_object_set_new(scores, cpt_ranking_names[k], score_list(x->n, x->best, k));
    *out = json_pack("{s:i, s:I, s:o, s:O}", "n_units", x->n, "n_alive", (json_int_t)x->n_alive,
                     "annotated", annotated, "best_abs_nes", scores);
done:
    json_decref(scores);
    return status;
}

static cpt_status compare(cpt_study *s, const units *own, const char *kind, json_t *root, cpt_err *e)
{
    cpt_study *control = NULL;
    units x = {0};
    json_t *o = NULL;
    cpt_status status;
    CPT_TRY(run_control(s, kind, &control, e));
    CPT_TRY(describe(control, &x, &o, e));
    json_t *percentile = json_object();
    json_object_set_new(o, "percentile", percentile);
    for (int k = x.with_attribution ? 0 : 1; k < CPT_N_RANKINGS; k++)
        json_object_set_new(percentile, cpt_ranking_names[k],
                            percentiles(own->n, own->best, x.n, x.best, k));
    json_object_set(root, kind, o);
done:
    json_decref(o);
    free(x.best);
    cpt_study_close(control);
    return status;
}

cpt_status cpt_control_studies_json(cpt_study *s, json_t **out, cpt_err *e)
{
    const char *own_kind = cpt_options_text(s->options, "dictionary");
    json_t *root = json_object(), *study = NULL;
    units own = {0};
    cpt_status status;
    CPT_TRY(describe(s, &own, &study, e));
    json_object_set_new(root, "study", study);
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i], own_kind) != 0) CPT_TRY(compare(s, &own, kinds[i], root, e));
    json_object_set_new(
        root, "rule",
        json_string("the study's pipeline with another dictionary on the same embedding: neurons and "
                    "principal components (both signs of each), random directions (as many, and as "
                    "many active per cell, as the study's); annotated: share of living units with a "
                    "term at q < 0.05; percentile: share of the control's living units whose best "
                    "|NES| (GSEA, all collections, among p <= 0.05) is smaller than the concept's"));
    *out = root;
    root = NULL;
done:
    json_decref(root);
    free(own.best);
    return status;
}
