#!/usr/bin/env python3
"""Computes every set of test/golden with the established tools, then SHA256SUMS.

    python test/golden/make.py [SET...]     default: all; `make golden` makes a venv for it

Each set is made by make_SET.py in a process of its own: stand-ins and seeds do not reach the next.
"""

import hashlib
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SETS = ("scvi", "sae", "stats", "gsea", "genes", "h5ad", "scgpt")
MAX_FILE, MAX_TOTAL = 102_400, 1_048_576


def data_files():
    return sorted(p for s in SETS for p in (HERE / s).rglob("*") if p.is_file())


def main():
    chosen = sys.argv[1:] or SETS
    unknown = [s for s in chosen if s not in SETS]
    if unknown:
        sys.exit("make.py: there is no set %s; the sets are %s" % (unknown[0], ", ".join(SETS)))
    # one thread: sums in one order
    env = dict(
        os.environ,
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
        PYTHONHASHSEED="0",
    )
    for name in chosen:
        print("golden: %s" % name, flush=True)
        subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE / ("make_%s.py" % name))],
            check=True,
            cwd=HERE,
            env=env,
        )
    files = data_files()
    sizes = {p: p.stat().st_size for p in files}
    large = [p for p in files if sizes[p] > MAX_FILE]
    if large or sum(sizes.values()) > MAX_TOTAL:
        sys.exit("make.py: too large to commit: %s, %d bytes in all" % (large, sum(sizes.values())))
    with open(HERE / "SHA256SUMS", "w") as out:
        for p in files:
            print(
                "%s  %s" % (hashlib.sha256(p.read_bytes()).hexdigest(), p.relative_to(HERE)),
                file=out,
            )
    print("golden: %d files, %d bytes" % (len(files), sum(sizes.values())))


if __name__ == "__main__":
    main()
