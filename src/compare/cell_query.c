#include "compare/cell_query.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Conditions are read one after the other, each clearing the cells that fail it: O(cells x
 * conditions).
 *
 * Trap: labels hold blanks, '=' and even '&' ("T & NK"): the operator is the first one after the
 * name, and quotation marks protect an '&'. */

enum { MAX_TEXT = 1024, MAX_NAMES = 512, MAX_SHOWN = 8 };

typedef enum comparison { EQUAL, NOT_EQUAL, ABOVE, AT_LEAST, BELOW, AT_MOST } comparison;

typedef struct condition {
    char name[MAX_TEXT], value[MAX_TEXT];
    comparison how;
    bool bare; /* a name alone: active, inactive */
} condition;

typedef struct scope {
    const cpt_cells *cells;
    const cpt_activations *u;
    int32_t concept;
    uint8_t *keep;
} scope;

/* ---- reading ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* [from, to) without blanks at its ends. */
static cpt_status copy_trimmed(const char *from, const char *to, char text[MAX_TEXT], cpt_err *e)
{
    while (from < to && is_blank(*from)) from++;
    while (to > from && is_blank(to[-1])) to--;
    if (to - from >= MAX_TEXT)
        return cpt_fail(e, CPT_ERR_USAGE, "--cells: a name or value is longer than %d bytes",
                        MAX_TEXT - 1);
    memcpy(text, from, (size_t)(to - from));
    text[to - from] = '\0';
    return CPT_OK;
}

static const char *read_operator(const char *p, comparison *how)
{
    static const struct {
        const char *sign;
        comparison how;
    } signs[] = {{"==", EQUAL}, {"!=", NOT_EQUAL}, {">=", AT_LEAST}, {"<=", AT_MOST},
                 {">", ABOVE},  {"<", BELOW},      {"=", EQUAL}};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        const size_t n = strlen(signs[i].sign);
        if (strncmp(p, signs[i].sign, n) != 0) continue;
        *how = signs[i].how;
        return p + n;
    }
    return NULL;
}

/* A value in quotation marks; *at moves behind it. */
static cpt_status read_quoted(const char **at, char value[MAX_TEXT], cpt_err *e)
{
    const char *from = *at + 1, *end = strchr(from, '"');
    if (!end)
        return cpt_fail(e, CPT_ERR_USAGE, "--cells: the quotation mark before '%s' is not closed",
                        from);
    if (end - from >= MAX_TEXT)
        return cpt_fail(e, CPT_ERR_USAGE, "--cells: a value is longer than %d bytes", MAX_TEXT - 1);
    memcpy(value, from, (size_t)(end - from));
    value[end - from] = '\0';
    for (end++; is_blank(*end); end++) {}
    if (*end && *end != '&')
        return cpt_fail(e, CPT_ERR_USAGE,
                        "--cells: '%s' follows a value in quotation marks; join conditions with &",
                        end);
    *at = end;
    return CPT_OK;
}

static cpt_status read_value(const char **at, char value[MAX_TEXT], cpt_err *e)
{
    while (is_blank(**at)) (*at)++;
    if (**at == '"') return read_quoted(at, value, e);
    const char *end = *at + strcspn(*at, "&");
    cpt_status status = copy_trimmed(*at, end, value, e);
    *at = end;
    return status;
}

/* The next condition; *at moves to the '&' or the end behind it. */
static cpt_status read_condition(const char **at, condition *c, cpt_err *e)
{
    const char *end = *at + strcspn(*at, "=!<>&"), *after;
    *c = (condition){.bare = true};
    while (*end == '!' && end[1] != '=') end += 1 + strcspn(end + 1, "=!<>&");
    cpt_status status = copy_trimmed(*at, end, c->name, e);
    if (status) return status;
    if (!c->name[0])
        return cpt_fail(e, CPT_ERR_USAGE,
                        "--cells: a condition is empty; write NAME==VALUE, NAME>NUMBER, active or "
                        "inactive, joined with &");
    after = read_operator(end, &c->how);
    *at = end;
    if (!after) return CPT_OK;
    c->bare = false;
    *at = after;
    status = read_value(at, c->value, e);
    if (!status && !c->value[0] && (c->how > NOT_EQUAL))
        return cpt_fail(e, CPT_ERR_USAGE, "--cells: '%s' is compared with nothing", c->name);
    return status;
}

