"""Products on tensor cores, by the emulator and on GPUs."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("cuda.bindings")

import ml_dtypes
from gpus import on
from machine_code import Budget, assembled, offences

from fastmat.cuda import driver, launch_tensor_core, tensor_core, tensor_wgmma
from fastmat.cuda.arrays import stream_of, view
from fastmat.cuda.launch_tensor_core import Choice
from fastmat.cuda.tensor_core import product
from fastmat.cuda.tensor_tiles import Tile

DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
SMALL = {
    "float16": (Choice(Tile(64, 32, 64, 32, 32, 3), 1),),
    "bfloat16": (Choice(Tile(32, 64, 32, 32, 32, 3, 2), 1),),
    "float32": (Choice(Tile(32, 64, 32, 32, 32, 3), 1),),
    "float64": (Choice(Tile(64, 32, 16, 32, 32, 3), 1),),
}
EPSILON = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


@pytest.fixture
def small(monkeypatch):
    """Small tiles, so that there are many blocks."""
    monkeypatch.setattr(launch_tensor_core, "TILES", SMALL)
    tensor_core._plan.cache_clear()
    yield
    tensor_core._plan.cache_clear()


def numbers(shape, dtype, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[dtype])


def laid_out(x, order, multiple):
    """`x` with rows ("C") or columns ("F") contiguous, each line at a multiple of so many items."""
    x = x.swapaxes(-1, -2) if order == "F" else x
    longer = -(-x.shape[-1] // multiple) * multiple
    memory = np.full((*x.shape[:-1], longer), np.nan, x.dtype)
    y = memory[..., : x.shape[-1]]
    y[...] = x
    return y.swapaxes(-1, -2) if order == "F" else y


def multiply(gpu, a, b, c, precision=None):
    """Whether the tensor cores serve this, and what was written to `c`."""
    there = [gpu.array(x) for x in (a, b, c)]
    views = [view(x, name) for x, name in zip(there, "abc", strict=True)]
    served = product(*views, stream_of(views[2]), precision=precision)
    return served, gpu.numpy(there[2])


def check(result, a, b, unit, out):
    """Within the error of sums of rounded products, and of the rounding of the result.

    Tensor cores may cut the bits of each term, so that a sum has an error of one unit per term.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    wanted, size = a @ b, np.abs(a) @ np.abs(b)
    term = EPSILON["float64" if out == "float64" else "float32"] * (a.shape[-1] + 2)
    error = np.abs(result.astype(np.float64) - wanted)
    assert np.all(error <= size * (2 * term + 2 * unit) + np.abs(wanted) * EPSILON[out])


def served_product(gpu, a, b, c, precision=None):
    served, result = multiply(gpu, a, b, c, precision)
    assert served
    return result


CASES = {  # dtype, out, precision, what the factors are rounded to
    "f16": ("float16", "float16", None, 0),
    "bf16": ("bfloat16", "bfloat16", None, 0),
    "f16-f32": ("float16", "float32", None, 0),
    "tf32": ("float32", "float32", "tf32", 2.0**-11),
    "f64": ("float64", "float64", None, 0),
}
FEW = [("f16", "CF"), ("bf16", "FC"), ("tf32", "CF"), ("tf32", "FC"), ("f64", "CF"), ("f64", "FC")]
ALL = [(case, orders) for case in CASES for orders in ("CC", "CF", "FC", "FF")]


def check_layouts(gpu, case, orders, m, n, k):
    dtype, out, precision, unit = CASES[case]
    a, b = numbers((m, k), dtype, 1), numbers((k, n), dtype, 2)
    c = laid_out(np.full((m, n), np.nan, DTYPES[out]), "C", 8)
    given = laid_out(a, orders[0], 8), laid_out(b, orders[1], 8)
    check(served_product(gpu, *given, c, precision), a, b, unit, out)


@pytest.mark.parametrize(("case", "orders"), FEW)
@pytest.mark.usefixtures("small")
def test_layouts(gpu, case, orders):
    check_layouts(gpu, case, orders, 70, 67, 75)


