/* What is random in a step of scVI: the draw of latent values and the dropout of the encoder's layers, each from a stream
 * of its own. */
#include "model/scvi_network.h"

#include <string.h>

#include "base/random.h"

/* Two numbers come of a block of four words: hence any thread may draw any piece that begins with an even one. */
static void draw_latent(const cpt_scvi_options *o, uint64_t item, int64_t first, int64_t end, float *out)
{
    cpt_stream s;
    cpt_stream_init(&s, o->seed, CPT_RANDOM_SCVI_LATENT, item);
    cpt_stream_skip(&s, (uint32_t)(first / 2));
    for (int64_t i = first; i < end; i++) out[i] = (float)cpt_stream_normal(&s);
}

static void draw_dropout(const cpt_scvi_options *o, int32_t n, uint64_t item, float *out)
{
    enum { FEW = 1024 };
    const int64_t size = (int64_t)n * o->n_hidden * o->n_layers;
    const uint32_t below = (uint32_t)(o->dropout * 4294967296.0);
    const float kept = (float)(1 / (1 - o->dropout));
    uint32_t words[FEW];
    cpt_stream s;
    cpt_stream_init(&s, o->seed, CPT_RANDOM_SCVI_DROPOUT, item);
    for (int64_t first = 0; first < size; first += FEW) {
        const int64_t here = size - first < FEW ? size - first : FEW;
        cpt_stream_fill_u32(&s, here, words);
        for (int64_t i = 0; i < here; i++) out[first + i] = words[i] < below ? 0 : kept;
    }
}

void scvi_noise_draw(const cpt_scvi_options *o, int32_t n, uint64_t item, float *latent, float *dropout, int n_threads)
{
    enum { PIECE = 256 };
    const int64_t size = (int64_t)n * o->n_latent, n_pieces = (size + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(dynamic) num_threads(n_threads)
    for (int64_t i = 0; i <= n_pieces; i++) {
        const int64_t first = (i - 1) * PIECE, end = i * PIECE < size ? i * PIECE : size;
        if (i > 0) draw_latent(o, item, first, end, latent);
        else if (dropout) draw_dropout(o, n, item, dropout);
    }
}
