"""scvi-tools on the problems of bench_scvi: one training step (4,000 genes, batch of 128), and the latent means of
every perturbed copy of a cell.

    python bench/peers/scvi_peer.py [threads]

Step: module (forward, loss), backward, Adam with scvi-tools' settings, on one minibatch in memory: its data loader is
left out. Attribution: copies of the cell as rows of one dense matrix, one gene of each changed, through the
encoder of the trained module in eval mode without gradients, BATCH rows at a time (the fastest of several).
"""
import sys
import time

import numpy as np
import torch
from problem import line
from scvi.module import VAE

GENES, BATCH, STEPS, WARM = 4000, 128, 40, 10
threads = int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads()
torch.set_num_threads(threads)
torch.manual_seed(1)
rng = np.random.default_rng(1)


def counts(cells, density):
    shape = (cells, GENES)
    return torch.tensor((rng.random(shape) < density) * (1 + rng.poisson(1, shape)), dtype=torch.float32)


def module(likelihood):
    return VAE(GENES, n_hidden=128, n_latent=10, n_layers=1, gene_likelihood=likelihood)


def tensors(x):
    column = torch.zeros(len(x), 1)
    return {"X": x, "batch": column, "labels": column}


def step(likelihood):
    net = module(likelihood).train()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, eps=0.01, weight_decay=1e-6)
    batches = [tensors(counts(BATCH, 0.1)) for _ in range(8)]
    times = []
    for i in range(WARM + STEPS):
        start = time.perf_counter()
        _, _, loss = net(batches[i % 8], loss_kwargs={"kl_weight": 0.5})
        optimiser.zero_grad()
        loss.loss.backward()
        optimiser.step()
        times.append(time.perf_counter() - start)
    line("scvi", f"step {likelihood.upper()}", 1e3 * np.median(times[WARM:]), "ms", "scvi-tools")


@torch.no_grad()
def attribution(density):
    net = module("nb").eval()
    cell = counts(1, density)
    changed = torch.where(cell[0] > 0, 0.0, 3.0)
    best = np.inf
    for rows in (128, 512, 1000, 4000):
        times = []
        for _ in range(4):
            start = time.perf_counter()
            for first in range(0, GENES, rows):
                genes = torch.arange(first, min(first + rows, GENES))
                x = cell.repeat(len(genes), 1)
                x[torch.arange(len(genes)), genes] = changed[genes]
                net.z_encoder.mean_encoder(net.z_encoder.encoder(torch.log1p(x)))
            times.append(time.perf_counter() - start)
        best = min(best, np.median(times[1:]))
    line("scvi", f"attribution of a pair, {100 * density:.0f}% present", 1e3 * best, "ms", "PyTorch batched loop")


for likelihood in ("nb", "zinb"):
    step(likelihood)
for density in (0.1, 0.3):
    attribution(density)
