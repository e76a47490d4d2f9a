#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void cpt_context_init(cpt_context *ctx)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *ctx = (cpt_context){.n_threads = cores > 0 ? (int32_t)cores : 1};
}

void cpt_log(const cpt_context *ctx, cpt_log_level level, const char *fmt, ...)
{
    if (!ctx || !ctx->log) return;
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ctx->log(ctx->log_data, level, text);
}

void cpt_progress(const cpt_context *ctx, const char *what, double done, double total,
                  const char *note)
{
    if (ctx && ctx->progress) ctx->progress(ctx->progress_data, what, done, total, note);
}

cpt_status cpt_check_stop(const cpt_context *ctx, cpt_err *e)
{
    if (!ctx || !ctx->stop || !*ctx->stop) return CPT_OK;
    return cpt_fail(e, CPT_ERR_INTERRUPTED, "interrupted; run the same command again to go on");
}

int cpt_threads(const cpt_context *ctx)
{
    return ctx && ctx->n_threads > 1 ? ctx->n_threads : 1;
}
