/* pickle.h - runs Python pickles (protocols 2 to 5) on an inert machine: values come out, and
 * nothing is ever imported, looked up or called.
 *
 * What a pickle wants to call is only a name here. Names whose meaning is known are turned into
 * values by the reader's hooks; all others become CPT_VALUE_OPAQUE, which keeps the name, the
 * arguments and the state for whoever cares to look.
 */
#ifndef CPT_IO_PICKLE_H
#define CPT_IO_PICKLE_H

#include "io/value.h"

typedef struct cpt_pickle cpt_pickle;
struct cpt_pickle {
    const char *path, *place; /* for errors: the file, and the entry inside of it or "" */
    const unsigned char *bytes;
    size_t size;
    cpt_arena *arena; /* of the values; its limit bounds the memory of all of them */
    void *data;       /* the reader's */

    /* All may be NULL. `*out` stays NULL when the name is not one of the reader's. */
    cpt_status (*call)(cpt_pickle *p, const cpt_value *name, const cpt_value *arguments,
                       cpt_value **out, cpt_err *e);
    /* *taken = false when the object is not one of the reader's. */
    cpt_status (*build)(cpt_pickle *p, cpt_value *object, cpt_value *state, bool *taken,
                        cpt_err *e);
    cpt_status (*persistent)(cpt_pickle *p, const cpt_value *id, cpt_value **out, cpt_err *e);

    size_t at; /* byte of the current opcode */
};

/* `*out` lives in the arena. */
cpt_status cpt_pickle_run(cpt_pickle *p, cpt_value **out, cpt_err *e);

/* CPT_ERR_FORMAT (or CPT_ERR_UNSUPPORTED): "FILE: PLACE, byte N: what; next step". */
cpt_status cpt_pickle_fail(const cpt_pickle *p, cpt_err *e, const char *fmt, ...) CPT_PRINTF(3, 4);
cpt_status cpt_pickle_unsupported(const cpt_pickle *p, cpt_err *e, const char *fmt, ...)
    CPT_PRINTF(3, 4);
cpt_status cpt_pickle_memory(const cpt_pickle *p, cpt_err *e);

#endif
