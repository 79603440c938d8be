"""The worked examples say what is so: held against SciPy and NumPy, apart from their own checks."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csgraph, csr_array
from scipy.spatial import Delaunay, cKDTree

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"


def load(name):
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))


def shown(name):
    """What the page of an example shows as printed."""
    page = (EXAMPLES / f"{name}.md").read_text(encoding="utf-8")
    return "".join(re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE))


def numbers(line):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", line)]


@pytest.fixture(scope="module")
def roads():
    script = load("roads")
    script.map = script.make_map()
    script.answers = script.answer(script.map)
    return script


def weights(roads, closed=None):
    matrix = np.where(np.isfinite(roads.map.seconds), roads.map.seconds, 0)
    if closed is not None:
        i, j = roads.map.bridges[closed]
        matrix[i, j] = matrix[j, i] = 0
    return csr_array(matrix)


def test_roads_are_a_gabriel_graph(roads):
    towns = np.random.default_rng(1).random((300, 2))
    found = roads.join(towns)
    corners = Delaunay(towns).simplices
    ends = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    middles, radii = towns[ends].mean(1), np.hypot(*np.diff(towns[ends], axis=1)[:, 0].T) / 2
    inside = cKDTree(towns).query_ball_point(middles, radii * (1 - 1e-9), return_length=True)
    expected = np.zeros_like(found)
    expected[tuple(ends[inside == 0].T)] = True
    assert 300 < np.triu(expected | expected.T).sum() < len(ends) / 2
    np.testing.assert_array_equal(found, expected | expected.T)


def test_only_bridges_cross_the_river(roads):
    bridges = {tuple(sorted(ends)) for ends in roads.map.bridges.values()}
    assert len(bridges) == 4
    crossing = set()
    for i, j in np.argwhere(np.triu(np.isfinite(roads.map.seconds))).tolist():
        part = np.linspace(0, 1, 200)[:, np.newaxis]
        x, y = ((1 - part) * roads.map.towns[i] + part * roads.map.towns[j]).T
        if len(set(y > roads.river(x))) == 2:
            crossing.add((i, j))
    assert crossing == bridges


def test_times_are_those_of_floyd_and_warshall(roads):
    for found, closed in zip(roads.answers.seconds, [None, *roads.map.bridges], strict=True):
        expected = csgraph.shortest_path(weights(roads, closed), method="FW")
        np.testing.assert_array_equal(found, expected)


def test_routes_take_the_times(roads):
    n, seconds = len(roads.map.towns), roads.answers.seconds[0]
    here, goal = np.divmod(np.arange(n * n), n)
    driven = np.zeros(n * n)
    for _ in range(n):
        there = np.where(here == goal, goal, roads.answers.after[here, goal])
        driven += np.where(here == there, 0, roads.map.seconds[here, there])
        here = there
        if (here == goal).all():
            break
    np.testing.assert_array_equal(driven, seconds.ravel())
    path = roads.route(roads.answers.after, 3, 500)
    assert path[0] == 3
    assert path[-1] == 500
    assert roads.map.seconds[path[:-1], path[1:]].sum() == seconds[3, 500]


def test_heaviest_lorries_go_by_a_spanning_tree(roads):
    """Between two towns, the weakest road of the heaviest spanning tree is that of the best way."""
    tree = csgraph.minimum_spanning_tree(csr_array(-roads.map.tonnes))
    order, before = csgraph.breadth_first_order(tree, 0, directed=False)
    loads = -(tree + tree.T).toarray()
    expected = np.full(loads.shape, np.inf)
    for k, town in enumerate(order[1:], 1):
        by = before[town]
        reached = order[:k]
        expected[town, reached] = np.minimum(expected[by, reached], loads[town, by])
        expected[reached, town] = expected[town, reached]
    np.testing.assert_array_equal(roads.answers.widest, expected)


def test_page_about_roads_has_what_the_example_prints(roads, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    roads.main(["--picture", str(tmp_path / "roads.png")])
    assert shown("roads") == capsys.readouterr().out
    assert 10_000 < (tmp_path / "roads.png").stat().st_size < 150_000


def test_figures_about_roads(roads):
    """Worked out again from SciPy's distances."""
    text = shown("roads")
    assert text == "\n".join(roads.report(roads.map, roads.answers)) + "\n"
    seconds = csgraph.johnson(weights(roads))
    n = len(seconds)
    mean = seconds.sum(1) / (n - 1) / 60
    lines = text.splitlines()
    assert numbers(lines[1]) == [mean.argmin(), round(mean.min()), round(np.median(mean))]
    start, goal, minutes, steps = numbers(lines[2])
    start, goal = int(start), int(goal)
    assert minutes == round(seconds[start, goal] / 60)
    _, before = csgraph.dijkstra(weights(roads), indices=start, return_predecessors=True)
    path = [goal]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
    assert len(path) - 1 == steps
    assert lines[2].endswith("by Castle Bridge")
    assert set(roads.map.bridges["Castle"]) <= set(path)
    for line in lines[5:9]:
        closed = csgraph.johnson(weights(roads, line.split()[0]))
        more = (closed - seconds)[closed > seconds] / 60
        share = 100 * more.size / (n * (n - 1))
        assert numbers(line) == [round(share, 1), round(more.mean()), round(more.max())]
    for line, load in zip(lines[11:], roads.TONNES, strict=True):
        _, part = csgraph.connected_components(csr_array(roads.map.tonnes >= load))
        sizes = np.bincount(part)
        share = 100 * (sizes * (sizes - 1)).sum() / (n * (n - 1))
        assert numbers(line) == [load, round(share, 1)]


def test_times_to_places_off_the_roads(roads):
    minutes = np.arange(700.0) % 90
    x, y, (land,) = roads.over_land(roads.map, [minutes], step=20.0, pace=30)
    assert land.shape == (5, 7)
    assert (x[-1], y[-1]) == (120, 80)
    for j, i in ((0, 0), (4, 6), (1, 3)):
        north = roads.map.towns[:, 1] > roads.river(roads.map.towns[:, 0])
        same = north == (y[j] > roads.river(x[i]))
        km = np.hypot(*(roads.map.towns - (x[i], y[j])).T)
        assert land[j, i] == pytest.approx((minutes + 2 * km)[same].min(), rel=1e-12)
