#include "cli.h"

#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* serve: studies in a browser, until Ctrl-C or SIGTERM. */

enum { DEFAULT_PORT = 8765 };

static int read_port(const cli *c, int *port)
{
    const char *text = cli_value(c, "port");
    char *end;
    *port = DEFAULT_PORT;
    if (!text) return CLI_OK;
    long x = strtol(text, &end, 10);
    if (!*text || *end || x < 0 || x > 65535)
        return cli_usage(c, "--port %s: a number from 0 to 65535 is expected", text);
    *port = (int)x;
    return CLI_OK;
}

static void open_browser(const char *address)
{
    const char *display = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
    if ((!display || !*display) && (!wayland || !*wayland)) return;
    pid_t child = fork();
    if (child != 0) return;
    if (fork() == 0) { /* twice: nobody has to wait for it */
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execlp("xdg-open", "xdg-open", address, (char *)NULL);
    }
    _exit(0);
}

/* The stop signals, blocked in every thread, are taken here one by one. */
static void wait_for_signal(void)
{
    sigset_t set;
    int which;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    while (sigwait(&set, &which) != 0) continue;
}

static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int cli_serve(cli *c)
{
    cpt_err err;
    cpt_server *server;
    cpt_server_options o = {.studies = c->operands,
                            .n_studies = (size_t)c->n_operands,
                            .listen = cli_value(c, "listen"),
                            .ui_folder = cli_value(c, "ui-dir")};
    int code = cli_operands(c, 1, CLI_MAX_OPERANDS);
    if (code == CLI_OK) code = read_port(c, &o.port);
    if (code) return code;
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX,
            4); /* a thread per connection: an arena each would keep what it once needed */
#endif
    block_signals();
    if (cpt_server_start(&o, &c->ctx, &server, &err) != CPT_OK) return cli_fail(&err);
    if (o.listen && !c->quiet)
        fprintf(stderr,
                "warning: everybody who can reach %s can read these studies, and write notes\n",
                o.listen);
    printf("%s\n", cpt_server_address(server));
    fflush(stdout);
    if (!c->quiet)
        fprintf(stderr, "serving %d stud%s; Ctrl-C ends\n", c->n_operands,
                c->n_operands == 1 ? "y" : "ies");
    if (!cli_value(c, "no-browser") && isatty(STDOUT_FILENO))
        open_browser(cpt_server_address(server));
    if (!*c->ctx.stop) wait_for_signal(); /* one may have come before they were blocked */
    cpt_server_stop(server);
    return cli_close_stdout();
}
