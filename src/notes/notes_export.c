/* notes_export.c - the whole of a notes file as JSON: every row of every table, names of columns as
 * keys. What import reads. Rows stand in the order in which they can be added. */
#include "notes/notes_tables.h"

static json_t *column_json(sqlite3_stmt *st, int i)
{
    switch (sqlite3_column_type(st, i)) {
    case SQLITE_INTEGER: return json_integer(sqlite3_column_int64(st, i));
    case SQLITE_FLOAT: return json_real(sqlite3_column_double(st, i));
    default: return json_string(cpt_notes_text(st, i));
    }
}

static cpt_status add_select(cpt_text *sql, const cpt_notes_table *t, cpt_err *e)
{
    cpt_text_add(sql, "SELECT ");
    for (int i = 0; t->columns[i].name; i++)
        cpt_text_addf(sql, "%s%s", i ? ", " : "", t->columns[i].name);
    cpt_text_addf(sql, " FROM %s ORDER BY ", t->name);
    /* Tables with an own order keep it; the others go by their key. */
    if (t->columns[0].rule == RULE_UID) cpt_text_add(sql, "time, uid");
    else
        for (int i = 0; i < t->n_key; i++)
            cpt_text_addf(sql, "%s%s", i ? ", " : "", t->columns[i].name);
    return cpt_text_status(sql, e);
}

static cpt_status dump_table(cpt_notes *n, const cpt_notes_table *t, json_t *rows, cpt_err *e)
{
    cpt_text sql = {0};
    sqlite3_stmt *st = NULL;
    bool more = true;
    cpt_status status;
    CPT_TRY(add_select(&sql, t, e));
    CPT_TRY(cpt_notes_sql(n->db, n->path, &st, e, sql.bytes, ""));
    while ((status = cpt_notes_step(n->db, n->path, st, &more, e)) == CPT_OK && more) {
        json_t *row = json_object();
        for (int i = 0; t->columns[i].name; i++)
            json_object_set_new(row, t->columns[i].name, column_json(st, i));
        if (json_array_append_new(rows, row) != 0) {
            status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
            break;
        }
    }
done:
    sqlite3_finalize(st);
    cpt_text_free(&sql);
    return status;
}

cpt_status cpt_notes_dump(cpt_notes *n, json_t **out, cpt_err *e)
{
    json_t *root =
        json_pack("{s:s, s:i}", "format", "conceptome-notes", "version", CPT_NOTES_VERSION);
    *out = NULL;
    cpt_status status = cpt_notes_lock(n, false, e);
    if (status == CPT_OK && n->db)
        status = sqlite3_exec(n->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK
                     ? CPT_OK
                     : cpt_notes_sql_fail(n->db, n->path, e);
    for (int i = 0; i < CPT_NOTES_TABLES && status == CPT_OK; i++) {
        json_t *rows = json_array();
        if (n->db) status = dump_table(n, &cpt_notes_tables[i], rows, e);
        json_object_set_new(root, cpt_notes_tables[i].name, rows);
    }
    if (n->db && !sqlite3_get_autocommit(n->db)) sqlite3_exec(n->db, "ROLLBACK", NULL, NULL, NULL);
    cpt_notes_unlock(n);
    if (status) json_decref(root);
    else *out = root;
    return status;
}
