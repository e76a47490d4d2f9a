/* notes_db.c - opens notes.sqlite, makes and checks its schema, runs statements.
 *
 * A notes file comes by mail as often as it is made here, so it is a stranger's: before anything is
 * read out of it, triggers, views and functions of its schema are made powerless (trusted_schema
 * off, defensive), limits are set, and every object of its schema must be, letter for letter, the
 * one that this program makes for that version. Then only our own SQL runs on our own tables.
 *
 * WAL with synchronous=FULL: a commit is on the disk (as far as the disk says so) before the call
 * returns, and readers never wait for the writer.
 *
 * Trap: a WAL database in a folder that cannot be written can only be read as "immutable", which
 * passes over a -wal file; with a -wal that holds something we refuse rather than show old words.
 */
#include "notes/notes_db.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATH_LIMIT = 4096, APPLICATION_ID = 0x4350544E, BUSY_MS = 10000 };

/* migrations[v]: from version v to v + 1. Append, never change: files of old versions are checked
 * by it. */
static const char *const migrations[CPT_NOTES_VERSION] = {
    "CREATE TABLE concepts(key TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL,"
    " dictionary TEXT NOT NULL, genes TEXT NOT NULL, label TEXT NOT NULL, cells TEXT NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE changes(revision INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE,"
    " author TEXT NOT NULL, time TEXT NOT NULL, kind TEXT NOT NULL CHECK(kind "
    "IN('set','undo','redo')),"
    " concept TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, target TEXT NOT NULL) "
    "STRICT;"
    "CREATE INDEX changes_by_author ON changes(author, time, uid);"
    "CREATE INDEX changes_by_concept ON changes(concept, field, author, time, uid);"
    "CREATE INDEX changes_by_target ON changes(target, time, uid) WHERE kind <> 'set';"
    "CREATE TABLE sessions(session TEXT NOT NULL PRIMARY KEY, author TEXT NOT NULL,"
    " seed INTEGER NOT NULL, created TEXT NOT NULL, dictionary TEXT NOT NULL) STRICT, WITHOUT "
    "ROWID;"
    "CREATE TABLE items(session TEXT NOT NULL, position INTEGER NOT NULL, item TEXT NOT NULL,"
    " kind TEXT NOT NULL CHECK(kind IN('concept','neuron','random')), unit INTEGER NOT NULL,"
    " key TEXT NOT NULL, repeats INTEGER NOT NULL, PRIMARY KEY(session, position),"
    " UNIQUE(session, item)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE answers(revision INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE,"
    " session TEXT NOT NULL, item TEXT NOT NULL, rating INTEGER NOT NULL, confidence INTEGER NOT "
    "NULL,"
    " label TEXT NOT NULL, note TEXT NOT NULL, seconds REAL NOT NULL, time TEXT NOT NULL) STRICT;"
    "CREATE INDEX answers_by_item ON answers(session, item, time, uid);"
    "CREATE TRIGGER changes_stay BEFORE DELETE ON changes BEGIN"
    " SELECT RAISE(ABORT, 'rows of notes are never deleted'); END;"
    "CREATE TRIGGER changes_hold BEFORE UPDATE ON changes BEGIN"
    " SELECT RAISE(ABORT, 'rows of notes are never changed'); END;"
    "CREATE TRIGGER answers_stay BEFORE DELETE ON answers BEGIN"
    " SELECT RAISE(ABORT, 'rows of notes are never deleted'); END;"
    "CREATE TRIGGER answers_hold BEFORE UPDATE ON answers BEGIN"
    " SELECT RAISE(ABORT, 'rows of notes are never changed'); END;",
};

/* ---- statements ---- */

