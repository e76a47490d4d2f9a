/* pair_store.h - attributions of single pairs kept in a file: with a big transformer one pair takes
 * minutes, and a run that was stopped must not lose those that are done.
 *
 * The file is appended to and never rewritten; it holds, little-endian,
 *   1. header, 80 bytes: "CPTPAIRS", u32 version (2), u32 genes of the model, 64 bytes key in hex
 *   2. records, each
 *        u32 0x52494150 ("PAIR"), i32 concept, i64 prototype, i64 counterfactual,
 *        u32 flags (1: the prototype activates the concept; 2: read-out after sparsification is
 * there), u32 n = genes that differ, f64 completeness error, Spearman and top-20 overlap of the
 * screen, the same two of the pre-activation, i32 genes[n] (ascending), f32 pre[n], f32 activation[n] if flagged, u32 CRC-32 of all
 * before it A record that is cut short or damaged, which a kill leaves, ends the file: it and what
 * follows is dropped. Another key, number of genes or version empties the file. */
#ifndef CPT_CONCEPT_PAIR_STORE_H
#define CPT_CONCEPT_PAIR_STORE_H

#include "concept/attribution.h"

/* `key`: 64 hex digits that stand for everything results depend on: cells, model, dictionary,
 * options, seed. The store may be used by several threads. One process at a time (the study's
 * lock). */
cpt_status cpt_pair_store_open(const char *path, const char key[65], int32_t n_genes,
                               cpt_pair_store **out, cpt_err *e);
int64_t cpt_pair_store_size(const cpt_pair_store *s); /* pairs that were there when it was opened */
/* Fills `out`, whose arrays are zeroed, if the pair is there; both flags are always set. */
void cpt_pair_store_get(const cpt_pair_store *s, int32_t concept, const cpt_pair *pair,
                        cpt_pair_attribution *out, bool *usable, bool *found);
/* Appends; what the disk refuses is an error that names the file. */
cpt_status cpt_pair_store_put(cpt_pair_store *s, int32_t concept, const cpt_pair *pair,
                              const cpt_pair_attribution *in, bool usable, cpt_err *e);
void cpt_pair_store_close(cpt_pair_store *s); /* accepts NULL */
/* Once all pairs are done: rewrites the file with its records in order of concept, prototype and
 * counterfactual, so that its bytes do not tell which thread was faster. Closes the store. */
cpt_status cpt_pair_store_settle(cpt_pair_store *s, cpt_err *e); /* accepts NULL */

#endif
