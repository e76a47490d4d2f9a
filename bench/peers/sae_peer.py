"""A Top-K sparse autoencoder in PyTorch on the problem of bench_sae: same rows, same weights at the start, same steps.

    python bench/peers/sae_peer.py [threads] [all]

The step is that of dictionary_learning's trainers/top_k.py (as in overcomplete's loop: dense encoder, codes scattered
into a dense matrix, dense decoder, autograd, Adam), without the auxiliary loss, its counters and its learning rate
schedule. `dense` is that; `embedding_bag` decodes the k active rows alone, the best PyTorch does here;
bf16 is torch.autocast around the forward pass.
"""
import sys
import time

import numpy as np
import torch
from problem import hashes, line, uniform
from torch import nn

ROWS, DIM, LATENTS, K, BATCH, ATOMS, PER_ROW = 98304, 512, 4096, 32, 4096, 1024, 16
KEY_ATOM, KEY_CHOICE, KEY_FACTOR, KEY_NOISE, KEY_WEIGHT = range(1, 6)
threads = int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads()
torch.set_num_threads(threads)


def unit_rows(key, rows):
    x = (2 * uniform(key, 0, rows * DIM) - 1).reshape(rows, DIM)
    return x / np.sqrt((x.astype(np.float64) ** 2).sum(1, keepdims=True)).astype(np.float32)


def make_rows():
    atoms, x = unit_rows(KEY_ATOM, ATOMS), np.empty((ROWS, DIM), np.float32)
    for first in range(0, ROWS, BATCH):
        part = 0.1 * (2 * uniform(KEY_NOISE, first * DIM, BATCH * DIM) - 1).reshape(BATCH, DIM)
        chosen = (hashes(KEY_CHOICE, first * PER_ROW, BATCH * PER_ROW) % ATOMS).reshape(BATCH, PER_ROW)
        factors = 1 + 2 * uniform(KEY_FACTOR, first * PER_ROW, BATCH * PER_ROW).reshape(BATCH, PER_ROW)
        for a in range(PER_ROW):
            part += factors[:, a, None] * atoms[chosen[:, a]]
        x[first : first + BATCH] = part
    return torch.from_numpy(x)


class Autoencoder(nn.Module):
    """Decoder weights as rows [LATENTS][DIM] for embedding_bag; the dense product takes them as they are."""

    def __init__(self, weight, sparse):
        super().__init__()
        self.encoder, self.decoder = nn.Parameter(weight.clone()), nn.Parameter(weight.clone())
        self.b_enc, self.b_dec = nn.Parameter(torch.zeros(LATENTS)), nn.Parameter(torch.zeros(DIM))
        self.sparse = sparse

    def forward(self, x):
        pre = torch.relu(nn.functional.linear(x - self.b_dec, self.encoder, self.b_enc))
        values, latents = pre.topk(K, sorted=False)
        if self.sparse:
            return nn.functional.embedding_bag(latents, self.decoder, per_sample_weights=values.to(self.decoder.dtype),
                                               mode="sum") + self.b_dec
        codes = torch.zeros_like(pre).scatter_(-1, latents, values)
        return codes @ self.decoder + self.b_dec


def step(net, optimiser, x, bf16):
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        restored = net(x)
    loss = (x - restored.float()).pow(2).sum(-1).mean()
    loss.backward()
    with torch.no_grad():
        along = (net.decoder.grad * net.decoder).sum(1, keepdim=True)
        net.decoder.grad -= along * net.decoder
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    with torch.no_grad():
        net.decoder /= net.decoder.norm(dim=1, keepdim=True)
    return loss.item()


def train(x, weight, name, sparse, bf16, epochs=2):
    net = Autoencoder(weight, sparse)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-4, betas=(0.9, 0.999), eps=1e-8)
    times, losses = [], []
    for epoch in range(epochs):
        start = time.perf_counter()
        for first in range(0, ROWS, BATCH):
            loss = step(net, optimiser, x[first : first + BATCH], bf16)
            if epoch == 0:
                losses.append(loss)
        times.append(time.perf_counter() - start)
    precision = "bf16" if bf16 else "f32"
    line("sae", f"epoch {precision}", float(np.median(times[1:])), "s", name)
    for i in (0, 11, 23):
        line("sae", f"loss at step {i + 1}, {precision}", losses[i], "", name)


rows, weight = make_rows(), torch.from_numpy(unit_rows(KEY_WEIGHT, LATENTS))
for bf16 in (False, True):
    for sparse in (False, True):
        train(rows, weight, "PyTorch embedding_bag" if sparse else "PyTorch dense", sparse, bf16)
