#include "server/desk.h"
#include "server/http.h"
#include "server/server.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The routes of ui/src/api.ts that read a study: each turns a request into one call of the public
 * API. Most are that call and nothing else (cpt_json_call, cpt_vector_call in http.h). */

enum { ROUTE_BODY = 64 << 20 };

/* ---- the server ---- */

/* Fields of StudyHead out of the study's own JSON. */
static json_t *study_head(const cpt_hosted *h, const cpt_view *v)
{
    static const char *const fields[] = {"name",  "cells",      "genes",     "concepts",
                                         "model", "dictionary", "generation"};
    char *text = NULL;
    cpt_err e;
    if (cpt_view_study(v, &text, &e) != CPT_OK) return NULL;
    json_t *study = json_loads(text, 0, NULL), *head = json_pack("{s:s}", "id", cpt_hosted_id(h));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        json_object_set(head, fields[i], json_object_get(study, fields[i]));
    json_decref(study);
    free(text);
    return head;
}

static void info(const cpt_request *r, cpt_answer *a)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->server->n_studies; i++) {
        cpt_err e;
        cpt_lease *lease = cpt_hosted_lease(r->server->studies[i], &r->ctx, &e);
        json_t *head = lease ? study_head(r->server->studies[i], cpt_lease_view(lease)) : NULL;
        if (head) json_array_append_new(list, head);
        cpt_lease_return(lease);
    }
    json_t *root = json_pack("{s:s, s:o}", "version", CPT_VERSION, "studies", list);
    cpt_answer_json(a, json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)));
    json_decref(root);
}

static void state(const cpt_request *r, cpt_answer *a)
{
    char running[32];
    cpt_notes *notes;
    cpt_err e;
    int64_t revision = 0;
    bool indexing;
    cpt_hosted_running(r->study, running, &indexing);
    /* Notes that cannot be opened say so where they are asked for; the page must go on. */
    if (cpt_desk_notes(cpt_hosted_desk(r->study), cpt_view_generation(r->view), &r->ctx, &notes,
                       &e) == CPT_OK)
        cpt_notes_revision(notes, &revision, &e);
    json_t *root =
        json_pack("{s:s, s:I, s:o, s:b}", "generation", cpt_view_generation(r->view),
                  "notes_revision", (json_int_t)revision, "running",
                  *running ? json_string(running) : json_null(), "indexing", (int)indexing);
    cpt_answer_json(a, json_dumps(root, JSON_COMPACT));
    json_decref(root);
}

static void study(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    char *json = NULL;
    if (cpt_view_study(r->view, &json, &e) != CPT_OK) {
        cpt_answer_failure(a, &e);
        return;
    }
    /* The id is the server's, the rest the study's. */
    const char *id = cpt_hosted_id(r->study);
    size_t n = strlen(json) + strlen(id) + 16;
    char *with_id = malloc(n);
    if (with_id) snprintf(with_id, n, "{\"id\":\"%s\",%s", id, json + 1);
    free(json);
    cpt_answer_json(a, with_id);
}

/* ---- concepts ---- */

static cpt_status concepts(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                           cpt_err *e)
{
    return cpt_view_concepts(v, json, e);
}

static cpt_status concept(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                          cpt_err *e)
{
    return cpt_view_concept(v, unit, json, e);
}

cpt_status cpt_ask_genes(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                         cpt_err *e)
{
    const cpt_gene_query q = {.order = cpt_request_text(r, "order"),
                              .text = cpt_request_text(r, "q"),
                              .limit = cpt_request_number(r, "limit", 0),
                              .offset = cpt_request_number(r, "offset", 0)};
    return cpt_view_genes(v, unit, &q, json, e);
}

cpt_status cpt_ask_terms(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                         cpt_err *e)
{
    const cpt_term_query q = {.ranking = cpt_request_text(r, "ranking"),
                              .method = cpt_request_text(r, "method"),
                              .collection = cpt_request_text(r, "collection"),
                              .all = cpt_request_number(r, "all", 0) != 0};
    return cpt_view_terms(v, unit, &q, json, e);
}

static void running(const cpt_request *r, cpt_answer *a)
{
    cpt_err e;
    char *json = NULL;
    const char *term = cpt_request_text(r, "term");
    if (!term) {
        cpt_answer_error(a, 400, "the parameter 'term' is missing");
        return;
    }
    cpt_status status = cpt_view_running(r->view, cpt_request_unit(r), term,
                                         cpt_request_text(r, "ranking"), &json, &e);
    cpt_answer_result(a, status, json, &e);
}

cpt_status cpt_ask_cells(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                         cpt_err *e)
{
    return cpt_view_cells(v, unit, cpt_request_text(r, "band"), cpt_request_number(r, "limit", 0), json,
                          e);
}

