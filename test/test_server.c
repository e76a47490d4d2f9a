#include "small_study.h"

#include "server/uri.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <zlib.h>

/* The server on a free port, asked by libcurl and, where it would be too polite, over bare sockets.
 */

static cpt_server *server;
static cpt_context ctx;
static char base[64], token[64];

static int set_up(void **state)
{
    cpt_err err;
    small_study_make(state);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    cpt_context_init(&ctx);
    const char *const studies[] = {small_study};
    const cpt_server_options o = {.studies = studies, .n_studies = 1};
    assert_ok(cpt_server_start(&o, &ctx, &server, &err));
    snprintf(base, sizeof base, "http://127.0.0.1:%d", cpt_server_port(server));
    return 0;
}

static int tear_down(void **state)
{
    cpt_server_stop(server);
    curl_global_cleanup();
    return small_study_remove(state);
}

/* ---- asking ---- */

typedef struct reply {
    long status;
    char *body;
    size_t size;
    char headers[4096];
} reply;

static size_t take_body(char *bytes, size_t one, size_t n, void *data)
{
    reply *r = data;
    r->body = realloc(r->body, r->size + n + 1);
    memcpy(r->body + r->size, bytes, n);
    r->size += n;
    r->body[r->size] = '\0';
    return one * n;
}

static size_t take_header(char *bytes, size_t one, size_t n, void *data)
{
    reply *r = data;
    size_t have = strlen(r->headers);
    if (have + n < sizeof r->headers) memcpy(r->headers + have, bytes, n);
    return one * n;
}

static const char *header(const reply *r, const char *name)
{
    static char value[512];
    const char *at = strcasestr(r->headers, name);
    if (!at || at[strlen(name)] != ':') return "";
    at += strlen(name) + 1;
    at += strspn(at, " ");
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r\n"), at);
    return value;
}

/* headers: NULL-terminated lines. body NULL = GET. Free with forget. */
static reply ask(const char *path, const char *const *headers, const void *body, size_t n)
{
    reply r = {0};
    char url[9000];
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    CURL *c = curl_easy_init();
    assert_non_null(c);
    snprintf(url, sizeof url, "%s%s", base, path);
    for (; headers && *headers; headers++) list = curl_slist_append(list, *headers);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &r);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &r);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 60L);
    if (body) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)n);
    }
    CURLcode code = curl_easy_perform(c);
    if (code != CURLE_OK) print_error("%s: %s\n", path, curl_easy_strerror(code));
    assert_int_equal(code, CURLE_OK);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &r.status);
    curl_slist_free_all(list);
    curl_easy_cleanup(c);
    return r;
}

static void forget(reply *r)
{
    free(r->body);
    *r = (reply){0};
}

static long status_of(const char *path, const char *one_header)
{
    const char *const headers[] = {one_header, NULL};
    reply r = ask(path, one_header ? headers : NULL, NULL, 0);
    long status = r.status;
    if (status >= 400 && status != 416) { /* every refusal says why */
        json_t *e = json_loads(r.body ? r.body : "", 0, NULL);
        assert_non_null(json_string_value(json_object_get(e, "error")));
        json_decref(e);
    }
    forget(&r);
    return status;
}

#define S "/api/v1/s/study"

/* ---- what is served ---- */

static void test_every_route(void **state)
{
    static const char *const json[] = {"/api/v1/info",
                                       S "/state",
                                       S "/study",
                                       S "/concepts",
                                       S "/concept/1",
                                       S "/concept/1/genes?limit=5",
                                       S "/concept/1/genes?order=expression&offset=2",
                                       S "/concept/1/terms?all=1",
                                       S "/concept/1/running?term=SET_A",
                                       S "/concept/1/cells?band=high",
                                       S "/concept/1/cells",
                                       S "/concept/1/composition?column=donor",
                                       S "/concept/1/similar",
                                       S "/concept/1/trust",
                                       S "/cell/3",
                                       S "/gene/4",
                                       S "/term/SET_B",
                                       S "/search?q=SET&limit=3",
                                       "/api/v1/compare?a=study:1&b=study:2"};
    static const char *const vectors[] = {
        S "/vec/umap",         S "/vec/conceptmap",   S "/vec/activation/1", S "/vec/gene/2",
        S "/vec/column/donor", S "/vec/column/depth", S "/vec/neuron/0"};
    (void)state;
    for (size_t i = 0; i < sizeof json / sizeof *json; i++) {
        reply r = ask(json[i], NULL, NULL, 0);
        if (r.status != 200) print_error("%s: %ld %s\n", json[i], r.status, r.body);
        assert_int_equal(r.status, 200);
        json_t *root = json_loads(r.body, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(root);
        json_decref(root);
        assert_string_equal(header(&r, "Content-Type"), "application/json");
        assert_string_equal(header(&r, "X-Content-Type-Options"), "nosniff");
        assert_string_equal(header(&r, "Access-Control-Allow-Origin"), "");
        forget(&r);
    }
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        reply r = ask(vectors[i], NULL, NULL, 0);
        assert_int_equal(r.status, 200);
        assert_string_not_equal(header(&r, "Cpt-Type"), "");
        assert_string_not_equal(header(&r, "Cpt-Shape"), "");
        forget(&r);
    }
}

