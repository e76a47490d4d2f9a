"""umap-learn on the points that bench_umap has written: same neighbours and min_dist, threads for all.

    python bench/peers/umap_peer.py FOLDER THREADS [bench_umap]

The first fit brings numba's compilation with it and is not counted. Without a seed umap-learn uses all threads and gives
another map each time; with one (ours always is seeded) it runs on one thread: both are told. The program bench_umap,
where given, measures the trustworthiness of the maps as it does ours.
"""
import subprocess
import sys
import time

import numba
import numpy
import umap
from problem import line

folder, threads = sys.argv[1], int(sys.argv[2])
numba.set_num_threads(threads)
points = numpy.load(f"{folder}/points.npy")


def fit(seed, points):
    start = time.perf_counter()
    layout = umap.UMAP(n_neighbors=15, min_dist=0.3, random_state=seed, n_jobs=threads if seed is None else 1)
    return layout.fit_transform(points), time.perf_counter() - start


fit(None, points[:5000])
fit(0, points[:5000])
for seed, name in ((None, "umap-learn"), (0, "umap-learn, seeded")):
    found, took = fit(seed, points)
    line("umap", "50k x 50", took, "s", name)
    if len(sys.argv) > 3:
        numpy.save(f"{folder}/theirs.npy", found.astype(numpy.float32))
        told = subprocess.run([sys.argv[3], folder, "check", f"{folder}/theirs.npy"], capture_output=True, text=True)
        line("umap", "trustworthiness", float(told.stdout), "", name)
