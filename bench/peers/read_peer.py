"""anndata reading the file that bench_read reads.

    python bench/peers/read_peer.py FILE.h5ad [TIMES [NAME]]

Its matrix in memory stands beside our counts in blocks and, as that is what a study starts from, beside our checked
import by cell and by gene.
"""
import statistics
import sys
import time

import anndata
from problem import line

times, name = [], sys.argv[3] if len(sys.argv) > 3 else "counts"
for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 3):
    start = time.perf_counter()
    data = anndata.read_h5ad(sys.argv[1])
    times.append(time.perf_counter() - start)
    del data
for what in ("counts in blocks", "checked, both orders"):
    line("read", f"{name}, {what}", statistics.median(times), "s", f"anndata {anndata.__version__}")
