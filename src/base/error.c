#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text from files ends up in messages: nothing below 0x20 (escape sequences!) may reach a terminal. */
static void make_printable(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
}

cpt_status cpt_fail(cpt_err *e, cpt_status code, const char *fmt, ...)
{
    if (!e) return code;
    e->code = code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    make_printable(e->text);
    return code;
}

cpt_status cpt_fail_in(cpt_err *e, const char *fmt, ...)
{
    if (!e) return CPT_ERR_INTERNAL;
    char lower[sizeof e->text];
    memcpy(lower, e->text, sizeof lower);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof e->text ? (size_t)n : sizeof e->text - 1;
    if (sizeof e->text - used > 3) {
        memcpy(e->text + used, ": ", 2);
        size_t length = strnlen(lower, sizeof e->text - used - 3);
        memcpy(e->text + used + 2, lower, length);
        e->text[used + 2 + length] = '\0';
    }
    make_printable(e->text);
    return e->code;
}
