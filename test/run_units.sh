#!/bin/sh
# Runs the given test programs of a folder; all of them, even when one fails. Skips are visible.
folder=$1
shift
failed=""
for name in "$@"; do
    echo "== $name"
    "$folder/$name" </dev/null || failed="$failed $name"
done
if [ -n "$failed" ]; then
    echo "FAILED:$failed"
    exit 1
fi
echo "all $# test programs passed"
