"""Submatrices on GPUs: taken, written, and their gradients."""

import fill_oracles as oracles
import numpy as np
import pytest
from gpus import on
from layouts import block, broadcast, f_order, negative, sliced
from oracles import BFLOAT16, DTYPES, name
from products import any_bits

import fastmat as fm

SIZES = ("u1", "u2", "f4", "f8", "c16")  # one dtype for each kernel
ROWS = np.array([3, 0, -1, 3, 7, -9, 2])
COLUMNS = np.array([5, 1, -2, 5, 31])


def same(gpu, result, expected):
    assert isinstance(result, gpu.kind)
    got = gpu.numpy(result)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


def given(gpu, selection):
    return gpu.array(selection) if isinstance(selection, np.ndarray) else selection


def check(gpu, x, rows, cols, at=None):
    at = at or (lambda s: given(gpu, s))
    result = fm.take_submatrix(gpu.array(x), at(rows), at(cols))
    same(gpu, result, oracles.take_submatrix(x, rows, cols))


def check_put(gpu, x, rows, cols, values):
    place = gpu.array(x)
    written = values if isinstance(values, int | float) else gpu.array(values)
    assert fm.put_submatrix(place, given(gpu, rows), given(gpu, cols), written) is place
    same(gpu, place, oracles.put_submatrix(x, rows, cols, values))


def selections(m, n):
    marked = np.random.default_rng(m).random(m) < 0.5
    return [
        (ROWS, COLUMNS),
        (ROWS, None),
        (ROWS, slice(4, 28)),
        (None, COLUMNS),
        (slice(7, None, -2), slice(1, 30, 3)),
        (marked, slice(None)),
        (slice(2, 5), np.arange(n) % 3 == 0),
        (np.zeros(0, int), COLUMNS),
        (np.array([4]), np.array([7])),
        (np.array([4]), None),
        (None, np.zeros(n, bool)),
    ]


@pytest.mark.parametrize("dtype", SIZES)
def test_take_and_put(gpu, dtype):
    for lead in [(), (2,)]:
        x = any_bits((*lead, 9, 32), dtype)
        for rows, cols in selections(9, 32)[: None if lead else 6]:
            check(gpu, x, rows, cols)
            values = any_bits(oracles.take_submatrix(x, rows, cols).shape, dtype, seed=1)
            check_put(gpu, x, rows, cols, values)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_dtypes(gpu, dtype):
    x = any_bits((9, 32), dtype)
    check(gpu, x, ROWS, COLUMNS)
    check_put(gpu, x, ROWS, COLUMNS, True if np.dtype(dtype) == bool else 1)


@pytest.mark.parametrize("kind", [f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)])
def test_indices_of_every_dtype(gpu, kind):
    rows = np.abs(ROWS).astype(kind) % 9 if kind[0] == "u" else ROWS.astype(kind)
    x = any_bits((9, 32), "f4")
    check(gpu, x, rows, None)
    with pytest.raises(IndexError, match=r"rows\[2\] is 9; x has 9 rows"):
        fm.take_submatrix(gpu.array(x), gpu.array(np.array([0, 8, 9, 100], kind)), None)


def test_indices_of_the_cpu(gpu):
    x = any_bits((2, 9, 32), "f4")
    for rows, cols in selections(9, 32):
        check(gpu, x, rows, cols, at=lambda s: s)
        check(gpu, x, rows, cols, at=lambda s: s.tolist() if isinstance(s, np.ndarray) else s)


@pytest.mark.parametrize("layout", [f_order, sliced, negative, block, broadcast])
def test_layouts(gpu, layout):
    x = layout(any_bits((9, 32), "u4"))
    for rows, cols in selections(9, 32)[:4]:
        check(gpu, x, rows, cols)
    if layout is not broadcast:
        check_put(gpu, x, ROWS, COLUMNS, any_bits((7, 5), "u4"))
        check_put(gpu, x, None, COLUMNS, any_bits((9, 5), "u4"))
    check(gpu, any_bits((9, 32), "u4"), np.repeat(ROWS, 2)[::2], COLUMNS[::-1])


