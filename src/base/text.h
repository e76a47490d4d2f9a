/* text.h - growing text, lists of strings, and an index from string to number. */
#ifndef CPT_BASE_TEXT_H
#define CPT_BASE_TEXT_H

#include "base/error.h"

/* ---- growing text. Zero-initialise; failures are remembered and reported once by _status. ---- */
typedef struct cpt_text {
    char *bytes; /* NUL-terminated once anything was added; NULL before */
    size_t length, capacity;
    bool failed;
} cpt_text;

void cpt_text_add(cpt_text *t, const char *s);
void cpt_text_add_bytes(cpt_text *t, const char *s, size_t n);
void cpt_text_addf(cpt_text *t, const char *fmt, ...) CPT_PRINTF(2, 3);
/* Escapes & < > " ' for HTML and SVG text and attributes; invalid UTF-8 becomes U+FFFD. */
void cpt_text_add_html(cpt_text *t, const char *s);
const char *cpt_text_str(const cpt_text *t); /* "" when empty */
cpt_status cpt_text_status(const cpt_text *t, cpt_err *e);
void cpt_text_free(cpt_text *t);

/* ---- an immutable-once-built list of strings: one blob, one offset per string ---- */
typedef struct cpt_strings {
    char *blob;       /* strings one after the other, each NUL-terminated */
    int64_t *offsets; /* [n] start of string i in blob */
    int64_t n;
    size_t blob_length, blob_capacity, n_capacity;
} cpt_strings;

cpt_status cpt_strings_add(cpt_strings *s, const char *text, size_t length, cpt_err *e);
static inline const char *cpt_strings_get(const cpt_strings *s, int64_t i)
{
    return s->blob + s->offsets[i];
}
void cpt_strings_free(cpt_strings *s);

/* ---- hash index: string -> first number it was added with. Copies no strings: borrows them. ---- */
typedef struct cpt_index cpt_index;
cpt_index *cpt_index_new(size_t expected, cpt_err *e);
/* Returns CPT_OK. When the key is there already, nothing changes and *existing (may be NULL) gets
 * its value; otherwise *existing = value. The key must outlive the index. */
cpt_status cpt_index_add(cpt_index *ix, const char *key, int64_t value, int64_t *existing, cpt_err *e);
int64_t cpt_index_get(const cpt_index *ix, const char *key); /* -1 when absent */
int64_t cpt_index_get_n(const cpt_index *ix, const char *key, size_t length);
size_t cpt_index_size(const cpt_index *ix);
void cpt_index_free(cpt_index *ix);

/* ---- small helpers ---- */
bool cpt_utf8_valid(const char *s, size_t n);
bool cpt_parse_i64(const char *s, int64_t *out);   /* whole string, decimal */
bool cpt_parse_double(const char *s, double *out); /* whole string, finite or not; C locale digits */
/* The shortest text that reads back as the same number: 0.05 gives "0.05". */
void cpt_format_number(double x, char text[64]);
/* Best suggestion for a mistyped word among `n` candidates; NULL when none is near (edit distance). */
const char *cpt_nearest_word(const char *word, const char *const *candidates, size_t n);

#endif
