"""A sea seen through clouds: ``python docs/examples/missing.py``.

A satellite measures the temperature of a sea on 60 days, and wherever there is a cloud it measures
nothing. The sea is made up, so that one can see how far the statistics are from the truth. The
picture is drawn by matplotlib: ``pip install "fastmat-kernels[bench]"``.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fastmat as fm

DAYS, HEIGHT, WIDTH = 60, 90, 135  # a place is a square of 10 km
BOX = 5  # places on a side of the boxes whose correlations are looked at
COMMON = 15  # days that two boxes must have in common
NOISE = 0.3  # K, of the measurement
DAY = 33  # which is shown
PLACE = 47, 102  # whose correlations are shown: in the cold water off the coast


@dataclass
class Sea:
    """What was measured, and what one does not know of a real sea."""

    measured: np.ndarray  # (days, y, x), °C; NaN on land and under clouds
    truth: np.ndarray  # (days, y, x), °C; NaN on land


def make_sea(seed=2):
    """A coast in the east with cold water off it, and clouds that like cold water."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)

    def smooth(sigma, *shape):
        field = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
        return field / field.std()

    y, x = np.mgrid[:HEIGHT, :WIDTH]
    coast = 118 + 8 * np.sin(y / 14) + 3 * np.sin(y / 5)
    land = (x > coast) | (np.hypot(x - 38, 1.4 * (y - 28)) < 9)
    cold = np.exp(-(((x - coast) / 22) ** 2) - ((y - 48) / 30) ** 2)
    place = 15 + 6 * y / HEIGHT - 5 * cold + 0.7 * smooth(7, HEIGHT, WIDTH)
    weeks = np.arange(DAYS) / 7
    day = 0.35 * weeks + 0.5 * smooth(3, DAYS)
    upwelling = smooth(2.5, DAYS)  # cold water rises off the coast, and comes back farther out
    back = np.exp(-(((x - coast + 70) / 22) ** 2) - ((y - 48) / 30) ** 2)
    waves = upwelling[:, np.newaxis, np.newaxis] * (0.8 * back - cold)
    truth = np.where(land, np.nan, place + day[:, np.newaxis, np.newaxis] + waves)
    cover = smooth((1, 8, 8), DAYS, HEIGHT, WIDTH) + 1.2 * cold
    clouds = cover > rng.normal(0.1, 0.7, (DAYS, 1, 1))
    noise = NOISE * rng.standard_normal(truth.shape)
    truth += 0.3 * smooth((1, 9, 9), DAYS, HEIGHT, WIDTH)  # weather, here and there
    return Sea(np.where(clouds, np.nan, truth + noise), truth)


def fit(measured, seen):
    """Temperatures of places and of days whose sums are nearest to what was seen.

    By turns the mean of what one of them leaves of the measurements. The days have mean 0.
    """
    day = np.zeros((len(measured), 1, 1))
    for _ in range(100):
        place = fm.masked_mean(measured - day, seen, axis=0)
        change = fm.masked_mean(measured - place - day, seen, axis=(1, 2), keepdims=True)
        day += change
        if np.abs(change).max() < 1e-9:
            break
    level = day.mean()
    return place + level, day - level


def boxes_of(left, seen):
    """Means of boxes, (days, boxes), those that have any, and which boxes they are."""
    days, height, width = left.shape
    shape = days, height // BOX, BOX, width // BOX, BOX
    left, seen = left.reshape(shape), seen.reshape(shape)
    means = fm.masked_mean(left, seen, axis=(2, 4)).reshape(days, -1)
    there = fm.masked_count(left, seen, axis=(2, 4)).reshape(days, -1) > 0
    sea = there.any(0)
    return fm.take_submatrix(means, None, sea), fm.take_submatrix(there, None, sea), sea


def pairs_of(table, there):
    """The covariance and the correlation of each pair of columns.

    Over the rows where both have a number; NaN if those are few. As `numpy.ma.cov` has it, numbers
    are taken from the mean of all numbers of their column.
    """
    centred = fm.masked_fill(table - fm.masked_mean(table, there, axis=0), ~there, 0)
    common = fm.matmul(there.T, there, semiring="plus_min")  # in how many rows both are
    enough = {"mask": common >= COMMON, "fill": np.nan}  # the others are not computed
    sums = fm.matmul(centred.T, centred, **enough)
    squares = fm.matmul((centred**2).T, there, **enough)  # of a column, where the other is, too
    return sums / np.maximum(common - 1, 1), sums / np.sqrt(squares * squares.T)


