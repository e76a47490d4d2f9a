/* log.h - messages, progress and the stop flag, all by way of the caller's cpt_context. */
#ifndef CPT_BASE_LOG_H
#define CPT_BASE_LOG_H

#include "base/error.h"

void cpt_log(const cpt_context *ctx, cpt_log_level level, const char *fmt, ...) CPT_PRINTF(3, 4);
#define cpt_info(ctx, ...) cpt_log(ctx, CPT_LOG_INFO, __VA_ARGS__)
#define cpt_warn(ctx, ...) cpt_log(ctx, CPT_LOG_WARN, __VA_ARGS__)
#define cpt_debug(ctx, ...) cpt_log(ctx, CPT_LOG_DEBUG, __VA_ARGS__)

/* Cheap enough for every step of a loop (the receiver throttles). `note` may be NULL. */
void cpt_progress(const cpt_context *ctx, const char *what, double done, double total,
                  const char *note);

/* CPT_OK, or CPT_ERR_INTERRUPTED once the stop flag is up. Ask it at least every second of work. */
cpt_status cpt_check_stop(const cpt_context *ctx, cpt_err *e);

/* Threads to use: ctx->n_threads, at least 1; 1 when ctx is NULL. For num_threads() clauses. */
int cpt_threads(const cpt_context *ctx);

#endif
