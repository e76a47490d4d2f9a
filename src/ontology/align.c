/* align.c - which column of the input is which gene of a model.
 *
 * Models are tied to a gene list, inputs come with another one. Names are compared in three rounds:
 * the column's id, exactly; its symbol, exactly; and, on request, the current symbols of both sides, so
 * that a model of 2019 with FAM64A meets an input of 2025 with PIMREG. A round only looks at columns
 * and model genes that the rounds before left over, and within a round the first column of the input
 * wins: the map is one to one. Linear in the number of names.
 *
 * Trap: symbols need not be unique on either side. A second column with the same symbol is left
 * unmapped, not added to the first: which of the two the model was trained on is not known.
 */
#include "ontology/genes.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

typedef struct round_state {
    const cpt_index *by_name; /* name -> model gene */
    uint8_t *taken;           /* [n_model] */
    cpt_alignment *out;
} round_state;

static cpt_status index_model(const cpt_strings *genes, const cpt_gene_table *table, cpt_index **out,
                              cpt_err *e)
{
    cpt_status status = CPT_OK;
    *out = cpt_index_new((size_t)genes->n, e);
    if (!*out) return CPT_ERR_MEMORY;
    for (int64_t i = 0; i < genes->n && status == CPT_OK; i++) {
        const char *name = cpt_strings_get(genes, i);
        const char *current = table ? cpt_gene_table_symbol(table, name, NULL) : name;
        if (current) status = cpt_index_add(*out, current, i, NULL, e);
    }
    return status;
}

static bool claim(round_state *r, int64_t column, const char *name)
{
    int64_t gene = cpt_index_get(r->by_name, name);
    if (gene < 0 || r->taken[gene]) return false;
    r->taken[gene] = 1;
    r->out->to_model[column] = (int32_t)gene;
    r->out->n_found++;
    return true;
}

static void exact_round(round_state *r, const cpt_strings *names)
{
    for (int64_t i = 0; names && i < names->n; i++)
        if (r->out->to_model[i] < 0) claim(r, i, cpt_strings_get(names, i));
}

static void alias_round(round_state *r, const cpt_strings *names, const cpt_gene_table *table)
{
    for (int64_t i = 0; names && i < names->n; i++) {
        if (r->out->to_model[i] >= 0) continue;
        const char *current = cpt_gene_table_symbol(table, cpt_strings_get(names, i), NULL);
        if (current && claim(r, i, current)) r->out->n_by_alias++;
    }
}

cpt_status cpt_align_genes(const cpt_strings *model_genes, const cpt_strings *gene_ids,
                           const cpt_strings *symbols, const cpt_gene_table *table, bool aliases,
                           cpt_alignment *out, cpt_err *e)
{
    cpt_status status;
    cpt_index *exact = NULL, *current = NULL;
    uint8_t *taken = NULL;
    *out = (cpt_alignment){0};
    if (model_genes->n > INT32_MAX || gene_ids->n > INT32_MAX)
        return cpt_fail(e, CPT_ERR_DATA, "too many genes to align");
    if (symbols && symbols->n != gene_ids->n)
        return cpt_fail(e, CPT_ERR_INTERNAL, "%lld symbols for %lld columns", (long long)symbols->n,
                        (long long)gene_ids->n);
    out->n_model = (int32_t)model_genes->n;
    CPT_TRY(cpt_alloc(&out->to_model, (size_t)gene_ids->n, sizeof *out->to_model, e));
    CPT_TRY(cpt_alloc(&taken, (size_t)model_genes->n, 1, e));
    for (int64_t i = 0; i < gene_ids->n; i++) out->to_model[i] = -1;

    CPT_TRY(index_model(model_genes, NULL, &exact, e));
    round_state r = {exact, taken, out};
    exact_round(&r, gene_ids);
    exact_round(&r, symbols);
    if (aliases && table) {
        CPT_TRY(index_model(model_genes, table, &current, e));
        r.by_name = current;
        alias_round(&r, symbols, table);
        alias_round(&r, gene_ids, table);
    }
done:
    cpt_index_free(exact);
    cpt_index_free(current);
    free(taken);
    if (status) cpt_alignment_free(out);
    return status;
}

void cpt_alignment_free(cpt_alignment *a)
{
    if (!a) return;
    free(a->to_model);
    *a = (cpt_alignment){0};
}
