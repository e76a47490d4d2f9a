/* model.h - the interface that every embedding model implements. Nothing above knows which it is.
 *
 * A model maps the counts of one cell over ITS genes to an embedding f(x) in R^dim. Attribution
 * works on a `perturbation session`: one cell is opened once, what its perturbed copies share is
 * computed once, and then many changed copies are evaluated.
 *
 * Two vocabularies of values appear:
 *   counts   what the cell has; the rows of cpt_counts
 *   inputs   what the network eats: for scVI the counts themselves, for scGPT the bins 0..50.
 *            Sessions speak inputs (method.md 4 "scGPT: substitution happens in the model's input
 *            space"), and model->profile turns counts into inputs.
 *
 * To add a model: one folder-mate model_NAME*.c with a static const cpt_model_ops, a loader in
 * model_open.c's table, nothing else.
 */
#ifndef CPT_MODEL_MODEL_H
#define CPT_MODEL_MODEL_H

#include "base/log.h"
#include "io/cells.h"

typedef struct cpt_model cpt_model;
typedef struct cpt_session cpt_session;

/* Counts of many cells as a model sees them: rows = cells, columns = the model's genes. A view:
 * borrows the matrix and the map. */
typedef struct cpt_counts {
    const cpt_csr *csr;
    const int32_t *to_model; /* [csr->n_cols] column -> model gene, -1 = not a gene of the model;
                                NULL = the columns are the model's genes */
    int32_t n_genes;         /* of the model; genes no column maps to count as 0 */
    bool ascending;          /* to_model keeps the order: rows need no sorting */
} cpt_counts;
/* One row as (gene, value), gene ascending, zeros left out. Buffers hold n_genes entries. */
int32_t cpt_counts_row(const cpt_counts *c, int64_t row, int32_t *genes, float *values);
/* Checks that no two columns map to one gene and sets `ascending`. */
cpt_status cpt_counts_init(cpt_counts *c, const cpt_csr *csr, const int32_t *to_model,
                           int32_t n_genes, cpt_err *e);

/* One cell in the model's inputs: genes ascending, values not 0. */
typedef struct cpt_profile {
    int32_t n;
    int32_t *genes; /* [n] */
    float *values;  /* [n] */
} cpt_profile;
void cpt_profile_free(cpt_profile *p);
float cpt_profile_value(const cpt_profile *p, int32_t gene); /* 0 when absent */

typedef struct cpt_change {
    int32_t gene;
    float value; /* the new input; 0 takes the gene away */
} cpt_change;

typedef struct cpt_model_ops {
    const char *kind; /* "scvi", "scgpt", "fixed" */
    bool costly;      /* one pair of attribution takes seconds: its result is worth a file record */

    /* Embeds rows [first, first + n) into out [n][dim]. Uses ctx->n_threads threads; a cell's
     * embedding depends on nothing but its own row. Cells the model cannot embed get NaN rows. */
    cpt_status (*embed)(const cpt_model *m, const cpt_counts *counts, int64_t first, int64_t n,
                        float *out, const cpt_context *ctx, cpt_err *e);

    /* ---- the rest is NULL for models without counterfactuals (fixed embeddings) ---- */

    /* Counts of one row -> inputs. `out` freed by cpt_profile_free. */
    cpt_status (*profile)(const cpt_model *m, const cpt_counts *counts, int64_t row,
                          cpt_profile *out, cpt_err *e);

    /* Sessions are independent of each other and single-threaded unless the model says otherwise:
     * the caller runs pairs in parallel. The profile is copied. Values may be real numbers, also
     * between two cells (integrated gradients). */
    cpt_status (*session_open)(const cpt_model *m, const cpt_profile *base, cpt_session **out,
                               cpt_err *e);
    const float *(*session_embedding)(const cpt_session *s); /* [dim], of the unchanged cell */
    /* n copies of the cell, each with ONE change; out [n][dim]. */
    cpt_status (*session_singles)(cpt_session *s, int32_t n, const cpt_change *changes, float *out,
                                  cpt_err *e);
    /* One copy with all n changes; out [dim]. */
    cpt_status (*session_joint)(cpt_session *s, int32_t n, const cpt_change *changes, float *out,
                                cpt_err *e);
    /* For each direction w [n_w][dim]: d (w . f(x)) / d x_gene at the base cell, into
     * out [n_w][n_genes]; genes that are 0 in the cell get their derivative where the model
     * defines one (scVI), else 0 (scGPT: no token). */
    cpt_status (*session_gradient)(cpt_session *s, int32_t n_w, const float *w, float *out, cpt_err *e);
    /* Optional: estimates of single changes, for models where an exact answer is dear: about
     * w . (f(copy i) - f(cell)) for n copies with one change each, out [n_w][n]. The step itself is
     * taken in full, only what the rest of the model does about it is linear. */
    cpt_status (*session_screen)(cpt_session *s, int32_t n_w, const float *w, int32_t n,
                                 const cpt_change *changes, float *out, cpt_err *e);
    void (*session_free)(cpt_session *s);

    /* Optional: expected expression per gene (sums to 1 over genes) for latent rows z [n][dim]; out
     * [n][n_genes]. `batch` is the code to decode for, -1 = average over batches. */
    cpt_status (*decode)(const cpt_model *m, int64_t n, const float *z, int32_t batch, float *out,
                         const cpt_context *ctx, cpt_err *e);

    /* Writes the model into a folder in the format of its own ecosystem. Optional. */
    cpt_status (*save)(const cpt_model *m, const char *folder, cpt_err *e);

    void (*free)(cpt_model *m);
} cpt_model_ops;

/* First member of every model's own struct. */
struct cpt_model {
    const cpt_model_ops *ops;
    int32_t n_genes, dim;
    cpt_strings gene_names; /* [n_genes] as the model spells them; empty for fixed */
    cpt_text description;   /* one line for people: "scVI, 2 layers, 128 hidden, 10 latent, NB" */
};
struct cpt_session {
    const cpt_model *model; /* first member of every session */
};

static inline bool cpt_model_has_counterfactuals(const cpt_model *m)
{
    return m->ops->session_open != NULL;
}
void cpt_model_free(cpt_model *m); /* accepts NULL */

/* Loads what `path` is: model.pt, a folder (scvi-tools, legacy scvi-tools, scGPT, ours),
 * .safetensors. Refuses with the reason what it does not know. */
cpt_status cpt_model_open(const char *path, cpt_model **out, const cpt_context *ctx, cpt_err *e);

/* Embeds cells [from, to) in blocks with progress; out [to - from][dim]. */
cpt_status cpt_model_embed_range(const cpt_model *m, const cpt_counts *counts, int64_t from,
                                 int64_t to, float *out, const cpt_context *ctx, cpt_err *e);
/* Embeds all cells in blocks with progress; out [n_cells][dim]. *n_unusable (may be NULL) = NaN rows. */
cpt_status cpt_model_embed_all(const cpt_model *m, const cpt_counts *counts, float *out,
                               int64_t *n_unusable, const cpt_context *ctx, cpt_err *e);

#endif
