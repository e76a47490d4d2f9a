"""GSEApy on the problem that bench_gsea wrote: same genes, sets, permutations, eps, one thread.

usage: bench_gsea problem.tsv && python gsea_peer.py problem.tsv [results]
Prints the CPU seconds of the compiled core with permutations, and with multilevel splitting (its port of
fgsea); with a second argument writes
results.METHOD.tsv.
"""
import sys
import time

import gseapy
import pandas as pd


def read(path):
    genes, sets = {}, {}
    for line in open(path):
        fields = line.rstrip("\n").split("\t")
        if fields[0] == "SET":
            sets[f"s{len(sets)}"] = fields[1:]
        else:
            genes[fields[0]] = float(fields[1])
    return pd.Series(genes).sort_values(ascending=False), sets


def main():
    ranking, sets = read(sys.argv[1])
    for method in ("multilevel", "permutation"):
        start = time.process_time()
        result = gseapy.prerank(ranking, sets, outdir=None, min_size=1, max_size=5000, permutation_num=1000,
                                threads=1, no_plot=True, seed=1, method=method, eps=1e-50)
        seconds = time.process_time() - start
        print(f"GSEApy {gseapy.__version__} {method:12s} {1e3 * seconds:9.1f} ms {len(sets) / seconds:9.0f} sets/s",
              flush=True)
        if len(sys.argv) > 2:
            result.res2d.to_csv(f"{sys.argv[2]}.{method}.tsv", sep="\t", index=False)


main()
