#!/usr/bin/env python3
"""Loads models that conceptome saved with the real scvi-tools, and compares.

    mkdir CASES && CPT_SCVI_CASES=CASES build/test/test_scvi_files
    python test/golden/check_scvi_save.py CASES SHARED/golden/scvi

The C test opens the two golden models (written by scvi-tools) and saves them again. Checked here: a strict
SCVI.load of each; the latent values against the golden ones; the likelihood against the original
model's; that training can go on; and a model without unused leftovers (same tensors as the original).
"""
import sys
import warnings

import anndata
import numpy as np
import scvi
import torch
from safetensors.numpy import load_file

warnings.filterwarnings("ignore")


def check(case, golden, name):
    adata = anndata.read_h5ad(f"{golden}/cells.h5ad")
    want = load_file(f"{golden}/{name}/forward.safetensors")
    saved = torch.load(f"{case}/{name}/model.pt", weights_only=False)["model_state_dict"]
    original = torch.load(f"{golden}/{name}/model.pt", weights_only=False)["model_state_dict"]
    original.pop("pyro_param_store", None)
    assert {k: v.shape for k, v in saved.items()} == {k: v.shape for k, v in original.items()}

    model = scvi.model.SCVI.load(f"{case}/{name}", adata)
    worst = float(np.abs(model.get_latent_representation() - want["q_m_f64"]).max())
    assert worst < 5e-6, f"{name}: latent differs by {worst}"
    reference = scvi.model.SCVI.load(f"{golden}/{name}", adata.copy())
    scvi.settings.seed = 0
    a = float(model.get_reconstruction_error()["reconstruction_loss"])
    scvi.settings.seed = 0
    b = float(reference.get_reconstruction_error()["reconstruction_loss"])
    assert abs(a / b - 1) < 1e-5, f"{name}: reconstruction {a} and {b}"
    assert model.module.gene_likelihood == reference.module.gene_likelihood
    model.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False)
    print(f"{name}: loads, latent within {worst:.1e}, reconstruction {a:.3f} = {b:.3f}, trains on")


for which in ("nb1", "zinb2"):
    check(sys.argv[1], sys.argv[2], which)
