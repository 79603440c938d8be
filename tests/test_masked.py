"""`fm.masked_fill`, `fm.mask_rows_cols`: every dtype and layout, bit for bit; their gradients."""

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
from fastmat.ops import masked as ops

SIZES = ("i1", "i2", "f4", "f8", "c16")  # one dtype for each kernel


@pytest.fixture(params=["parallel, streamed", "parallel", "serial"])
def crossovers(request, monkeypatch):
    """Crossovers so low that small arrays take the ways of large ones."""
    use(request.param, monkeypatch)


def use(which, monkeypatch):
    never = 1 << 60
    parallel, streamed = {
        "parallel, streamed": (0, 0),
        "parallel": (0, never),
        "serial": (never, never),
    }[which]
    kernels = {}
    for size in (1, 2, 4, 8, 16):
        entry, *_ = ops._kernels.get(size) or ops._load(np.dtype(f"V{size}"))
        kernels[size] = entry, parallel, streamed
    monkeypatch.setattr(ops, "_kernels", kernels)


def mask_of(shape, seed=0, share=0.4):
    return np.random.default_rng([seed, *np.atleast_1d(shape)]).random(shape) < share


def same_bits(result, expected):
    result, expected = np.asarray(result), np.asarray(expected)
    if not expected.ndim:  # a scalar, which has the native byte order
        expected = np.asarray(expected[()])
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    assert result.tobytes("C") == expected.tobytes("C")


def check_fill(x, mask, value, out=None):
    expected = oracles.masked_fill(x, mask, value)
    around = None if out is None else outside(out)
    with unmodified(x, mask, value):
        result = fm.masked_fill(x, mask, value, out=out)
    same_bits(result, expected)
    if out is not None:
        assert result is out
        assert outside(out) == around


def check_lines(x, row_mask, col_mask, fill=0, out=None):
    expected = oracles.mask_rows_cols(x, row_mask, col_mask, fill)
    around = None if out is None else outside(out)
    with unmodified(x, row_mask, col_mask):
        result = fm.mask_rows_cols(x, row_mask, col_mask, fill, out=out)
    same_bits(result, expected)
    if out is not None:
        assert result is out
        assert outside(out) == around


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_dtype(dtype):
    for shape in [(), (1,), (37,), (33, 45), (3, 17, 16)]:
        x, mask = any_bits(shape, dtype), mask_of(shape)
        check_fill(x, mask, x.dtype == bool or 1)
        check_fill(x, mask, any_bits(shape, dtype, 1))
        if len(shape) > 1:
            lines = mask_of(shape[-2:-1], 1), mask_of(shape[-1:], 2)
            check_lines(x, *lines)
            check_lines(x, *lines, x.dtype.type(1))


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 63, 64, 65, 1021, 8191, 8192, 8193, 40_001])
def test_lengths_around_the_chunks(n, dtype, crossovers):
    x = any_bits((n,), dtype)
    for share in (0.0, 0.3, 1.0):
        mask = mask_of((n,), share=share)
        check_fill(x, mask, 0)
        check_fill(x, mask, any_bits((n,), dtype, 1))
        inplace = x.copy()
        expected = oracles.masked_fill(x, mask, 0)
        assert fm.masked_fill(inplace, mask, 0, out=inplace) is inplace
        same_bits(inplace, expected)


@pytest.mark.parametrize(
    ("x", "mask", "value"),
    [
        ((5, 7, 9), (7, 1), ()),
        ((5, 7, 9), (9,), (5, 1, 1)),
        ((7, 1), (5, 7, 9), (9,)),
        ((), (4, 3), (3,)),
        ((4, 3), (), (4, 1)),
        ((300, 3), (300, 1), (3,)),
        ((3, 300), (3, 1), (300,)),
        ((1, 1), (1,), ()),
        ((0, 3), (3,), ()),
        ((4, 1), (0,), ()),
        ((2, 1, 2, 1, 2, 1, 2, 2, 3), (2, 2, 1, 1, 1, 1), (3,)),
    ],
)
def test_shapes_broadcast_as_in_where(x, mask, value, crossovers):
    for dtype in ("i1", "f8"):
        check_fill(any_bits(x, dtype), mask_of(mask), any_bits(value, dtype, 1))


