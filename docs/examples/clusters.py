"""Wines of three cultivars, normalized in groups: ``python docs/examples/clusters.py``.

The table (178 wines, 13 features) comes with scikit-learn, the picture is drawn by matplotlib:
``pip install "fastmat-kernels[bench]"``. Forina et al., "PARVUS", 1988, by way of the UCI
repository, https://doi.org/10.24432/C5PC7J.
"""

import argparse
from pathlib import Path

import numpy as np

import fastmat as fm

PAIR = "flavanoids", "color_intensity"
SEEDS = range(10)


def adjusted_rand(first, second):
    """How far two labellings agree: 1 if they are the same, about 0 by chance.

    Hubert and Arabie, "Comparing partitions", 1985.
    """
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    together, in_first, in_second, all_pairs = (
        (counts * (counts - 1) / 2).sum()
        for counts in (table, table.sum(1), table.sum(0), table.sum())
    )
    by_chance = in_first * in_second / all_pairs
    return (together - by_chance) / ((in_first + in_second) / 2 - by_chance)


def find_clusters(x, count, choose=min):
    """The labels by k-means, of several seeds those with the least variance within clusters."""

    def scatter(found):
        sizes = np.bincount(found.labels, minlength=count)
        return sizes @ (1 / found.rstd**2).sum(1)

    runs = [fm.cluster_norm(x, count, rng=seed, return_stats=True) for seed in SEEDS]
    return choose(runs, key=scatter).labels


def correlation(x):
    """Of the first two columns."""
    return np.corrcoef(x[:, 0], x[:, 1])[0, 1]


def signs_differ(x, y):
    """How many pairs of columns are correlated with another sign in y than in x; how many pairs."""
    pairs = np.triu_indices(x.shape[1], 1)
    first, second = (np.corrcoef(table.T)[pairs] for table in (x, y))
    return np.sum(first * second < 0), len(first)


def neighbours_agree(x, labels):
    """The share of rows whose nearest other row has the same label."""
    distances = ((x[:, np.newaxis] - x) ** 2).sum(2)
    np.fill_diagonal(distances, np.inf)
    return np.mean(labels[distances.argmin(1)] == labels)


def in_another(labels, groups):
    """Which rows are in a cluster where most are of another group than they."""
    commonest = [np.bincount(groups[labels == c]).argmax() for c in range(labels.max() + 1)]
    return np.array(commonest)[labels] != groups


def compare(x, cultivar, labels, pair):
    """What is measured, as lines, and the tables by name; `pair` are two columns of x."""
    tables = {
        "as measured": x,
        "batch_norm": fm.batch_norm(x, training=True),
        "cluster_norm by cultivar": fm.cluster_norm(x, cultivar),
        "cluster_norm by k-means": fm.cluster_norm(x, labels),
    }
    lines = [f"{'':24}  correlation  neighbour of the same cultivar"]
    for name, table in tables.items():
        both = correlation(table[:, pair]), neighbours_agree(table, cultivar)
        lines.append(f"{name:24}  {both[0]:+11.2f}  {both[1]:30.2f}")
    _, mean, rstd, _ = fm.cluster_norm(x, cultivar, return_stats=True)
    for c in range(3):
        first, second = (f"{mean[c, i]:.2f} ± {1 / rstd[c, i]:.2f}" for i in pair)
        within = correlation(x[cultivar == c][:, pair])
        lines.append(f"cultivar {c}: {first}, {second}, correlation {within:+.2f}")
    count, pairs = signs_differ(x, tables["cluster_norm by cultivar"])
    lines.append(f"pairs of features that change sign within cultivars: {count} of {pairs}")
    return lines, tables


def compare_clusters(x, cultivar, labels, pair):
    """How well k-means finds the cultivars, and what that does to the correlation."""
    batch = fm.batch_norm(x, training=True)
    others = np.delete(batch, pair, axis=1)
    lines = ["k-means                    adjusted Rand index  correlation"]
    for name, found in (
        ("as measured", find_clusters(x, 3)),
        ("after batch_norm", labels),
        ("  its worst seed", find_clusters(batch, 3, max)),
        ("  without the two features", find_clusters(others, 3)),
    ):
        within = correlation(fm.cluster_norm(x, found)[:, pair])
        lines.append(f"{name:26} {adjusted_rand(cultivar, found):19.2f}  {within:+11.2f}")
    right = ~in_another(labels, cultivar)
    without = correlation(fm.cluster_norm(x[right], labels[right])[:, pair])
    lines.append(
        f"in the cluster of another cultivar: {np.sum(~right)}; correlation without: {without:+.2f}"
    )
    return lines


def draw(path, tables, cultivar, labels, pair):
    """Each table as a scatter plot of the pair, with the line of least squares."""
    from matplotlib.figure import Figure

    # Okabe and Ito's colours, which the colour-blind can tell apart, and markers for all.
    styles = (("#0072B2", "o"), ("#D55E00", "^"), ("#009E73", "s"))
    figure = Figure(figsize=(8, 7.2), layout="constrained")
    for axes, (name, table) in zip(figure.subplots(2, 2).flat, tables.items(), strict=True):
        a, b = table[:, pair].T
        for c, (colour, marker) in enumerate(styles):
            rows = cultivar == c
            style = {"s": 22, "color": colour, "marker": marker, "alpha": 0.75}
            axes.scatter(a[rows], b[rows], label=f"cultivar {c}", **style)
        ends = np.array([a.min(), a.max()])
        slope = correlation(table[:, pair]) * b.std() / a.std()
        axes.plot(ends, b.mean() + slope * (ends - a.mean()), "k--", label="all rows")
        axes.set_title(f"{name}: correlation {correlation(table[:, pair]):+.2f}", fontsize=11)
        unit = "" if name == "as measured" else " (standard deviations)"
        axes.set_xlabel("flavanoids" + unit)
        axes.set_ylabel("colour intensity" + unit)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    wrong = in_another(labels, cultivar)
    style = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.2}
    axes.scatter(a[wrong], b[wrong], 90, label="in another's cluster", **style)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    """Print what the page says, draw its picture."""
    from sklearn.datasets import load_wine

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = Path(__file__).with_suffix(".png")
    parser.add_argument("--picture", type=Path, default=beside, help=f"default: {beside.name}")
    options = parser.parse_args(arguments)
    wine = load_wine()
    pair = [wine.feature_names.index(name) for name in PAIR]
    labels = find_clusters(fm.batch_norm(wine.data, training=True), 3)
    lines, tables = compare(wine.data, wine.target, labels, pair)
    lines += compare_clusters(wine.data, wine.target, labels, pair)
    print("\n".join(lines))
    draw(options.picture, tables, wine.target, labels, pair)


if __name__ == "__main__":
    main()
