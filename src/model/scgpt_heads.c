/* What lies before and after the transformer when scGPT is trained: embeddings, and the two heads.
 *
 * Embeddings are computed once per step and not per token: a normalised row for every gene, one for
 * each of the 53 values that go in (51 bins, <cls>, the mask). Cells read those rows and add to the
 * gradients of rows; what lies behind a row is gone through once, too.
 *
 * Heads (models.md 1.6). GEP: a bin is predicted from a token's output by Linear, LeakyReLU,
 * Linear, LeakyReLU, Linear. MVC: from the cell's embedding c, the output at <cls>, as c . W
 * sigmoid(Q t + b) with the gene's normalised token t. W sigmoid(..) again belongs to the gene,
 * hence to a table: predicting all genes costs one product per cell and no more. */
#include "model/scgpt_step.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "math/blas.h"

/* ---- tables ---- */

static int32_t n_genes_of(const scgpt_weights *w)
{
    return w->shape.n_tokens - SCGPT_SPECIAL;
}

cpt_status scgpt_tables_init(scgpt_tables *t, const scgpt_weights *w, cpt_err *e)
{
    const size_t d = (size_t)w->shape.width, tokens = (size_t)w->shape.n_tokens;
    const size_t genes = (size_t)n_genes_of(w);
    float *p = NULL;
    *t = (scgpt_tables){0};
    cpt_status status = cpt_alloc(&p, (tokens + 3 * SCGPT_TABLE + 3 * genes) * d, sizeof *p, e);
    if (status) return status;
    t->block = p;
    t->token = p;
    t->value_hidden = t->token + tokens * d;
    t->value_sum = t->value_hidden + SCGPT_TABLE * d;
    t->value = t->value_sum + SCGPT_TABLE * d;
    t->gate = t->value + SCGPT_TABLE * d;
    t->query = t->gate + genes * d;
    t->scratch = t->query + genes * d;
    return CPT_OK;
}

void scgpt_tables_free(scgpt_tables *t)
{
    free(t->block);
    *t = (scgpt_tables){0};
}

/* The number that goes into the value encoder for a row of its table. */
static float value_of(const scgpt_weights *w, int32_t row, double mask_value)
{
    return row == SCGPT_CLS_VALUE    ? w->shape.pad_value
           : row == SCGPT_MASK_VALUE ? (float)mask_value
                                     : (float)row;
}

void scgpt_tables_make(scgpt_tables *t, const scgpt_weights *w, double mask_value, int n_threads)
{
    const cpt_attention_kernels *k = cpt_attention_kernels_get();
    const cpt_training_kernels *train = cpt_training_kernels_get();
    const scgpt_layout *at = &w->at;
    const int32_t d = w->shape.width, genes = n_genes_of(w);
    const float *p = w->values, *in = p + at->value_in, *bias = p + at->value_in_bias;
    for (int32_t i = 0; i < SCGPT_TABLE; i++)
        for (int32_t j = 0; j < d; j++) {
            const float y = in[j] * value_of(w, i, mask_value) + bias[j];
            t->value_hidden[i * d + j] = y > 0 ? y : 0;
        }
    scgpt_multiply(SCGPT_TABLE, d, d, t->value_hidden, p + at->value_out, t->value_sum, 1);
    k->add_bias(SCGPT_TABLE, d, p + at->value_out_bias, t->value_sum);
    k->layer_norm(SCGPT_TABLE, d, t->value_sum, p + at->value_gain, p + at->value_shift, t->value);
    k->layer_norm(w->shape.n_tokens, d, p + at->embedding, p + at->token_gain, p + at->token_shift,
                  t->token);
    scgpt_multiply(genes, d, d, t->token, p + at->query_weight, t->gate, n_threads);
    k->add_bias(genes, d, p + at->query_bias, t->gate);
    train->sigmoid((int64_t)genes * d, t->gate, t->gate);
    scgpt_multiply(genes, d, d, t->gate, p + at->mvc_weight, t->query, n_threads);
}

/* weight_grad [n_out][n_in] += d_out' in */
static void weight_back(int64_t n, int64_t n_in, int64_t n_out, const float *in, const float *d_out,
                        float *weight_grad, int n_threads)
{
    if (n > 0)
        cpt_gemm(true, false, n_out, n_in, n, 1, d_out, n_out, in, n_in, 1, weight_grad, n_in,
                 n_threads);
}

