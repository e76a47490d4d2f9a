#include "study/json_table.h"

#include <string.h>

/* Texts come from input files: what would break the table is blanked. */
static void add_text(cpt_text *out, const char *s)
{
    while (*s) {
        const size_t n = strcspn(s, "\t\r\n");
        cpt_text_add_bytes(out, s, n);
        s += n;
        if (!*s) break;
        cpt_text_add(out, " ");
        s++;
    }
}

static void add_value(cpt_text *out, const json_t *v)
{
    if (json_is_string(v)) add_text(out, json_string_value(v));
    else if (json_is_integer(v)) cpt_text_addf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v)) cpt_text_addf(out, "%.6g", json_real_value(v));
    else if (json_is_boolean(v)) cpt_text_add(out, json_is_true(v) ? "True" : "False");
    else cpt_text_add(out, "NA");
}

void cpt_json_table_header(const char *const *columns, cpt_text *out)
{
    for (size_t k = 0; columns[k]; k++) cpt_text_addf(out, "%s%s", k ? "\t" : "", columns[k]);
    cpt_text_add(out, "\n");
}

void cpt_json_table_rows(const char *const *columns, const json_t *rows, cpt_text *out)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        for (size_t k = 0; columns[k]; k++) {
            if (k) cpt_text_add(out, "\t");
            add_value(out, json_object_get(row, columns[k]));
        }
        cpt_text_add(out, "\n");
    }
}
