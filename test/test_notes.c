/* What experts said: kept, undone, merged, never lost, never on another concept. */
#include "check.h"

#include "base/file.h"
#include "notes/notes.h"

#include <pthread.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char keys[3][CPT_NOTES_KEY + 1] = {"00000000000000aa", "00000000000000bb",
                                                "00000000000000cc"};
static const char other_keys[3][CPT_NOTES_KEY + 1] = {"00000000000000cc", "00000000000000dd",
                                                      "00000000000000aa"};

static char folder[64], path[128];

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/cpt-notes-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/notes.sqlite", folder);
    return 0;
}

static int drop_folder(void **state)
{
    return cpt_remove_tree(folder, NULL) == CPT_OK ? 0 : -1;
}

static cpt_status about(void *data, int32_t concept, cpt_notes_about *a, cpt_err *e)
{
    a->genes = "CD3D,CD3E";
    a->label = "T cell (90 %)";
    a->cells = "cell1\ncell2";
    return CPT_OK;
}

static cpt_notes *open_notes(const char *file)
{
    cpt_err err;
    cpt_notes *n;
    assert_ok(cpt_notes_open_file(file, true, &n, &err));
    assert_ok(cpt_notes_set_concepts(n, 3, keys, about, NULL, &err));
    return n;
}

static int64_t say(cpt_notes *n, const char *author, int concept, const char *field,
                   const char *value)
{
    cpt_err err;
    cpt_notes_result r;
    const cpt_note_change c = {author, keys[concept], field, value, -1};
    assert_ok(cpt_notes_set(n, &c, &r, &err));
    assert_false(r.conflict);
    return r.revision;
}

/* The value that holds; "" = none. Static. */
static const char *value_of(cpt_notes *n, const char *author, const char *key, const char *field)
{
    static char value[256];
    cpt_err err;
    json_t *list, *row;
    size_t i;
    value[0] = '\0';
    assert_ok(cpt_notes_rows(n, author, &list, &err));
    for (int part = 0; part < 2; part++)
        json_array_foreach(json_object_get(list, part ? "earlier" : "rows"), i, row)
        {
            if (strcmp(json_string_value(json_object_get(row, "key")), key) == 0 &&
                strcmp(json_string_value(json_object_get(row, "field")), field) == 0)
                snprintf(value, sizeof value, "%s",
                         json_string_value(json_object_get(row, "value")));
        }
    json_decref(list);
    return value;
}

static void undo(cpt_notes *n, const char *author, bool redo, const char *want)
{
    cpt_err err;
    int64_t revision;
    json_t *undone;
    assert_ok(cpt_notes_step_back(n, author, redo, &revision, &undone, &err));
    if (!want) assert_null(undone);
    else assert_string_equal(json_string_value(json_object_get(undone, "value")), want);
    json_decref(undone);
}

static int64_t integrity(const char *file)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM changes", -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* ---- saying and taking back ---- */

static void what_was_said_is_there_again(void **state)
{
    cpt_notes *n = open_notes(path);
    assert_false(cpt_path_exists(path)); /* looking makes no file */
    assert_int_equal(say(n, "Ada", 0, "name", "naive T"), 1);
    say(n, "Ada", 0, "rating", "4");
    say(n, "Ben", 0, "name", "CD4 naive");
    say(n, "Ada", 1, "note", "line\nβ-chain <b>&");
    cpt_notes_close(n);
    n = open_notes(path);
    assert_string_equal(value_of(n, "Ada", keys[0], "name"), "naive T");
    assert_string_equal(value_of(n, "Ben", keys[0], "name"), "CD4 naive");
    assert_string_equal(value_of(n, "Ada", keys[1], "note"), "line\nβ-chain <b>&");
    assert_string_equal(value_of(n, "Ada", keys[2], "name"), "");
    say(n, "Ada", 0, "name", ""); /* clears */
    assert_string_equal(value_of(n, "Ada", keys[0], "name"), "");
    cpt_notes_close(n);
    assert_int_equal(integrity(path), 5);
}

