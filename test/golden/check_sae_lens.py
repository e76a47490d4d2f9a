#!/usr/bin/env python3
"""Loads a dictionary that conceptome trained with SAELens, and compares what both encode.

    python test/golden/check_sae_lens.py [CONCEPTOME]          default: build/conceptome

Trains on a made-up embedding, opens the folder with SAE.load_from_disk, encodes the same cells
with both and compares selection, activations and reconstruction. Exits with 1 when they differ."""

import json
import pathlib
import subprocess
import sys
import tempfile

import anndata
import numpy as np
import torch
from sae_lens import SAE

N, DIM, K = 400, 24, 4


def embedding():
    rng = np.random.default_rng(91)
    atoms = rng.normal(size=(30, DIM))
    weight = np.where(rng.random((N, 30)) < 0.1, rng.gamma(2.0, 1.0, (N, 30)), 0)
    return (weight @ atoms + 0.1 * rng.normal(size=(N, DIM)) + 0.5).astype(np.float32)


def check(program, recipe):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        a = embedding()
        np.save(scratch / "a.npy", a)
        subprocess.run(
            [
                program,
                "train",
                scratch / "a.npy",
                "-o",
                scratch / "dict",
                "-q",
                "--k",
                str(K),
                "--concepts",
                "96",
                "--dictionary-epochs",
                "200",
                *recipe,
            ],
            check=True,
        )
        sae = SAE.load_from_disk(scratch / "dict", device="cpu")
        with torch.no_grad():
            u = sae.encode(torch.tensor(a))
            u = u.to_dense() if u.is_sparse else u
            error = float(
                ((sae.decode(u) - torch.tensor(a)) ** 2).sum() / ((a - a.mean(0)) ** 2).sum()
            )
        config = json.loads((scratch / "dict" / "cfg.json").read_text())
        subprocess.run(
            [
                program,
                "encode",
                scratch / "a.npy",
                "--dictionary",
                scratch / "dict",
                "-o",
                scratch / "u.h5ad",
                "-q",
            ],
            check=True,
        )
        ours = anndata.read_h5ad(scratch / "u.h5ad").X.toarray()
        u = u.numpy()
        same = ((ours > 0) == (u > 0)).mean()
        worst = float(np.abs(ours - u).max())
        print(
            "%s: SAELens loads a %s of %d x %d, k %d; unexplained variance %.3f; "
            "selections equal in %.6f, activations differ by %.2g at most"
            % (
                " ".join(recipe) or "default",
                type(sae).__name__,
                config["d_sae"],
                config["d_in"],
                config.get("k", config["metadata"].get("conceptome_k")),
                error,
                same,
                worst,
            )
        )
        return (
            same == 1 and worst < 1e-5 * (1 + u.max()) and error < 0.95
        )  # 1: no better than the mean


def main():
    program = str(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/conceptome").resolve())
    recipes = [
        ["--dictionary", kind] + preset
        for kind in ("topk", "batchtopk", "matryoshka")
        for preset in [[]] + [["--preset", p] for p in ("openai", "overcomplete", "sae-lens")]
    ]
    if not all([check(program, r) for r in recipes]):
        sys.exit("check_sae_lens.py: SAELens and conceptome do not agree")


if __name__ == "__main__":
    main()
