/* uri.h - the target of a request: path segments and parameters, decoded and checked. */
#ifndef CPT_SERVER_URI_H
#define CPT_SERVER_URI_H

#include <stdbool.h>
#include <stddef.h>

enum { CPT_URI_MAX_BYTES = 8192, CPT_URI_MAX_SEGMENTS = 12, CPT_URI_MAX_PARAMETERS = 24 };

typedef struct cpt_uri {
    char *text; /* owns everything below */
    const char *segments[CPT_URI_MAX_SEGMENTS];
    int n_segments; /* "/" has none; a trailing slash does not count */
    struct {
        const char *name, *value;
    } parameters[CPT_URI_MAX_PARAMETERS];
    int n_parameters;
} cpt_uri;

/* raw: "/a/b%20c?x=1&y=%E2%82%AC" as it stands in the request line. 0, or an HTTP status: 400 for
 * bad escapes, control characters, bytes that are not UTF-8, segments "." and ".." and too many
 * parts; 414 for more than CPT_URI_MAX_BYTES; 500 out of memory. Empty afterwards unless 0. */
int cpt_uri_parse(const char *raw, size_t n, cpt_uri *out);
/* NULL when absent; the first one when given twice. */
const char *cpt_uri_parameter(const cpt_uri *u, const char *name);
void cpt_uri_free(cpt_uri *u); /* accepts a zeroed one */

/* A decimal number of at most 18 digits, nothing else. */
bool cpt_uri_number(const char *text, long long *out);

#endif
