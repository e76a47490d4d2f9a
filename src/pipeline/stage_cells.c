#include "base/file.h"
#include "base/memory.h"
#include "io/import.h"
#include "math/layout.h"
#include "model/fixed.h"
#include "model/scvi.h"
#include "model/variable_genes.h"
#include "study/prepare.h"
#include "study/share.h"
#include "study/shards.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The stages from the input file to the embedding and its map. */

enum { PATH_LIMIT = 4096 };

/* ---- cells: the flat cache and the genes' symbols ---- */

static cpt_status write_genes(cpt_study *s, const cpt_cells *cells, const cpt_gene_map *map,
                              cpt_err *e)
{
    static const char *const how[] = {"unknown", "symbol", "ensembl", "alias"};
    char path[PATH_LIMIT];
    cpt_text t = {0};
    cpt_text_add(&t, "id\tsymbol\tmatched_by\n");
    for (int32_t i = 0; i < cells->n_genes; i++)
        cpt_text_addf(&t, "%s\t%s\t%s\n", cpt_strings_get(&cells->gene_ids, i),
                      cpt_strings_get(&map->symbols, i), how[map->how[i] & 3]);
    cpt_status status = cpt_text_status(&t, e);
    if (status == CPT_OK) status = cpt_study_path(s, "cache/genes.tsv", path, sizeof path, e);
    if (status == CPT_OK) status = cpt_write_file(path, t.bytes, t.length, e);
    cpt_text_free(&t);
    return status;
}

cpt_status cpt_stage_cells(cpt_study *s, cpt_err *e)
{
    char path[PATH_LIMIT], table_path[PATH_LIMIT];
    cpt_gene_table *table = NULL;
    cpt_gene_map map = {0};
    const cpt_cells *cells;
    cpt_status status;
    if (!s->input || !cpt_path_exists(s->input))
        return cpt_fail(e, CPT_ERR_IO,
                        "%s: the input of this study is not there any more; give it again with "
                        "`conceptome run CELLS -o %s`",
                        s->input ? s->input : "(unknown)", s->folder);
    CPT_TRY(cpt_study_path(s, "cache/cells", path, sizeof path, e));
    CPT_TRY(cpt_prepare_cells(s->input, path, s->options, s->ctx, e));
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_share_path("human_genes.tsv.gz", table_path, sizeof table_path, e));
    CPT_TRY(cpt_gene_table_open(table_path, &table, e));
    CPT_TRY(cpt_gene_map_make(table, &cells->gene_ids, &cells->var, &map, e));
    cpt_info(
        s->ctx,
        "genes: %d symbols, %d Ensembl ids, %d aliases recognised, %d unknown to the gene table",
        map.n_symbol, map.n_ensembl, map.n_alias, map.n_unknown);
    CPT_TRY(write_genes(s, cells, &map, e));
done:
    cpt_gene_map_free(&map);
    cpt_gene_table_free(table);
    return status;
}

/* ---- model: train, load, or take an embedding as it is ---- */

static cpt_status record_model(cpt_study *s, const char *kind, const char *where, bool trained,
                               const cpt_model *m, cpt_err *e)
{
    json_t *record = json_pack("{s:s, s:s, s:b, s:s, s:i, s:i}", "kind", kind, "path", where,
                               "trained", trained, "description", cpt_text_str(&m->description),
                               "n_genes", m->n_genes, "dim", m->dim);
    cpt_status status = cpt_store_write_json(s, "cache/model.json", record, e);
    json_decref(record);
    return status;
}

static cpt_status train_here(cpt_study *s, const cpt_cells *cells, cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_model *model = NULL;
    cpt_text history = {0};
    cpt_status status;
    CPT_TRY(cpt_prepare_train(cells, s->options, &model, &history, s->ctx, e));
    const char *where = cpt_model_is_scvi(model) ? "model.safetensors" : "model";
    CPT_TRY(cpt_study_path(s, where, path, sizeof path, e));
    CPT_TRY(cpt_model_is_scvi(model) ? cpt_scvi_save_tensors(model, path, e)
                                     : model->ops->save(model, path, e));
    CPT_TRY(cpt_study_path(s, "cache/history.tsv", path, sizeof path, e));
    CPT_TRY(cpt_write_file(path, cpt_text_str(&history), history.length, e));
    CPT_TRY(record_model(s, model->ops->kind, where, true, model, e));
done:
    cpt_text_free(&history);
    cpt_model_free(model);
    return status;
}

