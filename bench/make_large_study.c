/* make_large_study - the caches of a study of 300,000 cells x 10,000 concepts x 20,000 genes, made
 * up.
 *
 *     build/bench/make_large_study FOLDER [CELLS CONCEPTS GENES]
 *     build/conceptome serve FOLDER
 *
 * For measuring the server: a real study of this size takes a cluster. Everything the index and the
 * server read is there, with plausible distributions (64 active concepts per cell of skewed
 * frequency, 600 to 1,400 genes per cell, sparse attributions, 60 terms per concept); nothing in it
 * means anything. What is only copied out (intervals, p) is zeros in files with holes. About 13 GB
 * at full size. */
#include "base/memory.h"
#include "base/random.h"
#include "io/cells.h"
#include "study/gzip_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    K = 64,
    DIM = 512,
    LABELS = 30,
    DONORS = 12,
    TERMS = 400,
    TERM_GENES = 60,
    ROWS = 60,
    PROTOTYPES = 32
};

static char folder[4096];
static int64_t n_cells = 300000;
static int32_t n_concepts = 10000, n_genes = 20000;

static void die(const cpt_err *e)
{
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}
#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) != CPT_OK) die(&err);                                                           \
    } while (0)

static const char *path_of(const char *name)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, cpt_dtype type, int64_t rows, int64_t cols, const void *data)
{
    cpt_err err;
    const int64_t shape[2] = {rows, cols};
    MUST(cpt_npy_write(path_of(name), type, cols ? 2 : 1, shape, data, &err));
}

