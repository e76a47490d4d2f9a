#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/connection.h"

/* Starting and stopping. Sockets are made here rather than by libmicrohttpd, so that an occupied
 * port is told apart from other reasons. One daemon per address, each with a thread per connection:
 * a selection that takes a second delays nobody else. */

enum { MAX_CONNECTIONS = 256, IDLE_SECONDS = 60, THREAD_STACK = 1 << 20, BACKLOG = 128 };

static cpt_status fail(cpt_err *e, cpt_status code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    e->code = code;
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    return code;
}

cpt_hosted *cpt_server_study(const cpt_server *s, const char *id)
{
    for (size_t i = 0; i < s->n_studies; i++)
        if (strcmp(cpt_hosted_id(s->studies[i]), id) == 0) return s->studies[i];
    return NULL;
}

int cpt_server_port(const cpt_server *s)
{
    return s->port;
}

const char *cpt_server_address(const cpt_server *s)
{
    return s->address;
}

/* ---- sockets ---- */

static cpt_status bind_failed(const char *what, int port, int reason, cpt_err *e)
{
    if (reason == EADDRINUSE)
        return fail(e, CPT_ERR_IO,
                    "port %d on %s is taken by another program (maybe another `conceptome serve`); "
                    "choose another one with --port, 0 for any free one",
                    port, what);
    if (reason == EACCES)
        return fail(e, CPT_ERR_IO,
                    "port %d on %s is reserved for the system; choose one above 1023 with --port",
                    port, what);
    return fail(e, CPT_ERR_IO, "cannot listen on %s, port %d: %s", what, port, strerror(reason));
}

/* *fd = -1 with CPT_OK when `optional` and the machine has no such address. */
static cpt_status listen_on(const struct sockaddr *address, socklen_t length, const char *what,
                            int port, bool optional, int *fd, cpt_err *e)
{
    int one = 1, reason;
    *fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0) setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (*fd >= 0 && address->sa_family == AF_INET6)
        setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (*fd >= 0 && bind(*fd, address, length) == 0 && listen(*fd, BACKLOG) == 0) return CPT_OK;
    reason = errno;
    if (*fd >= 0) close(*fd);
    *fd = -1;
    if (optional && reason != EADDRINUSE) return CPT_OK;
    return bind_failed(what, port, reason, e);
}

static cpt_status open_v4(struct in_addr a, const char *what, int port, int *fd, cpt_err *e)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = a};
    return listen_on((struct sockaddr *)&address, sizeof address, what, port, false, fd, e);
}

static cpt_status open_v6(struct in6_addr a, const char *what, int port, bool optional, int *fd,
                          cpt_err *e)
{
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = a};
    return listen_on((struct sockaddr *)&address, sizeof address, what, port, optional, fd, e);
}

static int bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &n) != 0) return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static cpt_status open_loopback(cpt_server *s, int port, int fds[2], cpt_err *e)
{
    cpt_status status =
        open_v4((struct in_addr){htonl(INADDR_LOOPBACK)}, "127.0.0.1", port, &fds[0], e);
    if (status) return status;
    s->port = bound_port(fds[0]);
    status = open_v6(in6addr_loopback, "::1", s->port, true, &fds[1], e);
    if (status && port == 0)
        status = CPT_OK; /* the free port is free on one side only: that side will do */
    snprintf(s->address, sizeof s->address, "http://127.0.0.1:%d/", s->port);
    return status;
}

static cpt_status open_named(cpt_server *s, const char *where, int port, int fds[2], cpt_err *e)
{
    struct in_addr v4;
    struct in6_addr v6;
    cpt_status status;
    bool six = inet_pton(AF_INET6, where, &v6) == 1;
    if (six) status = open_v6(v6, where, port, false, &fds[0], e);
    else if (inet_pton(AF_INET, where, &v4) == 1) status = open_v4(v4, where, port, &fds[0], e);
    else
        return fail(e, CPT_ERR_USAGE,
                    "--listen %s: an IPv4 or IPv6 address is expected, such as 0.0.0.0", where);
    if (status) return status;
    s->port = bound_port(fds[0]);
    s->open_to_others = true;
    snprintf(s->address, sizeof s->address, six ? "http://[%s]:%d/" : "http://%s:%d/", where,
             s->port);
    return CPT_OK;
}

/* ---- daemons ---- */

static cpt_status start_daemon(cpt_server *s, int fd, cpt_err *e)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_POLL | MHD_USE_ITC;
    struct MHD_Daemon *d = MHD_start_daemon(
        flags, 0, NULL, NULL, cpt_connection_handle, s, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CPT_CONNECTION_MEMORY,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK, MHD_OPTION_URI_LOG_CALLBACK,
        cpt_connection_begin, s, MHD_OPTION_NOTIFY_COMPLETED, cpt_connection_end, NULL,
        MHD_OPTION_UNESCAPE_CALLBACK, cpt_connection_unescape, NULL, MHD_OPTION_END);
    if (!d) {
        close(fd);
        return fail(e, CPT_ERR_IO, "libmicrohttpd could not start: %s", strerror(errno));
    }
    s->daemons[s->n_daemons++] = d;
    return CPT_OK;
}

static cpt_status open_studies(cpt_server *s, const cpt_server_options *o, cpt_err *e)
{
    if (o->n_studies == 0) return fail(e, CPT_ERR_USAGE, "no study to serve");
    s->studies = calloc(o->n_studies, sizeof *s->studies);
    if (!s->studies) return fail(e, CPT_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < o->n_studies; i++) {
        cpt_status status =
            cpt_hosted_new(o->studies[i], s->studies, s->n_studies, &s->ctx, &s->studies[i], e);
        if (status) return status;
        s->n_studies++;
    }
    return CPT_OK;
}

cpt_status cpt_server_start(const cpt_server_options *o, const cpt_context *ctx, cpt_server **out,
                            cpt_err *e)
{
    int fds[CPT_SERVER_MAX_DAEMONS] = {-1, -1};
    cpt_server *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return fail(e, CPT_ERR_MEMORY, "out of memory");
    s->ctx = *ctx;
    if (gethostname(s->host_name, sizeof s->host_name - 1) != 0) s->host_name[0] = '\0';
    if (o->ui_folder) s->ui_folder = strdup(o->ui_folder);
    cpt_status status = cpt_guard_make_token(s, e);
    if (status == CPT_OK) status = open_studies(s, o, e);
    if (status == CPT_OK)
        status = o->listen ? open_named(s, o->listen, o->port, fds, e)
                           : open_loopback(s, o->port, fds, e);
    for (int i = 0; i < CPT_SERVER_MAX_DAEMONS; i++) {
        if (fds[i] < 0) continue;
        if (status == CPT_OK) status = start_daemon(s, fds[i], e);
        else close(fds[i]);
    }
    if (status) cpt_server_stop(s);
    else *out = s;
    return status;
}

void cpt_server_stop(cpt_server *s)
{
    if (!s) return;
    s->stopping = 1;
    for (int i = 0; i < s->n_daemons; i++)
        MHD_stop_daemon(s->daemons[i]); /* waits for its threads */
    for (size_t i = 0; i < s->n_studies; i++) cpt_hosted_free(s->studies[i]);
    free(s->studies);
    free(s->ui_folder);
    free(s);
}
