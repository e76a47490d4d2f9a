"""Writes the seeds in corpus/torch that only Python, NumPy and PyTorch can write.

    python make_corpus.py corpus/torch

test_torch.c checks the values of attr_protocol4.pkl and attr_protocol5.pkl.
"""
import collections
import os
import pickle
import sys

import numpy as np
import torch

folder = sys.argv[1]


def attributes():
    grid = np.arange(6, dtype="<i2").reshape(2, 3)
    return {
        "mapping": np.array(["batch a", "b\u00e9"], dtype=object),
        "unicode": np.array(["x", "\u20ac\U0001f9ec", ""]),
        "codes": np.array([3, -1, 2], dtype="<i4"),
        "fortran": np.asfortranarray(grid),
        "cube": np.asfortranarray(np.arange(24, dtype="<f4").reshape(2, 3, 4)),
        "fortran_objects": np.asfortranarray(np.array([["a", "b"], ["c", "d"], ["e", "f"]], dtype=object)),
        "scalar": np.float64(2.5),
        "token": np.int16(-7),
        "flag": np.bool_(True),
        "swapped": np.array([1.0, 2.0], dtype=">f8"),
        "dates": np.array(["2020-01-01"], dtype="M8[D]"),
        "big": 1 << 80,
        "unsigned": (1 << 63) - 1,
        "negative": -(1 << 40),
        "raw": b"\x00\xff\x80",
        "set": {5},
        "frozen": frozenset([6]),
        "ordered": collections.OrderedDict([("z", 1), ("y", None)]),
        "counts": collections.defaultdict(list, {"k": [1.5]}),
        "object": complex(1, 2),
        "class": np.ndarray,
        "nested": {"a": ({"b": [True, False]},)},
        3: "number key",
        "numbers": [0, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31],
    }


for protocol in (2, 4, 5):
    with open(os.path.join(folder, f"attr_protocol{protocol}.pkl"), "wb") as f:
        pickle.dump(attributes(), f, protocol=protocol)
torch.save({"attr_dict": attributes(), "w": torch.arange(6.0).reshape(2, 3).t()},
           os.path.join(folder, "attributes.pt"))
shared = torch.arange(4.0)
torch.save({"a": shared, "b": shared[1:3], "p": torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)),
            "u": torch.tensor([1, 65535], dtype=torch.uint16), "size": shared.shape},
           os.path.join(folder, "shared.pt"))
torch.save(torch.nn.Linear(2, 1), os.path.join(folder, "module.pt"))
