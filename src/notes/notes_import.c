/* notes_import.c - adds the rows of another notes file: JSON as exported, or an SQLite file.
 *
 * Rows are told apart by their uid (or key), so adding is a union: any order, any number of times.
 * The same uid with other contents means that a file was changed by hand: refused. Everything
 * happens in one transaction; at its end what rows demand of other rows is asked of the whole.
 *
 * An SQLite file is never opened where it lies: its bytes are deserialised into memory, read-only,
 * hardened and integrity-checked first (notes_db.c). In a copy of our own the two bytes that say
 * "WAL" are set to "rollback journal", which a database in memory needs; a -wal beside it is merged
 * in a scratch folder.
 *
 * Trap: sqlite3_column_text of a hostile row can hold NUL bytes; a text is taken only when its
 * length agrees. */
#include "base/file.h"
#include "base/memory.h"
#include "notes/notes_tables.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct merging {
    cpt_notes *n;
    const char *name; /* of the file, for messages */
    const cpt_notes_table *table;
    sqlite3_stmt *insert, *find;
    int64_t row; /* number within the table, from 1 */
    cpt_notes_merged *counts;
} merging;

/* ---- one row ---- */

static void bind_row(sqlite3_stmt *st, const cpt_notes_value *row, int n)
{
    sqlite3_reset(st);
    for (int i = 0; i < n; i++) {
        if (row[i].kind == 't') sqlite3_bind_text(st, i + 1, row[i].text, -1, SQLITE_TRANSIENT);
        else if (row[i].kind == 'i') sqlite3_bind_int64(st, i + 1, row[i].integer);
        else sqlite3_bind_double(st, i + 1, row[i].real);
    }
}

static bool same_value(sqlite3_stmt *st, int i, const cpt_notes_value *v)
{
    return v->kind == 't'   ? strcmp(cpt_notes_text(st, i), v->text) == 0
           : v->kind == 'i' ? sqlite3_column_int64(st, i) == v->integer
                            : sqlite3_column_double(st, i) == v->real;
}

static int n_columns(const cpt_notes_table *t)
{
    int n = 0;
    while (t->columns[n].name) n++;
    return n;
}

/* What is known of a concept may have been written by different versions: the first stays. */
static cpt_status compare_known(merging *m, const cpt_notes_value *row, cpt_err *e)
{
    bool found;
    bind_row(m->find, row, m->table->n_key);
    cpt_status status = cpt_notes_step(m->n->db, m->n->path, m->find, &found, e);
    bool same = found;
    for (int i = m->table->n_key; same && i < n_columns(m->table); i++)
        same = same_value(m->find, i, &row[i]);
    sqlite3_reset(m->find);
    if (status == CPT_OK && !same && strcmp(m->table->name, "concepts") != 0)
        return cpt_fail(
            e, CPT_ERR_FORMAT,
            "stands in these notes with other contents; one of the two files was changed by hand");
    m->counts->known++;
    return status;
}

static cpt_status merge_row(merging *m, const cpt_notes_value *row, cpt_err *e)
{
    m->row++;
    cpt_status status = cpt_notes_check_row(m->table, row, e);
    if (status == CPT_OK) {
        bind_row(m->insert, row, n_columns(m->table));
        status = cpt_notes_step(m->n->db, m->n->path, m->insert, NULL, e);
        if (status == CPT_OK && sqlite3_changes(m->n->db)) m->counts->added++;
        else if (status == CPT_OK) status = compare_known(m, row, e);
        sqlite3_reset(m->insert);
    }
    if (status) cpt_fail_in(e, "%s: %s, row %lld", m->name, m->table->name, (long long)m->row);
    if (status != CPT_ERR_USAGE) return status;
    if (e) e->code = CPT_ERR_FORMAT; /* an impossible value makes the file wrong, not the caller */
    return CPT_ERR_FORMAT;
}

