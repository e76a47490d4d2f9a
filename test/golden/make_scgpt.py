"""scgpt/: a micro scGPT with random weights: its embeddings of made-up cells by scGPT's own
code.

The real TransformerModel, binning, DataCollator and load_pretrained of the package scgpt run
unmodified on the CPU; modules that take no part in a number (plotting, torchtext, datasets) are
empty stand-ins, and the package's __init__ files, which only import these, are passed over.
`_digitize` is called with side="one": of equal bin edges the left one, instead of a random one
between."""

import copy
import importlib
import json
import logging
import sys
import types
from importlib import metadata

import numpy as np
import torch

from common import folder, made_up_counts, save_json, save_tensors, stand_ins, versions

VERSIONS = versions("scgpt", "torch")
D, HEADS, LAYERS, D_HID, N_GENES, N_CELLS = 16, 2, 2, 20, 24, 10


def scgpt_modules():
    root = metadata.distribution("scgpt").locate_file("scgpt")
    for name in ("scgpt", "scgpt.model", "scgpt.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(root / "/".join(name.split(".")[1:]))]
        package.logger = logging.getLogger("scGPT")
        sys.modules[name] = package
    with stand_ins("IPython", "torchtext", "torchtext.vocab"):
        return [
            importlib.import_module("scgpt." + m)
            for m in ("model.model", "preprocess", "data_collator", "utils.util")
        ]


def new_model(module, vocab):
    return module.TransformerModel(
        ntoken=len(vocab),
        d_model=D,
        nhead=HEADS,
        d_hid=D_HID,
        nlayers=LAYERS,
        nlayers_cls=3,
        n_cls=1,
        vocab=vocab,
        dropout=0.2,
        pad_token="<pad>",
        pad_value=-2,
        do_mvc=True,
        do_dab=False,
        use_batch_labels=False,
        domain_spec_batchnorm=False,
        explicit_zero_prob=False,
        use_fast_transformer=False,
        pre_norm=False,
    )


def random_weights(model):
    """No tensor at a start value such as 0 or 1."""
    generator = torch.Generator().manual_seed(81)
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 0.3 if p.ndim > 1 else 0.1
            p.copy_(
                torch.randn(p.shape, generator=generator) * scale
                + (1.0 if "norm" in name and "weight" in name else 0)
            )
    return model


def cells():
    counts, _ = made_up_counts(82, N_CELLS, N_GENES - 4)
    counts = np.hstack(
        [counts, np.zeros((N_CELLS, 2), np.float32)]
    )  # 22 columns: 20 known genes, 2 unknown
    counts[:, 20:] = 5
    counts[0], counts[0, 4] = 0, 3  # one expressed gene
    counts[1, :20] = 7  # all counts equal
    counts[2, :20] = np.arange(1, 21)  # all genes expressed
    counts[3, 6] = 70000
    return counts


def batch_of(collator_module, counts, gene_id, vocab):
    """What the real data set and collator make of the cells: tokens, binned values, padded."""
    rows = []
    for i, row in enumerate(counts):
        row = row[gene_id >= 0]
        at = np.flatnonzero(row)
        genes = np.insert(gene_id[gene_id >= 0][at], 0, vocab["<cls>"])
        values = np.insert(row[at], 0, -2)
        rows.append(
            {
                "id": i,
                "genes": torch.from_numpy(genes).long(),
                "expressions": torch.from_numpy(values).float(),
            }
        )
    raw = [r["expressions"].clone() for r in rows]
    collator = collator_module.DataCollator(
        do_padding=True,
        pad_token_id=vocab["<pad>"],
        pad_value=-2,
        do_mlm=False,
        do_binning=True,
        max_length=1200,
        sampling=True,
        keep_first_n_tokens=1,
    )
    out = collator(rows)
    return out["gene"], out["expr"], raw


def embed(model, token, value, vocab):
    hidden = model._encode(token, value, src_key_padding_mask=token.eq(vocab["<pad>"]))
    return hidden, hidden[:, 0, :]


def masked_batch(token, value, length, ratio=0.4):
    """Of each cell's genes a share is masked, at least one; binned values stay the targets."""
    rng = np.random.default_rng(84)
    masked = torch.zeros(token.shape, dtype=torch.bool)
    for i, n in enumerate(length.tolist()):
        at = 1 + rng.permutation(n - 1)[: max(1, int(ratio * (n - 1)))]
        masked[i, at] = True
    return masked


def training(model, token, value, masked, vocab, every_gene):
    """Mean squared errors of the real model's two heads (GEP, MVC), as in its training loop; with
    every_gene the MVC head is asked for all genes, those that a cell lacks having bin 0."""
    given = value.clone()
    given[masked] = -1
    out = model(token, given, src_key_padding_mask=token.eq(vocab["<pad>"]), MVC=True)
    gep = ((out["mlm_output"] - value)[masked] ** 2).mean()
    if not every_gene:
        return gep, ((out["mvc_output"] - value)[masked] ** 2).mean()
    n_genes = vocab["<pad>"]
    want = torch.zeros(token.shape[0], n_genes + 3, dtype=value.dtype)
    want.scatter_(1, token, value)
    genes = model.encoder(torch.arange(n_genes).expand(token.shape[0], -1))
    return gep, ((model.mvc_decoder(out["cell_emb"], genes)["pred"] - want[:, :n_genes]) ** 2).mean()


def spelled(name):
    return name.replace("in_proj_", "Wqkv.")


def train_vectors(double, token, value, length, vocab):
    """Gradients in double precision, and three steps of Adam after clipping."""
    masked = masked_batch(token, value, length)
    tensors = {"masked": masked.long()}
    value = value.double()
    start = copy.deepcopy(double.state_dict())
    for kind, every_gene in (("masked", False), ("all", True)):
        double.load_state_dict(start)
        used = {k: p for k, p in double.named_parameters() if not k.startswith("cls_decoder")}
        adam = torch.optim.Adam(used.values(), lr=1e-3, eps=1e-8)
        losses, norms = [], []
        for step in range(3):
            adam.zero_grad()
            gep, mvc = training(double, token, value, masked, vocab, every_gene)
            (gep + 0.5 * mvc).backward()
            if step == 0:
                for k, p in used.items():
                    tensors[kind + ".grad." + spelled(k)] = p.grad.float().clone()
            norms.append(float(torch.nn.utils.clip_grad_norm_(used.values(), 1.0)))
            losses.append([gep.item(), mvc.item()])
            adam.step()
        for k, p in used.items():
            tensors[kind + ".after3." + spelled(k)] = p.detach().float().clone()
        tensors[kind + ".losses"] = np.array(losses)
        tensors[kind + ".norms"] = np.array(norms)
    double.load_state_dict(start)
    return tensors


def main():
    model_module, preprocess, collator_module, util_module = scgpt_modules()
    original = preprocess._digitize
    preprocess._digitize = lambda x, bins, side="one": original(x, bins, side="one")
    out = folder("scgpt")
    place = folder("scgpt/micro")
    names = ["GENE%d" % i for i in range(20)]
    vocab = {n: i for i, n in enumerate(names + ["<pad>", "<cls>", "<eoc>"])}
    args = {
        "pad_token": "<pad>",
        "input_style": "binned",
        "input_emb_style": "continuous",
        "n_bins": 51,
        "max_seq_len": 1200,
        "fast_transformer": True,
        "nlayers": LAYERS,
        "nheads": HEADS,
        "embsize": D,
        "d_hid": D_HID,
        "dropout": 0.2,
        "n_layers_cls": 3,
        "mask_value": -1,
        "pad_value": -2,
    }
    (place / "vocab.json").write_text(json.dumps(vocab, indent=1) + "\n")
    (place / "args.json").write_text(json.dumps(args, indent=1) + "\n")
    # released checkpoints spell the attention weights as flash-attention does
    state = random_weights(new_model(model_module, vocab)).state_dict()
    torch.save(
        {k.replace("in_proj_", "Wqkv."): v for k, v in state.items()}, place / "best_model.pt"
    )

    model = new_model(model_module, vocab)
    util_module.load_pretrained(
        model, torch.load(place / "best_model.pt", map_location="cpu"), verbose=False
    )
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    model.eval()
    double = copy.deepcopy(model).double()
    torch.backends.mha.set_fastpath_enabled(False)  # the plain path, as with gradients

    columns = names[::-1] + ["UNKNOWN1", "UNKNOWN2"]
    gene_id = np.array([vocab.get(n, -1) for n in columns])
    counts = cells()
    token, value, raw = batch_of(collator_module, counts, gene_id, vocab)
    length = torch.tensor([len(r) for r in raw])
    raw_value = torch.full(value.shape, -2.0)
    for i, r in enumerate(raw):
        raw_value[i, : len(r)] = r
    tensors = {
        "counts": counts,
        "gene_token_id": gene_id,
        "length": length,
        "token": token,
        "raw_value": raw_value,
        "bin_left": value.float(),
    }
    w = torch.randn(D, generator=torch.Generator().manual_seed(83))
    tensors["functional"] = w
    for end, m, dtype in (("", model, torch.float32), ("_f64", double, torch.float64)):
        with torch.no_grad():
            hidden, cls = embed(m, token, value.to(dtype), vocab)
        tensors["cls_raw" + end], tensors["cls_l2" + end] = cls, cls / cls.norm(dim=1, keepdim=True)
        for cell in (3, 5):
            tensors["cell%d.final%s" % (cell, end)] = hidden[cell, : length[cell]]
        for name, unit in (("grad_raw", False), ("grad_l2", True)):
            v = value.to(dtype).clone().requires_grad_(True)
            _, cls = embed(m, token, v, vocab)
            ((cls / cls.norm(dim=1, keepdim=True) if unit else cls) @ w.to(dtype)).sum().backward()
            tensors[name + end] = v.grad
    save_tensors(
        out / "micro_train.safetensors", train_vectors(double, token, value, length, vocab), VERSIONS
    )
    noise = {
        k: (tensors[k].double() - tensors[k + "_f64"]).abs().max().item()
        for k in tensors
        if k + "_f64" in tensors
    }
    save_tensors(out / "micro.safetensors", tensors, VERSIONS)
    save_json(
        out / "micro.json",
        VERSIONS,
        column_names=columns,
        pad_id=vocab["<pad>"],
        cls_id=vocab["<cls>"],
        pad_value=-2,
        n_bins=51,
        f32_vs_f64_maxdiff=noise,
    )


if __name__ == "__main__":
    main()