@pytest.mark.cuda_full
@pytest.mark.parametrize(("case", "orders"), ALL)
@pytest.mark.usefixtures("small")
def test_all_layouts(gpu, case, orders):
    for m, n, k in [(1, 1, 1), (64, 64, 64), (33, 31, 32), (65, 129, 17), (7, 300, 130)]:
        check_layouts(gpu, case, orders, m, n, k)


@pytest.mark.cuda_full
@pytest.mark.parametrize("case", CASES)
def test_tiles_of_the_package(gpu, case):
    dtype = CASES[case][0]
    for choice in launch_tensor_core.TILES[dtype]:
        launch_tensor_core_tiles = {**SMALL, dtype: (choice,)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch_tensor_core, "TILES", launch_tensor_core_tiles)
            tensor_core._plan.cache_clear()
            check_layouts(gpu, case, "CC", 130, 270, 100)
    tensor_core._plan.cache_clear()


@pytest.mark.parametrize("capability", [(9, 0)])
@pytest.mark.usefixtures("small")
def test_double_precision_of_hopper(capability):
    with on("emulator", capability=capability) as gpu:
        check_layouts(gpu, "f64", "CF", 66, 34, 35)


def check_warpgroups(case, orders, stages, m, n, k, monkeypatch):
    choice = Choice(Tile(128, 64, 64, 64, 64, stages), 1, True)
    monkeypatch.setattr(launch_tensor_core, "WGMMA", (choice,))
    monkeypatch.setattr(launch_tensor_core, "TILES", dict.fromkeys(DTYPES, ()))
    with on("emulator", capability=(9, 0)) as gpu:
        check_layouts(gpu, case, orders, m, n, k)


@pytest.mark.parametrize("orders", ["CF", "FC"])
@pytest.mark.usefixtures("small")
def test_warpgroups(orders, monkeypatch):
    check_warpgroups("bf16", orders, 3, 130, 70, 330, monkeypatch)


@pytest.mark.cuda_full
@pytest.mark.parametrize("case", ["f16", "bf16", "f16-f32"])
@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF"])
@pytest.mark.usefixtures("small")
def test_all_layouts_of_warpgroups(case, orders, monkeypatch):
    for m, n, k in [(1, 1, 1), (128, 64, 64), (257, 65, 200)]:
        check_warpgroups(case, orders, 4, m, n, k, monkeypatch)


@pytest.mark.gpu
@pytest.mark.parametrize("choice", launch_tensor_core.WGMMA, ids=lambda c: f"{c.tile[:3]}")
@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF"])
def test_warpgroups_on_gpus(choice, orders, monkeypatch):
    """Every tile of the table, which the emulator knows only as its author read the manual."""
    monkeypatch.setattr(launch_tensor_core, "WGMMA", (choice,))
    monkeypatch.setattr(launch_tensor_core, "TILES", dict.fromkeys(DTYPES, ()))
    with on("torch") as gpu:
        if driver.current.capability(0) != (9, 0):
            pytest.skip("no warpgroups here")
        for case in ("f16", "bf16", "f16-f32"):
            for m, n, k in [(1, 8, 1), (128, 256, 64), (517, 391, 333), (280, 300, 4096)]:
                tensor_core._plan.cache_clear()
                check_layouts(gpu, case, orders, m, n, k)
    tensor_core._plan.cache_clear()


@pytest.mark.usefixtures("small")
def test_stacks_and_transposed_results(gpu):
    a = numbers((3, 66, 20), "float64", 1)
    b = np.broadcast_to(numbers((20, 40), "float64", 2), (3, 20, 40))
    c = np.full((3, 40, 66), np.nan).swapaxes(1, 2)
    # The transposed product reads b as the first factor: its columns, and rows of a.
    given = (
        a.copy(),
        np.lib.stride_tricks.as_strided(b[0].T.copy(), b.shape, (0, 8, 160), writeable=False),
    )
    check(served_product(gpu, *given, c), a, b, 0, "float64")


