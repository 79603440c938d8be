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


@pytest.fixture(scope="module")
def missing():
    script = load("missing")
    script.sea = script.make_sea()
    script.found = script.measure(script.sea)
    return script


def with_gaps(rng, *shape):
    table = rng.standard_normal(shape)
    table[rng.random(shape) < 0.3] = np.nan
    return table


def test_clouds_and_land_are_missing(missing):
    land = np.isnan(missing.sea.truth)
    assert (land == land[0]).all()
    assert np.isnan(missing.sea.measured[land]).all()
    errors = (missing.sea.measured - missing.sea.truth)[missing.found.seen]
    assert errors.std() == pytest.approx(missing.NOISE, rel=0.01)


def test_fit_has_the_least_squares(missing):
    """A column for each place and for each day, and a row for each measurement."""
    measured = with_gaps(np.random.default_rng(3), 7, 4, 5)
    measured[:, 2, 3] = np.nan  # is land
    place, day = missing.fit(measured, ~np.isnan(measured))
    days, y, x = np.nonzero(~np.isnan(measured))
    design = np.zeros((len(days), 20 + 7))
    design[np.arange(len(days)), 5 * y + x] = 1
    design[np.arange(len(days)), 20 + days] = 1
    solution = np.linalg.lstsq(design, measured[days, y, x], rcond=None)[0]
    np.testing.assert_allclose((place + day)[days, y, x], design @ solution, atol=1e-7)
    assert day.mean() == pytest.approx(0, abs=1e-12)
    assert np.isnan(place[2, 3])
    assert np.isnan(place).sum() == 1


def test_pairs_are_those_of_common_rows(missing):
    table = with_gaps(np.random.default_rng(4), 30, 6)
    table[3:17, 0] = np.nan  # leaves too few rows
    there = ~np.isnan(table)
    covariances, correlations = missing.pairs_of(table, there)
    centred = table - np.nanmean(table, 0)
    few = 0
    for i in range(6):
        for j in range(6):
            a, b = centred[there[:, i] & there[:, j]][:, [i, j]].T
            if len(a) < missing.COMMON:
                few += 1
                assert np.isnan([covariances[i, j], correlations[i, j]]).all()
            else:
                assert covariances[i, j] == pytest.approx(a @ b / (len(a) - 1))
                expected = a @ b / np.sqrt((a @ a) * (b @ b))
                assert correlations[i, j] == pytest.approx(expected)
    assert 0 < few < 20


