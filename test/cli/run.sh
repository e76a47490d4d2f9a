#!/bin/sh
# Command-line tests: run.sh PROGRAM [CASE ...]. Each case is a function; `expect CODE ARGS...` runs the program and checks
# its exit code, `said TEXT` looks for a text on stderr or stdout of the last run.
# Cells: simulated here (made-up counts), and the reference files of ../shared where they are.
set -u
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
shared=${CONCEPTOME_SHARED:-$here/../shared}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
passed=0
failed=0
skipped=0

bad() {
    failed=$((failed + 1))
    echo "FAIL: $case_name: $*"
    sed 's/^/    /' out err 2>/dev/null | tail -5
}
good() { passed=$((passed + 1)); }
expect() {
    want=$1
    shift
    "$program" "$@" >out 2>err </dev/null
    got=$?
    if [ "$got" -eq "$want" ]; then good; else bad "exit $got, want $want: conceptome $*"; fi
}
said() { if grep -q -- "$1" out err; then good; else bad "does not say '$1'"; fi; }
same() { if cmp -s "$1" "$2"; then good; else bad "$1 and $2 differ"; fi; }

# Every result of two studies, byte by byte; study.json holds times and paths and is left out.
same_study() {
    (cd "$1" && find . -type f ! -name study.json ! -name .lock | sort) >list_a
    (cd "$2" && find . -type f ! -name study.json ! -name .lock | sort) >list_b
    same list_a list_b
    while read -r file; do same "$1/$file" "$2/$file"; done <list_a
}

small="--epochs 8 --genes 300 --expansion 4 --dictionary-epochs 10 --prototypes 8 --noise-directions 8 --min-size 5 --permutations 1000"

# What nearly every case needs, made once: cells.h5ad, and a small study of them in one/study.
need_cells() { [ -s cells.h5ad ] || "$program" simulate -o cells.h5ad --cells 300 --genes 500 --programs 4 -s 7 -q; }
need_study() {
    need_cells
    [ -s one/study/report.html ] || "$program" run cells.h5ad -o one/study $small -t 1 -q
}

# cases/*.sh define the cases; all of them run unless some are named.
for file in "$here"/test/cli/cases/*.sh; do . "$file"; done
[ $# -gt 0 ] || set -- $(sed -n 's/^case_\([a-z0-9_]*\)() {.*/\1/p' "$here"/test/cli/cases/*.sh)
for case_name; do
    command -v "case_$case_name" >/dev/null || { echo "run.sh: there is no case '$case_name'" >&2; exit 2; }
    echo "== cli: $case_name"
    "case_$case_name"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
