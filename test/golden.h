/* golden.h - reading the reference data of statistics and enrichment: TSV, JSON, safetensors. */
#ifndef CPT_TEST_GOLDEN_H
#define CPT_TEST_GOLDEN_H

#include "check.h"

#include <jansson.h>

enum { GOLDEN_COLUMNS = 32 };

/* One line at a time of a tab-separated file; the first line is the header. */
typedef struct golden_tsv {
    FILE *file;
    char header[4096], line[4096], *names[GOLDEN_COLUMNS], *fields[GOLDEN_COLUMNS];
    int n;
} golden_tsv;

static inline int golden_split(char *line, char **fields)
{
    int n = 0;
    line[strcspn(line, "\r\n")] = 0;
    for (char *p = line; p && n < GOLDEN_COLUMNS; n++) {
        fields[n] = p;
        p = strchr(p, '\t');
        if (p) *p++ = 0;
    }
    return n;
}

static inline void golden_tsv_open(golden_tsv *t, const char *path)
{
    t->file = fopen(path, "r");
    assert_non_null(t->file);
    assert_non_null(fgets(t->header, sizeof t->header, t->file));
    t->n = golden_split(t->header, t->names);
}

static inline bool golden_tsv_next(golden_tsv *t)
{
    if (!fgets(t->line, sizeof t->line, t->file)) {
        fclose(t->file);
        return false;
    }
    assert_int_equal(golden_split(t->line, t->fields), t->n);
    return true;
}

static inline const char *golden_text(const golden_tsv *t, const char *name)
{
    for (int i = 0; i < t->n; i++)
        if (!strcmp(t->names[i], name)) return t->fields[i];
    fail_msg("no column %s", name);
    return NULL;
}

static inline double golden_number(const golden_tsv *t, const char *name)
{
    const char *s = golden_text(t, name);
    return strcmp(s, "NA") ? strtod(s, NULL) : NAN;
}

static inline json_t *golden_json(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root) fail_msg("%s: line %d: %s", path, error.line, error.text);
    return root;
}

/* A number member of an object, NaN for null. */
static inline double golden_get(const json_t *object, const char *name)
{
    json_t *v = json_object_get(object, name);
    assert_non_null(v);
    return json_is_null(v) ? NAN : json_number_value(v);
}

/* malloc'ed numbers of an array. */
static inline double *golden_array(const json_t *array, int *n)
{
    *n = (int)json_array_size(array);
    double *v = malloc((size_t)(*n + 1) * sizeof *v);
    assert_non_null(v);
    for (int i = 0; i < *n; i++) {
        json_t *x = json_array_get(array, (size_t)i);
        v[i] = json_is_null(x) ? NAN : json_number_value(x);
    }
    return v;
}

/* The bytes of one F64 or I64 tensor of a small safetensors file, malloc'ed. */
static inline void *golden_tensor(const char *path, const char *name, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint64_t length;
    assert_int_equal(fread(&length, sizeof length, 1, f), 1);
    assert_true(length < 1 << 20);
    char *header = calloc(length + 1, 1);
    assert_non_null(header);
    assert_int_equal(fread(header, 1, length, f), length);
    json_t *root = json_loads(header, 0, NULL), *offsets;
    assert_non_null(offsets = json_object_get(json_object_get(root, name), "data_offsets"));
    long from = (long)json_integer_value(json_array_get(offsets, 0));
    *bytes = (size_t)(json_integer_value(json_array_get(offsets, 1)) - from);
    void *data = malloc(*bytes);
    assert_non_null(data);
    assert_int_equal(fseek(f, (long)length + 8 + from, SEEK_SET), 0);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    free(header);
    json_decref(root);
    return data;
}

#endif
