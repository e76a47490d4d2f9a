/* notes_summary.c - one line per concept out of what all experts said: for tables and the report.
 *
 * A name or label is that of the latest change; how many different names there are stands beside
 * it, so that a table never hides that experts disagree. */
#include "base/memory.h"
#include "io/json_value.h"
#include "notes/notes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything about one concept: rows [n], ascending in time. */
typedef struct collected {
    const json_t **rows;
    size_t n;
} collected;

static int32_t count_different(const collected *c, const char *key, const char *field)
{
    int32_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        bool new = !field || strcmp(cpt_json_text(c->rows[i], "field"), field) == 0;
        for (size_t j = 0; new &&j < i; j++)
            new = strcmp(cpt_json_text(c->rows[i], key), cpt_json_text(c->rows[j], key)) != 0 ||
                  (field && strcmp(cpt_json_text(c->rows[j], "field"), field) != 0);
        n += new;
    }
    return n;
}

static const char *latest(const collected *c, const char *field)
{
    const char *value = "";
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(cpt_json_text(c->rows[i], "field"), field) == 0)
            value = cpt_json_text(c->rows[i], "value");
    return value;
}

static cpt_status keep(cpt_notes_opinions *o, const char *text, int64_t *at, cpt_err *e)
{
    *at = o->texts.n;
    return cpt_strings_add(&o->texts, text, strlen(text), e);
}

/* Texts are kept by number until all are there: the list moves while it grows. */
static cpt_status make_opinion(cpt_notes_opinions *o, const collected *c, int32_t concept,
                               int64_t at[3], cpt_err *e)
{
    cpt_notes_opinion *r = &o->rows[o->n++];
    cpt_text notes = {0};
    double sum = 0;
    *r = (cpt_notes_opinion){.concept = concept, .rating = NAN};
    for (size_t i = 0; i < c->n; i++) {
        const char *field = cpt_json_text(c->rows[i], "field"),
                   *value = cpt_json_text(c->rows[i], "value");
        if (strcmp(field, "rating") == 0) {
            sum += value[0] - '0';
            r->n_ratings++;
        }
        if (strcmp(field, "note") == 0)
            cpt_text_addf(&notes, "%s%s: %s", notes.length ? "\n" : "",
                          cpt_json_text(c->rows[i], "author"), value);
    }
    if (r->n_ratings) r->rating = sum / r->n_ratings;
    r->n_names = count_different(c, "value", "name");
    r->n_experts = count_different(c, "author", NULL);
    cpt_status status = cpt_text_status(&notes, e);
    if (status == CPT_OK) status = keep(o, latest(c, "name"), &at[0], e);
    if (status == CPT_OK) status = keep(o, latest(c, "label"), &at[1], e);
    if (status == CPT_OK) status = keep(o, cpt_text_str(&notes), &at[2], e);
    cpt_text_free(&notes);
    return status;
}

static int by_concept(const void *a, const void *b)
{
    const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
    json_int_t p = json_integer_value(json_object_get(x, "concept")),
               q = json_integer_value(json_object_get(y, "concept"));
    if (p != q) return (p > q) - (p < q);
    int by_time = strcmp(cpt_json_text(x, "time"), cpt_json_text(y, "time"));
    return by_time ? by_time
                   : (json_integer_value(json_object_get(x, "revision")) >
                      json_integer_value(json_object_get(y, "revision"))) -
                         (json_integer_value(json_object_get(x, "revision")) <
                          json_integer_value(json_object_get(y, "revision")));
}

cpt_status cpt_notes_summarise(cpt_notes *n, cpt_notes_opinions *out, cpt_err *e)
{
    json_t *list = NULL;
    const json_t **rows = NULL;
    int64_t(*at)[3] = NULL;
    cpt_status status;
    *out = (cpt_notes_opinions){0};
    CPT_TRY(cpt_notes_rows(n, NULL, &list, e));
    const json_t *all = json_object_get(list, "rows");
    size_t m = json_array_size(all);
    CPT_TRY(cpt_alloc(&rows, m, sizeof *rows, e));
    CPT_TRY(cpt_alloc(&at, m, sizeof *at, e));
    CPT_TRY(cpt_alloc(&out->rows, m, sizeof *out->rows, e));
    for (size_t i = 0; i < m; i++) rows[i] = json_array_get(all, i);
    qsort(rows, m, sizeof *rows, by_concept);
    for (size_t first = 0, end; first < m; first = end) {
        json_int_t concept = json_integer_value(json_object_get(rows[first], "concept"));
        for (end = first;
             end < m && json_integer_value(json_object_get(rows[end], "concept")) == concept;)
            end++;
        const collected c = {rows + first, end - first};
        CPT_TRY(make_opinion(out, &c, (int32_t) concept, at[out->n], e));
    }
    for (int32_t i = 0; i < out->n; i++) {
        out->rows[i].name = cpt_strings_get(&out->texts, at[i][0]);
        out->rows[i].label = cpt_strings_get(&out->texts, at[i][1]);
        out->rows[i].notes = cpt_strings_get(&out->texts, at[i][2]);
    }
done:
    if (status) cpt_notes_opinions_free(out);
    json_decref(list);
    free(rows);
    free(at);
    return status;
}

void cpt_notes_opinions_free(cpt_notes_opinions *o)
{
    free(o->rows);
    cpt_strings_free(&o->texts);
    *o = (cpt_notes_opinions){0};
}

const cpt_notes_opinion *cpt_notes_opinion_of(const cpt_notes_opinions *o, int32_t concept)
{
    int32_t low = 0, high = o->n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (o->rows[middle].concept < concept) low = middle + 1;
        else high = middle;
    }
    return low < o->n && o->rows[low].concept == concept ? &o->rows[low] : NULL;
}
