#include "base/file.h"
#include "base/memory.h"
#include "compare/compare_pair.h"
#include "study/json_table.h"
#include "study/share.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `compare`: the studies are opened, all pairs compared, and the results written.
 *
 * Names are the folders' last parts, with as many parts before them as make them different. */

enum { FORMAT = 1, PATH_LIMIT = 4096, MAX_STUDIES = 64 };

void cpt_comparison_init(cpt_comparison *c)
{
    *c = (cpt_comparison){.n_null = 200, .max_cells = 5000};
}

typedef struct opened {
    int32_t n;
    cpt_study *studies[MAX_STUDIES];
    cpt_compared sides[MAX_STUDIES];
    char *names[MAX_STUDIES];
    cpt_gene_table *table;
} opened;

static void opened_free(opened *o)
{
    for (int32_t i = 0; i < o->n; i++) {
        cpt_compared_close(&o->sides[i]);
        cpt_study_close(o->studies[i]);
        free(o->names[i]);
    }
    cpt_gene_table_free(o->table);
}

/* ---- names ---- */

/* The last `parts` parts of a path. */
static const char *tail_of(const char *path, int parts)
{
    const char *p = path + strlen(path);
    while (p > path && parts > 0) {
        p--;
        if (*p == '/' && --parts == 0) return p + 1;
    }
    return path + (*path == '/');
}

static cpt_status name_studies(opened *o, const char *const *folders, cpt_err *e)
{
    char *real[MAX_STUDIES] = {NULL};
    cpt_status status = CPT_OK;
    bool clash = true;
    for (int32_t i = 0; i < o->n; i++) {
        real[i] = realpath(folders[i], NULL);
        if (!real[i]) {
            status = cpt_fail(e, CPT_ERR_IO, "%s: no such study", folders[i]);
            goto done;
        }
        for (int32_t k = 0; k < i; k++)
            if (strcmp(real[i], real[k]) == 0) {
                status = cpt_fail(e, CPT_ERR_USAGE, "%s and %s are the same study", folders[k],
                                  folders[i]);
                goto done;
            }
    }
    for (int parts = 1; clash && parts < 16; parts++) {
        clash = false;
        for (int32_t i = 0; i < o->n; i++) {
            free(o->names[i]);
            o->names[i] = cpt_strdup(tail_of(real[i], parts));
            if (!o->names[i]) CPT_TRY(cpt_fail(e, CPT_ERR_MEMORY, "out of memory"));
            for (int32_t k = 0; k < i; k++) clash |= strcmp(o->names[i], o->names[k]) == 0;
        }
    }
done:
    for (int32_t i = 0; i < o->n; i++) free(real[i]);
    return status;
}

/* ---- files ---- */

static cpt_status write_json(const char *path, const json_t *value, cpt_err *e)
{
    char *text = json_dumps(value, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (!text) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    cpt_status status = cpt_write_file(path, text, strlen(text), e);
    free(text);
    return status;
}

/* A name for a file: letters, digits and . _ - of it, '_' for the rest. */
static void file_name(const char *name, char *out, size_t capacity)
{
    size_t n = 0;
    for (; *name && n + 6 < capacity; name++) {
        const unsigned char c = (unsigned char)*name;
        const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                           (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c >= 0x80 ||
                           (c == '.' && n > 0);
        out[n++] = plain ? (char)c : '_';
    }
    memcpy(out + n, ".json", 6);
}

/* STUDY/comparisons/OTHER.json: the pair, and which side of it this study is. */
static cpt_status save_in(const cpt_study *s, const char *other, const char *self,
                          const json_t *pair, cpt_err *e)
{
    char folder[PATH_LIMIT], path[PATH_LIMIT], name[256];
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:O}", "format", FORMAT, "conceptome",
                             CPT_VERSION, "self", self, "other", other, "pair", pair);
    cpt_status status;
    if (!root) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    file_name(other, name, sizeof name);
    CPT_TRY(cpt_study_path(s, "comparisons", folder, sizeof folder, e));
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, name, e));
    status = write_json(path, root, e);
done:
    json_decref(root);
    return status;
}

static char *table_text(const json_t *pairs)
{
    cpt_text t = {0};
    size_t i;
    json_t *pair;
    cpt_json_table_header(cpt_match_columns, &t);
    json_array_foreach(pairs, i, pair)
        cpt_json_table_rows(cpt_match_columns, json_object_get(pair, "matches"), &t);
    if (!t.failed) return t.bytes;
    cpt_text_free(&t);
    return NULL;
}

