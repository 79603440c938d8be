"""Operations under masks that fill, on GPUs, bit for bit, and their gradients."""

import fill_oracles as oracles
import numpy as np
import pytest
from gpus import on
from layouts import block, broadcast, f_order, negative, sliced
from oracles import BFLOAT16, DTYPES, name
from products import any_bits

import fastmat as fm

SIZES = ("u1", "u2", "f4", "f8", "c16")  # one dtype for each kernel


def mask_of(shape, seed=0):
    return np.random.default_rng([seed, *np.atleast_1d(shape)]).random(shape) < 0.4


def same(gpu, result, expected):
    assert isinstance(result, gpu.kind)
    got = gpu.numpy(result)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


def check(gpu, x, mask, value):
    given = value if isinstance(value, int | float | complex) else gpu.array(value)
    result = fm.masked_fill(gpu.array(x), gpu.array(mask), given)
    same(gpu, result, oracles.masked_fill(x, mask, value))


def check_lines(gpu, x, rows, cols, fill=0):
    given = (None if mask is None else gpu.array(mask) for mask in (rows, cols))
    result = fm.mask_rows_cols(gpu.array(x), *given, fill)
    same(gpu, result, oracles.mask_rows_cols(x, rows, cols, fill))


@pytest.mark.parametrize("dtype", SIZES)
def test_fill_with_a_number(gpu, dtype):
    for n in (0, 1, 15, 16, 4096, 5003):
        check(gpu, any_bits((n,), dtype), mask_of((n,)), 3)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_dtypes(gpu, dtype):
    x, mask = any_bits((7, 48), dtype), mask_of((7, 48))
    check(gpu, x, mask, True if np.dtype(dtype) == bool else 1)
    check(gpu, x, mask, any_bits((48,), dtype))


@pytest.mark.parametrize(
    ("x", "mask", "value"),
    [
        ((5, 32), (32,), (5, 1)),
        ((5, 32), (5, 1), (5, 32)),
        ((5, 33), (5, 1), (33,)),
        ((3, 4, 32), (3, 1, 32), ()),
        ((32,), (6, 1), (6, 32)),
        ((2, 1, 3, 1, 2, 8), (1, 3, 1, 4, 1, 8), (8,)),
        ((), (), ()),
        ((), (3,), ()),
        ((0, 4), (4,), ()),
    ],
)
def test_broadcasting(gpu, x, mask, value):
    check(gpu, any_bits(x, "f4"), mask_of(mask), any_bits(value, "f4"))


@pytest.mark.parametrize("layout", [f_order, sliced, negative, block, broadcast])
def test_layouts(gpu, layout):
    x, mask = any_bits((40, 36), "u4"), mask_of((40, 36))
    check(gpu, layout(x), mask, 1)
    check(gpu, x, layout(mask), 1)
    check(gpu, x, mask, layout(x + 1))


def test_any_byte_but_0_is_true(gpu):
    mask = np.array([0, 1, 2, 128, 255] * 20, np.uint8).view(bool)
    x = any_bits((3, 100), "f4")
    check(gpu, x, mask, 1.0)
    rows = np.array([4, 0, 1], np.uint8).view(bool)
    given = gpu.array(rows), gpu.array(mask)
    same(
        gpu,
        fm.mask_rows_cols(gpu.array(x), *given),
        oracles.mask_rows_cols(x, rows.view("u1") != 0, mask.view("u1") != 0),
    )


@pytest.mark.parametrize("dtype", SIZES)
def test_rows_and_columns(gpu, dtype):
    x = any_bits((2, 19, 48), dtype)
    check_lines(gpu, x, mask_of((19,)), mask_of((48,)))
    check_lines(gpu, x, mask_of((2, 19)), None, 1)
    check_lines(gpu, x, None, mask_of((2, 48)))
    check_lines(gpu, x[..., :35], mask_of((2, 1, 19))[:, 0], mask_of((35,)))
    check_lines(gpu, x, None, None)


