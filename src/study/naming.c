#include "study/naming.h"
#include "base/file.h"
#include "study/store.h"

#include <string.h>

/* A marker set says "these cells look like T cells" whatever the concept is about: as the concept's name it would turn
 * a cell type's best known genes into the label of everything found in such cells. Markers suggest
 * (evaluation.json, `suggested`); terms name. */

static const char *const places[][2] = {{"attribution", "gsea"},
                                        {"attribution", "ora"},
                                        {"expression", "gsea"},
                                        {"expression", "ora"}};
enum { N_PLACES = sizeof places / sizeof *places };

bool cpt_naming_of(const char *ranking, const char *method, bool marker, double q, double log10p, double nes,
                   double log2err, cpt_naming *out)
{
    int place = 0;
    if (marker || !(q < 0.05) || nes < 0) return false;
    while (place < N_PLACES && (strcmp(ranking, places[place][0]) || strcmp(method, places[place][1]))) place++;
    *out = (cpt_naming){place, cpt_strength_of(log10p, nes, log2err)};
    return place < N_PLACES;
}

bool cpt_naming_beats(const cpt_naming *a, const cpt_naming *b)
{
    if (a->place != b->place) return a->place < b->place;
    return cpt_strength_compare(a->strength, b->strength) < 0;
}

cpt_status cpt_marker_collections(const cpt_study *s, json_t **names, cpt_err *e)
{
    json_t *provenance = NULL;
    *names = NULL;
    cpt_status status = cpt_store_read_json(s, "cache/enrichment.json", "enrichment", &provenance, e);
    if (status) return status;
    *names = json_incref(json_object_get(provenance, "marker_collections"));
    json_decref(provenance);
    if (!json_is_array(*names)) {
        json_decref(*names);
        *names = json_array();
    }
    return *names ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

bool cpt_is_marker_collection(const json_t *names, const char *collection)
{
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
        if (json_is_string(name) && strcmp(json_string_value(name), collection) == 0) return true;
    return false;
}
