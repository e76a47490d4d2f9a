#!/bin/sh
# `make bench`: our hot paths, each in its own process, on all cores. run.sh BUILD
# The established tools beside them: sh bench/peers/make_venv.sh, then the scripts in bench/peers.
set -eu
build=$1
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE 2>/dev/null || true
"$build/conceptome" --version
echo "== scVI: training step, exact attribution against re-encoding"
"$build/bench/bench_scvi" "$(nproc)"
echo "== GSEA: 14,686 genes x 2,467 sets"
"$build/bench/bench_gsea"