static void test_tables_as_tsv(void **state)
{
    static const char *const tables[] = {S "/concepts?format=tsv",
                                         S "/concept/1/genes?format=tsv",
                                         S "/concept/1/terms?format=tsv&all=1",
                                         S "/concept/1/cells?format=tsv",
                                         S "/concept/1/composition?format=tsv",
                                         S "/gene/4?format=tsv",
                                         S "/concept/1/similar?format=tsv&table=decoder",
                                         S "/search?q=SET&format=tsv"};
    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        reply r = ask(tables[i], NULL, NULL, 0);
        assert_int_equal(r.status, 200);
        assert_non_null(strstr(header(&r, "Content-Type"), "tab-separated"));
        assert_non_null(strstr(header(&r, "Content-Disposition"), "attachment"));
        int columns = 0, line = 0; /* as many fields in every line */
        for (char *p = r.body, *end; *p && (end = strchr(p, '\n')); p = end + 1, line++) {
            int n = 0;
            for (char *q = p; q < end; q++) n += *q == '\t';
            if (line == 0) columns = n;
            assert_int_equal(n, columns);
        }
        forget(&r);
    }
    assert_int_equal(status_of(S "/concept/1/similar?format=tsv&table=nothing", NULL), 400);
}

static void test_selection(void **state)
{
    const uint32_t body[] = {3, 1, 2, 3, 2, 4, 5}, rest[] = {2, 7, 8, 0}, odd[] = {9, 1, 2},
                   far[] = {1, 1000000, 0};
    (void)state;
    static const char *const paths[] = {S "/selection/concepts", S "/selection/genes"};
    for (int i = 0; i < 2; i++) {
        reply r = ask(paths[i], NULL, body, sizeof body);
        assert_int_equal(r.status, 200);
        json_t *root = json_loads(r.body, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(root, "a")), 3);
        assert_int_equal(json_integer_value(json_object_get(root, "b")), 2);
        json_decref(root);
        forget(&r);
        r = ask(paths[i], NULL, rest, sizeof rest);
        assert_int_equal(r.status, 200);
        forget(&r);
        r = ask(paths[i], NULL, odd, sizeof odd);
        assert_int_equal(r.status, 400);
        forget(&r);
        r = ask(paths[i], NULL, body, 5);
        assert_int_equal(r.status, 400);
        forget(&r);
        r = ask(paths[i], NULL, far, sizeof far);
        assert_int_equal(r.status, 400);
        forget(&r);
        r = ask(paths[i], NULL, "", 0);
        assert_int_equal(r.status, 400);
        forget(&r);
    }
    assert_int_equal(status_of(S "/selection/concepts", NULL), 405);
}

/* ---- caching, ranges, compression ---- */

static void test_etag(void **state)
{
    char line[600];
    (void)state;
    reply r = ask(S "/concept/1", NULL, NULL, 0);
    snprintf(line, sizeof line, "If-None-Match: %s", header(&r, "ETag"));
    assert_true(strlen(line) > 30);
    forget(&r);
    assert_int_equal(status_of(S "/concept/1", line), 304);
    assert_int_equal(status_of(S "/concept/1", "If-None-Match: \"other\""), 200);
    assert_int_equal(status_of(S "/concept/1", "If-None-Match: *"), 304);
    r = ask(S "/state", NULL, NULL, 0);
    assert_string_equal(header(&r, "ETag"), "");
    assert_string_equal(header(&r, "Cache-Control"), "no-store");
    forget(&r);
}