static void undo_and_redo(void **state)
{
    cpt_notes *n = open_notes(path);
    undo(n, "Ada", false, NULL);
    say(n, "Ada", 0, "name", "one");
    say(n, "Ada", 0, "name", "two");
    say(n, "Ben", 0, "name", "his");
    say(n, "Ada", 1, "rating", "3");
    undo(n, "Ada", false, "3");
    undo(n, "Ada", false, "two");
    assert_string_equal(value_of(n, "Ada", keys[0], "name"), "one");
    assert_string_equal(value_of(n, "Ben", keys[0], "name"), "his");
    undo(n, "Ada", true, "two");
    undo(n, "Ada", true, "3");
    undo(n, "Ada", true, NULL);
    assert_string_equal(value_of(n, "Ada", keys[0], "name"), "two");
    undo(n, "Ada", false, "3");
    say(n, "Ada", 2, "name", "new"); /* ends what could be done again */
    undo(n, "Ada", true, NULL);
    undo(n, "Ada", false, "new");
    undo(n, "Ada", false, "two");
    undo(n, "Ada", false, "one");
    undo(n, "Ada", false, NULL);
    assert_string_equal(value_of(n, "Ada", keys[0], "name"), "");
    cpt_notes_close(n);
}

static void history_has_everything(void **state)
{
    cpt_err err;
    json_t *h;
    cpt_notes *n = open_notes(path);
    say(n, "Ada", 0, "name", "one");
    say(n, "Ada", 0, "name", "two");
    say(n, "Ada", 1, "name", "other");
    undo(n, "Ada", false, "other");
    undo(n, "Ada", false, "two");
    assert_ok(cpt_notes_past(n, keys[0], &h, &err));
    const json_t *rows = json_object_get(h, "rows");
    assert_int_equal(json_array_size(rows), 2);
    assert_true(json_is_false(json_object_get(json_array_get(rows, 0), "undone")));
    assert_true(json_is_true(json_object_get(json_array_get(rows, 1), "undone")));
    json_decref(h);
    assert_ok(cpt_notes_past(n, NULL, &h, &err));
    assert_int_equal(json_array_size(json_object_get(h, "rows")), 3);
    json_decref(h);
    cpt_notes_close(n);
}

static void saving_again_adds_nothing(void **state)
{
    cpt_err err;
    int64_t before, after;
    cpt_notes *n = open_notes(path);
    int64_t first = say(n, "Ada", 0, "note", "text");
    assert_ok(cpt_notes_revision(n, &before, &err));
    assert_int_equal(say(n, "Ada", 0, "note", "text"), first);
    assert_ok(cpt_notes_revision(n, &after, &err));
    assert_int_equal(before, after);
    cpt_notes_close(n);
}

static void second_tab_is_told(void **state)
{
    cpt_err err;
    cpt_notes_result r;
    cpt_notes *n = open_notes(path);
    int64_t first = say(n, "Ada", 0, "note", "from tab one");
    int64_t second = say(n, "Ada", 0, "note", "from tab two");
    const cpt_note_change stale = {"Ada", keys[0], "note", "tab one goes on", first};
    assert_ok(cpt_notes_set(n, &stale, &r, &err));
    assert_true(r.conflict);
    assert_int_equal(r.revision, second);
    assert_string_equal(json_string_value(json_object_get(r.now, "value")), "from tab two");
    json_decref(r.now);
    assert_string_equal(value_of(n, "Ada", keys[0], "note"), "from tab two");
    const cpt_note_change seen = {"Ada", keys[0], "note", "both", second};
    assert_ok(cpt_notes_set(n, &seen, &r, &err));
    assert_false(r.conflict);
    const cpt_note_change nothing_seen = {"Ada", keys[0], "note", "blind", 0};
    assert_ok(cpt_notes_set(n, &nothing_seen, &r, &err));
    assert_true(r.conflict);
    json_decref(r.now);
    cpt_notes_close(n);
}