@pytest.mark.parametrize("dtype", ["u1", "f4", "c16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, dtype, crossovers):
    if layout not in makers_for(dtype):
        pytest.skip("one byte has no order")
    maker = LAYOUTS[layout]
    masks = makers_for("?")
    for shape in [(40, 37), (3, 9, 33), (700, 3)]:
        x = maker(any_bits(shape, dtype))
        check_fill(x, mask_of(shape), 1)
        if layout in masks:
            check_fill(any_bits(shape, dtype), masks[layout](mask_of(shape)), maker(x))
            rows, cols = masks[layout](mask_of(shape[:-1])), masks[layout](mask_of(shape[-1:]))
            check_lines(x, rows, cols, 1)
        if layout in makers_for(dtype, WRITABLE):
            check_fill(any_bits(shape, x.dtype), mask_of(shape), 1, maker(np.zeros(shape, dtype)))
            check_lines(x, mask_of(shape[-2:-1]), None, 1, maker(np.zeros(shape, dtype)))
            inplace = maker(any_bits(shape, dtype))
            expected = oracles.masked_fill(inplace, mask_of(shape), 1)
            fm.masked_fill(inplace, mask_of(shape), 1, out=inplace)
            same_bits(inplace, expected)


def test_order_of_the_result():
    x = np.asfortranarray(any_bits((20, 30), "f8"))
    assert fm.masked_fill(x, x > 0, 0).flags.f_contiguous
    assert fm.mask_rows_cols(x, None, None).flags.f_contiguous
    assert fm.masked_fill(x, np.ones((2, 20, 30), bool), 0).flags.c_contiguous
    assert fm.masked_fill(x[::2], x[::2] > 0, 0).flags.c_contiguous


@st.composite
def fills(draw):
    dtype = draw(st.sampled_from(SIZES))
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5, 16, 17, 40]), max_size=4)))
    while np.prod(shape) > 20_000:
        shape = shape[1:]
    parts = []
    for seed in range(3):
        part = shape[draw(st.integers(0, len(shape))) :]
        part = tuple(draw(st.sampled_from([n, n, 1])) for n in part)
        made = mask_of(part) if seed == 1 else any_bits(part, dtype, seed)
        maker = draw(st.sampled_from(list(makers_for(made.dtype).values())))
        parts.append(maker(made))
    return parts


@given(parts=fills(), which=st.sampled_from(["parallel, streamed", "parallel", "serial"]))
def test_anything(parts, which):
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(which, monkeypatch)
        check_fill(*parts)


@pytest.mark.parametrize("shape", [(1, 1), (5, 70), (70, 5), (4, 33, 20), (2, 3, 9, 8), (0, 3)])
def test_rows_and_columns(shape, crossovers):
    for dtype in SIZES:
        x = any_bits(shape, dtype)
        batch, (m, n) = shape[:-2], shape[-2:]
        masks = [None, mask_of((m,)), mask_of((*batch, m))], [None, mask_of((n,), 1)]
        for rows in masks[0]:
            for cols in [*masks[1], mask_of((*(1 for _ in batch), n), 2)]:
                check_lines(x, rows, cols)
                check_lines(np.asfortranarray(x), rows, cols, 1)
                inplace, expected = x.copy(), oracles.mask_rows_cols(x, rows, cols)
                fm.mask_rows_cols(inplace, rows, cols, out=inplace)
                same_bits(inplace, expected)


def test_bytes_of_masks_other_than_one():
    mask = np.array([0, 1, 2, 128, 255], np.uint8).view(bool)
    np.testing.assert_array_equal(fm.masked_fill(np.ones(5), mask, 0), [1, 0, 0, 0, 0])
    x = np.ones((5, 5))
    np.testing.assert_array_equal(fm.mask_rows_cols(x, mask, None)[:, 0], [0, 1, 1, 1, 1])