cpt_status cpt_notes_sql_fail(sqlite3 *db, const char *path, cpt_err *e)
{
    int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
    const char *text = db ? sqlite3_errmsg(db) : "out of memory";
    switch (code) {
    case SQLITE_NOMEM: return cpt_fail(e, CPT_ERR_MEMORY, "%s: out of memory", path);
    case SQLITE_FULL:
        return cpt_fail(
            e, CPT_ERR_IO,
            "%s: the disk is full; this change was not saved, what was saved before is safe; "
            "free some space and save again",
            path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return cpt_fail(e, CPT_ERR_LOCKED,
                        "%s: another program has been writing to it for %d seconds; try again",
                        path, BUSY_MS / 1000);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return cpt_fail(e, CPT_ERR_IO,
                        "%s: cannot be written (%s); make the study's folder writable", path, text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_INTERRUPT:
    case SQLITE_TOOBIG:
    case SQLITE_SCHEMA:
        return cpt_fail(
            e, CPT_ERR_FORMAT,
            "%s: damaged, or not a notes file (%s); keep a copy, and see `.recover` of the sqlite3 "
            "program",
            path, text);
    default:
        return cpt_fail(e, CPT_ERR_IO, "%s: %s (SQLite error %d, system error %d)", path, text,
                        sqlite3_extended_errcode(db), sqlite3_system_errno(db));
    }
}

static int bind_all(sqlite3_stmt *st, const char *types, va_list args)
{
    int code = SQLITE_OK;
    for (int i = 1; *types && code == SQLITE_OK; i++, types++) {
        if (*types == 'i') {
            code = sqlite3_bind_int64(st, i, va_arg(args, int64_t));
        } else if (*types == 'd') {
            code = sqlite3_bind_double(st, i, va_arg(args, double));
        } else {
            const char *text = va_arg(args, const char *);
            code = sqlite3_bind_text(st, i, text ? text : "", -1, SQLITE_TRANSIENT);
        }
    }
    return code;
}

static cpt_status prepare(sqlite3 *db, const char *path, sqlite3_stmt **st, cpt_err *e,
                          const char *sql, const char *types, va_list args)
{
    *st = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, st, NULL) == SQLITE_OK &&
        bind_all(*st, types, args) == SQLITE_OK)
        return CPT_OK;
    cpt_status status = cpt_notes_sql_fail(db, path, e);
    sqlite3_finalize(*st);
    *st = NULL;
    return status;
}

cpt_status cpt_notes_sql(sqlite3 *db, const char *path, sqlite3_stmt **st, cpt_err *e,
                         const char *sql, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    cpt_status status = prepare(db, path, st, e, sql, types, args);
    va_end(args);
    return status;
}

cpt_status cpt_notes_step(sqlite3 *db, const char *path, sqlite3_stmt *st, bool *row, cpt_err *e)
{
    int code = sqlite3_step(st);
    if (row) *row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? CPT_OK : cpt_notes_sql_fail(db, path, e);
}

cpt_status cpt_notes_run(cpt_notes *n, cpt_err *e, const char *sql, const char *types, ...)
{
    sqlite3_stmt *st;
    va_list args;
    va_start(args, types);
    cpt_status status = prepare(n->db, n->path, &st, e, sql, types, args);
    va_end(args);
    if (status) return status;
    status = cpt_notes_step(n->db, n->path, st, NULL, e);
    sqlite3_finalize(st);
    return status;
}

static cpt_status execute(sqlite3 *db, const char *path, const char *sql, cpt_err *e)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? CPT_OK
                                                                : cpt_notes_sql_fail(db, path, e);
}

static cpt_status ask_number(sqlite3 *db, const char *path, const char *sql, int64_t *out,
                             cpt_err *e)
{
    sqlite3_stmt *st;
    bool row = false;
    cpt_status status = cpt_notes_sql(db, path, &st, e, sql, "");
    if (status) return status;
    status = cpt_notes_step(db, path, st, &row, e);
    *out = row ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_finalize(st);
    return status;
}

/* ---- a stranger's file ---- */

/* A statement of ours on a file of ours needs far fewer steps: 4e9 would take minutes. */
static int give_up(void *data)
{
    int64_t *rounds = data;
    return ++*rounds > 4000;
}

