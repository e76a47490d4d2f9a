#!/usr/bin/env python3
"""Loads a model that conceptome trained with the real scGPT code, and compares embeddings.

    conceptome fit CELLS.h5ad --model scgpt -o MODEL
    conceptome embed CELLS.h5ad --model MODEL -o EMBEDDED.h5ad
    python test/golden/check_scgpt_save.py CELLS.h5ad MODEL EMBEDDED.h5ad

Checked: scGPT's load_pretrained finds every tensor that its model wants but those of the unused
classifier (it loads without strictness and says nothing of others); and its embeddings of the first
cells, binned with ties to the left as `embed` does, are ours."""
import json
import pathlib
import sys

import anndata
import numpy as np
import torch

from make_scgpt import scgpt_modules

N_CELLS, LONGEST = 64, 1200


def main(cells, folder, embedded):
    model_module, preprocess, _, util_module = scgpt_modules()
    folder = pathlib.Path(folder)
    vocab = json.loads((folder / "vocab.json").read_text())
    args = json.loads((folder / "args.json").read_text())
    model = model_module.TransformerModel(
        ntoken=len(vocab),
        d_model=args["embsize"],
        nhead=args["nheads"],
        d_hid=args["d_hid"],
        nlayers=args["nlayers"],
        nlayers_cls=args["n_layers_cls"],
        n_cls=1,
        vocab=vocab,
        dropout=args["dropout"],
        pad_token=args["pad_token"],
        pad_value=args["pad_value"],
        do_mvc=True,
        do_dab=False,
        use_batch_labels=False,
        domain_spec_batchnorm=False,
        explicit_zero_prob=False,
        use_fast_transformer=False,
        pre_norm=False,
    )
    state = torch.load(folder / "best_model.pt", map_location="cpu", weights_only=True)
    util_module.load_pretrained(model, state, verbose=False)
    plain = {k.replace("Wqkv.", "in_proj_"): v for k, v in state.items()}
    own = model.state_dict()
    missing = [k for k in own if k not in plain and not k.startswith("cls_decoder.")]
    assert not missing, f"not in the file: {missing}"
    assert set(plain) <= set(own), f"unknown to scGPT: {set(plain) - set(own)}"
    assert all(torch.equal(own[k], v) for k, v in plain.items()), "a tensor was not taken over"

    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    adata = anndata.read_h5ad(cells)
    ours = anndata.read_h5ad(embedded).obsm["X_embedding"]
    counts = adata.X.tocsr()
    names = adata.var["gene_symbol"] if "gene_symbol" in adata.var else adata.var_names
    ids = np.array([vocab.get(str(g), -1) for g in names])
    found = int((ids >= 0).sum())
    assert found == len(vocab) - 3, f"{found} genes: take cells with current symbols in gene_symbol"
    worst = 0.0
    for i in range(min(N_CELLS, adata.n_obs)):
        row = counts[i].toarray()[0].astype(np.float32)
        at = np.flatnonzero((row != 0) & (ids >= 0))
        at = at[np.argsort(ids[at])]
        if len(at) >= LONGEST or len(at) == 0:
            continue
        left = preprocess._digitize(
            row[at], np.quantile(row[at], np.linspace(0, 1, args["n_bins"] - 1)), side="one"
        )
        token = torch.tensor(np.r_[vocab["<cls>"], ids[at]])[None]
        value = torch.tensor(np.r_[args["pad_value"], left].astype(np.float32))[None]
        with torch.no_grad():
            hidden = model._encode(token, value, torch.zeros(token.shape, dtype=torch.bool))
        cls = hidden[0, 0].numpy()
        worst = max(worst, float(np.abs(cls / np.linalg.norm(cls) - ours[i]).max()))
    print(f"{len(plain)} tensors, {found} genes; embeddings within {worst:.1e}")
    assert worst <= 2e-6


main(*sys.argv[1:])
