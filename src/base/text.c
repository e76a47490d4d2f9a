#include "base/text.h"
#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- growing text ---- */

static bool text_reserve(cpt_text *t, size_t more)
{
    if (t->failed) return false;
    if (more > SIZE_MAX / 2 - t->length ||
        cpt_grow(&t->bytes, &t->capacity, t->length + more + 1, 1, NULL) != CPT_OK)
        t->failed = true;
    return !t->failed;
}

void cpt_text_add_bytes(cpt_text *t, const char *s, size_t n)
{
    if (!text_reserve(t, n)) return;
    if (n) memcpy(t->bytes + t->length, s, n);
    t->length += n;
    t->bytes[t->length] = '\0';
}

void cpt_text_add(cpt_text *t, const char *s)
{
    cpt_text_add_bytes(t, s, strlen(s));
}

void cpt_text_addf(cpt_text *t, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) t->failed = true;
    if (n >= 0 && text_reserve(t, (size_t)n)) {
        vsnprintf(t->bytes + t->length, (size_t)n + 1, fmt, again);
        t->length += (size_t)n;
    }
    va_end(again);
}

/* Length of the valid UTF-8 sequence at s (at most n bytes), 0 when there is none. */
static size_t utf8_sequence(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80) return 1;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n < len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (s[0] == 0xe0 && s[1] < 0xa0) return 0; /* overlong */
    if (s[0] == 0xed && s[1] > 0x9f) return 0; /* surrogate */
    if (s[0] == 0xf0 && s[1] < 0x90) return 0; /* overlong */
    if (s[0] == 0xf4 && s[1] > 0x8f) return 0; /* above U+10FFFF */
    return len;
}

void cpt_text_add_html(cpt_text *t, const char *s)
{
    for (size_t n = strlen(s), i = 0; i < n;) {
        size_t len = utf8_sequence((const unsigned char *)s + i, n - i);
        unsigned char c = (unsigned char)s[i];
        if (len == 0) cpt_text_add(t, "\xef\xbf\xbd");
        else if (c == '&') cpt_text_add(t, "&amp;");
        else if (c == '<') cpt_text_add(t, "&lt;");
        else if (c == '>') cpt_text_add(t, "&gt;");
        else if (c == '"') cpt_text_add(t, "&quot;");
        else if (c == '\'') cpt_text_add(t, "&#39;");
        else if (c < 0x20 && c != '\n' && c != '\t') cpt_text_add(t, "\xef\xbf\xbd");
        else cpt_text_add_bytes(t, s + i, len);
        i += len ? len : 1;
    }
}

const char *cpt_text_str(const cpt_text *t)
{
    return t->bytes ? t->bytes : "";
}

cpt_status cpt_text_status(const cpt_text *t, cpt_err *e)
{
    return t->failed ? cpt_fail(e, CPT_ERR_MEMORY, "out of memory while composing text") : CPT_OK;
}

void cpt_text_free(cpt_text *t)
{
    free(t->bytes);
    *t = (cpt_text){0};
}

/* ---- list of strings ---- */

cpt_status cpt_strings_add(cpt_strings *s, const char *text, size_t length, cpt_err *e)
{
    cpt_status status = cpt_grow(&s->offsets, &s->n_capacity, (size_t)s->n + 1, sizeof *s->offsets, e);
    if (status) return status;
    status = cpt_grow(&s->blob, &s->blob_capacity, s->blob_length + length + 1, 1, e);
    if (status) return status;
    s->offsets[s->n++] = (int64_t)s->blob_length;
    if (length) memcpy(s->blob + s->blob_length, text, length);
    s->blob_length += length;
    s->blob[s->blob_length++] = '\0';
    return CPT_OK;
}

void cpt_strings_free(cpt_strings *s)
{
    free(s->blob);
    free(s->offsets);
    *s = (cpt_strings){0};
}

/* ---- index: open addressing, linear probing, load at most one half ---- */

typedef struct slot {
    const char *key;
    int64_t value;
    uint64_t hash;
} slot;

