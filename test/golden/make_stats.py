"""stats/: SciPy's two-group tests, false discovery rates, hypergeometric tails; scikit-learn's
AUROC."""

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score

from common import folder, made_up_counts, save_json, versions

VERSIONS = versions("scipy", "scikit-learn", "statsmodels")


def two_groups():
    """20 genes in 17 + 23 made-up cells; special genes at the end. Undefined results are null."""
    counts, _ = made_up_counts(41, 40, 20, n_kinds=2)
    group = np.arange(40) >= 17
    counts[group, :5] *= 4  # clear differences
    counts[:, 16] = 0  # no count at all
    counts[:, 17] = 3  # constant
    counts[:, 18] = np.where(group, 9, 1)  # perfectly separated, no variance within
    counts = counts.astype(np.float64)
    counts[:, 19] = np.random.default_rng(42).permutation(40)  # no ties
    rows = []
    for g in range(20):
        x, a, b = counts[:, g], counts[~group, g], counts[group, g]
        row = {
            "gene": g,
            "mean": [a.mean(), b.mean()],
            "var": [a.var(ddof=1), b.var(ddof=1)],
            "rank_sum_1": stats.rankdata(x)[~group].sum(),
            "tie_sum": float(sum(t**3 - t for t in np.unique(x, return_counts=True)[1])),
        }
        with np.errstate(all="ignore"):
            t = stats.ttest_ind(a, b, equal_var=False)
            row.update(welch_t=t.statistic, welch_df=t.df, welch_p=t.pvalue)
            if x.min() < x.max():
                for name, continuity in (("mwu_p", False), ("mwu_p_continuity", True)):
                    u = stats.mannwhitneyu(a, b, use_continuity=continuity, method="asymptotic")
                    row["mwu_u"], row[name] = u.statistic, u.pvalue
                row["auroc"] = roc_auc_score(~group, x)
            else:
                row.update(mwu_u=None, mwu_p=None, mwu_p_continuity=None, auroc=0.5)
        rows.append(row)
    return counts, group, rows


def false_discoveries():
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(43)
    cases = []
    for name, p in (
        ("uniform", rng.random(30)),
        ("ties", np.round(rng.random(25), 1)),
        ("small", 10.0 ** -rng.uniform(0, 300, 40)),
        ("one", np.array([0.2])),
    ):
        q = stats.false_discovery_control(p, method="bh")
        assert np.allclose(q, multipletests(p, method="fdr_bh")[1], rtol=1e-12, atol=0)
        cases.append({"name": name, "p": p, "q": q})
    return cases


def hypergeometric():
    """ln P(X >= q), ln P(X <= q) for a universe N, a set m, a study k."""
    rng = np.random.default_rng(44)
    rows = []
    for _ in range(60):
        N = int(rng.integers(20, 3000))
        m, k = int(rng.integers(1, N)), int(rng.integers(1, N))
        low, high = max(0, m + k - N), min(m, k)
        q = int(rng.integers(low, high + 1))
        # logsf and logcdf may subtract from 1 and lose digits; the sum of logpmf does not
        at = np.arange(low, high + 1)
        log_p = stats.hypergeom.logpmf(at, N, m, k)
        upper, lower = log_p[at >= q], log_p[at <= q]
        sum_of = lambda v: float(v.max() + np.log(np.exp(v - v.max()).sum()))  # noqa: E731
        logsf, logcdf = stats.hypergeom.logsf(q - 1, N, m, k), stats.hypergeom.logcdf(q, N, m, k)
        rows.append(
            {
                "N": N,
                "m": m,
                "k": k,
                "q": q,
                "log_upper": sum_of(upper),
                "log_lower": sum_of(lower),
                "logsf": logsf,
                "logcdf": logcdf,
            }
        )
    return rows


def correlations():
    rng = np.random.default_rng(45)
    rows = []
    for n, rounded in ((12, False), (50, True), (80, True)):
        x = rng.normal(size=n)
        y = 0.6 * x + rng.normal(size=n)
        if rounded:
            x, y = np.round(x), np.round(y)
        rows.append(
            {
                "x": x,
                "y": y,
                "pearson": stats.pearsonr(x, y).statistic,
                "spearman": stats.spearmanr(x, y).statistic,
            }
        )
    return rows


def main():
    counts, group, rows = two_groups()
    out = folder("stats")
    save_json(
        out / "two_group.json",
        VERSIONS,
        group_1=~group,
        counts=[{"gene": g, "counts": counts[:, g]} for g in range(20)],
        tests=rows,
    )
    save_json(out / "corrections.json", VERSIONS, bh=false_discoveries())
    save_json(out / "hypergeometric.json", VERSIONS, tails=hypergeometric())
    save_json(out / "correlations.json", VERSIONS, pairs=correlations())


if __name__ == "__main__":
    main()
