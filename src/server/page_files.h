/* page_files.h - the pages that are built in: made by scripts/embed_pages.sh out of ui/dist. */
#ifndef CPT_SERVER_PAGE_FILES_H
#define CPT_SERVER_PAGE_FILES_H

#include <stddef.h>

typedef struct cpt_built_in_file {
    const char *name;
    const unsigned char *bytes, *gzip; /* gzip may be NULL */
    size_t size, gzip_size;
} cpt_built_in_file;

extern const cpt_built_in_file cpt_page_files[];
extern const size_t cpt_n_page_files; /* 0: built without them */

#endif