static cpt_status write_folder(const char *folder, const json_t *root, const char *table,
                               cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status;
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, "comparison.json", e));
    CPT_TRY(write_json(path, root, e));
    CPT_TRY(cpt_path_join(path, sizeof path, folder, "matches.tsv", e));
    status = cpt_write_file(path, table, strlen(table), e);
done:
    return status;
}

/* ---- all pairs ---- */

/* Mean and sd of each measure's matched mean over the pairs of studies that have it. */
static json_t *over_pairs(const json_t *pairs)
{
    static const char *const names[] = {"decoder", "activation", "attribution", "expression"};
    json_t *out = json_object(), *pair;
    for (size_t m = 0; m < sizeof names / sizeof *names; m++) {
        double sum = 0, square = 0;
        int n = 0;
        size_t i;
        json_array_foreach(pairs, i, pair)
        {
            const json_t *mean = json_object_get(
                json_object_get(json_object_get(pair, "measures"), names[m]), "mean");
            if (!mean) continue;
            n++;
            sum += json_real_value(mean);
            square += json_real_value(mean) * json_real_value(mean);
        }
        if (n == 0) continue;
        const double variance = n > 1 ? (square - sum * sum / n) / (n - 1) : NAN;
        json_object_set_new(out, names[m],
                            json_pack("{s:i, s:f, s:o}", "n", n, "mean", sum / n, "sd",
                                      cpt_json_number(n > 1 ? sqrt(fmax(0, variance)) : NAN)));
    }
    return out;
}

static cpt_status open_all(opened *o, const char *const *folders, const cpt_context *ctx,
                           cpt_err *e)
{
    char path[PATH_LIMIT];
    cpt_status status;
    for (int32_t i = 0; i < o->n; i++) {
        CPT_TRY(cpt_study_open(folders[i], ctx, &o->studies[i], e));
        CPT_TRY(cpt_compared_open(o->studies[i], NULL, &o->sides[i], e));
    }
    CPT_TRY(name_studies(o, folders, e));
    for (int32_t i = 0; i < o->n; i++) o->sides[i].name = o->names[i];
    CPT_TRY(cpt_share_path("human_genes.tsv.gz", path, sizeof path, e));
    status = cpt_gene_table_open(path, &o->table, e);
done:
    return status;
}

static cpt_status compare_all(opened *o, const cpt_comparison *how, json_t *pairs,
                              const cpt_context *ctx, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < o->n; i++)
        for (int32_t k = i + 1; k < o->n; k++) {
            json_t *pair;
            cpt_info(ctx, "%s and %s", o->names[i], o->names[k]);
            CPT_TRY(cpt_compare_pair(&o->sides[i], &o->sides[k], o->table, how, &pair, ctx, e));
            json_array_append_new(pairs, pair);
            if (!how->save) continue;
            CPT_TRY(save_in(o->studies[i], o->names[k], "a", pair, e));
            CPT_TRY(save_in(o->studies[k], o->names[i], "b", pair, e));
        }
done:
    return status;
}

cpt_status cpt_study_compare(const char *const *studies, int32_t n, const cpt_comparison *how,
                             char **json, char **tsv, const cpt_context *ctx, cpt_err *e)
{
    opened o = {.n = n};
    json_t *pairs = json_array(), *root = NULL;
    char *table = NULL;
    cpt_status status;
    if (json) *json = NULL;
    if (tsv) *tsv = NULL;
    if (n < 2 || n > MAX_STUDIES) {
        o.n = 0;
        CPT_TRY(cpt_fail(e, CPT_ERR_USAGE, "2 to %d studies can be compared; %d were given",
                         MAX_STUDIES, n));
    }
    CPT_TRY(open_all(&o, studies, ctx, e));
    CPT_TRY(compare_all(&o, how, pairs, ctx, e));
    root = json_pack("{s:i, s:s, s:I, s:i, s:I, s:O, s:o}", "format", FORMAT, "conceptome",
                     CPT_VERSION, "seed", (json_int_t)ctx->seed, "draws", how->n_null, "max_cells",
                     (json_int_t)how->max_cells, "pairs", pairs, "over_pairs", over_pairs(pairs));
    table = root ? table_text(pairs) : NULL;
    if (!table || (json && !(*json = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)))))
        CPT_TRY(cpt_fail(e, CPT_ERR_MEMORY, "out of memory"));
    if (how->folder) CPT_TRY(write_folder(how->folder, root, table, e));
    if (tsv) {
        *tsv = table;
        table = NULL;
    }
done:
    free(table);
    json_decref(root);
    json_decref(pairs);
    opened_free(&o);
    return status;
}
