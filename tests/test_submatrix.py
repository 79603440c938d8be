"""`fm.take_submatrix`, `fm.put_submatrix`: every selection, dtype and layout, bit for bit."""

import fill_oracles as oracles
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, WRITABLE, makers_for, outside, unmodified
from oracles import BFLOAT16, DTYPES, name
from products import any_bits, normal

import fastmat as fm
from fastmat.ops import submatrix as ops

SIZES = ("i1", "i2", "f4", "f8", "c16")  # one dtype for each kernel
CROSSOVERS = {"parallel, streamed": (0, 0), "parallel": (0, 1 << 60), "serial": (1 << 60, 1 << 60)}


@pytest.fixture(params=CROSSOVERS)
def crossovers(request, monkeypatch):
    """Crossovers so low that small arrays take the ways of large ones."""
    use(request.param, monkeypatch)


def use(which, monkeypatch):
    kernels = {}
    for kernel in ("take", "put"):
        for size in (1, 2, 4, 8, 16):
            entry, *_ = ops._kernels.get((kernel, size)) or ops._load(kernel, size)
            kernels[kernel, size] = entry, *CROSSOVERS[which]
    monkeypatch.setattr(ops, "_kernels", kernels)


def selections(n, seed=0):
    """One of each kind, for n rows or columns."""
    rng = np.random.default_rng([seed, n])
    low, high = n // 3, n - n // 4
    return {
        "all": None,
        "slice": slice(low, high),
        "steps": slice(None, None, -2),
        "mask": rng.random(n) < 0.5,
        "run": (np.arange(n) >= low) & (np.arange(n) < high),
        "sorted": np.flatnonzero(rng.random(n) < 0.6),
        "shuffled": rng.permutation(n)[: n - n // 5],
        "repeated": rng.integers(-n, n, n + 3).astype("i4") if n else np.zeros(0, "u1"),
        "list": [n - 1, 0, -1] if n else [],
        "none": np.zeros(n, bool),
    }


def same_bits(result, expected):
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    assert result.tobytes("C") == expected.tobytes("C")


def check_take(x, rows, cols, out=None):
    expected = oracles.take_submatrix(x, rows, cols)
    around = None if out is None else outside(out)
    with unmodified(x, rows, cols):
        result = fm.take_submatrix(x, rows, cols, out=out)
    same_bits(result, expected)
    if out is not None:
        assert result is out
        assert outside(out) == around


def check_put(x, rows, cols, values):
    expected = oracles.put_submatrix(x, rows, cols, values)
    with unmodified(rows, cols, values):
        assert fm.put_submatrix(x, rows, cols, values) is x
    same_bits(x, expected)


def check(x, rows, cols, maker=np.array):
    check_take(x, rows, cols)
    shape = oracles.take_submatrix(x, rows, cols).shape
    check_take(x, rows, cols, maker(np.zeros(shape, x.dtype)).view(x.dtype))
    check_put(x.copy("K"), rows, cols, any_bits(shape, x.dtype, 1))


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_dtype(dtype):
    for shape in [(7, 9), (2, 33, 70)]:
        rows, cols = selections(shape[-2]), selections(shape[-1], 1)
        for how in [
            ("shuffled", "repeated"),
            ("mask", "slice"),
            ("all", "mask"),
            ("list", "steps"),
        ]:
            check(any_bits(shape, dtype), rows[how[0]], cols[how[1]])


@pytest.mark.parametrize("row_kind", selections(3))
@pytest.mark.parametrize("col_kind", selections(3))
def test_every_pair_of_selections(row_kind, col_kind):
    for shape in [(40, 37), (3, 5, 300), (2, 300, 4), (1, 1), (0, 3), (3, 0)]:
        rows, cols = selections(shape[-2])[row_kind], selections(shape[-1], 1)[col_kind]
        for dtype in ("i2", "f8"):
            x = any_bits(shape, dtype)
            check(x, rows, cols)
            check(np.asfortranarray(x), rows, cols, np.asfortranarray)


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 130, 1100, 8200])
def test_widths_around_the_lines(width, dtype, crossovers):
    x = any_bits((45, width + 3), dtype)
    rows, cols = selections(45), np.arange(width + 3)[:width]
    for row_kind in ("shuffled", "repeated", "slice"):
        for chosen in (slice(1, width + 1), cols[::-1], None):
            check_take(x, rows[row_kind], chosen)
            values = oracles.take_submatrix(any_bits(x.shape, dtype, 1), rows[row_kind], chosen)
            if width < 1000:
                check_put(x.copy(), rows[row_kind], chosen, values)


