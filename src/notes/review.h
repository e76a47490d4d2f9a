/* review.h - blind review: experts rate concepts among neurons and random directions
 * (doc/methods.md).
 *
 * A session is a list of items of one expert: units of three kinds in random order, a tenth of them
 * shown twice. Which units are drawn depends on the seed alone, so that sessions of one seed are
 * about the same units; the order and the names of the items depend on seed and expert. Answers are
 * rows that stay; of several answers to an item the last counts. */
#ifndef CPT_NOTES_REVIEW_H
#define CPT_NOTES_REVIEW_H

#include "notes/notes.h"

enum {
    CPT_REVIEW_ITEM = 10, /* hexadecimal digits of an item's name */
    CPT_REVIEW_LEAST = 3, /* items that a session may have, repeats not counted */
    CPT_REVIEW_MOST = 2000
};

typedef enum cpt_unit_kind {
    CPT_UNIT_CONCEPT,
    CPT_UNIT_NEURON,
    CPT_UNIT_RANDOM,
    CPT_UNIT_KINDS
} cpt_unit_kind;
extern const char *const cpt_unit_kind_names[CPT_UNIT_KINDS]; /* "concept", "neuron", "random" */

/* The units of a kind that are active in enough cells to be looked at. */
typedef struct cpt_review_pool {
    int32_t n[CPT_UNIT_KINDS];
    const int32_t *units[CPT_UNIT_KINDS];
    const char (*keys[CPT_UNIT_KINDS])[CPT_NOTES_KEY + 1]; /* parallel to units */
} cpt_review_pool;

typedef struct cpt_review_item {
    char item[CPT_REVIEW_ITEM + 1], key[CPT_NOTES_KEY + 1];
    cpt_unit_kind kind;
    int32_t unit;
    int32_t repeats; /* position of the first showing; -1 = this is the first */
} cpt_review_item;

/* Two fifths concepts, two fifths neurons, a fifth random directions (our default; what a kind
 * lacks is made up by the others), and a tenth of them again, at least a third of the session
 * later. Pure: same arguments, same items. *items (free it) in the order of showing, *n of them. */
cpt_status cpt_review_plan(const cpt_review_pool *pool, int32_t n_items, uint64_t seed,
                           const char *author, cpt_review_item **items, int32_t *n, cpt_err *e);

/* ---- sessions. JSON as in ui/src/api.ts; new references. ---- */
cpt_status cpt_review_begin(cpt_notes *n, const char *author, uint64_t seed,
                            const cpt_review_item *items, int32_t n_items, json_t **session,
                            cpt_err *e);
cpt_status cpt_review_list(cpt_notes *n, json_t **out, cpt_err *e); /* {"rows": [Session]} */
/* {"item", "position", "of"} of the first item without an answer beyond position `after` (-1 = from
 * the beginning), else of the first at all, or {"done": true}. */
cpt_status cpt_review_open_item(cpt_notes *n, const char *session, int64_t after, json_t **out,
                                cpt_err *e);
cpt_status cpt_review_item_of(cpt_notes *n, const char *session, const char *item,
                              cpt_review_item *out, cpt_err *e);

/* *answered: items of the session with an answer. The same answer again adds nothing. */
cpt_status cpt_review_reply_to(cpt_notes *n, const char *session, const char *item,
                               const cpt_review_answer *r, int64_t *answered, cpt_err *e);

/* Agreement over all sessions of the file: ui/src/api.ts, `Agreement`. A unit that an expert rated
 * in several sessions counts with the first rating; repeats serve the intra-rater figures only. */
cpt_status cpt_review_agree(cpt_notes *n, json_t **out, cpt_err *e);

#endif
