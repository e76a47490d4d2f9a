"""GSEApy on the problem that bench_gsea wrote: same genes, sets, number of permutations, eps, one thread.

    python bench/peers/gsea_peer.py problem.tsv [results]

Its compiled core with 1,000 permutations on every eleventh set (all of them would take minutes), and with multilevel
splitting (its port of fgsea) on all. With a second argument writes results.METHOD.tsv.
"""
import sys
import time

import gseapy
import pandas as pd
from problem import line

EVERY = 11


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
    some = dict(list(sets.items())[::EVERY])
    for what, method, tested in ((f"1,000 permutations, {len(some)} sets", "permutation", some), ("multilevel", "multilevel", sets)):
        start = time.perf_counter()
        result = gseapy.prerank(ranking, tested, outdir=None, min_size=1, max_size=5000, permutation_num=1000,
                                threads=1, no_plot=True, seed=1, method=method, eps=1e-50)
        line("gsea", what, time.perf_counter() - start, "s", f"GSEApy {gseapy.__version__}")
        if len(sys.argv) > 2:
            result.res2d.to_csv(f"{sys.argv[2]}.{method}.tsv", sep="\t", index=False)


main()