static cpt_status begin_table(merging *m, const cpt_notes_table *t, cpt_err *e)
{
    cpt_text insert = {0}, find = {0};
    m->table = t;
    m->row = 0;
    cpt_text_addf(&insert, "INSERT INTO %s(", t->name);
    cpt_text_add(&find, "SELECT ");
    for (int i = 0; t->columns[i].name; i++) {
        cpt_text_addf(&insert, "%s%s", i ? ", " : "", t->columns[i].name);
        cpt_text_addf(&find, "%s%s", i ? ", " : "", t->columns[i].name);
    }
    cpt_text_add(&insert, ") VALUES(");
    for (int i = 0; t->columns[i].name; i++) cpt_text_add(&insert, i ? ", ?" : "?");
    cpt_text_add(&insert, ") ON CONFLICT DO NOTHING");
    cpt_text_addf(&find, " FROM %s WHERE ", t->name);
    for (int i = 0; i < t->n_key; i++)
        cpt_text_addf(&find, "%s%s = ?", i ? " AND " : "", t->columns[i].name);
    cpt_status status = cpt_text_status(&insert, e);
    if (status == CPT_OK) status = cpt_text_status(&find, e);
    if (status == CPT_OK)
        status = cpt_notes_sql(m->n->db, m->n->path, &m->insert, e, insert.bytes, "");
    if (status == CPT_OK) status = cpt_notes_sql(m->n->db, m->n->path, &m->find, e, find.bytes, "");
    cpt_text_free(&insert);
    cpt_text_free(&find);
    return status;
}

static void end_table(merging *m)
{
    sqlite3_finalize(m->insert);
    sqlite3_finalize(m->find);
    m->insert = m->find = NULL;
}

/* ---- after all rows ---- */

/* Each finds a row that demands another which is not there. */
static const struct demand {
    const char *what, *sql;
} demands[] = {
    {"an undo of a change that neither file has, or of another author's",
     "SELECT 1 FROM changes u LEFT JOIN changes s ON s.uid = u.target AND s.kind = 'set' AND "
     "s.author = u.author"
     " WHERE u.kind <> 'set' AND s.uid IS NULL LIMIT 1"},
    {"an item of a review session that neither file has",
     "SELECT 1 FROM items i LEFT JOIN sessions s USING(session) WHERE s.session IS NULL LIMIT 1"},
    {"an answer to an item that neither file has",
     "SELECT 1 FROM answers a LEFT JOIN items i ON i.session = a.session AND i.item = a.item"
     " WHERE i.item IS NULL LIMIT 1"},
    {"a repeat of an item that is none",
     "SELECT 1 FROM items i LEFT JOIN items f ON f.session = i.session AND f.position = i.repeats"
     " WHERE i.repeats >= 0 AND (f.key IS NULL OR f.key <> i.key OR f.repeats >= 0) LIMIT 1"},
};

static cpt_status check_demands(merging *m, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (size_t i = 0; i < sizeof demands / sizeof *demands && status == CPT_OK; i++) {
        sqlite3_stmt *st;
        bool found = false;
        status = cpt_notes_sql(m->n->db, m->n->path, &st, e, demands[i].sql, "");
        if (status == CPT_OK) status = cpt_notes_step(m->n->db, m->n->path, st, &found, e);
        sqlite3_finalize(st);
        if (found)
            status =
                cpt_fail(e, CPT_ERR_FORMAT, "%s: has %s; export it again from where it was made",
                         m->name, demands[i].what);
    }
    return status;
}

/* Fields about which authors differ now: of name, label and rating, where one value is expected. */
static cpt_status count_conflicts(merging *m, cpt_err *e)
{
    static const char sql[] =
        "SELECT count(*) FROM (SELECT concept, field FROM ("
        " SELECT s.concept, s.field, s.value, row_number() OVER (PARTITION BY s.author, s.concept, "
        "s.field"
        "  ORDER BY s.time DESC, s.uid DESC) AS place FROM changes s WHERE s.kind = 'set'"
        "  AND s.field IN('name','label','rating')"
        "  AND coalesce((SELECT k.kind FROM changes k WHERE k.target = s.uid AND k.kind <> 'set'"
        "   ORDER BY k.time DESC, k.uid DESC LIMIT 1), 'redo') = 'redo'"
        ") WHERE place = 1 AND value <> '' GROUP BY concept, field HAVING count(DISTINCT value) > "
        "1)";
    sqlite3_stmt *st;
    bool row = false;
    cpt_status status = cpt_notes_sql(m->n->db, m->n->path, &st, e, sql, "");
    if (status == CPT_OK) status = cpt_notes_step(m->n->db, m->n->path, st, &row, e);
    m->counts->conflicts = row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return status;
}

