#!/bin/sh
# Builds every test/fuzz/fuzz_*.c with libFuzzer and the address and undefined sanitizers into
# build/fuzz/. Needs clang (any version from 11) with its sanitizers and libFuzzer (Debian 12: clang, libclang-rt-14-dev, libfuzzer-14-dev); CLANG names another. JOBS = 2 compilations at once.
set -eu
cd "$(dirname "$0")/../.."

clang=${CLANG:-}
for c in clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 clang-13 clang-12 clang-11; do
    [ -n "$clang" ] || ! command -v $c >/dev/null || clang=$c
done
[ -n "$clang" ] || { echo "fuzz: clang is not here; install it (Debian 12: apt-get install clang libclang-rt-14-dev libfuzzer-14-dev)" >&2; exit 1; }

packages="hdf5 openblas jansson zlib libdeflate libcurl sqlite3 libmicrohttpd"
# Kernels are built once, for any processor. OpenMP stays off; serial/omp.h stands in for its header.
flags="-std=c11 -g -O1 -fno-omit-frame-pointer -ffp-contract=off -fno-sanitize-recover=all
    -D_GNU_SOURCE -DCPT_LEVELS=1 -DCPT_LEVEL=0 -Iinclude -Isrc -Itest/fuzz -idirafter test/fuzz/serial
    -Wno-unknown-pragmas -Wno-source-uses-openmp $(pkg-config --cflags $packages)"
libraries="$(pkg-config --libs $packages) -lm"

out=build/fuzz
mkdir -p $out/objects
newest_header=$(ls -t include/*.h src/*/*.h | head -1)
for source in src/*/*.c src/*/*/*.c; do
    [ -f "$source" ] || continue
    object=$out/objects/$(echo "$source" | tr / _ | sed 's/\.c$/.o/')
    if [ "$object" -nt "$source" ] && [ "$object" -nt "$newest_header" ]; then continue; fi
    echo "$source $object"
done | xargs -r -n 2 -P "${JOBS:-2}" sh -c \
    "$clang $(echo $flags) -fsanitize=fuzzer-no-link,address,undefined -c -o \$2 \$1" sh

rm -f $out/library.a
ar rcs $out/library.a $out/objects/*.o

for target in test/fuzz/fuzz_*.c; do
    echo "  FUZZ $out/$(basename "$target" .c)"
    $clang $flags -fsanitize=fuzzer,address,undefined -o "$out/$(basename "$target" .c)" "$target" \
        $out/library.a $libraries
done
