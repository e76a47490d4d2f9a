#include "base/file.h"
#include "base/memory.h"
#include "concept/activations.h"
#include "io/h5ad_write.h"
#include "io/import.h"
#include "math/blas.h"
#include "base/cpu.h"
#include "model/scvi.h"
#include "ontology/genes.h"
#include "study/prepare.h"
#include "study/share.h"
#include "study/store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Single steps on files: fit, embed, train, encode. Each opens its input into a temporary flat
 * cache. */

enum { PATH_LIMIT = 4096 };

/* A temporary folder under $TMPDIR or /tmp. */
static cpt_status scratch_folder(char path[PATH_LIMIT], cpt_err *e)
{
    const char *root = getenv("TMPDIR");
    snprintf(path, PATH_LIMIT, "%s/conceptome-XXXXXX", root && *root ? root : "/tmp");
    return mkdtemp(path)
               ? CPT_OK
               : cpt_fail(e, CPT_ERR_IO, "%s: cannot be created; set TMPDIR to a folder with room",
                          path);
}

static cpt_status import_scratch(const char *input, const cpt_options *o, char folder[PATH_LIMIT],
                                 cpt_cells **cells, const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = scratch_folder(folder, e);
    if (status == CPT_OK) status = cpt_prepare_cells(input, folder, o, ctx, e);
    if (status == CPT_OK) status = cpt_cells_open(folder, cells, e);
    return status;
}

cpt_status cpt_fit(const char *input, const char *model_folder, const cpt_options *o,
                   const cpt_context *ctx, cpt_err *e)
{
    char folder[PATH_LIMIT] = "";
    cpt_cells *cells = NULL;
    cpt_model *model = NULL;
    cpt_text history = {0};
    const char *kind = cpt_options_text(o, "model");
    cpt_status status;
    if (!cpt_prepare_is_trained(kind))
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "--model %s: only scvi and scgpt can be trained here", kind);
    CPT_TRY(import_scratch(input, o, folder, &cells, ctx, e));
    CPT_TRY(cpt_prepare_train(cells, o, &model, &history, ctx, e));
    CPT_TRY(cpt_make_folder(model_folder, e));
    status = model->ops->save(model, model_folder, e);
done:
    cpt_text_free(&history);
    cpt_model_free(model);
    cpt_cells_free(cells);
    if (folder[0]) cpt_remove_tree(folder, NULL);
    return status;
}

/* ---- embed ---- */

static cpt_status write_embedding(const char *path, const cpt_cells *cells, int32_t dim,
                                  const float *a, cpt_err *e)
{
    const cpt_strings none = {0};
    cpt_status status;
    cpt_h5ad *f = cpt_h5ad_create(path, &cells->cell_ids, &none, e);
    if (!f) return e ? e->code : CPT_ERR_IO;
    for (int32_t i = 0; i < cells->obs.n_columns; i++)
        CPT_TRY(cpt_h5ad_column(f, 'o', &cells->obs.columns[i], e));
    CPT_TRY(cpt_h5ad_matrix(f, "obsm/X_embedding", dim, a, e));
    return cpt_h5ad_finish(f, e);
done:
    cpt_h5ad_abandon(f);
    return status;
}

static cpt_status obtain_model(const cpt_cells *cells, const cpt_options *o, cpt_model **model,
                               const cpt_context *ctx, cpt_err *e)
{
    const char *name = cpt_options_text(o, "model");
    cpt_text history = {0};
    cpt_status status = CPT_OK;
    if (cpt_prepare_is_fixed(name))
        return cpt_fail(e, CPT_ERR_USAGE,
                        "--model %s is an embedding already; give it to `conceptome train`", name);
    if (cpt_prepare_is_trained(name))
        status = cpt_prepare_train(cells, o, model, &history, ctx, e);
    else status = cpt_prepare_open_model(name, o, model, ctx, e);
    cpt_text_free(&history);
    return status;
}

cpt_status cpt_embed(const char *input, const char *out_h5ad, const cpt_options *o,
                     const cpt_context *ctx, cpt_err *e)
{
    char folder[PATH_LIMIT] = "";
    cpt_cells *cells = NULL;
    cpt_model *model = NULL;
    cpt_gene_map map = {0};
    cpt_alignment alignment = {0};
    cpt_counts counts;
    float *a = NULL;
    int64_t n_unusable = 0;
    cpt_status status;
    CPT_TRY(import_scratch(input, o, folder, &cells, ctx, e));
    CPT_TRY(obtain_model(cells, o, &model, ctx, e));
    CPT_TRY(cpt_prepare_symbols(cells, &map, e));
    CPT_TRY(cpt_prepare_align(model, &cells->gene_ids, &map.symbols, o, &alignment, e));
    cpt_prepare_report_coverage(model, &alignment, cells->n_genes, ctx);
    if (alignment.n_found == 0) {
        status = cpt_fail(e, CPT_ERR_DATA,
                          "%s: none of the model's genes is in the input; are the ids of one kind?",
                          input);
        goto done;
    }
    CPT_TRY(cpt_counts_init(&counts, &cells->by_cell, alignment.to_model, model->n_genes, e));
    CPT_TRY(cpt_alloc(&a, (size_t)cells->n_cells * (size_t)model->dim, sizeof *a, e));
    CPT_TRY(cpt_model_embed_all(model, &counts, a, &n_unusable, ctx, e));
    if (n_unusable)
        cpt_warn(ctx, "%lld cells cannot be embedded; their rows are NaN", (long long)n_unusable);
    status = write_embedding(out_h5ad, cells, model->dim, a, e);
done:
    free(a);
    cpt_alignment_free(&alignment);
    cpt_gene_map_free(&map);
    cpt_model_free(model);
    cpt_cells_free(cells);
    if (folder[0]) cpt_remove_tree(folder, NULL);
    return status;
}