def test_many_axes(gpu):
    x = any_bits((2, 3, 2, 3, 4, 5), "f4").transpose(3, 1, 0, 2, 4, 5)
    check(gpu, x, np.array([1, 0]), np.array([4, 4, 1]))
    check(gpu, x, np.array([1]), None)
    check_put(gpu, x, np.array([1, 0]), np.array([4, 1]), any_bits((3, 3, 2, 2, 2, 2), "f4"))


def test_values_that_broadcast(gpu):
    x = any_bits((2, 9, 32), "f4")
    rows = np.array([0, 5, 2])
    for shape in [(), (1,), (4,), (3, 1), (2, 1, 1), (1, 1, 3, 4)]:
        check_put(gpu, x, rows, slice(4), any_bits(shape, "f4"))
        check_put(gpu, x, slice(3), slice(4), any_bits(shape, "f4"))
    check_put(gpu, x, slice(None), slice(3, 5), 7)


def test_the_last_of_equal_indices_stays(gpu):
    rows, cols = np.array([1, 1, 0, 1] * 200), np.array([2, 0, 2, 2])
    check_put(gpu, any_bits((2, 3), "i4"), rows, cols, any_bits((800, 4), "i4"))


def test_overlap(gpu):
    x = any_bits((12, 12), "f4")
    place = gpu.array(x)
    rows = np.arange(11, -1, -1)
    fm.put_submatrix(place, rows, None, place)
    same(gpu, place, x[::-1].copy())
    fm.take_submatrix(place, gpu.array(rows), None, out=place)
    same(gpu, place, x)
    indices = gpu.array(np.arange(12).reshape(3, 4) % 3)
    fm.put_submatrix(indices, indices[0][:3], None, 5)
    assert (gpu.numpy(indices)[:3] == 5).all()


def test_out(gpu):
    x = any_bits((9, 32), "f4")
    for out in [np.zeros((7, 5), "f4"), np.zeros((7, 5), "f4", order="F")]:
        place = gpu.array(out)
        assert fm.take_submatrix(gpu.array(x), ROWS, COLUMNS, out=place) is place
        same(gpu, place, oracles.take_submatrix(x, ROWS, COLUMNS))


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8", "c8", "c16"], ids=name)
def test_gradient(gpu, dtype):
    for rows, cols in selections(9, 32):
        taken = oracles.take_submatrix(np.zeros((2, 9, 32)), rows, cols)
        g = np.random.default_rng(0).standard_normal(taken.shape)
        g = (1j * g + g[::-1] if np.dtype(dtype).kind == "c" else g).astype(dtype)
        result = fm.take_submatrix_vjp(gpu.array(g), given(gpu, rows), given(gpu, cols), (2, 9, 32))
        assert isinstance(result, gpu.kind)
        got = gpu.numpy(result)
        assert got.dtype == g.dtype
        expected = oracles.take_submatrix_vjp(g, rows, cols, (2, 9, 32))
        eps = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 1e-6, "complex64": 1e-6}
        error = np.abs(got.astype(expected.dtype) - expected)
        assert (error <= eps.get(g.dtype.name, 1e-14) * (np.abs(expected) + 1)).all()


def test_gradient_of_many_equal_indices(gpu):
    rows = np.random.default_rng(0).integers(0, 5, 3000)
    g = np.random.default_rng(1).standard_normal((3000, 2)).astype("f4")
    result = gpu.numpy(fm.take_submatrix_vjp(gpu.array(g), gpu.array(rows), None, (6, 2)))
    expected = oracles.take_submatrix_vjp(g, rows, None, (6, 2))
    assert np.abs(result - expected).max() <= 64 * 1.2e-7 * np.abs(g).sum() / 5
    out = gpu.array(np.zeros((6, 2), "f4"))
    assert fm.take_submatrix_vjp(gpu.array(g), rows, None, (6, 2), out=out) is out
    assert gpu.numpy(out).tobytes() == result.tobytes()


