"""What every make_*.py needs: made-up cells, versions, writers of the same bytes each time."""

import contextlib
import json
import pathlib
import sys
import types
from importlib import metadata, util

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent


def versions(*packages):
    """{"python": ..., package: ...} of what computed a file."""
    out = {"python": "%d.%d.%d" % sys.version_info[:3], "numpy": metadata.version("numpy")}
    out.update({p: metadata.version(p) for p in packages})
    return out


def folder(name):
    path = HERE / name
    path.mkdir(exist_ok=True)
    return path


def made_up_counts(seed, n_cells, n_genes, n_kinds=3):
    """Negative binomial counts of n_kinds kinds of cell, float32 [n_cells][n_genes]; kind of each.

    Gene means are log-normal; every kind raises its own third of the genes; library sizes vary
    three-fold. No cell is empty. Nothing here comes from a real experiment."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n_cells) % n_kinds
    mean = np.exp(rng.normal(0.3, 1.0, n_genes))
    raised = np.where(np.arange(n_genes)[None, :] % n_kinds == kind[:, None], 3.0, 0.6)
    depth = np.exp(rng.normal(0.0, 0.4, n_cells))
    mu = mean[None, :] * raised * depth[:, None]
    shape = 0.8 + 3.0 * rng.random(n_genes)
    counts = rng.poisson(mu * rng.gamma(shape, 1.0 / shape, mu.shape))
    counts[:, 0] += 1
    return counts.astype(np.float32), kind


def save_tensors(path, tensors, version, **more):
    """.safetensors with names in the order given; versions stand in its metadata."""
    names = {np.dtype("float32"): "F32", np.dtype("float64"): "F64", np.dtype("int64"): "I64"}
    header = {
        "__metadata__": {"versions": json.dumps(version), **{k: str(v) for k, v in more.items()}}
    }
    blocks, at = [], 0
    for name, value in tensors.items():
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        value = np.asarray(value)
        block = np.ascontiguousarray(value).tobytes()
        header[name] = {
            "dtype": names[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [at, at + len(block)],
        }
        blocks.append(block)
        at += len(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))


def plain(value):
    """NumPy to JSON; what is not finite becomes null."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (np.bool_, bool)):
        return bool(value)
    if isinstance(value, (np.integer, int)):
        return int(value)
    if isinstance(value, (np.floating, float)):
        return float(value) if np.isfinite(value) else None
    return value


def save_json(path, version, **content):
    """One line per member, one more per element of a list of objects: readable differences."""
    members = ['"versions": ' + json.dumps(version)]
    for key, value in plain(content).items():
        text = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join("  " + json.dumps(v) for v in value) + "\n ]"
        members.append(json.dumps(key) + ": " + text)
    path.write_text("{\n " + ",\n ".join(members) + "\n}\n")


class Anything(types.ModuleType):
    """A module of which any attribute is an empty class."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextlib.contextmanager
def stand_ins(*names):
    """While active: empty modules in place of missing imports that take no part in a number."""
    added = [
        n
        for n in names
        if n.split(".")[0] in sys.modules or util.find_spec(n.split(".")[0]) is None
    ]
    added = [n for n in added if n not in sys.modules]
    sys.modules.update({n: Anything(n) for n in added})
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]