cpt_status cpt_notes_harden(sqlite3 *db, const char *path, cpt_err *e)
{
    static const int limits[][2] = {{SQLITE_LIMIT_LENGTH, 1 << 21},
                                    {SQLITE_LIMIT_SQL_LENGTH, 1 << 16},
                                    {SQLITE_LIMIT_COLUMN, 100},
                                    {SQLITE_LIMIT_EXPR_DEPTH, 50},
                                    {SQLITE_LIMIT_COMPOUND_SELECT, 5},
                                    {SQLITE_LIMIT_VDBE_OP, 25000},
                                    {SQLITE_LIMIT_ATTACHED, 0},
                                    {SQLITE_LIMIT_FUNCTION_ARG, 8},
                                    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100},
                                    {SQLITE_LIMIT_TRIGGER_DEPTH, 5},
                                    {SQLITE_LIMIT_WORKER_THREADS, 0}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        sqlite3_limit(db, limits[i][0], limits[i][1]);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_busy_timeout(db, BUSY_MS);
    return execute(db, path,
                   "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;", e);
}

static cpt_status apply_migrations(sqlite3 *db, const char *path, int from, int to, cpt_err *e)
{
    char text[96];
    cpt_status status = CPT_OK;
    for (int v = from; v < to && status == CPT_OK; v++)
        status = execute(db, path, migrations[v], e);
    snprintf(text, sizeof text, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
             to);
    return status ? status : execute(db, path, text, e);
}

static const char all_objects[] = "SELECT type, name, tbl_name, coalesce(sql, '') FROM "
                                  "sqlite_schema WHERE name NOT GLOB 'sqlite_stat*'"
                                  " ORDER BY type, name";

/* Steps through the schemas of both, which must agree object by object. */
static cpt_status compare_schemas(sqlite3 *db, const char *path, sqlite3 *model, cpt_err *e)
{
    sqlite3_stmt *a = NULL, *b = NULL;
    bool more_a, more_b;
    cpt_status status;
    CPT_TRY(cpt_notes_sql(db, path, &a, e, all_objects, ""));
    CPT_TRY(cpt_notes_sql(model, path, &b, e, all_objects, ""));
    do {
        CPT_TRY(cpt_notes_step(db, path, a, &more_a, e));
        CPT_TRY(cpt_notes_step(model, path, b, &more_b, e));
        bool same = more_a == more_b;
        for (int i = 0; same && more_a && i < 4; i++)
            same = strcmp(cpt_notes_text(a, i), cpt_notes_text(b, i)) == 0;
        if (!same) {
            status = cpt_fail(
                e, CPT_ERR_FORMAT,
                "%s: %s '%.60s' is not what a notes file has; it was changed by another program "
                "and is not opened",
                path, more_a ? cpt_notes_text(a, 0) : "something is missing before",
                more_a ? cpt_notes_text(a, 1) : cpt_notes_text(b, 1));
            goto done;
        }
    } while (more_a);
done:
    sqlite3_finalize(a);
    sqlite3_finalize(b);
    return status;
}

cpt_status cpt_notes_check_schema(sqlite3 *db, const char *path, int *version, cpt_err *e)
{
    sqlite3 *model = NULL;
    int64_t id, v;
    cpt_status status;
    CPT_TRY(ask_number(db, path, "PRAGMA application_id", &id, e));
    CPT_TRY(ask_number(db, path, "PRAGMA user_version", &v, e));
    if (id != APPLICATION_ID) {
        status =
            cpt_fail(e, CPT_ERR_FORMAT, "%s: an SQLite file, but not notes of this program", path);
        goto done;
    }
    if (v < 1 || v > CPT_NOTES_VERSION) {
        status = cpt_fail(e, CPT_ERR_UNSUPPORTED,
                          "%s: notes of version %lld; this program knows up to %d: use a newer one",
                          path, (long long)v, CPT_NOTES_VERSION);
        goto done;
    }
    if (sqlite3_open(":memory:", &model) != SQLITE_OK) {
        status = cpt_notes_sql_fail(model, path, e);
        goto done;
    }
    CPT_TRY(apply_migrations(model, path, 0, (int)v, e));
    CPT_TRY(compare_schemas(db, path, model, e));
    *version = (int)v;
done:
    sqlite3_close(model);
    return status;
}