/* After a run that changed the dictionary the same numbers are other concepts. */
static void words_never_move_to_another_concept(void **state)
{
    cpt_err err;
    json_t *list;
    cpt_notes *n = open_notes(path);
    say(n, "Ada", 0, "name", "was c0");
    say(n, "Ada", 1, "name", "was c1");
    assert_ok(cpt_notes_set_concepts(n, 3, other_keys, about, NULL, &err));
    assert_ok(cpt_notes_rows(n, NULL, &list, &err));
    const json_t *rows = json_object_get(list, "rows"), *earlier = json_object_get(list, "earlier");
    assert_int_equal(json_array_size(rows), 1); /* aa is now c2 */
    assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 0), "concept")), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "value")),
                        "was c0");
    assert_int_equal(json_array_size(earlier), 1);
    const json_t *lost = json_array_get(earlier, 0);
    assert_true(json_is_null(json_object_get(lost, "concept")));
    assert_int_equal(json_integer_value(json_object_get(lost, "was")), 1);
    assert_string_equal(json_string_value(json_object_get(lost, "genes")), "CD3D,CD3E");
    json_decref(list);
    /* What a page that was opened before the run still sends is kept with the old concept. */
    cpt_notes_result r;
    const cpt_note_change late = {"Ada", keys[1], "note", "typed before the run", -1};
    assert_ok(cpt_notes_set(n, &late, &r, &err));
    assert_true(r.earlier);
    assert_ok(
        cpt_notes_set_concepts(n, 3, keys, about, NULL, &err)); /* the old dictionary is back */
    assert_string_equal(value_of(n, "Ada", keys[1], "note"), "typed before the run");
    cpt_notes_close(n);
}

static void wrong_values_are_refused(void **state)
{
    static const struct {
        const char *author, *key, *field, *value, *message;
    } cases[] = {
        {"", "00000000000000aa", "name", "x", "author: is empty"},
        {" Ada", "00000000000000aa", "name", "x", "begins or ends with a space"},
        {"A\nda", "00000000000000aa", "name", "x", "control character"},
        {"Ada", "c12", "name", "x", "not the key of a concept"},
        {"Ada", "00000000000000AA", "name", "x", "not the key of a concept"},
        {"Ada", "00000000000000aa", "colour", "x", "not one of name, label"},
        {"Ada", "00000000000000aa", "rating", "6", "not a whole number from 1 to 5"},
        {"Ada", "00000000000000aa", "rating", "3 ", "not a whole number from 1 to 5"},
        {"Ada", "00000000000000aa", "confidence", "4", "from 1 to 3"},
        {"Ada", "00000000000000aa", "name", "a\tb", "control character"},
        {"Ada", "00000000000000aa", "name", "\xff", "not valid UTF-8"},
        {"Ada", "00000000000000aa", "note", "bell \a", "control character"},
        {"Ada", "00000000000000aa", "note", "\xc2\x85", "control character"},
    };
    cpt_err err;
    cpt_notes_result r;
    cpt_notes *n = open_notes(path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const cpt_note_change c = {cases[i].author, cases[i].key, cases[i].field, cases[i].value,
                                    -1};
        assert_int_equal(cpt_notes_set(n, &c, &r, &err), CPT_ERR_USAGE);
        if (!strstr(err.text, cases[i].message))
            fail_msg("'%s' lacks '%s'", err.text, cases[i].message);
    }
    char *huge = malloc((10 << 20) + 1);
    memset(huge, 'x', 10 << 20);
    huge[10 << 20] = '\0';
    const cpt_note_change c = {"Ada", keys[0], "note", huge, -1};
    assert_int_equal(cpt_notes_set(n, &c, &r, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "at most 65536"));
    free(huge);
    assert_false(cpt_path_exists(path));
    cpt_notes_close(n);
}

