#!/bin/sh
# Runs the given test programs of a folder, UNIT_JOBS at a time (default 1); all of them, even when one fails.
# Skips are visible.
folder=$1
shift
failed=$(mktemp -d) || exit 1
trap 'rm -rf "$failed"' EXIT
one='if out=$("$1/$2" </dev/null 2>&1); then :; else : >"$3/$2"; fi; printf "== %s\n%s\n" "$2" "$out"'
printf '%s\n' "$@" | xargs -P "${UNIT_JOBS:-1}" -I NAME sh -c "$one" sh "$folder" NAME "$failed" || {
    echo "FAILED: not every test program ran"
    exit 1
}
if [ -n "$(ls "$failed")" ]; then
    echo "FAILED:" $(ls "$failed")
    exit 1
fi
echo "all $# test programs passed"