cpt_status cpt_ask_composition(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                               cpt_err *e)
{
    return cpt_view_composition(v, unit, cpt_request_text(r, "column"), json, e);
}

static cpt_status similar(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                          cpt_err *e)
{
    return cpt_view_similar(v, unit, json, e);
}

static cpt_status trust(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                        cpt_err *e)
{
    return cpt_view_trust(v, unit, json, e);
}

/* ---- cells, genes, terms ---- */

static cpt_status cell(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                       cpt_err *e)
{
    return cpt_view_cell(v, r->numbers[0], json, e);
}

static cpt_status gene(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                       cpt_err *e)
{
    return cpt_view_gene(v, unit, json, e);
}

static cpt_status term(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                       cpt_err *e)
{
    return cpt_view_term(v, r->texts[0], json, e);
}

static cpt_status search(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                         cpt_err *e)
{
    const char *text = cpt_request_text(r, "q");
    return cpt_view_search(v, text ? text : "", cpt_request_number(r, "limit", 0), json, e);
}

static cpt_status comparison(const cpt_request *r, const cpt_view *v, int32_t unit, char **json,
                             cpt_err *e)
{
    return cpt_view_comparison(v, r->texts[0], json, e);
}

/* "study:12" -> the study's lease and the concept; NULL when it is not that. */
static cpt_lease *side(const cpt_request *r, const char *parameter, int32_t *number, cpt_answer *a)
{
    const char *text = cpt_request_text(r, parameter), *colon = text ? strrchr(text, ':') : NULL;
    char id[128];
    long long x;
    cpt_err e;
    if (!colon || (size_t)(colon - text) >= sizeof id || !cpt_uri_number(colon + 1, &x)) {
        cpt_answer_error(a, 400, "parameter '%s' must be STUDY:CONCEPT", parameter);
        return NULL;
    }
    snprintf(id, sizeof id, "%.*s", (int)(colon - text), text);
    cpt_hosted *h = cpt_server_study(r->server, id);
    if (!h) {
        cpt_answer_error(a, 404, "there is no study '%s' here", id);
        return NULL;
    }
    *number = x > INT32_MAX ? INT32_MAX : (int32_t)x;
    cpt_lease *lease = cpt_hosted_lease(h, &r->ctx, &e);
    if (!lease) cpt_answer_failure(a, &e);
    return lease;
}

static void compare(const cpt_request *r, cpt_answer *answer)
{
    int32_t a = 0, b = 0;
    cpt_err e;
    char *json = NULL;
    cpt_lease *left = side(r, "a", &a, answer), *right = left ? side(r, "b", &b, answer) : NULL;
    if (left && right) {
        cpt_status status =
            cpt_view_pair(cpt_lease_view(left), a, cpt_lease_view(right), b, &json, &e);
        cpt_answer_result(answer, status, json, &e);
    }
    cpt_lease_return(left);
    cpt_lease_return(right);
}

/* A concept of one study on the cells of another, a = any concept of that. */
static void compare_activation(const cpt_request *r, cpt_answer *answer)
{
    int32_t a = 0, b = 0;
    cpt_err e;
    cpt_vector v;
    cpt_lease *left = side(r, "a", &a, answer), *right = left ? side(r, "b", &b, answer) : NULL;
    if (left && right)
        cpt_answer_vector(
            answer,
            cpt_view_activation_on(cpt_lease_view(left), cpt_lease_view(right), b, &v, &e), &v, &e);
    cpt_lease_return(left);
    cpt_lease_return(right);
}

/* ---- vectors ---- */

static cpt_status vec_umap(const cpt_request *r, const cpt_view *v, int32_t unit,
                           cpt_vector *out, cpt_err *e)
{
    return cpt_view_umap(v, out, e);
}

static cpt_status vec_concept_map(const cpt_request *r, const cpt_view *v, int32_t unit,
                                  cpt_vector *out, cpt_err *e)
{
    return cpt_view_concept_map(v, out, e);
}

cpt_status cpt_ask_activation(const cpt_request *r, const cpt_view *v, int32_t unit,
                              cpt_vector *out, cpt_err *e)
{
    return cpt_view_activation(v, unit, out, e);
}

static cpt_status vec_gene(const cpt_request *r, const cpt_view *v, int32_t unit,
                           cpt_vector *out, cpt_err *e)
{
    return cpt_view_expression(v, unit, out, e);
}

static cpt_status vec_neuron(const cpt_request *r, const cpt_view *v, int32_t unit,
                             cpt_vector *out, cpt_err *e)
{
    return cpt_view_neuron(v, unit, out, e);
}

static cpt_status vec_column(const cpt_request *r, const cpt_view *v, int32_t unit,
                             cpt_vector *out, cpt_err *e)
{
    return cpt_view_column(v, r->texts[0], out, e);
}

