#include "server/http.h"
#include "server/server.h"

#include <string.h>

/* All routes: tables of several files, searched one after the other. There are some forty of them;
 * a linear search costs less than reading the request line. */

static const struct {
    const cpt_route *routes;
    const size_t *n;
} tables[] = {{cpt_study_routes, &cpt_n_study_routes}, {cpt_notes_routes, &cpt_n_notes_routes}};

/* The next segment of a pattern, "" at the end. */
static size_t next_segment(const char **pattern, const char **start)
{
    while (**pattern == '/') ++*pattern;
    *start = *pattern;
    while (**pattern && **pattern != '/') ++*pattern;
    return (size_t)(*pattern - *start);
}

static bool is(const char *start, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(start, word, n) == 0;
}

static bool path_fits(const char *pattern, cpt_request *r, const char **study)
{
    const char *start;
    int n_numbers = 0, n_texts = 0;
    for (int i = 0; i < r->uri.n_segments; i++) {
        const char *segment = r->uri.segments[i];
        size_t n = next_segment(&pattern, &start);
        if (is(start, n, "{study}")) {
            *study = segment;
        } else if (is(start, n, "{n}")) {
            if (n_numbers == 4 || !cpt_uri_number(segment, &r->numbers[n_numbers++])) return false;
        } else if (is(start, n, "{text}")) {
            if (n_texts == 4) return false;
            r->texts[n_texts++] = segment;
        } else if (n == 0 || !is(start, n, segment)) {
            return false;
        }
    }
    return next_segment(&pattern, &start) == 0;
}

cpt_match cpt_route_find(cpt_request *r)
{
    cpt_match found = CPT_NO_PATH;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (size_t i = 0; i < *tables[t].n; i++) {
            const cpt_route *route = &tables[t].routes[i];
            const char *study = NULL;
            if (!path_fits(route->pattern, r, &study)) continue;
            if (strcmp(route->method, r->method) != 0) {
                found = CPT_NO_METHOD;
                continue;
            }
            r->route = route;
            if (!study) return CPT_MATCH;
            r->study = cpt_server_study(r->server, study);
            return r->study ? CPT_MATCH : CPT_NO_STUDY;
        }
    return found;
}

int32_t cpt_request_unit(const cpt_request *r)
{
    return r->numbers[0] > INT32_MAX ? INT32_MAX : (int32_t)r->numbers[0];
}

void cpt_route_answer(const cpt_request *r, const cpt_view *v, int32_t unit, cpt_answer *a)
{
    cpt_err e;
    cpt_vector vector;
    char *json = NULL;
    if (r->route->vector)
        cpt_answer_vector(a, r->route->vector(r, v, unit, &vector, &e), &vector, &e);
    else {
        cpt_status status = r->route->json(r, v, unit, &json, &e);
        cpt_answer_result(a, status, json, &e);
    }
}
