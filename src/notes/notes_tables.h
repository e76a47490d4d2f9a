/* notes_tables.h - the tables of a notes file, column by column: what export writes and import
 * checks. */
#ifndef CPT_NOTES_NOTES_TABLES_H
#define CPT_NOTES_NOTES_TABLES_H

#include "notes/notes_db.h"

enum { CPT_NOTES_TABLES = 5, CPT_NOTES_COLUMNS = 10 };

/* What a value must be. */
typedef enum cpt_notes_rule {
    RULE_NONE,
    RULE_KEY,        /* 16 hexadecimal digits */
    RULE_UID,        /* 32 */
    RULE_UID_OR_NOT, /* or empty */
    RULE_ITEM,       /* 10 */
    RULE_AUTHOR,
    RULE_TIME,
    RULE_KIND,  /* set, undo, redo */
    RULE_UNIT,  /* concept, neuron, random */
    RULE_FIELD, /* any short text: checked with the value */
    RULE_TEXT,  /* long text, newlines */
    RULE_LINE,
    RULE_COUNT, /* 0 to 2^31 - 1 */
    RULE_PLACE, /* -1 to 2^31 - 1 */
    RULE_SEED,  /* any whole number */
    RULE_FIVE,
    RULE_THREE,  /* 1 to ... */
    RULE_SECONDS /* 0 to a year; real */
} cpt_notes_rule;

typedef struct cpt_notes_table {
    const char *name;
    struct {
        const char *name;
        cpt_notes_rule rule;
    } columns[CPT_NOTES_COLUMNS + 1]; /* a NULL name ends them */
    int n_key;                        /* the first n_key columns tell a row from all others */
} cpt_notes_table;

extern const cpt_notes_table cpt_notes_tables[CPT_NOTES_TABLES];

typedef struct cpt_notes_value {
    char kind; /* 't', 'i', 'd'; 0 = absent */
    const char *text;
    int64_t integer;
    double real;
} cpt_notes_value;

/* A row as it comes out of a file: types, ranges, texts, and what its columns demand of each other.
 */
cpt_status cpt_notes_check_row(const cpt_notes_table *t, const cpt_notes_value *row, cpt_err *e);

#endif
