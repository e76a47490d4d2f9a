/* enrich_plots.h - running sums of GSEA as SVG files. */
#ifndef CPT_PIPELINE_ENRICH_PLOTS_H
#define CPT_PIPELINE_ENRICH_PLOTS_H

#include "enrich/enrich.h"

/* One file per set, the `most` with the smallest p among those with q < 0.05, as
 * FOLDER/COLLECTION-RANK-TERM.svg (signs other than letters, digits, '_' and '-' of names become '_'). `weight`: the
 * exponent of the statistic. *n_written: how many. */
cpt_status cpt_enrich_plots(const char *folder, int32_t most, const cpt_genesets *sets, const cpt_gsea *result,
                            const double *statistic, double weight, int32_t *n_written, cpt_err *e);

/* The drawing of one row, a whole SVG document. sorted [n]: ranked statistics, descending. */
cpt_status cpt_enrich_plot(cpt_text *t, const cpt_genesets *sets, const cpt_gsea_row *row, const double *statistic,
                           double weight, int32_t n, const double *sorted, cpt_err *e);

#endif