static void opinions_of_all_experts(void **state)
{
    cpt_err err;
    cpt_notes_opinions o;
    cpt_notes *n = open_notes(path);
    say(n, "Ada", 2, "name", "monocyte");
    say(n, "Ben", 2, "name", "CD14 monocyte");
    say(n, "Ben", 2, "rating", "5");
    say(n, "Ada", 2, "rating", "4");
    say(n, "Ada", 2, "note", "nice");
    say(n, "Ada", 0, "label", "B cell");
    assert_ok(cpt_notes_summarise(n, &o, &err));
    assert_int_equal(o.n, 2);
    assert_null(cpt_notes_opinion_of(&o, 1));
    const cpt_notes_opinion *c = cpt_notes_opinion_of(&o, 2);
    assert_string_equal(c->name, "CD14 monocyte");
    assert_int_equal(c->n_names, 2);
    assert_int_equal(c->n_experts, 2);
    assert_int_equal(c->n_ratings, 2);
    assert_near(c->rating, 4.5, 0);
    assert_string_equal(c->notes, "Ada: nice");
    assert_string_equal(cpt_notes_opinion_of(&o, 0)->label, "B cell");
    cpt_notes_opinions_free(&o);
    cpt_notes_close(n);
}

/* ---- putting files together ---- */

static char *dump(cpt_notes *n)
{
    cpt_err err;
    json_t *root;
    assert_ok(cpt_notes_dump(n, &root, &err));
    char *text = json_dumps(root, JSON_SORT_KEYS);
    json_decref(root);
    return text;
}

static void import_text(cpt_notes *n, const char *text, int64_t added, int64_t known,
                        int64_t conflicts)
{
    cpt_err err;
    cpt_notes_merged m;
    assert_ok(cpt_notes_import(n, "her.json", text, strlen(text), &m, &err));
    assert_int_equal(m.added, added);
    assert_int_equal(m.known, known);
    assert_int_equal(m.conflicts, conflicts);
}

static void merging_is_a_union(void **state)
{
    char second[128];
    cpt_err err;
    cpt_notes_merged m;
    snprintf(second, sizeof second, "%s/second.sqlite", folder);
    cpt_notes *a = open_notes(path), *b = open_notes(second);
    say(a, "Ada", 0, "name", "naive T");
    say(a, "Ada", 1, "name", "gone");
    undo(a, "Ada", false, "gone");
    say(b, "Ben", 0, "name", "memory T");
    say(b, "Ben", 0, "rating", "2");
    char *from_b = dump(b), *from_a = dump(a);
    import_text(a, from_b, 2, 1, 1); /* the concept is known; the name differs */
    import_text(a, from_b, 0, 3, 1); /* the same again adds nothing */
    import_text(b, from_a, 4, 1, 1); /* 3 changes and the second concept */
    char *both_a = dump(a), *both_b = dump(b);
    assert_string_equal(both_a, both_b);
    assert_string_equal(value_of(a, "Ada", keys[0], "name"), "naive T");
    assert_string_equal(value_of(a, "Ben", keys[0], "name"), "memory T");
    assert_string_equal(value_of(b, "Ada", keys[1], "name"), "");
    undo(b, "Ada", true, "gone");
    assert_string_equal(value_of(b, "Ada", keys[1], "name"), "gone");
    /* The same by way of the SQLite file, with what still stands in its -wal. */
    assert_ok(cpt_notes_import_path(a, second, &m, &err));
    assert_int_equal(m.added, 1);
    assert_string_equal(value_of(a, "Ada", keys[1], "name"), "gone");
    cpt_notes_close(b);
    assert_ok(cpt_notes_import_path(a, second, &m, &err));
    assert_int_equal(m.added, 0);
    cpt_notes_close(a);
    free(from_a);
    free(from_b);
    free(both_a);
    free(both_b);
}

static void refuse(cpt_notes *n, const void *bytes, size_t size, const char *message)
{
    cpt_err err;
    cpt_notes_merged m;
    int64_t before, after;
    assert_ok(cpt_notes_revision(n, &before, &err));
    cpt_status status = cpt_notes_import(n, "FILE", bytes, size, &m, &err);
    if (status == CPT_OK || !strstr(err.text, message))
        fail_msg("'%s' lacks '%s'", err.text, message);
    assert_int_equal(m.added, 0);
    assert_ok(cpt_notes_revision(n, &after, &err));
    assert_int_equal(before, after);
}

