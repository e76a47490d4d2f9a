/* review.c - sessions and answers in notes.sqlite. */
#include "notes/review.h"
#include "notes/notes_db.h"

#include <string.h>

static const char session_row[] =
    "SELECT s.session, s.author, s.created,"
    " (SELECT count(*) FROM items i WHERE i.session = s.session),"
    " (SELECT count(DISTINCT a.item) FROM answers a WHERE a.session = s.session), s.dictionary"
    " FROM sessions s WHERE (?1 = '' OR s.session = ?1) ORDER BY s.created, s.session";

static json_t *session_json(const cpt_notes *n, sqlite3_stmt *st)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:b}", "session", cpt_notes_text(st, 0), "author",
                     cpt_notes_text(st, 1), "created", cpt_notes_text(st, 2), "items",
                     (json_int_t)sqlite3_column_int64(st, 3), "answered",
                     (json_int_t)sqlite3_column_int64(st, 4), "earlier",
                     n->n_concepts > 0 && strcmp(cpt_notes_text(st, 5), n->dictionary) != 0);
}

static cpt_status list_locked(cpt_notes *n, const char *session, json_t *rows, cpt_err *e)
{
    sqlite3_stmt *st = NULL;
    bool more = true;
    if (!n->db) return CPT_OK;
    cpt_status status = cpt_notes_sql(n->db, n->path, &st, e, session_row, "t", session);
    while (status == CPT_OK && (status = cpt_notes_step(n->db, n->path, st, &more, e)) == CPT_OK &&
           more)
        if (json_array_append_new(rows, session_json(n, st)) != 0)
            status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    sqlite3_finalize(st);
    return status;
}

cpt_status cpt_review_list(cpt_notes *n, json_t **out, cpt_err *e)
{
    json_t *rows = json_array();
    *out = NULL;
    cpt_status status = cpt_notes_lock(n, false, e);
    if (status == CPT_OK) status = list_locked(n, "", rows, e);
    cpt_notes_unlock(n);
    if (status == CPT_OK && !(*out = json_pack("{s:O}", "rows", rows)))
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    json_decref(rows);
    return status;
}

static cpt_status add_items(cpt_notes *n, const char *session, const cpt_review_item *items,
                            int32_t n_items, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (int32_t i = 0; i < n_items && status == CPT_OK; i++)
        status =
            cpt_notes_run(n, e, "INSERT INTO items VALUES(?, ?, ?, ?, ?, ?, ?)", "tittiti", session,
                          (int64_t)i, items[i].item, cpt_unit_kind_names[items[i].kind],
                          (int64_t)items[i].unit, items[i].key, (int64_t)items[i].repeats);
    return status;
}

cpt_status cpt_review_begin(cpt_notes *n, const char *author, uint64_t seed,
                            const cpt_review_item *items, int32_t n_items, json_t **session,
                            cpt_err *e)
{
    char id[CPT_NOTES_KEY + 1], created[32];
    json_t *rows = json_array();
    *session = NULL;
    cpt_notes_uid(id, CPT_NOTES_KEY);
    cpt_notes_time_text(cpt_notes_now_ms(), created);
    cpt_status status = cpt_notes_check_author(author, e);
    if (status) {
        json_decref(rows);
        return status;
    }
    status = cpt_notes_lock(n, true, e);
    if (status == CPT_OK) status = cpt_notes_begin(n, e);
    if (status == CPT_OK) {
        status = cpt_notes_run(n, e, "INSERT INTO sessions VALUES(?, ?, ?, ?, ?)", "ttitt", id,
                               author, (int64_t)seed, created, n->dictionary);
        if (status == CPT_OK) status = add_items(n, id, items, n_items, e);
        status = cpt_notes_end(n, status, e);
    }
    if (status == CPT_OK) status = list_locked(n, id, rows, e);
    cpt_notes_unlock(n);
    if (status == CPT_OK) *session = json_incref(json_array_get(rows, 0));
    json_decref(rows);
    return status;
}

