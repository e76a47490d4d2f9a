/* tsv.h - fields of separated text, split in place. */
#ifndef CPT_IO_TSV_H
#define CPT_IO_TSV_H

#include <stddef.h>

/* Cuts `line` at every `separator` (overwritten by NUL) and stores the first `max` fields. Returns the
 * number of fields in the line, which may exceed `max`; an empty line has one empty field. */
size_t cpt_tsv_split(char *line, char separator, char **fields, size_t max);

/* Number of the column called `name` in a split header; -1 when absent. */
int cpt_tsv_column(char *const *fields, size_t n, const char *name);

#endif
