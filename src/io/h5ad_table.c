/* obs, var and obsm of an AnnData file, in every encoding since anndata 0.6.
 *
 * Problem: the same table has been stored as a data set of records (0.6, categories aside in uns),
 * as a group of columns with categories in __categories (0.7), and as a group of encoded elements
 * (0.8 on), where even the index may be a group of values and mask (0.13).
 * Method: every column becomes numbers (NaN = missing) or a category (code -1 = missing), told by
 * what is stored rather than by version numbers.
 * Traps: codes are checked against the number of categories; a column of another length is damage;
 * a column of an encoding not known here is left out with a note. Object references (0.7) are
 * not followed: the categories are found by the column's name. */
#include "io/reader.h"
#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One column while it is read. */
typedef struct reading {
    const h5_file *f;
    const char *table, *name;
    char place[H5_PLACE_LIMIT];
    int64_t n;
    cpt_column column;
    double *numbers;
    int32_t *codes;
    bool known;
} reading;

/* ---- texts ---- */

/* As Python's repr: the fewest digits that give the number back, ".0" on whole ones. */
static void format_double(double x, char text[40])
{
    if (isnan(x)) {
        snprintf(text, 40, "nan");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    if (!strpbrk(text, ".en")) strcat(text, ".0");
}

static cpt_status numbers_as_texts(const h5_array *a, cpt_strings *out, cpt_err *e)
{
    cpt_status status;
    char text[40];
    int64_t n = a->shape[0], *whole = NULL;
    double *real = NULL;
    CPT_TRY(cpt_alloc(&whole, (size_t)n, sizeof *whole, e));
    CPT_TRY(cpt_alloc(&real, (size_t)n, sizeof *real, e));
    bool is_real = a->class == H5_IS_FLOAT;
    CPT_TRY(h5_array_read(a, 0, n, is_real ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64,
                          is_real ? (void *)real : whole, e));
    for (int64_t i = 0; i < n; i++) {
        if (is_real) format_double(real[i], text);
        else if (a->class == H5_IS_BOOL)
            snprintf(text, sizeof text, "%s", whole[i] ? "True" : "False");
        else snprintf(text, sizeof text, "%lld", (long long)whole[i]);
        CPT_TRY(cpt_strings_add(out, text, strlen(text), e));
    }
done:
    free(whole);
    free(real);
    return status;
}

cpt_status h5_array_as_texts(const h5_array *a, cpt_strings *out, cpt_err *e)
{
    if (a->n_dims == 1 &&
        (a->class == H5_IS_INTEGER || a->class == H5_IS_FLOAT || a->class == H5_IS_BOOL))
        return numbers_as_texts(a, out, e);
    return h5_array_texts(a, out, e);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

cpt_status cpt_texts_to_category(const cpt_strings *texts, const bool *missing, cpt_column *column,
                                 cpt_err *e)
{
    cpt_status status;
    const char **unique = NULL;
    int32_t *codes = NULL;
    int64_t n_unique = 0, first;
    cpt_index *seen = cpt_index_new(64, e), *ranks = NULL;
    if (!seen) return CPT_ERR_MEMORY;
    *column = (cpt_column){.name = column->name, .kind = CPT_COLUMN_CATEGORY};
    CPT_TRY(cpt_alloc(&unique, (size_t)texts->n, sizeof *unique, e));
    CPT_TRY(cpt_alloc(&codes, (size_t)texts->n, sizeof *codes, e));
    for (int64_t i = 0; i < texts->n; i++) {
        if (missing && missing[i]) continue;
        CPT_TRY(cpt_index_add(seen, cpt_strings_get(texts, i), i, &first, e));
        if (first == i) unique[n_unique++] = cpt_strings_get(texts, i);
    }
    qsort(unique, (size_t)n_unique, sizeof *unique, compare_texts);
    if (!(ranks = cpt_index_new((size_t)n_unique, e))) CPT_TRY(CPT_ERR_MEMORY);
    for (int64_t k = 0; k < n_unique; k++) {
        CPT_TRY(cpt_index_add(ranks, unique[k], k, NULL, e));
        CPT_TRY(cpt_strings_add(&column->categories, unique[k], strlen(unique[k]), e));
    }
    for (int64_t i = 0; i < texts->n; i++)
        codes[i] =
            missing && missing[i] ? -1 : (int32_t)cpt_index_get(ranks, cpt_strings_get(texts, i));
    column->codes = codes;
    codes = NULL;
done:
    free(unique);
    free(codes);
    cpt_index_free(seen);
    cpt_index_free(ranks);
    return status;
}

/* ---- one column ---- */

static cpt_status check_length(const reading *r, const h5_array *a, cpt_err *e)
{
    if (a->n_dims == 1 && a->shape[0] == r->n) return CPT_OK;
    return h5_fail(r->f, e, CPT_ERR_FORMAT, a->place,
                   "%lld values in %d dimension(s), %lld are needed; write the file again",
                   a->n_dims ? (long long)a->shape[0] : 1, a->n_dims, (long long)r->n);
}

static cpt_status read_numbers(reading *r, const h5_array *a, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_alloc(&r->numbers, (size_t)r->n, sizeof *r->numbers, e));
    CPT_TRY(h5_array_read(a, 0, r->n, H5T_NATIVE_DOUBLE, r->numbers, e));
    r->column.kind = CPT_COLUMN_NUMBER;
    r->column.numbers = r->numbers;
    r->known = true;
done:
    return status;
}

static cpt_status read_codes(reading *r, const h5_array *a, cpt_err *e)
{
    cpt_status status;
    if (a->class != H5_IS_INTEGER)
        return h5_fail(r->f, e, CPT_ERR_FORMAT, a->place, "category codes are not integers");
    CPT_TRY(cpt_alloc(&r->codes, (size_t)r->n, sizeof *r->codes, e));
    CPT_TRY(h5_array_read(a, 0, r->n, H5T_NATIVE_INT32, r->codes, e));
    for (int64_t i = 0; i < r->n; i++)
        if (r->codes[i] < -1 || r->codes[i] >= r->column.categories.n)
            return h5_fail(
                r->f, e, CPT_ERR_FORMAT, a->place,
                "row %lld: category code %d, but there are %lld categories; write the file again",
                (long long)i, (int)r->codes[i], (long long)r->column.categories.n);
    r->column.kind = CPT_COLUMN_CATEGORY;
    r->column.codes = r->codes;
    r->known = true;
done:
    return status;
}

static cpt_status take_category(reading *r, const cpt_strings *texts, const bool *missing,
                                cpt_err *e)
{
    cpt_status status = cpt_texts_to_category(texts, missing, &r->column, e);
    r->codes = (int32_t *)(uintptr_t)r->column.codes;
    r->known = status == CPT_OK;
    return status;
}

/* values and mask of a nullable array; *missing is malloc'ed, true where the mask is. */
static cpt_status read_mask(const h5_file *f, const char *group, int64_t n, bool **missing,
                            cpt_err *e)
{
    cpt_status status = CPT_OK;
    char place[H5_PLACE_LIMIT];
    h5_array a = {0};
    int8_t *flags = NULL;
    *missing = NULL;
    if (!h5_join(place, group, "mask"))
        CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, group, "name too long"));
    CPT_TRY(h5_array_open(f, place, &a, e));
    if (a.n_dims != 1 || a.shape[0] != n || (a.class != H5_IS_BOOL && a.class != H5_IS_INTEGER))
        CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, place, "is not a mask of %lld flags", (long long)n));
    CPT_TRY(cpt_alloc(&flags, (size_t)n, 1, e));
    CPT_TRY(cpt_alloc(missing, (size_t)n, sizeof **missing, e));
    CPT_TRY(h5_array_read(&a, 0, n, H5T_NATIVE_INT8, flags, e));
    for (int64_t i = 0; i < n; i++) (*missing)[i] = flags[i] != 0;