@pytest.mark.usefixtures("small")
def test_special_numbers(gpu):
    a, b = numbers((66, 20), "float64", 1), numbers((20, 34), "float64", 2)
    a[3, 4], a[65, 0], b[19, 33] = np.nan, np.inf, -np.inf
    result = served_product(gpu, a, laid_out(b, "F", 4), np.zeros((66, 34)))
    with np.errstate(invalid="ignore"):
        wanted = a @ b
    np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("small")
def test_nothing_to_sum_and_nothing_to_write(gpu):
    empty = np.empty((66, 0)), np.empty((34, 0)).T  # their strides are 0
    result = served_product(gpu, *empty, np.full((66, 34), np.nan))
    np.testing.assert_array_equal(result, np.zeros((66, 34)))
    assert served_product(gpu, np.empty((0, 4)), np.empty((4, 5)), np.empty((0, 5))).size == 0


def test_sums_are_split_and_the_same_in_every_run(monkeypatch, small):
    monkeypatch.setattr(launch_tensor_core, "SPLIT_DEPTH", 128)
    monkeypatch.setattr(launch_tensor_core, "PRODUCTS", {2: 1})  # so that it is worth while
    a, b = numbers((40, 520), "float16", 1), numbers((520, 24), "float16", 2)
    results = []
    for seed in range(2):
        with on("emulator", seed=seed) as gpu:
            launches = driver.current.launches
            c = np.full((40, 24), np.nan, np.float16)
            results.append(served_product(gpu, a, laid_out(b, "F", 8), c))
            assert driver.current.launches == launches + 2
    check(results[0], a, b, 0, "float16")
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.usefixtures("small")
def test_narrow_copies(gpu):
    a, b = numbers((66, 30), "float16", 1), numbers((30, 34), "float16", 2)
    c = np.full((66, 35), np.nan, np.float16)[:, :34]  # numbers are written one by one
    check(served_product(gpu, a, b, c), a, b, 0, "float16")


def test_what_is_not_served(gpu):
    a, b, c = (np.zeros((16, 16), np.float32) for _ in range(3))
    assert not multiply(gpu, a, b, c)[0]
    assert not multiply(gpu, a, b.astype(np.float16), c)[0]
    assert not multiply(gpu, np.zeros((16, 5), np.float16), np.zeros((5, 16), np.float16), c)[0]
    doubles = np.zeros((16, 32))
    assert not multiply(gpu, doubles[:, ::2], doubles[:, :16], doubles[:, 16:])[0]
    assert not multiply(gpu, doubles[:, :16], doubles[:, :16], doubles[:, ::2])[0]


@pytest.mark.cuda_full
@pytest.mark.parametrize("orders", ["CC", "CF"])
def test_machine_code_of_warpgroups(orders, tmp_path):
    for choice in launch_tensor_core.WGMMA:
        found = tensor_wgmma.kernel(
            "bfloat16", "bfloat16", orders[0] == "C", orders[1] == "F", choice.tile
        )
        code = assembled(found, (9, 0), tmp_path)
        products = f"HGMMA.64x{choice.tile.columns}x16.F32.BF16"
        needs = (products, "LDGSTS.E.BYPASS.LTC128B.128", "FENCE.VIEW.ASYNC.S", "STG.E.128")
        assert offences(code, Budget(None, 255, needs)) == []


def test_choices():
    halves = launch_tensor_core.TILES["bfloat16"]

    def chosen(m, n, k, items=1, shared=227 * 1024):
        choice, parts = launch_tensor_core.choose(halves, m, n, k, items, 2, 132, shared)
        return choice.tile, parts

    tile, parts = chosen(8192, 8192, 8192)
    assert tile.rows * tile.columns == 128 * 256
    assert parts == 1
    tile, parts = chosen(64, 64, 65536)
    assert parts > 8
    assert chosen(64, 64, 64, items=1000)[1] == 1
    assert chosen(8192, 8192, 8192, shared=48 * 1024)[0].shared(2) <= 48 * 1024
