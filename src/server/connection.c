#include "server/connection.h"
#include "server/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <zlib.h>

/* One request. Before a handler runs: URI and headers within their limits, Host and Origin ours,
 * method and route known, the token where something is written, the body within the route's limit.
 * After it: ETag, Range, gzip, and the headers that keep a browser from doing more than it should.
 */

typedef struct exchange {
    cpt_request request;
    cpt_lease *lease;
    int uri_status; /* 0 or the status that cpt_uri_parse gave */
    bool begun;     /* headers have been looked at */
    unsigned char *body;
    size_t body_size, body_capacity;
    cpt_answer early; /* decided before the body was read */
    bool have_early;
    int stop;
} exchange;

static const char CSP[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "
    "data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";
enum { GZIP_FROM = 1024, GZIP_LEVEL = 1, BODY_FIRST = 64 << 10 };

/* ---- beginning and end ---- */

void *cpt_connection_begin(void *server, const char *uri, struct MHD_Connection *c)
{
    exchange *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->request.server = server;
    x->request.connection = c;
    x->uri_status = cpt_uri_parse(uri, strlen(uri), &x->request.uri);
    return x;
}

size_t cpt_connection_unescape(void *data, struct MHD_Connection *c, char *text)
{
    (void)data, (void)c;
    return strlen(text);
}

void cpt_connection_end(void *data, struct MHD_Connection *c, void **state,
                        enum MHD_RequestTerminationCode why)
{
    exchange *x = *state;
    (void)data, (void)c, (void)why;
    *state = NULL;
    if (!x) return;
    cpt_lease_return(x->lease);
    cpt_uri_free(&x->request.uri);
    free(x->body);
    free(x->early.bytes);
    free(x);
}

/* ---- stopping work for a client that is gone ---- */

static bool client_is_gone(struct MHD_Connection *c)
{
    char byte;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info) return false;
    ssize_t n = recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static void watch(void *data, const char *what, double done, double total, const char *note)
{
    exchange *x = data;
    (void)what, (void)done, (void)total, (void)note;
    if (x->request.server->stopping || client_is_gone(x->request.connection)) x->stop = 1;
}

/* ---- headers of the request ---- */

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static enum MHD_Result add_size(void *data, enum MHD_ValueKind kind, const char *name,
                                const char *value)
{
    size_t *n = data;
    (void)kind;
    *n += strlen(name) + (value ? strlen(value) : 0) + 4;
    return MHD_YES;
}

/* "gzip;q=0" is a no. */
static bool accepts_gzip(struct MHD_Connection *c)
{
    const char *list = header(c, MHD_HTTP_HEADER_ACCEPT_ENCODING),
               *at = list ? strstr(list, "gzip") : NULL;
    if (!at) return false;
    at += strspn(at + 4, " ") + 4;
    if (*at != ';') return true;
    const char *q = strstr(at, "q=");
    return !q || strtod(q + 2, NULL) > 0;
}

static bool has_etag(const char *list, const char *etag)
{
    if (!list) return false;
    if (strcmp(list, "*") == 0) return true;
    return strstr(list, etag) != NULL; /* quoted, so that no part of another fits */
}

/* ---- sending ---- */

static void put_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (value && *value) MHD_add_response_header(response, name, value);
}

/* 0 = the whole; 206 with [*first, *last]; 416. One range only: several are answered with the
 * whole. */
static int read_range(const char *text, size_t size, size_t *first, size_t *last)
{
    char *end;
    if (!text || strncmp(text, "bytes=", 6) != 0 || strchr(text, ',')) return 0;
    text += 6;
    if (*text == '-') {
        unsigned long long n = strtoull(text + 1, &end, 10);
        if (end == text + 1 || *end || text[1] == '-' || text[1] == '+') return 0;
        if (n == 0 || size == 0) return 416;
        *first = n >= size ? 0 : size - (size_t)n;
        *last = size - 1;
        return 206;
    }
    if (*text < '0' || *text > '9') return 0;
    unsigned long long a = strtoull(text, &end, 10), b = size - 1;
    if (*end++ != '-') return 0;
    if (*end) {
        if (*end < '0' || *end > '9') return 0;
        b = strtoull(end, &end, 10);
        if (*end || b < a) return 0;
    }
    if (a >= size) return 416;
    *first = (size_t)a;
    *last = b >= size ? size - 1 : (size_t)b;
    return 206;
}

