/* tsv.c - fields of separated text, split in place.
 *
 * The formats of this room (gene table, GAF, GMT) are lines of TAB-separated fields without quoting:
 * a field ends at the separator and nowhere else, and empty fields count. strtok would merge
 * empty fields, hence these two functions. Linear in the length of the line.
 */
#include "io/tsv.h"

#include <string.h>

size_t cpt_tsv_split(char *line, char separator, char **fields, size_t max)
{
    size_t n = 0;
    for (;;) {
        if (n < max) fields[n] = line;
        n++;
        char *end = strchr(line, separator);
        if (!end) return n;
        *end = '\0';
        line = end + 1;
    }
}

int cpt_tsv_column(char *const *fields, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i], name) == 0) return (int)i;
    return -1;
}
