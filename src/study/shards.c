#include "study/shards.h"
#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Pieces of stages: where they lie, making one, joining all (shards.h).
 *
 * A piece is written into I-of-N.tmp-PID and renamed: what is called I-of-N is whole. Two machines
 * that make the same piece (one was thought lost) write the same bytes; the second rename is
 * refused by the system because the folder is there, and its files are dropped. */

enum { PATH_LIMIT = 4096, MAX_PIECES = 100000, KEY_SHOWN = 16 };

/* The stages that can be divided, in order of work. */
static const struct divisible {
    const char *stage;
    cpt_status (*piece)(cpt_study *s, cpt_shard shard, const char *folder, cpt_err *e);
    cpt_join_fn *join;
} divisible[] = {{"embedding", cpt_piece_embedding, cpt_join_embedding},
                 {"attribution", cpt_piece_attribution, cpt_join_attribution},
                 {"enrichment", cpt_piece_enrichment, cpt_join_enrichment}};
enum { N_DIVISIBLE = sizeof divisible / sizeof *divisible };

void cpt_shard_range(cpt_shard shard, int64_t n, int64_t *from, int64_t *to)
{
    *from = n / shard.n * (shard.i - 1) + (n % shard.n < shard.i - 1 ? n % shard.n : shard.i - 1);
    *to = *from + n / shard.n + (shard.i - 1 < n % shard.n);
}

/* ---- arrays ---- */

static cpt_status array_path(const char *folder, const char *name, char path[PATH_LIMIT],
                             cpt_err *e)
{
    char file[256];
    snprintf(file, sizeof file, "%s.npy", name);
    return cpt_path_join(path, PATH_LIMIT, folder, file, e);
}

cpt_status cpt_piece_write(const char *folder, const char *name, cpt_dtype dtype, int64_t rows,
                           int64_t cols, const void *values, cpt_err *e)
{
    char path[PATH_LIMIT];
    int64_t shape[2] = {rows, cols};
    cpt_status status = array_path(folder, name, path, e);
    return status ? status : cpt_npy_write(path, dtype, cols ? 2 : 1, shape, values, e);
}

cpt_status cpt_piece_read(const char *folder, const char *name, cpt_dtype dtype, int64_t rows,
                          int64_t cols, void *out, cpt_err *e)
{
    char path[PATH_LIMIT];
    int64_t shape[2] = {rows, cols};
    cpt_npy a;
    cpt_status status = array_path(folder, name, path, e);
    if (status == CPT_OK) status = cpt_npy_open_as(path, dtype, cols ? 2 : 1, shape, &a, e);
    if (status) return status;
    memcpy(out, a.data, (size_t)a.n_items * cpt_dtype_size(dtype));
    cpt_npy_close(&a);
    return CPT_OK;
}

/* ---- where pieces lie ---- */

static cpt_status stage_folder(const cpt_study *s, const cpt_stage *stage, const char *key,
                               char path[PATH_LIMIT], cpt_err *e)
{
    char name[128];
    snprintf(name, sizeof name, "shards/%s-%.*s", stage->name, KEY_SHOWN, key);
    return cpt_study_path(s, name, path, PATH_LIMIT, e);
}

cpt_status cpt_shard_folder(const char *pieces, cpt_shard shard, char *path, size_t capacity,
                            cpt_err *e)
{
    char name[64];
    snprintf(name, sizeof name, "%d-of-%d", shard.i, shard.n);
    return cpt_path_join(path, capacity, pieces, name, e);
}

/* ---- making one ---- */

static const struct divisible *find_divisible(const char *stage)
{
    for (int i = 0; i < N_DIVISIBLE; i++)
        if (strcmp(divisible[i].stage, stage) == 0) return &divisible[i];
    return NULL;
}

static cpt_status check_parents(cpt_study *s, const cpt_stage *stage, cpt_err *e)
{
    for (int i = 0; i < CPT_STAGE_MAX_READS && stage->reads[i]; i++)
        if (!cpt_study_stage_done(s, cpt_stage_find(stage->reads[i])))
            return cpt_fail(
                e, CPT_ERR_USAGE,
                "%s: the stage '%s' comes first; run `conceptome run CELLS -o %s --until %s` "
                "with the same options",
                s->folder, stage->reads[i], s->folder, stage->reads[i]);
    return CPT_OK;
}

static cpt_status move_into_place(const char *temporary, const char *path, cpt_err *e)
{
    if (rename(temporary, path) == 0) return CPT_OK;
    if (errno == ENOTEMPTY || errno == EEXIST) return cpt_remove_tree(temporary, e);
    return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
}

static cpt_status make_piece(cpt_study *s, const struct divisible *how, cpt_shard shard, cpt_err *e)
{
    const cpt_stage *stage = cpt_stage_find(how->stage);
    char key[65], folder[PATH_LIMIT], path[PATH_LIMIT], temporary[PATH_LIMIT + 32];
    cpt_status status;
    CPT_TRY(check_parents(s, stage, e));
    CPT_TRY(cpt_study_stage_key(s, stage, key, e));
    CPT_TRY(stage_folder(s, stage, key, folder, e));
    CPT_TRY(cpt_shard_folder(folder, shard, path, sizeof path, e));
    if (cpt_path_exists(path)) {
        cpt_info(s->ctx, "piece %d of %d is there, kept", shard.i, shard.n);
        return CPT_OK;
    }
    snprintf(temporary, sizeof temporary, "%s.tmp-%ld", path, (long)getpid());
    CPT_TRY(cpt_make_folder(temporary, e));
    status = how->piece(s, shard, temporary, e);
    if (status == CPT_OK) status = move_into_place(temporary, path, e);
    if (status) cpt_remove_tree(temporary, NULL);
done:
    return status;
}

