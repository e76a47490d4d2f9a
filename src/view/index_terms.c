#include "base/file.h"
#include "view/term_list.h"

/* The enrichment with its terms: first what is known of terms whatever was found, then what was found. */

cpt_status cpt_index_terms(cpt_index_job *job, cpt_err *e)
{
    char path[4096];
    cpt_term_list terms;
    cpt_status status;
    CPT_TRY(cpt_term_list_make(&terms, e));
    CPT_TRY(cpt_index_families(job, &terms, e));
    CPT_TRY(cpt_study_path(job->s, "enrichment.tsv.gz", path, sizeof path, e));
    if (cpt_path_exists(path)) CPT_TRY(cpt_index_rows(job, &terms, path, e));
    status = cpt_term_list_put(job, &terms, e);
done:
    cpt_term_list_free(&terms);
    return status;
}