static void test_ranges(void **state)
{
    static const struct {
        const char *range;
        long status;
        size_t first, n;
    } cases[] = {{"bytes=0-3", 206, 0, 4},        {"bytes=4-", 206, 4, 1196},
                 {"bytes=-5", 206, 1195, 5},      {"bytes=1190-9999", 206, 1190, 10},
                 {"bytes=1200-", 416, 0, 0},      {"bytes=-0", 416, 0, 0},
                 {"bytes=5-2", 200, 0, 1200},     {"bytes=a-b", 200, 0, 1200},
                 {"bytes=0-1,3-4", 200, 0, 1200}, {"lines=0-1", 200, 0, 1200},
                 {"bytes=--5", 200, 0, 1200},     {"bytes=", 200, 0, 1200},
                 {"bytes=-99999", 206, 0, 1200},  {"bytes=99999999999999999999-", 416, 0, 0}};
    (void)state;
    reply whole = ask(S "/vec/umap", NULL, NULL, 0);
    assert_int_equal(whole.size, 1200);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[64];
        const char *const headers[] = {line, NULL};
        snprintf(line, sizeof line, "Range: %s", cases[i].range);
        reply r = ask(S "/vec/umap", headers, NULL, 0);
        assert_int_equal(r.status, cases[i].status);
        assert_int_equal(r.size, cases[i].n);
        if (r.size) assert_memory_equal(r.body, whole.body + cases[i].first, r.size);
        forget(&r);
    }
    forget(&whole);
}

static void test_gzip(void **state)
{
    const char *const headers[] = {"Accept-Encoding: gzip", NULL}, *const refuses[] = {
                                                                       "Accept-Encoding: gzip;q=0",
                                                                       NULL};
    (void)state;
    reply plain = ask(S "/concepts", NULL, NULL, 0), small = ask(S "/concepts", headers, NULL, 0),
          no = ask(S "/concepts", refuses, NULL, 0);
    assert_string_equal(header(&small, "Content-Encoding"), "gzip");
    assert_string_equal(header(&no, "Content-Encoding"), "");
    assert_true(small.size < plain.size);
    char *out = malloc(plain.size + 1);
    z_stream z = {.next_in = (Bytef *)small.body,
                  .avail_in = (uInt)small.size,
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)plain.size};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, plain.size);
    assert_memory_equal(out, plain.body, plain.size);
    inflateEnd(&z);
    free(out);
    forget(&plain);
    forget(&small);
    forget(&no);
}

/* ---- who may ask ---- */

static void test_host_and_origin(void **state)
{
    static const struct {
        const char *header;
        long status;
    } cases[] = {{"Host: localhost:1", 200},
                 {"Host: LOCALHOST", 200},
                 {"Host: [::1]:80", 200},
                 {"Host: 127.0.0.2", 200},
                 {"Host: evil.example", 403},
                 {"Host: 192.168.1.5", 403},
                 {"Host: localhost.evil.example", 403},
                 {"Host: [::2]", 403},
                 {"Host: localhost:x", 403},
                 {"Host: [::1", 403},
                 {"Host: 127.0.0.1.evil", 403},
                 {"Host:", 403},
                 {"Origin: http://evil.example", 403},
                 {"Origin: null", 403},
                 {"Origin: https://localhost", 403}};
    char own[96];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(status_of(S "/state", cases[i].header), cases[i].status);
    snprintf(own, sizeof own, "Origin: %s", base);
    assert_int_equal(status_of(S "/state", own), 200);
}

static void test_page(void **state)
{
    (void)state;
    reply r = ask("/", NULL, NULL, 0);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(header(&r, "Content-Security-Policy"), "default-src 'none'"));
    assert_null(strstr(header(&r, "Content-Security-Policy"), "script-src 'unsafe"));
    assert_string_equal(header(&r, "Cache-Control"), "no-store");
    const char *at = strstr(r.body, "name=\"conceptome-token\" content=\"");
    assert_non_null(at);
    snprintf(token, sizeof token, "%.*s", (int)strcspn(strstr(at, "content=\"") + 9, "\""),
             strstr(at, "content=\"") + 9);
    assert_int_equal(strlen(token), 32);
    forget(&r);
    assert_int_equal(status_of("/concept/study/1", NULL), 200); /* a permalink */
    assert_int_equal(status_of("/favicon.ico", NULL), 404);
    assert_int_equal(status_of("/../../etc/passwd", NULL), 400);
    assert_int_equal(status_of("/%2e%2e/etc/passwd", NULL), 400);
    assert_int_equal(status_of("/..%2fetc%2fpasswd", NULL), 404);
}