def test_fortran_order_is_kept(gpu):
    x = np.asfortranarray(any_bits((20, 12), "f4"))
    result = fm.masked_fill(gpu.array(x), gpu.array(mask_of((20, 12))), 0.0)
    same(gpu, result, oracles.masked_fill(x, mask_of((20, 12)), 0.0))
    result = fm.mask_rows_cols(gpu.array(x), gpu.array(mask_of((20,))), None)
    same(gpu, result, oracles.mask_rows_cols(x, mask_of((20,)), None))


def test_out(gpu):
    x, mask = any_bits((30, 33), "f4"), mask_of((30, 33))
    expected = oracles.masked_fill(x, mask, 2.0)
    for out in (np.empty_like(x), np.empty_like(x, order="F"), sliced(x)):
        place = gpu.array(out)
        assert fm.masked_fill(gpu.array(x), gpu.array(mask), 2.0, out=place) is place
        same(gpu, place, expected)
    given = gpu.array(x)
    assert fm.masked_fill(given, gpu.array(mask), 2.0, out=given) is given
    same(gpu, given, expected)
    flags = gpu.array(mask)
    fm.masked_fill(flags, flags, False, out=flags)
    assert not gpu.numpy(flags).any()


def test_out_that_overlaps(gpu):
    x, mask = any_bits((40, 32), "f4"), mask_of((39, 32))
    given = gpu.array(x)
    fm.masked_fill(given[1:], gpu.array(mask), 2.0, out=given[:39])
    expected = x.copy()
    expected[:39] = oracles.masked_fill(x[1:], mask, 2.0)
    same(gpu, given, expected)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8", "c8", "c16"], ids=name)
def test_gradients_of_the_fill(gpu, dtype):
    rng = np.random.default_rng(1)
    mask = mask_of((3, 30, 40))
    g = rng.standard_normal((3, 30, 40))
    g = (g + 1j * rng.standard_normal(g.shape) if np.dtype(dtype).kind == "c" else g).astype(dtype)
    given, marks = gpu.array(g), gpu.array(mask)
    by_x, by_value = fm.masked_fill_vjp(given, marks)
    assert by_value is None
    same(gpu, by_x, np.where(mask, g.dtype.type(0), g))
    for shape in [(), (40,), (30, 1), (3, 1, 1), (1, 30, 40), (3, 30, 40)]:
        value = gpu.array(np.zeros(shape, dtype))
        by_x, by_value = fm.masked_fill_vjp(given, marks, value, shape=shape)
        for got, keep in [(by_x, ~mask), (by_value, mask)]:
            terms = np.where(keep, g, g.dtype.type(0))
            wide = np.complex128 if g.dtype.kind == "c" else np.float64
            expected = oracles.repeated_sum(terms.astype(wide), shape)
            bound = oracles.repeated_sum(np.abs(terms.astype(wide)), shape).real
            got = gpu.numpy(got)
            assert got.dtype == g.dtype
            assert got.shape == shape
            # A tree over 3600 terms after 16 in sequence, then the rounding of the result.
            eps = {2: 1e-7, 4: 1e-7, 8: 2e-16, 16: 2e-16}[got.itemsize]
            if np.dtype(dtype) == np.complex64:
                eps = 1e-7
            last = {"float16": 2**-11, "bfloat16": 2**-8}.get(np.dtype(dtype).name, eps)
            error = np.abs(got.astype(wide) - expected)
            assert (error <= 32 * eps * bound + last * np.abs(expected)).all()


def test_gradient_by_many_parts(gpu):
    g = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    mask = mask_of(g.shape)
    _, by_value = fm.masked_fill_vjp(gpu.array(g), gpu.array(mask), 0.0)
    assert abs(gpu.numpy(by_value) - g[mask].sum(dtype=float)) <= 3e-6 * np.abs(g[mask]).sum()
    tall = g.reshape(2000, 10)
    _, by_value = fm.masked_fill_vjp(
        gpu.array(tall), gpu.array(mask[:10]), gpu.array(np.zeros(10, np.float32))
    )
    expected = np.where(mask[:10], tall, 0).sum(0, dtype=float)
    assert np.abs(gpu.numpy(by_value) - expected).max() <= 3e-6 * np.abs(tall).sum(0).max()


