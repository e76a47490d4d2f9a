"""One cell through scGPT's network in PyTorch: the peer of bench_scgpt.

    python bench/peers/scgpt_peer.py FOLDER [threads] [tokens]

FOLDER is what bench_scgpt has written. nn.TransformerEncoder without gradients, one cell (embed_data on a CPU), in f32
and in bf16 (weights and activations converted, the fastest PyTorch has), each with its fused layer ("fast path")
and without (scaled_dot_product_attention); the faster of the two counts. Backward: the gradient of one number of the
embedding with respect to the summed token embeddings, forward included, as gradient attribution needs it.
The first numbers of the embedding must be those of bench_scgpt to five digits.
"""
import json
import sys
import time

import numpy as np
import torch
from torch import nn

RUNS = 5
folder = sys.argv[1]
threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
tokens = int(sys.argv[3]) if len(sys.argv) > 3 else 1200
torch.set_num_threads(threads)
args = json.load(open(f"{folder}/args.json"))
vocabulary = json.load(open(f"{folder}/vocab.json"))
state = torch.load(f"{folder}/best_model.pt", map_location="cpu")
d, genes = args["embsize"], len(vocabulary) - 3


def line(what, value, unit):
    print("scgpt", what, f"{value:.6g}", unit, "PyTorch", sep="\t", flush=True)


layer = nn.TransformerEncoderLayer(d, args["nheads"], args["d_hid"], 0.2, batch_first=True)
encoder = nn.TransformerEncoder(layer, args["nlayers"], enable_nested_tensor=False).eval()
prefix = "transformer_encoder."
weights = {k[len(prefix):].replace("Wqkv.", "in_proj_"): v for k, v in state.items() if k.startswith(prefix)}
encoder.load_state_dict(weights)


def sums(ids, values):
    norm = nn.functional.layer_norm
    linear = nn.functional.linear
    e = norm(state["encoder.embedding.weight"][ids], (d,), state["encoder.enc_norm.weight"],
             state["encoder.enc_norm.bias"])
    v = torch.relu(linear(values.clamp(max=512)[:, None], state["value_encoder.linear1.weight"],
                          state["value_encoder.linear1.bias"]))
    v = linear(v, state["value_encoder.linear2.weight"], state["value_encoder.linear2.bias"])
    v = norm(v, (d,), state["value_encoder.norm.weight"], state["value_encoder.norm.bias"])
    return (e + v)[None]


def embed(dtype):
    cell = encoder(sums(ids, values).to(dtype))[0, 0].float().numpy()
    return cell / np.linalg.norm(cell)


def median(run):
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return 1e3 * sorted(times[1:])[(RUNS - 1) // 2], result


def gradient():
    x = sums(ids, values).requires_grad_()
    encoder(x)[0, 0, 0].backward()
    return x.grad


counts = np.array([1 + i % 37 for i in range(tokens - 1)], dtype=np.float32)
bins = np.digitize(counts, np.quantile(counts, np.linspace(0, 1, 50)))
ids = torch.tensor([vocabulary["<cls>"]] + [i * (genes // tokens) for i in range(tokens - 1)])
values = torch.tensor([args["pad_value"], *bins], dtype=torch.float32)
for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
    encoder.to(dtype)
    best = float("inf")
    for fused in (True, False):
        torch.backends.mha.set_fastpath_enabled(fused)
        with torch.no_grad():
            took, cell = median(lambda: embed(dtype))
        best = min(best, took)
        print(f"{name}, {'fast path' if fused else 'layer by layer'}: {took:.1f} ms; embedding starts",
              *(f"{x:.6f}" for x in cell[:4]))
    line(f"forward {name}", best, "ms")
    encoder.to(torch.float32)
encoder.load_state_dict(weights)
for parameter in encoder.parameters():
    parameter.requires_grad_(False)
line("forward and gradient f32", median(gradient)[0], "ms")
