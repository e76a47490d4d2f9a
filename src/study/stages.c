#include "study/stages.h"

#include <string.h>

/* The order is the order of work. "*" options of a group are written out: a stage must not be run
 * again because an option of another stage changed. Threads are not an option: results do not
 * depend on them. */
static const cpt_stage stages[] = {
    {"cells",
     cpt_stage_cells,
     1,
     false,
     {NULL},
     {"layer"},
     {"cache/cells/cells.json", "cache/genes.tsv"}},
    {"model",
     cpt_stage_model,
     1,
     true,
     {"cells"},
     {"model", "batch", "genes", "latent", "layers", "hidden", "likelihood", "epochs", "kl-warmup",
      "early-stopping"},
     {"cache/model.json"}},
    {"embedding",
     cpt_stage_embedding,
     1,
     true,
     {"cells", "model"},
     {NULL},
     {"cache/embedding.npy"}},
    {"map", cpt_stage_map, 1, true, {"embedding"}, {NULL}, {"cache/umap.npy"}},
    {"dictionary",
     cpt_stage_dictionary,
     1,
     true,
     {"embedding"},
     {"dictionary", "preset", "expansion", "concepts", "k", "dictionary-epochs", "ema",
      "validation", "donor"},
     {"dictionary/cfg.json", "cache/dictionary.json", "cache/split.npy"}},
    {"concepts",
     cpt_stage_concepts,
     1,
     false,
     {"embedding", "dictionary"},
     {NULL},
     {"cache/activations_by_cell.indptr.npy"}},
    {"attribution",
     cpt_stage_attribution,
     1,
     true,
     {"concepts", "model"},
     {"prototypes", "prototype-choice", "donor", "counterfactuals", "match", "method", "mode",
      "readout", "space", "cutoff", "ig-steps", "noise-directions"},
     {"cache/attribution/summary.json"}},
    {"expression",
     cpt_stage_expression,
     1,
     false,
     {"concepts", "model"},
     {"test", "active-quantile"},
     {"cache/expression/summary.json"}},
    {"enrichment",
     cpt_stage_enrichment,
     3,
     true,
     {"attribution", "expression"},
     {"go", "annotation", "gmt", "aspects", "exclude-evidence", "min-size", "max-size",
      "permutations", "gsea-p", "weight", "weights", "study-genes", "cutoff", "dag-tests", "weight01",
      "similarity", "redundancy", "markers"},
     {"enrichment.tsv.gz", "enrichment_corrections.tsv.gz", "cache/enrichment.json"}},
    {"evaluation",
     cpt_stage_evaluation,
     2,
     true,
     {"dictionary", "concepts", "attribution", "enrichment"},
     {"label", "donor", "batch", "completeness", "controls"},
     {"evaluation.json"}},
    {"tables",
     cpt_stage_tables,
     1,
     false,
     {"cells", "map", "concepts", "attribution", "expression", "enrichment"},
     {"label", "donor", "batch", "cutoff"},
     {"cells.h5ad", "concepts.h5ad", "attribution.h5ad"}},
    {"report",
     cpt_stage_report,
     1,
     false,
     {"tables", "evaluation"},
     {"label", "donor", "batch", "cutoff"},
     {"report.html"}},
};
enum { N_STAGES = sizeof stages / sizeof *stages };

const cpt_stage *cpt_stage_list(size_t *n)
{
    *n = N_STAGES;
    return stages;
}

const cpt_stage *cpt_stage_find(const char *name)
{
    for (size_t i = 0; i < N_STAGES; i++)
        if (strcmp(stages[i].name, name) == 0) return &stages[i];
    return NULL;
}