#define ROW                                                                                        \
    "{\"uid\":\"00000000000000000000000000000001\",\"author\":\"Eve\",\"time\":\"2026-01-01T00:"   \
    "00:00.000Z\","                                                                                \
    "\"kind\":\"set\",\"concept\":\"00000000000000aa\",\"field\":\"name\",\"value\":\"x\","        \
    "\"target\":\"\"}"
#define FILE_OF(rows) "{\"format\":\"conceptome-notes\",\"version\":1,\"changes\":[" rows "]}"

static void hostile_json_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {"", "neither an SQLite file nor JSON"},
        {"hello", "neither an SQLite file nor JSON"},
        {"[]", "not exported notes"},
        {"{\"format\":\"conceptome-notes\",\"version\":2}", "version 2"},
        {"{\"format\":\"conceptome-notes\",\"version\":1,\"changes\":{}}", "is not a list"},
        {FILE_OF("1"), "row 1: uid: is missing"},
        {FILE_OF(ROW "," ROW ",{\"uid\":1}"), "row 3: uid: is not a text"},
        {FILE_OF("{\"uid\":\"00000000000000000000000000000001\",\"author\":\"Eve\",\"time\":\"2026-"
                 "02-30T00:00:00.000Z\","
                 "\"kind\":\"set\",\"concept\":\"00000000000000aa\",\"field\":\"name\",\"value\":"
                 "\"x\",\"target\":\"\"}"),
         "time: '2026-02-30"},
        {FILE_OF("{\"uid\":\"00000000000000000000000000000001\",\"author\":\"Eve\",\"time\":\"9999-"
                 "01-01T00:00:00.000Z\","
                 "\"kind\":\"set\",\"concept\":\"00000000000000aa\",\"field\":\"name\",\"value\":"
                 "\"x\",\"target\":\"\"}"),
         "lies in the future"},
        {FILE_OF(
             "{\"uid\":\"00000000000000000000000000000001\",\"author\":\"Eve\",\"time\":\"2026-01-"
             "01T00:00:00.000Z\","
             "\"kind\":\"undo\",\"concept\":\"00000000000000aa\",\"field\":\"name\",\"value\":\"\","
             "\"target\":\"00000000000000000000000000000009\"}"),
         "an undo of a change that neither file has"},
        {FILE_OF("{\"uid\":\"00000000000000000000000000000001\",\"author\":\"Eve\",\"time\":\"2026-"
                 "01-01T00:00:00.000Z\","
                 "\"kind\":\"set\",\"concept\":\"00000000000000aa\",\"field\":\"rating\",\"value\":"
                 "\"9\",\"target\":\"\"}"),
         "rating: '9'"},
        {FILE_OF("{\"uid\":\"00000000000000000000000000000001\",\"author\":\"E\\u0000e\"}"),
         "neither"},
        {"{\"format\":\"conceptome-notes\",\"version\":1,\"answers\":[{\"uid\":"
         "\"00000000000000000000000000000001\","
         "\"session\":\"00000000000000aa\",\"item\":\"0000000000\",\"rating\":3,\"confidence\":2,"
         "\"label\":\"\","
         "\"note\":\"\",\"seconds\":1,\"time\":\"2026-01-01T00:00:00.000Z\"}]}",
         "an answer to an item that neither file has"},
    };
    cpt_notes *n = open_notes(path);
    say(n, "Ada", 0, "name", "safe");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(n, cases[i][0], strlen(cases[i][0]), cases[i][1]);
    import_text(n, FILE_OF(ROW), 1, 0, 1);
    const char changed[] =
        FILE_OF("{\"uid\":\"00000000000000000000000000000001\",\"author\":\"Eve\",\"time\":"
                "\"2026-01-01T00:00:00.000Z\",\"kind\":\"set\",\"concept\":\"00000000000000aa\","
                "\"field\":\"name\",\"value\":\"another\",\"target\":\"\"}");
    refuse(n, changed, strlen(changed), "with other contents");
    size_t deep = 100000;
    char *nested = malloc(deep + 1);
    memset(nested, '[', deep);
    nested[deep] = '\0';
    refuse(n, nested, deep, "neither an SQLite file nor JSON");
    free(nested);
    assert_string_equal(value_of(n, "Ada", keys[0], "name"), "safe");
    cpt_notes_close(n);
}

