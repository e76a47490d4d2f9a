#include "server/desk.h"
#include "server/http.h"
#include "server/server.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The routes of ui/src/api.ts where experts write: notes and blind review. An answer is given after
 * the commit. What a page sends is checked here for its shape and in the library for its content.
 */

enum { NOTE_BODY = 512 << 10, IMPORT_BODY = 65 << 20 };

static cpt_status open_notes(const cpt_request *r, cpt_notes **n, cpt_err *e)
{
    return cpt_desk_notes(cpt_hosted_desk(r->study), cpt_view_generation(r->view), &r->ctx, n, e);
}

static cpt_notes *need_notes(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    cpt_notes *n;
    if (open_notes(r, &n, &e) == CPT_OK) return n;
    cpt_answer_failure(a, &e);
    return NULL;
}

/* A value that cannot be is the sender's mistake. */
static void answer(cpt_answer *a, cpt_status status, char **json, const cpt_err *e)
{
    if (status == CPT_ERR_USAGE || status == CPT_ERR_FORMAT)
        cpt_answer_error(a, 400, "%s", e->text);
    else cpt_answer_result(a, status, *json, e);
}

/* ---- bodies ---- */

static json_t *read_body(const cpt_request *r, cpt_answer *a)
{
    json_error_t where;
    json_t *body = json_loadb((const char *)r->body, r->body_size, JSON_REJECT_DUPLICATES, &where);
    if (json_is_object(body)) return body;
    json_decref(body);
    cpt_answer_error(a, 400, "the body must be a JSON object%s%s", body ? "" : ": ",
                     body ? "" : where.text);
    return NULL;
}

/* A text field; NULL with the answer filled when it is missing and there is no fallback. */
static const char *text_field(const json_t *body, const char *name, const char *fallback,
                              cpt_answer *a)
{
    const json_t *value = json_object_get(body, name);
    if (json_is_string(value)) return json_string_value(value);
    if (!value && fallback) return fallback;
    cpt_answer_error(a, 400, "'%s' must be a text", name);
    return NULL;
}

static bool number_field(const json_t *body, const char *name, double low, double high,
                         double fallback, double *out, cpt_answer *a)
{
    const json_t *value = json_object_get(body, name);
    *out = json_is_number(value) ? json_number_value(value) : fallback;
    if ((!value || json_is_number(value)) && *out >= low && *out <= high) return true;
    cpt_answer_error(a, 400, "'%s' must be a number from %g to %g", name, low, high);
    return false;
}

/* ---- notes ---- */

static cpt_status list(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                       cpt_err *e)
{
    cpt_notes *n;
    cpt_status status = open_notes(r, &n, e);
    return status ? status : cpt_notes_list(n, cpt_request_text(r, "author"), json, e);
}

static cpt_status keys(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                       cpt_err *e)
{
    cpt_notes *n;
    cpt_status status = open_notes(r, &n, e);
    return status ? status : cpt_notes_keys(n, json, e);
}

static cpt_status history(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                          cpt_err *e)
{
    cpt_notes *n;
    cpt_status status = open_notes(r, &n, e);
    return status ? status : cpt_notes_history(n, cpt_request_text(r, "key"), json, e);
}

static void save(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    char *json = NULL;
    double base;
    bool conflict = false;
    json_t *body = read_body(r, a);
    cpt_note_change c = {0};
    if (body && (c.author = text_field(body, "author", NULL, a)) &&
        (c.key = text_field(body, "key", NULL, a)) &&
        (c.field = text_field(body, "field", NULL, a)) &&
        (c.value = text_field(body, "value", NULL, a)) &&
        number_field(body, "base", -1, 9007199254740992.0, -1, &base, a)) {
        c.base = (int64_t)base;
        cpt_notes *n = need_notes(r, a);
        if (n) answer(a, cpt_notes_save(n, &c, &conflict, &json, &e), &json, &e);
        if (conflict) a->status = 409;
    }
    json_decref(body);
}

