"""scvi/: scvi-tools' own SCVI on 64 made-up cells x 40 genes: model files, forward pass, three
training steps.

The format is that of the larger reference set: float32 results, and under *_f64 the same code
in double. The standard normal draws of the reparameterisation are replaced by the stored `eps`,
dropout is off."""

import copy
import itertools
import pathlib
import shutil
import tempfile
import uuid

import anndata
import numpy as np
import pandas as pd
import scvi
import torch
from torch.distributions import Normal

from common import folder, made_up_counts, save_json, save_tensors, versions

N_CELLS, N_GENES, BATCH, STEPS, KL = 64, 40, 32, 3, 0.25
VERSIONS = versions("scvi-tools", "torch", "anndata", "pandas")


def tensors_of(counts, batch, dtype):
    n = len(counts)
    return {
        "X": torch.tensor(counts, dtype=dtype),
        "batch": torch.tensor(batch).reshape(n, 1),
        "labels": torch.zeros(n, 1, dtype=torch.int64),
    }


class FixedDraws:
    """While active, Normal.rsample returns loc + scale * eps with the given eps."""

    def __init__(self, eps):
        self.eps = eps

    def __enter__(self):
        self.old = Normal.rsample
        Normal.rsample = (
            lambda normal, sample_shape=torch.Size(): normal.loc + normal.scale * self.eps
        )

    def __exit__(self, *_):
        Normal.rsample = self.old


def run(module, counts, batch, eps, kl_weight, dtype):
    """Inference, generative and loss of the real module."""
    tensors = tensors_of(counts, batch, dtype)
    with FixedDraws(torch.tensor(eps, dtype=dtype)):
        return module(tensors, loss_kwargs={"kl_weight": kl_weight})


def without_dropout(module):
    for m in module.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
    return module


def train_steps(model, counts, batch, minibatch, eps, dtype, out=None):
    """STEPS steps with the plan's own optimiser; fills `out` with the tensors of every stage."""
    module = without_dropout(copy.deepcopy(model.module)).to(dtype).train()
    plan = scvi.train.TrainingPlan(module)
    settings = plan.configure_optimizers()
    optimiser = settings["optimizer"] if isinstance(settings, dict) else settings
    start = {k: v.clone() for k, v in module.state_dict().items()}
    losses = []
    for step in range(STEPS):
        rows = minibatch[step]
        inference, _, loss = run(module, counts[rows], batch[rows], eps[step], KL, dtype)
        reconstruction = loss.reconstruction_loss["reconstruction_loss"]
        kl = loss.kl_local["kl_divergence_z"]
        losses.append([loss.loss.item(), reconstruction.mean().item(), kl.mean().item()])
        optimiser.zero_grad()
        loss.loss.backward()
        if step == 0 and out is not None:
            out.update(
                {
                    "step0.z": inference["z"],
                    "step0.q_m": inference["qz"].loc,
                    "step0.q_v": inference["qz"].scale ** 2,
                    "step0.reconstruction_loss": reconstruction,
                    "step0.kl_z": kl,
                }
            )
            out.update(
                {
                    "grad." + k: p.grad.clone()
                    for k, p in module.named_parameters()
                    if p.grad is not None
                }
            )
        optimiser.step()
        if step in (0, STEPS - 1) and out is not None:
            out.update(
                {
                    "after%d.%s" % (step + 1, k): v.clone()
                    for k, v in module.state_dict().items()
                    if not torch.equal(v, start[k])
                }
            )
    group = optimiser.param_groups[0]
    return losses, {k: group[k] for k in ("lr", "betas", "eps", "weight_decay", "amsgrad")}


def forward(model, counts, batch, rng):
    """Encoder, decoder, likelihood and loss in eval mode; an attribution gradient; swaps."""
    module = copy.deepcopy(model.module).eval()
    double = copy.deepcopy(model.module).double().eval()
    n_latent, out = module.n_latent, {}
    out["batch_index"] = batch.astype(np.int64)
    eps = rng.normal(size=(N_CELLS, n_latent)).astype(np.float32)
    with torch.no_grad():
        for dtype, m, end in ((torch.float32, module, ""), (torch.float64, double, "_f64")):
            inference, _, _ = run(m, counts, batch, eps, 1.0, dtype)
            out["q_m" + end], out["q_v" + end] = inference["qz"].loc, inference["qz"].scale ** 2
            if not end:
                z = inference["z"]
                out["z_fixed"], out["library"] = z, inference["library"].reshape(-1).exp()
            # the same latent values for both
            draws = (z.to(dtype) - inference["qz"].loc) / inference["qz"].scale
            _, generative, loss = run(m, counts, batch, draws.numpy(), 1.0, dtype)
            _, _, quarter = run(m, counts, batch, draws.numpy(), KL, dtype)
            if not end:
                px = generative["px"]
                out["px_scale_8"], out["px_mu_8"] = px.scale[:8], px.mu[:8]
                theta = px.theta
                out["px_theta"] = theta.reshape(-1)[:N_GENES] if theta.ndim == 1 else theta[0]
                if hasattr(px, "zi_logits"):
                    out["px_zi_logits_8"] = px.zi_logits[:8]
                out["px_mean_8"] = px.mean[:8]
                out["log_prob_8"] = px.log_prob(torch.tensor(counts))[:8]
            out["reconstruction_loss" + end] = loss.reconstruction_loss["reconstruction_loss"]
            out["kl_z" + end] = loss.kl_local["kl_divergence_z"]
            out["loss_kl1" + end] = loss.loss.reshape(1)
            out["loss_kl025" + end] = quarter.loss.reshape(1)
    noise = {"q_m": (out["q_m"] - out["q_m_f64"]).abs().max().item()}
    w = rng.normal(size=n_latent).astype(np.float32)
    out["functional"] = w
    x = tensors_of(counts[:8], batch[:8], torch.float32)
    x["X"].requires_grad_(True)
    qz = module.inference(**module._get_inference_input(x))["qz"]
    (qz.loc @ torch.tensor(w)).sum().backward()
    out["attr_grad_8"] = x["X"].grad
    swaps, after = [], []
    for i in range(16):
        cell, gene = int(rng.integers(N_CELLS)), int(rng.integers(N_GENES))
        new, changed = float([0, 1, 5, 60][i % 4]), counts.copy()
        changed[cell, gene] = new
        swaps.append([cell, gene, new, counts[cell, gene]])
        with torch.no_grad():
            row = tensors_of(changed[cell : cell + 1], batch[cell : cell + 1], torch.float32)
            after.append(module.inference(**module._get_inference_input(row))["qz"].loc[0].numpy())
    out["swap"], out["swap_q_m"] = np.array(swaps), np.array(after)
    return out, noise


