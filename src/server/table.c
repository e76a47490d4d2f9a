#include "server/server.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tables as TSV, out of the JSON that the pages get, so that both say the same. Objects within a
 * row are spread over columns "columns.donor"; lists are joined by commas; null is NA. */

typedef struct text {
    char *bytes;
    size_t length, capacity;
    bool failed;
} text;

static void add(text *t, const char *s, size_t n)
{
    if (t->failed) return;
    if (t->length + n + 1 > t->capacity) {
        size_t capacity = 2 * (t->length + n + 1);
        char *grown = realloc(t->bytes, capacity);
        if (!grown) {
            t->failed = true;
            return;
        }
        t->bytes = grown;
        t->capacity = capacity;
    }
    memcpy(t->bytes + t->length, s, n);
    t->length += n;
    t->bytes[t->length] = '\0';
}

static void add_text(text *t, const char *s)
{
    add(t, s, strlen(s));
}

/* Tabs and line ends of a name would break the table. */
static void add_plain(text *t, const char *s)
{
    for (; *s; s++) {
        char c = *s == '\t' || *s == '\n' || *s == '\r' ? ' ' : *s;
        add(t, &c, 1);
    }
}

static void add_value(text *t, const json_t *value)
{
    char number[40];
    size_t i;
    json_t *item;
    if (json_is_string(value)) add_plain(t, json_string_value(value));
    else if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        add_text(t, number);
    } else if (json_is_real(value)) {
        snprintf(number, sizeof number, "%.7g", json_real_value(value));
        add_text(t, number);
    } else if (json_is_boolean(value)) {
        add_text(t, json_is_true(value) ? "true" : "false");
    } else if (json_is_array(value)) {
        json_array_foreach((json_t *)(uintptr_t)value, i, item)
        {
            if (i) add_text(t, ",");
            if (json_is_object(
                    item)) { /* a counterfactual, a differing gene: its first text, or number */
                const json_t *name = json_object_get(item, "symbol");
                if (!name) name = json_object_get(item, "id");
                add_value(t, name);
            } else {
                add_value(t, item);
            }
        }
    } else {
        add_text(t, "NA");
    }
}

/* Header (when `header`) or values of a row. Which objects are spread is the first row's choice. */
static void add_row(text *t, const json_t *shape, const json_t *row, bool header,
                    const char *prefix, bool *first)
{
    const char *key;
    json_t *value;
    char name[256];
    json_object_foreach((json_t *)(uintptr_t)shape, key, value)
    {
        const json_t *own = json_object_get(row, key);
        snprintf(name, sizeof name, "%s%s", prefix, key);
        if (json_is_object(value)) {
            char inner[260];
            snprintf(inner, sizeof inner, "%s.", name);
            add_row(t, value, own, header, inner, first);
            continue;
        }
        if (!*first) add_text(t, "\t");
        *first = false;
        if (header) add_plain(t, name);
        else add_value(t, own);
    }
}

/* A first row whose nested object is null would hide its columns: take the first that has it. */
static json_t *shape_of(const json_t *rows)
{
    size_t i;
    json_t *row, *shape = json_object(), *value;
    const char *key;
    json_array_foreach((json_t *)(uintptr_t)rows, i, row)
    {
        if (i > 50) break;
        json_object_foreach(row, key, value)
        {
            const json_t *known = json_object_get(shape, key);
            if (!known || (json_is_null(known) && !json_is_null(value)))
                json_object_set(shape, key, value);
        }
    }
    return shape;
}

static void add_rows(text *t, const json_t *rows)
{
    size_t i;
    json_t *row, *shape = shape_of(rows);
    bool first = true;
    add_row(t, shape, shape, true, "", &first);
    add_text(t, "\n");
    json_array_foreach((json_t *)(uintptr_t)rows, i, row)
    {
        first = true;
        add_row(t, shape, row, false, "", &first);
        add_text(t, "\n");
    }
    json_decref(shape);
}

/* {"n": 2, "frequency": [..], "genes": [[..], ..]}: columns of equal length, numbered. */
static bool add_columns(text *t, const json_t *root)
{
    const char *key;
    json_t *value;
    size_t n = (size_t)json_integer_value(json_object_get(root, "n"));
    if (!json_is_integer(json_object_get(root, "n"))) return false;
    json_t *rows = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *row = json_object();
        json_object_set_new(row, "concept", json_sprintf("c%zu", i));
        json_object_foreach((json_t *)(uintptr_t)root, key,
                            value) if (json_is_array(value) && json_array_size(value) == n)
            json_object_set(row, key, json_array_get(value, i));
        json_array_append_new(rows, row);
    }
    add_rows(t, rows);
    json_decref(rows);
    return true;
}

char *cpt_table_tsv(const char *json, const char *table)
{
    text t = {0};
    json_t *root = json_loads(json, 0, NULL);
    const json_t *rows = json_object_get(root, table ? table : "rows");
    bool found = true;
    const char *key;
    json_t *value;
    if (!rows && !table &&
        !json_is_integer(json_object_get(root, "n"))) /* the first list of rows */
        json_object_foreach(root, key, value) if (!rows && json_is_array(value) &&
                                                  json_is_object(json_array_get(value, 0))) rows =
            value;
    if (json_is_array(rows)) add_rows(&t, rows);
    else found = !table && add_columns(&t, root);
    json_decref(root);
    if (found && !t.failed) return t.bytes;
    free(t.bytes);
    return NULL;
}
