#include "io/json_value.h"

#include <math.h>

double cpt_json_double(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *cpt_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}