def make_model(name, counts, obs, var, **settings):
    scvi.settings.seed = 20
    adata = anndata.AnnData(counts, obs=obs, var=var)
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch" if name == "zinb2" else None)
    model = scvi.model.SCVI(adata, **settings)
    # a few steps with the module's own loss, so that no used tensor is at its start value
    batch = np.asarray(adata.obs["_scvi_batch"], dtype=np.int64)
    module = without_dropout(model.module).train()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2, eps=0.01)
    first = None
    for step in range(60):
        rng = np.random.default_rng([21, step])
        rows = rng.permutation(N_CELLS)[:BATCH]
        eps = rng.normal(size=(BATCH, settings["n_latent"])).astype(np.float32)
        _, _, loss = run(module, counts[rows], batch[rows], eps, KL, torch.float32)
        first = first or loss.loss.item()
        optimiser.zero_grad()
        loss.loss.backward()
        optimiser.step()
    for m in module.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.1
    model.is_trained_ = True
    module.eval()
    return model, batch, [first, loss.loss.item()]


def fixed_names():
    """scvi-tools names managers and models by random UUID; count instead, for equal bytes."""
    count = itertools.count(1)
    for module in (scvi.data._manager, scvi.data._utils, scvi.model.base._base_model):
        module.uuid4 = lambda: uuid.UUID(int=next(count))


def save_model(model, path):
    """SCVI.save, without the cells and the time of the run."""
    for name, value in vars(model).items():
        if isinstance(value, str) and value.startswith("run_"):
            setattr(model, name, "run")
    with tempfile.TemporaryDirectory() as scratch:
        model.save(str(pathlib.Path(scratch) / "model"), overwrite=True, save_anndata=False)
        shutil.copyfile(pathlib.Path(scratch) / "model" / "model.pt", path)


def main():
    fixed_names()
    out = folder("scvi")
    counts, kind = made_up_counts(1, N_CELLS, N_GENES)
    genes = ["GENE%d" % i for i in range(N_GENES)]
    donors = np.where(
        (np.arange(N_CELLS) // 3) % 2 == 0, "donor_b", "donor_a"
    )  # the first cell is donor_b
    obs = pd.DataFrame(
        {"batch": pd.Categorical(donors)}, index=["cell%d" % i for i in range(N_CELLS)]
    )
    var = pd.DataFrame(index=genes)
    save_tensors(
        out / "cells.safetensors", {"counts": counts, "kind": kind.astype(np.int64)}, VERSIONS
    )
    info = {"genes": genes, "batch_categories": ["donor_a", "donor_b"], "kl_weight_training": KL}
    for name, settings in (
        ("nb1", dict(n_hidden=10, n_latent=5, n_layers=1, dropout_rate=0.1, gene_likelihood="nb")),
        (
            "zinb2",
            dict(n_hidden=9, n_latent=6, n_layers=2, dropout_rate=0.1, gene_likelihood="zinb"),
        ),
    ):
        model, batch, losses = make_model(name, counts, obs, var, **settings)
        place = folder("scvi/" + name)
        save_model(model, place / "model.pt")
        save_tensors(place / "state_dict.safetensors", model.module.state_dict(), VERSIONS)
        rng = np.random.default_rng(22)
        tensors, noise = forward(model, counts, batch, rng)
        save_tensors(place / "forward.safetensors", tensors, VERSIONS)
        minibatch = np.array([rng.permutation(N_CELLS)[:BATCH] for _ in range(STEPS)])
        eps = rng.normal(size=(STEPS, BATCH, settings["n_latent"])).astype(np.float32)
        steps = {"minibatch": minibatch, "eps": eps}
        single, double = {}, {}
        losses32, optimiser = train_steps(
            model, counts, batch, minibatch, eps, torch.float32, single
        )
        losses64, _ = train_steps(model, counts, batch, minibatch, eps, torch.float64, double)
        for k in single:
            if single[k].is_floating_point():
                stage = k.split(".")[0]
                noise[stage] = max(
                    noise.get(stage, 0), (single[k].double() - double[k]).abs().max().item()
                )
        steps.update({k: v for k, v in single.items() if k.startswith("step0")})
        steps["losses"], steps["losses_f64"] = np.array(losses32), np.array(losses64)
        steps.update({k: v for k, v in single.items() if not k.startswith("step0")})
        save_tensors(place / "train.safetensors", steps, VERSIONS)
        info[name] = {
            **settings,
            "optimizer": optimiser,
            "loss_before_and_after_60_steps": losses,
            "f32_vs_f64_maxdiff": noise,
        }
    save_json(out / "info.json", VERSIONS, **info)


if __name__ == "__main__":
    main()
