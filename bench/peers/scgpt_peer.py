"""One cell through scGPT's network in PyTorch: the peer of bench_scgpt.

    python bench/peers/scgpt_peer.py FOLDER [threads] [tokens]

FOLDER is what bench_scgpt has written. Prints the processor time of one forward pass in the style of
embed_data on a CPU (f32, no gradients) and the first numbers of the embedding, which must be those of
bench_scgpt to five digits.
"""
import json
import sys
import time

import numpy as np
import torch
from torch import nn

folder = sys.argv[1]
threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
tokens = int(sys.argv[3]) if len(sys.argv) > 3 else 1200
torch.set_num_threads(threads)
args = json.load(open(f"{folder}/args.json"))
vocabulary = json.load(open(f"{folder}/vocab.json"))
state = torch.load(f"{folder}/best_model.pt", map_location="cpu")
d, genes = args["embsize"], len(vocabulary) - 3

layer = nn.TransformerEncoderLayer(d, args["nheads"], args["d_hid"], 0.2, batch_first=True)
encoder = nn.TransformerEncoder(layer, args["nlayers"], enable_nested_tensor=False).eval()
prefix = "transformer_encoder."
weights = {k[len(prefix):].replace("Wqkv.", "in_proj_"): v for k, v in state.items() if k.startswith(prefix)}
encoder.load_state_dict(weights)


def embed(ids, values):
    norm = nn.functional.layer_norm
    linear = nn.functional.linear
    e = norm(state["encoder.embedding.weight"][ids], (d,), state["encoder.enc_norm.weight"],
             state["encoder.enc_norm.bias"])
    v = torch.relu(linear(values.clamp(max=512)[:, None], state["value_encoder.linear1.weight"],
                          state["value_encoder.linear1.bias"]))
    v = linear(v, state["value_encoder.linear2.weight"], state["value_encoder.linear2.bias"])
    v = norm(v, (d,), state["value_encoder.norm.weight"], state["value_encoder.norm.bias"])
    cell = encoder((e + v)[None])[0, 0].numpy()
    return cell / np.linalg.norm(cell)


counts = np.array([1 + i % 37 for i in range(tokens - 1)], dtype=np.float32)
bins = np.digitize(counts, np.quantile(counts, np.linspace(0, 1, 50)))
ids = torch.tensor([vocabulary["<cls>"]] + [i * (genes // tokens) for i in range(tokens - 1)])
values = torch.tensor([args["pad_value"], *bins], dtype=torch.float32)
with torch.no_grad():
    times = []
    for _ in range(3):
        start = time.process_time()
        cell = embed(ids, values)
        times.append(time.process_time() - start)
print(f"PyTorch {torch.__version__}, {tokens} tokens, {threads} threads: "
      f"CPU {1e3 * sorted(times)[1] / threads:.1f} ms per thread")
print("embedding starts", *(f"{x:.6f}" for x in cell[:4]))