/* NULL when it did not work or did not pay. */
static void *compress_bytes(const void *bytes, size_t n, int level, size_t *size)
{
    z_stream z = {0};
    if (n > UINT32_MAX / 2 ||
        deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return NULL;
    size_t bound = deflateBound(&z, (uLong)n) + 32;
    void *out = malloc(bound);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)bound;
    bool good = out && deflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out < n;
    *size = z.total_out;
    deflateEnd(&z);
    if (good) return out;
    free(out);
    return NULL;
}

typedef struct parcel {
    int status;
    void *bytes; /* malloc'ed, handed over; or NULL */
    const void *borrowed;
    size_t size;
    const char *type, *etag, *cache, *encoding, *disposition;
    const cpt_answer *vector; /* for its headers */
    bool ranges, html;
} parcel;

static enum MHD_Result send_parcel(exchange *x, parcel *p)
{
    struct MHD_Connection *c = x->request.connection;
    size_t first = 0, last = p->size ? p->size - 1 : 0;
    char text[96];
    int status = p->status;
    const char *if_range = header(c, MHD_HTTP_HEADER_IF_RANGE);
    if (p->ranges && status == 200 && p->size &&
        (!if_range || (p->etag && strcmp(if_range, p->etag) == 0))) {
        int range = read_range(header(c, MHD_HTTP_HEADER_RANGE), p->size, &first, &last);
        if (range) status = range;
    }
    struct MHD_Response *response;
    if (status == 206 && p->bytes) memmove(p->bytes, (char *)p->bytes + first, last - first + 1);
    size_t n = status == 416 ? 0 : status == 206 ? last - first + 1 : p->size;
    if (p->bytes && n) {
        response = MHD_create_response_from_buffer_with_free_callback(n, p->bytes, free);
        if (response) p->bytes = NULL;
    } else {
        const char *from = p->borrowed ? (const char *)p->borrowed + first : "";
        response =
            MHD_create_response_from_buffer(n, (void *)(uintptr_t)from, MHD_RESPMEM_MUST_COPY);
    }
    free(p->bytes);
    p->bytes = NULL;
    if (!response) return MHD_NO;
    put_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, p->type);
    put_header(response, MHD_HTTP_HEADER_ETAG, p->etag);
    put_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, p->cache);
    put_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, p->encoding);
    put_header(response, MHD_HTTP_HEADER_CONTENT_DISPOSITION, p->disposition);
    put_header(response, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
    put_header(response, "X-Content-Type-Options", "nosniff");
    put_header(response, "Referrer-Policy", "no-referrer");
    put_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    if (p->html) {
        put_header(response, "Content-Security-Policy", CSP);
        put_header(response, "X-Frame-Options", "DENY");
        put_header(response, "Cross-Origin-Opener-Policy", "same-origin");
    }
    if (p->ranges) put_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    if (status == 206) snprintf(text, sizeof text, "bytes %zu-%zu/%zu", first, last, p->size);
    if (status == 416) snprintf(text, sizeof text, "bytes */%zu", p->size);
    if (status == 206 || status == 416) put_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
    if (p->vector) {
        put_header(response, "Cpt-Type", p->vector->vector_type);
        put_header(response, "Cpt-Shape", p->vector->vector_shape);
        put_header(response, "Cpt-Range", p->vector->vector_range);
    }
    if (status == 405) put_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD, POST");
    enum MHD_Result result = MHD_queue_response(c, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

/* "GENERATION" and, for other bytes of the same thing, a letter. */
static void make_etag(const exchange *x, const char *variant, char etag[64])
{
    snprintf(etag, 64, "\"%s%s\"", cpt_view_generation(x->request.view), variant);
}

static bool cached(const exchange *x)
{
    return x->request.route && x->request.route->cache == CPT_CACHE_GENERATION && x->request.view;
}

static enum MHD_Result send_answer(exchange *x, cpt_answer *a)
{
    char etag[64] = "", disposition[160] = "";
    bool good = a->status == 200, vector = a->vector_type[0] != '\0';
    const char *format = cpt_request_text(&x->request, "format");
    if (good && x->request.route && x->request.route->table && format && strcmp(format, "tsv") == 0) {
        char *tsv = cpt_table_tsv(a->bytes, cpt_request_text(&x->request, "table"));
        if (tsv) {
            free(a->bytes);
            a->bytes = tsv;
            a->size = strlen(tsv);
            a->type = "text/tab-separated-values; charset=utf-8";
            snprintf(disposition, sizeof disposition, "attachment; filename=\"%.60s.tsv\"",
                     a->download ? a->download
                                 : x->request.uri.segments[x->request.uri.n_segments - 1]);
            for (char *p = disposition + 22; *p && p[1]; p++)
                if (!strchr(".-_", *p) &&
                    (*p < '0' || (*p > '9' && *p < 'A') || (*p > 'Z' && *p < 'a') || *p > 'z'))
                    *p = '_';
        } else {
            cpt_answer_error(a, 400, "there is no such table in this answer");
            good = false;
        }
    }
    const char *encoding = NULL;
    if (!vector && a->size >= GZIP_FROM && accepts_gzip(x->request.connection)) {
        size_t size;
        void *smaller = compress_bytes(a->bytes, a->size, GZIP_LEVEL, &size);
        if (smaller) {
            free(a->bytes);
            a->bytes = smaller;
            a->size = size;
            encoding = "gzip";
        }
    }
    if (good && cached(x)) make_etag(x, encoding ? "-gz" : "", etag);
    parcel p = {.status = a->status,
                .bytes = a->bytes,
                .size = a->size,
                .type = a->type,
                .etag = etag,
                .cache = *etag ? "private, no-cache" : "no-store",
                .encoding = encoding,
                .disposition = disposition,
                .vector = vector ? a : NULL,
                .ranges = vector};
    a->bytes = NULL;
    return send_parcel(x, &p);
}

static enum MHD_Result send_error(exchange *x, int status, const char *text)
{
    cpt_answer a = {0};
    cpt_answer_error(&a, status, "%s", text);
    return send_answer(x, &a);
}

static enum MHD_Result send_not_modified(exchange *x, const char *etag)
{
    parcel p = {.status = 304, .etag = etag, .cache = "private, no-cache"};
    return send_parcel(x, &p);
}

static enum MHD_Result send_page(exchange *x, bool *found)
{
    cpt_page_file f;
    struct MHD_Connection *c = x->request.connection;
    *found = cpt_page_find(x->request.server, &x->request.uri, accepts_gzip(c), &f);
    if (!*found) return MHD_NO;
    if (f.etag[0] && has_etag(header(c, MHD_HTTP_HEADER_IF_NONE_MATCH), f.etag)) {
        free(f.owned);
        return send_not_modified(x, f.etag);
    }
    parcel p = {.status = 200,
                .bytes = f.owned,
                .borrowed = f.bytes,
                .size = f.size,
                .type = f.type,
                .etag = f.etag,
                .cache = f.html ? "no-store" : "no-cache",
                .encoding = f.gzip ? "gzip" : NULL,
                .ranges = !f.html,
                .html = f.html};
    return send_parcel(x, &p);
}

/* ---- before the handler ---- */

/* What is wrong with the request as such: a status and its text, or 0. */
static int refuse(const exchange *x, const char *method, const char **why)
{
    struct MHD_Connection *c = x->request.connection;
    const char *host = header(c, MHD_HTTP_HEADER_HOST), *origin = header(c, "Origin"),
               *site = header(c, "Sec-Fetch-Site");
    size_t n = 0;
    MHD_get_connection_values(c, MHD_HEADER_KIND, add_size, &n);
    *why = "";
    if (x->uri_status == 414) *why = "the address is longer than 8 KB";
    else if (x->uri_status)
        *why = "the address is not one: a bad escape, a control character, or not UTF-8";
    if (x->uri_status) return x->uri_status;
    if (n > CPT_MAX_HEADER_BYTES) {
        *why = "the headers are longer than 16 KB";
        return 431;
    }
    if (!cpt_guard_host(x->request.server, host)) {
        *why = "this server answers under localhost and its address only (header Host); for "
               "another machine see --listen";
        return 403;
    }
    if (!cpt_guard_origin(host, origin) ||
        (site && strcmp(site, "cross-site") == 0 && strcmp(method, "GET") != 0)) {
        *why = "a page of another origin may not ask this server";
        return 403;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "POST") != 0) {
        *why = "GET, HEAD and POST are served";
        return 405;
    }
    return 0;
}

static int find_route(exchange *x, const char *method, const char **why)
{
    x->request.method = strcmp(method, "HEAD") == 0 ? "GET" : method;
    switch (cpt_route_find(&x->request)) {
    case CPT_NO_PATH:
        *why = "there is nothing at this address; /api/v1/info lists the studies";
        return 404;
    case CPT_NO_METHOD: *why = "this address is not served by that method"; return 405;
    case CPT_NO_STUDY: *why = "there is no such study here; /api/v1/info lists them"; return 404;
    case CPT_MATCH: break;
    }
    if (x->request.route->writes &&
        !cpt_guard_token(x->request.server, header(x->request.connection, "X-Conceptome-Token"))) {
        *why = "writing takes the token of this run (X-Conceptome-Token); reload the page";
        return 403;
    }
    return 0;
}

static void decide_early(exchange *x, int status, const char *text)
{
    cpt_answer_error(&x->early, status, "%s", text);
    x->have_early = true;
}

/* Headers are in. For POST the body comes next, and the answer after it: a refusal is kept until
 * then. */
static enum MHD_Result begin(exchange *x, const char *method, bool *answered)
{
    const char *why = "";
    struct MHD_Connection *c = x->request.connection;
    bool post = strcmp(method, "POST") == 0, found;
    *answered = false;
    int status = refuse(x, method, &why);
    if (!status && !post &&
        (x->request.uri.n_segments == 0 || strcmp(x->request.uri.segments[0], "api") != 0)) {
        enum MHD_Result result = send_page(x, &found);
        *answered = found;
        if (found) return result;
    }
    if (!status) status = find_route(x, method, &why);
    const char *length = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (!status && post && length && strtoull(length, NULL, 10) > x->request.route->max_body) {
        status = 413;
        why = "the body is larger than this address takes";
    }
    if (status) decide_early(x, status, why);
    if (status && (!post || !length || strtoull(length, NULL, 10) > CPT_MAX_HEADER_BYTES)) {
        *answered = true; /* a large body is not read just to be thrown away */
        return send_answer(x, &x->early);
    }
    return MHD_YES;
}

static bool collect(exchange *x, const char *bytes, size_t n)
{
    size_t need = x->body_size + n;
    if (need > x->request.route->max_body) return false;
    if (need > x->body_capacity) {
        size_t capacity = x->body_capacity ? x->body_capacity : BODY_FIRST;
        while (capacity < need) capacity *= 2;
        unsigned char *grown = realloc(x->body, capacity);
        if (!grown) return false;
        x->body = grown;
        x->body_capacity = capacity;
    }
    memcpy(x->body + x->body_size, bytes, n);
    x->body_size = need;
    return true;
}

/* ---- the handler ---- */

static enum MHD_Result run(exchange *x)
{
    cpt_request *r = &x->request;
    struct MHD_Connection *c = r->connection;
    cpt_answer a = {.status = 200};
    cpt_err e;
    r->ctx = r->server->ctx;
    r->ctx.n_threads = 1; /* many requests at once: one thread each */
    r->ctx.stop = &x->stop;
    r->ctx.progress = watch;
    r->ctx.progress_data = x;
    r->body = x->body ? x->body : (const unsigned char *)"";
    r->body_size = x->body_size;
    r->body_type = header(c, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (!r->body_type) r->body_type = "";
    if (r->study) {
        x->lease = cpt_hosted_lease(r->study, &r->server->ctx, &e);
        if (!x->lease) return send_error(x, 503, "the study cannot be opened at the moment");
        r->view = cpt_lease_view(x->lease);
    }
    if (cached(x)) {
        char plain[64], gzip[64];
        const char *list = header(c, MHD_HTTP_HEADER_IF_NONE_MATCH);
        make_etag(x, "", plain);
        make_etag(x, "-gz", gzip);
        if (has_etag(list, gzip)) return send_not_modified(x, gzip);
        if (has_etag(list, plain)) return send_not_modified(x, plain);
    }
    if (x->request.route->handle) x->request.route->handle(r, &a);
    else cpt_route_answer(r, r->view, cpt_request_unit(r), &a);
    if (!a.bytes && a.status == 200) cpt_answer_error(&a, 500, "the handler gave no answer");
    return send_answer(x, &a);
}

enum MHD_Result cpt_connection_handle(void *server, struct MHD_Connection *c, const char *url,
                                      const char *method, const char *version, const char *body,
                                      size_t *body_size, void **state)
{
    exchange *x = *state;
    (void)server, (void)c, (void)url, (void)version;
    if (!x) return MHD_NO; /* out of memory at the beginning */
    if (!x->begun) {
        bool answered;
        x->begun = true;
        enum MHD_Result result = begin(x, method, &answered);
        if (answered || result == MHD_NO || strcmp(method, "POST") == 0) return result;
        return x->have_early ? send_answer(x, &x->early) : run(x);
    }
    if (*body_size) {
        if (!x->have_early && !collect(x, body, *body_size))
            decide_early(x, 413, "the body is larger than this address takes");
        *body_size = 0;
        return MHD_YES;
    }
    return x->have_early ? send_answer(x, &x->early) : run(x);
}
