/* fuzz_uri.c - any bytes as the target of a request, and as the headers Host and Origin. */
#include "server/server.h"
#include "server/uri.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check_part(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7F) abort();
}

static void check(const cpt_uri *u)
{
    long long number;
    for (int i = 0; i < u->n_segments; i++) {
        check_part(u->segments[i]);
        if (!*u->segments[i] || strcmp(u->segments[i], ".") == 0 ||
            strcmp(u->segments[i], "..") == 0)
            abort();
        if (cpt_uri_number(u->segments[i], &number) && number < 0) abort();
    }
    for (int i = 0; i < u->n_parameters; i++) {
        check_part(u->parameters[i].name);
        check_part(u->parameters[i].value);
        if (!cpt_uri_parameter(u, u->parameters[i].name)) abort();
    }
}

static void check_host(const char *text)
{
    cpt_server local = {.open_to_others = false},
               open = {.open_to_others = true, .host_name = "machine"};
    if (cpt_guard_host(&local, text) && !cpt_guard_host(&open, text)) abort();
    if (cpt_guard_origin("localhost", text) && strcmp(text, "http://localhost") != 0 &&
        strlen(text) != 16)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    cpt_uri u;
    int status = cpt_uri_parse((const char *)bytes, size, &u);
    if (status == 0) check(&u);
    else if (status != 400 && status != 414 && status != 500) abort();
    else if (u.text || u.n_segments) abort();
    cpt_uri_free(&u);
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, bytes, size);
    text[size] = '\0';
    check_host(text);
    free(text);
    return 0;
}