/* ---- judging ---- */

static bool number_fits(double x, comparison how, double limit)
{
    switch (how) {
    case EQUAL: return x == limit;
    case NOT_EQUAL: return x < limit || x > limit; /* not of NaN */
    case ABOVE: return x > limit;
    case AT_LEAST: return x >= limit;
    case BELOW: return x < limit;
    default: return x <= limit;
    }
}

static cpt_status read_limit(const condition *c, double *limit, cpt_err *e)
{
    if (cpt_parse_double(c->value, limit) && !isnan(*limit)) return CPT_OK;
    return cpt_fail(e, CPT_ERR_USAGE, "--cells: '%s' holds numbers and is compared with '%s'",
                    c->name, c->value);
}

static cpt_status apply_numbers(scope *s, const condition *c, const double *numbers, cpt_err *e)
{
    double limit;
    cpt_status status = read_limit(c, &limit, e);
    for (int64_t i = 0; status == CPT_OK && i < s->cells->n_cells; i++)
        s->keep[i] &= number_fits(numbers[i], c->how, limit);
    return status;
}

static cpt_status unknown_value(const condition *c, const cpt_column *column, cpt_err *e)
{
    const char *names[MAX_NAMES];
    size_t n = 0;
    cpt_text shown = {0};
    for (int64_t k = 0; k < column->categories.n && n < MAX_NAMES; k++)
        names[n++] = cpt_strings_get(&column->categories, k);
    const char *near = cpt_nearest_word(c->value, names, n);
    for (size_t k = 0; k < n && k < MAX_SHOWN; k++)
        cpt_text_addf(&shown, "%s%s", k ? ", " : "", names[k]);
    cpt_status status = cpt_fail(
        e, CPT_ERR_USAGE, "--cells: no cell has '%s' in column '%s'%s%s%s; it holds %s%s", c->value,
        c->name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
        cpt_text_str(&shown), column->categories.n > MAX_SHOWN ? ", ..." : "");
    cpt_text_free(&shown);
    return status;
}

static cpt_status apply_categories(scope *s, const condition *c, const cpt_column *column,
                                   cpt_err *e)
{
    int32_t wanted = -1;
    if (c->how > NOT_EQUAL)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "--cells: column '%s' holds texts: only == and != can be asked of it",
                        c->name);
    for (int64_t k = 0; k < column->categories.n && wanted < 0; k++)
        if (strcmp(cpt_strings_get(&column->categories, k), c->value) == 0) wanted = (int32_t)k;
    if (wanted < 0) return unknown_value(c, column, e);
    for (int64_t i = 0; i < s->cells->n_cells; i++) {
        const int32_t code = column->codes[i];
        s->keep[i] &= code >= 0 && (code == wanted) == (c->how == EQUAL);
    }
    return CPT_OK;
}

/* Sums or numbers of genes of each cell, for inputs whose obs lacks them. */
static cpt_status apply_totals(scope *s, const condition *c, bool genes, cpt_err *e)
{
    const cpt_csr *m = &s->cells->by_cell;
    double *totals = NULL;
    if (!s->cells->has_counts)
        return cpt_fail(e, CPT_ERR_USAGE, "--cells: '%s': this input has no counts", c->name);
    cpt_status status = cpt_alloc(&totals, (size_t)s->cells->n_cells, sizeof *totals, e);
    if (status) return status;
    for (int64_t i = 0; i < s->cells->n_cells; i++)
        for (int64_t k = m->indptr[i]; k < m->indptr[i + 1]; k++)
            totals[i] += genes ? (m->values[k] > 0) : (double)m->values[k];
    status = apply_numbers(s, c, totals, e);
    free(totals);
    return status;
}

static cpt_status apply_activation(scope *s, const condition *c, int32_t concept, cpt_err *e)
{
    double *column = NULL;
    cpt_status status = cpt_alloc(&column, (size_t)s->cells->n_cells, sizeof *column, e);
    if (status) return status;
    const cpt_csr *m = &s->u->by_concept;
    for (int64_t k = m->indptr[concept]; k < m->indptr[concept + 1]; k++)
        column[m->indices[k]] = m->values[k];
    status = apply_numbers(s, c, column, e);
    free(column);
    return status;
}