static cpt_status take_fixed(cpt_study *s, const cpt_cells *cells, const char *name, cpt_err *e)
{
    float *values = NULL;
    int32_t dim;
    cpt_model *model = NULL;
    cpt_status status;
    CPT_TRY(cpt_prepare_fixed(cells, name, &values, &dim, e));
    CPT_TRY(cpt_fixed_new(values, cells->n_cells, dim, name, &model, e));
    CPT_TRY(cpt_store_write(s, "fixed_embedding", CPT_F32, cells->n_cells, dim, values, e));
    cpt_info(s->ctx,
             "%s is a fixed embedding: no counterfactuals, genes by differential expression only",
             name);
    CPT_TRY(record_model(s, "fixed", "cache/fixed_embedding.npy", false, model, e));
done:
    free(values);
    cpt_model_free(model);
    return status;
}

static cpt_status load_model(cpt_study *s, const char *name, cpt_err *e)
{
    char real[PATH_LIMIT];
    cpt_model *model = NULL;
    cpt_status status;
    CPT_TRY(cpt_prepare_open_model(name, s->options, &model, s->ctx, e));
    if (!realpath(name, real)) {
        status = cpt_fail(e, CPT_ERR_IO, "%s: cannot be found any more", name);
        goto done;
    }
    CPT_TRY(record_model(s, model->ops->kind, real, false, model, e));
done:
    cpt_model_free(model);
    return status;
}

static cpt_status report_coverage(cpt_study *s, cpt_err *e)
{
    const cpt_cells *cells;
    const cpt_counts *counts;
    cpt_model *model;
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_study_model(s, &model, e));
    CPT_TRY(cpt_study_counts(s, &counts, e));
    if (cpt_model_has_counterfactuals(model))
        cpt_prepare_report_coverage(model, &s->alignment, cells->n_genes, s->ctx);
done:
    return status;
}

cpt_status cpt_stage_model(cpt_study *s, cpt_err *e)
{
    const cpt_cells *cells;
    const char *name = cpt_options_text(s->options, "model");
    cpt_status status = cpt_study_cells(s, &cells, e);
    if (status) return status;
    if (cpt_prepare_is_trained(name)) status = train_here(s, cells, e);
    else if (cpt_prepare_is_fixed(name)) status = take_fixed(s, cells, name, e);
    else status = load_model(s, name, e);
    return status ? status : report_coverage(s, e);
}

/* ---- embedding ---- */

static cpt_status store_embedding(cpt_study *s, int64_t n_cells, int32_t dim, const float *values,
                                  cpt_err *e)
{
    int64_t n_unusable = 0;
    for (int64_t i = 0; i < n_cells; i++) n_unusable += !cpt_row_is_finite(values + i * dim, dim);
    if (n_unusable == n_cells)
        return cpt_fail(e, CPT_ERR_DATA, "%s: no cell can be embedded by this model", s->folder);
    if (n_unusable)
        cpt_warn(
            s->ctx,
            "%lld cells cannot be embedded (no expressed gene of the model); they are left out",
            (long long)n_unusable);
    return cpt_store_write(s, "embedding", CPT_F32, n_cells, dim, values, e);
}

/* Cells [from, to) into *out [to - from][dim], to be freed. */
static cpt_status embed_range(cpt_study *s, int64_t from, int64_t to, float **out, int32_t *dim,
                              cpt_err *e)
{
    const cpt_counts *counts;
    cpt_model *model;
    cpt_status status;
    *out = NULL;
    CPT_TRY(cpt_study_model(s, &model, e));
    CPT_TRY(cpt_study_counts(s, &counts, e));
    *dim = model->dim;
    CPT_TRY(cpt_alloc(out, (size_t)(to - from) * (size_t)model->dim, sizeof **out, e));
    status = cpt_model_embed_range(model, counts, from, to, *out, s->ctx, e);
done:
    return status;
}