static void query_back(const scgpt_tables *t, const scgpt_weights *w, float *g, float *query_grad,
                       int n_threads)
{
    const cpt_training_kernels *train = cpt_training_kernels_get();
    const scgpt_layout *at = &w->at;
    const int32_t d = w->shape.width, genes = n_genes_of(w);
    const float *p = w->values;
    weight_back(genes, d, d, t->gate, query_grad, g + at->mvc_weight, n_threads);
    scgpt_multiply_back(genes, d, d, query_grad, p + at->mvc_weight, 0, t->scratch, n_threads);
    for (int64_t i = 0; i < (int64_t)genes * d; i++) t->scratch[i] *= t->gate[i] * (1 - t->gate[i]);
    weight_back(genes, d, d, t->token, t->scratch, g + at->query_weight, n_threads);
    train->add_rows(genes, d, t->scratch, g + at->query_bias);
    scgpt_multiply_back(genes, d, d, t->scratch, p + at->query_weight, 1, g + at->embedding,
                        n_threads);
}

static void value_back(const scgpt_tables *t, const scgpt_weights *w, double mask_value, float *g,
                       float *value_grad)
{
    const cpt_training_kernels *train = cpt_training_kernels_get();
    const scgpt_layout *at = &w->at;
    const int32_t d = w->shape.width;
    const float *p = w->values;
    train->norm_back(SCGPT_TABLE, d, t->value_sum, p + at->value_gain, value_grad,
                     g + at->value_gain, g + at->value_shift);
    weight_back(SCGPT_TABLE, d, d, t->value_hidden, value_grad, g + at->value_out, 1);
    train->add_rows(SCGPT_TABLE, d, value_grad, g + at->value_out_bias);
    scgpt_multiply_back(SCGPT_TABLE, d, d, value_grad, p + at->value_out, 0, t->value, 1);
    for (int32_t i = 0; i < SCGPT_TABLE; i++)
        for (int32_t j = 0; j < d; j++) {
            if (!(t->value_hidden[i * d + j] > 0)) continue;
            g[at->value_in + j] += t->value[i * d + j] * value_of(w, i, mask_value);
            g[at->value_in_bias + j] += t->value[i * d + j];
        }
}

void scgpt_tables_back(const scgpt_tables *t, const scgpt_weights *w, double mask_value, float *g,
                       float *query_grad, float *value_grad, int n_threads)
{
    const scgpt_layout *at = &w->at;
    query_back(t, w, g, query_grad, n_threads);
    value_back(t, w, mask_value, g, value_grad);
    cpt_training_kernels_get()->norm_back(
        w->shape.n_tokens, w->shape.width, w->values + at->embedding, w->values + at->token_gain,
        g + at->embedding, g + at->token_gain, g + at->token_shift);
}

/* ---- the value of a gene from its output ---- */

static double gep_residuals(scgpt_block *b, double rate, scgpt_losses *losses)
{
    double sum = 0;
    for (int32_t c = 0; c < b->n_cells; c++) {
        b->predicted[b->want_start[c]] = 0; /* <cls> */
        for (int32_t i = b->want_start[c] + 1; i < b->want_start[c + 1]; i++) {
            const float r = b->predicted[i] - b->target[i];
            losses->gep += (double)r * (double)r;
            b->predicted[i] = (float)(2 * rate) * r;
            sum += (double)b->predicted[i];
        }
    }
    losses->n_gep += b->want_start[b->n_cells] - b->n_cells;
    return sum;
}

static void gep_back(scgpt_block *b, double sum)
{
    const cpt_training_kernels *train = cpt_training_kernels_get();
    const scgpt_layout *at = &b->weights->at;
    const int32_t d = b->weights->shape.width, m = b->want_start[b->n_cells];
    const float *p = b->weights->values;
    float *g = b->grad;
    weight_back(m, d, 1, b->second, b->predicted, g + at->decoder_weight[2], 1);
    g[at->decoder_bias[2]] += (float)sum;
    for (int32_t i = 0; i < m; i++)
        for (int32_t j = 0; j < d; j++)
            b->d_second[(int64_t)i * d + j] = b->predicted[i] * p[at->decoder_weight[2] + j];
    train->leaky_back((int64_t)m * d, b->second, b->d_second);
    weight_back(m, d, d, b->first, b->d_second, g + at->decoder_weight[1], 1);
    train->add_rows(m, d, b->d_second, g + at->decoder_bias[1]);
    scgpt_multiply_back(m, d, d, b->d_second, p + at->decoder_weight[1], 0, b->d_first, 1);
    train->leaky_back((int64_t)m * d, b->first, b->d_first);
    weight_back(m, d, d, b->out, b->d_first, g + at->decoder_weight[0], 1);
    train->add_rows(m, d, b->d_first, g + at->decoder_bias[0]);
    scgpt_multiply_back(m, d, d, b->d_first, p + at->decoder_weight[0], 0, b->d_out, 1);
}

