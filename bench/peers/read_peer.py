"""anndata reading the file that build/bench/bench_read reads: python read_peer.py FILE.h5ad [TIMES]"""
import resource
import sys
import time

import anndata

for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 3):
    start, cpu = time.perf_counter(), time.process_time()
    data = anndata.read_h5ad(sys.argv[1])
    print(f"anndata {anndata.__version__}\t{data.X.nnz / 1e6:.1f} M counts\t{time.perf_counter() - start:.2f} s "
          f"(CPU {time.process_time() - cpu:.2f})\tpeak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    del data
