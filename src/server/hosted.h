/* hosted.h - the studies that are served: each with its view, exchanged when the study changes. */
#ifndef CPT_SERVER_HOSTED_H
#define CPT_SERVER_HOSTED_H

#include "conceptome.h"

typedef struct cpt_hosted cpt_hosted;

/* The id is made of the folder's name: letters, digits, '-', '_' and '.'; `taken` ids are avoided.
 */
cpt_status cpt_hosted_new(const char *folder, cpt_hosted *const *others, size_t n_others,
                          const cpt_context *ctx, cpt_hosted **out, cpt_err *e);
void cpt_hosted_free(cpt_hosted *h); /* no request may be using it */

const char *cpt_hosted_id(const cpt_hosted *h);
const char *cpt_hosted_folder(const cpt_hosted *h);
struct cpt_desk *cpt_hosted_desk(cpt_hosted *h); /* desk.h: notes and blind review */

/* The current view, kept alive until it is given back. Looks at most once a second whether the
 * study has changed, and opens the new one then; requests that hold the old one keep it. While a
 * stage runs the old one stays. Thread-safe. NULL only before anything could be opened: *e says
 * why. */
typedef struct cpt_lease cpt_lease;
cpt_lease *cpt_hosted_lease(cpt_hosted *h, const cpt_context *ctx, cpt_err *e);
const cpt_view *cpt_lease_view(const cpt_lease *l);
void cpt_lease_return(cpt_lease *l); /* accepts NULL */

/* What is being computed now, "" = nothing: the index, by this server (how far it is), or a stage, by
 * another process (its name). */
void cpt_hosted_running(cpt_hosted *h, char running[32], bool *indexing);

#endif