/* ---- embeddings from files ---- */

typedef struct embedding {
    float *values; /* [n][dim] */
    int64_t n;
    int32_t dim;
    cpt_strings ids;  /* empty for .npy */
    cpt_cells *cells; /* NULL for .npy */
    char folder[PATH_LIMIT];
} embedding;

static void embedding_free(embedding *a)
{
    free(a->values);
    cpt_strings_free(&a->ids);
    cpt_cells_free(a->cells);
    if (a->folder[0]) cpt_remove_tree(a->folder, NULL);
}

static const cpt_obsm *choose_obsm(const cpt_cells *cells, const char *key, const char *path,
                                   cpt_err *e)
{
    const cpt_obsm *m = cpt_cells_obsm(cells, key ? key : "X_embedding");
    if (!m && !key && cells->n_obsm == 1) m = &cells->obsm[0];
    if (m) return m;
    cpt_text names = {0};
    for (int32_t i = 0; i < cells->n_obsm; i++)
        cpt_text_addf(&names, "%s%s", i ? ", " : "", cells->obsm[i].name);
    cpt_fail(e, CPT_ERR_DATA, "%s: obsm has no '%s'; there %s: %s. Choose one with --obsm", path,
             key ? key : "X_embedding", cells->n_obsm == 1 ? "is" : "are",
             cells->n_obsm ? cpt_text_str(&names) : "none");
    cpt_text_free(&names);
    return NULL;
}

static cpt_status embedding_open(const char *path, const char *key, embedding *a,
                                 const cpt_context *ctx, cpt_err *e)
{
    const size_t n = strlen(path);
    char text[32];
    cpt_status status;
    *a = (embedding){0};
    if (n > 4 && strcmp(path + n - 4, ".npy") == 0) {
        CPT_TRY(cpt_prepare_npy(path, &a->values, &a->n, &a->dim, e));
        for (int64_t i = 0; i < a->n; i++) {
            int length = snprintf(text, sizeof text, "%lld", (long long)i);
            CPT_TRY(cpt_strings_add(&a->ids, text, (size_t)length, e));
        }
        return CPT_OK;
    }
    cpt_import_options import = {.need_counts = false, .obsm = key, .allow_non_counts = true};
    CPT_TRY(scratch_folder(a->folder, e));
    CPT_TRY(cpt_import(path, a->folder, &import, ctx, e));
    CPT_TRY(cpt_cells_open(a->folder, &a->cells, e));
    const cpt_obsm *m = choose_obsm(a->cells, key, path, e);
    if (!m) {
        status = e ? e->code : CPT_ERR_DATA;
        goto done;
    }
    a->n = a->cells->n_cells;
    a->dim = (int32_t)m->width;
    CPT_TRY(cpt_alloc(&a->values, (size_t)a->n * (size_t)a->dim, sizeof *a->values, e));
    memcpy(a->values, m->values, (size_t)a->n * (size_t)a->dim * sizeof *a->values);
done:
    if (status) embedding_free(a);
    return status;
}

cpt_status cpt_train(const char *path, const char *key, const char *dictionary_folder,
                     const cpt_options *o, char **report_text, const cpt_context *ctx, cpt_err *e)
{
    embedding a;
    cpt_split split = {0};
    cpt_dictionary *d = NULL;
    cpt_dictionary_report report = {0};
    cpt_dictionary_options options;
    json_t *json = NULL;
    cpt_status status = embedding_open(path, key, &a, ctx, e);
    if (status) return status;
    CPT_TRY(cpt_split_make(a.values, a.n, a.dim, NULL, cpt_options_number(o, "validation"),
                           ctx->seed, &split, e));
    if (split.n_train + split.n_validation < a.n)
        cpt_warn(ctx, "%lld rows are not finite and are left out",
                 (long long)(a.n - split.n_train - split.n_validation));
    cpt_prepare_dictionary_options(o, &options);
    CPT_TRY(cpt_dictionary_train(&options, a.values, a.dim, split.n_train, split.train,
                                 split.n_validation, split.validation, &d, &report, ctx, e));
    CPT_TRY(cpt_make_folder(dictionary_folder, e));
    CPT_TRY(d->ops->save(d, dictionary_folder, e));
    cpt_info(ctx,
             "R2_feature %.4f train, %.4f validation (mean: %.4f); R2_scalar %.4f validation; dead "
             "%.2f %%; L0 %.2f",
             report.train.r2_feature, report.validation.r2_feature, report.mean_baseline_feature,
             report.validation.r2_scalar, 100 * report.train.dead_fraction, report.train.l0);
    json = cpt_dictionary_report_json(d, &report);
    if (report_text && !(*report_text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9))))
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
done:
    json_decref(json);
    cpt_dictionary_free(d);
    cpt_dictionary_report_free(&report);
    cpt_split_free(&split);
    embedding_free(&a);
    return status;
}

