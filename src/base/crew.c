/* See crew.h. Items are handed out by one atomic counter; a thread costs some 20 microseconds, so
 * calls are worth it from about a millisecond of work.
 *
 * The caller waits for the items, not for the threads: on a busy machine a thread may get its turn
 * only when all is done, and whoever joined it would sleep for milliseconds, at every call. So
 * threads are detached, and what they look at is freed by whoever leaves last.
 * Trap: the address space of a child may be limited, so stacks are small and a thread that cannot
 * be made is no error. */
#include "base/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

enum { STACK_BYTES = 1 << 20 };

typedef struct crew {
    cpt_crew_work *work;
    void *data; /* not to be touched without an item */
    int64_t n;
    _Atomic int64_t next, done;
    _Atomic int users, members; /* who may still look at this; numbers given out to threads */
    pthread_mutex_t lock;
    pthread_cond_t all_done;
} crew;

static void leave(crew *c)
{
    if (atomic_fetch_sub(&c->users, 1) > 1) return;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->all_done);
    free(c);
}

static void toil(crew *c, int number)
{
    for (int64_t item; (item = atomic_fetch_add(&c->next, 1)) < c->n;) {
        c->work(c->data, item, number);
        if (atomic_fetch_add(&c->done, 1) + 1 < c->n) continue;
        pthread_mutex_lock(&c->lock);
        pthread_cond_signal(&c->all_done);
        pthread_mutex_unlock(&c->lock);
    }
}

static void *hand(void *argument)
{
    crew *c = argument;
    toil(c, 1 + atomic_fetch_add(&c->members, 1));
    leave(c);
    return NULL;
}

/* Threads that cannot be made are done without. */
static void hire(crew *c, int n)
{
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (bool made = true; made && n > 0; n--) {
        atomic_fetch_add(&c->users, 1);
        made = pthread_create(&thread, &attributes, hand, c) == 0;
        if (!made) atomic_fetch_sub(&c->users, 1);
    }
    pthread_attr_destroy(&attributes);
}

static crew *crew_new(int64_t n, cpt_crew_work *work, void *data)
{
    crew *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->work = work;
    c->data = data;
    c->n = n;
    c->users = 1;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->all_done, NULL);
    return c;
}

void cpt_crew(int n_threads, int64_t n, cpt_crew_work *work, void *data)
{
    if (n_threads > CPT_CREW_MOST) n_threads = CPT_CREW_MOST;
    if (n_threads > n) n_threads = (int)n;
    crew *c = n_threads > 1 ? crew_new(n, work, data) : NULL;
    if (!c) {
        for (int64_t item = 0; item < n; item++) work(data, item, 0);
        return;
    }
    hire(c, n_threads - 1);
    toil(c, 0);
    pthread_mutex_lock(&c->lock);
    while (atomic_load(&c->done) < n) pthread_cond_wait(&c->all_done, &c->lock);
    pthread_mutex_unlock(&c->lock);
    leave(c);
}
