/* stages.h - the list of stages: what each reads, which options it obeys, what it writes. */
#ifndef CPT_STUDY_STAGES_H
#define CPT_STUDY_STAGES_H

#include "study/study.h"

enum { CPT_STAGE_MAX_READS = 12, CPT_STAGE_MAX_OPTIONS = 32, CPT_STAGE_MAX_OUTPUTS = 16 };

/* Piece i of n of a stage's work, i from 1: see shards.h. */
typedef struct cpt_shard {
    int32_t i, n;
} cpt_shard;

enum {
    CPT_STAGE_SEED = 1, /* draws random numbers */
    CPT_STAGE_NOTES = 2 /* shows what experts said: runs again when that changes */
};

typedef struct cpt_stage {
    const char *name;
    cpt_status (*run)(cpt_study *s, cpt_err *e);
    int format;                               /* raised when the meaning of its outputs changes */
    unsigned depends;                         /* beside reads and options: CPT_STAGE_... */
    const char *reads[CPT_STAGE_MAX_READS];   /* earlier stages */
    const char *options[CPT_STAGE_MAX_OPTIONS];
    const char *outputs[CPT_STAGE_MAX_OUTPUTS]; /* files or folders that must be there afterwards */
} cpt_stage;

const cpt_stage *cpt_stage_list(size_t *n);
const cpt_stage *cpt_stage_find(const char *name); /* NULL when unknown */

/* ---- of run_stages.c: what a stage depends on, whether it is done, doing it from pieces ---- */
cpt_status cpt_study_stage_key(cpt_study *s, const cpt_stage *stage, char hex[65], cpt_err *e);
bool cpt_study_stage_done(cpt_study *s, const cpt_stage *stage);
/* Joins n pieces, PIECES/I-of-N, into what the stage writes, byte by byte. */
typedef cpt_status cpt_join_fn(cpt_study *s, const char *pieces, int32_t n, cpt_err *e);
cpt_status cpt_study_join_stage(cpt_study *s, const cpt_stage *stage, const char *key,
                                cpt_join_fn *join, const char *pieces, int32_t n, cpt_err *e);

#endif
