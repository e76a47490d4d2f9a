#!/bin/sh
# Cost against the number of cells: a generated atlas of 20,000 genes through every stage of `run`, each stage in a
# process of its own, so that its peak memory shows. Prints processor seconds (and seconds) per stage with exponents.
#     sh bench/scale.sh build FOLDER THREADS EPOCHS [N...]        default N: 10000 30000 100000 300000 (80 GB of disk)
set -eu
build=$1 folder=$2 threads=$3 epochs=$4
shift 4
[ $# -gt 0 ] || set -- 10000 30000 100000 300000
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE 2>/dev/null || true
mkdir -p "$folder"
studies=
for n in "$@"; do
    cells=$folder/atlas_$n.h5ad study=$folder/study_$n
    [ -e "$cells" ] || "$build/conceptome" simulate -o "$cells" --cells "$n" --genes 20000 --programs 40 -t "$threads" -q
    for stage in cells model embedding map dictionary concepts attribution expression enrichment probing purity \
        stability faithfulness noise index evaluation tables report; do
        /usr/bin/time -f "$n cells, $stage: %e s, peak %M KiB" "$build/conceptome" run "$cells" -o "$study" \
            --label cell_type --donor donor --epochs "$epochs" -t "$threads" -q --until "$stage"
    done
    studies="$studies $n=$study"
done
# shellcheck disable=SC2086
python3 "$(dirname "$0")/scale_table.py" $studies
