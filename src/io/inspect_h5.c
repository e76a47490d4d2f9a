/* What is in an .h5ad or 10x .h5 file, as a JSON object for one screenful. Reads no matrix.
 *
 * Method: the members of the known groups are listed with encoding, shape and type. Lists are cut
 * at MAX_LISTED entries, so that a hostile file cannot make the answer long. Child process only. */
#include "io/reader.h"

#include <jansson.h>
#include <string.h>

enum { MAX_LISTED = 500 };

static const char *type_name(const h5_array *a)
{
    static const char *const names[] = {"integer", "float", "boolean", "text", "record", "other"};
    return names[a->class];
}

static json_t *describe_shape(const int64_t *shape, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer(shape[i]));
    return list;
}

static void describe_array(const h5_file *f, const char *place, json_t *out)
{
    h5_array a;
    cpt_err why;
    if (h5_array_open(f, place, &a, &why) != CPT_OK) {
        json_object_set_new(out, "problem", json_string(why.text));
        return;
    }
    json_object_set_new(out, "type", json_string(type_name(&a)));
    json_object_set_new(out, "bytes", json_integer((json_int_t)H5Tget_size(a.type)));
    json_object_set_new(out, "shape", describe_shape(a.shape, a.n_dims));
    h5_array_close(&a);
}

static void describe_sparse(const h5_file *f, const char *place, json_t *out)
{
    char data[H5_PLACE_LIMIT];
    int64_t shape[2];
    int n = 0;
    if (h5_join(data, place, "data") && h5_kind_of(f, data) == H5_DATA) {
        json_t *values = json_object();
        describe_array(f, data, values);
        json_object_set_new(out, "data", values);
    }
    if (h5_attribute_integers(f, place, "shape", shape, 2, &n, NULL) == CPT_OK && n == 0)
        h5_attribute_integers(f, place, "h5sparse_shape", shape, 2, &n, NULL);
    if (n == 2) json_object_set_new(out, "shape", describe_shape(shape, 2));
}

static json_t *describe(const h5_file *f, const char *place)
{
    char encoding[64] = "";
    json_t *out = json_object();
    h5_kind kind = h5_kind_of(f, place);
    if (kind == H5_GROUP || kind == H5_DATA) {
        h5_attribute_text(f, place, "encoding-type", encoding, sizeof encoding, NULL);
        if (!*encoding)
            h5_attribute_text(f, place, "h5sparse_format", encoding, sizeof encoding, NULL);
        if (*encoding && cpt_utf8_valid(encoding, strlen(encoding)))
            json_object_set_new(out, "encoding", json_string(encoding));
    }
    if (kind == H5_DATA) describe_array(f, place, out);
    else if (kind == H5_GROUP) describe_sparse(f, place, out);
    else
        json_object_set_new(out, "problem",
                            json_string(kind == H5_LINK ? "a link, not followed" : "missing"));
    return out;
}

static void describe_members(const h5_file *f, const char *group, json_t *root)
{
    char place[H5_PLACE_LIMIT];
    cpt_strings names = {0};
    if (h5_kind_of(f, group) == H5_DATA) {
        json_object_set_new(root, group, describe(f, group));
        return;
    }
    if (h5_kind_of(f, group) != H5_GROUP || h5_members(f, group, &names, NULL)) goto done;
    json_t *list = json_object();
    for (int64_t i = 0; i < names.n && i < MAX_LISTED; i++) {
        const char *name = cpt_strings_get(&names, i);
        if (cpt_utf8_valid(name, strlen(name)) && h5_join(place, group, name))
            json_object_set_new(list, name, describe(f, place));
    }
    json_object_set_new(root, group, list);
done:
    cpt_strings_free(&names);
}

static cpt_status inspect_h5ad(const h5_file *f, json_t *root, cpt_err *e)
{
    static const char *const groups[] = {"obs", "var", "obsm", "varm", "layers", "raw", "uns"};
    cpt_strings cells = {0}, genes = {0};
    cpt_status status = h5ad_index(f, "obs", &cells, e);
    if (status == CPT_OK) status = h5ad_index(f, "var", &genes, e);
    if (status == CPT_OK) {
        json_object_set_new(root, "n_cells", json_integer(cells.n));
        json_object_set_new(root, "n_genes", json_integer(genes.n));
        if (h5_kind_of(f, "X") != H5_ABSENT) json_object_set_new(root, "X", describe(f, "X"));
        for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
            describe_members(f, groups[i], root);
    }
    cpt_strings_free(&cells);
    cpt_strings_free(&genes);
    return status;
}

cpt_status cpt_inspect_h5(const char *path, char **json, cpt_err *e)
{
    h5_file f;
    cpt_status status = h5_open(path, &f, e);
    if (status) return status;
    json_t *root = json_object();
    if (cpt_is_tenx_h5(&f)) {
        json_object_set_new(root, "kind", json_string("10x .h5"));
        status = cpt_inspect_tenx_h5(&f, root, e);
    } else {
        json_object_set_new(root, "kind", json_string("h5ad"));
        status = inspect_h5ad(&f, root, e);
    }
    if (status == CPT_OK && !(*json = json_dumps(root, JSON_INDENT(1))))
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    json_decref(root);
    h5_close(&f);
    return status;
}
