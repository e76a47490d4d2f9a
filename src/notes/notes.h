/* notes.h - notes.sqlite: what experts said about concepts. The only file that cannot be
 * recomputed.
 *
 * Every change is a row of its own and stays for ever: setting a field, undoing, doing again. What
 * holds now is a question to these rows. Rows carry a random uid, so that files of several experts
 * can be put together in any order and any number of times.
 *
 * Keys      A row belongs to a concept by its key, 16 hexadecimal digits out of what the concept is
 *           (decoder row, activations, embedding), never by its number: after a run that changed
 * the dictionary c12 is another concept, and words about the old one must not land on it. Rows
 *           whose key no present concept has are "of an earlier dictionary"; they are kept, listed
 *           and exported with what was known of their concept (table concepts).
 * Order     Within an author rows are ordered by time, then uid. A new row is always later than the
 *           author's last, whatever the clock says.
 * Promise   A call that returned CPT_OK has been committed with synchronous=FULL.
 * Threads   All functions may be called from several threads at once; a mutex serialises them.
 *           Several processes may have the file open (WAL).
 *
 * Schema    application_id "CPTN", user_version = CPT_NOTES_VERSION; see notes_db.c and
 * doc/formats.md. */
#ifndef CPT_NOTES_NOTES_H
#define CPT_NOTES_NOTES_H

#include "base/file.h"
#include "base/text.h"

#include <jansson.h>

enum {
    CPT_NOTES_VERSION = 1,
    CPT_NOTES_KEY = 16,     /* hexadecimal digits of a key */
    CPT_NOTES_UID = 32,     /* of a uid */
    CPT_NOTES_AUTHOR = 64,  /* bytes of an author's name, at most */
    CPT_NOTES_LINE = 200,   /* of a name or a label */
    CPT_NOTES_TEXT = 65536, /* of a note */
    CPT_NOTES_MAX_IMPORT = 64 << 20
};

/* What is worth knowing of a concept once its dictionary is gone. Texts are borrowed. */
typedef struct cpt_notes_about {
    const char *genes, *label, *cells; /* symbols joined by ','; "B cell (91 %)"; ids of the most
                                          active cells joined by '\n' */
} cpt_notes_about;
/* Fills *about for a present concept; the texts live until the next call. */
typedef cpt_status cpt_notes_about_fn(void *data, int32_t concept, cpt_notes_about *about,
                                      cpt_err *e);

/* ---- opening: notes_db.c ---- */

/* Writing creates the file. Reading accepts an absent file (no notes) and a read-only folder. Files
 * of a newer version, of another program, or with a schema that is not exactly ours are refused. */
cpt_status cpt_notes_open_file(const char *path, bool write, cpt_notes **out, cpt_err *e);

/* The concepts as they are now: keys [n_concepts], copied. Without this call every row counts as
 * earlier. `about` (may be NULL) is asked, under the lock, when a concept gets its first row. */
cpt_status cpt_notes_set_concepts(cpt_notes *n, int32_t n_concepts,
                                  const char (*keys)[CPT_NOTES_KEY + 1], cpt_notes_about_fn *about,
                                  void *data, cpt_err *e);
/* Something that lives as long as the notes, such as `data`; cpt_notes_close gives it to `release`.
 */
void cpt_notes_adopt(cpt_notes *n, void *owned, void (*release)(void *owned));
void *cpt_notes_owned(const cpt_notes *n);
const char *
cpt_notes_dictionary(const cpt_notes *n); /* a key of all keys; zeros before the above */
const char *cpt_notes_key(const cpt_notes *n, int32_t concept); /* NULL when out of range */
int32_t cpt_notes_concept(const cpt_notes *n, const char *key); /* -1 = of an earlier dictionary */

/* ---- writing: notes.c ---- */

typedef struct cpt_notes_result {
    int64_t revision; /* of the row that now says so; of the present one after a conflict */
    char time[32];    /* UTC, "2026-11-22T16:30:05.123Z" */
    bool conflict;    /* another tab was faster: nothing was written, `now` says what is there */
    bool earlier;     /* kept with a concept of an earlier dictionary */
    json_t *now;      /* the present row as JSON after a conflict, else NULL; json_decref it */
} cpt_notes_result;

/* Same value as now: nothing is written, so that a save may be repeated after a lost answer. */
cpt_status cpt_notes_set(cpt_notes *n, const cpt_note_change *change, cpt_notes_result *out,
                         cpt_err *e);
/* The author's last change, or the last undone one. *undone (new reference) = the row, NULL = there
 * is nothing to undo. */
cpt_status cpt_notes_step_back(cpt_notes *n, const char *author, bool redo, int64_t *revision,
                               json_t **undone, cpt_err *e);

/* ---- reading: notes.c. New references. ---- */

/* {"revision", "dictionary", "rows": [...], "earlier": [...]}: what holds now, of one author or
 * (NULL) all. A row has concept (number; null when earlier), key, field, value, author, time,
 * revision; an earlier one also genes, label, was (its number then), cells. */
cpt_status cpt_notes_rows(cpt_notes *n, const char *author, json_t **out, cpt_err *e);
/* {"dictionary", "keys": [...]} */
cpt_status cpt_notes_all_keys(cpt_notes *n, json_t **out, cpt_err *e);
/* {"rows": [...]}: every change, oldest first, with "undone"; key NULL = of all concepts. */
cpt_status cpt_notes_past(cpt_notes *n, const char *key, json_t **out, cpt_err *e);

/* What holds now about each present concept, over all experts: for tables and the report. */
typedef struct cpt_notes_opinion {
    int32_t concept;
    const char *name, *label; /* of the author whose change is the latest; "" = none */
    int32_t n_names, n_ratings,
        n_experts;     /* different names; authors who rated; who said anything */
    double rating;     /* mean; NaN without */
    const char *notes; /* "author: text", one after the other; "" = none */
} cpt_notes_opinion;
typedef struct cpt_notes_opinions {
    int32_t n; /* concepts about which something was said, ascending */
    cpt_notes_opinion *rows;
    cpt_strings texts; /* private */
} cpt_notes_opinions;
cpt_status cpt_notes_summarise(cpt_notes *n, cpt_notes_opinions *out, cpt_err *e);
void cpt_notes_opinions_free(cpt_notes_opinions *o);
/* Finds a concept's entry; NULL when nobody said anything. */
const cpt_notes_opinion *cpt_notes_opinion_of(const cpt_notes_opinions *o, int32_t concept);

/* UTF-8, at most `most` bytes, no control characters but (with `lines`) newline and tab. */
cpt_status cpt_notes_check_text(const char *what, const char *text, size_t most, bool lines,
                                cpt_err *e);

/* ---- files: notes_export.c, notes_import.c ---- */

/* Everything there is: changes, sessions, answers. Importing it elsewhere loses nothing. */
cpt_status cpt_notes_dump(cpt_notes *n, json_t **out, cpt_err *e);

typedef struct cpt_notes_merged {
    int64_t added, known; /* rows */
    int64_t conflicts;    /* fields of a concept about which authors now differ; both stand */
} cpt_notes_merged;
/* An exported JSON, or a notes.sqlite (told by its first bytes), out of memory. All or nothing: a
 * file with a single impossible row is refused. Adding the same file again adds nothing. */
cpt_status cpt_notes_import(cpt_notes *n, const char *name, const void *bytes, size_t size,
                            cpt_notes_merged *out, cpt_err *e);
/* The same from a file, together with its -wal if there is one. */
cpt_status cpt_notes_import_path(cpt_notes *n, const char *path, cpt_notes_merged *out, cpt_err *e);

#endif
