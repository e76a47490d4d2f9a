/* json_text.h - JSON written as text, in order, without a tree: for tables that go out over a wire.
 */
#ifndef CPT_BASE_JSON_TEXT_H
#define CPT_BASE_JSON_TEXT_H

#include "base/text.h"

/* Zero-initialise. Commas are set by themselves. Failures are remembered; _take reports them. */
typedef struct cpt_jot {
    cpt_text text;
    bool comma; /* the next value or key needs one before it */
} cpt_jot;

void cpt_jot_open(cpt_jot *j, char bracket);  /* '{' or '[' */
void cpt_jot_close(cpt_jot *j, char bracket); /* '}' or ']' */
void cpt_jot_key(cpt_jot *j, const char *key);
void cpt_jot_text(cpt_jot *j, const char *s); /* NULL = null; invalid UTF-8 becomes U+FFFD */
void cpt_jot_number(cpt_jot *j, double x);    /* null when not finite; 7 significant digits */
void cpt_jot_exact(cpt_jot *j, double x);     /* the same, all digits */
void cpt_jot_integer(cpt_jot *j, int64_t x);
void cpt_jot_bool(cpt_jot *j, bool x);
void cpt_jot_null(cpt_jot *j);
void cpt_jot_raw(cpt_jot *j, const char *json); /* a value that is JSON already */

/* "key": value */
void cpt_jot_put_text(cpt_jot *j, const char *key, const char *s);
void cpt_jot_put_number(cpt_jot *j, const char *key, double x);
void cpt_jot_put_integer(cpt_jot *j, const char *key, int64_t x);

/* Hands the text over (free() it); frees it and fails when anything failed before. */
cpt_status cpt_jot_take(cpt_jot *j, char **out, cpt_err *e);
void cpt_jot_drop(cpt_jot *j);

#endif
