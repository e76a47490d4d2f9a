/* scgpt_network.h - the inside of an scGPT model: shared by its files, and by their tests.
 *
 * Weights are used where they lie in the mapped checkpoint, [n_out][n_in] as PyTorch stores them;
 * what is not aligned f32 there is converted into memory of the model. */
#ifndef CPT_MODEL_SCGPT_NETWORK_H
#define CPT_MODEL_SCGPT_NETWORK_H

#include <math.h>

#include "io/checkpoint.h"
#include "math/attention.h"
#include "math/gemm.h"
#include "math/head.h"
#include "model/scgpt.h"

enum {
    SCGPT_BINS = 51,      /* 0 and 1..50; fixed in scGPT's collator whatever args.json says */
    SCGPT_EDGES = 50,
    SCGPT_VALUES = SCGPT_BINS + 1, /* value embeddings made in advance: bins, then <cls>'s value */
    SCGPT_MAX_LAYERS = 256,
    SCGPT_QUERIES = 128   /* rows of attention scores done at once */
};
#define SCGPT_MAX_VALUE 512.0f /* ContinuousValueEncoder clamps there */

typedef struct scgpt_norm {
    const float *gain, *shift; /* [width] */
} scgpt_norm;

typedef struct scgpt_layer {
    const float *qkv_weight, *qkv_bias;   /* [3 width][width], [3 width]: query, key, value */
    const float *out_weight, *out_bias;   /* [width][width], [width] */
    const float *up_weight, *up_bias;     /* [hidden][width], [hidden]: linear1 */
    const float *down_weight, *down_bias; /* [width][hidden], [width]: linear2 */
    scgpt_norm norm1, norm2;
} scgpt_layer;

typedef struct scgpt_shape {
    int32_t n_tokens, width, hidden, n_heads, n_layers;
    float pad_value; /* the value of <cls> */
} scgpt_shape;

typedef struct scgpt_packs scgpt_packs;

typedef struct cpt_scgpt {
    cpt_model base;
    scgpt_shape shape;
    cpt_scgpt_options options;
    int32_t cls;             /* token id */
    int32_t *token_of;       /* [n_genes] */
    const float *embedding;  /* [n_tokens][width] */
    scgpt_norm token_norm, value_norm;
    const float *value_in, *value_in_bias;   /* [width]: linear1 has one input */
    const float *value_out, *value_out_bias; /* [width][width], [width] */
    scgpt_layer *layers;
    float *value_table;      /* [SCGPT_VALUES][width] */
    scgpt_packs *packs;      /* of the layers' weights, made when first needed */
    cpt_checkpoint *file;    /* keeps the map open */
    float **owned;           /* [n_owned] converted tensors */
    size_t n_owned, owned_capacity;
    cpt_strings unknown;
    bool ignores_batch_norm;
    struct scgpt_weights *trained; /* what the pointers above point into when trained here */
} cpt_scgpt;

static inline const cpt_scgpt *scgpt_of(const cpt_model *m)
{
    return (const cpt_scgpt *)(const void *)m;
}

/* ---- loading (scgpt_load.c) ---- */
cpt_status scgpt_open_folder(const char *folder, cpt_model **out, const cpt_context *ctx,
                             cpt_err *e);
/* Value table and description, once all tensors are set; again when their values have changed. */
cpt_status scgpt_finish(cpt_scgpt *m, cpt_err *e);
cpt_status scgpt_describe(cpt_scgpt *m, cpt_err *e);

/* ---- cells to tokens (scgpt_tokens.c) ---- */

/* The quantile edges of n > 0 values in ascending order, exactly as numpy computes them. */
void scgpt_bin_edges(int32_t n, const float *sorted, double edges[SCGPT_EDGES]);
/* Number of edges <= x, and < x: the bins between which a tie leaves the choice. */
void scgpt_bin_range(const double edges[SCGPT_EDGES], float x, int32_t *left, int32_t *right);
/* scGPT's choice, by u uniform in [0, 1). */
int32_t scgpt_bin_choose(int32_t left, int32_t right, double u);

/* One cell as the network eats it: position 0 is <cls>. */
typedef struct scgpt_cell {
    int32_t n;       /* tokens, <cls> included; 1: no gene of the vocabulary */
    int32_t *ids;    /* token ids */
    int32_t *genes;  /* model genes, -1 for <cls>; ascending */
    float *values;   /* bins */
    bool broken;     /* the counts hold a value that is not finite */
} scgpt_cell;