done:
    h5_array_close(&a);
    free(flags);
    return status;
}

/* Texts at `place`: a data set, or a group of values and mask; a masked text is an error unless
 * `missing` is given to receive the mask (NULL when there is none). */
static cpt_status read_texts(const h5_file *f, const char *place, cpt_strings *out, bool **missing,
                             cpt_err *e)
{
    cpt_status status;
    char values[H5_PLACE_LIMIT];
    h5_array a = {0};
    bool *mask = NULL, is_group = h5_kind_of(f, place) == H5_GROUP;
    if (is_group ? !h5_join(values, place, "values") : !h5_join(values, "", place))
        return h5_fail(f, e, CPT_ERR_FORMAT, place, "name too long");
    CPT_TRY(h5_array_open(f, values, &a, e));
    CPT_TRY(h5_array_as_texts(&a, out, e));
    if (is_group) CPT_TRY(read_mask(f, place, out->n, &mask, e));
    if (missing) {
        *missing = mask;
        mask = NULL;
    } else {
        for (int64_t i = 0; mask && i < out->n; i++)
            if (mask[i])
                CPT_TRY(h5_fail(f, e, CPT_ERR_FORMAT, place, "entry %lld is missing; name it",
                                (long long)i));
    }
done:
    h5_array_close(&a);
    free(mask);
    return status;
}

