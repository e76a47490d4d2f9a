#include "model/scvi_files.h"
cpt_status cpt_scvi_save(const cpt_model *m, const char *folder, cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_UNSUPPORTED, "later");
}
