#include "evaluate/simulate.h"
#include "study/share.h"

/* The public `simulate`: gene names are real symbols where the gene table is at hand. */
cpt_status cpt_simulate(const char *out_h5ad, const cpt_simulation *what, const cpt_context *ctx,
                        cpt_err *e)
{
    char table[4096];
    cpt_simulate_options o;
    cpt_simulate_options_init(&o);
    o.n_cells = what->n_cells;
    o.n_genes = what->n_genes;
    o.n_programs = what->n_programs;
    if (cpt_share_path("human_genes.tsv.gz", table, sizeof table, NULL) == CPT_OK)
        o.gene_table = table;
    return cpt_simulate_h5ad(out_h5ad, &o, ctx, e);
}
