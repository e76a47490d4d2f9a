/* random.h - random numbers that depend on (seed, purpose, item, position) and on nothing else.
 *
 * Counter-based generator Philox4x32-10 (Salmon et al., SC'11, "Parallel random numbers: as easy as
 * 1, 2, 3"). A stream is opened per item of work (a cell, an epoch, a permutation), never per
 * thread, so that results are the same for any number of threads. */
#ifndef CPT_BASE_RANDOM_H
#define CPT_BASE_RANDOM_H

#include <stdint.h>

/* The bare generator: 4 words out of a 128-bit counter and a 64-bit key. */
void cpt_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* What a stream is for: two purposes never share numbers. Append, never renumber. */
typedef enum cpt_random_purpose {
    CPT_RANDOM_TEST = 1,
    CPT_RANDOM_SPLIT,        /* train / validation */
    CPT_RANDOM_SCVI_INIT,
    CPT_RANDOM_SCVI_SHUFFLE, /* item = epoch */
    CPT_RANDOM_SCVI_DROPOUT, /* item = step */
    CPT_RANDOM_SCVI_LATENT,  /* item = step */
    CPT_RANDOM_SAE_INIT,
    CPT_RANDOM_SAE_SHUFFLE,  /* item = epoch */
    CPT_RANDOM_SAE_RESAMPLE, /* item = step */
    CPT_RANDOM_DICTIONARY,   /* random dictionary: item = row */
    CPT_RANDOM_PROTOTYPES,
    CPT_RANDOM_BOOTSTRAP,    /* item = concept */
    CPT_RANDOM_SIGN_FLIP,    /* item = concept */
    CPT_RANDOM_NOISE_FLOOR,
    CPT_RANDOM_GSEA,         /* item = permutation */
    CPT_RANDOM_MULTILEVEL,   /* item = size and sign */
    CPT_RANDOM_UMAP,         /* item = epoch or cell */
    CPT_RANDOM_SIMULATE,     /* item = cell or gene */
    CPT_RANDOM_FOLDS,
    CPT_RANDOM_TIES,         /* scGPT binning: item = cell */
    CPT_RANDOM_OVERFLOW,     /* scGPT over-length cells: item = cell */
    CPT_RANDOM_SCGPT_INIT,
    CPT_RANDOM_SCGPT_TRAIN,  /* item = step */
    CPT_RANDOM_EVALUATE,
    CPT_RANDOM_LINALG,       /* starting vectors of iterative eigensolvers */
    CPT_RANDOM_THIN,         /* annotations left out */
    CPT_RANDOM_RELABEL,      /* gene labels permuted: item = copy */
    CPT_RANDOM_ALIGN,        /* comparison of studies by chance: item = draw */
    CPT_RANDOM_STEER,        /* random directions: item = direction */
    CPT_RANDOM_PURITY,       /* cell labels permuted: item = permutation */
    CPT_RANDOM_STABILITY,    /* rows of random dictionaries: item = draw and row */
    CPT_RANDOM_INTERVAL,     /* bootstrap and sign flips of the evaluation: item = what */
    CPT_RANDOM_REVIEW,       /* blind review: which units, which order, item names */
    CPT_RANDOM_AGREEMENT,    /* bootstrap and permutations of ratings: item = replicate */
    CPT_RANDOM_TILTED,       /* importance sampling of enrichment scores: item = set size and proposal */
    CPT_RANDOM_KMEANS        /* seeds of a partition */
} cpt_random_purpose;

typedef struct cpt_stream {
    uint32_t key[2], counter[4], block[4];
    int used; /* words of block already given out */
    double spare_normal;
    int has_spare;
} cpt_stream;

/* Positions the stream at its start. `item` may use all 64 bits. */
void cpt_stream_init(cpt_stream *s, uint64_t seed, cpt_random_purpose purpose, uint64_t item);
uint32_t cpt_stream_u32(cpt_stream *s);
void cpt_stream_fill_u32(cpt_stream *s, int64_t n, uint32_t *out); /* what n calls of cpt_stream_u32 give, faster */
void cpt_stream_skip(cpt_stream *s, uint32_t n); /* n blocks of four words further; of a stream just opened */
uint64_t cpt_stream_u64(cpt_stream *s);
double cpt_stream_uniform(cpt_stream *s);               /* [0, 1), 53 bits */
uint64_t cpt_stream_below(cpt_stream *s, uint64_t n);   /* unbiased integer in [0, n), n >= 1 */
double cpt_stream_normal(cpt_stream *s);                /* N(0, 1), Box-Muller */
double cpt_stream_gamma(cpt_stream *s, double shape);   /* Gamma(shape, scale 1), Marsaglia-Tsang */
uint64_t cpt_stream_poisson(cpt_stream *s, double mean);
void cpt_stream_shuffle_i64(cpt_stream *s, int64_t *items, int64_t n); /* Fisher-Yates */
void cpt_stream_shuffle_i32(cpt_stream *s, int32_t *items, int64_t n);

#endif