@dataclass
class Statistics:
    """What the masked operations say of the sea."""

    seen: np.ndarray  # (days, y, x)
    naive: np.ndarray  # (days,), mean of what was seen
    place: np.ndarray  # (y, x)
    day: np.ndarray  # (days, 1, 1)
    left: np.ndarray  # (days, y, x), what place and day leave
    table: np.ndarray  # (days, boxes), means of that
    there: np.ndarray  # (days, boxes), whether there are any
    sea: np.ndarray  # which boxes these are
    covariances: np.ndarray  # (boxes, boxes)
    correlations: np.ndarray  # (boxes, boxes)


def measure(sea):
    seen = ~np.isnan(sea.measured)
    naive = fm.masked_mean(sea.measured, seen, axis=(1, 2))
    place, day = fit(sea.measured, seen)
    left = sea.measured - place - day
    table, there, boxes = boxes_of(left, seen)
    found = Statistics(seen, naive, place, day, left, table, there, boxes, *pairs_of(table, there))
    check(sea, found)
    return found


def check(sea, found):
    """Hold the statistics against `numpy.ma`, where True means invalid."""
    measured = np.ma.MaskedArray(sea.measured, ~found.seen)
    np.testing.assert_allclose(found.naive, measured.mean((1, 2)).data)
    place = (measured - found.day).mean(0) + 0 * found.place
    np.testing.assert_allclose(found.place[~place.mask], place.compressed(), atol=1e-6)
    table = np.ma.MaskedArray(found.table, ~found.there)
    few = np.isnan(found.covariances)
    expected = np.ma.cov(table, rowvar=False).data
    np.testing.assert_allclose(found.covariances[~few], expected[~few], rtol=1e-9, atol=1e-12)


def rms(errors):
    return np.sqrt(np.mean(np.square(errors)))


def errors_of(sea, found):
    """Of the naive means and of the fit, in K: of means of days and of places, and in the gaps."""
    wet = ~np.isnan(sea.truth[0])
    gaps = wet & ~found.seen
    of_days = fm.masked_mean(sea.truth, wet, axis=(1, 2))
    of_places = fm.masked_mean(sea.truth, wet, axis=0)
    naive = fm.masked_mean(sea.measured, found.seen, axis=0)
    fitted = found.place + found.day
    return {
        "what was seen": (
            found.naive - of_days,
            (naive - of_places)[wet],
            (naive - sea.truth)[gaps],
        ),
        "fit of both": (
            fm.masked_mean(fitted, wet, axis=(1, 2)) - of_days,
            (found.place - of_places)[wet],
            (fitted - sea.truth)[gaps],
        ),
    }


def true_correlations(sea, found):
    """Of the same boxes, without clouds and without noise."""
    wet = np.broadcast_to(~np.isnan(sea.truth[0]), sea.truth.shape)
    place, day = fit(sea.truth, wet)
    table, there, boxes = boxes_of(sea.truth - place - day, wet)
    return pairs_of(table, there)[1][np.ix_(found.sea[boxes], found.sea[boxes])]


def report(sea, found):
    """What is found, as lines."""
    wet = ~np.isnan(sea.truth[0])
    days = fm.masked_count(sea.measured, found.seen, axis=(1, 2)) / wet.sum()
    places = fm.masked_count(sea.measured, found.seen, axis=0)[wet]
    low = fm.masked_min(sea.measured, found.seen)
    high = fm.masked_max(sea.measured, found.seen)
    cloudy, clear, dark = 1 - days.mean(), 1 - days.max(), 1 - days.min()
    yield f"under clouds: {cloudy:.0%} of the sea, {clear:.0%} to {dark:.0%} on a day"
    yield f"a place is seen on {places.min()} to {places.max()} of {DAYS} days"
    yield f"measured: {low:.1f} to {high:.1f} °C; the statistics are those of numpy.ma"
    yield ""
    yield "error in K       mean of a day  at worst  mean of a place  under a cloud"
    for name, (of_days, of_places, in_gaps) in errors_of(sea, found).items():
        yield (
            f"{name:15}  {rms(of_days):13.2f}  {np.abs(of_days).max():8.2f}  "
            f"{rms(of_places):15.2f}  {rms(in_gaps):13.2f}"
        )
    yield ""
    truth = true_correlations(sea, found)
    filled = fm.masked_fill(found.table, ~found.there, 0)
    few = np.isnan(found.correlations)
    yield f"boxes: {len(few)}; pairs with fewer than {COMMON} days in common: {few.mean():.1%}"
    yield "correlations               error  of pairs beyond 0.5"
    for name, some in (
        ("days that both were seen", found.correlations),
        ("gaps filled with the mean", np.corrcoef(filled, rowvar=False)),
    ):
        strong = np.abs(truth[~few]) > 0.5
        size = (some / truth)[~few][strong].mean()
        yield f"{name:25} {rms((some - truth)[~few]):6.2f}  {size:.2f} times the truth"


