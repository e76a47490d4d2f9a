#include "server/uri.h"

#include <stdlib.h>
#include <string.h>

/* The target is hostile until checked: decoded once, in place, left to right, into a copy. Slashes
 * that were escaped stay part of their segment, so "..%2f" is a name like any other, and segments
 * are only ever compared with names and numbers, never joined to a path. */

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Length of the UTF-8 sequence at s (ends with NUL), 0 when it is none: overlong forms, surrogates
 * and what lies beyond U+10FFFF included. */
static size_t sequence(const unsigned char *s)
{
    static const struct {
        unsigned char low, high, second_low, second_high;
        size_t length;
    } forms[] = {
        {0x01, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (s[0] < forms[i].low || s[0] > forms[i].high) continue;
        if (forms[i].length > 1 && (s[1] < forms[i].second_low || s[1] > forms[i].second_high))
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if (s[k] < 0x80 || s[k] > 0xBF) return 0;
        return forms[i].length;
    }
    return 0;
}

static bool acceptable(const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t n = sequence(p);
        if (n == 0 || *p < 0x20 || *p == 0x7F) return false;
        p += n;
    }
    return true;
}

/* Decodes %xx (and '+' in parameters) in place. */
static bool decode(char *s, bool plus)
{
    char *to = s;
    for (; *s; s++) {
        char c = *s;
        if (c == '%') {
            int high = hex(s[1]), low = high < 0 ? -1 : hex(s[2]);
            if (low < 0 || (high == 0 && low == 0)) return false;
            c = (char)(high << 4 | low);
            s += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        *to++ = c;
    }
    *to = '\0';
    return true;
}

static bool add_segment(cpt_uri *u, char *s)
{
    if (!decode(s, false) || !acceptable(s) || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
        return false;
    if (u->n_segments == CPT_URI_MAX_SEGMENTS) return false;
    u->segments[u->n_segments++] = s;
    return true;
}

static bool add_parameter(cpt_uri *u, char *s)
{
    char *equals = strchr(s, '=');
    static char none[] = "";
    char *value = equals ? equals + 1 : none;
    if (equals) *equals = '\0';
    if (!decode(s, true) || !acceptable(s) ||
        (equals && (!decode(value, true) || !acceptable(value))))
        return false;
    if (u->n_parameters == CPT_URI_MAX_PARAMETERS) return false;
    u->parameters[u->n_parameters].name = s;
    u->parameters[u->n_parameters++].value = value;
    return true;
}

/* path without its first slash */
static bool split_path(cpt_uri *u, char *path)
{
    while (*path) {
        char *slash = strchr(path, '/');
        if (slash) *slash = '\0';
        if (!*path || !add_segment(u, path)) return false; /* "//" names nothing */
        if (!slash) return true;
        path = slash + 1;
    }
    return true;
}

static bool split_query(cpt_uri *u, char *query)
{
    while (query) {
        char *next = strchr(query, '&');
        if (next) *next++ = '\0';
        if (*query && !add_parameter(u, query)) return false;
        query = next;
    }
    return true;
}

int cpt_uri_parse(const char *raw, size_t n, cpt_uri *out)
{
    *out = (cpt_uri){0};
    if (n > CPT_URI_MAX_BYTES) return 414;
    if (n == 0 || raw[0] != '/' || memchr(raw, '\0', n) || memchr(raw, '#', n)) return 400;
    if (!(out->text = malloc(n + 1))) return 500;
    memcpy(out->text, raw, n);
    out->text[n] = '\0';
    char *query = strchr(out->text, '?');
    if (query) *query++ = '\0';
    if (split_path(out, out->text + 1) && split_query(out, query)) return 0;
    cpt_uri_free(out);
    return 400;
}

const char *cpt_uri_parameter(const cpt_uri *u, const char *name)
{
    for (int i = 0; i < u->n_parameters; i++)
        if (strcmp(u->parameters[i].name, name) == 0) return u->parameters[i].value;
    return NULL;
}

void cpt_uri_free(cpt_uri *u)
{
    free(u->text);
    *u = (cpt_uri){0};
}

bool cpt_uri_number(const char *text, long long *out)
{
    size_t n = strlen(text);
    if (n == 0 || n > 18) return false;
    *out = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        *out = *out * 10 + (*text - '0');
    }
    return true;
}