/* ---- encode ---- */

static cpt_status write_encoded(const char *path, const embedding *a, const cpt_dictionary *d,
                                const cpt_activations *u, cpt_err *e)
{
    cpt_strings names = {0};
    double *numbers[3] = {NULL, NULL, NULL};
    bool *flags[2] = {NULL, NULL};
    cpt_h5ad *f = NULL;
    char text[32];
    cpt_status status;
    size_t n = (size_t)u->n_concepts;
    for (int i = 0; i < 3; i++) CPT_TRY(cpt_alloc(&numbers[i], n, sizeof **numbers, e));
    for (int i = 0; i < 2; i++) CPT_TRY(cpt_alloc(&flags[i], n, sizeof **flags, e));
    for (int32_t c = 0; c < u->n_concepts; c++) {
        int length = snprintf(text, sizeof text, "c%d", c);
        CPT_TRY(cpt_strings_add(&names, text, (size_t)length, e));
        numbers[0][c] = u->stats[c].frequency;
        numbers[1][c] = u->stats[c].max;
        numbers[2][c] = u->stats[c].mean;
        flags[0][c] = u->stats[c].dead;
        flags[1][c] = u->stats[c].dense;
    }
    f = cpt_h5ad_create(path, a->cells ? &a->cells->cell_ids : &a->ids, &names, e);
    if (!f) {
        status = e ? e->code : CPT_ERR_IO;
        goto done;
    }
    CPT_TRY(cpt_h5ad_csr(f, "X", &u->by_cell, e));
    for (int32_t i = 0; a->cells && i < a->cells->obs.n_columns; i++)
        CPT_TRY(cpt_h5ad_column(f, 'o', &a->cells->obs.columns[i], e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "frequency", numbers[0], e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "max_activation", numbers[1], e));
    CPT_TRY(cpt_h5ad_numbers(f, 'v', "mean_activation", numbers[2], e));
    CPT_TRY(cpt_h5ad_flags(f, 'v', "dead", flags[0], e));
    CPT_TRY(cpt_h5ad_flags(f, 'v', "dense", flags[1], e));
    CPT_TRY(cpt_h5ad_matrix(f, "varm/decoder", d->dim, d->decoder, e));
    CPT_TRY(cpt_h5ad_matrix(f, "obsm/X_embedding", a->dim, a->values, e));
    status = cpt_h5ad_finish(f, e);
    f = NULL;
done:
    cpt_h5ad_abandon(f);
    for (int i = 0; i < 3; i++) free(numbers[i]);
    for (int i = 0; i < 2; i++) free(flags[i]);
    cpt_strings_free(&names);
    return status;
}

cpt_status cpt_encode(const char *path, const char *key, const char *dictionary_folder,
                      const char *out_h5ad, const cpt_context *ctx, cpt_err *e)
{
    embedding a;
    cpt_dictionary *d = NULL;
    cpt_activations *u = NULL;
    cpt_status status = embedding_open(path, key, &a, ctx, e);
    if (status) return status;
    CPT_TRY(cpt_dictionary_open(dictionary_folder, &d, e));
    if (d->dim != a.dim) {
        status =
            cpt_fail(e, CPT_ERR_DATA, "%s: a dictionary for %d dimensions, the embedding has %d",
                     dictionary_folder, d->dim, a.dim);
        goto done;
    }
    CPT_TRY(cpt_activations_encode(d, a.values, a.n, &u, ctx, e));
    status = write_encoded(out_h5ad, &a, d, u, e);
done:
    cpt_activations_free(u);
    cpt_dictionary_free(d);
    embedding_free(&a);
    return status;
}

void cpt_version_text(char *text, size_t capacity)
{
    const char *core = cpt_blas_core_name();
    int best = cpt_cpu_best();
    bool halved =
        best >= CPT_CPU_AVX512 && (strcmp(core, "Haswell") == 0 || strcmp(core, "Zen") == 0);
    snprintf(text, capacity,
             "conceptome %s\ncompiler   %s\nkernels    %s (processor: %s)\nBLAS       OpenBLAS, "
             "core type %s%s",
             CPT_VERSION, __VERSION__, cpt_cpu_level_name(cpt_cpu_level()),
             cpt_cpu_level_name(best), core,
             halved ? "\nwarning: this processor has AVX-512 and the BLAS core type does not use "
                      "it; unset OPENBLAS_CORETYPE"
                    : "");
}
