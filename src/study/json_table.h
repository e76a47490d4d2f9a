/* json_table.h - rows that are JSON objects, as a TSV table. */
#ifndef CPT_STUDY_JSON_TABLE_H
#define CPT_STUDY_JSON_TABLE_H

#include "base/text.h"

#include <jansson.h>

/* One line with the columns' names. `columns` ends with NULL here and below. */
void cpt_json_table_header(const char *const *columns, cpt_text *out);
/* One line per row: texts (tabs and line breaks become blanks), integers, numbers to 6 digits, True
 * or False; NA for whatever is absent or null. */
void cpt_json_table_rows(const char *const *columns, const json_t *rows, cpt_text *out);

#endif