cpt_status cpt_stage_embedding(cpt_study *s, cpt_err *e)
{
    const cpt_cells *cells;
    float *values = NULL;
    int32_t dim;
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(embed_range(s, 0, cells->n_cells, &values, &dim, e));
    status = store_embedding(s, cells->n_cells, dim, values, e);
done:
    free(values);
    return status;
}

cpt_status cpt_piece_embedding(cpt_study *s, cpt_shard shard, const char *folder, cpt_err *e)
{
    const cpt_cells *cells;
    float *values = NULL;
    int32_t dim;
    int64_t from, to;
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    cpt_shard_range(shard, cells->n_cells, &from, &to);
    CPT_TRY(embed_range(s, from, to, &values, &dim, e));
    status = cpt_piece_write(folder, "embedding", CPT_F32, to - from, dim, values, e);
done:
    free(values);
    return status;
}

cpt_status cpt_join_embedding(cpt_study *s, const char *pieces, int32_t n, cpt_err *e)
{
    const cpt_cells *cells;
    cpt_model *model;
    char folder[PATH_LIMIT];
    float *values = NULL;
    cpt_status status;
    CPT_TRY(cpt_study_cells(s, &cells, e));
    CPT_TRY(cpt_study_model(s, &model, e));
    const int32_t dim = model->dim;
    CPT_TRY(cpt_alloc(&values, (size_t)cells->n_cells * (size_t)dim, sizeof *values, e));
    for (int32_t i = 1; i <= n; i++) {
        int64_t from, to;
        cpt_shard_range((cpt_shard){i, n}, cells->n_cells, &from, &to);
        CPT_TRY(cpt_shard_folder(pieces, (cpt_shard){i, n}, folder, sizeof folder, e));
        CPT_TRY(cpt_piece_read(folder, "embedding", CPT_F32, to - from, dim, values + from * dim, e));
    }
    status = store_embedding(s, cells->n_cells, dim, values, e);
done:
    free(values);
    return status;
}

/* ---- map: UMAP of the usable cells, NaN for the others ---- */

cpt_status cpt_stage_map(cpt_study *s, cpt_err *e)
{
    const float *a;
    int64_t n, n_usable = 0;
    int32_t dim;
    float *usable = NULL, *placed = NULL, *map = NULL;
    int64_t *rows = NULL;
    cpt_umap_options o;
    cpt_status status;
    CPT_TRY(cpt_study_embedding(s, &a, &n, &dim, e));
    CPT_TRY(cpt_alloc(&rows, (size_t)n, sizeof *rows, e));
    CPT_TRY(cpt_alloc(&usable, (size_t)n * (size_t)dim, sizeof *usable, e));
    CPT_TRY(cpt_alloc(&placed, (size_t)n * 2, sizeof *placed, e));
    CPT_TRY(cpt_alloc(&map, (size_t)n * 2, sizeof *map, e));
    for (int64_t i = 0; i < n; i++) {
        map[2 * i] = map[2 * i + 1] = NAN;
        if (!cpt_row_is_finite(a + i * dim, dim)) continue;
        memcpy(usable + n_usable * dim, a + i * dim, (size_t)dim * sizeof *a);
        rows[n_usable++] = i;
    }
    cpt_umap_options_init(&o);
    CPT_TRY(cpt_umap(usable, n_usable, dim, &o, placed, s->ctx, e));
    for (int64_t i = 0; i < n_usable; i++)
        memcpy(map + 2 * rows[i], placed + 2 * i, 2 * sizeof *map);
    status = cpt_store_write(s, "umap", CPT_F32, n, 2, map, e);
done:
    free(rows);
    free(usable);
    free(placed);
    free(map);
    return status;
}
