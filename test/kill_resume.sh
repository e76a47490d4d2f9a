#!/bin/sh
# kill -9 at ten moments of a run, then one run to the end: same bytes as an undisturbed one?
# usage: kill_resume.sh PROGRAM CELLS UNDISTURBED_STUDY SECONDS_OF_A_WHOLE_RUN
# The moments are spread over the length of a run; each run goes on where the one before was killed.
set -u
program=$1
cells=$2
reference=$3
seconds=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
study=$folder/$(basename "$reference")
for i in 1 2 3 4 5 6 7 8 9 10; do
    pause=$(awk -v i=$i -v s="$seconds" 'BEGIN { srand(i); print s * (0.05 + 0.35 * rand()) }')
    "$program" run "$cells" -o "$study" -q >/dev/null 2>&1 &
    pid=$!
    sleep "$pause"
    kill -9 $pid 2>/dev/null && echo "killed after $pause s"
    wait $pid 2>/dev/null
done
"$program" run "$cells" -o "$study" -q >/dev/null || exit 1
differ=0
for file in $(cd "$reference" && find . -type f ! -name study.json ! -name .lock | sort); do
    cmp -s "$reference/$file" "$study/$file" || { echo "differs: $file"; differ=1; }
done
[ $differ -eq 0 ] && echo "the same bytes after ten kills"
exit $differ
