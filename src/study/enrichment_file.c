#include "base/file.h"
#include "base/memory.h"
#include "study/naming.h"
#include "study/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Reads the significant part of enrichment.tsv.gz back (stage_enrichment.c writes it;
 * doc/formats.md describes it). Texts are collected in one cpt_strings and pointers set once all
 * are in, since the blob moves. */

enum { N_COLUMNS = 18, N_TEXTS = 7 };

static double number_or_nan(const char *s)
{
    double x;
    return cpt_parse_double(s, &x) ? x : NAN;
}

static cpt_status parse_line(const cpt_lines *in, char *line, cpt_enrichment_row *row,
                             cpt_strings *texts, bool *keep, cpt_err *e)
{
    static const int text_columns[N_TEXTS] = {2, 3, 4, 5, 6, 15, 17};
    char *field[N_COLUMNS];
    int n = 0;
    for (char *p = line; p && n < N_COLUMNS; n++) {
        field[n] = p;
        if ((p = strchr(p, '\t'))) *p++ = '\0';
    }
    int64_t concept, size, overlap;
    if (n != N_COLUMNS || field[0][0] != 'c' || !cpt_parse_i64(field[0] + 1, &concept) ||
        !cpt_parse_i64(field[7], &size) || !cpt_parse_i64(field[8], &overlap) || concept < 0 ||
        concept > INT32_MAX)
        return cpt_lines_fail(in, e, "not a line of an enrichment table");
    *row = (cpt_enrichment_row){.concept = (int32_t) concept,
                                .size = (int32_t)size,
                                .overlap = (int32_t)overlap,
                                .es = number_or_nan(field[9]),
                                .nes = number_or_nan(field[10]),
                                .p = number_or_nan(field[11]),
                                .log10p = number_or_nan(field[12]),
                                .q = number_or_nan(field[13]),
                                .log2err = number_or_nan(field[14]),
                                .ic = number_or_nan(field[16])};
    *keep = row->p <= CPT_ENRICHMENT_P;
    for (int i = 0; i < N_TEXTS && *keep; i++) {
        const char *t = field[text_columns[i]];
        cpt_status status = cpt_strings_add(texts, t, strlen(t), e);
        if (status) return status;
    }
    return CPT_OK;
}

static void set_texts(cpt_enrichment *r, const json_t *marker_collections)
{
    for (int64_t i = 0; i < r->n; i++) {
        cpt_enrichment_row *row = &r->rows[i];
        row->ranking = cpt_strings_get(&r->texts, N_TEXTS * i);
        row->method = cpt_strings_get(&r->texts, N_TEXTS * i + 1);
        row->collection = cpt_strings_get(&r->texts, N_TEXTS * i + 2);
        row->term = cpt_strings_get(&r->texts, N_TEXTS * i + 3);
        row->name = cpt_strings_get(&r->texts, N_TEXTS * i + 4);
        row->leading_edge = cpt_strings_get(&r->texts, N_TEXTS * i + 5);
        row->represented_by = cpt_strings_get(&r->texts, N_TEXTS * i + 6);
        row->marker = cpt_is_marker_collection(marker_collections, row->collection);
    }
}

static cpt_status index_concepts(cpt_enrichment *r, int32_t n_concepts, const char *path,
                                 cpt_err *e)
{
    r->n_concepts = n_concepts;
    cpt_status status = cpt_alloc(&r->first, (size_t)n_concepts + 1, sizeof *r->first, e);
    if (status) return status;
    for (int64_t i = 0; i < r->n; i++) {
        int32_t c = r->rows[i].concept;
        if (c >= n_concepts || (i && c < r->rows[i - 1].concept))
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "%s: concepts are out of order; run the stage enrichment again", path);
        r->first[c + 1] = i + 1;
    }
    for (int32_t c = 0; c < n_concepts; c++)
        if (r->first[c + 1] < r->first[c]) r->first[c + 1] = r->first[c];
    return CPT_OK;
}

cpt_status cpt_study_enrichment(cpt_study *s, const cpt_enrichment **out, cpt_err *e)
{
    char path[4096], *line;
    size_t capacity = 0;
    const cpt_activations *u;
    json_t *markers = NULL;
    *out = s->enrichment;
    if (s->enrichment) return CPT_OK;
    cpt_status status = cpt_study_activations(s, &u, e);
    if (status == CPT_OK) status = cpt_study_path(s, "enrichment.tsv.gz", path, sizeof path, e);
    if (status) return status;
    if (!cpt_path_exists(path))
        return cpt_fail(e, CPT_ERR_IO, "%s: absent; run `conceptome enrich` on this study first",
                        path);
    status = cpt_marker_collections(s, &markers, e);
    if (status) return status;
    cpt_lines *in = cpt_lines_open(path, 1 << 24, e);
    cpt_enrichment *r = in ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        cpt_lines_close(in);
        json_decref(markers);
        return in ? cpt_fail(e, CPT_ERR_MEMORY, "out of memory") : CPT_ERR_IO;
    }
    bool header = false;
    while ((status = cpt_lines_next(in, &line, NULL, e)) == CPT_OK && line) {
        if (line[0] == '#' || !header) {
            header |= line[0] != '#';
            continue;
        }
        CPT_TRY(cpt_grow(&r->rows, &capacity, (size_t)r->n + 1, sizeof *r->rows, e));
        bool keep;
        CPT_TRY(parse_line(in, line, &r->rows[r->n], &r->texts, &keep, e));
        r->n += keep;
    }
    if (status) goto done;
    set_texts(r, markers);
    CPT_TRY(index_concepts(r, u->n_concepts, path, e));
    *out = s->enrichment = r;
    r = NULL;
done:
    cpt_lines_close(in);
    json_decref(markers);
    if (r) {
        free(r->rows);
        free(r->first);
        cpt_strings_free(&r->texts);
        free(r);
    }
    return status;
}
