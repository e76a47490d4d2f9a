#include "cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The table of subcommands, and nothing else: each lives in its own cmd_*.c. */

static const cli_extra output_study[] = {
    {"output", 'o', "STUDY", "folder of the study (made when absent)", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra output_file[] = {{"output", 'o', "PATH", "what is written", NULL},
                                        {NULL, 0, NULL, NULL, NULL}};
static const cli_extra train_extras[] = {
    {"output", 'o', "DICT", "folder of the dictionary", NULL},
    {"obsm", 0, "KEY", "which embedding of an h5ad (X_embedding, else the only one)", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra encode_extras[] = {{"output", 'o', "FILE", "concepts.h5ad to write", NULL},
                                          {"obsm", 0, "KEY", "which embedding of an h5ad", NULL},
                                          {NULL, 0, NULL, NULL, NULL}};
static const cli_extra enrich_extras[] = {
    {"ranking", 0, "FILE", "gene TAB statistic per line: preranked GSEA", NULL},
    {"genes", 0, "FILE", "one gene per line: over-representation", NULL},
    {"background", 0, "FILE", "universe for --genes; default: all genes with an annotation", NULL},
    {"plots", 0, "DIR", "with --ranking: running sums of the significant sets as SVG files", NULL},
    {"plot-terms", 0, "N", "with --plots: at most so many per collection [20]", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra export_extras[] = {{"what", 0, "WHAT", "concepts, genes or terms", NULL},
                                          {"format", 0, "FORMAT", "tsv (default) or json", NULL},
                                          {NULL, 0, NULL, NULL, NULL}};
static const cli_extra simulate_extras[] = {{"output", 'o', "FILE", "h5ad to write", NULL},
                                            {"cells", 0, "N", "cells [2000]", NULL},
                                            {"genes", 0, "G", "genes [3000]", NULL},
                                            {"programs", 0, "P", "planted gene programs [8]", NULL},
                                            {NULL, 0, NULL, NULL, NULL}};
static const cli_extra no_extras[] = {{NULL, 0, NULL, NULL, NULL}};

static const cli_command commands[] = {
    {"run", "a whole study", "CELLS -o STUDY [options]", "cells in, interpreted concepts out",
     "Runs every stage on CELLS (.h5ad, 10x folder or 10x .h5) into the folder STUDY: model, "
     "embedding,\n"
     "dictionary, concepts, gene attribution, terms, evaluation, report.html. What is there and "
     "still valid\n"
     "is kept; a run that was stopped goes on where it was.",
     "all", cli_run, output_study},
    {"attribute", "a whole study", "STUDY [options]",
     "genes of every concept, again with other options",
     "Computes the gene attribution of an existing study (attribution.h5ad) and what depends on it "
     "is brought\n"
     "up to date by the next `run` or `report`.",
     "cells attribution", cli_attribute, no_extras},
    {"enrich", "a whole study", "STUDY | --ranking FILE | --genes FILE [options]",
     "terms of every concept; or of any ranking or gene list",
     "On a study: writes enrichment.tsv.gz. Alone: --ranking FILE (gene TAB statistic per line) is "
     "a preranked\n"
     "GSEA, --genes FILE (one gene per line) an over-representation test; TSV on stdout.",
     "enrichment", cli_enrich, enrich_extras},
    {"evaluate", "a whole study", "STUDY [options]",
     "scores with their n and baselines (evaluation.json)",
     "Writes evaluation.json: reconstruction on train and validation cells with the mean baseline, "
     "share of\n"
     "concepts with a significant term, fit to labels, noise floor of the attribution.",
     "cells evaluation", cli_evaluate, no_extras},
    {"report", "a whole study", "STUDY [options]",
     "report.html for a colleague without the program",
     "Writes the self-contained report.html; runs whatever stage it needs and is missing.", "cells",
     cli_report, no_extras},
    {"export", "a whole study", "STUDY --what concepts|genes|terms [--format tsv|json]",
     "tables on stdout", "Writes one table of the study to stdout.", "", cli_export, export_extras},
    {"fit", "single steps", "CELLS --model scvi -o MODEL [options]", "train a model",
     "Trains scVI on CELLS and writes MODEL/model.pt as scvi-tools saves it: SCVI.load opens it.",
     "cells model", cli_fit, output_file},
    {"embed", "single steps", "CELLS --model MODEL -o FILE.h5ad [options]",
     "embed cells with a model", "Writes an AnnData file with obsm X_embedding.", "cells model",
     cli_embed, output_file},
    {"train", "single steps", "FILE -o DICT [--obsm KEY] [options]",
     "train a dictionary on any embedding",
     "FILE is an h5ad with an embedding in obsm, or a .npy matrix of cells by dimensions. The "
     "folder DICT opens in\n"
     "SAELens.",
     "dictionary", cli_train, train_extras},
    {"encode", "single steps", "FILE --dictionary DICT -o concepts.h5ad [--obsm KEY]",
     "cells x concepts", "Applies a trained dictionary to an embedding.", "dictionary", cli_encode,
     encode_extras},
    {"inspect", "files", "FILE", "what is in a file, in a screenful",
     "h5ad, 10x, .pt, .safetensors, .npy, obo, gaf, gmt, a dictionary folder or a study. Nothing "
     "in a file is ever\n"
     "executed.",
     "", cli_inspect, no_extras},
    {"simulate", "files", "-o FILE.h5ad [--cells N --genes G --programs P]",
     "cells with planted gene programs",
     "Negative-binomial counts with known programs: the truth is in varm program_genes and obsm\n"
     "program_activity.",
     "", cli_simulate, simulate_extras},
    {"fetch", "files", "NAME", "a public demo data set, verified and cached",
     "pbmc3k: 2,700 blood cells, 10x Genomics. Prints the path of the cached file.", "", cli_fetch,
     no_extras},
};

const cli_command *cli_commands(size_t *n)
{
    *n = sizeof commands / sizeof *commands;
    return commands;
}

static const cli_command *find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    fprintf(stderr, "conceptome: there is no command '%s'; `conceptome help` lists them\n", name);
    return CLI_USAGE;
}

static int show_help(int argc, char **argv)
{
    if (argc < 3) {
        cli_help("conceptome");
        return cli_close_stdout();
    }
    const cli_command *command = find(argv[2]);
    if (!command) return unknown_command(argv[2]);
    cli_help_command(command);
    return cli_close_stdout();
}

static int show_version(void)
{
    char text[1024];
    cpt_version_text(text, sizeof text);
    puts(text);
    return cli_close_stdout();
}

/* A standard stream that the caller has closed would give its number to the next file we open, and
 * our messages would land in that file. Standard output is opened for reading: writing to it then
 * fails as it should. */
static int open_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return -1;
    return 0;
}

/* Threads of libgomp spin while they wait. On a machine with other work they thereby take the time of
 * those they wait for (a training on two busy cores: 12.4 s spinning, 4.6 s sleeping; on idle ones
 * sleeping costs 6 %). libgomp reads its setting when it is loaded: hence the new start. A choice of
 * the user's stands. */
static void let_threads_sleep(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (setenv("OMP_WAIT_POLICY", "passive", 1) == 0) execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    let_threads_sleep(argv);
    cli c;
    if (open_standard_streams() != 0) return CLI_FAILED;
    if (argc < 2) {
        cli_help("conceptome");
        cli_close_stdout();
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0)
        return show_help(argc, argv);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) return show_version();
    const cli_command *command = find(argv[1]);
    if (!command) return unknown_command(argv[1]);
    int code = cli_parse(&c, command, argc - 1, argv + 1);
    if (code == CLI_OK && c.help) {
        cli_help_command(command);
        code = cli_close_stdout();
    } else if (code == CLI_OK) {
        cli_begin(&c);
        code = command->run(&c);
        cli_end(&c, code);
    }
    cpt_options_free(c.options);
    free(c.line);
    return code;
}
