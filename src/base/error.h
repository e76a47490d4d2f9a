/* error.h - making and passing on cpt_err. */
#ifndef CPT_BASE_ERROR_H
#define CPT_BASE_ERROR_H

#include "conceptome.h"

#if defined(__GNUC__)
#define CPT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CPT_PRINTF(fmt, args)
#endif

/* Fills *e (may be NULL) and returns `code`, so that `return cpt_fail(e, ...)` is one line.
 * Bytes that would garble a terminal (control characters from a hostile file) become '?'. */
cpt_status cpt_fail(cpt_err *e, cpt_status code, const char *fmt, ...) CPT_PRINTF(3, 4);

/* Puts "prefix: " before the text of an error that a lower layer has filled; returns its code. */
cpt_status cpt_fail_in(cpt_err *e, const char *fmt, ...) CPT_PRINTF(2, 3);

/* Inside a function with `cpt_status status` and a label `done`: leave on the first failure. */
#define CPT_TRY(call)                                                                              \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != CPT_OK) goto done;                                                           \
    } while (0)

#endif
