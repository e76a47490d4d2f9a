#!/bin/sh
# The demo: a whole study of real cells. Cells, first that is there: $CONCEPTOME_DATA,
# ../shared/data/pbmc3k.h5ad, the public 10x download, else simulated ones (which is said).
# Never asks anything. On a terminal it ends by serving the study (Ctrl-C ends it). Usage: demo.sh PROGRAM
set -eu
program=$1
study=demo/study
mkdir -p demo

if [ -n "${CONCEPTOME_DATA:-}" ]; then
    cells=$CONCEPTOME_DATA
    [ -e "$cells" ] || { echo "CONCEPTOME_DATA=$cells: no such file"; exit 1; }
elif [ -r ../shared/data/pbmc3k.h5ad ]; then
    cells=../shared/data/pbmc3k.h5ad
elif cells=$("$program" fetch pbmc3k </dev/null); then
    :
else
    echo "NOTE: no real cells are at hand and none could be downloaded: these are SIMULATED cells."
    cells=demo/simulated.h5ad
    "$program" simulate -o "$cells" --cells 2700 --genes 4000 --programs 8 </dev/null
fi
echo "cells: $cells"
"$program" run "$cells" -o "$study" </dev/null
if [ -t 1 ]; then
    exec "$program" serve "$study"
fi
echo "In a browser:  $program serve $study"
