/* Packed weights of the layers (math/gemm.h), made when they are first asked for: a model that is
 * only looked at stays where it is mapped.
 *
 * Each precision and direction is a copy of its own beside the map, of all layers but the last,
 * which is computed for one row and reads the map. With AMX a number takes 6 bytes in f32, 4 when
 * split, 2 in bfloat16; else 4 and 2. At the published size 69 MB of weights become 104 MB for
 * forward passes in f32, and as many more for backward ones. */
#include "model/scgpt_network.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"

enum { PRECISIONS = CPT_GEMM_BF16 + 1, DIRECTIONS = 2 };

struct scgpt_packs {
    pthread_mutex_t lock;
    scgpt_packed_layer *layers[PRECISIONS][DIRECTIONS];
    void *blocks[PRECISIONS][DIRECTIONS];
};

cpt_status scgpt_packs_new(scgpt_packs **out, cpt_err *e)
{
    cpt_status status = cpt_alloc(out, 1, sizeof **out, e);
    if (!status) pthread_mutex_init(&(*out)->lock, NULL);
    return status;
}

void scgpt_packs_free(scgpt_packs *p)
{
    if (!p) return;
    for (int i = 0; i < PRECISIONS * DIRECTIONS; i++) {
        free(p->layers[i / DIRECTIONS][i % DIRECTIONS]);
        free(p->blocks[i / DIRECTIONS][i % DIRECTIONS]);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* The four matrices of a layer. Back: inputs and outputs change places. */
typedef struct matrix {
    int32_t n_out, n_in;
    const float *weight;
    cpt_packed *to;
} matrix;

static void list_matrices(const cpt_scgpt *m, int32_t layer, scgpt_packed_layer *to, matrix out[4])
{
    const int32_t d = m->shape.width, f = m->shape.hidden;
    const scgpt_layer *l = &m->layers[layer];
    out[0] = (matrix){3 * d, d, l->qkv_weight, &to->qkv};
    out[1] = (matrix){d, d, l->out_weight, &to->out};
    out[2] = (matrix){f, d, l->up_weight, &to->up};
    out[3] = (matrix){d, f, l->down_weight, &to->down};
}

static size_t bytes_of(cpt_precision precision, bool back, const matrix *x)
{
    return (cpt_packed_bytes(precision, back ? x->n_in : x->n_out, back ? x->n_out : x->n_in) + 63) /
           64 * 64;
}

static void pack(cpt_precision precision, bool back, const matrix *x, void *memory)
{
    if (back) cpt_pack(precision, x->n_in, x->n_out, x->weight, 1, x->n_in, memory, x->to);
    else cpt_pack(precision, x->n_out, x->n_in, x->weight, x->n_in, 1, memory, x->to);
}

static cpt_status make(const cpt_scgpt *m, cpt_precision precision, bool back, cpt_err *e)
{
    scgpt_packs *p = m->packs;
    const int32_t n = m->shape.n_layers - 1;
    scgpt_packed_layer *layers = NULL;
    char *at = NULL;
    matrix list[4];
    size_t size = 0;
    cpt_status status = cpt_alloc(&layers, (size_t)n, sizeof *layers, e);
    if (status) return status;
    for (int32_t i = 0; i < n; i++) {
        list_matrices(m, i, &layers[i], list);
        for (int k = 0; k < 4; k++) size += bytes_of(precision, back, &list[k]);
    }
    status = cpt_alloc(&at, size, 1, e);
    if (status) {
        free(layers);
        return status;
    }
    p->blocks[precision][back] = at;
    for (int32_t i = 0; i < n; i++) {
        list_matrices(m, i, &layers[i], list);
        for (int k = 0; k < 4; k++) {
            pack(precision, back, &list[k], at);
            at += bytes_of(precision, back, &list[k]);
        }
    }
    p->layers[precision][back] = layers;
    return CPT_OK;
}

cpt_status scgpt_packed(const cpt_scgpt *m, cpt_precision precision, bool back,
                        const scgpt_packed_layer **out, cpt_err *e)
{
    cpt_status status = CPT_OK;
    pthread_mutex_lock(&m->packs->lock);
    if (!m->packs->layers[precision][back]) status = make(m, precision, back, e);
    *out = m->packs->layers[precision][back];
    pthread_mutex_unlock(&m->packs->lock);
    return status;
}
