/* notes_db.h - the database under the notes, for the files of this room only. */
#ifndef CPT_NOTES_NOTES_DB_H
#define CPT_NOTES_NOTES_DB_H

#include "notes/notes.h"

#include <pthread.h>
#include <sqlite3.h>

struct cpt_notes {
    pthread_mutex_t lock;
    char *path;
    sqlite3 *db;   /* NULL = the file is not there (yet) */
    bool write;    /* opened for writing; the file is made by the first change */
    bool writable; /* db can be written */
    int32_t n_concepts;
    char (*keys)[CPT_NOTES_KEY + 1];
    cpt_index *by_key;
    char dictionary[CPT_NOTES_KEY + 1];
    cpt_notes_about_fn *about;
    void *about_data;
    void *owned;
    void (*release)(void *owned);
};

/* Locks; with `write` also makes the file where it is absent, or says why it cannot be written. To
 * be paired with cpt_notes_unlock, whatever it returned. */
cpt_status cpt_notes_lock(cpt_notes *n, bool write, cpt_err *e);
void cpt_notes_unlock(cpt_notes *n);

/* One transaction around several statements. End with commit, or roll back after a failure. */
cpt_status cpt_notes_begin(cpt_notes *n, cpt_err *e);
cpt_status cpt_notes_end(cpt_notes *n, cpt_status so_far, cpt_err *e);

/* Prepares and binds: types has a letter per '?': t text (NULL = ""), i int64_t, d double. */
cpt_status cpt_notes_sql(sqlite3 *db, const char *path, sqlite3_stmt **st, cpt_err *e,
                         const char *sql, const char *types, ...);
/* Next row: *row = false at the end. */
cpt_status cpt_notes_step(sqlite3 *db, const char *path, sqlite3_stmt *st, bool *row, cpt_err *e);
/* Runs a statement that gives no rows (prepare, bind, step, finalize). */
cpt_status cpt_notes_run(cpt_notes *n, cpt_err *e, const char *sql, const char *types, ...);
cpt_status cpt_notes_sql_fail(sqlite3 *db, const char *path, cpt_err *e);

/* Settings that make a stranger's file harmless, and the check that its schema is exactly ours. */
cpt_status cpt_notes_harden(sqlite3 *db, const char *path, cpt_err *e);
cpt_status cpt_notes_check_schema(sqlite3 *db, const char *path, int *version, cpt_err *e);

static inline const char *cpt_notes_text(sqlite3_stmt *st, int column)
{
    const unsigned char *text = sqlite3_column_text(st, column);
    return text ? (const char *)text : "";
}

/* ---- small things ---- */
void cpt_notes_uid(char *hex,
                   int digits); /* out of the system's random numbers; digits + 1 bytes */
void cpt_notes_time_text(int64_t ms, char text[32]);
bool cpt_notes_time_parse(const char *text, int64_t *ms); /* exactly as the above writes it */
int64_t cpt_notes_now_ms(void);
bool cpt_notes_is_hex(const char *text, size_t digits);

/* ---- what may stand in a row: notes_check.c. `where` begins the message. ---- */
cpt_status cpt_notes_check_author(const char *author, cpt_err *e);
cpt_status cpt_notes_check_value(const char *field, const char *value, cpt_err *e);
#endif