struct cpt_index {
    slot *slots;
    size_t n_slots, n_used; /* n_slots is a power of two */
};

static uint64_t hash_bytes(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, then a finaliser so that the low bits are good */
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    h ^= h >> 32;
    return h * 0x9e3779b97f4a7c15u;
}

static slot *find_slot(const cpt_index *ix, const char *key, size_t n, uint64_t hash)
{
    size_t mask = ix->n_slots - 1, i = (size_t)(hash >> 20) & mask;
    for (;; i = (i + 1) & mask) {
        slot *s = &ix->slots[i];
        if (!s->key) return s;
        if (s->hash == hash && strncmp(s->key, key, n) == 0 && s->key[n] == '\0') return s;
    }
}

cpt_index *cpt_index_new(size_t expected, cpt_err *e)
{
    cpt_index *ix = calloc(1, sizeof *ix);
    if (!ix) {
        cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        return NULL;
    }
    for (ix->n_slots = 16; ix->n_slots < 2 * expected; ix->n_slots *= 2) {}
    if (cpt_alloc(&ix->slots, ix->n_slots, sizeof *ix->slots, e) != CPT_OK) {
        free(ix);
        return NULL;
    }
    return ix;
}

static cpt_status index_rehash(cpt_index *ix, cpt_err *e)
{
    cpt_index bigger = {.n_slots = ix->n_slots * 2, .n_used = ix->n_used};
    cpt_status status = cpt_alloc(&bigger.slots, bigger.n_slots, sizeof *bigger.slots, e);
    if (status) return status;
    for (size_t i = 0; i < ix->n_slots; i++) {
        const slot *s = &ix->slots[i];
        if (s->key) *find_slot(&bigger, s->key, strlen(s->key), s->hash) = *s;
    }
    free(ix->slots);
    *ix = bigger;
    return CPT_OK;
}

cpt_status cpt_index_add(cpt_index *ix, const char *key, int64_t value, int64_t *existing, cpt_err *e)
{
    if (2 * (ix->n_used + 1) > ix->n_slots) {
        cpt_status status = index_rehash(ix, e);
        if (status) return status;
    }
    size_t n = strlen(key);
    uint64_t hash = hash_bytes(key, n);
    slot *s = find_slot(ix, key, n, hash);
    if (!s->key) {
        *s = (slot){key, value, hash};
        ix->n_used++;
    }
    if (existing) *existing = s->value;
    return CPT_OK;
}

int64_t cpt_index_get_n(const cpt_index *ix, const char *key, size_t length)
{
    const slot *s = find_slot(ix, key, length, hash_bytes(key, length));
    return s->key ? s->value : -1;
}

int64_t cpt_index_get(const cpt_index *ix, const char *key)
{
    return cpt_index_get_n(ix, key, strlen(key));
}

size_t cpt_index_size(const cpt_index *ix)
{
    return ix->n_used;
}

void cpt_index_free(cpt_index *ix)
{
    if (!ix) return;
    free(ix->slots);
    free(ix);
}

/* ---- helpers ---- */

bool cpt_utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = utf8_sequence((const unsigned char *)s + i, n - i);
        if (!len) return false;
        i += len;
    }
    return true;
}

bool cpt_parse_i64(const char *s, int64_t *out)
{
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (end == s || *end || errno) return false;
    *out = v;
    return true;
}

bool cpt_parse_double(const char *s, double *out)
{
    char *end;
    if (*s == ' ' || *s == '\t') return false;
    *out = strtod(s, &end);
    return end != s && *end == '\0';
}

void cpt_format_number(double x, char text[64])
{
    double back;
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, 64, "%.*g", digits, x);
        if (cpt_parse_double(text, &back) && back == x) return;
    }
}

static size_t edit_distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= 63 || strlen(a) >= 63) return 64;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

const char *cpt_nearest_word(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2;
    for (size_t i = 0; i < n; i++) {
        size_t d = edit_distance(word, candidates[i]);
        if (d < best_distance) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}
