/* check.h - what every unit test needs beside cmocka: golden folders, visible skips, near-equality. */
#ifndef CPT_TEST_CHECK_H
#define CPT_TEST_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conceptome.h"

/* Folder with the reference data beside the project: $CONCEPTOME_SHARED, or ../shared. NULL when
 * absent. `inner` such as "golden/scvi". The result is static; copy it to keep it. */
static inline const char *shared_path(const char *inner)
{
    static char path[4][1024];
    static int turn;
    const char *root = getenv("CONCEPTOME_SHARED");
    char *p = path[turn++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", root ? root : "../shared", inner);
    return access(p, R_OK) == 0 ? p : NULL;
}

/* First line of a test that needs ../shared: skips visibly where it is not. */
#define NEED_SHARED(variable, inner)                                                               \
    const char *variable = shared_path(inner);                                                     \
    if (!variable) {                                                                               \
        printf("SKIP: %s: ../shared/%s is not here\n", __func__, inner);                           \
        skip();                                                                                    \
    }

/* For a test that runs on several reference sets of one format: the folder it was registered with by
 * ON_FOLDER, else the one in ../shared. */
#define NEED_GOLDEN(variable, inner)                                                               \
    const char *variable = *state ? (const char *)*state : shared_path(inner);                     \
    if (!variable) {                                                                               \
        printf("SKIP: %s: ../shared/%s is not here\n", __func__, inner);                           \
        skip();                                                                                    \
    }
#define ON_FOLDER(test, folder) {#test " (" folder ")", test, NULL, NULL, folder}

/* The call must return CPT_OK; otherwise the error's text is shown. Needs `cpt_err err` in scope. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != CPT_OK) {                                                                    \
            print_error("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, err.text);                   \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

#define assert_near(got, want, tolerance)                                                          \
    do {                                                                                           \
        double g_ = (got), w_ = (want), t_ = (tolerance);                                          \
        if (!(fabs(g_ - w_) <= t_) && !(g_ == w_)) {                                               \
            print_error("%s:%d: %s = %.17g, want %.17g within %g\n", __FILE__, __LINE__, #got, g_, \
                        w_, t_);                                                                   \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

#endif
