"""genes/: scanpy's choice of variable genes by analytic Pearson residuals, on made-up counts."""

import warnings

import anndata
import numpy as np
import scanpy as sc

from common import folder, made_up_counts, save_json, save_tensors, versions

VERSIONS = versions("scanpy", "anndata", "scipy")


def main():
    out = folder("genes")
    counts, _ = made_up_counts(61, 90, 70)
    counts[:, 7] = 0  # a gene without counts
    counts[:, 8] = counts[:, 8] > 3  # a rare one
    cases = []
    for theta, clip, n_top in (
        (100.0, None, 20),
        (10.0, None, 20),
        (100.0, 2.5, 15),
        (np.inf, None, 30),
    ):
        adata = anndata.AnnData(counts.copy())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sc.experimental.pp.highly_variable_genes(
                adata, flavor="pearson_residuals", theta=theta, clip=clip, n_top_genes=n_top
            )
        cases.append(
            {
                "theta": theta,
                "clip": clip or 0,
                "n_top": n_top,
                "chosen": np.flatnonzero(adata.var["highly_variable"]),
                "residual_variance": np.nan_to_num(adata.var["residual_variances"].to_numpy()),
            }
        )
    save_tensors(out / "counts.safetensors", {"counts": counts}, VERSIONS)
    save_json(out / "pearson_residuals.json", VERSIONS, cases=cases)


if __name__ == "__main__":
    main()
