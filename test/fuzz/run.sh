#!/bin/sh
# run.sh SECONDS [TARGET...]: runs every fuzz target (or those named) for that long, starting from
# test/fuzz/corpus/TARGET and from the folders that seeds.txt names. Fails when one finds something; the
# input that did it is then under build/fuzz/findings. New inputs gather in build/fuzz/corpus.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(for t in build/fuzz/fuzz_*; do [ -x "$t" ] && basename "$t" | sed s/fuzz_//; done)
[ $# -gt 0 ] || { echo "fuzz: no targets; run test/fuzz/build.sh first" >&2; exit 1; }
shared=${CONCEPTOME_SHARED:-../shared}
failed=

for target in "$@"; do
    mkdir -p "build/fuzz/corpus/$target" build/fuzz/findings
    folders="build/fuzz/corpus/$target"
    [ -d "test/fuzz/corpus/$target" ] && folders="$folders test/fuzz/corpus/$target"
    for seeds in $(awk -v t="$target" '$1 == t { print $2 }' test/fuzz/seeds.txt); do
        [ -d "$shared/$seeds" ] && folders="$folders $shared/$seeds"
    done
    dictionary=
    [ -f "test/fuzz/$target.dict" ] && dictionary="-dict=test/fuzz/$target.dict"
    echo "fuzz: $target for $seconds s"
    "build/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -malloc_limit_mb=1024 -print_final_stats=1 -verbosity=0 $dictionary \
        -artifact_prefix="build/fuzz/findings/$target-" $folders || failed="$failed $target"
done
[ -z "$failed" ] || { echo "fuzz: findings in:$failed; see build/fuzz/findings" >&2; exit 1; }