static void take_back(const cpt_request *r, cpt_answer *a,
                      cpt_status (*act)(cpt_notes *, const char *, char **, cpt_err *))
{
    cpt_err e;
    char *json = NULL;
    json_t *body = read_body(r, a);
    const char *author = body ? text_field(body, "author", NULL, a) : NULL;
    cpt_notes *n = author ? need_notes(r, a) : NULL;
    if (n) answer(a, act(n, author, &json, &e), &json, &e);
    json_decref(body);
}

static void undo(const cpt_request *r, cpt_answer *a)
{
    take_back(r, a, cpt_notes_undo);
}

static void redo(const cpt_request *r, cpt_answer *a)
{
    take_back(r, a, cpt_notes_redo);
}

/* As TSV what holds now, as JSON everything that was ever said. */
static void export(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    char *json = NULL;
    const char *format = cpt_request_text(r, "format");
    cpt_notes *n = need_notes(r, a);
    if (!n) return;
    bool tsv = format && strcmp(format, "tsv") == 0;
    answer(a, tsv ? cpt_notes_list(n, NULL, &json, &e) : cpt_notes_export(n, &json, &e), &json, &e);
    a->download = "notes";
}

static void import(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    char *json = NULL;
    cpt_notes *n = need_notes(r, a);
    if (n) answer(a, cpt_notes_merge(n, "the file", r->body, r->body_size, &json, &e), &json, &e);
}

/* ---- review ---- */

static cpt_status sessions(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                           cpt_err *e)
{
    cpt_notes *n;
    cpt_status status = open_notes(r, &n, e);
    return status ? status : cpt_review_sessions(n, json, e);
}

static cpt_status agreement(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                            cpt_err *e)
{
    cpt_notes *n;
    cpt_status status = open_notes(r, &n, e);
    return status ? status : cpt_review_agreement(n, json, e);
}

static void begin(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    char *json = NULL;
    double items, seed;
    json_t *body = read_body(r, a);
    const char *author = body ? text_field(body, "author", NULL, a) : NULL;
    if (author && number_field(body, "items", 1, 100000, 50, &items, a) &&
        number_field(body, "seed", 0, 9007199254740992.0, 0, &seed, a)) {
        cpt_notes *n = need_notes(r, a);
        if (n)
            answer(a, cpt_review_start(n, author, (int32_t)items, (uint64_t)seed, &json, &e), &json,
                   &e);
    }
    json_decref(body);
}

/* The view and number of the item named by the path. */
static cpt_lease *evidence(const cpt_request *r, const char *item, int32_t *unit, cpt_answer *a)
{
    cpt_err e;
    cpt_lease *lease = NULL;
    cpt_notes *n = need_notes(r, a);
    if (n && cpt_desk_evidence(cpt_hosted_desk(r->study), r->study, n, r->texts[0], item, &r->ctx,
                               &lease, unit, &e))
        cpt_answer_failure(a, &e);
    return lease;
}

/* Of the header of a unit only what does not tell its kind. */
static void add_header(json_t *next, const cpt_view *v, int32_t unit)
{
    static const char *const shown[] = {"frequency", "active", "usable", "pairs", "histogram"};
    cpt_err e;
    char *json = NULL;
    if (cpt_view_concept(v, unit, &json, &e) != CPT_OK) return;
    json_t *unit_json = json_loads(json, 0, NULL);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        json_object_set(next, shown[i], json_object_get(unit_json, shown[i]));
    json_decref(unit_json);
    free(json);
}

static void next_item(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    char *json = NULL;
    int32_t unit;
    cpt_notes *n = need_notes(r, a);
    if (!n) return;
    if (cpt_review_next(n, r->texts[0], cpt_request_number(r, "after", -1), &json, &e) != CPT_OK) {
        cpt_answer_failure(a, &e);
        return;
    }
    json_t *next = json_loads(json, 0, NULL);
    const char *item = json_string_value(json_object_get(next, "item"));
    cpt_lease *lease = item ? evidence(r, item, &unit, a) : NULL;
    if (lease) add_header(next, cpt_lease_view(lease), unit);
    if (!item || lease) cpt_answer_json(a, json_dumps(next, JSON_COMPACT | JSON_REAL_PRECISION(9)));
    cpt_lease_return(lease);
    json_decref(next);
    free(json);
}

