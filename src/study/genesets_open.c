#include "study/genesets_open.h"
#include "base/file.h"
#include "base/memory.h"
#include "enrich/redundancy.h"
#include "study/share.h"

#include <stdlib.h>
#include <string.h>

enum { PATH_LIMIT = 4096, SMALLEST_MARKERS = 3 };

static cpt_status add_family(cpt_families *f, cpt_genesets *sets, int aspect, cpt_err *e)
{
    cpt_genesets **grown = realloc(f->sets, (size_t)(f->n + 1) * sizeof *grown);
    if (grown) f->sets = grown;
    int8_t *aspects = grown ? realloc(f->aspect, (size_t)(f->n + 1)) : NULL;
    if (!aspects) {
        cpt_genesets_free(sets);
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    }
    f->aspect = aspects;
    f->aspect[f->n] = (int8_t)aspect;
    f->sets[f->n++] = sets;
    return CPT_OK;
}

static cpt_status file_record(json_t *provenance, const char *name, const char *path, cpt_err *e)
{
    char hex[65];
    const char *slash = strrchr(path, '/');
    cpt_status status = cpt_sha256_path(path, hex, e);
    if (status) return status;
    json_object_set_new(provenance, name,
                        json_pack("{s:s, s:s}", "file", slash ? slash + 1 : path, "sha256", hex));
    return CPT_OK;
}

static bool has_aspect(const char *list, const char *aspect)
{
    size_t n = strlen(aspect);
    for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (strncmp(p, aspect, n) == 0 && (p[n] == ',' || p[n] == '\0')) return true;
    return false;
}

static void log_annotation(const cpt_context *ctx, const cpt_go *go, const cpt_annotation *a)
{
    cpt_info(ctx,
             "GO %s: %d terms; %d of the %d genes are annotated; %lld of %lld annotations "
             "electronic (IEA), "
             "%lld NOT rows left out",
             go->data_version, go->n_terms, a->n_annotated_genes, a->n_universe,
             (long long)a->n_iea, (long long)a->n_rows, (long long)a->n_not);
}

static cpt_status open_go(const cpt_options *o, const cpt_strings *symbols, cpt_families *f,
                          const cpt_context *ctx, cpt_err *e)
{
    static const char *const names[] = {"BP", "MF", "CC"};
    char obo[PATH_LIMIT], gaf[PATH_LIMIT];
    const char *aspects = cpt_options_text(o, "aspects"),
               *evidence = cpt_options_text(o, "exclude-evidence");
    cpt_go *go;
    cpt_annotation *a;
    cpt_go_options go_options = {.part_of = true};
    cpt_annotation_options annotation_options = {*evidence ? evidence : NULL};
    cpt_status status = CPT_OK;
    if (strcmp(aspects, "none") == 0) goto done;
    snprintf(obo, sizeof obo, "%s", cpt_options_text(o, "go"));
    snprintf(gaf, sizeof gaf, "%s", cpt_options_text(o, "annotation"));
    if (!obo[0]) CPT_TRY(cpt_share_path("go-basic.obo.gz", obo, sizeof obo, e));
    if (!gaf[0]) CPT_TRY(cpt_share_path("goa_human.gaf.gz", gaf, sizeof gaf, e));
    CPT_TRY(cpt_go_open(obo, &go_options, &f->go, e));
    go = f->go;
    CPT_TRY(cpt_annotation_open(gaf, go, symbols, &annotation_options, &f->annotation, e));
    a = f->annotation;
    CPT_TRY(cpt_alloc(&f->ic, (size_t)go->n_terms, sizeof *f->ic, e));
    CPT_TRY(cpt_term_ic(go, a, f->ic, e));
    log_annotation(ctx, go, a);
    CPT_TRY(file_record(f->provenance, "ontology", obo, e));
    CPT_TRY(file_record(f->provenance, "annotation", gaf, e));
    json_object_set_new(f->provenance, "go_release", json_string(go->data_version));
    json_object_set_new(f->provenance, "annotation_header", json_string(cpt_text_str(&a->header)));
    json_object_set_new(f->provenance, "n_annotated_genes", json_integer(a->n_annotated_genes));
    json_object_set_new(f->provenance, "n_annotations", json_integer((json_int_t)a->n_rows));
    json_object_set_new(f->provenance, "n_iea", json_integer((json_int_t)a->n_iea));
    for (int i = 0; i < 3; i++) {
        cpt_genesets *sets;
        if (!has_aspect(aspects, names[i])) continue;
        CPT_TRY(cpt_genesets_from_go(go, a, (cpt_go_aspect)i,
                                     (int32_t)cpt_options_integer(o, "min-size"),
                                     (int32_t)cpt_options_integer(o, "max-size"), &sets, e));
        CPT_TRY(add_family(f, sets, i, e));
    }
done:
    return status;
}

