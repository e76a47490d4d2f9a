#include "view/term_list.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Terms are those of the families that were tested; one that the table has and the families do not (another release
 * since) is added by name. */

cpt_status cpt_term_list_make(cpt_term_list *t, cpt_err *e)
{
    *t = (cpt_term_list){.numbers = cpt_index_new(1 << 16, e)};
    return t->numbers ? CPT_OK : e ? e->code : CPT_ERR_MEMORY;
}

void cpt_term_list_free(cpt_term_list *t)
{
    for (int64_t i = 0; i < t->ids.n; i++) {
        free(t->keys[i]);
        free(t->titles[i]);
    }
    free(t->keys);
    free(t->titles);
    free(t->facts);
    cpt_index_free(t->numbers);
    cpt_strings_free(&t->ids);
    cpt_strings_free(&t->names);
    cpt_strings_free(&t->definitions);
    cpt_strings_free(&t->collections);
}

cpt_status cpt_name_number(cpt_strings *list, const char *name, int32_t *number, cpt_err *e)
{
    for (*number = 0; *number < list->n; ++*number)
        if (strcmp(cpt_strings_get(list, *number), name) == 0) return CPT_OK;
    return cpt_strings_add(list, name, strlen(name), e);
}

static cpt_status term_key(const char *collection, const char *id, cpt_text *key, cpt_err *e)
{
    key->length = 0;
    cpt_text_addf(key, "%s\t%s", collection, id);
    return cpt_text_status(key, e);
}

/* A row may name the term that stands for it before that term's own row has come. */
static cpt_status learn_title(cpt_term_list *t, int64_t n, const char *name, cpt_err *e)
{
    const char *id = cpt_strings_get(&t->ids, n);
    if (t->titles[n] || strcmp(cpt_strings_get(&t->names, n), id) != 0 || strcmp(name, id) == 0)
        return CPT_OK;
    t->titles[n] = cpt_strdup(name);
    return t->titles[n] ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

cpt_status cpt_term_list_number(cpt_term_list *t, const char *collection, const char *id, const char *name,
                                const char *definition, int32_t *number, cpt_err *e)
{
    cpt_text key = {0};
    cpt_status status;
    int32_t family;
    CPT_TRY(term_key(collection, id, &key, e));
    int64_t known = cpt_index_get(t->numbers, cpt_text_str(&key));
    if (known >= 0) {
        *number = (int32_t)known;
        status = learn_title(t, known, name, e);
        goto done;
    }
    int64_t n = t->ids.n;
    CPT_TRY(cpt_name_number(&t->collections, collection, &family, e));
    CPT_TRY(cpt_grow(&t->keys, &t->key_capacity, (size_t)n + 1, sizeof *t->keys, e));
    CPT_TRY(cpt_grow(&t->titles, &t->title_capacity, (size_t)n + 1, sizeof *t->titles, e));
    CPT_TRY(cpt_grow(&t->facts, &t->number_capacity, CPT_N_TERM_FACTS * ((size_t)n + 1), sizeof *t->facts, e));
    CPT_TRY(cpt_strings_add(&t->names, name, strlen(name), e));
    CPT_TRY(cpt_strings_add(&t->definitions, definition, strlen(definition), e));
    t->keys[n] = t->titles[n] = NULL;
    CPT_TRY(cpt_strings_add(&t->ids, id, strlen(id), e));
    double *facts = t->facts + CPT_N_TERM_FACTS * n;
    facts[CPT_TERM_COLLECTION] = family;
    facts[CPT_TERM_SIZE] = 0;
    facts[CPT_TERM_IC] = NAN;
    t->keys[n] = key.bytes;
    key = (cpt_text){0};
    CPT_TRY(cpt_index_add(t->numbers, t->keys[n], n, NULL, e));
    *number = (int32_t)n;
done:
    cpt_text_free(&key);
    return status;
}

/* ---- into the index ---- */

json_t *cpt_names_json(const cpt_strings *s)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < s->n; i++)
        json_array_append_new(list, json_string(cpt_strings_get(s, i)));
    return list;
}

static cpt_status put_names(cpt_index_job *job, const cpt_term_list *t, cpt_err *e)
{
    cpt_strings names = {0};
    cpt_status status = CPT_OK;
    for (int64_t i = 0; i < t->ids.n && status == CPT_OK; i++) {
        const char *name = t->titles[i] ? t->titles[i] : cpt_strings_get(&t->names, i);
        status = cpt_strings_add(&names, name, strlen(name), e);
    }
    if (status == CPT_OK) status = cpt_index_put_strings(job, "terms.names", &names, e);
    cpt_strings_free(&names);
    return status;
}

cpt_status cpt_term_list_put(cpt_index_job *job, const cpt_term_list *t, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_index_put_strings(job, "terms.ids", &t->ids, e));
    CPT_TRY(put_names(job, t, e));
    CPT_TRY(cpt_index_put_strings(job, "terms.definitions", &t->definitions, e));
    status = cpt_index_put(job, "terms.numbers", CPT_F64, t->ids.n, CPT_N_TERM_FACTS,
                           t->facts ? (const void *)t->facts : "", e);
    json_object_set_new(job->head, "collections", cpt_names_json(&t->collections));
done:
    return status;
}