@pytest.mark.parametrize("dtype", SIZES)
def test_several_blocks(dtype, crossovers):
    for shape in [(700, 300), (40, 3000)]:
        rows, cols = selections(shape[0])["shuffled"], selections(shape[1], 1)["sorted"]
        for x in (any_bits(shape, dtype), any_bits(shape[::-1], dtype).T):
            for how in ((rows, cols), (rows, None), (None, cols)):
                check_take(x, *how)
                check_take(x, *how, np.zeros(oracles.take_submatrix(x, *how).shape, dtype))
    x = any_bits((300, 200), dtype)
    expected, values = x.copy(), any_bits((300, 200), dtype, 1)
    order = np.random.default_rng(1).permutation(300), np.random.default_rng(2).permutation(200)
    expected[np.ix_(*order)] = values
    for make in (np.ascontiguousarray, np.asfortranarray):
        same_bits(fm.put_submatrix(x.copy(), *order, make(values)), expected)
        same_bits(fm.put_submatrix(x.copy("F"), *order, make(values)), expected)


@pytest.mark.parametrize("dtype", ["u1", "f4", "c16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, dtype, crossovers):
    if layout not in makers_for(dtype):
        pytest.skip("one byte has no order")
    maker, writable = LAYOUTS[layout], layout in makers_for(dtype, WRITABLE)
    for shape in [(20, 37), (2, 9, 33)]:
        rows, cols = selections(shape[-2]), selections(shape[-1], 1)
        for how in [("shuffled", "mask"), ("sorted", "slice"), ("steps", "repeated")]:
            r, c = rows[how[0]], cols[how[1]]
            x = maker(any_bits(shape, dtype))
            check_take(x, r, c)
            values = maker(any_bits(oracles.take_submatrix(x, r, c).shape, dtype, 1))
            check_put(any_bits(shape, dtype), r, c, values)
            if writable:
                out = maker(np.zeros(values.shape, dtype))
                check_take(any_bits(shape, out.dtype), r, c, out)
                around = outside(x)
                check_put(x, r, c, 1)
                assert outside(x) == around
            if layout in makers_for("i8") and layout != "broadcast":
                r, c = LAYOUTS[layout](rows["shuffled"]), LAYOUTS[layout](cols["sorted"])
                check(any_bits(shape, dtype), r, c)


@st.composite
def calls(draw):
    dtype = draw(st.sampled_from(SIZES))
    shape = draw(st.tuples(*[st.sampled_from([0, 1, 2, 3, 5, 16, 17, 40])] * 2))
    shape = (*draw(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=2)), *shape)
    made = [
        draw(st.sampled_from(sorted(selections(n, axis).items(), key=lambda item: item[0])))[1]
        for axis, n in enumerate(shape[-2:])
    ]
    maker = draw(st.sampled_from(list(makers_for(dtype, WRITABLE).values())))
    out_maker = draw(st.sampled_from(list(makers_for(dtype, WRITABLE).values())))
    return maker(any_bits(shape, dtype)), *made, out_maker


@given(call=calls(), which=st.sampled_from(list(CROSSOVERS)))
def test_anything(call, which):
    x, rows, cols, maker = call
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(which, monkeypatch)
        check(x, rows, cols, maker)


def test_order_of_the_result():
    x = any_bits((20, 30), "f4")
    assert fm.take_submatrix(x, [1, 2], [3, 4]).flags.c_contiguous
    assert fm.take_submatrix(x.T, [1, 2], [3, 4]).flags.f_contiguous
    assert fm.take_submatrix(x[::2, ::2], slice(3), None).flags.c_contiguous


def test_more_than_eight_axes():
    x = any_bits((2, 1, 3, 1, 2, 1, 2, 2, 5, 6), "f4")
    check(x, [4, 1, 1], [True, False] * 3)
    g = normal(x.shape, "f4")
    found = fm.take_submatrix_vjp(g, [0, 4, 2, 1, 3], None, x.shape)
    np.testing.assert_array_equal(found[..., [0, 4, 2, 1, 3], :], g)


@pytest.mark.parametrize("offset", [-40, -1, 0, 1, 40])
def test_overlaps(offset):
    memory = any_bits((900,), "i8")
    rows, cols = selections(20)["shuffled"], selections(20, 1)["repeated"]
    base = memory.copy()
    x = base[100:500].reshape(20, 20)
    out = base[100 + offset :][: rows.size * cols.size].reshape(rows.size, cols.size)
    expected = oracles.take_submatrix(x, rows, cols)
    assert fm.take_submatrix(x, rows, cols, out=out) is out
    same_bits(out, expected)
    for chosen in (cols, slice(None, None, -1)):
        base = memory.copy()
        x, width = base[100:500].reshape(20, 20), len(oracles.indices(chosen, 20))
        values = base[100 + offset :][:width].reshape(1, width)
        expected = oracles.put_submatrix(x, rows, chosen, values)
        fm.put_submatrix(x, rows, chosen, values)
        same_bits(x, expected)
    square = np.arange(16.0).reshape(4, 4)
    fm.put_submatrix(square, None, slice(None, None, -1), square)
    np.testing.assert_array_equal(square, np.arange(16.0).reshape(4, 4)[:, ::-1])


def test_indices_that_lie_in_what_is_written():
    x = np.arange(16).reshape(4, 4)[::-1] % 4
    expected = oracles.put_submatrix(x, x[0].copy(), x[1].copy(), 9)
    same_bits(fm.put_submatrix(x, x[0], x[1], 9), expected)
    out = np.arange(16).reshape(4, 4)[:, ::-1] % 4
    x = any_bits((4, 4), "i8")
    expected = oracles.take_submatrix(x, out[0].copy(), out[1].copy())
    same_bits(fm.take_submatrix(x, out[0], out[1], out=out), expected)


@pytest.mark.parametrize("dtype", ["i1", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_last_of_repeated_indices_stays(dtype, order, monkeypatch):
    use("parallel, streamed", monkeypatch)
    rng = np.random.default_rng(3)
    rows, cols = rng.integers(0, 40, 500), rng.integers(-60, 60, 700)
    values, results = any_bits((500, 700), dtype), set()
    expected = np.zeros((40, 60), dtype)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            expected[row, col] = values[i, j]
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        for make in (np.ascontiguousarray, np.asfortranarray):
            x = np.zeros((40, 60), dtype, order)
            results.add(fm.put_submatrix(x, rows, cols, make(values)).tobytes())
    assert results == {expected.tobytes()}


def test_values_are_broadcast_and_cast():
    x = np.zeros((2, 5, 6), "i2")
    for values in (
        3,
        True,
        np.ones((1, 1), "i1"),
        np.arange(3)[:, None],
        np.ones((1, 2, 1, 4), "i2"),
    ):
        check_put(x, [0, 2, 4], slice(4), values)
    for values, error, message in (
        (1.5, TypeError, "values is 1.5, which cannot be cast to int16"),
        (np.ones(4), TypeError, "values has dtype float64"),
        (1 << 15, OverflowError, "values is 32768; for int16 it must be from -32768 to 32767"),
        (np.ones((2, 4), "i2"), ValueError, r"values has shape \(2, 4\).* \(2, 3, 4\)"),
        (np.ones((3, 2, 3, 4), "i2"), ValueError, r"values has shape \(3, 2, 3, 4\)"),
    ):
        before = x.copy()
        with pytest.raises(error, match=message):
            fm.put_submatrix(x, [0, 2, 4], slice(4), values)
        same_bits(x, before)


BAD = [
    ([0, 5, 9], IndexError, r"rows\[1\] is 5; x has 4 rows, so it must be from -4 to 3"),
    (np.array([-4, -5]), IndexError, r"rows\[1\] is -5"),
    (np.array([2**63 + 1], "u8"), IndexError, r"rows\[0\] is 9223372036854775809"),
    ([True, False], IndexError, "rows is a mask of 2; x has 4 rows"),
    ([1.0], TypeError, "rows has dtype float64; it must be a slice, a 1-D array"),
    (np.zeros(0), TypeError, "rows has dtype float64"),
    (2, TypeError, "rows has 0 dimensions"),
    ([[1]], TypeError, "rows has 2 dimensions"),
    ("ab", TypeError, "rows has 0 dimensions"),
]


@pytest.mark.parametrize(("rows", "error", "message"), BAD)
def test_bad_indices(rows, error, message):
    x = np.ones((4, 6))
    out = np.full((np.size(rows), 6), 7.0)
    calls = [
        (lambda: fm.take_submatrix(x, rows, None, out=out), message),
        (lambda: fm.put_submatrix(x, rows, None, 0), message),
        (lambda: fm.take_submatrix_vjp(out, rows, None, (4, 6), out=x), message),
        (lambda: fm.take_submatrix(x.T, None, rows), message.replace("rows", "cols")),
    ]
    for call, expected in calls:
        with pytest.raises(error, match=expected):
            call()
    assert (x == 1).all()
    assert (out == 7).all()


def test_errors():
    x, frozen = np.ones((3, 4)), np.ones((3, 4))
    frozen.flags.writeable = False
    take, put, vjp = fm.take_submatrix, fm.put_submatrix, fm.take_submatrix_vjp
    wrong = [
        (take, (np.ones(3), None, None), {}, ValueError, r"x has shape \(3,\)"),
        (take, (np.array([[None]]), None, None), {}, TypeError, "x has dtype object"),
        (take, (x, None, None), {"out": frozen}, ValueError, "out is read-only"),
        (take, (x, [0], None), {"out": x}, ValueError, r"out has shape \(3, 4\)"),
        (take, (x, None, None), {"out": np.ones((3, 4), int)}, TypeError, "out has dtype int64"),
        (take, (np.ones((0, 3)), [0], None), {}, IndexError, "x has 0 rows"),
        (put, (frozen, None, None, 0), {}, ValueError, "x is read-only"),
        (put, ([[1]], None, None, 0), {}, TypeError, "x is of type list"),
        (vjp, (x, None, None, (4,)), {}, ValueError, r"shape is \(4,\)"),
        (vjp, (x, [0], None, (3, 4)), {}, ValueError, r"cotangent has shape .* \(1, 4\)"),
        (vjp, (x, None, None, (3, "4")), {}, TypeError, "shape is '4'; it must be an integer"),
        (vjp, (x.astype("M8[s]"), None, None, (3, 4)), {}, TypeError, "cotangent has dtype"),
    ]
    for function, arguments, more, error, message in wrong:
        with pytest.raises(error, match=message):
            function(*arguments, **more)


def test_tensors():
    torch = pytest.importorskip("torch")
    x = torch.arange(12.0).reshape(3, 4)
    result = fm.take_submatrix(x, torch.tensor([2, 0]), torch.tensor([True, False, True, True]))
    assert torch.equal(result, x[[2, 0]][:, [0, 2, 3]])
    assert fm.put_submatrix(x, [0], None, 5) is x
    assert (x[0] == 5).all()


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8", "c8", "c16"], ids=str)
@pytest.mark.parametrize("shape", [(7, 9), (3, 40, 5), (20, 130), (1, 60, 1)])
def test_gradients(dtype, shape):
    rows, cols = selections(shape[-2]), selections(shape[-1], 1)
    for kinds in [("repeated", "repeated"), ("repeated", "slice"), ("mask", "repeated")] + [
        (kind, other) for kind in ("all", "steps", "none") for other in ("all", "steps", "shuffled")
    ]:
        r, c = rows[kinds[0]], cols[kinds[1]]
        taken = oracles.take_submatrix(np.empty(shape), r, c).shape
        g = normal(taken, dtype)
        with unmodified(g, r, c):
            found = fm.take_submatrix_vjp(np.asfortranarray(g), r, c, shape)
        wide = g.astype("c16" if g.dtype.kind == "c" else "f8")
        expected = oracles.take_submatrix_vjp(wide, r, c, shape)
        size = oracles.take_submatrix_vjp(np.abs(wide), r, c, shape)
        eps = 2.0**-8 if dtype == BFLOAT16 else np.finfo(dtype).eps
        bound = eps * np.abs(expected) + taken[-1] * taken[-2] * np.finfo("f8").eps * size
        assert found.shape == shape
        assert found.dtype == g.dtype
        assert (np.abs(found.astype(wide.dtype) - expected) <= bound).all()
        out = np.full(shape, 7).astype(dtype)
        assert fm.take_submatrix_vjp(g, r, c, shape, out=out) is out
        same_bits(out, np.ascontiguousarray(found))


def test_gradient_by_finite_differences():
    x, g, step = normal((4, 5), "f8"), normal((6, 5), "f8", 1), 1e-6
    rows, cols = [0, 3, 3, -1, 1, 0], slice(None, None, -1)
    found = fm.take_submatrix_vjp(g, rows, cols, x.shape)
    for place in np.ndindex(x.shape):
        sides = []
        for change in (step, -step):
            moved = x.copy()
            moved[place] += change
            sides.append(np.sum(g * fm.take_submatrix(moved, rows, cols)))
        assert found[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


def test_gradient_of_integers_and_infinities():
    assert fm.take_submatrix_vjp([[1, 2]], None, [1, 1], (1, 3)).tolist() == [[0.0, 3.0, 0.0]]
    g = np.array([[np.inf, 1.0], [-np.inf, 2.0], [np.nan, 3.0]])
    found = fm.take_submatrix_vjp(g, [0, 0, 1], None, (3, 2))
    np.testing.assert_array_equal(found, [[np.nan, 3], [np.nan, 3], [0, 0]])