def draw(path, sea, found):
    """A day as seen and with its gaps filled; means by day; correlations with one place."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.6), layout="constrained")
    (first, second), (third, fourth) = figure.subplots(2, 2)
    wet = ~np.isnan(sea.truth[0])
    fitted = found.place + found.day
    filled = fm.masked_fill(sea.measured, ~found.seen, fitted)

    def show(axes, values, colours, label, low, high):
        style = {"origin": "lower", "interpolation": "nearest"}
        axes.imshow(np.where(wet, np.nan, 0), "Greys", vmin=-1, vmax=1, **style)
        image = axes.imshow(values, colours, vmin=low, vmax=high, **style)
        figure.colorbar(image, ax=axes, label=label, shrink=0.8)
        axes.set(xticks=(), yticks=())

    scale = np.nanmin(filled[DAY]), np.nanmax(filled[DAY])
    share = fm.masked_mean(~found.seen[DAY], wet)
    show(first, sea.measured[DAY], "viridis", "°C", *scale)
    first.set_title(f"Day {DAY}: clouds over {share:.0%} of the sea", fontsize=11)
    show(second, filled[DAY], "viridis", "°C", *scale)
    second.set_title("With the fit where clouds were", fontsize=11)

    days = np.arange(DAYS)
    truth = fm.masked_mean(sea.truth, wet, axis=(1, 2))
    third.plot(days, found.naive, "o", color="#D55E00", markersize=4, label="what was seen")
    fair = fm.masked_mean(fitted, wet, axis=(1, 2))
    third.plot(days, fair, color="#0072B2", linewidth=2, label="fit of places and days")
    third.plot(days, truth, "k--", linewidth=1.2, label="truth")
    third.set(xlabel="day", ylabel="mean of the sea, °C")
    third.set_title("Mean of each day", fontsize=11)
    third.grid(color="#dddddd", linewidth=0.6)
    third.legend(fontsize=9)

    box = PLACE[0] // BOX * (WIDTH // BOX) + PLACE[1] // BOX
    row = np.full(found.sea.shape, np.nan)
    row[found.sea] = found.correlations[found.sea[:box].sum()]
    blocks = row.reshape(HEIGHT // BOX, WIDTH // BOX).repeat(BOX, 0).repeat(BOX, 1)
    show(fourth, np.where(wet, blocks, np.nan), "PuOr", "correlation", -1, 1)
    few = wet[BOX // 2 :: BOX, BOX // 2 :: BOX] & np.isnan(blocks[::BOX, ::BOX])
    centres = np.argwhere(few) * BOX + BOX // 2
    fourth.plot(centres[:, 1], centres[:, 0], "x", color="#777777", markersize=5)
    fourth.plot(PLACE[1], PLACE[0], "k+", markersize=13, markeredgewidth=2.5)
    fourth.set_title("Correlation with the place at the cross", fontsize=11)
    figure.savefig(path, dpi=100, facecolor="white")


def main(arguments=None):
    """Print what the page says, draw its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = Path(__file__).with_suffix(".png")
    parser.add_argument("--picture", type=Path, default=beside, help=f"default: {beside.name}")
    options = parser.parse_args(arguments)
    sea = make_sea()
    found = measure(sea)
    print("\n".join(report(sea, found)))
    draw(options.picture, sea, found)


if __name__ == "__main__":
    main()