/* ---- opening ---- */

static cpt_status quick_check(sqlite3 *db, const char *path, cpt_err *e)
{
    sqlite3_stmt *st;
    bool row = false;
    int64_t rounds = 0;
    cpt_status status = cpt_notes_sql(db, path, &st, e, "PRAGMA quick_check(1)", "");
    if (status) return status;
    sqlite3_progress_handler(db, 1 << 20, give_up, &rounds);
    status = cpt_notes_step(db, path, st, &row, e);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    if (status == CPT_OK && (!row || strcmp(cpt_notes_text(st, 0), "ok") != 0))
        status =
            cpt_fail(e, CPT_ERR_FORMAT,
                     "%s: damaged (%.200s); keep a copy, and see `.recover` of the sqlite3 program",
                     path, row ? cpt_notes_text(st, 0) : "no answer");
    sqlite3_finalize(st);
    return status;
}

/* A new file gets its schema, an old one the steps to the present version, in one transaction: two
 * processes may do it at once. */
static cpt_status prepare_file(cpt_notes *n, cpt_err *e)
{
    int64_t n_objects;
    int version = 0;
    sqlite3 *db = n->db;
    cpt_status status = execute(db, n->path, "BEGIN IMMEDIATE", e);
    if (status) return status;
    status = ask_number(db, n->path, "SELECT count(*) FROM sqlite_schema", &n_objects, e);
    if (status == CPT_OK && n_objects) status = cpt_notes_check_schema(db, n->path, &version, e);
    if (status == CPT_OK && version < CPT_NOTES_VERSION)
        status = apply_migrations(db, n->path, version, CPT_NOTES_VERSION, e);
    return cpt_notes_end(n, status, e);
}