/* ---- JSON ---- */

static cpt_notes_value json_value(const json_t *v)
{
    cpt_notes_value out = {0};
    if (json_is_string(v)) {
        out.kind = 't';
        out.text = json_string_value(v);
    } else if (json_is_integer(v)) {
        out.kind = 'i';
        out.integer = json_integer_value(v);
        out.real = (double)out.integer;
    } else if (json_is_real(v)) {
        out.kind = 'd';
        out.real = json_real_value(v);
    }
    return out;
}

static cpt_status merge_json(merging *m, const json_t *root, cpt_err *e)
{
    for (int t = 0; t < CPT_NOTES_TABLES; t++) {
        const cpt_notes_table *table = &cpt_notes_tables[t];
        const json_t *rows = json_object_get(root, table->name), *row;
        size_t i;
        if (!rows) continue;
        cpt_status status =
            json_is_array(rows)
                ? begin_table(m, table, e)
                : cpt_fail(e, CPT_ERR_FORMAT, "%s: '%s' is not a list", m->name, table->name);
        json_array_foreach(rows, i, row)
        {
            cpt_notes_value values[CPT_NOTES_COLUMNS];
            if (status) break;
            for (int c = 0; table->columns[c].name; c++) {
                values[c] = json_value(json_object_get(row, table->columns[c].name));
                /* 3 stands for 3.0 in JSON. */
                if (table->columns[c].rule == RULE_SECONDS && values[c].kind == 'i')
                    values[c].kind = 'd';
            }
            status = merge_row(m, values, e);
        }
        end_table(m);
        if (status) return status;
    }
    return CPT_OK;
}

static cpt_status parse_json(const char *name, const void *bytes, size_t size, json_t **root,
                             cpt_err *e)
{
    json_error_t where;
    *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &where);
    if (!*root)
        return cpt_fail(
            e, CPT_ERR_FORMAT,
            "%s: neither an SQLite file nor JSON (line %d: %.200s); give a notes.sqlite or what "
            "`conceptome export STUDY --what notes --format json` wrote",
            name, where.line, where.text);
    const char *format = json_string_value(json_object_get(*root, "format"));
    const json_t *version = json_object_get(*root, "version");
    cpt_status status = CPT_OK;
    if (!format || strcmp(format, "conceptome-notes") != 0 || !json_is_integer(version))
        status =
            cpt_fail(e, CPT_ERR_FORMAT,
                     "%s: JSON, but not exported notes (\"format\" is not conceptome-notes)", name);
    else if (json_integer_value(version) != CPT_NOTES_VERSION)
        status =
            cpt_fail(e, CPT_ERR_UNSUPPORTED,
                     "%s: notes of version %lld; this program knows version %d: use a newer one",
                     name, (long long)json_integer_value(version), CPT_NOTES_VERSION);
    if (status) {
        json_decref(*root);
        *root = NULL;
    }
    return status;
}

/* ---- SQLite ---- */

static cpt_status integrity(sqlite3 *db, const char *name, cpt_err *e)
{
    sqlite3_stmt *st;
    bool row = false;
    cpt_status status = cpt_notes_sql(db, name, &st, e, "PRAGMA integrity_check(1)", "");
    if (status) return status;
    status = cpt_notes_step(db, name, st, &row, e);
    if (status == CPT_OK && (!row || strcmp(cpt_notes_text(st, 0), "ok") != 0))
        status = cpt_fail(e, CPT_ERR_FORMAT, "%s: damaged (%.200s); nothing was taken from it",
                          name, row ? cpt_notes_text(st, 0) : "no answer");
    sqlite3_finalize(st);
    return status;
}

static int stop_runaway(void *data)
{
    return ++*(int64_t *)data > 2000;
}

