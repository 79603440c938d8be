"""A photograph and digits in few numbers: ``python docs/examples/compression.py``.

Both ship with scikit-learn, and the picture is drawn by matplotlib:
``pip install "fastmat-kernels[bench]"``.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fastmat as fm

RANKS = 2, 5, 10, 20, 50, 100, 200
SHOWN = 10, 50  # ranks of which the photograph is shown
TOLERANCE = 0.1
COMPONENTS = 20  # of the digits


def photograph():
    """Roofs of the Summer Palace, with rows of pixels, and in them the colours one by one."""
    from sklearn.datasets import load_sample_image

    colours = load_sample_image("china.jpg")  # uint8, (427, 640, 3)
    return colours.reshape(len(colours), -1).astype(np.float32) / 255


def digits():
    """1797 pictures of 8 x 8 pixels, and which digit each is."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.data, found.target


@dataclass
class Compressed:
    """The photograph by two factors, for each rank."""

    x: np.ndarray
    factors: dict
    true: dict  # errors in the Frobenius norm, relative to x
    least: dict  # that of the best approximation there is


def compress(x):
    factors = {rank: fm.low_rank_approximation(x, rank, rng=1) for rank in RANKS}
    wide = x.astype(np.float64)
    whole = np.linalg.norm(wide)
    true = {
        rank: np.linalg.norm(wide - found.left.astype(np.float64) @ found.right) / whole
        for rank, found in factors.items()
    }
    values = np.linalg.svd(wide, compute_uv=False)
    least = {rank: np.linalg.norm(values[rank:]) / whole for rank in RANKS}
    return Compressed(x, factors, true, least)


def share(found, x):
    """How many numbers the factors have, over those of x."""
    return sum(part.size for part in found) / x.size


def nearest(scores, labels):
    """How many digits are that of the nearest other one."""
    squares = np.sum(scores**2, axis=1)
    apart = squares[:, np.newaxis] + squares - 2 * fm.matmul(scores, scores.T)
    np.fill_diagonal(apart, np.inf)
    return np.mean(labels[apart.argmin(1)] == labels)


def report(compressed, data, labels, found):
    """What is found, as lines."""
    x = compressed.x
    yield f"photograph: {x.shape[0]} x {x.shape[1]} numbers"
    yield "rank  of the numbers  error  reported  the least there is"
    for rank, factors in compressed.factors.items():
        yield (
            f"{rank:4}  {share(factors, x):14.1%}  {compressed.true[rank]:5.3f}  "
            f"{factors.error.frobenius:8.3f}  {compressed.least[rank]:18.3f}"
        )
    within = fm.low_rank_approximation(x, tol=TOLERANCE, rng=1)
    error = np.linalg.norm(x - within.left @ within.right) / np.linalg.norm(x)
    yield (
        f"to a tolerance of {TOLERANCE}: rank {within.rank}, error {error:.3f}, "
        f"reported {within.error.frobenius:.3f}"
    )
    yield ""
    ratios = found.explained_variance_ratio
    yield f"digits: {data.shape[0]} of {data.shape[1]} pixels"
    yield "components  of the variance  nearest is the same digit"
    for count in (2, 5, 10, COMPONENTS):
        same = nearest(found.scores[:, :count], labels)
        yield f"{count:10}  {ratios[:count].sum():15.1%}  {same:25.1%}"
    yield f"{'all pixels':10}  {1:15.1%}  {nearest(data, labels):25.1%}"


def draw(path, compressed, labels, found):
    """The photograph at two ranks; errors; the digits on two components; the components."""
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(10, 6), layout="constrained")
    grid = figure.add_gridspec(2, 6)
    x = compressed.x
    pictures = {f"Rank {rank}": compressed.factors[rank] for rank in SHOWN}
    shown = {name: np.clip(f.left @ f.right, 0, 1) for name, f in pictures.items()}
    for i, (name, image) in enumerate({**shown, "As it is": x}.items()):
        axes = figure.add_subplot(grid[0, 2 * i : 2 * i + 2])
        axes.imshow(image.reshape(len(image), -1, 3)[::2, ::2])
        few = f", {share(pictures[name], x):.0%} of the numbers" if name in pictures else ""
        axes.set_title(name + few, fontsize=11)
        axes.set(xticks=(), yticks=())

    axes = figure.add_subplot(grid[1, :2])
    reported = [compressed.factors[rank].error.frobenius for rank in RANKS]
    axes.semilogx(RANKS, reported, "o-", color="#D55E00", markersize=4, label="reported")
    axes.semilogx(RANKS, list(compressed.true.values()), "o-", color="#0072B2", markersize=4)
    axes.semilogx(RANKS, list(compressed.least.values()), "k--", linewidth=1.2)
    axes.lines[1].set_label("true")
    axes.lines[2].set_label("the least there is")
    axes.set(xlabel="rank", ylabel="relative error", ylim=(0, 0.4))
    axes.set_xticks(RANKS, RANKS)
    axes.minorticks_off()
    axes.set_title("Error of the photograph", fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(fontsize=9)

    axes = figure.add_subplot(grid[1, 2:4])
    points = axes.scatter(*found.scores[:, :2].T, c=labels, cmap="tab10", s=3, vmin=-0.5, vmax=9.5)
    figure.colorbar(points, ax=axes, ticks=range(10))
    axes.set(xlabel="first component", ylabel="second component")
    axes.set_title("Digits", fontsize=11)

    axes = figure.add_subplot(grid[1, 4:])
    tiles = found.components[:12].reshape(3, 4, 8, 8)
    framed = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    high = np.abs(tiles).max()
    sheet = framed.swapaxes(1, 2).reshape(30, 40)
    axes.imshow(sheet, "PuOr", vmin=-high, vmax=high)
    axes.set(xticks=(), yticks=())
    axes.set_title("Their first 12 components", fontsize=11)
    figure.savefig(path, dpi=80, facecolor="white")
    with Image.open(path) as drawn:  # a few colours take half the bytes
        drawn.convert("RGB").quantize(128).save(path, optimize=True)


def main(arguments=None):
    """Print what the page says, draw its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = Path(__file__).with_suffix(".png")
    parser.add_argument("--picture", type=Path, default=beside, help=f"default: {beside.name}")
    options = parser.parse_args(arguments)
    compressed = compress(photograph())
    data, labels = digits()
    found = fm.pca(data, COMPONENTS, rng=1)
    print("\n".join(report(compressed, data, labels, found)))
    draw(options.picture, compressed, labels, found)


if __name__ == "__main__":
    main()