static void run_sql(const char *file, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s", message);
    sqlite3_close(db);
}

static void refuse_path(cpt_notes *n, const char *file, const char *message)
{
    cpt_err err;
    cpt_notes_merged m;
    cpt_status status = cpt_notes_import_path(n, file, &m, &err);
    if (status == CPT_OK || !strstr(err.text, message))
        fail_msg("'%s' lacks '%s'", err.text, message);
    cpt_notes *own;
    status = cpt_notes_open_file(file, true, &own, &err);
    if (status == CPT_OK) fail_msg("opened, should say '%s'", message);
}

static void hostile_sqlite_is_refused(void **state)
{
    static const char *const sql[][2] = {
        {"CREATE VIEW evil AS SELECT load_extension('x')", "view 'evil'"},
        {"CREATE TRIGGER t AFTER INSERT ON changes BEGIN SELECT 1; END", "trigger 't'"},
        {"CREATE TABLE extra(x)", "table 'extra'"},
        {"DROP TRIGGER changes_stay", "changes_stay"},
        {"PRAGMA application_id = 5", "not notes of this program"},
        {"PRAGMA user_version = 99", "version 99"},
        {"CREATE VIRTUAL TABLE f USING fts5(x)", "table 'f'"},
    };
    char file[128];
    cpt_notes *n = open_notes(path);
    say(n, "Ada", 0, "name", "safe");
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        snprintf(file, sizeof file, "%s/evil%zu.sqlite", folder, i);
        cpt_notes *evil = open_notes(file);
        say(evil, "Eve", 0, "name", "x");
        cpt_notes_close(evil);
        run_sql(file, sql[i][0]);
        refuse_path(n, file, sql[i][1]);
    }
    snprintf(file, sizeof file, "%s/other.sqlite", folder);
    run_sql(file,
            "CREATE TABLE changes(a); PRAGMA application_id = 1129337934; PRAGMA user_version = 1");
    refuse_path(n, file, "is not what a notes file has");
    /* Rows that our own program never writes, in a file whose schema is ours. */
    snprintf(file, sizeof file, "%s/rows.sqlite", folder);
    cpt_notes *evil = open_notes(file);
    say(evil, "Eve", 0, "name", "x");
    cpt_notes_close(evil);
    run_sql(file,
            "INSERT INTO changes(uid, author, time, kind, concept, field, value, target) VALUES("
            "'00000000000000000000000000000007', 'Eve', '2026-01-01T00:00:00.000Z', 'set',"
            " '00000000000000aa', 'name', 'a' || char(0) || 'b', '')");
    cpt_err err;
    cpt_notes_merged m;
    assert_int_equal(cpt_notes_import_path(n, file, &m, &err), CPT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "value: is missing"));
    cpt_notes_close(n);
}

/* Every byte of a small file set to other values, some at a time: refused or taken, never a crash,
 * and what we have stays whole. */
static void damaged_sqlite_does_no_harm(void **state)
{
    char file[128];
    cpt_err err;
    cpt_map map;
    snprintf(file, sizeof file, "%s/good.sqlite", folder);
    cpt_notes *n = open_notes(path), *good = open_notes(file);
    say(n, "Ada", 0, "name", "safe");
    for (int i = 0; i < 20; i++)
        say(good, "Ben", i % 3, "note", i % 2 ? "some text" : "other text");
    cpt_notes_close(good);
    assert_ok(cpt_map_open(file, &map, &err));
    unsigned char *copy = malloc(map.size);
    int refused = 0;
    for (size_t run = 0; run < 400; run++) {
        cpt_notes_merged m;
        memcpy(copy, map.bytes, map.size);
        for (size_t k = 0; k < 8; k++) {
            size_t at = (run * 2654435761u + k * 40503u) % (k % 2 ? map.size : 4096);
            copy[at < 16 ? 16 : at] ^= (unsigned char)(1 + (run * 7 + k * 13) % 255);
        }
        size_t size = run % 5 ? map.size : map.size * (run % 97) / 97;
        refused += cpt_notes_import(n, "FILE", copy, size, &m, &err) != CPT_OK;
    }
    assert_true(refused > 300);
    free(copy);
    cpt_map_close(&map);
    assert_string_equal(value_of(n, "Ada", keys[0], "name"), "safe");
    cpt_notes_close(n);
    integrity(path);
}