static cpt_status apply_active(scope *s, bool active, cpt_err *e)
{
    uint8_t *on = NULL;
    cpt_status status = cpt_alloc(&on, (size_t)s->cells->n_cells, 1, e);
    if (status) return status;
    const cpt_csr *m = &s->u->by_concept;
    for (int64_t k = m->indptr[s->concept]; k < m->indptr[s->concept + 1]; k++)
        on[m->indices[k]] = 1;
    for (int64_t i = 0; i < s->cells->n_cells; i++)
        s->keep[i] &= s->u->usable[i] && on[i] == active;
    free(on);
    return CPT_OK;
}

/* "c12" of a dictionary that has it; else -1. */
static int32_t concept_named(const scope *s, const char *name)
{
    int64_t number;
    if (name[0] != 'c' || name[1] < '0' || name[1] > '9' || !cpt_parse_i64(name + 1, &number) ||
        number >= s->u->n_concepts)
        return -1;
    return (int32_t)number;
}

static cpt_status unknown_column(const scope *s, const condition *c, cpt_err *e)
{
    const char *names[MAX_NAMES] = {"active", "inactive", "n_counts", "n_genes"};
    size_t n = 4;
    cpt_text shown = {0};
    for (int32_t i = 0; i < s->cells->obs.n_columns && n < MAX_NAMES; i++)
        names[n++] = s->cells->obs.columns[i].name;
    const char *near = cpt_nearest_word(c->name, names, n);
    for (size_t k = 4; k < n && k < 4 + MAX_SHOWN; k++)
        cpt_text_addf(&shown, "%s%s", k > 4 ? ", " : "", names[k]);
    cpt_status status =
        cpt_fail(e, CPT_ERR_USAGE, "--cells: obs has no column '%s'%s%s%s; it has %s%s", c->name,
                 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
                 n > 4 ? cpt_text_str(&shown) : "none", n > 4 + MAX_SHOWN ? ", ..." : "");
    cpt_text_free(&shown);
    return status;
}

static cpt_status apply(scope *s, const condition *c, cpt_err *e)
{
    const cpt_column *column = cpt_table_find(&s->cells->obs, c->name);
    if (c->bare) {
        if (strcmp(c->name, "active") == 0) return apply_active(s, true, e);
        if (strcmp(c->name, "inactive") == 0) return apply_active(s, false, e);
        return cpt_fail(e, CPT_ERR_USAGE,
                        "--cells: '%s' is no condition; write NAME==VALUE, NAME>NUMBER, active or "
                        "inactive",
                        c->name);
    }
    if (column && column->kind == CPT_COLUMN_CATEGORY) return apply_categories(s, c, column, e);
    if (column) return apply_numbers(s, c, column->numbers, e);
    if (strcmp(c->name, "n_counts") == 0) return apply_totals(s, c, false, e);
    if (strcmp(c->name, "n_genes") == 0) return apply_totals(s, c, true, e);
    const int32_t concept = concept_named(s, c->name);
    return concept >= 0 ? apply_activation(s, c, concept, e) : unknown_column(s, c, e);
}

cpt_status cpt_cell_query(const char *query, const cpt_cells *cells, const cpt_activations *u,
                          int32_t concept, uint8_t *keep, int64_t *n, cpt_err *e)
{
    scope s = {cells, u, concept, keep};
    const char *at = query;
    cpt_status status = CPT_OK;
    memset(keep, 1, (size_t)cells->n_cells);
    while (is_blank(*at)) at++;
    while (*at && status == CPT_OK) {
        condition c;
        status = read_condition(&at, &c, e);
        if (status == CPT_OK) status = apply(&s, &c, e);
        if (status == CPT_OK && *at == '&') {
            at++;
            if (!at[strspn(at, " \t")])
                status = cpt_fail(e, CPT_ERR_USAGE, "--cells: nothing follows the last &");
        }
    }
    *n = 0;
    for (int64_t i = 0; i < cells->n_cells; i++) *n += keep[i];
    return status;
}