/* Where the categories of a column of plain codes are kept: "" when it has none. */
static void find_categories(const reading *r, char place[H5_PLACE_LIMIT])
{
    char tail[H5_PLACE_LIMIT];
    if (h5_join(tail, "__categories", r->name) && h5_join(place, r->table, tail) &&
        h5_kind_of(r->f, place) == H5_DATA)
        return;
    int n = snprintf(place, H5_PLACE_LIMIT, "uns/%s_categories", r->name);
    if (n < 0 || n >= H5_PLACE_LIMIT || h5_kind_of(r->f, place) != H5_DATA) *place = '\0';
}

static cpt_status read_plain(reading *r, const h5_array *a, cpt_err *e)
{
    char categories[H5_PLACE_LIMIT];
    cpt_strings texts = {0};
    cpt_status status = CPT_OK;
    if (a->class == H5_IS_OTHER || a->class == H5_IS_RECORD || a->n_dims == 0) return CPT_OK;
    CPT_TRY(check_length(r, a, e));
    find_categories(r, categories);
    if (a->class == H5_IS_TEXT) {
        CPT_TRY(h5_array_texts(a, &texts, e));
        CPT_TRY(take_category(r, &texts, NULL, e));
    } else if (a->class == H5_IS_INTEGER && *categories) {
        CPT_TRY(read_texts(r->f, categories, &r->column.categories, NULL, e));
        CPT_TRY(read_codes(r, a, e));
    } else {
        CPT_TRY(read_numbers(r, a, e));
    }
done:
    cpt_strings_free(&texts);
    return status;
}

static cpt_status read_categorical(reading *r, cpt_err *e)
{
    cpt_status status;
    char codes[H5_PLACE_LIMIT], categories[H5_PLACE_LIMIT];
    h5_array a = {0};
    if (!h5_join(codes, r->place, "codes") || !h5_join(categories, r->place, "categories"))
        return CPT_OK;
    CPT_TRY(read_texts(r->f, categories, &r->column.categories, NULL, e));
    CPT_TRY(h5_array_open(r->f, codes, &a, e));
    CPT_TRY(check_length(r, &a, e));
    CPT_TRY(read_codes(r, &a, e));
done:
    h5_array_close(&a);
    return status;
}

static cpt_status read_nullable(reading *r, cpt_err *e)
{
    cpt_status status;
    char values[H5_PLACE_LIMIT];
    h5_array a = {0};
    cpt_strings texts = {0};
    bool *missing = NULL;
    if (!h5_join(values, r->place, "values")) return CPT_OK;
    CPT_TRY(h5_array_open(r->f, values, &a, e));
    CPT_TRY(check_length(r, &a, e));
    CPT_TRY(read_mask(r->f, r->place, r->n, &missing, e));
    if (a.class == H5_IS_TEXT) {
        CPT_TRY(h5_array_texts(&a, &texts, e));
        CPT_TRY(take_category(r, &texts, missing, e));
    } else if (a.class != H5_IS_OTHER && a.class != H5_IS_RECORD) {
        CPT_TRY(read_numbers(r, &a, e));
        for (int64_t i = 0; i < r->n; i++)
            if (missing[i]) r->numbers[i] = NAN;
    }
done:
    h5_array_close(&a);
    cpt_strings_free(&texts);
    free(missing);
    return status;
}

static cpt_status read_group_column(reading *r, cpt_err *e)
{
    char encoding[64];
    cpt_status status =
        h5_attribute_text(r->f, r->place, "encoding-type", encoding, sizeof encoding, e);
    if (status) return status;
    if (strcmp(encoding, "categorical") == 0) return read_categorical(r, e);
    if (strcmp(encoding, "nullable-integer") == 0 || strcmp(encoding, "nullable-boolean") == 0 ||
        strcmp(encoding, "nullable-string-array") == 0)
        return read_nullable(r, e);
    return CPT_OK;
}

static cpt_status read_column(reading *r, cpt_err *e)
{
    cpt_status status = CPT_OK;
    h5_array a = {0};
    bool records = h5_kind_of(r->f, r->table) == H5_DATA;
    h5_kind kind = records ? H5_DATA : h5_kind_of(r->f, r->place);
    if (kind == H5_GROUP) return read_group_column(r, e);
    if (kind != H5_DATA) return CPT_OK;
    if (records) CPT_TRY(h5_array_open_member(r->f, r->table, r->name, &a, e));
    else CPT_TRY(h5_array_open(r->f, r->place, &a, e));
    CPT_TRY(read_plain(r, &a, e));
done:
    h5_array_close(&a);
    return status;
}

