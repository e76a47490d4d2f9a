"""sae/: dictionary_learning's TopKTrainer, BatchTopKTrainer and MatryoshkaBatchTopKTrainer, five
steps each on made-up data; folders as SAELens writes them.

d = 24, F = 96, k = 6, 12 auxiliary latents, batches of 64: the shapes of the larger reference
set. 20 latents are dead from the start: 14 (even numbers 0-26) with small encoder rows, so that
they are positive but never among the top 6; 6 (odd 1-11) with bias -5. Their counters start
above the threshold of 200 samples. Matryoshka: groups of 12, 12, 24 and 48 latents; there the 20
are moved up by 40, so that all groups are alive."""

import copy
import json
import shutil

import numpy as np
import torch

from common import folder, save_json, save_tensors, stand_ins, versions

with stand_ins("nnsight", "zstandard", "circuitsvis", "circuitsvis.activations"):
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
    from dictionary_learning.trainers.top_k import TopKTrainer, geometric_median
    from dictionary_learning.trainers.trainer import remove_gradient_parallel_to_decoder_directions

DIM, F, K, BATCH, STEPS, K_AUX, DEAD_AFTER = 24, 96, 6, 64, 5, 12, 200
GROUPS = [1 / 8, 1 / 8, 1 / 4, 1 / 2]
KINDS = {"topk": TopKTrainer, "batchtopk": BatchTopKTrainer, "matryoshka": MatryoshkaBatchTopKTrainer}
OURS = {"W_enc": "encoder.weight", "b_enc": "encoder.bias", "W_dec": "decoder.weight"}
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


def new_trainer(kind, dtype):
    more = {"group_fractions": GROUPS} if kind == "matryoshka" else {}
    trainer = KINDS[kind](
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
        **more
    )
    trainer.dead_feature_threshold, trainer.top_k_aux = DEAD_AFTER, K_AUX
    ae = trainer.ae
    first = 40 if kind == "matryoshka" else 0
    weak, off = slice(first, first + 28, 2), slice(first + 1, first + 13, 2)
    with torch.no_grad():
        rows = ae.W_enc.T if kind == "matryoshka" else ae.encoder.weight
        bias = ae.b_enc if kind == "matryoshka" else ae.encoder.bias
        rows[weak] *= 0.15
        bias += torch.linspace(-0.05, 0.05, F)
        bias[off] = -5
    trainer.num_tokens_since_fired[weak] = 300
    trainer.num_tokens_since_fired[off] = 300
    if dtype == torch.float64:
        ae.double()
    return trainer


def by_latent(name, value):
    """Matryoshka has plain matrices where the others have linear layers: their names and shapes."""
    return OURS.get(name, name), value.T if name in ("W_enc", "W_dec") else value


def state(trainer, prefix):
    """threshold: -1 until its second step; Top-K has one too, which nothing uses."""
    left_out = ("k", "group_sizes", "threshold")
    tensors = dict(
        by_latent(k, v.clone()) for k, v in trainer.ae.state_dict().items() if k not in left_out
    )
    tensors["num_tokens_since_fired"] = trainer.num_tokens_since_fired.clone()
    return {prefix + k: v for k, v in tensors.items()}


def selection(kind, ae, x, out):
    """What the encoder keeps, and the distance between the last kept and the first left out."""
    if kind == "topk":
        _, value, index, activations = ae.encode(x, return_topk=True)
        ordered = activations.sort(dim=1, descending=True).values
        order = value.argsort(dim=1, descending=True, stable=True)
        out["topk_value"], out["topk_index"] = value.gather(1, order), index.gather(1, order)
        return (ordered[:, K - 1] - ordered[:, K]).min().item()
    kept, _, activations = ae.encode(x, return_active=True, use_threshold=False)
    ordered = activations.flatten().sort(descending=True).values
    out["kept"] = kept.flatten().nonzero().flatten()  # sample * F + latent
    return (ordered[K * BATCH - 1] - ordered[K * BATCH]).item()