static void *array(size_t n, size_t size)
{
    cpt_err err;
    void *a;
    MUST(cpt_alloc(&a, n, size, &err));
    return a;
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* n distinct numbers below `limit`, ascending; small ones are likelier by `skew`. */
static int32_t draw(cpt_stream *s, int32_t n, int32_t limit, double skew, int32_t *out)
{
    for (int32_t i = 0; i < n; i++) out[i] = (int32_t)(pow(cpt_stream_uniform(s), skew) * limit);
    qsort(out, (size_t)n, sizeof *out, ascending);
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (!kept || out[i] != out[kept - 1]) out[kept++] = out[i];
    return kept;
}

/* ---- cells ---- */

static void write_cells(void)
{
    cpt_err err;
    cpt_strings cells = {0}, genes = {0};
    char name[64];
    FILE *table;
    for (int64_t i = 0; i < n_cells; i++) {
        snprintf(name, sizeof name, "ACGT%08lld-1", (long long)i);
        MUST(cpt_strings_add(&cells, name, strlen(name), &err));
    }
    MUST(cpt_make_folder(path_of("cache"), &err));
    table = fopen(path_of("cache/genes.tsv"), "w");
    fputs("id\tsymbol\tmatched_by\n", table);
    for (int32_t g = 0; g < n_genes; g++) {
        snprintf(name, sizeof name, "ENSG%08d", g);
        MUST(cpt_strings_add(&genes, name, strlen(name), &err));
        fprintf(table, "%s\tGENE%d\tsymbol\n", name, g);
    }
    fclose(table);
    char target[8192];
    snprintf(target, sizeof target, "%s/cache/cells", folder);
    cpt_cells_writer *w = cpt_cells_writer_new(target, &err);
    if (!w) die(&err);
    MUST(cpt_cells_writer_ids(w, &cells, &genes, &err));
    int32_t *columns = array(2048, sizeof *columns);
    float *counts = array(2048, sizeof *counts);
    for (int64_t i = 0; i < n_cells; i++) {
        cpt_stream s;
        cpt_stream_init(&s, 1, CPT_RANDOM_TEST, (uint64_t)i);
        int32_t n = draw(&s, 600 + (int32_t)cpt_stream_below(&s, 900), n_genes, 2, columns);
        for (int32_t k = 0; k < n; k++)
            counts[k] = (float)(1 + (int)(-2 * log(1 - cpt_stream_uniform(&s))));
        MUST(cpt_cells_writer_row(w, n, columns, counts, &err));
    }
    static const char *const names[2] = {"cell_type", "donor"};
    const int sizes[2] = {LABELS, DONORS};
    for (int c = 0; c < 2; c++) {
        int32_t *codes = array((size_t)n_cells, sizeof *codes);
        cpt_column column = {.name = names[c], .kind = CPT_COLUMN_CATEGORY, .codes = codes};
        for (int k = 0; k < sizes[c]; k++) {
            snprintf(name, sizeof name, "%s %d", names[c], k);
            MUST(cpt_strings_add(&column.categories, name, strlen(name), &err));
        }
        for (int64_t i = 0; i < n_cells; i++)
            codes[i] = (int32_t)(c ? i % DONORS : i * LABELS / n_cells);
        MUST(cpt_cells_writer_column(w, 'o', &column, n_cells, &err));
        free(codes);
    }
    MUST(cpt_cells_writer_finish(w, "X", &err));
    free(columns);
    free(counts);
}

/* ---- embedding, activations ---- */

static void write_embedding(void)
{
    float *x = array((size_t)n_cells * DIM, sizeof *x),
          *map = array(2 * (size_t)n_cells, sizeof *map);
    for (int64_t i = 0; i < n_cells; i++) {
        cpt_stream s;
        cpt_stream_init(&s, 2, CPT_RANDOM_TEST, (uint64_t)i);
        for (int d = 0; d < DIM; d++) x[i * DIM + d] = (float)(cpt_stream_uniform(&s) - 0.5);
        double label = (double)(i * LABELS / n_cells);
        map[2 * i] = (float)(cos(label) * label + cpt_stream_normal(&s));
        map[2 * i + 1] = (float)(sin(label) * label + cpt_stream_normal(&s));
    }
    put("cache/embedding.npy", CPT_F32, n_cells, DIM, x);
    put("cache/umap.npy", CPT_F32, n_cells, 2, map);
    free(x);
    free(map);
}

static void write_activations(void)
{
    int64_t *by_cell = array((size_t)n_cells + 1, sizeof *by_cell),
            *by_concept = array((size_t)n_concepts + 1, sizeof *by_concept),
            *next = array((size_t)n_concepts + 1, sizeof *next);
    int32_t *concepts = array((size_t)n_cells * K, sizeof *concepts),
            *cells = array((size_t)n_cells * K, sizeof *cells);
    float *values = array((size_t)n_cells * K, sizeof *values),
          *turned = array((size_t)n_cells * K, sizeof *turned);
    uint8_t *usable = array((size_t)n_cells, 1);
    int64_t n = 0;
    memset(usable, 1, (size_t)n_cells);
    for (int64_t i = 0; i < n_cells; i++) {
        cpt_stream s;
        cpt_stream_init(&s, 3, CPT_RANDOM_TEST, (uint64_t)i);
        int32_t kept = draw(&s, K, n_concepts, 2.5, concepts + n),
                shift = (int32_t)(i * LABELS / n_cells) * 331;
        for (int32_t k = 0; k < kept; k++) concepts[n + k] = (concepts[n + k] + shift) % n_concepts;
        qsort(concepts + n, (size_t)kept, sizeof *concepts, ascending);
        for (int32_t k = 0; k < kept; k++) {
            values[n + k] = (float)(0.05 - log(1 - cpt_stream_uniform(&s)));
            by_concept[concepts[n + k] + 1]++;
        }
        by_cell[i + 1] = n += kept;
    }
    for (int32_t c = 0; c < n_concepts; c++) next[c + 1] = by_concept[c + 1] += by_concept[c];
    for (int64_t i = 0; i < n_cells; i++)
        for (int64_t k = by_cell[i]; k < by_cell[i + 1]; k++) {
            int64_t at = next[concepts[k]]++;
            cells[at] = (int32_t)i;
            turned[at] = values[k];
        }
    put("cache/activations_by_cell.indptr.npy", CPT_I64, n_cells + 1, 0, by_cell);
    put("cache/activations_by_cell.indices.npy", CPT_I32, n, 0, concepts);
    put("cache/activations_by_cell.values.npy", CPT_F32, n, 0, values);
    put("cache/activations_by_cell.usable.npy", CPT_BOOL, n_cells, 0, usable);
    put("cache/activations_by_concept.indptr.npy", CPT_I64, n_concepts + 1, 0, by_concept);
    put("cache/activations_by_concept.indices.npy", CPT_I32, n, 0, cells);
    put("cache/activations_by_concept.values.npy", CPT_F32, n, 0, turned);
    free(by_cell);
    free(by_concept);
    free(next);
    free(concepts);
    free(cells);
    free(values);
    free(turned);
    free(usable);
}

/* ---- genes ---- */

enum { F32_SIGNED, F64_P, I32_PAIRS, HOLE_F32, HOLE_F64 };

/* A matrix of zeros that takes no space on disk: for what is only copied out. */
static void write_hole(const char *name, bool f64)
{
    char header[256];
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(sizeof header - 10);
    header[9] = 0;
    int n = snprintf(header + 10, sizeof header - 10,
                     "{'descr': '<f%d', 'fortran_order': False, 'shape': (%d, %d), }", f64 ? 8 : 4,
                     n_concepts, n_genes);
    header[10 + n] = ' ';
    header[sizeof header - 1] = '\n';
    FILE *f = fopen(path_of(name), "wb");
    fwrite(header, 1, sizeof header, f);
    fflush(f);
    if (ftruncate(fileno(f), (off_t)sizeof header + (off_t)n_concepts * n_genes * (f64 ? 8 : 4)) !=
        0)
        exit(1);
    fclose(f);
}

static void write_matrix(const char *name, int kind)
{
    cpt_err err;
    cpt_npy_writer w;
    if (kind >= HOLE_F32) {
        write_hole(name, kind == HOLE_F64);
        return;
    }
    const int64_t shape[2] = {n_concepts, n_genes};
    const cpt_dtype type = kind == F64_P ? CPT_F64 : kind == I32_PAIRS ? CPT_I32 : CPT_F32;
    double *row = array((size_t)n_genes, sizeof *row);
    MUST(cpt_npy_begin(&w, path_of(name), type, 2, shape, &err));
    for (int32_t c = 0; c < n_concepts; c++) {
        uint32_t x = (uint32_t)c * 2654435761u + 12345;
        for (int32_t g = 0; g < n_genes; g++) {
            x = x * 1664525u + 1013904223u;
            double u = (x >> 8) / 16777216.0;
            if (kind == F64_P) row[g] = u * u + 1e-12;
            else if (kind == I32_PAIRS) ((int32_t *)row)[g] = (int32_t)(u * PROTOTYPES);
            else
                ((float *)row)[g] =
                    u < 0.7 ? 0 : (float)((u - 0.85) * (u - 0.85) * (u - 0.85) * 20);
        }
        MUST(cpt_npy_append(&w, row, n_genes, &err));
    }
    MUST(cpt_npy_finish(&w, &err));
    free(row);
}

static void write_genes(void)
{
    static const struct {
        const char *name;
        int kind;
    } files[] = {{"attribution/mean", F32_SIGNED},  {"attribution/low", HOLE_F32},
                 {"attribution/high", HOLE_F32},    {"attribution/sd", HOLE_F32},
                 {"attribution/n", I32_PAIRS},      {"attribution/same_sign", HOLE_F32},
                 {"attribution/p", HOLE_F64},       {"attribution/q", F64_P},
                 {"expression/logfc", F32_SIGNED},  {"expression/score", F32_SIGNED},
                 {"expression/p", HOLE_F64},        {"expression/log10p", HOLE_F64},
                 {"expression/q", F64_P},           {"expression/share_in", HOLE_F32},
                 {"expression/share_out", HOLE_F32}};
    cpt_err err;
    char name[128];
    MUST(cpt_make_folder(path_of("cache/attribution"), &err));
    MUST(cpt_make_folder(path_of("cache/expression"), &err));
    MUST(cpt_make_folder(path_of("cache/pairs"), &err));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, "cache/%s.npy", files[i].name);
        write_matrix(name, files[i].kind);
    }
    int32_t *n_pairs = array((size_t)n_concepts, sizeof *n_pairs);
    int64_t *first = array((size_t)n_concepts + 1, sizeof *first);
    double *pairs = array((size_t)n_concepts * PROTOTYPES * 7, sizeof *pairs);
    for (int32_t c = 0; c < n_concepts; c++) {
        n_pairs[c] = PROTOTYPES;
        first[c + 1] = first[c] + PROTOTYPES;
        for (int k = 0; k < PROTOTYPES; k++) {
            double *p = pairs + (first[c] + k) * 7;
            p[0] = (double)(((int64_t)c * 7919 + k * 104729) % n_cells);
            p[1] = (double)(((int64_t)c * 6101 + k * 15485863) % n_cells);
            p[2] = 3, p[3] = 1.5, p[4] = 2.5, p[5] = k;
        }
    }
    put("cache/attribution/n_pairs.npy", CPT_I32, n_concepts, 0, n_pairs);
    put("cache/pairs/first.npy", CPT_I64, n_concepts + 1, 0, first);
    put("cache/pairs/pairs.npy", CPT_F64, first[n_concepts], 7, pairs);
    free(n_pairs);
    free(first);
    free(pairs);
}