/* ---- selections ---- */

/* u32 n_a, a[n_a], u32 n_b, b[n_b], little-endian. The arrays are borrowed from the body, which
 * malloc aligned and whose parts are all 4 bytes. */
static bool read_selection(const cpt_request *r, cpt_selection *s, cpt_answer *a)
{
    const uint32_t *words = (const uint32_t *)(const void *)r->body;
    size_t n = r->body_size / 4;
    if (r->body_size % 4 == 0 && n >= 2 && words[0] <= n - 2 &&
        words[1 + words[0]] == n - 2 - words[0]) {
        *s = (cpt_selection){
            .a = words + 1, .b = words + 2 + words[0], .n_a = words[0], .n_b = words[1 + words[0]]};
        return true;
    }
    cpt_answer_error(a, 400,
                     "the body must be u32 n_a, a[n_a], n_b, b[n_b]; its %zu bytes do not fit that",
                     r->body_size);
    return false;
}

static void selection(const cpt_request *r, cpt_answer *a,
                      cpt_status (*compute)(const cpt_view *, const cpt_selection *,
                                            const cpt_context *, char **, cpt_err *))
{
    cpt_err e;
    cpt_selection s;
    char *json = NULL;
    if (!read_selection(r, &s, a)) return;
    cpt_status status = compute(r->view, &s, &r->ctx, &json, &e);
    if (status == CPT_ERR_USAGE) cpt_answer_error(a, 400, "%s", e.text);
    else cpt_answer_result(a, status, json, &e);
}

static void selection_concepts(const cpt_request *r, cpt_answer *a)
{
    selection(r, a, cpt_view_selection_concepts);
}

static void selection_genes(const cpt_request *r, cpt_answer *a)
{
    selection(r, a, cpt_view_selection_genes);
}

#define S "/api/v1/s/{study}"
#define JSON(path, call)                                                                           \
    {                                                                                              \
        .method = "GET", .pattern = path, .json = call, .cache = CPT_CACHE_GENERATION              \
    }
#define TABLE(path, call)                                                                          \
    {                                                                                              \
        .method = "GET", .pattern = path, .json = call, .cache = CPT_CACHE_GENERATION,             \
        .table = true                                                                              \
    }
#define VECTOR(path, call)                                                                         \
    {                                                                                              \
        .method = "GET", .pattern = path, .vector = call, .cache = CPT_CACHE_GENERATION            \
    }
#define SELECTION(path, handler)                                                                   \
    {                                                                                              \
        .method = "POST", .pattern = path, .handle = handler, .max_body = ROUTE_BODY,              \
        .table = true                                                                              \
    }
const cpt_route cpt_study_routes[] = {
    {.method = "GET", .pattern = "/api/v1/info", .handle = info},
    {.method = "GET", .pattern = S "/state", .handle = state},
    {.method = "GET", .pattern = S "/study", .handle = study, .cache = CPT_CACHE_GENERATION},
    TABLE(S "/concepts", concepts),
    JSON(S "/concept/{n}", concept),
    TABLE(S "/concept/{n}/genes", cpt_ask_genes),
    TABLE(S "/concept/{n}/terms", cpt_ask_terms),
    {.method = "GET",
     .pattern = S "/concept/{n}/running",
     .handle = running,
     .cache = CPT_CACHE_GENERATION},
    TABLE(S "/concept/{n}/cells", cpt_ask_cells),
    TABLE(S "/concept/{n}/composition", cpt_ask_composition),
    TABLE(S "/concept/{n}/similar", similar),
    JSON(S "/concept/{n}/trust", trust),
    TABLE(S "/cell/{n}", cell),
    TABLE(S "/gene/{n}", gene),
    TABLE(S "/term/{text}", term),
    TABLE(S "/search", search),
    TABLE(S "/comparison/{text}", comparison),
    VECTOR(S "/vec/umap", vec_umap),
    VECTOR(S "/vec/conceptmap", vec_concept_map),
    VECTOR(S "/vec/activation/{n}", cpt_ask_activation),
    VECTOR(S "/vec/gene/{n}", vec_gene),
    VECTOR(S "/vec/column/{text}", vec_column),
    VECTOR(S "/vec/neuron/{n}", vec_neuron),
    SELECTION(S "/selection/concepts", selection_concepts),
    SELECTION(S "/selection/genes", selection_genes),
    {.method = "GET", .pattern = "/api/v1/compare", .handle = compare, .table = true},
    {.method = "GET", .pattern = "/api/v1/compare/activation", .handle = compare_activation},
};
#undef JSON
#undef TABLE
#undef VECTOR
#undef SELECTION
#undef S
const size_t cpt_n_study_routes = sizeof cpt_study_routes / sizeof *cpt_study_routes;