/* `markers`: sets of a few genes that name cell types; their collections are listed in the
 * provenance. */
static cpt_status open_gmts(const cpt_options *o, const char *option, bool markers,
                            const cpt_strings *symbols, cpt_families *f, cpt_err *e)
{
    const char *const *files;
    size_t n = cpt_options_list(o, option, &files);
    int32_t min_size = markers ? SMALLEST_MARKERS : (int32_t)cpt_options_integer(o, "min-size");
    char path[PATH_LIMIT];
    cpt_gene_table *table = NULL;
    json_t *names = json_array();
    cpt_status status = CPT_OK;
    if (n == 0) goto done;
    CPT_TRY(cpt_share_path("human_genes.tsv.gz", path, sizeof path, e));
    CPT_TRY(cpt_gene_table_open(path, &table, e));
    for (size_t i = 0; i < n; i++) {
        cpt_genesets *sets;
        CPT_TRY(cpt_genesets_from_gmt(files[i], symbols, table, min_size,
                                      (int32_t)cpt_options_integer(o, "max-size"), &sets, e));
        CPT_TRY(add_family(f, sets, -1, e));
        json_array_append_new(names, json_string(sets->collection));
        CPT_TRY(file_record(f->provenance, sets->collection, files[i], e));
    }
    if (markers) json_object_set(f->provenance, "marker_collections", names);
done:
    cpt_gene_table_free(table);
    json_decref(names);
    return status;
}

cpt_status cpt_families_open(const cpt_options *o, const cpt_strings *symbols, cpt_families *out,
                             const cpt_context *ctx, cpt_err *e)
{
    *out = (cpt_families){.provenance = json_object()};
    json_t *sizes = json_object();
    cpt_status status;
    if (cpt_options_integer(o, "min-size") > cpt_options_integer(o, "max-size")) {
        status = cpt_fail(e, CPT_ERR_USAGE, "--min-size is larger than --max-size");
        goto done;
    }
    CPT_TRY(open_go(o, symbols, out, ctx, e));
    CPT_TRY(open_gmts(o, "gmt", false, symbols, out, e));
    CPT_TRY(open_gmts(o, "markers", true, symbols, out, e));
    for (int32_t i = 0; i < out->n; i++) {
        const cpt_genesets *g = out->sets[i];
        cpt_info(ctx, "%s: %d sets to test (%d too small, %d too large left out)", g->collection,
                 g->n_sets, g->n_too_small, g->n_too_large);
        json_object_set_new(sizes, g->collection, json_integer(g->n_sets));
    }
    json_object_set_new(out->provenance, "universe", json_integer((json_int_t)symbols->n));
    json_object_set(out->provenance, "sets_tested", sizes);
done:
    json_decref(sizes);
    if (status) cpt_families_free(out);
    return status;
}

void cpt_families_free(cpt_families *f)
{
    for (int32_t i = 0; i < f->n; i++) cpt_genesets_free(f->sets[i]);
    free(f->sets);
    free(f->aspect);
    cpt_annotation_free(f->annotation);
    cpt_go_free(f->go);
    free(f->ic);
    json_decref(f->provenance);
    *f = (cpt_families){0};
}
