"""umap-learn on the points of build/bench/bench_umap: python umap_peer.py FOLDER THREADS
Same neighbours and min_dist as ours. Two runs: the first brings numba's compilation with it."""
import sys
import time

import numba
import numpy
import umap

folder, threads = sys.argv[1], int(sys.argv[2])
numba.set_num_threads(threads)
points = numpy.load(f"{folder}/points.npy")
for run in ("with compilation", "compiled"):
    for seed in (None, 0) if run == "compiled" else (None,):
        start, cpu = time.perf_counter(), time.process_time()
        layout = umap.UMAP(n_neighbors=15, min_dist=0.3, random_state=seed, n_jobs=threads if seed is None else 1)
        found = layout.fit_transform(points)
        name = "any order of moves" if seed is None else "random_state=0 (one thread)"
        print(f"umap-learn {umap.__version__}\t{points.shape[0]} x {points.shape[1]}\t{threads} threads\t{run}, {name}\t"
              f"{time.perf_counter() - start:.2f} s (CPU {time.process_time() - cpu:.2f})", flush=True)
    numpy.save(f"{folder}/theirs.npy", found.astype(numpy.float32))
