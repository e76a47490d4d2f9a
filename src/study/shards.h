/* shards.h - one stage of a study computed in pieces, by several machines that share the folder.
 *
 *     conceptome run CELLS -o STUDY --until model
 *     conceptome embed STUDY --shard 1/3     (2/3 and 3/3 elsewhere, at the same time)
 *     conceptome merge STUDY
 *
 * A piece is the result for a contiguous range of items (cells or concepts): arrays under
 * STUDY/shards/STAGE-KEY/I-of-N/, put there by one rename when it is whole. KEY is the stage's key
 * (study.h), so that pieces of other options or inputs never mix. Making a piece reads the study
 * only and takes no lock. Joining takes it, demands every piece of one N, writes what the stage
 * itself would have written, byte by byte, and removes the pieces. */
#ifndef CPT_STUDY_SHARDS_H
#define CPT_STUDY_SHARDS_H

#include "study/stages.h"

/* Items [*from, *to) of piece `shard` of `n` items: sizes differ by one at most. */
void cpt_shard_range(cpt_shard shard, int64_t n, int64_t *from, int64_t *to);

/* PIECES/I-of-N */
cpt_status cpt_shard_folder(const char *pieces, cpt_shard shard, char *path, size_t capacity,
                            cpt_err *e);

/* ---- arrays of a piece: FOLDER/NAME.npy, rows [rows][cols] (cols 0 = one-dimensional) ---- */
cpt_status cpt_piece_write(const char *folder, const char *name, cpt_dtype dtype, int64_t rows,
                           int64_t cols, const void *values, cpt_err *e);
/* Into out [rows][cols]; anything else than that dtype and shape is an error. */
cpt_status cpt_piece_read(const char *folder, const char *name, cpt_dtype dtype, int64_t rows,
                          int64_t cols, void *out, cpt_err *e);

/* ---- the stages' pieces (stage_*.c); used by the table in stages.c ---- */
cpt_status cpt_piece_embedding(cpt_study *s, cpt_shard shard, const char *folder, cpt_err *e);
cpt_status cpt_join_embedding(cpt_study *s, const char *pieces, int32_t n, cpt_err *e);
cpt_status cpt_piece_attribution(cpt_study *s, cpt_shard shard, const char *folder, cpt_err *e);
cpt_status cpt_join_attribution(cpt_study *s, const char *pieces, int32_t n, cpt_err *e);
cpt_status cpt_piece_enrichment(cpt_study *s, cpt_shard shard, const char *folder, cpt_err *e);
cpt_status cpt_join_enrichment(cpt_study *s, const char *pieces, int32_t n, cpt_err *e);

#endif
