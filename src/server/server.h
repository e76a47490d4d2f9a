/* server.h - what the server's files know of each other. */
#ifndef CPT_SERVER_SERVER_H
#define CPT_SERVER_SERVER_H

#include "server/http.h"

#include <signal.h>

struct MHD_Daemon;

enum { CPT_SERVER_MAX_DAEMONS = 2, CPT_TOKEN_BYTES = 16 };

struct cpt_server {
    cpt_hosted **studies;
    size_t n_studies;
    struct MHD_Daemon *daemons[CPT_SERVER_MAX_DAEMONS]; /* IPv4 and IPv6 */
    int n_daemons, port;
    bool open_to_others; /* --listen: names of this machine and addresses are accepted as Host */
    char host_name[256]; /* of this machine */
    char address[300];
    char token[2 * CPT_TOKEN_BYTES + 1];
    char *ui_folder; /* NULL = built in */
    cpt_context ctx;
    volatile sig_atomic_t stopping;
};

cpt_hosted *cpt_server_study(const cpt_server *s, const char *id); /* NULL when there is none */

/* ---- guard.c: who may ask ---- */
/* Is this Host header one of ours? (DNS rebinding: a foreign name that resolves to 127.0.0.1 is
 * not.) */
bool cpt_guard_host(const cpt_server *s, const char *host);
/* Origin, when there is one, must be the page this Host serves. */
bool cpt_guard_origin(const char *host, const char *origin);
bool cpt_guard_token(const cpt_server *s, const char *token); /* compared in constant time */
cpt_status cpt_guard_make_token(cpt_server *s, cpt_err *e);

/* ---- page.c: the pages ---- */
/* index.html, app.js, app.css; false when the path is none of them. `gzip` when the bytes are
 * compressed. */
typedef struct cpt_page_file {
    const void *bytes; /* borrowed, or */
    void *owned;       /* free() it */
    size_t size;
    const char *type;
    char etag[40];
    bool gzip, html;
} cpt_page_file;
bool cpt_page_find(const cpt_server *s, const cpt_uri *uri, bool accepts_gzip, cpt_page_file *out);
bool cpt_page_built_in(void);

/* ---- table.c ---- */
/* JSON text with "rows" (or columns of equal length, or several lists: ?table=NAME) as TSV; NULL
 * when it holds no table. */
char *cpt_table_tsv(const char *json, const char *table);

#endif