static cpt_status unknown(const char *what, const char *id, cpt_err *e)
{
    return cpt_fail(e, CPT_ERR_USAGE, "there is no %s '%.40s'; reload the list of sessions", what,
                    id);
}

static cpt_status open_item_locked(cpt_notes *n, const char *session, int64_t after, json_t **out,
                                   cpt_err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    cpt_status status;
    if (!n->db) return unknown("session", session, e);
    CPT_TRY(cpt_notes_sql(
        n->db, n->path, &st, e,
        "SELECT i.item, i.position, (SELECT count(*) FROM items k WHERE k.session = ?1),"
        " EXISTS (SELECT 1 FROM answers a WHERE a.session = ?1 AND a.item = i.item) AS answered"
        " FROM items i WHERE i.session = ?1 ORDER BY answered, i.position <= ?2, i.position LIMIT "
        "1",
        "ti", session, after));
    CPT_TRY(cpt_notes_step(n->db, n->path, st, &row, e));
    if (!row) status = unknown("session", session, e);
    else if (sqlite3_column_int(st, 3)) *out = json_pack("{s:b}", "done", 1);
    else
        *out = json_pack("{s:s, s:I, s:I}", "item", cpt_notes_text(st, 0), "position",
                         (json_int_t)sqlite3_column_int64(st, 1), "of",
                         (json_int_t)sqlite3_column_int64(st, 2));
done:
    sqlite3_finalize(st);
    return status;
}

cpt_status cpt_review_open_item(cpt_notes *n, const char *session, int64_t after, json_t **out,
                                cpt_err *e)
{
    *out = NULL;
    cpt_status status = cpt_notes_lock(n, false, e);
    if (status == CPT_OK) status = open_item_locked(n, session, after, out, e);
    cpt_notes_unlock(n);
    return status ? status : *out ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
}

static cpt_status find_item(cpt_notes *n, const char *session, const char *item,
                            cpt_review_item *out, cpt_err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    cpt_status status;
    *out = (cpt_review_item){0};
    if (!n->db) return unknown("session", session, e);
    CPT_TRY(
        cpt_notes_sql(n->db, n->path, &st, e,
                      "SELECT kind, unit, key, repeats FROM items WHERE session = ? AND item = ?",
                      "tt", session, item));
    CPT_TRY(cpt_notes_step(n->db, n->path, st, &row, e));
    if (!row) {
        status = unknown("item", item, e);
        goto done;
    }
    while (strcmp(cpt_unit_kind_names[out->kind], cpt_notes_text(st, 0)) != 0)
        out->kind++; /* the schema checks it */
    out->unit = (int32_t)sqlite3_column_int64(st, 1);
    out->repeats = (int32_t)sqlite3_column_int64(st, 3);
    snprintf(out->item, sizeof out->item, "%s", item);
    snprintf(out->key, sizeof out->key, "%s", cpt_notes_text(st, 2));
done:
    sqlite3_finalize(st);
    return status;
}

cpt_status cpt_review_item_of(cpt_notes *n, const char *session, const char *item,
                              cpt_review_item *out, cpt_err *e)
{
    cpt_status status = cpt_notes_lock(n, false, e);
    if (status == CPT_OK) status = find_item(n, session, item, out, e);
    cpt_notes_unlock(n);
    return status;
}

/* ---- answers ---- */

static cpt_status check_reply(const cpt_review_answer *r, cpt_err *e)
{
    if (r->rating < 1 || r->rating > 5)
        return cpt_fail(e, CPT_ERR_USAGE, "rating: %d is not within 1 to 5", r->rating);
    if (r->confidence < 1 || r->confidence > 3)
        return cpt_fail(e, CPT_ERR_USAGE, "confidence: %d is not within 1 to 3", r->confidence);
    if (!(r->seconds >= 0 && r->seconds <= 366 * 86400.0))
        return cpt_fail(e, CPT_ERR_USAGE, "seconds: %g is not a duration", r->seconds);
    cpt_status status = cpt_notes_check_text("label", r->label, CPT_NOTES_LINE, false, e);
    return status ? status : cpt_notes_check_text("note", r->note, CPT_NOTES_TEXT, true, e);
}

