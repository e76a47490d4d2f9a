"""GSEApy on the problem that bench_gsea wrote: same genes, sets, permutations, eps, one thread.

    python bench/peers/gsea_peer.py problem.tsv [results]

Its compiled core with permutations (100 of them, time times ten), and with multilevel splitting (its port of
fgsea). With a second argument writes results.METHOD.tsv.
"""
import sys
import time

import gseapy
import pandas as pd
from problem import line


def read(path):
    genes, sets = {}, {}
    for text in open(path):
        fields = text.rstrip("\n").split("\t")
        if fields[0] == "SET":
            sets[f"s{len(sets)}"] = fields[1:]
        else:
            genes[fields[0]] = float(fields[1])
    return pd.Series(genes).sort_values(ascending=False), sets


def main():
    ranking, sets = read(sys.argv[1])
    for what, method, n, times in (("1,000 permutations", "permutation", 100, 10), ("multilevel", "multilevel", 1000, 1)):
        start = time.perf_counter()
        result = gseapy.prerank(ranking, sets, outdir=None, min_size=1, max_size=5000, permutation_num=n,
                                threads=1, no_plot=True, seed=1, method=method, eps=1e-50)
        line("gsea", what, times * (time.perf_counter() - start), "s", f"GSEApy {gseapy.__version__}")
        if len(sys.argv) > 2:
            result.res2d.to_csv(f"{sys.argv[2]}.{method}.tsv", sep="\t", index=False)


main()