def test_long_lists_of_indices_are_sorted(monkeypatch):
    indices = np.random.default_rng(0).integers(0, 40, 300)
    with on("emulator") as gpu:
        from fastmat.cuda import arrays, sorting

        monkeypatch.setattr(sorting, "FEW", 4)
        x = arrays.view(gpu.array(indices), "indices")
        order, starts = (arrays.on_host(v) for v in sorting.places(x, 42, 0))
    assert np.array_equal(order, np.argsort(indices, kind="stable"))
    assert np.array_equal(starts, np.searchsorted(np.sort(indices), np.arange(43)))


def test_errors(gpu):
    x = gpu.array(np.zeros((3, 4), np.float32))
    with pytest.raises(IndexError, match=r"cols\[1\] is -5; x has 4 cols, so it must be from -4"):
        fm.take_submatrix(x, None, gpu.array(np.array([0, -5])))
    with pytest.raises(IndexError, match=r"rows\[0\] is 3"):
        fm.take_submatrix(x, [3], None)
    with pytest.raises(IndexError, match="rows is a mask of 4; x has 3 rows"):
        fm.take_submatrix(x, gpu.array(np.ones(4, bool)), None)
    with pytest.raises(TypeError, match="rows has dtype float32; it must be a slice"):
        fm.take_submatrix(x, gpu.array(np.zeros(2, np.float32)), None)
    with pytest.raises(TypeError, match="rows has 2 dimensions; it must be a slice"):
        fm.take_submatrix(x, gpu.array(np.zeros((2, 2), int)), None)
    with pytest.raises(ValueError, match="it must have 2 or more dimensions"):
        fm.take_submatrix(gpu.array(np.zeros(3)), [0], None)
    with pytest.raises(ValueError, match=r"out has shape \(3, 4\); the result has shape \(1, 4\)"):
        fm.take_submatrix(x, [0], None, out=x)
    with pytest.raises(ValueError, match=r"values has shape \(2,\), which does not broadcast"):
        fm.put_submatrix(x, [0], None, gpu.array(np.zeros(2, np.float32)))
    with pytest.raises(TypeError, match="values is not on a GPU"):
        fm.put_submatrix(x, [0], None, np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="values is 1j, which cannot be cast"):
        fm.put_submatrix(x, [0], None, 1j)
    with pytest.raises(ValueError, match=r"cotangent has shape \(3, 4\); the result has shape"):
        fm.take_submatrix_vjp(x, [0], None, (3, 4))
    with pytest.raises(ValueError, match="it must be that of x, of 2 or more dimensions"):
        fm.take_submatrix_vjp(x, [0], None, 3)
    with pytest.raises(TypeError, match="x is not on a GPU"):
        fm.take_submatrix(np.zeros((3, 4)), gpu.array(np.array([0])), None)


def test_order_of_threads_does_not_matter():
    rows = np.random.default_rng(0).integers(0, 9, 100)
    values = any_bits((100, 5), "f4")
    g = np.random.default_rng(1).standard_normal((100, 5)).astype("f4")
    found = set()
    for seed in range(3):
        with on("emulator", seed=seed) as gpu:
            check_put(gpu, any_bits((9, 32), "f4"), rows, COLUMNS, values)
            sums = fm.take_submatrix_vjp(gpu.array(g), gpu.array(rows), COLUMNS, (9, 32))
            found.add(gpu.numpy(sums).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("op", ["take_submatrix", "masked_fill"])
def test_libraries_without_views_in_another_order(gpu, op, monkeypatch):
    """Of these, results are in C order, whatever x is."""
    from fastmat.cuda.libraries import Library, library_of

    x = np.asfortranarray(np.arange(30, dtype="f4").reshape(5, 6))
    given = gpu.array(x)
    library = type(library_of(given))
    monkeypatch.setattr(library, "permuted", Library.permuted)
    if op == "take_submatrix":
        found, want = fm.take_submatrix(given, slice(1, 4), [0, 3]), x[1:4][:, [0, 3]]
    else:
        found, want = fm.masked_fill(given, gpu.array(x > 7), 0), np.where(x > 7, 0, x)
    np.testing.assert_array_equal(gpu.numpy(found), want)
