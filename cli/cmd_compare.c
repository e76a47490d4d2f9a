#include "cli.h"
int cli_compare(cli *c) { return 1; }
