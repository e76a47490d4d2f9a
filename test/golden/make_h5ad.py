"""h5ad/: files written by anndata itself, and manifest.json with what a reader must find in
them."""

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from common import folder, made_up_counts, save_json, versions

VERSIONS = versions("anndata", "h5py", "pandas", "scipy")
N, G = 9, 6

CELL_TYPE = ["T αβ", "B", None, "T αβ", "NK", "NK", "B", "B", "NK"]
STAGE = [1, None, 3, 2, 2, None, -4, 7, 0]
FLAG = [True, None, False, False, True, True, None, True, False]
SCORE = [0.5, -1.25, None, 3.0, 1e-30, 2.5, 0.0, 1e30, -0.125]
DONOR = ["d1", "d1", "d2", "d2", "d2", "", "dä", "d1", "d2"]
ALL = ("cell_type", "donor", "score", "n_counts", "is_ok", "stage", "flag")
SYMBOL = ["SYM1", "SYM2", "SYM3", "SYM4", "SYM5", "SYM6"]


def made_up():
    counts, _ = made_up_counts(71, N, G)
    counts[2] = 0  # an empty cell
    counts[5, 0] = 65535
    return counts


def annotated(x, columns=("cell_type", "stage")):
    """Few columns, to keep files small."""
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(CELL_TYPE, categories=["B", "NK", "T αβ", "unused"]),
            "donor": pd.Categorical(DONOR),
            "score": np.array([np.nan if s is None else s for s in SCORE]),
            "n_counts": made_up().sum(axis=1).astype(np.int64),
            "is_ok": np.arange(N) % 3 > 0,
            "stage": pd.array(STAGE, dtype="Int64"),
            "flag": pd.array(FLAG, dtype="boolean"),
        },
        index=["AAAC%d-1" % i for i in range(N)],
    )
    var = pd.DataFrame(
        {"gene_symbol": SYMBOL, "highly_variable": np.arange(G) % 2 == 0},
        index=["ID%d" % g for g in range(G)],
    )
    return anndata.AnnData(x, obs=obs[list(columns)], var=var)


def log_normalised(counts):
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.log1p(1e4 * counts / total).astype(np.float32)


def files(counts):
    """name, what it is, the object, options of write_h5ad, where the counts are"""
    pca = (np.arange(3 * N, dtype=np.float32).reshape(N, 3) - 4) / 4
    full = annotated(sp.csr_matrix(counts), ALL)
    full.obsm["X_pca"] = pca
    yield "csr.h5ad", "CSR float32, all columns, obsm", full, {}, "X"
    yield "csr_gzip.h5ad", "CSR, gzip", annotated(sp.csr_matrix(counts)), {
        "compression": "gzip"
    }, "X"
    yield "csc_lzf.h5ad", "CSC float64, lzf", annotated(sp.csc_matrix(counts.astype(np.float64))), {
        "compression": "lzf"
    }, "X"
    yield "dense.h5ad", "dense float32", annotated(counts), {}, "X"
    yield "dense_int_gzip.h5ad", "dense int32, gzip", annotated(counts.astype(np.int32)), {
        "compression": "gzip"
    }, "X"
    layered = annotated(sp.csr_matrix(log_normalised(counts)))
    layered.layers["counts"] = sp.csr_matrix(counts.astype(np.int64))
    what = "X log-normalised, layers/counts CSR int64"
    yield "layers_counts.h5ad", what, layered, {}, "layers/counts"
    raw = annotated(counts)
    raw.raw = raw.copy()
    raw.X = log_normalised(counts)
    yield "raw.h5ad", "X log-normalised, raw/X dense counts", raw, {}, "raw/X"
    strings = annotated(sp.csr_matrix(counts), ("cell_type",))
    strings.obs["donor"] = pd.array(DONOR, dtype="string")
    yield "nullable_strings.h5ad", "obs.donor as a nullable-string-array", strings, {}, "X"


def main():
    out = folder("h5ad")
    counts = made_up()
    anndata.settings.allow_write_nullable_strings = True
    entries = []
    for name, what, adata, options, counts_from in files(counts):
        path = out / name
        adata.strings_to_categoricals = lambda *a, **k: None  # text stays text
        adata.write_h5ad(path, **options)
        with h5py.File(path) as f:  # what anndata did with X
            encoding = f["X"].attrs["encoding-type"]
        back = anndata.read_h5ad(path)
        assert back.shape == (N, G)
        entries.append(
            {
                "file": name,
                "what": what,
                "X_encoding": encoding,
                "counts_from": counts_from,
                "obs": list(back.obs.columns),
                "obsm": "X_pca" in back.obsm,
            }
        )
    reference = annotated(counts, ALL)
    save_json(
        out / "manifest.json",
        VERSIONS,
        shape=[N, G],
        obs_names=list(reference.obs_names),
        var_names=list(reference.var_names),
        counts=counts,
        obs={
            "cell_type": CELL_TYPE,
            "donor": DONOR,
            "score": SCORE,
            "n_counts": counts.sum(axis=1),
            "is_ok": np.arange(N) % 3 > 0,
            "stage": STAGE,
            "flag": FLAG,
        },
        var={"gene_symbol": SYMBOL, "highly_variable": np.arange(G) % 2 == 0},
        X_pca=(np.arange(3 * N).reshape(N, 3) - 4) / 4,
        files=entries,
    )


if __name__ == "__main__":
    main()
