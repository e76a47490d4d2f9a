"""sae/: dictionary_learning's TopKTrainer, five steps on made-up data; a TopKSAE folder as
SAELens writes it.

d = 24, F = 96, k = 6, 12 auxiliary latents, batches of 64: the shapes of the larger reference
set. 20 latents are dead from the start: 14 (even numbers 0-26) with small encoder rows, so that
they are positive but never among the top 6; 6 (odd 1-11) with bias -5. Their counters start
above the threshold of 200 samples."""

import copy
import json
import shutil

import numpy as np
import torch

from common import folder, save_json, save_tensors, stand_ins, versions

with stand_ins("nnsight", "zstandard", "circuitsvis", "circuitsvis.activations"):
    from dictionary_learning.trainers.top_k import TopKTrainer, geometric_median
    from dictionary_learning.trainers.trainer import remove_gradient_parallel_to_decoder_directions

DIM, F, K, BATCH, STEPS, K_AUX, DEAD_AFTER = 24, 96, 6, 64, 5, 12, 200
VERSIONS = versions("dictionary-learning", "torch", "sae-lens", "safetensors")


def data():
    """Sparse sums of 40 hidden directions, an offset and noise: [STEPS][BATCH][DIM]."""
    rng = np.random.default_rng(31)
    atoms = rng.normal(size=(40, DIM))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    weight = np.where(
        rng.random((STEPS, BATCH, 40)) < 0.1, rng.gamma(2.0, 1.2, (STEPS, BATCH, 40)), 0
    )
    x = weight @ atoms + rng.normal(size=DIM) + 0.2 * rng.normal(size=(STEPS, BATCH, DIM))
    return x.astype(np.float32)


def new_trainer(dtype):
    trainer = TopKTrainer(
        steps=20,
        activation_dim=DIM,
        dict_size=F,
        k=K,
        layer=0,
        lm_name="none",
        lr=1e-3,
        warmup_steps=0,
        threshold_start_step=1,
        seed=7,
        device="cpu",
    )
    trainer.dead_feature_threshold, trainer.top_k_aux = DEAD_AFTER, K_AUX
    ae = trainer.ae
    with torch.no_grad():
        ae.encoder.weight[0:28:2] *= 0.15
        ae.encoder.bias += torch.linspace(-0.05, 0.05, F)
        ae.encoder.bias[1:13:2] = -5
    trainer.num_tokens_since_fired[0:28:2] = 300
    trainer.num_tokens_since_fired[1:13:2] = 300
    if dtype == torch.float64:
        ae.double()
    return trainer


def state(trainer, prefix):
    tensors = {
        k: v.clone() for k, v in trainer.ae.state_dict().items() if k not in ("k", "threshold")
    }
    tensors["num_tokens_since_fired"] = trainer.num_tokens_since_fired.clone()
    return {prefix + k: v for k, v in tensors.items()}


def look_ahead(trainer, step, x):
    """What the coming update() will compute, on a copy: gradients, selection, parts of the loss."""
    trainer.pre_norm_auxk_loss = -1  # keeps its graph, which cannot be copied
    t = copy.deepcopy(trainer)
    out = {}
    if step == 0:
        median = geometric_median(x).to(t.ae.b_dec.dtype)
        t.ae.b_dec.data = median
        out["geometric_median"] = median
    _, value, index, activations = t.ae.encode(x, return_topk=True)
    ordered = activations.sort(dim=1, descending=True).values
    out["gap"] = (ordered[:, K - 1] - ordered[:, K]).min().item()
    order = value.argsort(dim=1, descending=True, stable=True)
    out["topk_value"], out["topk_index"] = value.gather(1, order), index.gather(1, order)
    log = t.loss(x, step=step, logging=True)
    out["x_hat"] = log.x_hat
    aux = log.losses["auxk_loss"]
    raw_aux, dead = t.pre_norm_auxk_loss.item(), t.dead_features
    t2 = copy.deepcopy(trainer)
    t2.ae.load_state_dict(t.ae.state_dict())
    loss = t2.loss(x, step=step)
    loss.backward()
    grads = {k: p.grad.clone() for k, p in t2.ae.named_parameters()}
    projected = remove_gradient_parallel_to_decoder_directions(
        t2.ae.decoder.weight, t2.ae.decoder.weight.grad, DIM, F
    )
    out.update({"grad." + k: g for k, g in grads.items()})
    out["grad_projected.decoder.weight"] = projected
    norm = torch.sqrt(
        sum((g.double() ** 2).sum() for k, g in grads.items() if k != "decoder.weight")
        + (projected.double() ** 2).sum()
    ).item()
    out["log"] = [loss.item(), log.losses["l2_loss"], aux, raw_aux, float(dead), norm]
    return out