typedef struct scgpt_tokenizer {
    scgpt_cell cell; /* what the last call made */
    int32_t draw;    /* set by the caller: which of several random binnings of a cell; 0 = the first */
    int32_t n_raw;   /* the row: genes of the model that are not 0, in column order */
    int32_t *raw_genes;
    float *raw_counts, *raw_bins, *sorted;
    uint64_t *keys, *key_scratch;
    int32_t *items, *item_scratch;
    double *uniform;
    void *block;
} scgpt_tokenizer;
cpt_status scgpt_tokenizer_init(scgpt_tokenizer *t, const cpt_scgpt *m, cpt_err *e);
void scgpt_tokenizer_free(scgpt_tokenizer *t);
/* Row `row` of the counts, binned with `ties` and cut to max_tokens. */
void scgpt_tokenize(scgpt_tokenizer *t, const cpt_scgpt *m, const cpt_counts *counts, int64_t row,
                    cpt_scgpt_ties ties);
/* The same of n counts in ascending order of genes, none of them 0, without random ties. Random
 * choices among too many genes are those of the cell `identity` (scgpt_identity). */
void scgpt_tokenize_counts(scgpt_tokenizer *t, const cpt_scgpt *m, int32_t n, const int32_t *genes,
                           const float *counts, uint64_t identity);
/* A number made of a cell's genes and counts, whatever their order. */
uint64_t scgpt_identity(int32_t n, const int32_t *genes, const float *counts);
/* Bins of n <= n_genes values by scGPT's rules, 0 for 0; u has one number per value that is not 0,
 * NULL = ties to the left. Uses t's scratch. */
void scgpt_bin(scgpt_tokenizer *t, int32_t n, const float *values, const double *u, float *bins);

/* ---- packed weights (scgpt_pack.c) ---- */

typedef struct scgpt_packed_layer {
    cpt_packed qkv, out, up, down;
} scgpt_packed_layer;

cpt_status scgpt_packs_new(scgpt_packs **out, cpt_err *e);
void scgpt_packs_free(scgpt_packs *p); /* accepts NULL; also when weights have changed */
/* [n_layers - 1] weights for products in the given precision, `back`: transposed ones. Borrowed
 * from the model; any thread may ask. */
cpt_status scgpt_packed(const cpt_scgpt *m, cpt_precision precision, bool back,
                        const scgpt_packed_layer **out, cpt_err *e);

/* ---- forward (scgpt_forward.c) ---- */

typedef struct scgpt_work {
    int32_t capacity;  /* tokens */
    int32_t n_threads; /* inside the cell; the bytes do not depend on it */
    cpt_precision precision;          /* of all layers but the last, which is f32 */
    const scgpt_packed_layer *layers; /* [n_layers - 1] in that precision */
    float *x;          /* [capacity][width] */
    float *qkv;        /* [capacity][3 width] */
    float *context;    /* [capacity][width] */
    float *sum;        /* [capacity][width] */
    float *hidden;     /* [capacity][hidden] */
    float *scores;     /* [n_threads][SCGPT_QUERIES][stride of capacity] */
    float *last;       /* what the last layer needs for its one row: see scgpt_last */
    char *heads;       /* [n_threads][head_bytes] */
    size_t head_bytes; /* scgpt_head_bytes of capacity */
    void *block;
} scgpt_work;
cpt_status scgpt_work_init(scgpt_work *w, const cpt_scgpt *m, cpt_precision precision,
                           int32_t capacity, int n_threads, cpt_err *e);
void scgpt_work_free(scgpt_work *w);

/* x [n][width] = token embeddings + value embeddings; scratch [n][2 width]. */
void scgpt_input(const cpt_scgpt *m, int32_t n, const int32_t *ids, const float *values, float *x,
                 float *scratch);
/* Value embeddings alone, of any real values; scratch [n][width]. */
void scgpt_embed_values(const cpt_scgpt *m, int32_t n, const float *values, float *out,
                        float *scratch);

/* One head of a cell, packed: keys and values out of qkv [n][3 width]. */
typedef struct scgpt_head {
    const cpt_scgpt *m;
    int32_t n, number;
    const float *qkv;
    cpt_head packed;
    float longest;           /* length of the longest key */
    void *scratch;
} scgpt_head;
size_t scgpt_head_bytes(const cpt_scgpt *m, cpt_precision precision, int32_t n);
/* `memory` of scgpt_head_bytes, 64-byte aligned, is borrowed. */
void scgpt_head_pack(scgpt_head *h, const cpt_scgpt *m, cpt_precision precision, int32_t n,
                     int32_t head, const float *qkv, void *memory);