def test_boxes_are_means(missing):
    found = missing.found
    size, width = missing.BOX, missing.WIDTH // missing.BOX
    for k, box in list(enumerate(np.flatnonzero(found.sea)))[::50]:
        y, x = size * (box // width), size * (box % width)
        block = found.left[:, y : y + size, x : x + size].reshape(missing.DAYS, -1)
        there = ~np.isnan(block).all(1)
        np.testing.assert_array_equal(found.there[:, k], there)
        np.testing.assert_allclose(found.table[there, k], np.nanmean(block[there], 1))


def test_page_about_missing_has_what_the_example_prints(missing, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    missing.main(["--picture", str(tmp_path / "missing.png")])
    assert shown("missing") == capsys.readouterr().out
    assert 10_000 < (tmp_path / "missing.png").stat().st_size < 150_000


def test_figures_about_missing(missing):
    """Worked out again with NumPy's functions for NaN, which warn of land: it is left out first."""
    text = shown("missing")
    assert text == "\n".join(missing.report(missing.sea, missing.found)) + "\n"
    wet = ~np.isnan(missing.sea.truth[0])
    measured, truth = missing.sea.measured[:, wet], missing.sea.truth[:, wet]
    seen = ~np.isnan(measured)
    lines = text.splitlines()
    shares = [np.mean(~seen), *np.sort(np.mean(~seen, 1))[[0, -1]]]
    assert numbers(lines[0]) == [round(100 * share) for share in shares]
    assert numbers(lines[1]) == [seen.sum(0).min(), seen.sum(0).max(), missing.DAYS]
    extremes = np.nanmin(measured), np.nanmax(measured)
    assert numbers(lines[2].split(" °C")[0].replace(" to ", " ")) == [round(x, 1) for x in extremes]

    fitted = (missing.found.place + missing.found.day)[:, wet]
    of_days, of_places = np.nanmean(measured, 1), np.nanmean(measured, 0)
    for line, (days, places, under) in zip(
        lines[5:7],
        (
            (of_days, of_places, np.broadcast_to(of_places, truth.shape)),
            (fitted.mean(1), fitted.mean(0), fitted),
        ),
        strict=True,
    ):
        errors = days - truth.mean(1), places - truth.mean(0), (under - truth)[~seen]
        of_days_, of_places_, gaps = (np.sqrt((error**2).mean()) for error in errors)
        expected = [of_days_, np.abs(errors[0]).max(), of_places_, gaps]
        assert numbers(line) == [round(x, 2) for x in expected]
    # The claims of the page: the fit is nearer to the truth, and so are correlations of pairs.
    naive, fit = numbers(lines[5]), numbers(lines[6])
    assert all(2 * better <= worse + 0.1 for better, worse in zip(fit, naive, strict=True))
    pairs, filled = numbers(lines[10]), numbers(lines[11])
    assert pairs[0] < filled[0]
    assert filled[1] < pairs[1] - 0.1 < 1


def test_correlations_are_near_the_truth(missing):
    """Those of the page, from boxes of the true temperatures less the means of days and places."""
    found, truth = missing.found, missing.sea.truth
    means = np.nanmean(truth, axis=(1, 2), keepdims=True)
    wet = ~np.isnan(truth[0])
    left = truth[:, wet] - truth[:, wet].mean(0) - means[:, :, 0] + truth[:, wet].mean()
    whole = np.full(truth.shape, np.nan)
    whole[:, wet] = left
    size, width = missing.BOX, missing.WIDTH // missing.BOX
    columns = []
    for box in np.flatnonzero(found.sea):
        y, x = size * (box // width), size * (box % width)
        columns.append(np.nanmean(whole[:, y : y + size, x : x + size].reshape(60, -1), 1))
    true = np.corrcoef(columns)
    enough = ~np.isnan(found.correlations)
    gaps_filled = np.corrcoef(np.where(found.there, found.table, 0), rowvar=False)
    lines = shown("missing").splitlines()
    few = 100 * np.mean(~enough)
    assert numbers(lines[8])[::2] == [len(true), round(few, 1)]
    strong = enough & (np.abs(true) > 0.5)
    for line, some in zip(lines[10:12], (found.correlations, gaps_filled), strict=True):
        error = np.sqrt(np.mean((some - true)[enough] ** 2))
        expected = round(error, 2), round((some / true)[strong].mean(), 2)
        assert numbers(line) == list(expected)


@pytest.fixture(scope="module")
def compression():
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    script = load("compression")
    script.compressed = script.compress(script.photograph())
    return script


def test_page_about_compression_has_what_the_example_prints(compression, tmp_path, capsys):
    """Up to the last digit, which is rounded from what another CPU adds up in another order."""
    pytest.importorskip("matplotlib")
    compression.main(["--picture", str(tmp_path / "compression.png")])
    printed, page = capsys.readouterr().out, shown("compression")
    assert re.sub(r"[\d.]+", "0", printed) == re.sub(r"[\d.]+", "0", page)
    np.testing.assert_allclose(numbers(printed), numbers(page), rtol=0.02, atol=0.002)
    assert 10_000 < (tmp_path / "compression.png").stat().st_size < 150_000


def test_figures_about_compression(compression):
    """Errors by the full decomposition, and shares by NumPy's."""
    x, lines = compression.compressed.x, shown("compression").splitlines()
    s = np.linalg.svd(x.astype("f8"), compute_uv=False)
    for line in lines[2:9]:
        rank, few, true, reported, least = numbers(line)
        rank = int(rank)
        assert least == pytest.approx(np.sqrt(np.sum(s[rank:] ** 2) / np.sum(s**2)), abs=1e-3)
        assert few == pytest.approx(100 * rank * sum(x.shape) / x.size, abs=0.1)
        assert least <= true <= 1.02 * least
        assert true <= reported <= 2.2 * true
    rank, error, reported = numbers(lines[9].split(": ")[1])
    assert error < reported <= compression.TOLERANCE
    data, _ = compression.digits()
    values = np.linalg.svd(data - data.mean(0), compute_uv=False) ** 2
    for line in lines[13:17]:
        count, share, _ = numbers(line)
        expected = 100 * np.sum(values[: int(count)]) / np.sum(values)
        assert share == pytest.approx(expected, abs=0.1)


@pytest.fixture(scope="module")
def gpu_arrays():
    return load("gpu_arrays")


def test_page_about_gpu_arrays_has_what_the_example_prints(gpu_arrays, capsys):
    gpu_arrays.main(["--libraries", "numpy"])
    assert shown("gpu_arrays") == capsys.readouterr().out


def test_page_about_gpu_arrays_has_the_function(gpu_arrays):
    page = (EXAMPLES / "gpu_arrays.md").read_text(encoding="utf-8")
    script = (EXAMPLES / "gpu_arrays.py").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        assert line in script


def test_votes_on_gpu_arrays(gpu, gpu_arrays):
    """Of few digits, by NumPy and on a GPU."""
    images, digits = gpu_arrays.make_digits(40)
    given = gpu_arrays.arguments(images, digits)
    shares = gpu_arrays.vote(*given)
    rows = images.reshape(40, -1).astype(float)
    centred = rows - rows.mean(1, keepdims=True)
    rows = centred / np.sqrt(rows.var(1, keepdims=True) + 1e-5)
    scores = gpu_arrays.SHARPNESS * rows @ rows.T
    scores[np.eye(40, dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True) @ given[1]
    np.testing.assert_allclose(shares, expected, atol=1e-4)
    found = gpu_arrays.vote(*map(gpu.array, given))
    assert isinstance(found, gpu.kind)
    np.testing.assert_allclose(gpu.numpy(found), expected, atol=1e-4)


def test_page_about_gpus_says_what_runs_there():
    """Its first table has the functions with a twin, its second those without."""
    pytest.importorskip("numba_cuda")
    import fastmat as fm
    from fastmat.core.devices import twin

    page = (EXAMPLES.parent / "gpu.md").read_text(encoding="utf-8")
    section = page.split("## What runs where")[1].split("\n## ")[0]
    there, here = (re.findall(r"`(\w+)`", table) for table in section.split("on the CPU alone"))

    def runs_there(name):
        try:
            return bool(twin(getattr(fm, name)))
        except TypeError:
            return False

    assert [name for name in there if not runs_there(name)] == []
    here = [name for name in here if name in fm.__all__]
    assert [name for name in here if runs_there(name)] == []
    other = {"Semiring", "linalg", "masks", "matmul_precision", "modular", "random", "threads"}
    assert set(fm.__all__) - set(there) - set(here) - other == set()
