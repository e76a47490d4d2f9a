#!/bin/sh
# R2 by k and by expansion on the embedding of finished studies: reconstruction.sh PROGRAM STUDY [STUDY ...]
# Prints Markdown. One dictionary per cell of the table, seed 0, 10 % of the cells kept out; a dictionary's scores
# come from its own `train --json`.
set -eu
program=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
score() { # STUDY K EXPANSION
    "$program" train "$1/cells.h5ad" -o "$folder/d" --k "$2" --expansion "$3" --json -q |
        awk -F'[:,]' '
            /"mean_baseline"/ { part = "mean" } /"train"/ { part = "train" } /"validation"/ { part = "validation" }
            /"r2_feature"/ { f[part] = $2 } /"r2_scalar"/ { s[part] = $2 } /"dead_fraction"/ { d[part] = $2 }
            END { printf "%.3f / %.3f (mean %.3f / %.3f), dead %.1f %%", f["validation"], s["validation"], f["mean"],
                  s["mean"], 100 * d["train"] }'
}
for study in "$@"; do
    echo
    echo "$(basename "$study"): R2_feature / R2_scalar on validation cells (predicting the mean), dead on training cells"
    echo
    echo "| k | expansion 4 (default) | 8 | 16 | 32 |"
    echo "|---|---|---|---|---|"
    for k in 1 2 4 5 6 8 10 16; do
        printf '| %s |' $k
        for expansion in 4 8 16 32; do printf ' %s |' "$(score "$study" $k $expansion)"; done
        echo
    done
done
