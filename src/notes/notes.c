/* notes.c - setting, undoing, and what holds now.
 *
 * A row of kind 'set' gives a field of a concept a value; 'undo' and 'redo' rows name such a row by
 * its uid. A set row holds unless the last mark on it (by time, then uid) is an undo. What holds of
 * (author, concept, field) is its last set row that holds. All by indices; a list is one pass with
 * a sort, O(rows log rows).
 *
 * Trap: redo after a new change would bring back words out of order; as in any editor, a new change
 * ends what could be done again. */
#include "base/memory.h"
#include "notes/notes_db.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Set rows (alias s) that hold. */
#define HOLDS                                                                                      \
    "coalesce((SELECT m.kind FROM changes m WHERE m.target = s.uid AND m.kind <> 'set'"            \
    " ORDER BY m.time DESC, m.uid DESC LIMIT 1), 'redo') = 'redo'"
#define ROW "s.concept, s.field, s.value, s.author, s.time, s.revision"

/* A row of ROW as JSON. */
static json_t *row_json(const cpt_notes *n, sqlite3_stmt *st)
{
    const char *key = cpt_notes_text(st, 0);
    int32_t concept = cpt_notes_concept(n, key);
    return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:I}", "concept",
                     concept >= 0 ? json_integer(concept) : json_null(), "key", key, "field",
                     cpt_notes_text(st, 1), "value", cpt_notes_text(st, 2), "author",
                     cpt_notes_text(st, 3), "time", cpt_notes_text(st, 4), "revision",
                     (json_int_t)sqlite3_column_int64(st, 5));
}

static cpt_status one_number(cpt_notes *n, const char *sql, int64_t *out, cpt_err *e)
{
    sqlite3_stmt *st;
    bool row = false;
    cpt_status status = cpt_notes_sql(n->db, n->path, &st, e, sql, "");
    if (status) return status;
    status = cpt_notes_step(n->db, n->path, st, &row, e);
    *out = row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return status;
}

/* Rows are never deleted, so the largest revisions count them. */
static cpt_status count_rows(cpt_notes *n, int64_t *revision, cpt_err *e)
{
    *revision = 0;
    return !n->db ? CPT_OK
                  : one_number(n,
                               "SELECT (SELECT coalesce(max(revision), 0) FROM changes)"
                               " + (SELECT coalesce(max(revision), 0) FROM answers)"
                               " + (SELECT count(*) FROM sessions)",
                               revision, e);
}

cpt_status cpt_notes_revision(cpt_notes *n, int64_t *revision, cpt_err *e)
{
    cpt_status status = cpt_notes_lock(n, false, e);
    if (status == CPT_OK) status = count_rows(n, revision, e);
    cpt_notes_unlock(n);
    return status;
}

/* ---- writing ---- */

/* Later than everything the author has said: clocks are set back. */
static cpt_status next_time(cpt_notes *n, const char *author, char time[32], cpt_err *e)
{
    sqlite3_stmt *st;
    bool row;
    int64_t now = cpt_notes_now_ms(), last;
    cpt_status status = cpt_notes_sql(
        n->db, n->path, &st, e, "SELECT max(time) FROM changes WHERE author = ?", "t", author);
    if (status) return status;
    status = cpt_notes_step(n->db, n->path, st, &row, e);
    if (status == CPT_OK && row && cpt_notes_time_parse(cpt_notes_text(st, 0), &last) &&
        last >= now)
        now = last + 1;
    sqlite3_finalize(st);
    cpt_notes_time_text(now, time);
    return status;
}

/* Keeps what is known of a concept with its first row. Known concepts of earlier dictionaries have
 * theirs. */
static cpt_status keep_about(cpt_notes *n, const char *key, cpt_err *e)
{
    cpt_notes_about about = {"", "", ""};
    int32_t concept = cpt_notes_concept(n, key);
    sqlite3_stmt *st;
    bool known = false;
    cpt_status status =
        cpt_notes_sql(n->db, n->path, &st, e, "SELECT 1 FROM concepts WHERE key = ?", "t", key);
    if (status == CPT_OK) status = cpt_notes_step(n->db, n->path, st, &known, e);
    sqlite3_finalize(st);
    if (status || known || concept < 0) return status;
    if (n->about) status = n->about(n->about_data, concept, &about, e);
    return status ? status
                  : cpt_notes_run(n, e, "INSERT INTO concepts VALUES(?, ?, ?, ?, ?, ?)", "titttt",
                                  key, (int64_t) concept, n->dictionary, about.genes, about.label,
                                  about.cells);
}