/* Attention of rows [first, first + rows), in two steps: weights [rows][scgpt_score_stride(n)],
 * maxima (may be NULL) and sums [rows] as the softmax leaves them; then their rows of context
 * [n][width]. */
void scgpt_attention_weights(const scgpt_head *h, int32_t first, int32_t rows, float *weights,
                             float *maxima, float *sums);
/* The same for rows whose scores nobody else needs: one pass over them, in which they become weights
 * while they are made, exp(scale * score - bounds [rows]). */
void scgpt_attention_weights_once(const scgpt_head *h, int32_t first, int32_t rows, float *weights,
                                  float *bounds, float *sums);
void scgpt_attention_context(const scgpt_head *h, int32_t first, int32_t rows,
                             const float *weights, const float *sums, float *context);
/* Both at once; `weights` is scratch, bounds and sums are as the second leaves them. */
void scgpt_attend(const scgpt_head *h, int32_t first, int32_t rows, float *weights, float *context,
                  float *bounds, float *sums);
static inline int64_t scgpt_score_stride(int32_t n)
{
    return ((int64_t)n + 15) / 16 * 16;
}
static inline float scgpt_score_scale(const cpt_scgpt *m)
{
    return 1 / sqrtf((float)(m->shape.width / m->shape.n_heads));
}

/* What a full layer leaves for the way back; all layers' one after the other are a tape. */
typedef struct scgpt_record {
    float *sum1, *sum2;   /* [n][width] what the normalisations read */
    float *qkv, *context; /* [n][3 width], [n][width] */
    float *bounds, *sums; /* [n_heads][n] of the softmax: see scgpt_attend */
    uint8_t *active;      /* [n][hidden] 1 where the feed-forward's ReLU lets through */
} scgpt_record;
size_t scgpt_tape_size(const cpt_scgpt *m, int32_t n); /* floats */
scgpt_record scgpt_record_of(const cpt_scgpt *m, int32_t layer, int32_t n, float *tape);

/* One full layer over w->x in place; r may be NULL. */
void scgpt_layer_forward(const cpt_scgpt *m, int32_t layer, int32_t n, scgpt_work *w,
                         const scgpt_record *r);
/* Its parts, for sessions: w->x -> w->qkv; and w->context -> w->x. */
void scgpt_layer_project(const cpt_scgpt *m, int32_t layer, int32_t n, scgpt_work *w);
void scgpt_layer_feed(const cpt_scgpt *m, int32_t layer, int32_t n, scgpt_work *w,
                      const scgpt_record *r);

/* out [n][n_out] = in [n][n_in] weight'; back: out [n][n_in] = beta out + in [n][n_out] weight */
void scgpt_multiply(int32_t n, int32_t n_in, int32_t n_out, const float *in, const float *weight,
                    float *out, int n_threads);
void scgpt_multiply_back(int32_t n, int32_t n_in, int32_t n_out, const float *in,
                         const float *weight, float beta, float *out, int n_threads);

/* The last layer for row 0 alone. With the one query q, a head's score of token j is
 * q . (W_k x_j) = (W_k' q) . x_j up to a constant, and its context W_v (sum_j a_j x_j) + b_v: two
 * products of n_heads rows instead of the keys and values of all tokens. */
typedef struct scgpt_last {
    float *query;   /* [width] */
    float *reader;  /* [n_heads][width]: W_k' q of each head */
    float *weights; /* [n_heads][capacity] normalised attention */
    float *mixed;   /* [n_heads][width]: sum_j a_j x_j */
    float *context; /* [width] */
    float *sum1, *mid, *hidden, *sum2; /* before norm1, after it, after ReLU, before norm2 */
    float *raw;     /* [width] output of the layer */
} scgpt_last;
size_t scgpt_last_size(const cpt_scgpt *m, int32_t capacity); /* floats */
scgpt_last scgpt_last_at(const cpt_scgpt *m, int32_t capacity, float *block);
void scgpt_last_forward(const cpt_scgpt *m, int32_t n, const float *x, int32_t capacity,
                        scgpt_last *l);

/* The whole network over one cell into out [width] (may be NULL); w->last keeps the last layer.
 * tape [scgpt_tape_size] or NULL. */
void scgpt_forward(const cpt_scgpt *m, int32_t n, const int32_t *ids, const float *values,
                   scgpt_work *w, float *tape, float *out);
void scgpt_normalise(int32_t width, const float *raw, float *out);

cpt_status scgpt_embed(const cpt_model *m, const cpt_counts *counts, int64_t first, int64_t n,
                       float *out, const cpt_context *ctx, cpt_err *e);