/* ---- terms, dictionary, manifest ---- */

static void write_sets(void)
{
    FILE *f = fopen(path_of("sets.gmt"), "w");
    for (int t = 0; t < TERMS; t++) {
        fprintf(f, "SET_%04d\tna", t);
        for (int k = 0; k < TERM_GENES; k++) fprintf(f, "\tGENE%d", (t * 97 + k * 131) % n_genes);
        fputc('\n', f);
    }
    fclose(f);
}

static void write_enrichment(void)
{
    static const char header[] = "concept\tunit_"
                                 "kind\tranking\tmethod\tcollection\tterm\tname\tsize\toverlap\tes"
                                 "\tnes\tp\tlog10p\tq\tlog2err\t"
                                 "leading_edge\tic\trepresented_by\n";
    cpt_err err;
    cpt_gzip_member *members = array((size_t)n_concepts, sizeof *members);
    for (int32_t c = 0; c < n_concepts; c++) {
        cpt_text t = {0};
        for (int r = 0; r < 2; r++)
            for (int k = 0; k < ROWS / 2; k++) {
                int term = (c * 31 + k * 13) % TERMS;
                double p = 0.0001 * (k + 1);
                cpt_text_addf(&t,
                              "c%d\tconcept\t%s\tgsea\tsets\tSET_%04d\tSET_%04d\t%d\t20\t0.5\t1."
                              "5\t%g\t%g\t%g\tNA\t",
                              c, r ? "expression" : "attribution", term, term, TERM_GENES, p,
                              log10(p), p * 10);
                for (int g = 0; g < 20; g++)
                    cpt_text_addf(&t, "%sGENE%d", g ? "," : "", (term * 97 + g * 131) % n_genes);
                cpt_text_add(&t, "\tNA\t\n");
            }
        MUST(cpt_gzip_member_make(&t, &members[c], &err));
        cpt_text_free(&t);
    }
    MUST(cpt_gzip_table_write(path_of("enrichment.tsv.gz"), header, n_concepts, members, &err));
    for (int32_t c = 0; c < n_concepts; c++) free(members[c].bytes);
    free(members);
}