/* ---- several at once, and bad places ---- */

enum { TRIES = 6 }; /* a crowded machine may keep one from writing for 10 s: it is told so, and tries again */

typedef struct writer {
    cpt_notes *n;
    char author[32];
    int failures;
} writer;

static void *write_many(void *data)
{
    writer *w = data;
    for (int i = 0; i < 21; i++) {
        char text[64];
        cpt_err err;
        cpt_notes_result r;
        snprintf(text, sizeof text, "%s %d", w->author, i);
        const cpt_note_change c = {w->author, keys[i % 3], "note", text, -1};
        cpt_status status = CPT_ERR_LOCKED;
        for (int k = 0; k < TRIES && status == CPT_ERR_LOCKED; k++)
            status = cpt_notes_set(w->n, &c, &r, &err);
        w->failures += status != CPT_OK;
    }
    return NULL;
}

/* Two threads on one object and two on another: as two servers would. */
static void authors_write_at_once(void **state)
{
    cpt_notes *a = open_notes(path), *b = open_notes(path);
    writer w[4] = {{a, "Ada", 0}, {a, "Ben", 0}, {b, "Cleo", 0}, {b, "Dan", 0}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &w[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) assert_int_equal(w[i].failures, 0);
    assert_string_equal(value_of(a, "Dan", keys[2], "note"), "Dan 20");
    assert_string_equal(value_of(b, "Ada", keys[2], "note"), "Ada 20");
    cpt_notes_close(a);
    cpt_notes_close(b);
    assert_int_equal(integrity(path), 84);
}

static void clock_set_back_changes_nothing(void **state)
{
    cpt_notes *n = open_notes(path);
    say(n, "Ada", 0, "name", "first");
    const char ahead[] =
        FILE_OF("{\"uid\":\"00000000000000000000000000000001\",\"author\":\"Ada\",\"time\":\"%s\","
                "\"kind\":\"set\",\"concept\":\"00000000000000aa\",\"field\":\"name\","
                "\"value\":\"an hour ahead\",\"target\":\"\"}");
    char text[1024], when[32];
    time_t later = time(NULL) + 3600;
    struct tm utc;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&later, &utc));
    snprintf(text, sizeof text, ahead, when);
    import_text(n, text, 1, 0, 0);
    say(n, "Ada", 0, "name", "now"); /* said last, so it holds */
    assert_string_equal(value_of(n, "Ada", keys[0], "name"), "now");
    cpt_notes_close(n);
}

/* In a child without rights: the tests may run as root, whom no folder refuses. */
static void read_only_folder_is_read(void **state)
{
    cpt_notes *n = open_notes(path);
    say(n, "Ada", 0, "name", "kept");
    cpt_notes_close(n);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        cpt_err err;
        cpt_notes_result r;
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(77);
        if (cpt_notes_open_file(path, true, &n, &err)) _exit(1);
        if (cpt_notes_set_concepts(n, 3, keys, NULL, NULL, &err)) _exit(2);
        json_t *list;
        if (cpt_notes_rows(n, NULL, &list, &err) ||
            json_array_size(json_object_get(list, "rows")) != 1)
            _exit(3);
        json_decref(list);
        const cpt_note_change c = {"Ada", keys[0], "name", "new", -1};
        if (cpt_notes_set(n, &c, &r, &err) == CPT_OK) _exit(4);
        if (!strstr(err.text, "notes.sqlite") || !strstr(err.text, "writ")) _exit(5);
        if (cpt_notes_rows(n, NULL, &list, &err)) _exit(6); /* still readable after the refusal */
        json_decref(list);
        cpt_notes_close(n);
        _exit(0);
    }
    int result;
    waitpid(child, &result, 0);
    chmod(folder, 0755);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