def test_nan_and_infinity_are_moved_as_bits():
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1.0], "f4")
    payload = x.view("u4") | np.array([5, 0, 0, 0, 0], "u4")
    x = payload.view("f4")
    same_bits(fm.masked_fill(x, np.zeros(5, bool), 7.0), x)
    assert np.isnan(fm.masked_fill(x, np.ones(5, bool), np.nan)).all()


@pytest.mark.parametrize("offset", [-9, -1, 0, 1, 8])
def test_out_overlaps(offset):
    memory = any_bits((900,), "f8")
    for maker in (lambda a: a[100:500].reshape(20, 20), lambda a: a[100:500].reshape(20, 20).T):
        base = memory.copy()
        x = maker(base)
        out = base[100 + offset : 500 + offset].reshape(20, 20)
        expected = oracles.masked_fill(x, mask_of((20, 20)), 1)
        assert fm.masked_fill(x, mask_of((20, 20)), 1, out=out) is out
        same_bits(out, expected)
        base = memory.copy()
        out, value = maker(base), base[100 + offset : 500 + offset].reshape(20, 20)
        expected = oracles.masked_fill(memory[:400].reshape(20, 20), mask_of((20, 20)), value)
        fm.masked_fill(memory[:400].reshape(20, 20), mask_of((20, 20)), value, out=out)
        same_bits(out, expected)
    flags = mask_of((64,))
    expected = oracles.masked_fill(flags, flags, False)
    fm.masked_fill(flags, flags, False, out=flags)
    same_bits(flags, expected)


def test_out_of_another_dtype():
    x, mask = np.arange(12, dtype="i2").reshape(3, 4), mask_of((3, 4))
    out = np.zeros((3, 4), "f4")
    assert fm.masked_fill(x, mask, 3, out=out) is out
    np.testing.assert_array_equal(out, np.where(mask, 3, x))
    swapped = np.zeros((3, 4), ">i2")
    fm.mask_rows_cols(x, None, [True, False, True, True], out=swapped)
    np.testing.assert_array_equal(swapped, x * [1, 0, 1, 1])


VALUES = [
    ("f4", 1, True),
    ("f4", 1e300, True),
    ("f2", np.float64(1.0 + 2**-11 + 1e-9), True),
    ("f4", 1j, False),
    ("c8", 1j, True),
    ("i4", 1.0, False),
    ("i4", np.float32(1), False),
    ("u1", 255, True),
    ("u1", np.int64(3), False),
    ("i1", np.int64(300), True),
    ("?", True, True),
    ("?", 1, False),
    ("i8", True, True),
    (BFLOAT16, 1.5, True),
    (BFLOAT16, 1.5j, False),
    (BFLOAT16, np.complex64(1), False),
    ("M8[s]", np.datetime64(3, "s"), True),
    ("M8[s]", 3, False),
    ("S4", b"ab", True),
]


@pytest.mark.parametrize(("dtype", "value", "allowed"), VALUES)
def test_what_value_may_be(dtype, value, allowed):
    x = any_bits((9,), "i4" if np.dtype(dtype).kind == "S" else dtype)
    x = x.view("S4") if np.dtype(dtype).kind == "S" else x
    mask = np.arange(9) % 2 == 0
    if allowed:
        check_fill(x, mask, value)
        return
    out = x.copy()
    with pytest.raises(TypeError, match=r"value .* cannot be cast to .* 'same_kind'"):
        fm.masked_fill(x, mask, value, out=out)
    same_bits(out, x)


@pytest.mark.parametrize(("dtype", "value"), [("u1", -1), ("u1", 256), ("i8", 2**63)])
def test_integers_that_do_not_fit(dtype, value):
    with pytest.raises(OverflowError, match=f"value is {value}; for {np.dtype(dtype)} it must be"):
        fm.masked_fill(np.ones(3, dtype), np.ones(3, bool), value)