static void write_text(const char *name, const char *text)
{
    cpt_err err;
    MUST(cpt_write_file(path_of(name), text, strlen(text), &err));
}

/* A random dictionary, as SAELens has it. */
static void write_dictionary(void)
{
    cpt_err err;
    char text[512], head[512];
    uint64_t sizes[4] = {(uint64_t)DIM * (uint64_t)n_concepts, (uint64_t)n_concepts,
                         (uint64_t)DIM * (uint64_t)n_concepts, DIM},
             at[5] = {0};
    MUST(cpt_make_folder(path_of("dictionary"), &err));
    for (int i = 0; i < 4; i++) at[i + 1] = at[i] + 4 * sizes[i];
    int n = snprintf(head, sizeof head,
                     "{\"W_enc\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%llu,%llu]}"
                     ",\"b_enc\":{\"dtype\":\"F32\",\"shape\":[%d],"
                     "\"data_offsets\":[%llu,%llu]},\"W_dec\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
                     "\"data_offsets\":[%llu,%llu]},\"b_dec\":{"
                     "\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%llu,%llu]}}",
                     DIM, n_concepts, (unsigned long long)at[0], (unsigned long long)at[1],
                     n_concepts, (unsigned long long)at[1], (unsigned long long)at[2], n_concepts,
                     DIM, (unsigned long long)at[2], (unsigned long long)at[3], DIM,
                     (unsigned long long)at[3], (unsigned long long)at[4]);
    while (n % 8) head[n++] = ' ';
    uint64_t length = (uint64_t)n;
    FILE *f = fopen(path_of("dictionary/sae_weights.safetensors"), "wb");
    fwrite(&length, 8, 1, f);
    fwrite(head, 1, (size_t)n, f);
    cpt_stream s;
    cpt_stream_init(&s, 5, CPT_RANDOM_TEST, 0);
    for (uint64_t i = 0; i < at[4] / 4; i++) {
        float x = (float)((cpt_stream_uniform(&s) - 0.5) * 0.15);
        fwrite(&x, 4, 1, f);
    }
    fclose(f);
    snprintf(text, sizeof text,
             "{\"architecture\": \"topk\", \"k\": %d, \"d_in\": %d, \"d_sae\": %d, \"dtype\": "
             "\"float32\", \"device\": \"cpu\", "
             "\"apply_b_dec_to_input\": true, \"normalize_activations\": \"none\", "
             "\"rescale_acts_by_decoder_norm\": false}",
             K, DIM, n_concepts);
    write_text("dictionary/cfg.json", text);
}