/* The bytes as a database in memory; takes them over. */
static cpt_status open_bytes(const char *name, unsigned char *bytes, size_t size, sqlite3 **db,
                             int64_t *rounds, cpt_err *e)
{
    int version;
    cpt_status status;
    if (sqlite3_open_v2("file::memory:", db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_URI,
                        NULL) != SQLITE_OK) {
        sqlite3_free(bytes);
        return cpt_notes_sql_fail(*db, name, e);
    }
    sqlite3_progress_handler(*db, 1 << 20, stop_runaway, rounds);
    if (bytes[18] == 2) bytes[18] = bytes[19] = 1;
    if (sqlite3_deserialize(*db, "main", bytes, (sqlite3_int64)size, (sqlite3_int64)size,
                            SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY) !=
        SQLITE_OK)
        return cpt_notes_sql_fail(*db, name, e);
    CPT_TRY(cpt_notes_harden(*db, name, e));
    CPT_TRY(integrity(*db, name, e));
    status = cpt_notes_check_schema(*db, name, &version, e);
done:
    return status;
}

static cpt_notes_value sqlite_value(sqlite3_stmt *st, int i)
{
    cpt_notes_value out = {0};
    switch (sqlite3_column_type(st, i)) {
    case SQLITE_INTEGER:
        out.kind = 'i';
        out.integer = sqlite3_column_int64(st, i);
        break;
    case SQLITE_FLOAT:
        out.kind = 'd';
        out.real = sqlite3_column_double(st, i);
        break;
    case SQLITE_TEXT:
        out.text = cpt_notes_text(st, i);
        if (strlen(out.text) == (size_t)sqlite3_column_bytes(st, i)) out.kind = 't';
        break;
    default: break;
    }
    return out;
}

static cpt_status merge_sqlite(merging *m, sqlite3 *from, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int t = 0; t < CPT_NOTES_TABLES && status == CPT_OK; t++) {
        const cpt_notes_table *table = &cpt_notes_tables[t];
        cpt_text sql = {0};
        sqlite3_stmt *st = NULL;
        bool more = true;
        cpt_text_add(&sql, "SELECT ");
        for (int i = 0; table->columns[i].name; i++)
            cpt_text_addf(&sql, "%s%s", i ? ", " : "", table->columns[i].name);
        /* Where revisions are, rows keep the order in which they were written. */
        cpt_text_addf(&sql, " FROM %s%s", table->name,
                      table->columns[0].rule == RULE_UID ? " ORDER BY revision" : "");
        status = cpt_text_status(&sql, e);
        if (status == CPT_OK) status = begin_table(m, table, e);
        if (status == CPT_OK) status = cpt_notes_sql(from, m->name, &st, e, sql.bytes, "");
        while (status == CPT_OK &&
               (status = cpt_notes_step(from, m->name, st, &more, e)) == CPT_OK && more) {
            cpt_notes_value values[CPT_NOTES_COLUMNS];
            for (int i = 0; table->columns[i].name; i++) values[i] = sqlite_value(st, i);
            status = merge_row(m, values, e);
        }
        sqlite3_finalize(st);
        end_table(m);
        cpt_text_free(&sql);
    }
    return status;
}

/* ---- both ---- */

static cpt_status merge_all(merging *m, const json_t *root, sqlite3 *from, cpt_err *e)
{
    cpt_status status = cpt_notes_lock(m->n, true, e);
    if (status == CPT_OK) status = cpt_notes_begin(m->n, e);
    if (status == CPT_OK) {
        status = root ? merge_json(m, root, e) : merge_sqlite(m, from, e);
        if (status == CPT_OK) status = check_demands(m, e);
        if (status == CPT_OK) status = count_conflicts(m, e);
        status = cpt_notes_end(m->n, status, e);
    }
    cpt_notes_unlock(m->n);
    return status;
}

