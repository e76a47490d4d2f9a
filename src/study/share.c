#include "study/share.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool here(const char *folder, const char *name, char *path, size_t capacity)
{
    return cpt_path_join(path, capacity, folder, name, NULL) == CPT_OK && access(path, R_OK) == 0;
}

cpt_status cpt_share_path(const char *name, char *path, size_t capacity, cpt_err *e)
{
    static const char *const beside[] = {"../share/conceptome", "../data", "../../data"};
    const char *asked = getenv("CONCEPTOME_SHARE");
    if (asked && here(asked, name, path, capacity)) return CPT_OK;
    char program[2048], folder[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n > 0) {
        program[n] = '\0';
        char *slash = strrchr(program, '/');
        if (slash) *slash = '\0';
        for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
            snprintf(folder, sizeof folder, "%s/%s", program, beside[i]);
            if (here(folder, name, path, capacity)) return CPT_OK;
        }
    }
    if (here("/usr/local/share/conceptome", name, path, capacity) ||
        here("/usr/share/conceptome", name, path, capacity))
        return CPT_OK;
    return cpt_fail(e, CPT_ERR_IO,
                    "%s: not found beside the program nor in /usr/local/share/conceptome; set "
                    "CONCEPTOME_SHARE to the folder that has it",
                    name);
}
