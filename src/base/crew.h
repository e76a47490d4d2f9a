/* crew.h - work shared out among threads that are made for it and end with it.
 *
 * For the importer's child process: OpenMP's threads do not survive fork(), and its library waits
 * for them. Elsewhere OpenMP is the way. */
#ifndef CPT_BASE_CREW_H
#define CPT_BASE_CREW_H

#include <stdint.h>

/* `thread` counts from 0; it numbers scratch space, results must not depend on it. */
typedef void cpt_crew_work(void *data, int64_t item, int thread);

enum { CPT_CREW_MOST = 64 };

/* Calls work(data, item, thread) once for each item of 0 .. n - 1, in ascending order of their
 * beginnings, on n_threads threads (at least 1, at most CPT_CREW_MOST) of which the caller is
 * thread 0. Where threads cannot be had, those that are there do the work. */
void cpt_crew(int n_threads, int64_t n, cpt_crew_work *work, void *data);

#endif
