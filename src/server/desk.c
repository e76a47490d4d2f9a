#include "server/desk.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Neurons and random directions are studies of their own (cache/controls), so their evidence is
 * looked at with views like the study's; these are hosted without an address of their own. */

enum { MAX_CONTROLS = 4 };

struct cpt_desk {
    char *folder;
    pthread_mutex_t lock;
    cpt_notes *notes;
    char generation[33]; /* that the notes know the concepts of */
    cpt_hosted *controls[MAX_CONTROLS];
    size_t n_controls;
};

cpt_desk *cpt_desk_new(const char *folder)
{
    cpt_desk *d = calloc(1, sizeof *d);
    if (d && pthread_mutex_init(&d->lock, NULL) != 0) {
        free(d);
        return NULL;
    }
    if (d && !(d->folder = strdup(folder))) {
        cpt_desk_free(d);
        return NULL;
    }
    return d;
}

void cpt_desk_free(cpt_desk *d)
{
    if (!d) return;
    cpt_notes_close(d->notes);
    for (size_t i = 0; i < d->n_controls; i++) cpt_hosted_free(d->controls[i]);
    pthread_mutex_destroy(&d->lock);
    free(d->folder);
    free(d);
}

cpt_status cpt_desk_notes(cpt_desk *d, const char *generation, const cpt_context *ctx,
                          cpt_notes **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    /* The notes outlive the request, and with them its context: no stop flag, no log. */
    cpt_context own;
    cpt_context_init(&own);
    own.n_threads = ctx->n_threads;
    pthread_mutex_lock(&d->lock);
    if (!d->notes) status = cpt_notes_open(d->folder, &own, &d->notes, e);
    else if (strcmp(d->generation, generation) != 0) status = cpt_notes_refresh(d->notes, e);
    if (status == CPT_OK) snprintf(d->generation, sizeof d->generation, "%s", generation);
    *out = d->notes;
    pthread_mutex_unlock(&d->lock);
    return status;
}

/* The hosted study of a folder, opened when it is asked for first. */
static cpt_status find_control(cpt_desk *d, const char *folder, const cpt_context *ctx,
                               cpt_hosted **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    *out = NULL;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_controls && !*out; i++)
        if (strcmp(cpt_hosted_folder(d->controls[i]), folder) == 0) *out = d->controls[i];
    if (!*out && d->n_controls < MAX_CONTROLS) {
        status = cpt_hosted_new(folder, NULL, 0, ctx, out, e);
        if (status == CPT_OK) d->controls[d->n_controls++] = *out;
    }
    pthread_mutex_unlock(&d->lock);
    return status;
}

cpt_status cpt_desk_evidence(cpt_desk *d, cpt_hosted *study, cpt_notes *n, const char *session,
                             const char *item, const cpt_context *ctx, cpt_lease **lease,
                             int32_t *unit, cpt_err *e)
{
    char folder[PATH_MAX];
    *lease = NULL;
    cpt_status status = cpt_review_evidence(n, session, item, folder, sizeof folder, unit, e);
    cpt_hosted *where = study;
    if (status == CPT_OK && strcmp(folder, d->folder) != 0)
        status = find_control(d, folder, ctx, &where, e);
    if (status) return status;
    *lease = cpt_hosted_lease(where, ctx, e);
    return *lease ? CPT_OK : e->code;
}
