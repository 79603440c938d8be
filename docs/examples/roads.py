"""Routes between all towns of a map: ``python docs/examples/roads.py``.

The map is made up: towns at random places, joined by the roads of a Gabriel graph, which
resembles networks of real roads, and cut by a river. The picture is drawn by matplotlib:
``pip install "fastmat-kernels[bench]"``. Gabriel and Sokal, "A new statistical approach to
geographic variation analysis", 1969.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fastmat as fm

WIDTH, HEIGHT = 120, 80  # of the map, km
APART = 1.7  # km that towns keep from each other, and half of it from the river
BRIDGES = {"West": 14, "Mill": 41, "Castle": 77, "East": 107}  # and how far east they are, km
CITIES = ((18, 64), (60, 68), (105, 66), (12, 14), (52, 12), (104, 20))  # joined by trunk roads
COUNTRY, TRUNK = 45, 90  # km/h
TONNES = (7.5, 12, 26, 40)  # of lorries that roads carry; trunk roads and most bridges the most
START, GOAL = (60, 68), (90, 8)  # near them are the towns that the picture is about


def river(x):
    """How far north the river is, km."""
    return 38 + 6 * np.sin(x / 15) + 3 * np.sin(x / 6)


@dataclass
class Map:
    """Towns and roads; roads are matrices with an entry for each pair of towns."""

    towns: np.ndarray  # (n, 2), km to the east and to the north
    seconds: np.ndarray  # (n, n), whole, by the road between two towns; inf: there is none
    tonnes: np.ndarray  # (n, n), that the road carries; 0: there is none
    trunk: np.ndarray  # (n, n), whether it is a trunk road
    bridges: dict  # the two towns that each bridge joins, by its name


def settle(count, rng):
    """Places of towns, apart from each other and from the river."""
    towns = np.empty((count, 2))
    bends = np.linspace(0, WIDTH, 1000)
    taken = 0
    while taken < count:
        place = rng.random(2) * (WIDTH, HEIGHT)
        wet = np.hypot(bends - place[0], river(bends) - place[1]).min() < APART / 2
        near = (np.hypot(*(towns[:taken] - place).T) < APART).any()
        if not (wet or near):
            towns[taken] = place
            taken += 1
    return towns


def join(towns):
    """Which pairs have no third town in the circle of which their road is the diameter.

    By Pythagoras, the squares of the ways by a third town add up to less than that of the diameter
    if it is inside.
    """
    squares = fm.matmul(towns, towns.T, semiring="sqeuclidean")
    np.fill_diagonal(squares, np.inf)
    by_third = fm.matmul(squares, squares, semiring="min_plus")
    return squares < by_third


def over_river(towns):
    """For each pair of towns, whether the straight line between them meets the river."""
    wet = np.zeros((len(towns), len(towns)), bool)
    north = towns[:, 1] > river(towns[:, 0])
    for part in np.linspace(0, 1, 21):
        x, y = np.moveaxis((1 - part) * towns[:, np.newaxis] + part * towns, 2, 0)
        wet |= (y > river(x)) != north
    return wet | wet.T


def nearest(towns, place):
    return int(np.hypot(*(towns - place).T).argmin())


def make_map(count=700, seed=5):
    rng = np.random.default_rng(seed)
    towns = settle(count, rng)
    roads, wet = join(towns), over_river(towns)
    bridges = {}
    first, second = np.nonzero(np.triu(roads & wet))
    for name, x in BRIDGES.items():
        k = np.abs((towns[first, 0] + towns[second, 0]) / 2 - x).argmin()
        bridges[name] = int(first[k]), int(second[k])
    roads &= ~wet
    for i, j in bridges.values():
        roads[i, j] = roads[j, i] = True

    winding = np.triu(1.1 + 0.4 * rng.random((count, count)))
    km = np.sqrt(fm.matmul(towns, towns.T, semiring="sqeuclidean")) * (winding + winding.T)
    metres = np.where(roads, np.rint(1000 * km), np.inf)
    shortest, _ = close(with_diagonal(metres, 0), "min_plus")
    after = first_steps(metres, shortest)
    trunk = np.zeros_like(roads)
    cities = [nearest(towns, place) for place in CITIES]
    for i in cities:
        for j in cities:
            path = route(after, i, j)
            trunk[path[:-1], path[1:]] = trunk[path[1:], path[:-1]] = True

    tonnes = np.triu(rng.choice(TONNES, (count, count), p=(0.35, 0.3, 0.2, 0.15)))
    tonnes = np.where(trunk, TONNES[-1], np.where(roads, tonnes + tonnes.T, 0))
    seconds = np.rint(metres * 3.6 / np.where(trunk, TRUNK, COUNTRY))
    return Map(towns, seconds, tonnes, trunk, bridges)


def with_diagonal(matrix, value):
    """A copy in which to stay where one is takes, or carries, the value; also of a stack."""
    copy = matrix.copy()
    diagonal = np.arange(matrix.shape[-1])
    copy[..., diagonal, diagonal] = value
    return copy


def close(steps, semiring):
    """The best of paths of any number of steps, and how many products that took.

    A product of the matrix with itself has the paths of twice as many steps; a stack of matrices
    will do, too.
    """
    products = 0
    while True:
        twice = fm.matmul(steps, steps, semiring=semiring)
        products += 1
        if np.array_equal(twice, steps):
            return steps, products
        steps = twice


def first_steps(roads, shortest):
    """The town after i on the shortest route from i to j, for all i and j.

    Lengths are whole numbers, so there is room for n after the point: the towns are written there
    (times n, so that all is whole again), and the least sum brings the town along.
    """
    n = len(roads)
    sums = fm.matmul(roads * n + np.arange(n), shortest * n, semiring="min_plus")
    return (sums % n).astype(int)


def route(after, i, j):
    """The towns from i to j."""
    towns = [i]
    while towns[-1] != j:
        towns.append(int(after[towns[-1], j]))
    return np.array(towns)


def without(matrix, roads):
    """A stack: the matrix as it is, then with each of the roads closed."""
    stack = np.repeat(matrix[np.newaxis], 1 + len(roads), axis=0)
    for k, (i, j) in enumerate(roads, 1):
        stack[k, i, j] = stack[k, j, i] = np.inf
    return stack


def bridge_of(path, bridges):
    """The name of the bridge that a route takes first."""
    steps = {frozenset(step) for step in zip(path[:-1].tolist(), path[1:].tolist(), strict=True)}
    return next(name for name, ends in bridges.items() if frozenset(ends) in steps)


def check(town_map, seconds, widest):
    """Hold times and loads against SciPy, which follows the roads instead of multiplying."""
    from scipy.sparse import csgraph, csr_array

    roads = csr_array(np.where(np.isfinite(town_map.seconds), town_map.seconds, 0))
    np.testing.assert_array_equal(seconds, csgraph.dijkstra(roads))
    for load in TONNES:
        _, part = csgraph.connected_components(csr_array(town_map.tonnes >= load))
        np.testing.assert_array_equal(widest >= load, part[:, np.newaxis] == part)


@dataclass
class Answers:
    """What the products say of a map."""

    products: int  # until nothing changes
    seconds: np.ndarray  # (1 + bridges, n, n): as it is, then with each bridge closed
    after: np.ndarray  # (n, n), where the routes go first
    widest: np.ndarray  # (n, n), tonnes of the heaviest lorry
    central: int  # the town from which the mean time is least


def answer(town_map):
    stack = without(town_map.seconds, town_map.bridges.values())
    seconds, products = close(with_diagonal(stack, 0), "min_plus")
    widest, _ = close(with_diagonal(town_map.tonnes, np.inf), "max_min")
    after = first_steps(town_map.seconds, seconds[0])
    central = int(seconds[0].mean(1).argmin())
    check(town_map, seconds[0], widest)
    return Answers(products, seconds, after, widest, central)


def report(town_map, answers):
    """What is found, as lines."""
    n, seconds = len(town_map.towns), answers.seconds[0]
    pairs = n * (n - 1)
    minutes = seconds / 60
    roads = np.isfinite(town_map.seconds).sum() // 2
    yield f"{n} towns, {roads} roads: {answers.products} products, equal to Dijkstra's distances"
    mean = minutes.sum(1) / (n - 1)
    yield (
        f"most central town: {answers.central}, {mean[answers.central]:.0f} minutes to the others; "
        f"the median of all towns is {np.median(mean):.0f}"
    )
    start, goal = (nearest(town_map.towns, place) for place in (START, GOAL))
    path = route(answers.after, start, goal)
    name = bridge_of(path, town_map.bridges)
    yield (
        f"from {start} to {goal}: {minutes[start, goal]:.0f} minutes, {len(path) - 1} roads, "
        f"by {name} Bridge"
    )
    yield ""
    yield "closed  routes that take longer  minutes more, mean  at most"
    for name, closed in zip(town_map.bridges, answers.seconds[1:], strict=True):
        more = (closed - seconds) / 60
        longer = more > 0
        yield (
            f"{name:6}  {longer.sum() / pairs:23.1%}  {more[longer].mean():18.0f}  "
            f"{more.max():7.0f}"
        )
    yield ""
    yield "lorry of  pairs of towns that it can go between"
    for load in TONNES:
        share = ((answers.widest >= load).sum() - n) / pairs
        yield f"{load:6} t  {share:37.1%}"


def over_land(town_map, rows, step=1.0, pace=15):
    """Minutes by towns as minutes by places on a grid: from the best town it is `pace` km/h."""
    x, y = np.arange(0, WIDTH + step, step), np.arange(0, HEIGHT + step, step)
    places = np.stack(np.meshgrid(x, y), 2).reshape(-1, 2)
    km = np.sqrt(fm.matmul(town_map.towns, places.T, semiring="sqeuclidean"))
    north, above = (at[:, 1] > river(at[:, 0]) for at in (town_map.towns, places))
    km[north[:, np.newaxis] != above] = np.inf
    minutes = fm.matmul(np.array(rows), km * (60 / pace), semiring="min_plus")
    return x, y, minutes.reshape(-1, len(y), len(x))


def draw(path, town_map, answers):
    """Four maps: times, times with a bridge closed, lorries, and the middle of the map."""
    from matplotlib.figure import Figure
    from matplotlib.patheffects import Normal, Stroke

    towns, minutes = town_map.towns, answers.seconds[0] / 60
    start, goal = (nearest(towns, place) for place in (START, GOAL))
    shortest = route(answers.after, start, goal)
    name = bridge_of(shortest, town_map.bridges)
    which = list(town_map.bridges).index(name)
    roads = without(town_map.seconds, [town_map.bridges[name]])[1]
    detour = route(first_steps(roads, answers.seconds[1 + which]), start, goal)
    by_start, by_detour = minutes[start], answers.seconds[1 + which, start] / 60
    mean = minutes.sum(1) / (len(towns) - 1)
    x, y, (open_, closed, middle) = over_land(town_map, [by_start, by_detour, mean])

    figure = Figure(figsize=(9, 7.4), layout="constrained")
    panels = figure.subplots(2, 2)
    halo = [Stroke(linewidth=6, foreground="white"), Normal()]

    def filled(axes, values, levels, label):
        areas = axes.contourf(x, y, values, levels, cmap="YlOrBr", extend="max")
        style = {"location": "bottom", "shrink": 0.8, "aspect": 30, "pad": 0.02}
        figure.colorbar(areas, ax=axes, label=label, **style)

    def mark(axes, town, letter):
        axes.plot(*towns[town], "o", color="black", markersize=13, zorder=6)
        style = {"color": "white", "weight": "bold", "size": 9, "zorder": 7}
        axes.text(*towns[town], letter, ha="center", va="center_baseline", **style)

    first, second = panels[0]
    filled(first, open_, range(0, 151, 15), "minutes")
    first.set_title(f"Time from A: {by_start[goal]:.0f} minutes to B", fontsize=11)
    filled(second, closed - open_, (1, *range(10, 71, 10)), "minutes more from A")
    second.set_title(f"{name} Bridge closed: {by_detour[goal]:.0f} minutes to B", fontsize=11)
    for axes, path_ in ((first, shortest), (second, detour)):
        axes.plot(*towns[path_].T, color="black", linewidth=3, zorder=5, path_effects=halo)
        mark(axes, start, "A")
        mark(axes, goal, "B")
    x_closed, y_closed = towns[list(town_map.bridges[name])].mean(0)
    style = {"markersize": 12, "markeredgewidth": 3.5, "zorder": 6, "path_effects": halo}
    second.plot(x_closed, y_closed, "kx", **style)

    third, fourth = panels[1]
    # Okabe and Ito's colours, which the colour-blind can tell apart, and markers for all.
    styles = (("#E69F00", "v"), ("#D55E00", "s"), ("#009E73", "^"), ("#0072B2", "o"))
    for load, (colour, marker) in zip(TONNES, styles, strict=True):
        there = towns[answers.widest[start] == load]
        style = {"s": 14, "color": colour, "marker": marker, "linewidths": 0, "zorder": 4}
        third.scatter(*there.T, label=f"{load:g} t", **style)
    mark(third, start, "A")
    third.set_title("Heaviest lorry that gets there from A", fontsize=11)
    style = {"bbox_to_anchor": (0.5, -0.01), "handletextpad": 0.1, "frameon": False}
    third.legend(loc="upper center", ncols=4, fontsize=9, markerscale=1.8, **style)
    filled(fourth, middle, range(40, 131, 10), "minutes")
    best = towns[answers.central]
    fourth.plot(*best, "*", color="black", markersize=20, markeredgecolor="white", zorder=6)
    fourth.set_title(f"Mean time to all towns: {mean.min():.0f} minutes at the star", fontsize=11)
    for axes in panels.flat:
        draw_map(axes, town_map, axes is first)
    save(figure, path)


def draw_map(axes, town_map, country):
    """The river with its bridges, trunk roads or all roads, and a scale."""
    from matplotlib.collections import LineCollection

    bends = np.linspace(0, WIDTH, 300)
    axes.plot(bends, river(bends), color="#56B4E9", linewidth=5, zorder=2)
    for shown, width in ((town_map.trunk, 1.3), (np.isfinite(town_map.seconds), 0.35)):
        if country or shown is town_map.trunk:
            lines = town_map.towns[np.argwhere(np.triu(shown))]
            axes.add_collection(LineCollection(lines, colors="#444444", linewidths=width))
    for i, j in town_map.bridges.values():
        axes.plot(*town_map.towns[[i, j]].T, color="#444444", linewidth=1.3, zorder=3)
    if country:
        axes.plot((8, 28), (73, 73), "k", linewidth=3, zorder=5)
        style = {"ha": "center", "fontsize": 9, "bbox": {"color": "white", "alpha": 0.8, "pad": 1}}
        axes.text(18, 74, "20 km", zorder=4, **style)
    axes.set_aspect("equal")
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), xticks=(), yticks=())


def save(figure, path):
    """As a picture of 64 colours, which is small."""
    from io import BytesIO

    from PIL import Image  # matplotlib needs it, too

    buffer = BytesIO()
    figure.savefig(buffer, dpi=100, facecolor="white")
    Image.open(buffer).convert("RGB").quantize(64).save(path, optimize=True)


def main(arguments=None):
    """Print what the page says, draw its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = Path(__file__).with_suffix(".png")
    parser.add_argument("--picture", type=Path, default=beside, help=f"default: {beside.name}")
    options = parser.parse_args(arguments)
    town_map = make_map()
    answers = answer(town_map)
    print("\n".join(report(town_map, answers)))
    draw(options.picture, town_map, answers)


if __name__ == "__main__":
    main()