static void test_refusals(void **state)
{
    char *path = malloc(9000);
    static const char *const escapes[] = {"/%zz",
                                          "/%4",
                                          "/%",
                                          "/%00",
                                          "/a%0d%0ab",
                                          "/%ff%fe",
                                          "/%c0%af",
                                          "//",
                                          "/api//v1",
                                          "/api/v1/info?%zz=1",
                                          "/api/v1/info?a=%ED%A0%80"};
    (void)state;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        assert_int_equal(status_of(escapes[i], NULL), 400);
    assert_int_equal(status_of("/api/v1/nothing", NULL), 404);
    assert_int_equal(status_of("/api/v1/s/none/study", NULL), 404);
    assert_int_equal(status_of(S "/concept/99999", NULL), 404);
    assert_int_equal(status_of(S "/concept/-1", NULL), 404);
    assert_int_equal(status_of(S "/concept/99999999999999999999", NULL), 404);
    assert_int_equal(status_of(S "/concept/4294967297", NULL), 404);
    assert_int_equal(status_of(S "/concept/1/running", NULL), 400);
    assert_int_equal(status_of(S "/concept/1/genes?order=beauty", NULL), 404);
    assert_int_equal(status_of("/api/v1/compare?a=study:1", NULL), 400);
    assert_int_equal(status_of("/api/v1/compare?a=study&b=study:1", NULL), 400);
    assert_int_equal(status_of("/api/v1/compare?a=none:1&b=study:1", NULL), 404);
    strcpy(path, "/api/v1/info?q=");
    memset(path + strlen(path), 'a', 8200);
    path[8215] = '\0';
    assert_int_equal(status_of(path, NULL), 414);
    memset(path, 'b', 3000);
    char *headers[7];
    for (int i = 0; i < 6; i++) {
        headers[i] = malloc(3100);
        snprintf(headers[i], 3100, "X-Filler-%d: %.3000s", i, path + 20);
    }
    headers[6] = NULL;
    reply r = ask("/api/v1/info", (const char *const *)headers, NULL, 0);
    assert_int_equal(r.status, 431);
    forget(&r);
    for (int i = 0; i < 6; i++) free(headers[i]);
    free(path);
}

/* ---- several at once, and changes underneath ---- */

static void *hammer(void *data)
{
    const int *seed = data;
    for (int i = 0; i < 40; i++) {
        char path[128];
        snprintf(path, sizeof path,
                 i % 3 == 0   ? S "/vec/activation/%d"
                 : i % 3 == 1 ? S "/concept/%d"
                              : S "/concept/%d/genes?limit=20",
                 (i * 7 + *seed) % SMALL_CONCEPTS);
        reply r = ask(path, NULL, NULL, 0);
        if (r.status != 200) print_error("%s: %ld\n", path, r.status);
        assert_int_equal(r.status, 200);
        forget(&r);
    }
    return NULL;
}

static void test_many_at_once_while_the_study_changes(void **state)
{
    enum { CLIENTS = 8 };
    pthread_t threads[CLIENTS];
    int seeds[CLIENTS];
    char before[33] = "", after[33] = "";
    cpt_err err;
    (void)state;
    reply r = ask(S "/state", NULL, NULL, 0);
    sscanf(strstr(r.body, "generation\":\"") + 13, "%32[0-9a-f]", before);
    forget(&r);
    for (int i = 0; i < CLIENTS; i++) {
        seeds[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &seeds[i]), 0);
    }
    cpt_options *o = cpt_options_new(&err);
    assert_non_null(o);
    sleep(1); /* the stages' start times, by which a forced run is told apart, have whole seconds */
    assert_ok(cpt_study_stage(small_study, "index", o, true, NULL, &ctx, &err));
    cpt_options_free(o);
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 40; i++) {
        r = ask(S "/state", NULL, NULL, 0);
        sscanf(strstr(r.body, "generation\":\"") + 13, "%32[0-9a-f]", after);
        forget(&r);
        if (strcmp(before, after) != 0) break;
        usleep(100000);
    }
    assert_string_not_equal(before, after);
    assert_int_equal(status_of(S "/concept/1", NULL), 200);
}

/* ---- bare sockets ---- */

