/* notes_check.c - what may stand in a row, whoever sends it: a page, a colleague's file, a
 * stranger's. */
#include "notes/notes_db.h"

#include <string.h>

enum field_kind { FIELD_LINE, FIELD_TEXT, FIELD_NUMBER };

static const struct field {
    const char *name;
    enum field_kind kind;
    char highest; /* digit, of numbers: 1 to highest */
} fields[] = {
    {"name", FIELD_LINE, 0},           {"label", FIELD_LINE, 0},      {"note", FIELD_TEXT, 0},
    {"confidence", FIELD_NUMBER, '3'}, {"rating", FIELD_NUMBER, '5'}, {"done", FIELD_NUMBER, '1'},
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

cpt_status cpt_notes_check_text(const char *what, const char *text, size_t most, bool lines,
                                cpt_err *e)
{
    size_t n = strlen(text);
    if (n > most)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: %zu bytes, at most %zu are kept; shorten it", what,
                        n, most);
    if (!cpt_utf8_valid(text, n)) return cpt_fail(e, CPT_ERR_USAGE, "%s: not valid UTF-8", what);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool control = *p < 0x20 || *p == 0x7F || (*p == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0);
        if (control && !(lines && (*p == '\n' || *p == '\t')))
            return cpt_fail(e, CPT_ERR_USAGE, "%s: has a control character (byte %d)", what, *p);
    }
    return CPT_OK;
}

cpt_status cpt_notes_check_author(const char *author, cpt_err *e)
{
    if (!*author) return cpt_fail(e, CPT_ERR_USAGE, "author: is empty; say who you are");
    if (author[0] == ' ' || author[strlen(author) - 1] == ' ')
        return cpt_fail(e, CPT_ERR_USAGE, "author: begins or ends with a space");
    return cpt_notes_check_text("author", author, CPT_NOTES_AUTHOR, false, e);
}

cpt_status cpt_notes_check_value(const char *field, const char *value, cpt_err *e)
{
    const struct field *f = fields;
    while (f < fields + N_FIELDS && strcmp(f->name, field) != 0) f++;
    if (f == fields + N_FIELDS)
        return cpt_fail(e, CPT_ERR_USAGE,
                        "field: '%.40s' is not one of name, label, note, confidence, rating, done",
                        field);
    if (f->kind != FIELD_NUMBER)
        return cpt_notes_check_text(field, value,
                                    f->kind == FIELD_TEXT ? CPT_NOTES_TEXT : CPT_NOTES_LINE,
                                    f->kind == FIELD_TEXT, e);
    if (*value && (value[1] || value[0] < '1' || value[0] > f->highest))
        return cpt_fail(e, CPT_ERR_USAGE, "%s: '%.40s' is not a whole number from 1 to %c", field,
                        value, f->highest);
    return CPT_OK;
}