cpt_status scgpt_profile(const cpt_model *m, const cpt_counts *counts, int64_t row,
                         cpt_profile *out, cpt_err *e);

/* ---- backward (scgpt_backward.c) ---- */

/* For each of n_w directions w [n_w][width]: d (w . f) / d value of each token, into out [n_w][n]
 * (<cls> included; out may be NULL); f is the embedding, or the CLS row before division when `raw`.
 * The tape is that of scgpt_forward over the same cell; w is scratch. A screen (NULL = none) gets
 * its estimates on the way. */
typedef struct scgpt_screen scgpt_screen;
cpt_status scgpt_backward(const cpt_scgpt *m, int32_t n, const int32_t *ids, const float *values,
                          scgpt_work *w, float *tape, bool raw, int32_t n_w,
                          const float *directions, scgpt_screen *screen, float *out, cpt_err *e);

/* ---- estimates of many single changes at once (scgpt_screen.c) ---- */

/* The token at position `old` leaves (0 = none does), and one with `id` and `value` comes (value 0:
 * none does). */
typedef struct scgpt_swap {
    int32_t old, id;
    float value;
} scgpt_swap;

struct scgpt_screen {
    const cpt_scgpt *m;
    int32_t n, n_tokens, n_ghosts; /* swaps; tokens of the cell; swaps in which a token comes */
    int32_t first;     /* direction of the group at hand */
    int32_t *order;    /* [n] the swaps: those in which a token comes first. Below: in this order */
    int32_t *old;      /* [n] position of the token that leaves, 0 = none */
    int32_t *swap_of;  /* [n_tokens] swap in which the token leaves, -1 = none */
    float *x;          /* [n_layers][n_ghosts][width]: the coming tokens as each layer reads them */
    scgpt_work work;   /* [n_ghosts] */
    char *heads;       /* keys and values of the ghosts in one head, packed */
    cpt_packed keys, values;
    float *weights;    /* [SCGPT_QUERIES][stride]: what rows give to coming tokens */
    float *coming;     /* [SCGPT_QUERIES][stride] */
    int64_t stride;
    float *p, *leaving, *q, *grads, *sums; /* [n] of one row */
    double *estimates; /* [n_w][n] */
    void *block;
};
/* Runs the coming tokens through the network of the cell whose tape it is; w is scratch and sets the
 * precision. */
cpt_status scgpt_screen_init(scgpt_screen *s, const cpt_scgpt *m, int32_t n_tokens, float *tape,
                             scgpt_work *w, int32_t n, const scgpt_swap *swaps, int32_t n_w,
                             cpt_err *e);
void scgpt_screen_free(scgpt_screen *s);
/* out [n_w][n] in the order of the caller's swaps, once scgpt_backward has run. */
void scgpt_screen_result(const scgpt_screen *s, int32_t n_w, float *out);
/* What scgpt_backward calls: in the last layer for each direction; in each other one first project,
 * then head for each head, weigh for each block of its rows, and block for each direction. */
void scgpt_screen_last(scgpt_screen *s, int32_t direction, const scgpt_last *a, const float *x,
                       int64_t capacity, const float *mixed, const float *slopes);
void scgpt_screen_project(scgpt_screen *s, int32_t layer);
void scgpt_screen_head(scgpt_screen *s, int32_t head);
void scgpt_screen_weigh(scgpt_screen *s, int32_t rows, const float *queries, const float *maxima,
                        const float *sums);
void scgpt_screen_block(scgpt_screen *s, int32_t direction, int32_t first, int32_t rows,
                        const float *context, const float *weights, const float *slopes);

/* ---- sessions (scgpt_session.c) ---- */
cpt_status scgpt_session_open(const cpt_model *m, const cpt_profile *cell, cpt_session **out,
                              cpt_err *e);
const float *scgpt_session_embedding(const cpt_session *s);
cpt_status scgpt_session_singles(cpt_session *s, int32_t n, const cpt_change *changes, float *out,
                                 cpt_err *e);
cpt_status scgpt_session_joint(cpt_session *s, int32_t n, const cpt_change *changes, float *out,
                               cpt_err *e);
cpt_status scgpt_session_gradient(cpt_session *s, int32_t n_w, const float *w, float *out,
                                  cpt_err *e);
/* See model.h; not in the space of counts. */
cpt_status scgpt_session_screen(cpt_session *s, int32_t n_w, const float *w, int32_t n,
                                const cpt_change *changes, float *out, cpt_err *e);
void scgpt_session_free(cpt_session *s);

extern const cpt_model_ops scgpt_ops;

#endif