static int connect_bare(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)cpt_server_port(server)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct timeval patience = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Sends and hangs up; the answer, if any, is read and thrown away. Returns its status or 0. */
static int throw_at(const char *bytes, size_t n, bool wait)
{
    char answer[64] = "";
    int fd = connect_bare(), status = 0;
    ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
    if (wait && sent > 0) {
        shutdown(fd, SHUT_WR);
        ssize_t got = recv(fd, answer, sizeof answer - 1, 0);
        if (got > 12) sscanf(answer, "HTTP/1.%*d %d", &status);
    }
    close(fd);
    return status;
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* One malformed request: a good one with something wrong in it. */
static size_t make_malformed(uint32_t *seed, char *out, size_t capacity)
{
    static const char *const methods[] = {"GET",    "POST",      "HEAD",    "PUT",
                                          "DELETE", "OPTIONS",   "TRACE",   "G\x01T",
                                          "",       "GETGETGET", "CONNECT", "get"};
    static const char *const paths[] = {S "/concepts",
                                        S "/concept/1/genes?limit=%",
                                        S "/concept/\xff",
                                        "/../../../etc/passwd",
                                        "/%2e%2e/%2e%2e/x",
                                        "*",
                                        "http://evil/",
                                        "",
                                        "/api/v1/s/study/concept/999999999999999999999",
                                        S "/selection/concepts",
                                        S "/selection/genes",
                                        "/a?b=%zz",
                                        S "/term/%00",
                                        S "/vec/umap",
                                        S "/notes",
                                        S "/search?q=%F0%9F%A7%AC",
                                        S "/review/x/1"};
    static const char *const versions[] = {"HTTP/1.1", "HTTP/1.0", "HTTP/9.9",
                                           "HTTP/",    "",         "HTTP/1.1 extra"};
    static const char *const lines[] = {"Range: bytes=0-",
                                        "Range: bytes=9999999999999999999-1",
                                        "Range: bytes=-",
                                        "Content-Length: -1",
                                        "Content-Length: 99999999999",
                                        "Content-Length: 5",
                                        "Transfer-Encoding: chunked",
                                        "Transfer-Encoding: chunked, gzip",
                                        "If-None-Match: \"",
                                        "Accept-Encoding: gzip;q=x",
                                        "Host: \xff\xfe",
                                        ": nothing",
                                        "X",
                                        "Origin: http://\x7f",
                                        "Cookie: a=b; c",
                                        "X-Conceptome-Token: 0",
                                        "Expect: 100-continue",
                                        "Content-Type: application/json",
                                        "Connection: close, keep-alive",
                                        " folded: line"};
    static const char *const bodies[] = {"",
                                         "{",
                                         "[[[[[[[[[[[[[[[[[[[[",
                                         "\x01\x00\x00\x00",
                                         "5\r\nabc",
                                         "ffffffffffffffff\r\nx\r\n0\r\n\r\n",
                                         "{\"author\":\"\\ud800\"}",
                                         "0\r\n\r\n"};
    size_t n =
        (size_t)snprintf(out, capacity, "%s %s %s\r\nHost: 127.0.0.1\r\n",
                         methods[next(seed) % 2 ? next(seed) % 2 : next(seed) % 12],
                         paths[next(seed) % 17], versions[next(seed) % 3 ? 0 : next(seed) % 6]);
    for (uint32_t k = next(seed) % 4; k > 0 && n + 200 < capacity; k--)
        n += (size_t)snprintf(out + n, capacity - n, "%s\r\n", lines[next(seed) % 20]);
    if (next(seed) % 30 == 0 && n + 20000 < capacity) { /* a very long header */
        memcpy(out + n, "X-Long: ", 8);
        memset(out + n + 8, 'x', 19000);
        n += 19008;
        n += (size_t)snprintf(out + n, capacity - n, "\r\n");
    }
    n += (size_t)snprintf(out + n, capacity - n, "\r\n%s", bodies[next(seed) % 8]);
    if (next(seed) % 5 == 0) n = next(seed) % (n + 1); /* cut off */
    for (uint32_t k = next(seed) % 4; k > 1 && n > 0; k--)
        out[next(seed) % n] = (char)next(seed); /* noise */
    return n;
}

static void test_malformed_requests(void **state)
{
    const char *count = getenv("CONCEPTOME_MALFORMED");
    int total = count ? atoi(count) : 1500, good = 0;
    char *bytes = malloc(65536);
    uint32_t seed = 12345;
    (void)state;
    for (int i = 0; i < total; i++) {
        size_t n = make_malformed(&seed, bytes, 65536);
        int status = n ? throw_at(bytes, n, i % 4 != 0) : 0;
        assert_true(status == 0 || (status >= 100 && status < 600));
        assert_true(status != 500);
        good += status == 200;
    }
    print_message("%d malformed requests, %d of them good enough for 200\n", total, good);
    free(bytes);
    assert_int_equal(status_of("/api/v1/info", NULL), 200); /* still there */
}

/* A client that hangs up in the middle of a computation or sends half a body must cost nobody. */
static void test_clients_that_leave(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        const char head[] =
            "POST " S "/selection/genes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n";
        char request[sizeof head + 12];
        const uint32_t body[] = {1, 5, 0};
        memcpy(request, head, sizeof head - 1);
        memcpy(request + sizeof head - 1, body, 12);
        throw_at(request, sizeof head - 1 + (i % 2 ? 12 : 5), false);
    }
    assert_int_equal(status_of(S "/state", NULL), 200);
}

