/* connection.h - one request from libmicrohttpd's callbacks to the answer on the wire. */
#ifndef CPT_SERVER_CONNECTION_H
#define CPT_SERVER_CONNECTION_H

#include <microhttpd.h>

enum {
    CPT_CONNECTION_MEMORY = 40 << 10, /* request line and headers, and what is needed to answer */
    CPT_MAX_HEADER_BYTES = 16 << 10
};

void *cpt_connection_begin(void *server, const char *uri, struct MHD_Connection *c);
size_t cpt_connection_unescape(void *data, struct MHD_Connection *c,
                               char *text); /* leaves it as it is */
enum MHD_Result cpt_connection_handle(void *server, struct MHD_Connection *c, const char *url,
                                      const char *method, const char *version, const char *body,
                                      size_t *body_size, void **state);
void cpt_connection_end(void *data, struct MHD_Connection *c, void **state,
                        enum MHD_RequestTerminationCode why);

#endif