static void gep(scgpt_block *b, const double *rates, scgpt_losses *losses)
{
    const cpt_training_kernels *train = cpt_training_kernels_get();
    const scgpt_layout *at = &b->weights->at;
    const int32_t d = b->weights->shape.width, m = b->want_start[b->n_cells];
    const float *p = b->weights->values;
    scgpt_multiply(m, d, d, b->out, p + at->decoder_weight[0], b->first, 1);
    train->add_bias_leaky(m, d, p + at->decoder_bias[0], b->first);
    scgpt_multiply(m, d, d, b->first, p + at->decoder_weight[1], b->second, 1);
    train->add_bias_leaky(m, d, p + at->decoder_bias[1], b->second);
    scgpt_multiply(m, d, 1, b->second, p + at->decoder_weight[2], b->predicted, 1);
    for (int32_t i = 0; i < m; i++) b->predicted[i] += p[at->decoder_bias[2]];
    const double sum = gep_residuals(b, rates ? rates[0] : 0, losses);
    if (rates) gep_back(b, sum);
}

/* ---- the values of genes from the cell's embedding ---- */

/* Predictions -> scaled residuals; those of genes that are not asked for become 0. */
static void mvc_residuals(scgpt_block *b, int32_t c, cpt_scgpt_targets targets, double rate,
                          scgpt_losses *losses)
{
    const int32_t genes = n_genes_of(b->weights);
    float *r = b->mvc + (int64_t)c * genes, *kept = b->slopes;
    const float factor = (float)(2 * rate);
    double squares = 0;
    if (targets == CPT_SCGPT_TARGETS_ALL) {
        for (int32_t j = 0; j < genes; j++) {
            const float x = r[j] - (float)b->cell_targets[c][j];
            squares += (double)x * (double)x;
            r[j] = factor * x;
        }
        losses->n_mvc += genes;
        losses->mvc += squares;
        return;
    }
    const int32_t first = b->want_start[c] + 1, end = b->want_start[c + 1];
    for (int32_t i = first; i < end; i++) {
        const float x = r[b->ids[b->want[i]]] - b->target[i];
        squares += (double)x * (double)x;
        kept[i - first] = factor * x;
    }
    memset(r, 0, sizeof *r * (size_t)genes);
    for (int32_t i = first; i < end; i++) r[b->ids[b->want[i]]] += kept[i - first];
    losses->n_mvc += end - first;
    losses->mvc += squares;
}

static void mvc(scgpt_block *b, cpt_scgpt_targets targets, const double *rates,
                scgpt_losses *losses)
{
    const int32_t d = b->weights->shape.width, genes = n_genes_of(b->weights);
    for (int32_t c = 0; c < b->n_cells; c++)
        memcpy(b->cells + (int64_t)c * d, b->out + (int64_t)b->want_start[c] * d,
               sizeof *b->out * (size_t)d);
    scgpt_multiply(b->n_cells, d, genes, b->cells, b->tables->query, b->mvc, 1);
    for (int32_t c = 0; c < b->n_cells; c++)
        mvc_residuals(b, c, targets, rates ? rates[1] : 0, losses);
    if (!rates) return;
    weight_back(b->n_cells, d, genes, b->cells, b->mvc, b->query_grad, 1);
    scgpt_multiply_back(b->n_cells, d, genes, b->mvc, b->tables->query, 0, b->d_cells, 1);
    for (int32_t c = 0; c < b->n_cells; c++)
        for (int32_t j = 0; j < d; j++)
            b->d_out[(int64_t)b->want_start[c] * d + j] += b->d_cells[(int64_t)c * d + j];
}

void scgpt_heads(scgpt_block *b, cpt_scgpt_targets targets, const double *rates,
                 scgpt_losses *losses)
{
    gep(b, rates, losses);
    mvc(b, targets, rates, losses);
}
