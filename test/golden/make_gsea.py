"""gsea/: GSEApy's prerank on a made-up ranking, and over-representation by SciPy's
hypergeometric tail."""

import gseapy
import numpy as np
import pandas as pd
from scipy import stats

from common import folder, save_json, versions

N_GENES, N_SETS, PERMUTATIONS = 400, 16, 4000
VERSIONS = versions("gseapy", "scipy", "pandas")


def make_sets(rng, order):
    """Sets of 10 to 60 genes: drawn evenly, from the top, from the bottom, from both ends."""
    sets = []
    for s in range(N_SETS):
        size = int(rng.integers(10, 61))
        slope = [0.0, 3.0, -3.0, 1.0][s % 4] * (1 + s / N_SETS)
        weight = np.exp(-slope * np.arange(N_GENES) / N_GENES)
        sets.append(
            np.sort(order[rng.choice(N_GENES, size, replace=False, p=weight / weight.sum())])
        )
    return sets


def prerank(statistic, sets, weight):
    ranking = pd.Series(statistic, index=["G%d" % i for i in range(N_GENES)]).sort_values(
        ascending=False
    )
    result = gseapy.prerank(
        rnk=ranking,
        gene_sets={"S%d" % i: ["G%d" % g for g in s] for i, s in enumerate(sets)},
        permutation_num=PERMUTATIONS,
        weight=weight,
        min_size=5,
        max_size=200,
        seed=51,
        threads=1,
        outdir=None,
        no_plot=True,
        verbose=False,
    )
    table = result.res2d.set_index("Term")
    return [table.loc["S%d" % i] for i in range(len(sets))]


def main():
    rng = np.random.default_rng(50)
    statistic = np.round(rng.standard_t(5, N_GENES) * 2, 4)
    while len(np.unique(statistic)) < N_GENES:  # no ties
        statistic = np.round(statistic + rng.normal(0, 0.01, N_GENES), 4)
    order = np.argsort(-statistic)
    sets = make_sets(rng, order)
    rows = [{"genes": s} for s in sets]
    for weight in (1, 0):
        for row, found in zip(rows, prerank(statistic, sets, weight)):
            end = "_p%d" % weight
            row["es" + end], row["nes" + end] = float(found["ES"]), float(found["NES"])
            row["p" + end] = float(found["NOM p-val"])
            if weight == 1:
                row["leading"] = [int(g[1:]) for g in found["Lead_genes"].split(";")]
    study = np.sort(order[:60])
    for row in rows:
        overlap = int(np.isin(row["genes"], study).sum())
        row["overlap"] = overlap
        row["log_p_ora"] = stats.hypergeom.logsf(
            overlap - 1, N_GENES, len(row["genes"]), len(study)
        )
    q = stats.false_discovery_control(np.exp([r["log_p_ora"] for r in rows]))
    for row, value in zip(rows, q):
        row["q_ora"] = value
    save_json(
        folder("gsea") / "gsea.json",
        VERSIONS,
        permutations=PERMUTATIONS,
        statistic=statistic,
        study=study,
        sets=rows,
    )


if __name__ == "__main__":
    main()