/* ---- the table ---- */

static cpt_status record_members(const h5_file *f, const char *place, cpt_strings *names,
                                 cpt_err *e)
{
    h5_array a;
    cpt_status status = h5_array_open(f, place, &a, e);
    if (status) return status;
    int n = a.class == H5_IS_RECORD && a.n_dims == 1 ? H5Tget_nmembers(a.type) : 0;
    for (int i = 0; i < n && status == CPT_OK; i++) {
        char *name = H5Tget_member_name(a.type, (unsigned)i);
        status = name ? cpt_strings_add(names, name, strlen(name), e)
                      : h5_fail_library(f, e, place, "a field cannot be read");
        H5free_memory(name);
    }
    h5_array_close(&a);
    if (status == CPT_OK && n == 0)
        return h5_fail(f, e, CPT_ERR_FORMAT, place, "is not a table; write the file with anndata");
    return status;
}

/* Name of the index column. */
static cpt_status index_name(const h5_file *f, const char *place, char name[H5_PLACE_LIMIT],
                             cpt_err *e)
{
    static const char *const usual[] = {"_index", "index"};
    char candidate[H5_PLACE_LIMIT];
    cpt_strings members = {0};
    cpt_status status = CPT_OK;
    *name = '\0';
    if (h5_kind_of(f, place) == H5_DATA) {
        CPT_TRY(record_members(f, place, &members, e));
        snprintf(name, H5_PLACE_LIMIT, "%s", cpt_strings_get(&members, 0));
        for (int64_t i = 0; i < members.n; i++)
            if (strcmp(cpt_strings_get(&members, i), "index") == 0)
                snprintf(name, H5_PLACE_LIMIT, "index");
    } else {
        CPT_TRY(h5_attribute_text(f, place, "_index", name, H5_PLACE_LIMIT, e));
        for (int i = 0; i < 2 && !*name; i++)
            if (h5_join(candidate, place, usual[i]) && h5_kind_of(f, candidate) != H5_ABSENT)
                snprintf(name, H5_PLACE_LIMIT, "%s", usual[i]);
        if (!*name)
            CPT_TRY(h5_fail(
                f, e, CPT_ERR_FORMAT, place,
                "has no attribute _index that names its index; write the file with anndata"));
    }
done:
    cpt_strings_free(&members);
    return status;
}

cpt_status h5ad_index(const h5_file *f, const char *place, cpt_strings *ids, cpt_err *e)
{
    cpt_status status;
    char name[H5_PLACE_LIMIT], column[H5_PLACE_LIMIT];
    h5_array a = {0};
    h5_kind kind = h5_kind_of(f, place);
    if (kind != H5_GROUP && kind != H5_DATA)
        return h5_fail(
            f, e, CPT_ERR_FORMAT, place,
            kind == H5_LINK
                ? "is a link, which is not followed"
                : "is missing; is this an AnnData file? write it with adata.write_h5ad()");
    CPT_TRY(index_name(f, place, name, e));
    if (kind == H5_DATA) {
        CPT_TRY(h5_array_open_member(f, place, name, &a, e));
        CPT_TRY(h5_array_as_texts(&a, ids, e));
    } else {
        if (!h5_join(column, place, name))
            return h5_fail(f, e, CPT_ERR_FORMAT, place, "name too long");
        CPT_TRY(read_texts(f, column, ids, NULL, e));
    }
done:
    h5_array_close(&a);
    return status;
}

static cpt_status column_names(const h5_file *f, const char *place, cpt_strings *names, cpt_err *e)
{
    bool listed = false;
    if (h5_kind_of(f, place) == H5_DATA) return record_members(f, place, names, e);
    cpt_status status = h5_attribute_texts(f, place, "column-order", names, &listed, e);
    return status || listed ? status : h5_members(f, place, names, e);
}

static cpt_status add_column(cpt_reader *r, reading *c, char axis, cpt_err *e)
{
    cpt_status status = read_column(c, e);
    if (status == CPT_OK)
        status = c->known ? cpt_cells_writer_column(r->writer, axis, &c->column, c->n, e)
                          : cpt_reader_note(
                                r, e, "%s was left out: its encoding is not known here.", c->place);
    free(c->numbers);
    free(c->codes);
    cpt_strings_free(&c->column.categories);
    return status;
}

