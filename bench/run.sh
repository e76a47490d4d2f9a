#!/bin/sh
# `make bench`: our hot paths beside the established tools, in turn (ours, peer, ours, peer ...) and each in a
# process of its own, on all cores; one table at the end, also in BUILD/bench.tsv.
#
#   sh bench/run.sh BUILD [--ours] [--keep] [PATH ...]      make bench WHAT="sae scvi" PEERS=no
#
#   --ours  without the peers: no Python, no download
#   --keep  what earlier runs measured of other paths stays in the table
#   PATH    which of the paths; default all of $paths
#
# What a program prints: bench.h. What is asked of it: targets.tsv. The peers are installed from PyPI into
# bench/venv the first time (about 6 GB). All lines of all programs: BUILD/bench/log.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1
shift
paths="kernels sae scgpt scvi gsea read knn umap de"
peers=yes
keep=no
while :; do
    case ${1:-} in
    --ours) peers=no ;;
    --keep) keep=yes ;;
    *) break ;;
    esac
    shift
done
[ $# -gt 0 ] && paths=$*
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE 2>/dev/null || true
threads=$(nproc)
export OMP_NUM_THREADS="$threads" PYTHONWARNINGS=ignore NUMBA_NUM_THREADS="$threads"
python=$here/venv/bin/python
data=${BENCH_DATA:-${TMPDIR:-/tmp}/conceptome-bench}
raw=$build/bench/raw.tsv
log=$build/bench/log
mkdir -p "$data" "$build/bench"
[ $keep = yes ] && [ -e "$raw" ] || : >"$raw"
: >"$log"

if [ $peers = yes ] && [ ! -e "$here/venv/complete" ]; then
    echo "bench: the peers are installed once, from PyPI (about 6 GB)" >&2
    sh "$here/peers/make_venv.sh" >>"$log" 2>&1 || {
        echo "bench: PyPI is unreachable or the installation failed ($log): peers are left out" >&2
        peers=no
    }
fi

# How many pairs: short paths three, long ones one or two, so that all takes about twenty minutes on two idle cores;
# BENCH_ROUNDS overrides.
rounds() {
    [ -n "${BENCH_ROUNDS:-}" ] && { echo "$BENCH_ROUNDS"; return; }
    case $1 in
    kernels | sae | gsea | knn | umap | server) echo 1 ;;
    scgpt | read | de) echo 2 ;;
    *) echo 3 ;;
    esac
}

# What the programs of a path work on, made once.
prepare() {
    case $1 in
    gsea) [ -e "$data/gsea.tsv" ] || "$build/bench/bench_gsea" 1 "$data/gsea.tsv" ;;
    read) [ -e "$data/gzip.h5ad" ] || "$python" "$here/peers/make_h5ad.py" "$data" ;;
    esac
}

ours() {
    case $1 in
    scgpt) "$build/bench/bench_scgpt" "$threads" 1200 "$data/scgpt" ;;
    read)
        for kind in plain gzip; do
            cat "$data/$kind.h5ad" >/dev/null
            "$build/bench/bench_read" "$data/$kind.h5ad" "$threads" 3 $kind
        done
        ;;
    knn)
        "$build/bench/bench_knn" "$threads"
        "$build/bench/bench_knn" "$threads" 300000 50 1
        "$build/bench/bench_knn" "$threads" 300000 512
        ;;
    umap) "$build/bench/bench_umap" "$data" 50000 50 "$threads" ;;
    server) python3 "$here/serve_clicks.py" "$build/conceptome" "${BENCH_STUDY:?a study to serve}" ;;
    *) "$build/bench/bench_$1" "$threads" ;;
    esac
}

peer() {
    case $1 in
    scgpt) "$python" "$here/peers/scgpt_peer.py" "$data/scgpt" "$threads" 1200 ;;
    gsea) "$python" "$here/peers/gsea_peer.py" "$data/gsea.tsv" ;;
    read)
        for kind in plain gzip; do
            "$python" "$here/peers/read_peer.py" "$data/$kind.h5ad" 3 $kind
        done
        ;;
    umap) "$python" "$here/peers/umap_peer.py" "$data" "$threads" "$build/bench/bench_umap" ;;
    *) "$python" "$here/peers/$1_peer.py" "$threads" ;;
    esac
}

# measure SIDE ROUND PATH: its lines to raw, with side and round before them.
measure() {
    echo "== $1 $3, round $2" >>"$log"
    if "$1" "$3" >"$build/bench/out" 2>>"$log"; then :; else
        echo "bench: $1 $3 failed; see $log" >&2
    fi
    cat "$build/bench/out" >>"$log"
    awk -F '\t' -v OFS='\t' -v side="$1" -v round="$2" 'NF >= 4 && $3 + 0 == $3 { print side, round, $0 }' \
        "$build/bench/out" >>"$raw"
}

forget() { # PATH: of it what an earlier run measured
    awk -F '\t' -v path="$1" '$3 != path' "$raw" >"$raw.tmp"
    mv "$raw.tmp" "$raw"
}

forget peak
"$build/bench/bench_peak" "$threads" | awk -v OFS='\t' '{ print "ours", 1, $0 }' >>"$raw"
for path in $paths; do
    if [ ! -x "$build/bench/bench_$path" ] && [ "$path" != server ]; then
        echo "bench: no such path, or not built: $path" >&2
        continue
    fi
    echo "bench: $path ($(date +%T))" >&2
    forget "$path"
    if ! prepare "$path" >>"$log" 2>&1; then
        echo "bench: the data of $path could not be made ($log): left out" >&2
        continue
    fi
    round=1
    while [ $round -le "$(rounds "$path")" ]; do
        measure ours $round "$path"
        [ $peers = yes ] && [ -e "$here/peers/${path}_peer.py" ] && measure peer $round "$path"
        round=$((round + 1))
    done
done
{
    echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | sed 1q), $threads threads;" \
        "$("$build/conceptome" --version | sed 's/   */ /g' | paste -s -d ';' - | sed 's/;/; /g')"
    awk -f "$here/table.awk" "$here/targets.tsv" "$raw"
} | tee "$build/bench.txt"
awk -v plain=1 -f "$here/table.awk" "$here/targets.tsv" "$raw" >"$build/bench.tsv"