static cpt_status add_row(cpt_notes *n, const char *author, const char *kind, const char *key,
                          const char *field, const char *value, const char *target, char time[32],
                          cpt_err *e)
{
    char uid[CPT_NOTES_UID + 1];
    cpt_notes_uid(uid, CPT_NOTES_UID);
    cpt_status status = next_time(n, author, time, e);
    return status
               ? status
               : cpt_notes_run(
                     n, e,
                     "INSERT INTO changes(uid, author, time, kind, concept, field, value, target)"
                     " VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                     "tttttttt", uid, author, time, kind, key, field, value, target);
}

/* Compares with what holds; *same = nothing needs to be written. */
static cpt_status compare_base(cpt_notes *n, const cpt_note_change *c, cpt_notes_result *out,
                               bool *same, cpt_err *e)
{
    sqlite3_stmt *st;
    bool row = false;
    *same = false;
    cpt_status status =
        cpt_notes_sql(n->db, n->path, &st, e,
                      "SELECT " ROW " FROM changes s WHERE s.concept = ? AND s.field = ?"
                      " AND s.author = ? AND s.kind = 'set' AND " HOLDS
                      " ORDER BY s.time DESC, s.uid DESC LIMIT 1",
                      "ttt", c->key, c->field, c->author);
    if (status == CPT_OK) status = cpt_notes_step(n->db, n->path, st, &row, e);
    if (status) goto done;
    const char *value = row ? cpt_notes_text(st, 2) : "";
    int64_t revision = row ? sqlite3_column_int64(st, 5) : 0;
    *same = strcmp(value, c->value) == 0;
    bool seen = c->base < 0 || c->base == revision || (c->base == 0 && !*value);
    out->conflict = !*same && !seen;
    if (*same || out->conflict) {
        out->revision = revision;
        snprintf(out->time, sizeof out->time, "%s", row ? cpt_notes_text(st, 4) : "");
    }
    if (out->conflict && row && !(out->now = row_json(n, st)))
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
done:
    sqlite3_finalize(st);
    return status;
}

static cpt_status set_locked(cpt_notes *n, const cpt_note_change *c, cpt_notes_result *out,
                             cpt_err *e)
{
    bool same;
    cpt_status status = cpt_notes_begin(n, e);
    if (status) return status;
    CPT_TRY(compare_base(n, c, out, &same, e));
    if (same || out->conflict) goto done;
    CPT_TRY(keep_about(n, c->key, e));
    CPT_TRY(add_row(n, c->author, "set", c->key, c->field, c->value, "", out->time, e));
    out->revision = sqlite3_last_insert_rowid(n->db);
done:
    return cpt_notes_end(n, status, e);
}

cpt_status cpt_notes_set(cpt_notes *n, const cpt_note_change *c, cpt_notes_result *out, cpt_err *e)
{
    *out = (cpt_notes_result){0};
    cpt_status status = cpt_notes_check_author(c->author, e);
    if (status == CPT_OK) status = cpt_notes_check_value(c->field, c->value, e);
    if (status == CPT_OK && !cpt_notes_is_hex(c->key, CPT_NOTES_KEY))
        status = cpt_fail(e, CPT_ERR_USAGE,
                          "key: '%.40s' is not the key of a concept; reload the page", c->key);
    if (status) return status;
    status = cpt_notes_lock(n, true, e);
    if (status == CPT_OK) {
        out->earlier = cpt_notes_concept(n, c->key) < 0;
        status = set_locked(n, c, out, e);
    }
    cpt_notes_unlock(n);
    return status;
}

/* The row to undo: the author's last one that holds. To do again: what the author's last undo that
 * still stands took back, unless a change was made since. */
static const char last_done[] =
    "SELECT " ROW ", s.uid FROM changes s WHERE s.author = ?1 AND s.kind = 'set'"
    " AND " HOLDS " ORDER BY s.time DESC, s.uid DESC LIMIT 1";
static const char last_undone[] =
    "SELECT " ROW ", s.uid FROM changes u JOIN changes s ON s.uid = u.target"
    " WHERE u.author = ?1 AND u.kind = 'undo' AND NOT (" HOLDS ")"
    " AND NOT EXISTS (SELECT 1 FROM changes l WHERE l.author = ?1 AND l.kind = 'set' AND l.time > "
    "u.time)"
    " ORDER BY u.time DESC, u.uid DESC LIMIT 1";

static cpt_status undo_locked(cpt_notes *n, const char *author, bool redo, json_t **undone,
                              cpt_err *e)
{
    sqlite3_stmt *st = NULL;
    char time[32];
    bool row = false;
    cpt_status status = cpt_notes_begin(n, e);
    if (status) return status;
    CPT_TRY(cpt_notes_sql(n->db, n->path, &st, e, redo ? last_undone : last_done, "t", author));
    CPT_TRY(cpt_notes_step(n->db, n->path, st, &row, e));
    if (!row) goto done;
    if (!(*undone = row_json(n, st))) {
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        goto done;
    }
    status = add_row(n, author, redo ? "redo" : "undo", cpt_notes_text(st, 0),
                     cpt_notes_text(st, 1), "", cpt_notes_text(st, 6), time, e);
done:
    sqlite3_finalize(st);
    status = cpt_notes_end(n, status, e);
    if (status && *undone) {
        json_decref(*undone);
        *undone = NULL;
    }
    return status;
}

cpt_status cpt_notes_step_back(cpt_notes *n, const char *author, bool redo, int64_t *revision,
                               json_t **undone, cpt_err *e)
{
    *undone = NULL;
    *revision = 0;
    cpt_status status = cpt_notes_check_author(author, e);
    if (status) return status;
    status = cpt_notes_lock(n, true, e);
    if (status == CPT_OK) status = undo_locked(n, author, redo, undone, e);
    if (status == CPT_OK) status = count_rows(n, revision, e);
    cpt_notes_unlock(n);
    return status;
}

/* ---- reading ---- */

/* What holds, cleared fields left out; ?1 = author or ''. Latest last. */
static const char holding[] =
    "SELECT concept, field, value, author, time, revision, uid FROM ("
    " SELECT s.*, row_number() OVER (PARTITION BY s.author, s.concept, s.field"
    "  ORDER BY s.time DESC, s.uid DESC) AS place"
    " FROM changes s WHERE s.kind = 'set' AND (?1 = '' OR s.author = ?1) AND " HOLDS
    ") WHERE place = 1 AND value <> '' ORDER BY time, uid";

/* Adds what is kept of a concept that is no more. */
static cpt_status add_about(cpt_notes *n, json_t *row, cpt_err *e)
{
    static const char *const names[] = {"was", "dictionary", "genes", "label", "cells"};
    sqlite3_stmt *st;
    bool found = false;
    cpt_status status =
        cpt_notes_sql(n->db, n->path, &st, e,
                      "SELECT number, dictionary, genes, label, cells FROM concepts WHERE key = ?",
                      "t", json_string_value(json_object_get(row, "key")));
    if (status == CPT_OK) status = cpt_notes_step(n->db, n->path, st, &found, e);
    for (int i = 0; status == CPT_OK && found && i < 5; i++)
        json_object_set_new(row, names[i],
                            i == 0 ? json_integer(sqlite3_column_int64(st, 0))
                                   : json_string(cpt_notes_text(st, i)));
    sqlite3_finalize(st);
    return status;
}

static cpt_status list_rows(cpt_notes *n, const char *author, json_t *rows, json_t *earlier,
                            cpt_err *e)
{
    sqlite3_stmt *st;
    bool more = true;
    cpt_status status = cpt_notes_sql(n->db, n->path, &st, e, holding, "t", author ? author : "");
    while (status == CPT_OK && (status = cpt_notes_step(n->db, n->path, st, &more, e)) == CPT_OK &&
           more) {
        json_t *row = row_json(n, st);
        bool is_earlier = json_is_null(json_object_get(row, "concept"));
        if (is_earlier) status = add_about(n, row, e);
        if (!row || json_array_append_new(is_earlier ? earlier : rows, row) != 0)
            status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    }
    sqlite3_finalize(st);
    return status;
}

cpt_status cpt_notes_rows(cpt_notes *n, const char *author, json_t **out, cpt_err *e)
{
    int64_t revision = 0;
    json_t *rows = json_array(), *earlier = json_array();
    *out = NULL;
    cpt_status status = cpt_notes_lock(n, false, e);
    if (status == CPT_OK) status = count_rows(n, &revision, e);
    if (status == CPT_OK && n->db) status = list_rows(n, author, rows, earlier, e);
    if (status == CPT_OK)
        *out = json_pack("{s:I, s:s, s:O, s:O}", "revision", (json_int_t)revision, "dictionary",
                         n->dictionary, "rows", rows, "earlier", earlier);
    cpt_notes_unlock(n);
    json_decref(rows);
    json_decref(earlier);
    return status ? status : *out ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

cpt_status cpt_notes_past(cpt_notes *n, const char *key, json_t **out, cpt_err *e)
{
    sqlite3_stmt *st = NULL;
    bool more = true;
    json_t *rows = json_array();
    *out = NULL;
    cpt_status status = cpt_notes_lock(n, false, e);
    if (status == CPT_OK && n->db)
        status = cpt_notes_sql(n->db, n->path, &st, e,
                               "SELECT " ROW ", NOT (" HOLDS ") FROM changes s WHERE s.kind = 'set'"
                               " AND (?1 = '' OR s.concept = ?1) ORDER BY s.time, s.uid",
                               "t", key ? key : "");
    while (status == CPT_OK && st &&
           (status = cpt_notes_step(n->db, n->path, st, &more, e)) == CPT_OK && more) {
        json_t *row = row_json(n, st);
        if (row) json_object_set_new(row, "undone", json_boolean(sqlite3_column_int(st, 6)));
        if (json_array_append_new(rows, row) != 0)
            status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    }
    sqlite3_finalize(st);
    cpt_notes_unlock(n);
    if (status == CPT_OK && !(*out = json_pack("{s:O}", "rows", rows)))
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    json_decref(rows);
    return status;
}

cpt_status cpt_notes_all_keys(cpt_notes *n, json_t **out, cpt_err *e)
{
    json_t *keys = json_array();
    bool full = true;
    *out = NULL;
    cpt_status status = cpt_notes_lock(n, false, e);
    for (int32_t c = 0; c < n->n_concepts; c++)
        full &= json_array_append_new(keys, json_string(n->keys[c])) == 0;
    if (status == CPT_OK && full)
        *out = json_pack("{s:s, s:O}", "dictionary", n->dictionary, "keys", keys);
    cpt_notes_unlock(n);
    json_decref(keys);
    return status ? status : *out ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}