cpt_status h5ad_columns(cpt_reader *r, const h5_file *f, const char *place, char axis, int64_t n,
                        cpt_err *e)
{
    cpt_status status;
    char index[H5_PLACE_LIMIT];
    cpt_strings names = {0};
    CPT_TRY(index_name(f, place, index, e));
    CPT_TRY(column_names(f, place, &names, e));
    for (int64_t i = 0; i < names.n; i++) {
        const char *name = cpt_strings_get(&names, i);
        reading c = {.f = f, .table = place, .name = name, .n = n, .column.name = name};
        if (strcmp(name, index) == 0 || strcmp(name, "__categories") == 0 || !*name) continue;
        if (!h5_join(c.place, place, name)) continue;
        CPT_TRY(cpt_check_stop(r->ctx, e));
        CPT_TRY(add_column(r, &c, axis, e));
        cpt_progress(r->ctx, place, (double)(i + 1), (double)names.n, NULL);
    }
done:
    cpt_strings_free(&names);
    return status;
}

/* ---- obsm ---- */

static cpt_status add_obsm(cpt_reader *r, const h5_array *a, const char *name, int64_t n_cells,
                           cpt_err *e)
{
    cpt_status status;
    float *values = NULL;
    size_t n;
    if ((a->class != H5_IS_FLOAT && a->class != H5_IS_INTEGER) || a->n_dims != 2)
        return cpt_reader_note(r, e, "obsm/%s was left out: it is not a matrix of numbers.", name);
    if (a->shape[0] != n_cells)
        return h5_fail(a->file, e, CPT_ERR_FORMAT, a->place, "%lld rows, there are %lld cells",
                       (long long)a->shape[0], (long long)n_cells);
    if (!cpt_size_mul((size_t)n_cells, (size_t)a->shape[1], &n))
        return h5_fail(a->file, e, CPT_ERR_FORMAT, a->place, "its size is impossible");
    CPT_TRY(cpt_alloc(&values, n, sizeof *values, e));
    CPT_TRY(h5_array_read(a, 0, n_cells, H5T_NATIVE_FLOAT, values, e));
    CPT_TRY(cpt_cells_writer_obsm(r->writer, name, n_cells, a->shape[1], values, e));
done:
    free(values);
    return status;
}

static cpt_status read_obsm(cpt_reader *r, const h5_file *f, const char *name, int64_t n_cells,
                            cpt_err *e)
{
    char place[H5_PLACE_LIMIT];
    h5_array a = {0};
    cpt_status status;
    if (!h5_join(place, "obsm", name)) return CPT_OK;
    if (h5_kind_of(f, "obsm") == H5_DATA) {
        status = h5_array_open_member(f, "obsm", name, &a, e);
    } else {
        if (h5_kind_of(f, place) != H5_DATA)
            return cpt_reader_note(r, e, "%s was left out: it is not a plain matrix.", place);
        status = h5_array_open(f, place, &a, e);
    }
    if (status == CPT_OK) status = add_obsm(r, &a, name, n_cells, e);
    h5_array_close(&a);
    return status;
}

cpt_status h5ad_all_obsm(cpt_reader *r, const h5_file *f, int64_t n_cells, cpt_err *e)
{
    cpt_status status = CPT_OK;
    const char *wanted = r->options->obsm;
    bool found = false;
    cpt_strings names = {0};
    cpt_text list = {0};
    h5_kind kind = h5_kind_of(f, "obsm");
    if (kind == H5_DATA) CPT_TRY(record_members(f, "obsm", &names, e));
    if (kind == H5_GROUP) CPT_TRY(h5_members(f, "obsm", &names, e));
    for (int64_t i = 0; i < names.n; i++) {
        const char *name = cpt_strings_get(&names, i);
        cpt_text_addf(&list, "%s%s", i ? ", " : "", name);
        if (wanted && strcmp(wanted, name) != 0) continue;
        found = true;
        CPT_TRY(cpt_check_stop(r->ctx, e));
        CPT_TRY(read_obsm(r, f, name, n_cells, e));
        cpt_progress(r->ctx, "obsm", (double)(i + 1), (double)names.n, NULL);
    }
    if (wanted && !found)
        CPT_TRY(h5_fail(f, e, CPT_ERR_DATA, "obsm", "has no %s; it has %s", wanted,
                        names.n ? cpt_text_str(&list) : "nothing"));
done:
    cpt_strings_free(&names);
    cpt_text_free(&list);
    return status;
}
