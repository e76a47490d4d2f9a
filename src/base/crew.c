/* See crew.h. Items are handed out by one atomic counter; a thread costs some 20 microseconds, so
 * calls are worth it from about a millisecond of work. Trap: the address space of a child may be
 * limited, so stacks are small and a thread that cannot be made is no error. */
#include "base/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { STACK_BYTES = 1 << 20 };

typedef struct crew {
    cpt_crew_work *work;
    void *data;
    int64_t n;
    _Atomic int64_t next;
} crew;

typedef struct member {
    crew *crew;
    int number;
} member;

static void *toil(void *argument)
{
    const member *m = argument;
    crew *c = m->crew;
    for (int64_t item; (item = atomic_fetch_add(&c->next, 1)) < c->n;)
        c->work(c->data, item, m->number);
    return NULL;
}

void cpt_crew(int n_threads, int64_t n, cpt_crew_work *work, void *data)
{
    crew c = {.work = work, .data = data, .n = n};
    member members[CPT_CREW_MOST] = {{&c, 0}};
    pthread_t threads[CPT_CREW_MOST];
    pthread_attr_t attributes;
    if (n_threads > CPT_CREW_MOST) n_threads = CPT_CREW_MOST;
    if (n_threads > n) n_threads = (int)n;
    int made = 1;
    bool ready = n_threads > 1 && pthread_attr_init(&attributes) == 0;
    if (ready) pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (; ready && made < n_threads; made++) {
        members[made] = (member){&c, made};
        if (pthread_create(&threads[made], &attributes, toil, &members[made]) != 0) break;
    }
    toil(&members[0]);
    for (int i = 1; i < made; i++) pthread_join(threads[i], NULL);
    if (ready) pthread_attr_destroy(&attributes);
}
