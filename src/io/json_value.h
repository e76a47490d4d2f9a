/* json_value.h - reading JSON that may lack what is asked for. */
#ifndef CPT_IO_JSON_VALUE_H
#define CPT_IO_JSON_VALUE_H

#include <jansson.h>

double cpt_json_double(const json_t *value);                      /* NaN when it is no number (or NULL) */
const char *cpt_json_text(const json_t *object, const char *key); /* "" when it is no text; borrowed */

#endif