/* ---- starting ---- */

static void test_port_taken_and_other_mistakes(void **state)
{
    cpt_server *second;
    cpt_err err;
    const char *const studies[] = {small_study, small_study}, *const none[] = {"/nonexistent"};
    cpt_server_options o = {.studies = studies, .n_studies = 1, .port = cpt_server_port(server)};
    (void)state;
    assert_int_equal(cpt_server_start(&o, &ctx, &second, &err), CPT_ERR_IO);
    assert_non_null(strstr(err.text, "taken"));
    assert_non_null(strstr(err.text, "--port"));
    o.port = 0;
    o.listen = "nowhere";
    assert_int_equal(cpt_server_start(&o, &ctx, &second, &err), CPT_ERR_USAGE);
    o.listen = NULL;
    o.studies = none;
    assert_int_equal(cpt_server_start(&o, &ctx, &second, &err), CPT_ERR_IO);
    assert_non_null(strstr(err.text, "conceptome run"));
    o.studies = studies;
    o.n_studies = 2; /* the same folder twice: two ids */
    assert_ok(cpt_server_start(&o, &ctx, &second, &err));
    char own[64];
    memcpy(own, base, sizeof own);
    snprintf(base, sizeof base, "http://127.0.0.1:%d", cpt_server_port(second));
    reply r = ask("/api/v1/info", NULL, NULL, 0);
    assert_non_null(strstr(r.body, "\"study\""));
    assert_non_null(strstr(r.body, "\"study-2\""));
    forget(&r);
    memcpy(base, own, sizeof base);
    cpt_server_stop(second);
}

static void test_uri(void **state)
{
    cpt_uri u;
    long long x;
    (void)state;
    const char good[] = "/a/b%20c/?x=1+2&y&z=%E2%82%AC&x=3",
               deep[] = "/1/2/3/4/5/6/7/8/9/10/11/12/13";
    assert_int_equal(cpt_uri_parse(good, strlen(good), &u), 0);
    assert_int_equal(u.n_segments, 2);
    assert_string_equal(u.segments[1], "b c");
    assert_string_equal(cpt_uri_parameter(&u, "x"), "1 2");
    assert_string_equal(cpt_uri_parameter(&u, "y"), "");
    assert_string_equal(cpt_uri_parameter(&u, "z"), "\xE2\x82\xAC");
    assert_null(cpt_uri_parameter(&u, "none"));
    cpt_uri_free(&u);
    assert_int_equal(cpt_uri_parse("", 0, &u), 400);
    assert_int_equal(cpt_uri_parse("a", 1, &u), 400);
    assert_int_equal(cpt_uri_parse("/a\0b", 4, &u), 400);
    assert_int_equal(cpt_uri_parse(deep, strlen(deep), &u), 400);
    assert_true(cpt_uri_number("0012", &x) && x == 12);
    assert_false(cpt_uri_number("-1", &x));
    assert_false(cpt_uri_number("", &x));
    assert_false(cpt_uri_number("1234567890123456789", &x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri),
        cmocka_unit_test(test_every_route),
        cmocka_unit_test(test_tables_as_tsv),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_etag),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_host_and_origin),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_many_at_once_while_the_study_changes),
        cmocka_unit_test(test_malformed_requests),
        cmocka_unit_test(test_clients_that_leave),
        cmocka_unit_test(test_port_taken_and_other_mistakes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
