/* gzip_table.h - a table in pieces that are compressed apart, by any number of threads, to the same bytes. */
#ifndef CPT_STUDY_GZIP_TABLE_H
#define CPT_STUDY_GZIP_TABLE_H

#include "base/text.h"

/* One gzip member. Members put one after the other are a valid gzip file. */
typedef struct cpt_gzip_member {
    unsigned char *bytes;
    size_t n;
} cpt_gzip_member;

/* An empty text gives an empty member. Free the bytes with free(). */
cpt_status cpt_gzip_member_make(const cpt_text *t, cpt_gzip_member *out, cpt_err *e);
/* Header line and members in order, atomically. */
cpt_status cpt_gzip_table_write(const char *path, const char *header, int32_t n, const cpt_gzip_member *members,
                                cpt_err *e);

#endif
