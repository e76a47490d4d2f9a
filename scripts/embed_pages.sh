#!/bin/sh
# The pages as C arrays: embed_pages.sh FOLDER >pages.c. Files that are absent are left out; with none the
# program builds all the same, and `conceptome serve` says how to get them. Same files, same bytes.
set -eu
folder=$1

array() { # NAME FILE
    printf 'static const unsigned char %s[] = {\n' "$1"
    od -An -v -tx1 "$2" | sed 's/ *\([0-9a-f][0-9a-f]\)/0x\1,/g'
    printf '};\n'
}

printf '/* Made by scripts/embed_pages.sh; do not edit. */\n#include "server/page_files.h"\n'
list=
n=0
for name in index.html app.js app.css; do
    file=$folder/$name
    [ -s "$file" ] || continue
    array "file_$n" "$file"
    if [ "$name" = index.html ]; then
        list="$list    {\"$name\", file_$n, NULL, sizeof file_$n, 0},
"
    else
        gzip -9 -n -c "$file" >"$folder/.$name.gz"
        array "gzip_$n" "$folder/.$name.gz"
        rm -f "$folder/.$name.gz"
        list="$list    {\"$name\", file_$n, gzip_$n, sizeof file_$n, sizeof gzip_$n},
"
    fi
    n=$((n + 1))
done
printf 'const cpt_built_in_file cpt_page_files[] = {\n%s    {0}};\n' "$list"
printf 'const size_t cpt_n_page_files = %d;\n' "$n"
