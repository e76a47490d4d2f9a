/* http.h - requests, answers and routes: what handlers see of HTTP.
 *
 * A handler gets a checked request (Host, Origin, token, sizes) and fills an answer. It calls the
 * public API only, and is called by one thread per connection, many at once. To add routes: a table
 * of cpt_route in a file of its own and one line in routes.c. */
#ifndef CPT_SERVER_HTTP_H
#define CPT_SERVER_HTTP_H

#include "conceptome.h"
#include "server/hosted.h"
#include "server/uri.h"

struct MHD_Connection;

typedef struct cpt_request {
    struct cpt_server *server;
    struct MHD_Connection *connection;
    cpt_uri uri;
    const char *method;        /* "GET" (also for HEAD), "POST" */
    cpt_hosted *study;         /* of {study}; NULL when the route has none */
    const cpt_view *view;      /* of that study, kept alive for the request */
    const struct cpt_route *route; /* that fits its path and method */
    long long numbers[4];      /* of {n}, in order */
    const char *texts[4];      /* of {text}, in order, decoded */
    const unsigned char *body; /* POST; never NULL then */
    size_t body_size;
    const char *body_type; /* Content-Type, or "" */
    cpt_context ctx;       /* stops when the client is gone or the server ends */
} cpt_request;

const char *cpt_request_text(const cpt_request *r, const char *parameter); /* NULL when absent */
/* A whole number; `fallback` when absent or not one. */
long long cpt_request_number(const cpt_request *r, const char *parameter, long long fallback);

typedef enum cpt_cache {
    CPT_CACHE_NONE,      /* no-store: changes at any time */
    CPT_CACHE_GENERATION /* valid for this generation of the study: ETag, If-None-Match */
} cpt_cache;

typedef struct cpt_answer {
    int status;       /* 200 */
    const char *type; /* "application/json" */
    void *bytes;      /* malloc'ed; freed by the server */
    size_t size;
    cpt_cache cache;
    bool table;           /* JSON with rows: ?format=tsv turns it into one */
    const char *download; /* file name without ending for downloads; NULL = "table" */
    char vector_type[8], vector_shape[32], vector_range[128]; /* "" = no such header */
} cpt_answer;

/* Takes the text over; NULL = out of memory. */
void cpt_answer_json(cpt_answer *a, char *json);
/* {"error": text} */
void cpt_answer_error(cpt_answer *a, int status, const char *fmt, ...);
/* By the error's code: 404 for what does not exist (yet), 503 for memory, 500 for the rest. */
void cpt_answer_failure(cpt_answer *a, const cpt_err *e);
/* json when status is CPT_OK, else the failure. */
void cpt_answer_result(cpt_answer *a, cpt_status status, char *json, const cpt_err *e);
void cpt_answer_vector(cpt_answer *a, cpt_status status, cpt_vector *v, const cpt_err *e);

typedef void cpt_handler(const cpt_request *r, cpt_answer *a);
/* One call of the public API about `unit` of `v`: what most routes are. */
typedef cpt_status cpt_json_call(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                                 cpt_err *e);
typedef cpt_status cpt_vector_call(const cpt_request *r, const cpt_view *v, int32_t unit,
                                   cpt_vector *out, cpt_err *e);

typedef struct cpt_route {
    const char *method;  /* "GET" or "POST" */
    const char *pattern; /* "/api/v1/s/{study}/concept/{n}/genes"; {text} = any segment */
    cpt_handler *handle; /* NULL: cpt_route_answer about the study's view and the first {n} */
    cpt_json_call *json; /* or: */
    cpt_vector_call *vector;
    size_t max_body; /* bytes; 0 for GET */
    bool writes;     /* the token is demanded */
    cpt_cache cache; /* GENERATION: answered by 304 without the handler when the client has it */
    bool table;
} cpt_route;

/* Answers by the route's json or vector call. */
void cpt_route_answer(const cpt_request *r, const cpt_view *v, int32_t unit, cpt_answer *a);
int32_t cpt_request_unit(const cpt_request *r); /* the first {n}; too large ones: INT32_MAX */

/* What blind review asks as well, of units whose number the page does not know: handlers_study.c. */
cpt_json_call cpt_ask_genes, cpt_ask_terms, cpt_ask_cells, cpt_ask_composition;
cpt_vector_call cpt_ask_activation;

typedef enum cpt_match { CPT_MATCH, CPT_NO_PATH, CPT_NO_METHOD, CPT_NO_STUDY } cpt_match;
/* Fills route, study, numbers and texts of the request. */
cpt_match cpt_route_find(cpt_request *r);

extern const cpt_route cpt_study_routes[];
extern const size_t cpt_n_study_routes;
extern const cpt_route cpt_notes_routes[]; /* handlers_notes.c */
extern const size_t cpt_n_notes_routes;

#endif
