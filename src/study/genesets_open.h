/* genesets_open.h - all gene set families that the options ask for, over one universe. */
#ifndef CPT_STUDY_GENESETS_OPEN_H
#define CPT_STUDY_GENESETS_OPEN_H

#include "ontology/genesets.h"
#include "study/study.h"

typedef struct cpt_families {
    int32_t n;
    cpt_genesets **sets;
    int8_t *aspect;             /* [n] cpt_go_aspect; -1 = not out of GO */
    cpt_go *go;                 /* with its annotation and the terms' IC; NULL without GO */
    cpt_annotation *annotation;
    double *ic;
    json_t *provenance; /* releases, checksums, coverage: goes into study files and the report */
} cpt_families;

/* Options "go", "annotation", "gmt", "markers", "aspects", "exclude-evidence", "min-size", "max-size". */
cpt_status cpt_families_open(const cpt_options *o, const cpt_strings *symbols, cpt_families *out,
                             const cpt_context *ctx, cpt_err *e);
void cpt_families_free(cpt_families *f);

#endif