cpt_status cpt_notes_import(cpt_notes *n, const char *name, const void *bytes, size_t size,
                            cpt_notes_merged *out, cpt_err *e)
{
    merging m = {.n = n, .name = name, .counts = out};
    json_t *root = NULL;
    sqlite3 *from = NULL;
    int64_t rounds = 0;
    cpt_status status;
    *out = (cpt_notes_merged){0};
    if (size > CPT_NOTES_MAX_IMPORT)
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: %zu bytes; notes of more than %d are not taken",
                        name, size, CPT_NOTES_MAX_IMPORT);
    if (size >= 100 && memcmp(bytes, "SQLite format 3", 16) == 0) {
        unsigned char *copy = sqlite3_malloc64(size);
        if (!copy) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        memcpy(copy, bytes, size);
        status = open_bytes(name, copy, size, &from, &rounds, e);
    } else {
        status = parse_json(name, bytes, size, &root, e);
    }
    if (status == CPT_OK) status = merge_all(&m, root, from, e);
    json_decref(root);
    sqlite3_close(from);
    if (status) *out = (cpt_notes_merged){0};
    return status;
}

/* ---- a file beside whose -wal there are newer rows ---- */

static cpt_status copy_file(const char *from, const char *to, cpt_err *e)
{
    cpt_map map;
    cpt_status status = cpt_map_open(from, &map, e);
    if (status) return status;
    status = map.size > CPT_NOTES_MAX_IMPORT
                 ? cpt_fail(e, CPT_ERR_FORMAT, "%s: too large for notes", from)
                 : cpt_write_file(to, map.bytes, map.size, e);
    cpt_map_close(&map);
    return status;
}

/* Lets SQLite fold the -wal into a copy of the file. */
static cpt_status fold_wal(const char *copy, const char *name, cpt_err *e)
{
    sqlite3 *db = NULL;
    cpt_status status = CPT_OK;
    if (sqlite3_open_v2(copy, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        status = cpt_notes_sql_fail(db, name, e);
    if (status == CPT_OK) status = cpt_notes_harden(db, name, e);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    if (status == CPT_OK &&
        sqlite3_exec(db, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL) != SQLITE_OK)
        status = cpt_notes_sql_fail(db, name, e);
    sqlite3_close(db);
    return status;
}

static cpt_status import_with_wal(cpt_notes *n, const char *path, const char *wal,
                                  cpt_notes_merged *out, cpt_err *e)
{
    char folder[PATH_MAX], copy[PATH_MAX + 32], copy_wal[PATH_MAX + 32];
    const char *root = getenv("TMPDIR");
    cpt_map map;
    cpt_status status;
    snprintf(folder, sizeof folder, "%s/conceptome-XXXXXX", root && *root ? root : "/tmp");
    if (!mkdtemp(folder))
        return cpt_fail(e, CPT_ERR_IO,
                        "%s: cannot be created: %s; set TMPDIR to a folder with room", folder,
                        strerror(errno));
    snprintf(copy, sizeof copy, "%s/notes.sqlite", folder);
    snprintf(copy_wal, sizeof copy_wal, "%s/notes.sqlite-wal", folder);
    CPT_TRY(copy_file(path, copy, e));
    CPT_TRY(copy_file(wal, copy_wal, e));
    CPT_TRY(fold_wal(copy, path, e));
    CPT_TRY(cpt_map_open(copy, &map, e));
    status = cpt_notes_import(n, path, map.bytes, map.size, out, e);
    cpt_map_close(&map);
done:
    cpt_remove_tree(folder, NULL);
    return status;
}

cpt_status cpt_notes_import_path(cpt_notes *n, const char *path, cpt_notes_merged *out, cpt_err *e)
{
    char wal[PATH_MAX];
    cpt_map map;
    cpt_status status;
    *out = (cpt_notes_merged){0};
    if (snprintf(wal, sizeof wal, "%s-wal", path) >= (int)sizeof wal)
        return cpt_fail(e, CPT_ERR_USAGE, "%s: the path is too long", path);
    if (cpt_path_exists(wal)) return import_with_wal(n, path, wal, out, e);
    status = cpt_map_open(path, &map, e);
    if (status) return status;
    status = cpt_notes_import(n, path, map.bytes, map.size, out, e);
    cpt_map_close(&map);
    return status;
}
