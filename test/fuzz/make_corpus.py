"""Writes the seeds in corpus/torch: what only Python, NumPy and PyTorch can write, and an archive whose
directory keeps all sizes in ZIP64 fields, as those of files over 4 GiB do.

    python make_corpus.py corpus/torch

test_torch.c checks the values of attr_protocol4.pkl and attr_protocol5.pkl.
"""
import collections
import os
import io
import pickle
import struct
import sys
import zipfile
import zlib

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


def saturated(path):
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(3.0)}, buffer)
    entries = [(i.filename, zipfile.ZipFile(buffer).read(i)) for i in zipfile.ZipFile(buffer).infolist()]
    body = directory = b""
    for name, data in entries:
        raw, crc, at, full = name.encode(), zlib.crc32(data), len(body), 0xFFFFFFFF
        extra = struct.pack("<HHQQ", 1, 16, len(data), len(data))
        body += b"PK\3\4" + struct.pack("<HHHHHIIIHH", 45, 0, 0, 0, 33, crc, full, full, len(raw), len(extra))
        body += raw + extra + data
        extra = struct.pack("<HHH", 0x4246, 2, 0) + struct.pack("<HHQQQ", 1, 24, len(data), len(data), at)
        directory += b"PK\1\2" + struct.pack("<HHHHHHIIIHHHHHII", 45, 45, 0, 0, 0, 33, crc, full, full,
                                             len(raw), len(extra), 0, 0, 0, 0, full) + raw + extra
    n, start = len(entries), len(body)
    end = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, n, n, len(directory), start)
    end += b"PK\6\7" + struct.pack("<IQI", 0, start + len(directory), 1)
    end += b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    with open(path, "wb") as f:
        f.write(body + directory + end)


saturated(os.path.join(folder, "zip64.pt"))
