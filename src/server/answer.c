#include "server/http.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What handlers put into an answer. */

const char *cpt_request_text(const cpt_request *r, const char *parameter)
{
    return cpt_uri_parameter(&r->uri, parameter);
}

long long cpt_request_number(const cpt_request *r, const char *parameter, long long fallback)
{
    long long x;
    const char *text = cpt_uri_parameter(&r->uri, parameter);
    return text && cpt_uri_number(text, &x) ? x : fallback;
}

void cpt_answer_json(cpt_answer *a, char *json)
{
    if (!json) {
        cpt_answer_error(a, 503, "out of memory");
        return;
    }
    free(a->bytes);
    a->status = a->status ? a->status : 200;
    a->type = "application/json";
    a->bytes = json;
    a->size = strlen(json);
}

void cpt_answer_error(cpt_answer *a, int status, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    json_t *object = json_pack("{s:s}", "error", text);
    if (!object)
        object = json_pack("{s:s}", "error", "the reason is not UTF-8"); /* a name out of a file */
    char *json = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    free(a->bytes);
    *a = (cpt_answer){.status = status,
                      .type = "application/json",
                      .bytes = json,
                      .size = json ? strlen(json) : 0};
}

static int status_of(cpt_status code)
{
    switch (code) {
    case CPT_ERR_USAGE:
    case CPT_ERR_DATA: return 404;
    case CPT_ERR_MEMORY:
    case CPT_ERR_LOCKED:
    case CPT_ERR_INTERRUPTED: return 503;
    default: return 500;
    }
}

void cpt_answer_failure(cpt_answer *a, const cpt_err *e)
{
    cpt_answer_error(a, status_of(e->code), "%s", e->text);
}

void cpt_answer_result(cpt_answer *a, cpt_status status, char *json, const cpt_err *e)
{
    if (status == CPT_OK) cpt_answer_json(a, json);
    else cpt_answer_failure(a, e);
}

void cpt_answer_vector(cpt_answer *a, cpt_status status, cpt_vector *v, const cpt_err *e)
{
    if (status != CPT_OK) {
        cpt_answer_failure(a, e);
        return;
    }
    a->status = 200;
    a->type = "application/octet-stream";
    a->bytes = v->bytes;
    a->size = v->size;
    snprintf(a->vector_type, sizeof a->vector_type, "%s", v->type);
    snprintf(a->vector_shape, sizeof a->vector_shape, "%s", v->shape);
    snprintf(a->vector_range, sizeof a->vector_range, "%s", v->range);
    *v = (cpt_vector){0};
}
