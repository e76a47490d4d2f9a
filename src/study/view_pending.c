#include "study/view.h"
#define PENDING return cpt_fail(e, CPT_ERR_DATA, "not built yet");
cpt_status cpt_view_similar(const cpt_view *v, int32_t c, char **json, cpt_err *e) { PENDING }
cpt_status cpt_view_trust(const cpt_view *v, int32_t c, char **json, cpt_err *e) { PENDING }
cpt_status cpt_view_search(const cpt_view *v, const char *t, int64_t l, char **json, cpt_err *e) { PENDING }
cpt_status cpt_view_comparison(const cpt_view *v, const char *id, char **json, cpt_err *e) { PENDING }
cpt_status cpt_view_pair(const cpt_view *a, int32_t x, const cpt_view *b, int32_t y, char **json, cpt_err *e) { PENDING }
cpt_status cpt_view_selection_concepts(const cpt_view *v, const cpt_selection *s, const cpt_context *ctx, char **json, cpt_err *e) { PENDING }
cpt_status cpt_view_selection_genes(const cpt_view *v, const cpt_selection *s, const cpt_context *ctx, char **json, cpt_err *e) { PENDING }
