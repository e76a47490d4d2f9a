"""The files that bench_read and read_peer.py read: 100,000 cells x 20,000 genes, 150 million counts, as anndata writes
them, once as they are and once with gzip.

    python bench/peers/make_h5ad.py FOLDER      plain.h5ad (1.2 GB), gzip.h5ad
"""
import sys

import anndata
import numpy as np
from scipy.sparse import csr_matrix

CELLS, GENES, PER_CELL = 100_000, 20_000, 1500
rng = np.random.default_rng(1)
indices = np.empty((CELLS, PER_CELL), np.int32)
for i in range(CELLS):  # ascending steps of 1 to 25: as many genes of a cell, spread over all
    indices[i] = np.cumsum(rng.integers(1, 26, PER_CELL, dtype=np.int32)) % GENES
    indices[i].sort()
    while (same := np.flatnonzero(np.diff(indices[i]) == 0)).size:  # where it wrapped onto itself
        indices[i, same] = rng.integers(0, GENES, same.size)
        indices[i].sort()
values = rng.geometric(0.5, CELLS * PER_CELL).astype(np.float32)
counts = csr_matrix((values, indices.ravel(), np.arange(0, CELLS * PER_CELL + 1, PER_CELL)), shape=(CELLS, GENES))
data = anndata.AnnData(counts)
for name, compression in (("plain", None), ("gzip", "gzip")):
    data.write_h5ad(f"{sys.argv[1]}/{name}.h5ad", compression=compression)