def train(batches, dtype):
    trainer = new_trainer(dtype)
    tensors, log, gap = state(trainer, "init."), [], np.inf
    for step in range(STEPS):
        x = torch.tensor(batches[step], dtype=dtype)
        ahead = look_ahead(trainer, step, x)
        gap = min(gap, ahead.pop("gap"))
        log.append(ahead.pop("log"))
        if step == 0:
            tensors.update({"step0." + k: v for k, v in ahead.items()})
        assert abs(trainer.update(step, x) - log[-1][0]) < 1e-5 * log[-1][0]
        if step in (0, STEPS - 1):
            tensors.update(state(trainer, "after%d." % (step + 1)))
    return tensors, log, gap


def make_steps(out, x):
    info = {
        "columns_of_log": [
            "loss",
            "l2_loss",
            "auxk_loss_normalised",
            "auxk_loss_before_normalisation",
            "dead_latents",
            "gradient_norm_after_projection_before_clip",
        ]
    }
    for name, scale in (("topk", 1.0), ("topk_small", 0.1)):
        batches = x * np.float32(scale)
        single, log, gap = train(batches, torch.float32)
        double, log64, _ = train(batches, torch.float64)
        info[name] = {
            "data_scale": scale,
            "smallest_gap_of_the_selection": gap,
            "log": log,
            "f32_vs_f64_maxdiff": {
                stage: max(
                    (single[k].double() - double[k]).abs().max().item()
                    for k in single
                    if k.startswith(stage) and single[k].is_floating_point()
                )
                for stage in ("step0.grad", "after1", "after5")
            },
        }
        single["log"], single["log_f64"] = np.array(log), np.array(log64)
        if scale != 1:  # the same start; below the clip
            single = {
                k: v
                for k, v in single.items()
                if not k.startswith(("init", "step0.topk", "step0.x"))
            }
        save_tensors(out / (name + ".safetensors"), single, VERSIONS)
    return info


def make_sae_lens(out, x):
    """Folders written by SAE.save_model, and what the same object encodes and decodes."""
    from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

    rng = np.random.default_rng(32)
    cases = {
        "sae_lens": {},
        "sae_lens_rescaled": {"rescale_acts_by_decoder_norm": True},
        "sae_lens_no_input_bias": {"apply_b_dec_to_input": False},
    }
    small = x.reshape(-1, DIM)[:24, :10].copy()
    results = {"x": small}
    for name, settings in cases.items():
        sae = TopKSAE(
            TopKSAEConfig(d_in=10, d_sae=40, k=4, dtype="float32", device="cpu", **settings)
        )
        with torch.no_grad():
            for p in (sae.W_enc, sae.W_dec, sae.b_enc, sae.b_dec):
                p.copy_(torch.tensor(rng.normal(size=p.shape) * (0.1 if p.ndim == 1 else 0.5)))
            shutil.rmtree(out / name, ignore_errors=True)
            sae.save_model(out / name)
            double = copy.deepcopy(sae).double()
            for end, model, dtype in (("", sae, torch.float32), ("_f64", double, torch.float64)):
                u = model.encode(torch.tensor(small, dtype=dtype))
                u = u.to_dense() if u.is_sparse else u
                results[name + ".activations" + end] = u
                results[name + ".reconstruction" + end] = model.decode(u)
        config = json.loads((out / name / "cfg.json").read_text())
        (out / name / "cfg.json").write_text(json.dumps(config, indent=1) + "\n")
    save_tensors(out / "sae_lens.safetensors", results, VERSIONS)


def main():
    out = folder("sae")
    x = data()
    save_tensors(out / "data.safetensors", {"x": x}, VERSIONS)
    info = make_steps(out, x)
    make_sae_lens(out, x)
    save_json(
        out / "info.json",
        VERSIONS,
        d=DIM,
        F=F,
        k=K,
        batch=BATCH,
        steps=STEPS,
        k_aux=K_AUX,
        dead_after=DEAD_AFTER,
        **info
    )


if __name__ == "__main__":
    main()