cpt_status cpt_study_piece(const char *study, const char *stage, int32_t i, int32_t n,
                           const cpt_options *options, const cpt_context *ctx, cpt_err *e)
{
    const struct divisible *how = find_divisible(stage);
    cpt_study *s = NULL;
    cpt_status status;
    if (!how) return cpt_fail(e, CPT_ERR_USAGE, "the stage '%s' is not computed in pieces", stage);
    if (n < 1 || n > MAX_PIECES || i < 1 || i > n)
        return cpt_fail(e, CPT_ERR_USAGE, "--shard %d/%d: a number from 1 to %d, of at most %d", i,
                        n, n, MAX_PIECES);
    status = cpt_study_look(study, options, ctx, &s, e);
    if (status == CPT_OK) status = make_piece(s, how, (cpt_shard){i, n}, e);
    cpt_study_close(s);
    return status;
}

/* ---- joining ---- */

/* What lies in a stage's folder: the number of pieces of each division is not kept, only the first
 * one that is whole, or else the one that lacks least. */
typedef struct division {
    int32_t n, missing, first_missing; /* n 0 = no pieces at all */
} division;

static int32_t count_missing(const char *folder, int32_t n, int32_t *first)
{
    int32_t missing = 0;
    for (int32_t i = n; i >= 1; i--) {
        char path[PATH_LIMIT];
        if (cpt_shard_folder(folder, (cpt_shard){i, n}, path, sizeof path, NULL) == CPT_OK &&
            cpt_path_is_folder(path))
            continue;
        missing++;
        *first = i;
    }
    return missing;
}

static division find_division(const char *folder)
{
    division best = {0, 0, 0};
    DIR *d = opendir(folder);
    for (const struct dirent *entry; d && (entry = readdir(d));) {
        int32_t i, n, used = 0, first = 0;
        if (sscanf(entry->d_name, "%d-of-%d%n", &i, &n, &used) != 2 || entry->d_name[used] ||
            n < 1 || n > MAX_PIECES || n == best.n)
            continue;
        const int32_t missing = count_missing(folder, n, &first);
        if (best.n == 0 || missing < best.missing || (missing == best.missing && n < best.n))
            best = (division){n, missing, first};
    }
    if (d) closedir(d);
    return best;
}

/* *joined = false when there are no pieces. */
static cpt_status join_stage(cpt_study *s, const struct divisible *how, bool *joined, cpt_err *e)
{
    const cpt_stage *stage = cpt_stage_find(how->stage);
    char key[65], folder[PATH_LIMIT];
    cpt_status status;
    *joined = false;
    if (cpt_study_stage_done(s, stage)) return CPT_OK;
    CPT_TRY(cpt_study_stage_key(s, stage, key, e));
    CPT_TRY(stage_folder(s, stage, key, folder, e));
    const division d = find_division(folder);
    if (d.n == 0) return CPT_OK;
    if (d.missing)
        return cpt_fail(
            e, CPT_ERR_DATA,
            "%s: %d of the %d pieces of the stage '%s' are missing, the first is %d/%d; make "
            "them with `--shard` and merge again",
            s->folder, d.missing, d.n, stage->name, d.first_missing, d.n);
    *joined = true;
    CPT_TRY(cpt_study_join_stage(s, stage, key, how->join, folder, d.n, e));
    cpt_info(s->ctx, "%s: joined from %d pieces", stage->name, d.n);
    CPT_TRY(cpt_remove_tree(folder, e));
    if (cpt_study_path(s, "shards", folder, sizeof folder, NULL) == CPT_OK)
        rmdir(folder); /* when it was the last */
done:
    return status;
}

static cpt_status join_all(cpt_study *s, int32_t *n_joined, cpt_err *e)
{
    *n_joined = 0;
    for (int i = 0; i < N_DIVISIBLE; i++) {
        bool joined = false;
        cpt_status status = join_stage(s, &divisible[i], &joined, e);
        if (status) return status;
        *n_joined += joined;
    }
    return CPT_OK;
}

cpt_status cpt_study_merge(const char *study, const cpt_options *options, const char *command,
                           const cpt_context *ctx, cpt_err *e)
{
    cpt_study *s = NULL;
    int32_t n_joined = 0;
    cpt_status status = cpt_study_begin(study, NULL, options, command, ctx, &s, e);
    if (status) return status;
    status = join_all(s, &n_joined, e);
    if (status == CPT_OK && n_joined == 0)
        status = cpt_fail(
            e, CPT_ERR_DATA,
            "%s: there are no pieces of a stage that is still to be done, with these options; "
            "make them with `conceptome embed|attribute|enrich %s --shard i/n`",
            study, study);
    cpt_study_close(s);
    return status;
}
