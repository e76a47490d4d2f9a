#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

/* Who may ask. The server listens on the loopback only, but every page in the user's browser can
 * reach that: a foreign page may send requests (Origin tells), and a foreign name may be made to
 * resolve to 127.0.0.1 (Host tells). Neither sees the token that writing takes. */

/* Name without port; false when the header is not a host. */
static bool host_name(const char *host, char name[256])
{
    size_t n = 0;
    const char *rest;
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        if (!end) return false;
        n = (size_t)(end - host) - 1;
        rest = end + 1;
        host++;
    } else {
        n = strcspn(host, ":");
        rest = host + n;
    }
    if (n == 0 || n >= 256) return false;
    memcpy(name, host, n);
    name[n] = '\0';
    if (*rest == '\0') return true;
    if (*rest++ != ':' || !*rest || strlen(rest) > 5) return false;
    return rest[strspn(rest, "0123456789")] == '\0';
}

bool cpt_guard_host(const cpt_server *s, const char *host)
{
    char name[256];
    unsigned char address[16];
    if (!host || !host_name(host, name)) return false;
    if (strcasecmp(name, "localhost") == 0) return true;
    bool v4 = inet_pton(AF_INET, name, address) == 1;
    if (v4 && (address[0] == 127 || s->open_to_others)) return true;
    if (!v4 && inet_pton(AF_INET6, name, address) == 1)
        return s->open_to_others || memcmp(address, &in6addr_loopback, sizeof address) == 0;
    return s->open_to_others && !v4 && s->host_name[0] && strcasecmp(name, s->host_name) == 0;
}

bool cpt_guard_origin(const char *host, const char *origin)
{
    if (!origin) return true;
    return strncmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0;
}

bool cpt_guard_token(const cpt_server *s, const char *token)
{
    size_t n = sizeof s->token - 1;
    unsigned char difference = 0;
    if (!token || strlen(token) != n) return false;
    for (size_t i = 0; i < n; i++) difference |= (unsigned char)(s->token[i] ^ token[i]);
    return difference == 0;
}

cpt_status cpt_guard_make_token(cpt_server *s, cpt_err *e)
{
    unsigned char bytes[CPT_TOKEN_BYTES];
    ssize_t n;
    do n = getrandom(bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof bytes) {
        e->code = CPT_ERR_IO;
        snprintf(e->text, sizeof e->text, "no random numbers for the token: %s", strerror(errno));
        return CPT_ERR_IO;
    }
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(s->token + 2 * i, 3, "%02x", bytes[i]);
    return CPT_OK;
}