def test_gradient_without_items(gpu):
    g, mask = gpu.array(np.zeros((0, 3), np.float32)), gpu.array(np.zeros((0, 3), bool))
    _, by_value = fm.masked_fill_vjp(g, mask, gpu.array(np.zeros(3, np.float32)))
    assert (gpu.numpy(by_value) == 0).all()


def test_gradient_to_out(gpu):
    g, mask = any_bits((6, 16), "i4").astype("f4"), mask_of((6, 16))
    given = gpu.array(g)
    assert fm.masked_fill_vjp(given, gpu.array(mask), out=given).x is given
    same(gpu, given, np.where(mask, np.float32(0), g))
    out = gpu.array(np.zeros((16,), "f4"))
    assert fm.masked_fill_vjp(gpu.array(g), gpu.array(mask), shape=(16,), out=out).x is out


def test_gradient_of_rows_and_columns(gpu):
    g, rows, cols = any_bits((2, 9, 32), "f4"), mask_of((9,)), mask_of((32,))
    given = gpu.array(g)
    assert fm.mask_rows_cols_vjp(given, gpu.array(rows), gpu.array(cols), out=given) is given
    same(gpu, given, oracles.mask_rows_cols(g, rows, cols))


def test_errors(gpu):
    x, mask = gpu.array(np.ones((3, 4), np.float32)), gpu.array(np.ones((3, 4), bool))
    with pytest.raises(TypeError, match="mask has dtype float32; it must be bool"):
        fm.masked_fill(x, x, 0.0)
    with pytest.raises(TypeError, match="mask is not on a GPU"):
        fm.masked_fill(x, np.ones((3, 4), bool), 0.0)
    with pytest.raises(TypeError, match="value is not on a GPU"):
        fm.masked_fill(x, mask, np.ones(4, np.float32))
    with pytest.raises(TypeError, match="value is 1j, which cannot be cast to float32"):
        fm.masked_fill(x, mask, 1j)
    with pytest.raises(TypeError, match="value has dtype complex64, which cannot be cast"):
        fm.masked_fill(x, mask, gpu.array(np.ones((), np.complex64)))
    with pytest.raises(TypeError, match="value has dtype int32; on GPUs it must be float32, as x"):
        fm.masked_fill(x, mask, gpu.array(np.ones((), np.int32)))
    with pytest.raises(OverflowError, match="value is 256"):
        fm.masked_fill(gpu.array(np.ones(3, np.uint8)), gpu.array(np.ones(3, bool)), 256)
    with pytest.raises(ValueError, match=r"mask has shape \(4,\).*they must broadcast"):
        fm.masked_fill(gpu.array(np.ones((3, 3))), gpu.array(np.ones(4, bool)), 0)
    with pytest.raises(ValueError, match=r"out has shape \(3,\); the result has shape \(3, 4\)"):
        fm.masked_fill(x, mask, 0, out=gpu.array(np.ones(3, np.float32)))
    with pytest.raises(ValueError, match="row_mask has shape"):
        fm.mask_rows_cols(x, gpu.array(np.ones(4, bool)), None)
    with pytest.raises(ValueError, match="it must have 2 or more dimensions"):
        fm.mask_rows_cols(gpu.array(np.ones(4)), None, None)
    with pytest.raises(ValueError, match=r"fill has shape \(4,\); it must be a single number"):
        fm.mask_rows_cols(x, None, None, gpu.array(np.ones(4, np.float32)))
    with pytest.raises(TypeError, match="cotangent has dtype int32; on GPUs it must be floating"):
        fm.masked_fill_vjp(gpu.array(np.ones((3, 4), np.int32)), mask)
    with pytest.raises(ValueError, match="which does not broadcast to"):
        fm.masked_fill_vjp(x, mask, shape=(5,))


def test_order_of_threads_does_not_matter():
    x, mask = any_bits((50, 70), "f4"), mask_of((50, 70))
    g = np.random.default_rng(0).standard_normal((50, 70)).astype(np.float32)
    found = set()
    for seed in range(3):
        with on("emulator", seed=seed) as gpu:
            check(gpu, x, mask, 0.0)
            _, by_value = fm.masked_fill_vjp(gpu.array(g), gpu.array(mask), 0.0)
            found.add(gpu.numpy(by_value).tobytes())
    assert len(found) == 1