/* Whether the last answer to the item says the same: an answer may be sent again after a lost
 * reply. */
static cpt_status is_known(cpt_notes *n, const char *session, const char *item,
                           const cpt_review_answer *r, bool *known, cpt_err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    cpt_status status =
        cpt_notes_sql(n->db, n->path, &st, e,
                      "SELECT rating, confidence, label, note FROM answers WHERE session = ? AND"
                      " item = ? ORDER BY time DESC, uid DESC LIMIT 1",
                      "tt", session, item);
    if (status == CPT_OK) status = cpt_notes_step(n->db, n->path, st, &row, e);
    *known = row && sqlite3_column_int(st, 0) == r->rating &&
             sqlite3_column_int(st, 1) == r->confidence &&
             strcmp(cpt_notes_text(st, 2), r->label) == 0 &&
             strcmp(cpt_notes_text(st, 3), r->note) == 0;
    sqlite3_finalize(st);
    return status;
}

/* Later than any other answer of the session, whatever the clock says. */
static cpt_status answer_time(cpt_notes *n, const char *session, char time[32], cpt_err *e)
{
    sqlite3_stmt *st = NULL;
    bool row = false;
    int64_t now = cpt_notes_now_ms(), last;
    cpt_status status = cpt_notes_sql(
        n->db, n->path, &st, e, "SELECT max(time) FROM answers WHERE session = ?", "t", session);
    if (status == CPT_OK) status = cpt_notes_step(n->db, n->path, st, &row, e);
    if (row && cpt_notes_time_parse(cpt_notes_text(st, 0), &last) && last >= now) now = last + 1;
    sqlite3_finalize(st);
    cpt_notes_time_text(now, time);
    return status;
}

static cpt_status reply_locked(cpt_notes *n, const char *session, const char *item,
                               const cpt_review_answer *r, int64_t *answered, cpt_err *e)
{
    char uid[CPT_NOTES_UID + 1], time[32];
    cpt_review_item known_item;
    sqlite3_stmt *st = NULL;
    bool known, row;
    cpt_status status = cpt_notes_begin(n, e);
    if (status) return status;
    cpt_notes_uid(uid, CPT_NOTES_UID);
    CPT_TRY(find_item(n, session, item, &known_item, e));
    CPT_TRY(is_known(n, session, item, r, &known, e));
    CPT_TRY(answer_time(n, session, time, e));
    if (!known)
        CPT_TRY(cpt_notes_run(n, e,
                              "INSERT INTO answers(uid, session, item, rating, confidence, label, "
                              "note, seconds, time)"
                              " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                              "tttiittdt", uid, session, item, (int64_t)r->rating,
                              (int64_t)r->confidence, r->label, r->note, r->seconds, time));
    CPT_TRY(cpt_notes_sql(n->db, n->path, &st, e,
                          "SELECT count(DISTINCT item) FROM answers WHERE session = ?", "t",
                          session));
    CPT_TRY(cpt_notes_step(n->db, n->path, st, &row, e));
    *answered = sqlite3_column_int64(st, 0);
done:
    sqlite3_finalize(st);
    return cpt_notes_end(n, status, e);
}

cpt_status cpt_review_reply_to(cpt_notes *n, const char *session, const char *item,
                               const cpt_review_answer *r, int64_t *answered, cpt_err *e)
{
    *answered = 0;
    cpt_status status = check_reply(r, e);
    if (status) return status;
    status = cpt_notes_lock(n, true, e);
    if (status == CPT_OK) status = reply_locked(n, session, item, r, answered, e);
    cpt_notes_unlock(n);
    return status;
}
