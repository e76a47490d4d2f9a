"""Neighbours of the points of bench_knn: hnswlib, and brute force by scikit-learn (BLAS) on a part of the queries.

    python bench/peers/knn_peer.py [threads]

hnswlib: M 16, ef_construction 200, the smallest ef of a few with a recall of 0.99; time = build + all queries.
Brute force: 6,000 of the 300,000 queries, time times 50.
"""
import os
import sys
import time

import hnswlib
import numpy as np
from problem import line, uniform
from sklearn.neighbors import NearestNeighbors

POINTS, DIM, K, CLUSTERS, QUERIES, CHECKED = 300000, 50, 15, 200, 6000, 1000
KEY_CENTRE, KEY_NOISE = 11, 12
threads = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count()

centres = 2 * uniform(KEY_CENTRE, 0, CLUSTERS * DIM).reshape(CLUSTERS, DIM)
x = uniform(KEY_NOISE, 0, POINTS * DIM).reshape(POINTS, DIM)
x += centres[np.arange(POINTS) % CLUSTERS]

start = time.perf_counter()
brute = NearestNeighbors(n_neighbors=K + 1, algorithm="brute", n_jobs=threads).fit(x)
exact = brute.kneighbors(x[:QUERIES], return_distance=False)
line("knn", "300k x 50 exact", (time.perf_counter() - start) * POINTS / QUERIES, "s", "scikit-learn brute force")
line("knn", "recall", 1, "", "scikit-learn brute force")

start = time.perf_counter()
index = hnswlib.Index(space="l2", dim=DIM)
index.init_index(max_elements=POINTS, M=16, ef_construction=200, random_seed=1)
index.set_num_threads(threads)
index.add_items(x)
built = time.perf_counter() - start
for ef in (50, 100, 200, 400, 800):
    index.set_ef(ef)
    found, _ = index.knn_query(x[:CHECKED], k=K + 1)
    recall = np.mean([len(set(a) & set(b)) / (K + 1) for a, b in zip(found, exact)])
    if recall >= 0.99:
        break
start = time.perf_counter()
index.knn_query(x, k=K + 1)
queried = time.perf_counter() - start
print(f"hnswlib: build {built:.1f} s, queries {queried:.1f} s at ef {ef}")
line("knn", "300k x 50 exact", built + queried, "s", "hnswlib (approximate)")
line("knn", "recall", recall, "", "hnswlib (approximate)")
