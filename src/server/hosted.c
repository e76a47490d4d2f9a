#include "server/hosted.h"
#include "server/desk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One view per study, counted by the requests that use it. The count and the pointer to the current
 * view are guarded by a mutex that is held for a few instructions only; opening a new view happens
 * outside of it, by one thread, while others go on with the old.
 *
 * A study without an up-to-date index (cpt_study_index) is served as it is while a thread of its
 * own makes the index, which changes the generation, and with it the view. Small studies are done
 * before anybody has asked: their first view waits PATIENCE for it. */

enum { PATIENCE_MS = 1200 };

struct cpt_lease {
    cpt_hosted *owner;
    cpt_view *view;
    int users; /* requests, plus one while it is current */
};

struct cpt_hosted {
    char *folder, *id;
    cpt_desk *desk;
    pthread_mutex_t lock;
    cpt_lease *current;
    bool looking; /* a thread is looking for changes */
    struct timespec looked;
    char running[32];

    pthread_t indexer; /* runs, or has run and is not joined yet, while indexer_exists */
    bool indexer_exists, indexing;
    volatile int stop;    /* of its context */
    pthread_cond_t ended; /* indexing became false */
    char tried[33];       /* generation whose index was begun: once each, also when it fails */
    char progress[32];    /* "index of genes, 43 %" */
    cpt_context ctx;
};

/* ---- ids ---- */

static bool id_taken(const char *id, cpt_hosted *const *others, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(others[i]->id, id) == 0) return true;
    return false;
}

static char *make_id(const char *folder, cpt_hosted *const *others, size_t n)
{
    char base[80], id[96];
    char *real = realpath(folder, NULL);
    const char *name = real ? strrchr(real, '/') : NULL;
    size_t length = 0;
    for (const char *p = name ? name + 1 : folder; *p && length < sizeof base - 1; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || *p == '_' || *p == '-' ||
                     (*p == '.' && length > 0);
        base[length++] = plain ? *p : '-';
    }
    base[length] = '\0';
    free(real);
    snprintf(id, sizeof id, "%s", length ? base : "study");
    for (int k = 2; id_taken(id, others, n); k++)
        snprintf(id, sizeof id, "%s-%d", length ? base : "study", k);
    return strdup(id);
}

/* ---- leases ---- */

const cpt_view *cpt_lease_view(const cpt_lease *l)
{
    return l->view;
}

static void drop(cpt_lease *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->owner->lock);
    bool last = --l->users == 0;
    pthread_mutex_unlock(&l->owner->lock);
    if (!last) return;
    cpt_view_close(l->view);
    free(l);
}

void cpt_lease_return(cpt_lease *l)
{
    drop(l);
}

static cpt_lease *open_lease(cpt_hosted *h, const cpt_context *ctx, cpt_err *e)
{
    cpt_lease *l = calloc(1, sizeof *l);
    if (!l) {
        e->code = CPT_ERR_MEMORY;
        snprintf(e->text, sizeof e->text, "out of memory");
        return NULL;
    }
    l->owner = h;
    l->users = 1;
    if (cpt_view_open(h->folder, ctx, &l->view, e) == CPT_OK) return l;
    free(l);
    return NULL;
}