static cpt_status settle(sqlite3 *db, const char *path, cpt_err *e)
{
    sqlite3_stmt *st;
    bool row;
    cpt_status status = cpt_notes_sql(db, path, &st, e, "PRAGMA journal_mode=WAL", "");
    if (status) return status;
    status = cpt_notes_step(db, path, st, &row, e);
    /* Where shared memory does not work (some network disks) SQLite stays with a rollback journal.
     */
    bool wal = status == CPT_OK && row && strcmp(cpt_notes_text(st, 0), "wal") == 0;
    sqlite3_finalize(st);
    if (status) return status;
    return execute(db, path, wal ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=EXTRA", e);
}

static cpt_status open_writable(cpt_notes *n, cpt_err *e)
{
    int code = sqlite3_open_v2(
        n->path, &n->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
    cpt_status status = code == SQLITE_OK ? CPT_OK : cpt_notes_sql_fail(n->db, n->path, e);
    if (status == CPT_OK) status = cpt_notes_harden(n->db, n->path, e);
    if (status == CPT_OK) status = settle(n->db, n->path, e);
    if (status == CPT_OK) status = quick_check(n->db, n->path, e);
    if (status == CPT_OK) status = prepare_file(n, e);
    n->writable = status == CPT_OK;
    if (status) {
        sqlite3_close(n->db);
        n->db = NULL;
    }
    return status;
}

/* file:PATH?immutable=1 with the letters that a URI gives a meaning written as %XX. */
static cpt_status immutable_uri(const char *path, cpt_text *out, cpt_err *e)
{
    cpt_text_add(out, "file:");
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if (strchr("?#%", *p)) cpt_text_addf(out, "%%%02X", *p);
        else cpt_text_add_bytes(out, (const char *)p, 1);
    }
    cpt_text_add(out, "?immutable=1");
    return cpt_text_status(out, e);
}

static bool holds_something(const char *path, const char *suffix)
{
    char name[PATH_LIMIT];
    struct stat st;
    int n = snprintf(name, sizeof name, "%s%s", path, suffix);
    return n > 0 && n < PATH_LIMIT && stat(name, &st) == 0 && st.st_size > 0;
}

/* Whether a first read works; a WAL file in a folder that cannot be written says no here. */
static cpt_status open_reading(cpt_notes *n, const char *name, int flags, cpt_err *e)
{
    int version;
    int code =
        sqlite3_open_v2(name, &n->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_FULLMUTEX | flags, NULL);
    cpt_status status = code == SQLITE_OK ? CPT_OK : cpt_notes_sql_fail(n->db, n->path, e);
    if (status == CPT_OK) status = cpt_notes_harden(n->db, n->path, e);
    if (status == CPT_OK) status = quick_check(n->db, n->path, e);
    if (status == CPT_OK) status = cpt_notes_check_schema(n->db, n->path, &version, e);
    if (status) {
        sqlite3_close(n->db);
        n->db = NULL;
    }
    return status;
}

static cpt_status open_existing(cpt_notes *n, cpt_err *e)
{
    cpt_text uri = {0};
    cpt_status status = open_reading(n, n->path, 0, e);
    if (status != CPT_ERR_IO) return status;
    if (holds_something(n->path, "-wal"))
        return cpt_fail(
            e, CPT_ERR_IO,
            "%s: has newer rows in its -wal file, which cannot be read in a folder that cannot be "
            "written; copy both files elsewhere, or make the folder writable",
            n->path);
    status = immutable_uri(n->path, &uri, e);
    if (status == CPT_OK) status = open_reading(n, uri.bytes, SQLITE_OPEN_URI, e);
    cpt_text_free(&uri);
    return status;
}

cpt_status cpt_notes_open_file(const char *path, bool write, cpt_notes **out, cpt_err *e)
{
    cpt_notes *n = calloc(1, sizeof *n);
    char folder[PATH_LIMIT];
    cpt_status status = CPT_OK;
    *out = NULL;
    if (!n || !(n->path = cpt_strdup(path)) || pthread_mutex_init(&n->lock, NULL) != 0) {
        if (n) free(n->path);
        free(n);
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    }
    n->write = write;
    memset(n->dictionary, '0', CPT_NOTES_KEY);
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    bool may_write = write && access(path, W_OK) == 0 && access(slash ? folder : ".", W_OK) == 0;
    if (may_write) status = open_writable(n, e);
    else if (cpt_path_exists(path)) status = open_existing(n, e);
    if (status) cpt_notes_close(n);
    else *out = n;
    return status;
}

void cpt_notes_close(cpt_notes *n)
{
    if (!n) return;
    sqlite3_close(n->db);
    if (n->release) n->release(n->owned);
    pthread_mutex_destroy(&n->lock);
    cpt_index_free(n->by_key);
    free(n->keys);
    free(n->path);
    free(n);
}

/* ---- locking and transactions ---- */

cpt_status cpt_notes_lock(cpt_notes *n, bool write, cpt_err *e)
{
    pthread_mutex_lock(&n->lock);
    if (!n->db && cpt_path_exists(n->path) && !write)
        return open_existing(n, e); /* somebody made it meanwhile */
    if (!write || n->writable) return CPT_OK;
    if (!n->write) return cpt_fail(e, CPT_ERR_USAGE, "%s: was opened for reading", n->path);
    sqlite3_close(n->db);
    n->db = NULL;
    return open_writable(n, e);
}

void cpt_notes_unlock(cpt_notes *n)
{
    pthread_mutex_unlock(&n->lock);
}

cpt_status cpt_notes_begin(cpt_notes *n, cpt_err *e)
{
    return execute(n->db, n->path, "BEGIN IMMEDIATE", e);
}

cpt_status cpt_notes_end(cpt_notes *n, cpt_status so_far, cpt_err *e)
{
    if (so_far == CPT_OK) so_far = execute(n->db, n->path, "COMMIT", e);
    if (so_far && !sqlite3_get_autocommit(n->db)) sqlite3_exec(n->db, "ROLLBACK", NULL, NULL, NULL);
    return so_far;
}

/* ---- the concepts as they are now ---- */

void cpt_notes_adopt(cpt_notes *n, void *owned, void (*release)(void *owned))
{
    n->owned = owned;
    n->release = release;
}

void *cpt_notes_owned(const cpt_notes *n)
{
    return n->owned;
}

cpt_status cpt_notes_set_concepts(cpt_notes *n, int32_t n_concepts,
                                  const char (*keys)[CPT_NOTES_KEY + 1], cpt_notes_about_fn *about,
                                  void *data, cpt_err *e)
{
    char(*copy)[CPT_NOTES_KEY + 1] = NULL, hex[65];
    cpt_index *index = NULL;
    cpt_sha256 h;
    cpt_status status;
    CPT_TRY(cpt_alloc(&copy, (size_t)n_concepts, sizeof *copy, e));
    memcpy(copy, keys, (size_t)n_concepts * sizeof *copy);
    index = cpt_index_new((size_t)n_concepts, e);
    if (!index) {
        status = CPT_ERR_MEMORY;
        goto done;
    }
    cpt_sha256_init(&h);
    for (int32_t c = 0; c < n_concepts; c++) {
        cpt_sha256_add(&h, copy[c], sizeof copy[c]);
        CPT_TRY(cpt_index_add(index, copy[c], c, NULL, e));
    }
    cpt_sha256_hex(&h, hex);
    pthread_mutex_lock(&n->lock);
    free(n->keys);
    cpt_index_free(n->by_key);
    n->keys = copy;
    n->by_key = index;
    n->n_concepts = n_concepts;
    n->about = about;
    n->about_data = data;
    memcpy(n->dictionary, hex, CPT_NOTES_KEY);
    pthread_mutex_unlock(&n->lock);
    return CPT_OK;
done:
    free(copy);
    cpt_index_free(index);
    return status;
}

const char *cpt_notes_dictionary(const cpt_notes *n)
{
    return n->dictionary;
}

const char *cpt_notes_key(const cpt_notes *n, int32_t concept)
{
    return concept >= 0 && concept < n->n_concepts ? n->keys[concept] : NULL;
}

int32_t cpt_notes_concept(const cpt_notes *n, const char *key)
{
    return n->by_key ? (int32_t)cpt_index_get(n->by_key, key) : -1;
}

/* ---- small things ---- */

void cpt_notes_uid(char *hex, int digits)
{
    unsigned char bytes[32] = {0};
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        /* Cannot happen on Linux 3.17 and later; the clock and the process keep uids apart even
         * then. */
        int64_t now = cpt_notes_now_ms();
        memcpy(bytes, &now, sizeof now);
        snprintf((char *)bytes + 8, sizeof bytes - 8, "%ld", (long)getpid());
    }
    for (int i = 0; i < digits; i++)
        hex[i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
    hex[digits] = '\0';
}

bool cpt_notes_is_hex(const char *text, size_t digits)
{
    return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

int64_t cpt_notes_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void cpt_notes_time_text(int64_t ms, char text[32])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    size_t n = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &utc));
    snprintf(text + n, 32 - n, ".%03dZ", (int)(ms % 1000));
}

bool cpt_notes_time_parse(const char *text, int64_t *ms)
{
    struct tm utc = {0};
    int milli, used = 0;
    char again[32];
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &utc.tm_year, &utc.tm_mon, &utc.tm_mday,
               &utc.tm_hour, &utc.tm_min, &utc.tm_sec, &milli, &used) != 7 ||
        used != 24 || text[used])
        return false;
    utc.tm_year -= 1900;
    utc.tm_mon--;
    *ms = (int64_t)timegm(&utc) * 1000 + milli;
    if (*ms < 0) return false;
    cpt_notes_time_text(*ms, again); /* 31 February and the like */
    return strcmp(again, text) == 0;
}
