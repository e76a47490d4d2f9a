/* rank_null_cache.c - cache/rank_null.npy holds the table, cache/rank_null.json what it was made for and the table's
 * checksum. The latter goes first and comes last, so that an interrupted write leaves none; a table that is not the
 * one it speaks of is refused. Neither file is needed: whatever is wrong, the null is computed. Its numbers do not
 * depend on which sizes were asked for first.
 */
#include "pipeline/rank_null_cache.h"

#include "base/file.h"
#include "base/memory.h"
#include "study/store.h"

#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4096, FORMAT = 3 };
static const char KEY_FILE[] = "cache/rank_null.json", TABLE_FILE[] = "cache/rank_null.npy";

/* Numbers as text: every digit comes back. */
static json_t *key_of(const cpt_rank_null *x, const char *checksum)
{
    char weight[32], eps[32];
    snprintf(weight, sizeof weight, "%.17g", x->power);
    snprintf(eps, sizeof eps, "%.17g", x->eps);
    return json_pack("{s:i, s:i, s:s, s:s, s:i, s:i, s:I, s:s}", "format", FORMAT, "n_genes", x->n_genes,
                     "weight", weight, "eps", eps, "sample", CPT_RANK_NULL_SAMPLE,
                     "permutations", x->n_permutations, "seed", (json_int_t)x->seed, "sha256", checksum);
}

static cpt_status checksum_of_table(const cpt_study *s, char hex[65], cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status = cpt_study_path(s, TABLE_FILE, path, sizeof path, e);
    return status ? status : cpt_sha256_path(path, hex, e);
}

/* The table that `key` speaks of; other genes or options are no error. */
static cpt_status take_table(const cpt_study *s, const json_t *key, cpt_rank_null *x, cpt_err *e)
{
    char hex[65];
    cpt_npy table = {0};
    const char *sum = json_string_value(json_object_get(key, "sha256"));
    json_t *wanted = key_of(x, sum ? sum : "");
    const bool same = json_equal(key, wanted);
    cpt_status status = CPT_OK;
    json_decref(wanted);
    if (!same) return CPT_OK;
    CPT_TRY(checksum_of_table(s, hex, e));
    if (strcmp(hex, sum) != 0)
        CPT_TRY(cpt_fail(e, CPT_ERR_FORMAT, "%s: is not what its checksum says", TABLE_FILE));
    CPT_TRY(cpt_store_open(s, "rank_null", "enrichment", CPT_F64, -1, CPT_RANK_NULL_COLUMNS, &table, e));
    CPT_TRY(cpt_rank_null_unpack(x, table.shape[0], table.data, e));
    cpt_debug(s->ctx, "%s: %lld set sizes", TABLE_FILE, (long long)table.shape[0]);
done:
    cpt_npy_close(&table);
    return status;
}

void cpt_rank_null_load(const cpt_study *s, cpt_rank_null *x)
{
    char path[PATH_LIMIT];
    cpt_err err;
    json_t *key = NULL;
    if (cpt_study_path(s, KEY_FILE, path, sizeof path, &err) || !cpt_path_exists(path)) return;
    cpt_status status = cpt_store_read_json(s, KEY_FILE, "enrichment", &key, &err);
    if (status == CPT_OK) status = take_table(s, key, x, &err);
    if (status) cpt_warn(s->ctx, "the kept null of ranks is damaged and is computed again (%s)", err.text);
    json_decref(key);
}

static cpt_status save(const cpt_study *s, const cpt_rank_null *x, cpt_err *e)
{
    int64_t n;
    double *rows = NULL;
    json_t *key = NULL;
    char path[PATH_LIMIT], hex[65];
    cpt_status status;
    CPT_TRY(cpt_study_path(s, KEY_FILE, path, sizeof path, e));
    CPT_TRY(cpt_remove_tree(path, e));
    CPT_TRY(cpt_rank_null_pack(x, &n, &rows, e));
    CPT_TRY(cpt_store_write(s, "rank_null", CPT_F64, n, CPT_RANK_NULL_COLUMNS, rows, e));
    CPT_TRY(checksum_of_table(s, hex, e));
    key = key_of(x, hex);
    status = cpt_store_write_json(s, KEY_FILE, key, e);
done:
    free(rows);
    json_decref(key);
    return status;
}

void cpt_rank_null_save(const cpt_study *s, const cpt_rank_null *x)
{
    cpt_err err;
    if (save(s, x, &err)) cpt_warn(s->ctx, "the null of ranks is not kept for the next run (%s)", err.text);
}