static double seconds_between(struct timespec a, struct timespec b)
{
    return (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
}

/* ---- the index ---- */

static void note_progress(void *data, const char *what, double done, double total, const char *note)
{
    cpt_hosted *h = data;
    (void)note;
    pthread_mutex_lock(&h->lock);
    snprintf(h->progress, sizeof h->progress, "%.24s, %.0f %%", what,
             total > 0 ? 100 * done / total : 0);
    pthread_mutex_unlock(&h->lock);
}

static void tell(const cpt_hosted *h, cpt_log_level level, const char *fmt, const char *text)
{
    char line[sizeof(cpt_err) + 512];
    if (!h->ctx.log) return;
    snprintf(line, sizeof line, fmt, h->folder, text);
    h->ctx.log(h->ctx.log_data, level, line);
}

static void *make_index(void *data)
{
    cpt_hosted *h = data;
    cpt_err e;
    cpt_context ctx = h->ctx;
    ctx.stop = &h->stop;
    ctx.progress = note_progress;
    ctx.progress_data = h;
    cpt_status status = cpt_study_index(h->folder, &ctx, &e);
    if (status != CPT_OK && status != CPT_ERR_INTERRUPTED)
        tell(h, CPT_LOG_WARN, "%s is served without its index, some pages stay empty: %s", e.text);
    pthread_mutex_lock(&h->lock);
    h->indexing = false;
    h->looked = (struct timespec){0}; /* the next request looks at once */
    pthread_cond_broadcast(&h->ended);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* Called by the one thread that looks, or before there are others. */
static void begin_index(cpt_hosted *h, const char *generation)
{
    pthread_mutex_lock(&h->lock);
    bool begin = !h->indexing && strcmp(h->tried, generation) != 0;
    if (begin) {
        snprintf(h->tried, sizeof h->tried, "%s", generation);
        snprintf(h->progress, sizeof h->progress, "the index");
        h->indexing = true;
    }
    pthread_mutex_unlock(&h->lock);
    if (!begin) return;
    if (h->indexer_exists) pthread_join(h->indexer, NULL); /* it has ended */
    h->indexer_exists = pthread_create(&h->indexer, NULL, make_index, h) == 0;
    if (h->indexer_exists) return;
    pthread_mutex_lock(&h->lock);
    h->indexing = false;
    pthread_mutex_unlock(&h->lock);
}

/* True when it has ended. */
static bool wait_for_index(cpt_hosted *h, int milliseconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
    until.tv_sec += milliseconds / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&h->lock);
    while (h->indexing && pthread_cond_timedwait(&h->ended, &h->lock, &until) == 0) continue;
    bool ended = !h->indexing;
    pthread_mutex_unlock(&h->lock);
    return ended;
}

/* ---- changes ---- */

/* Looks at the study and exchanges the view when its results are others. One thread at a time. */
static void look(cpt_hosted *h, cpt_lease *now, const cpt_context *ctx, cpt_err *e)
{
    char generation[33], running[32] = "";
    cpt_lease *fresh = NULL;
    bool known = cpt_study_generation(h->folder, generation, running, e) == CPT_OK;
    if (!now || (known && !*running && strcmp(generation, cpt_view_generation(now->view)) != 0))
        fresh = open_lease(h, ctx, e);
    if (fresh && !*running && !cpt_view_indexed(fresh->view))
        begin_index(h, cpt_view_generation(fresh->view));
    pthread_mutex_lock(&h->lock);
    snprintf(h->running, sizeof h->running, "%s", running);
    cpt_lease *old = NULL;
    if (fresh) {
        old = h->current;
        h->current = fresh;
    }
    h->looking = false;
    pthread_mutex_unlock(&h->lock);
    drop(old);
}

cpt_lease *cpt_hosted_lease(cpt_hosted *h, const cpt_context *ctx, cpt_err *e)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    pthread_mutex_lock(&h->lock);
    bool mine = !h->looking && (!h->current || seconds_between(h->looked, t) > 1);
    cpt_lease *l = h->current;
    if (l) l->users++;
    if (mine) {
        h->looking = true;
        h->looked = t;
    }
    pthread_mutex_unlock(&h->lock);
    if (!mine) return l;
    look(h, l, ctx, e);
    pthread_mutex_lock(&h->lock);
    cpt_lease *current = h->current;
    if (current) current->users++;
    pthread_mutex_unlock(&h->lock);
    drop(l);
    return current;
}

void cpt_hosted_running(cpt_hosted *h, char running[32], bool *indexing)
{
    pthread_mutex_lock(&h->lock);
    *indexing = h->indexing;
    snprintf(running, 32, "%s", h->indexing ? h->progress : h->running);
    pthread_mutex_unlock(&h->lock);
}

/* ---- making ---- */

cpt_status cpt_hosted_new(const char *folder, cpt_hosted *const *others, size_t n_others,
                          const cpt_context *ctx, cpt_hosted **out, cpt_err *e)
{
    cpt_hosted *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h || !(h->folder = strdup(folder)) || !(h->id = make_id(folder, others, n_others)) ||
        !(h->desk = cpt_desk_new(folder))) {
        e->code = CPT_ERR_MEMORY;
        snprintf(e->text, sizeof e->text, "out of memory");
        if (h) free(h->folder);
        if (h) free(h->id);
        free(h);
        return CPT_ERR_MEMORY;
    }
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->ended, NULL);
    h->ctx = *ctx;
    look(h, NULL, ctx, e);
    clock_gettime(CLOCK_MONOTONIC, &h->looked);
    if (!h->current) {
        cpt_status status = e->code;
        cpt_hosted_free(h);
        return status;
    }
    if (!cpt_view_indexed(h->current->view) && wait_for_index(h, PATIENCE_MS))
        look(h, h->current, ctx, e);
    *out = h;
    return CPT_OK;
}

void cpt_hosted_free(cpt_hosted *h)
{
    if (!h) return;
    h->stop = 1;
    if (h->indexer_exists) pthread_join(h->indexer, NULL);
    pthread_cond_destroy(&h->ended);
    cpt_desk_free(h->desk);
    drop(h->current);
    pthread_mutex_destroy(&h->lock);
    free(h->folder);
    free(h->id);
    free(h);
}

const char *cpt_hosted_id(const cpt_hosted *h)
{
    return h->id;
}

const char *cpt_hosted_folder(const cpt_hosted *h)
{
    return h->folder;
}

cpt_desk *cpt_hosted_desk(cpt_hosted *h)
{
    return h->desk;
}
