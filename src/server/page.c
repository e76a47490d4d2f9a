#include "server/page_files.h"
#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pages: three files, built in or (--ui-dir, for development) read from a folder at every
 * request. index.html goes out with this run's token in it, which is why it is never cached. Any
 * other path that is not under /api/ is a permalink and gets the page, too. */

enum { MAX_UI_FILE = 32 << 20 };

static const char no_bundle[] =
    "<!doctype html><html lang=\"en\"><head><meta "
    "charset=\"utf-8\"><title>Conceptome</title></head><body>"
    "<h1>Conceptome</h1><p>The server runs, but this program was built without its pages.</p>"
    "<p>To have them: install node and npm, then <code>make ui &amp;&amp; make</code>; or start "
    "<code>conceptome serve --ui-dir ui/dist</code>.</p>"
    "<p>The data are at <a href=\"/api/v1/info\">/api/v1/info</a>.</p></body></html>";

static const struct {
    const char *name, *type;
} files[] = {{"index.html", "text/html; charset=utf-8"},
             {"app.js", "text/javascript; charset=utf-8"},
             {"app.css", "text/css; charset=utf-8"}};

bool cpt_page_built_in(void)
{
    return cpt_n_page_files > 0;
}

static uint64_t fnv(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001B3u;
    return h;
}

static int which_file(const cpt_uri *uri)
{
    if (uri->n_segments == 1)
        for (int i = 0; i < (int)(sizeof files / sizeof *files); i++)
            if (strcmp(uri->segments[0], files[i].name) == 0) return i;
    if (uri->n_segments > 0 && strcmp(uri->segments[0], "api") == 0) return -1;
    if (uri->n_segments > 0 && strchr(uri->segments[uri->n_segments - 1], '.'))
        return -1; /* favicon.ico */
    return 0;
}

static void *read_file(const char *folder, const char *name, size_t *size)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return NULL;
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    char *bytes = malloc(MAX_UI_FILE);
    *size = bytes ? fread(bytes, 1, MAX_UI_FILE, f) : 0;
    fclose(f);
    char *fitted = bytes ? realloc(bytes, *size + 1) : NULL;
    return fitted ? fitted : bytes;
}

/* The token goes into <meta name="conceptome-token" content=""> or, without one, after <head>. */
static void *with_token(const char *html, size_t n, const char *token, size_t *size)
{
    static const char meta[] = "<meta name=\"conceptome-token\" content=\"";
    const char *at = memmem(html, n, meta, sizeof meta - 1);
    const char *head = at ? NULL : memmem(html, n, "<head>", 6);
    size_t before = at     ? (size_t)(at - html) + sizeof meta - 1
                    : head ? (size_t)(head - html) + 6
                           : 0;
    char *out = malloc(n + sizeof meta + 128);
    if (!out) return NULL;
    memcpy(out, html, before);
    *size = before;
    if (at) *size += (size_t)sprintf(out + *size, "%s", token);
    else *size += (size_t)sprintf(out + *size, "%s%s\">", meta, token);
    memcpy(out + *size, html + before, n - before);
    *size += n - before;
    return out;
}

static const cpt_built_in_file *built_in(const char *name)
{
    for (size_t i = 0; i < cpt_n_page_files; i++)
        if (strcmp(cpt_page_files[i].name, name) == 0) return &cpt_page_files[i];
    return NULL;
}

bool cpt_page_find(const cpt_server *s, const cpt_uri *uri, bool accepts_gzip, cpt_page_file *out)
{
    int i = which_file(uri);
    *out = (cpt_page_file){0};
    if (i < 0) return false;
    out->type = files[i].type;
    out->html = i == 0;
    const cpt_built_in_file *file = s->ui_folder ? NULL : built_in(files[i].name);
    if (s->ui_folder) out->bytes = out->owned = read_file(s->ui_folder, files[i].name, &out->size);
    if (file && accepts_gzip && !out->html && file->gzip) {
        out->bytes = file->gzip;
        out->size = file->gzip_size;
        out->gzip = true;
    } else if (file) {
        out->bytes = file->bytes;
        out->size = file->size;
    }
    if (!out->bytes && out->html) {
        out->bytes = no_bundle;
        out->size = sizeof no_bundle - 1;
    }
    if (!out->bytes) return false;
    if (out->html) {
        void *page = with_token(out->bytes, out->size, s->token, &out->size);
        free(out->owned);
        out->bytes = out->owned = page;
        return page != NULL;
    }
    snprintf(out->etag, sizeof out->etag, "\"%016llx%s\"",
             (unsigned long long)fnv(out->bytes, out->size), out->gzip ? "-gz" : "");
    return true;
}
