#include "cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The table of subcommands, and nothing else: each lives in its own cmd_*.c. */

static const cli_extra run_extras[] = {
    {"output", 'o', "STUDY", "folder of the study (made when absent)", NULL},
    {"until", 0, "STAGE",
     "stop after this stage: cells, model, embedding, map, dictionary, concepts, ...", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra output_file[] = {{"output", 'o', "PATH", "what is written", NULL},
                                        {NULL, 0, NULL, NULL, NULL}};
#define SHARD                                                                                      \
    {                                                                                              \
        "shard", 0, "i/n", "one piece of n, without a lock, for many machines; see merge", NULL    \
    }
static const cli_extra shard_extras[] = {SHARD, {NULL, 0, NULL, NULL, NULL}};
static const cli_extra embed_extras[] = {
    {"output", 'o', "PATH", "what is written", NULL}, SHARD, {NULL, 0, NULL, NULL, NULL}};
static const cli_extra train_extras[] = {
    {"output", 'o', "DICT", "folder of the dictionary", NULL},
    {"obsm", 0, "KEY", "which embedding of an h5ad (X_embedding, else the only one)", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra encode_extras[] = {{"output", 'o', "FILE", "concepts.h5ad to write", NULL},
                                          {"obsm", 0, "KEY", "which embedding of an h5ad", NULL},
                                          {NULL, 0, NULL, NULL, NULL}};
static const cli_extra enrich_extras[] = {
    SHARD,
    {"ranking", 0, "FILE", "gene TAB statistic per line: preranked GSEA", NULL},
    {"genes", 0, "FILE", "one gene per line: over-representation", NULL},
    {"background", 0, "FILE", "universe for --genes; default: all genes with an annotation", NULL},
    {"plots", 0, "DIR", "with --ranking: running sums of the significant sets as SVG files", NULL},
    {"plot-terms", 0, "N", "with --plots: at most so many per collection [20]", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra export_extras[] = {{"what", 0, "WHAT", "concepts, genes, terms or notes", NULL},
                                          {"format", 0, "FORMAT", "tsv (default) or json", NULL},
                                          {NULL, 0, NULL, NULL, NULL}};
static const cli_extra compare_extras[] = {
    {"output", 'o', "FOLDER", "write matches.tsv and comparison.json there, not to stdout", NULL},
    {"save", 0, NULL, "also into STUDY/comparisons/ of both studies", NULL},
    {"null", 0, "N", "draws of each null [200]", NULL},
    {"max-cells", 0, "N", "cells encoded by another study's model, at most; 0 = all [5000]", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra steer_extras[] = {
    {"concept", 'c', "ID", "which concept: c12", NULL},
    {"scale", 0, "X", "its activation times X, in cells that have it", NULL},
    {"clamp", 0, "V", "its activation set to V: a number, mean or max (of the active cells)", NULL},
    {"ablate", 0, NULL, "its activation set to 0", NULL},
    {"cells", 0, "QUERY", "'cell_type==B cell & n_genes>500 & inactive' [active; all for --clamp]",
     NULL},
    {"max-cells", 0, "N", "cells drawn at random among these, at most; 0 = all [1000]", NULL},
    {"directions", 0, "N", "random directions of the same length: the null [200]", NULL},
    {"output", 'o', "FOLDER", "write changes.tsv and steering.json there, not to stdout", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra simulate_extras[] = {{"output", 'o', "FILE", "h5ad to write", NULL},
                                            {"cells", 0, "N", "cells [2000]", NULL},
                                            {"genes", 0, "G", "genes [3000]", NULL},
                                            {"programs", 0, "P", "planted gene programs [8]", NULL},
                                            {NULL, 0, NULL, NULL, NULL}};
static const cli_extra evaluate_extras[] = {
    {"quick", 0, NULL, "the parts in brief, as `run` does them", NULL}, {NULL, 0, NULL, NULL, NULL}};
static const cli_extra serve_extras[] = {
    {"port", 0, "N", "port [8765]; 0 = any free one", NULL},
    {"listen", 0, "ADDR", "bind this address instead of 127.0.0.1 and ::1", NULL},
    {"no-browser", 0, NULL, "do not open a browser", NULL},
    {"ui-dir", 0, "DIR", "pages from a folder (for their development)", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra notes_extras[] = {
    {"keys", 0, NULL, "prints the key of every concept, one per line", NULL},
    {NULL, 0, NULL, NULL, NULL}};
static const cli_extra no_extras[] = {{NULL, 0, NULL, NULL, NULL}};

static const cli_command commands[] = {
    {"run", "a whole study", "CELLS -o STUDY [options]", "cells in, interpreted concepts out",
     "Runs every stage on CELLS (.h5ad, 10x folder or 10x .h5) into the folder STUDY: model, "
     "embedding,\n"
     "dictionary, concepts, gene attribution, terms, evaluation, report.html. What is there and "
     "still valid\n"
     "is kept; a run that was stopped goes on where it was.",
     "all", cli_run, run_extras},
    {"attribute", "a whole study", "STUDY [options]",
     "genes of every concept, again with other options",
     "Computes the gene attribution of an existing study (attribution.h5ad) and what depends on it "
     "is brought\n"
     "up to date by the next `run` or `report`.",
     "cells attribution", cli_attribute, shard_extras},
    {"enrich", "a whole study", "STUDY | --ranking FILE | --genes FILE [options]",
     "terms of every concept; or of any ranking or gene list",
     "On a study: writes enrichment.tsv.gz. Alone: --ranking FILE (gene TAB statistic per line) is "
     "a preranked\n"
     "GSEA, --genes FILE (one gene per line) an over-representation test; TSV on stdout.",
     "enrichment", cli_enrich, enrich_extras},
    {"evaluate", "a whole study", "STUDY [options]",
     "how far to trust it: scores with spread and null",
     "Writes evaluation.json and brings the report up to date: reconstruction, probing of labels "
     "and cell\n"
     "cycle phases, purity of single concepts, stability over seeds, faithfulness of the "
     "attribution, noise\n"
     "floor, flags. In full; `run` and --quick do it in brief. Finished parts are kept: a stopped "
     "evaluation goes\n"
     "on where it was.",
     "cells evaluation", cli_evaluate, evaluate_extras},
    {"merge", "a whole study", "STUDY [options]", "joins the pieces that --shard has written",
     "Many machines that share a folder: `run CELLS -o STUDY --until model` once, then `embed "
     "STUDY "
     "--shard i/n` for\n"
     "i = 1..n anywhere, `merge STUDY`, `run CELLS -o STUDY --until concepts`, `attribute STUDY "
     "--shard "
     "i/n`, `merge STUDY`,\n"
     "`enrich STUDY --shard i/n`, `merge STUDY`, `run CELLS -o STUDY`. A missing piece is named; "
     "the result "
     "is the same, byte\n"
     "by byte, as without pieces. workflow/Snakefile does all this.",
     "all", cli_merge, no_extras},
    {"report", "a whole study", "STUDY [options]",
     "report.html for a colleague without the program",
     "Writes the self-contained report.html; runs whatever stage it needs and is missing.", "cells",
     cli_report, no_extras},
    {"serve", "a whole study", "STUDY [STUDY ...] [--port N]", "studies in a browser, on this machine",
     "Opens the pages on http://127.0.0.1:8765/ and prints the address; Ctrl-C ends. Only this machine can\n"
     "reach them unless --listen says otherwise. From another one: ssh -L 8765:localhost:8765 HOST.\n"
     "An index that is missing is made meanwhile; the pages say how far it is.",
     "", cli_serve, serve_extras},
    {"export", "a whole study", "STUDY --what concepts|genes|terms|notes [--format tsv|json]",
     "tables on stdout",
     "Writes one table of the study to stdout. Notes as TSV are what holds now; as JSON everything "
     "that was\n"
     "said, for `conceptome notes` of another study.",
     "", cli_export, export_extras},
    {"notes", "a whole study", "STUDY [FILE...]", "merge what other experts said; who said how much",
     "Adds the notes in each FILE, a notes.sqlite or what `export --what notes --format json` wrote, "
     "to those of\n"
     "STUDY. Nothing is lost or doubled: the same file again adds nothing. Then counts what is there.",
     "", cli_notes, notes_extras},
    {"review", "a whole study", "STUDY [options]", "evidence for the blind review; agreement of experts",
     "Runs the study's pipeline on the coordinates of the embedding and on random directions, which "
     "the blind\n"
     "review of `serve` mixes with the concepts (cache/controls). Prints the agreement of the ratings "
     "given so far.",
     "cells", cli_review, no_extras},
    {"compare", "beyond one study", "STUDY STUDY [...] [-o FOLDER] [options]",
     "which concepts of one study are which of another",
     "Matches the concepts of all pairs of studies: by decoder rows where the model is the same, "
     "by "
     "activations on the same\n"
     "cells (their own, or cells of each encoded by the other's model and dictionary), by "
     "attribution and by expression over\n"
     "shared genes; each with what chance matches. One line per matched pair on stdout.",
     "", cli_compare, compare_extras},
    {"steer", "beyond one study", "STUDY --concept ID --scale X | --clamp V | --ablate [options]",
     "what the model expects when a concept is turned up or off",
     "Edits one concept's activation in the embedding of cells; tells the change of the expected "
     "expression of every gene\n"
     "(scVI) and of the probabilities of the labels, beside random directions of the same length. "
     "One line per label and gene\n"
     "on stdout.",
     "cells", cli_steer, steer_extras},
    {"fit", "single steps", "CELLS --model scvi|scgpt -o MODEL [options]", "train a model",
     "Trains scVI on CELLS and writes MODEL/model.pt as scvi-tools saves it: SCVI.load opens it. Or "
     "scGPT:\nMODEL/best_model.pt, args.json and vocab.json, which scGPT's own code loads.",
     "cells model", cli_fit, output_file},
    {"embed", "single steps", "CELLS --model MODEL -o FILE.h5ad [options] | STUDY --shard i/n",
     "embed cells with a model", "Writes an AnnData file with obsm X_embedding.", "cells model",
     cli_embed, embed_extras},
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

/* How many letters must be put in, taken out or changed to make one word of the other (Levenshtein). */
static int unlike(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    int row[LONGEST + 1];
    const int n = (int)strnlen(b, LONGEST);
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; *a; a++, i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            const int change = diagonal + (*a != b[j - 1]);
            const int shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < shift ? change : shift;
        }
    }
    return row[n];
}

static int unknown_command(const char *name)
{
    const cli_command *near = NULL;
    int least = 3; /* more has nothing to do with each other */
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (unlike(name, commands[i].name) < least) {
            near = &commands[i];
            least = unlike(name, near->name);
        }
    fprintf(stderr, "conceptome: there is no command '%s'%s%s%s `conceptome help` lists them\n", name,
            near ? "; did you mean '" : ";", near ? near->name : "", near ? "'?" : "");
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

/* Threads of libgomp spin while they wait. On a machine with other work they thereby take the time
 * of those they wait for (a training on two busy cores: 12.4 s spinning, 4.6 s sleeping; on idle
 * ones sleeping costs 6 %). libgomp reads its setting when it is loaded: hence the new start. A
 * choice of the user's stands. */
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
