"""Numbers that the C programs make as well (bench.h): "lowbias32" of a counter."""
import numpy as np


def hashes(key, first, n):
    x = np.arange(first, first + n, dtype=np.uint64).astype(np.uint32) + np.uint32(key * 0x9E3779B9 & 0xFFFFFFFF)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    return x ^ x >> np.uint32(16)


def uniform(key, first, n):
    return (hashes(key, first, n) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def line(path, what, value, unit, name):
    print(path, what, f"{value:.6g}", unit, name, sep="\t", flush=True)