static void write_manifest(void)
{
    char text[16384];
    static const char *const stages[] = {"cells",       "model",      "embedding",
                                         "map",         "dictionary", "concepts",
                                         "attribution", "expression", "enrichment"};
    int n = snprintf(text, sizeof text,
                     "{\"format\": 1, \"conceptome\": \"%s\", \"options\": {\"label\": "
                     "\"cell_type\", \"donor\": \"donor\", \"aspects\": \"none\", "
                     "\"gmt\": [\"%s/sets.gmt\"], \"model\": \"obsm:X\"}, \"stages\": {",
                     CPT_VERSION, folder);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "%s\"%s\": {\"state\": \"done\", \"key\": \"made-up-%zu\", \"outputs\": {}}",
                      i ? ", " : "", stages[i], i);
    snprintf(text + n, sizeof text - (size_t)n, "}}");
    write_text("study.json", text);
    write_text(
        "cache/model.json",
        "{\"kind\": \"fixed\", \"path\": \"cache/embedding.npy\", \"description\": \"made up\"}");
    write_text("cache/dictionary.json",
               "{\"kind\": \"topk\", \"validation\": {\"r2_feature\": 0.5}}");
    write_text("cache/attribution/summary.json", "{\"present\": true}");
    write_text("cache/expression/summary.json", "{}");
    write_text("cache/enrichment.json", "{\"sets_tested\": {\"sets\": 400}}");
    write_text("evaluation.json",
               "{\"noise_floor\": {\"abs_mean_attribution\": {\"q95\": 0.004}}}");
}

int main(int argc, char **argv)
{
    cpt_err err;
    if (argc != 2 && argc != 5) {
        fputs("usage: make_large_study FOLDER [CELLS CONCEPTS GENES]\n", stderr);
        return 2;
    }
    if (argc == 5) {
        n_cells = atoll(argv[2]);
        n_concepts = atoi(argv[3]);
        n_genes = atoi(argv[4]);
    }
    MUST(cpt_make_folder(argv[1], &err));
    if (!realpath(argv[1], folder)) return 1;
    puts("cells");
    write_cells();
    puts("embedding, activations");
    write_embedding();
    write_activations();
    puts("genes");
    write_genes();
    puts("terms, dictionary");
    write_sets();
    write_enrichment();
    write_dictionary();
    write_manifest();
    return 0;
}
