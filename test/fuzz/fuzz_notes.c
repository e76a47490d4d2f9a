/* fuzz_notes.c - any bytes as another expert's notes: exported JSON, or an SQLite file. What is
 * taken must read back, and adding it again must add nothing. */
#include "fuzz_file.h"

#include "base/file.h"
#include "notes/notes.h"

#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char folder[] = "/tmp/cpt-fuzz-XXXXXX", path[64];
    cpt_err err = {0};
    cpt_notes *n;
    cpt_notes_merged first, again;
    json_t *dump = NULL;
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/notes.sqlite", folder);
    if (cpt_notes_open_file(path, true, &n, &err) != CPT_OK) abort();
    if (cpt_notes_import(n, "FILE", bytes, size, &first, &err) != CPT_OK) {
        fuzz_check_refusal(&err);
    } else {
        if (cpt_notes_import(n, "FILE", bytes, size, &again, &err) != CPT_OK || again.added)
            abort();
        if (cpt_notes_dump(n, &dump, &err) != CPT_OK) abort();
        json_decref(dump);
        if (cpt_notes_rows(n, NULL, &dump, &err) != CPT_OK) abort();
        json_decref(dump);
    }
    cpt_notes_close(n);
    cpt_remove_tree(folder, NULL);
    return 0;
}
