#!/bin/sh
# Installs what Conceptome builds with. On Debian and Ubuntu by apt; elsewhere it prints the names and
# stops. With --quiet it says nothing when all is there. Each package stands with its reason. Not among
# them: nodejs and npm, which build the pages of `conceptome serve` (`make ui`); without them the rest builds.
set -eu

packages="
gcc                    the compiler
make                   the build
pkg-config             finds the libraries below
libhdf5-dev            reads and writes .h5ad and 10x .h5
libdeflate-dev         inflates HDF5 chunks
libopenblas-openmp-dev matrix products (the OpenMP build shares our thread pool)
libjansson-dev         JSON
zlib1g-dev             gzip text
libcurl4-openssl-dev   conceptome fetch
libsqlite3-dev         the experts' notes
libmicrohttpd-dev      conceptome serve
libcmocka-dev          the unit tests
"

present() {
    command -v gcc >/dev/null && command -v make >/dev/null && command -v pkg-config >/dev/null &&
        pkg-config --exists hdf5 openblas jansson zlib libdeflate libcurl sqlite3 libmicrohttpd cmocka
}

if present; then
    [ "${1:-}" = --quiet ] || echo "all dependencies are there"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "Conceptome needs these packages (Debian names); please install their like and run again:"
    echo "$packages"
    exit 1
fi
echo "Installing what Conceptome builds with (by apt-get):"
echo "$packages"
names=$(echo "$packages" | awk 'NF { print $1 }')
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null; then
        sudo="sudo"
    else
        echo "root is needed: run  apt-get install" $names
        exit 1
    fi
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq </dev/null
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $names </dev/null
# The pages of `conceptome serve` are made by npm; without it everything else works, and serve says so.
if ! command -v npm >/dev/null; then
    $sudo apt-get install -y -qq --no-install-recommends nodejs npm </dev/null ||
        echo "nodejs and npm could not be installed: the pages of \`conceptome serve\` are left out"
fi
if present; then exit 0; fi
echo "still missing after the installation:"
for p in hdf5 openblas jansson zlib libdeflate libcurl sqlite3 libmicrohttpd cmocka; do
    pkg-config --exists "$p" || echo "  $p (pkg-config does not know it)"
done
exit 1