/* The route's call about the unit behind an item. */
static void item(const cpt_request *r, cpt_answer *a)
{
    int32_t unit;
    cpt_lease *lease = evidence(r, r->texts[1], &unit, a);
    if (lease) cpt_route_answer(r, cpt_lease_view(lease), unit, a);
    cpt_lease_return(lease);
}

static void item_header(const cpt_request *r, cpt_answer *a)
{
    int32_t unit;
    cpt_lease *lease = evidence(r, r->texts[1], &unit, a);
    if (!lease) return;
    json_t *header = json_object();
    add_header(header, cpt_lease_view(lease), unit);
    cpt_answer_json(a, json_dumps(header, JSON_COMPACT | JSON_REAL_PRECISION(9)));
    json_decref(header);
    cpt_lease_return(lease);
}

static void reply(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    char *json = NULL;
    double rating, confidence;
    cpt_review_answer said = {0};
    json_t *body = read_body(r, a);
    if (body && number_field(body, "rating", 1, 5, 0, &rating, a) &&
        number_field(body, "confidence", 1, 3, 0, &confidence, a) &&
        number_field(body, "seconds", 0, 366 * 86400.0, 0, &said.seconds, a) &&
        (said.label = text_field(body, "label", "", a)) &&
        (said.note = text_field(body, "note", "", a))) {
        said.rating = rating == (int32_t)rating ? (int32_t)rating : 0; /* 3.5 is none */
        said.confidence = (int32_t)confidence;
        cpt_notes *n = need_notes(r, a);
        if (n)
            answer(a, cpt_review_reply(n, r->texts[0], r->texts[1], &said, &json, &e), &json, &e);
    }
    json_decref(body);
}

#define S "/api/v1/s/{study}"
#define GET(path, call)                                                                            \
    {                                                                                              \
        .method = "GET", .pattern = path, .json = call, .table = true                              \
    }
#define ITEM(path, call)                                                                           \
    {                                                                                              \
        .method = "GET", .pattern = S "/review/{text}/{text}/" path, .handle = item, .json = call, \
        .table = true                                                                              \
    }
#define POST(path, handler, limit)                                                                 \
    {                                                                                              \
        .method = "POST", .pattern = path, .handle = handler, .max_body = limit, .writes = true    \
    }
const cpt_route cpt_notes_routes[] = {
    GET(S "/notes", list),
    {.method = "GET", .pattern = S "/notes/keys", .json = keys},
    GET(S "/notes/history", history),
    {.method = "GET", .pattern = S "/notes/export", .handle = export, .table = true},
    POST(S "/notes", save, NOTE_BODY),
    POST(S "/notes/undo", undo, NOTE_BODY),
    POST(S "/notes/redo", redo, NOTE_BODY),
    POST(S "/notes/import", import, IMPORT_BODY),
    GET(S "/review/sessions", sessions),
    POST(S "/review/sessions", begin, NOTE_BODY),
    GET(S "/review/agreement", agreement),
    {.method = "GET", .pattern = S "/review/{text}/next", .handle = next_item},
    ITEM("genes", cpt_ask_genes),
    ITEM("terms", cpt_ask_terms),
    ITEM("cells", cpt_ask_cells),
    ITEM("composition", cpt_ask_composition),
    {.method = "GET", .pattern = S "/review/{text}/{text}/histogram", .handle = item_header},
    {.method = "GET",
     .pattern = S "/review/{text}/{text}/activation",
     .handle = item,
     .vector = cpt_ask_activation},
    POST(S "/review/{text}/{text}", reply, NOTE_BODY),
};
#undef GET
#undef ITEM
#undef POST
#undef S
const size_t cpt_n_notes_routes = sizeof cpt_notes_routes / sizeof *cpt_notes_routes;
