"""scanpy's rank_genes_groups on the counts of bench_de, one group against the rest.

    python bench/peers/de_peer.py [threads]

Only the test is timed: normalisation and logarithm, which our time includes, come before.
"""
import os
import sys
import time

import anndata
import numpy as np
import scanpy
from problem import line, uniform
from scipy.sparse import csr_matrix

CELLS, GENES, KEY_PRESENT, KEY_COUNT = 20000, 4000, 21, 22
present = uniform(KEY_PRESENT, 0, CELLS * GENES) < np.float32(0.1)
more = np.zeros((CELLS, GENES), np.float32)
more[::7, ::11] = 2
counts = 1 + np.trunc(3 * uniform(KEY_COUNT, 0, CELLS * GENES) + more.ravel())
data = anndata.AnnData(csr_matrix(np.where(present, counts, 0).astype(np.float32).reshape(CELLS, GENES)))
data.obs["group"] = np.where(np.arange(CELLS) % 7 == 0, "in", "out")
data.obs["group"] = data.obs["group"].astype("category")
scanpy.pp.normalize_total(data, target_sum=1e4)
scanpy.pp.log1p(data)
for method, what, score in (("t-test", "Welch, one concept", "Welch t of gene 11"),
                            ("wilcoxon", "rank sum, one concept", "rank sum z of gene 11")):
    times = []
    for _ in range(3 if method == "t-test" else 1):  # ten seconds a turn
        start = time.perf_counter()
        scanpy.tl.rank_genes_groups(data, "group", groups=["in"], method=method, tie_correct=method == "wilcoxon")
        times.append(time.perf_counter() - start)
    table = scanpy.get.rank_genes_groups_df(data, "in").set_index("names")
    line("de", what, 1e3 * np.median(times), "ms", "scanpy")
    line("de", score, table.loc["11", "scores"], "", "scanpy")
start = time.perf_counter()
for concept in range(40):  # concepts overlap: one call each
    inside = np.arange(CELLS) % (7 + concept) == concept % 7
    data.obs["group"] = np.where(inside, "in", "out")
    data.obs["group"] = data.obs["group"].astype("category")
    scanpy.tl.rank_genes_groups(data, "group", groups=["in"], method="t-test")
line("de", "Welch, 40 concepts", 1e3 * (time.perf_counter() - start), "ms", "scanpy")
