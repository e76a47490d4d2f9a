"""Labels of the 10 nearest neighbours from embeddings: how much of the cell types an embedding keeps.

    python bench/peers/scgpt_knn.py CELLS.h5ad LABEL EMBEDDED.h5ad ...

EMBEDDED is what `conceptome embed CELLS.h5ad --model MODEL -o EMBEDDED.h5ad` wrote. Cosine, each cell left out of its
own neighbours, majority vote (ties: the label that is nearest first). One line per file: accuracy, sd over 5 random
fifths of the cells.
"""
import sys

import anndata
import numpy as np

labels = anndata.read_h5ad(sys.argv[1], backed="r").obs[sys.argv[2]].astype("category").cat.codes.to_numpy()
K = 10


def accuracy(x):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    right = np.zeros(len(x), bool)
    for first in range(0, len(x), 1000):
        rows = np.arange(first, min(first + 1000, len(x)))
        similar = x[rows] @ x.T
        similar[np.arange(len(rows)), rows] = -np.inf
        near = np.argpartition(-similar, K, axis=1)[:, :K]
        order = np.take_along_axis(-similar, near, 1).argsort(1)
        for i, row in zip(rows, labels[np.take_along_axis(near, order, 1)]):
            votes = np.bincount(row)
            right[i] = next(label for label in row if votes[label] == votes.max()) == labels[i]
    return right


for path in sys.argv[3:]:
    x = np.asarray(anndata.read_h5ad(path).obsm["X_embedding"], np.float32)
    right = accuracy(x)
    fifths = np.array_split(np.random.default_rng(0).permutation(len(x)), 5)
    print(f"{path}\t{right.mean():.4f}\t{np.std([right[f].mean() for f in fifths], ddof=1):.4f}", flush=True)