/* On a file system of 256 KB, where that may be mounted: the error says so, what was saved is
 * there. */
static void full_disk_loses_nothing(void **state)
{
    if (mount("none", folder, "tmpfs", 0, "size=256k") != 0) {
        printf("SKIP: %s: no file system can be mounted here\n", __func__);
        skip();
    }
    cpt_notes *n = open_notes(path);
    static char text[20000];
    int saved = 0;
    cpt_status status = CPT_OK;
    cpt_err err;
    for (int i = 0; i < 100 && status == CPT_OK; i++) {
        cpt_notes_result r;
        memset(text, 'a' + i % 26, sizeof text - 1);
        const cpt_note_change c = {"Ada", keys[i % 3], "note", text, -1};
        status = cpt_notes_set(n, &c, &r, &err);
        saved += status == CPT_OK;
    }
    bool said = status == CPT_ERR_IO && strstr(err.text, "disk is full");
    cpt_notes_close(n);
    int64_t rows = integrity(path);
    umount(folder);
    if (!said) fail_msg("%d: %s", status, err.text);
    assert_true(saved > 0);
    assert_int_equal(rows, saved);
}

static void kill_one(uint32_t seed);

/* Short version of test/kill_notes.sh: a writer tells through a pipe what was confirmed and is
 * killed. */
static void killed_writer_loses_nothing(void **state)
{
    const char *rounds = getenv("CONCEPTOME_KILLS");
    uint32_t n = rounds ? (uint32_t)atoi(rounds) : 12;
    for (uint32_t i = 0; i < n; i++) kill_one(i);
    if (rounds) printf("%u kills\n", n);
}

static void kill_one(uint32_t seed)
{
    int channel[2], confirmed = 0, heard;
    assert_int_equal(pipe(channel), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        cpt_err err;
        cpt_notes *n;
        if (cpt_notes_open_file(path, true, &n, &err)) _exit(1);
        for (int i = 1;; i++) {
            char text[64];
            cpt_notes_result r;
            snprintf(text, sizeof text, "%u %d", seed, i);
            const cpt_note_change c = {"Ada", keys[i % 3], "note", text, -1};
            if (cpt_notes_set(n, &c, &r, &err)) _exit(2);
            if (write(channel[1], &i, sizeof i) != sizeof i) _exit(3);
        }
    }
    close(channel[1]);
    usleep(5000 + seed * 7919 % 60000);
    kill(child, SIGKILL);
    while (read(channel[0], &heard, sizeof heard) == sizeof heard) confirmed = heard;
    close(channel[0]);
    int result;
    waitpid(child, &result, 0);
    assert_true(WIFSIGNALED(result));
    if (!cpt_path_exists(path)) {
        assert_int_equal(confirmed, 0);
        return;
    }
    cpt_notes *n = open_notes(path);
    int reached = 0;
    for (int c = 0; c < 3; c++) {
        unsigned run;
        int i = 0;
        if (sscanf(value_of(n, "Ada", keys[c], "note"), "%u %d", &run, &i) == 2 && run == seed &&
            i > reached)
            reached = i;
    }
    cpt_notes_close(n);
    assert_true(reached >= confirmed);
    integrity(path);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)

int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        T(what_was_said_is_there_again), T(undo_and_redo),
        T(history_has_everything),       T(saving_again_adds_nothing),
        T(second_tab_is_told),           T(words_never_move_to_another_concept),
        T(wrong_values_are_refused),     T(opinions_of_all_experts),
        T(merging_is_a_union),           T(hostile_json_is_refused),
        T(hostile_sqlite_is_refused),    T(damaged_sqlite_does_no_harm),
        T(authors_write_at_once),        T(clock_set_back_changes_nothing),
        T(read_only_folder_is_read),     T(full_disk_loses_nothing),
        T(killed_writer_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