def test_array_likes():
    np.testing.assert_array_equal(fm.masked_fill([1, 2, 3], [True, False, True], 0), [0, 2, 0])
    assert type(fm.masked_fill(1.5, True, 2)) is np.float64
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(2, 3)
    result = fm.masked_fill(x, x > 2, -1.0)
    assert isinstance(result, torch.Tensor)
    assert torch.equal(result, x.masked_fill(x > 2, -1.0))
    assert fm.masked_fill(x, x > 2, torch.tensor(-1.0), out=x) is x
    assert torch.equal(result, x)


def test_errors():
    x, out = np.ones((3, 4)), np.full((3, 4), 7.0)
    mask, frozen = np.ones((3, 4), bool), np.zeros((3, 4))
    frozen.flags.writeable = False
    fill, lines = fm.masked_fill, fm.mask_rows_cols
    wrong = [
        (fill, (x, mask.astype(int), 0), {}, TypeError, "mask has dtype int64; it must be bool"),
        (fill, (x, mask[:2], 0), {}, ValueError, r"mask has shape \(2, 4\).* must broadcast"),
        (fill, (x, mask, np.zeros(3)), {}, ValueError, r"value has shape \(3,\)"),
        (fill, (np.array([None]), [True], 0), {}, TypeError, "x has dtype object"),
        (fill, (x, mask, 0), {"out": frozen}, ValueError, "out is read-only"),
        (fill, (x, mask, 0), {"out": np.ones(3)}, ValueError, r"out has shape \(3,\)"),
        (fill, (x, mask, 0), {"out": np.ones((3, 4), int)}, TypeError, "out has dtype int64"),
        (lines, (np.ones(3), None, None), {}, ValueError, r"x has shape \(3,\)"),
        (lines, (x, mask[:, 0].astype("i1"), None), {}, TypeError, "row_mask has dtype int8"),
        (lines, (x, mask[0], None), {}, ValueError, r"row_mask has shape \(4,\).* to \(3,\)"),
        (lines, (x, None, True), {}, ValueError, r"col_mask has shape \(\)"),
        (lines, (x, None, mask), {}, ValueError, r"col_mask has shape \(3, 4\)"),
        (lines, (x, None, None, [1, 2]), {}, ValueError, r"fill has shape \(2,\)"),
        (lines, (x, None, None, 1j), {}, TypeError, "fill is 1j"),
    ]
    for function, arguments, more, error, message in wrong:
        with pytest.raises(error, match=message):
            function(*arguments, **{"out": out, **more})
    assert (out == 7).all()


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8", "c8", "c16"], ids=str)
@pytest.mark.parametrize(
    ("shape", "x_shape", "value_shape"),
    [
        ((9, 70), None, ()),
        ((9, 70), None, (9, 70)),
        ((300, 70), (70,), (300, 1)),
        ((300, 70), (300, 1), (70,)),
        ((4, 30, 50), (4, 1, 50), (1, 30, 1)),
        ((120_000,), (1,), ()),
        ((2, 2, 1, 3, 2, 1, 2, 2, 9), (1,) * 9, (2, 9)),
        ((0, 3), None, (3,)),
    ],
)
def test_gradients(dtype, shape, x_shape, value_shape):
    g, mask = normal(shape, dtype), mask_of(shape[-1:])
    value = np.zeros(value_shape, dtype)
    for layout in (np.asarray, np.asfortranarray):
        with unmodified(g, mask):
            found = fm.masked_fill_vjp(layout(g), mask, value, shape=x_shape)
        for part, where, part_shape in (
            (found.x, ~mask, x_shape or shape),
            (found.value, mask, value_shape),
        ):
            wide = np.where(where, g.astype("c16" if g.dtype.kind == "c" else "f8"), 0)
            expected = oracles.repeated_sum(wide, part_shape)
            size = oracles.repeated_sum(np.abs(wide), part_shape)
            eps = 2.0**-8 if g.dtype == BFLOAT16 else np.finfo(dtype).eps
            terms = max(g.size // max(np.prod(part_shape), 1), 1)
            bound = eps * np.abs(expected) + terms * np.finfo("f8").eps * size
            assert np.asarray(part).shape == expected.shape
            assert part.dtype == g.dtype
            assert (np.abs(np.asarray(part).astype(wide.dtype) - expected) <= bound).all()


def test_gradients_by_finite_differences():
    x, mask, value = normal((4, 5), "f8"), mask_of((3, 1, 5)), normal((3, 1, 1), "f8", 1)
    g, step = normal((3, 4, 5), "f8", 2), 1e-6
    found = fm.masked_fill_vjp(g, mask, value, shape=x.shape)
    for argument, gradient in ((x, found.x), (value, found.value)):
        for place in np.ndindex(argument.shape):
            sides = []
            for change in (step, -step):
                before = argument[place]
                argument[place] += change
                sides.append(np.sum(g * fm.masked_fill(x, mask, value)))
                argument[place] = before
            assert gradient[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


def test_gradients_without_value_and_into_out():
    g, mask = normal((9, 70), "f4"), mask_of((9, 70))
    expected = np.where(mask, np.float32(0), g)
    found = fm.masked_fill_vjp(g, mask)
    assert found.value is None
    same_bits(found.x, expected)
    by_value = fm.masked_fill_vjp(g, mask, 0.0).value
    assert fm.masked_fill_vjp(g, mask, 0.0, out=g) == (g, by_value)
    same_bits(g, expected)
    assert fm.masked_fill_vjp([1, 2], [True, False], 3).value.dtype == np.float64
    out = np.full((1, 70), np.nan)
    assert fm.masked_fill_vjp(g, mask, shape=(1, 70), out=out).x is out
    np.testing.assert_allclose(out, g.sum(0, "f8", keepdims=True), rtol=1e-6)


def test_gradient_of_rows_and_columns():
    g, rows, cols = normal((3, 20, 30), "c8"), mask_of((3, 20)), mask_of((30,))
    same_bits(fm.mask_rows_cols_vjp(g, rows, cols), oracles.mask_rows_cols(g, rows, cols))
    assert fm.mask_rows_cols_vjp([[1]], [True], None).dtype == np.float64
    with pytest.raises(ValueError, match="cotangent has shape"):
        fm.mask_rows_cols_vjp(np.ones(3), None, None)


def test_errors_of_gradients():
    g, mask = np.ones((3, 4)), np.ones((3, 4), bool)
    wrong = [
        ((g, mask[:2]), {}, ValueError, r"mask has shape \(2, 4\).* to \(3, 4\)"),
        ((g, mask.astype(int)), {}, TypeError, "mask has dtype int64"),
        ((g, mask, np.ones(3)), {}, ValueError, r"value has shape \(3,\)"),
        ((g, mask), {"shape": (2, 4)}, ValueError, r"shape is \(2, 4\)"),
        ((g, mask), {"out": np.ones(3)}, ValueError, r"out has shape \(3,\)"),
        ((g, mask), {"shape": (4,), "out": np.ones(3)}, ValueError, r"out has shape \(3,\)"),
        ((g.astype("S2"), mask), {}, TypeError, "cotangent has dtype"),
    ]
    for arguments, more, error, message in wrong:
        with pytest.raises(error, match=message):
            fm.masked_fill_vjp(*arguments, **more)


@pytest.mark.parametrize("dtype", SIZES)
def test_at_any_number_of_threads(dtype, monkeypatch):
    use("parallel, streamed", monkeypatch)
    x, mask = any_bits((301, 402), dtype), mask_of((301, 402))
    results = set()
    for threads in (1, 2, 8):
        numba.set_num_threads(threads)
        results.add(fm.masked_fill(x, mask, 1).tobytes())
        results.add(fm.mask_rows_cols(x, mask[:, 0], mask[0]).tobytes())
    assert len(results) == 2
