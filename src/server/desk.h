/* desk.h - what a served study needs for its experts: the notes, and the evidence of blind review.
 *
 * Opened by the first request that asks; the notes learn of a new dictionary when the study's
 * generation changes. Thread-safe. */
#ifndef CPT_SERVER_DESK_H
#define CPT_SERVER_DESK_H

#include "server/hosted.h"

typedef struct cpt_desk cpt_desk;

cpt_desk *cpt_desk_new(const char *folder); /* NULL = out of memory */
void cpt_desk_free(cpt_desk *d);            /* accepts NULL */

/* Borrowed until cpt_desk_free. `generation`: of the view that the request sees. */
cpt_status cpt_desk_notes(cpt_desk *d, const char *generation, const cpt_context *ctx,
                          cpt_notes **out, cpt_err *e);
/* The view that holds an item's evidence (to be returned), and the item's number there. */
cpt_status cpt_desk_evidence(cpt_desk *d, cpt_hosted *study, cpt_notes *n, const char *session,
                             const char *item, const cpt_context *ctx, cpt_lease **lease,
                             int32_t *unit, cpt_err *e);

#endif
