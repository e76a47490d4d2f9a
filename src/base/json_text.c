#include "base/json_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Besides what JSON demands, '<' is escaped: the text may end up inside a page, where "</script>"
 * in a cell type's name must stay text. */

static void before_value(cpt_jot *j)
{
    if (j->comma) cpt_text_add_bytes(&j->text, ",", 1);
    j->comma = true;
}

void cpt_jot_open(cpt_jot *j, char bracket)
{
    before_value(j);
    cpt_text_add_bytes(&j->text, &bracket, 1);
    j->comma = false;
}

void cpt_jot_close(cpt_jot *j, char bracket)
{
    cpt_text_add_bytes(&j->text, &bracket, 1);
    j->comma = true;
}

/* Bytes of the UTF-8 character at s, at most 4; 0 when there is none. The text ends with NUL. */
static size_t character_length(const char *s)
{
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0x80                ? 1
               : c >= 0xC2 && c < 0xE0 ? 2
               : (c & 0xF0) == 0xE0    ? 3
               : (c & 0xF8) == 0xF0    ? 4
                                       : 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)s[i] & 0xC0) != 0x80) return 0;
    return n && cpt_utf8_valid(s, n) ? n : 0;
}

static bool plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x7F && c != '"' && c != '\\' && c != '<';
}

static void add_string(cpt_text *t, const char *s)
{
    cpt_text_add_bytes(t, "\"", 1);
    while (*s) {
        size_t n = 0;
        while (plain(s[n])) n++;
        cpt_text_add_bytes(t, s, n);
        s += n;
        if (!*s) break;
        if (*s == '"' || *s == '\\') {
            cpt_text_add_bytes(t, "\\", 1);
            cpt_text_add_bytes(t, s++, 1);
        } else if ((unsigned char)*s < 0x20 || *s == '<' || *s == 0x7F) {
            cpt_text_addf(t, "\\u%04x", (unsigned)(unsigned char)*s++);
        } else if ((n = character_length(s)) > 0) {
            cpt_text_add_bytes(t, s, n);
            s += n;
        } else {
            cpt_text_add(t, "\xEF\xBF\xBD");
            s++;
        }
    }
    cpt_text_add_bytes(t, "\"", 1);
}

void cpt_jot_key(cpt_jot *j, const char *key)
{
    before_value(j);
    add_string(&j->text, key);
    cpt_text_add_bytes(&j->text, ":", 1);
    j->comma = false;
}

void cpt_jot_text(cpt_jot *j, const char *s)
{
    before_value(j);
    if (s) add_string(&j->text, s);
    else cpt_text_add(&j->text, "null");
}

static void add_number(cpt_jot *j, double x, int digits)
{
    char text[40];
    before_value(j);
    if (!isfinite(x)) cpt_text_add_bytes(&j->text, "null", 4);
    else cpt_text_add_bytes(&j->text, text, (size_t)snprintf(text, sizeof text, "%.*g", digits, x));
}

void cpt_jot_number(cpt_jot *j, double x)
{
    add_number(j, x, 7);
}

void cpt_jot_exact(cpt_jot *j, double x)
{
    add_number(j, x, 17);
}

void cpt_jot_integer(cpt_jot *j, int64_t x)
{
    char text[24];
    before_value(j);
    cpt_text_add_bytes(&j->text, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)x));
}

void cpt_jot_bool(cpt_jot *j, bool x)
{
    cpt_jot_raw(j, x ? "true" : "false");
}

void cpt_jot_null(cpt_jot *j)
{
    cpt_jot_raw(j, "null");
}

void cpt_jot_raw(cpt_jot *j, const char *json)
{
    before_value(j);
    cpt_text_add(&j->text, json);
}

void cpt_jot_put_text(cpt_jot *j, const char *key, const char *s)
{
    cpt_jot_key(j, key);
    cpt_jot_text(j, s);
}

void cpt_jot_put_number(cpt_jot *j, const char *key, double x)
{
    cpt_jot_key(j, key);
    cpt_jot_number(j, x);
}

void cpt_jot_put_integer(cpt_jot *j, const char *key, int64_t x)
{
    cpt_jot_key(j, key);
    cpt_jot_integer(j, x);
}

cpt_status cpt_jot_take(cpt_jot *j, char **out, cpt_err *e)
{
    cpt_status status = cpt_text_status(&j->text, e);
    *out = NULL;
    if (status == CPT_OK && !j->text.bytes) cpt_text_add(&j->text, "");
    if (status == CPT_OK) *out = j->text.bytes;
    else cpt_text_free(&j->text);
    *j = (cpt_jot){0};
    return status;
}

void cpt_jot_drop(cpt_jot *j)
{
    cpt_text_free(&j->text);
    *j = (cpt_jot){0};
}