def look_ahead(kind, trainer, step, x):
    """What the coming update() will compute, on a copy: gradients, selection, parts of the loss."""
    trainer.pre_norm_auxk_loss = -1  # keeps its graph, which cannot be copied
    t = copy.deepcopy(trainer)
    out = {}
    if step == 0:
        median = geometric_median(x).to(t.ae.b_dec.dtype)
        t.ae.b_dec.data = median
        out["geometric_median"] = median
    out["gap"] = selection(kind, t.ae, x, out)
    log = t.loss(x, step=step, logging=True)
    out["x_hat"] = log.x_hat
    aux = log.losses["auxk_loss"]
    raw_aux, dead = t.pre_norm_auxk_loss.item(), t.dead_features
    t2 = copy.deepcopy(trainer)
    t2.ae.load_state_dict(t.ae.state_dict())
    loss = t2.loss(x, step=step)
    loss.backward()
    grads = dict(by_latent(k, p.grad.clone()) for k, p in t2.ae.named_parameters())
    weights = dict(by_latent(k, p) for k, p in t2.ae.named_parameters())
    projected = remove_gradient_parallel_to_decoder_directions(
        weights["decoder.weight"], grads["decoder.weight"].clone(), DIM, F
    )
    out.update({"grad." + k: g for k, g in grads.items()})
    out["grad_projected.decoder.weight"] = projected
    norm = torch.sqrt(
        sum((g.double() ** 2).sum() for k, g in grads.items() if k != "decoder.weight")
        + (projected.double() ** 2).sum()
    ).item()
    out["log"] = [loss.item(), log.losses["l2_loss"], aux, raw_aux, float(dead), norm]
    return out


def train(kind, batches, dtype):
    trainer = new_trainer(kind, dtype)
    tensors, log, gap = state(trainer, "init."), [], np.inf
    for step in range(STEPS):
        x = torch.tensor(batches[step], dtype=dtype)
        ahead = look_ahead(kind, trainer, step, x)
        gap = min(gap, ahead.pop("gap"))
        log.append(ahead.pop("log"))
        if step == 0:
            tensors.update({"step0." + k: v for k, v in ahead.items()})
        assert abs(trainer.update(step, x) - log[-1][0]) < 1e-5 * log[-1][0]
        if kind != "topk":
            log[-1].append(float(trainer.ae.threshold))
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
            "threshold (batchtopk, matryoshka; after the step)",
        ]
    }
    for name, kind, scale in (
        ("topk", "topk", 1.0),
        ("topk_small", "topk", 0.1),
        ("batchtopk", "batchtopk", 1.0),
        ("matryoshka", "matryoshka", 1.0),
    ):
        batches = x * np.float32(scale)
        single, log, gap = train(kind, batches, torch.float32)
        double, log64, _ = train(kind, batches, torch.float64)
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
        left_out = {
            "topk": (),
            "topk_small": ("init", "step0.topk", "step0.x"),  # the same start; below the clip
            "batchtopk": ("init", "step0.grad", "step0.x", "after1"),  # the same start
            "matryoshka": ("step0.x", "step0.grad.decoder"),
        }[name]
        if kind == "topk":
            start = {k: v for k, v in single.items() if k.startswith("init")}
        if kind == "batchtopk":
            assert all(torch.equal(single[k], v) for k, v in start.items())
        single = {k: v for k, v in single.items() if not k.startswith(left_out)}
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


def make_sae_lens_batch(out, x):
    """A BatchTopKTrainingSAE after twenty forward passes, saved for inference: a JumpReLU folder."""
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.saes.sae import SAE, TrainStepInput

    small = x.reshape(-1, DIM)[:64, :10].copy()
    torch.manual_seed(33)
    sae = BatchTopKTrainingSAE(
        BatchTopKTrainingSAEConfig(d_in=10, d_sae=40, k=4, dtype="float32", device="cpu")
    )
    with torch.no_grad():
        for p in (sae.b_enc, sae.b_dec):
            p.copy_(0.1 * torch.randn(p.shape))
    thresholds = []
    for _ in range(20):
        sae.training_forward_pass(
            TrainStepInput(torch.tensor(small), {}, None, 0, is_logging_step=False)
        )
        thresholds.append(sae.topk_threshold.item())
    target = out / "sae_lens_batchtopk"
    shutil.rmtree(target, ignore_errors=True)
    sae.save_inference_model(target)
    config = json.loads((target / "cfg.json").read_text())
    (target / "cfg.json").write_text(json.dumps(config, indent=1) + "\n")
    loaded = SAE.load_from_disk(target, device="cpu")
    with torch.no_grad():
        u = loaded.encode(torch.tensor(small))
        results = {
            "x": small,
            "thresholds": np.array(thresholds),
            "activations": u,
            "reconstruction": loaded.decode(u),
        }
    save_tensors(out / "sae_lens_batchtopk.safetensors", results, VERSIONS)


def main():
    out = folder("sae")
    x = data()
    save_tensors(out / "data.safetensors", {"x": x}, VERSIONS)
    info = make_steps(out, x)
    make_sae_lens(out, x)
    make_sae_lens_batch(out, x)
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
