"""`fm.transpose`, `fm.matrix_transpose`: every permutation, layout and item size, bit for bit."""

from itertools import permutations, product

import numba
import numpy as np
import oracles
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from layouts import WRITABLE, makers_for, outside, unmodified
from numpy.lib.stride_tricks import as_strided
from oracles import DTYPES, name
from products import any_bits

import fastmat as fm
from fastmat.cpu import blocking_transpose
from fastmat.cpu.blocking_transpose import Tuning
from fastmat.ops import transpose as ops

SIZES = ("i1", "i2", "i4", "i8", "c16")  # one dtype for each kernel

# Blocks so small, and crossovers so low, that small arrays take the ways of large ones.
GEOMETRIES = {
    "streamed": Tuning(1, 0, 0, 1, 1, 1, 1),
    "streamed, wide": Tuning(1000, 0, 0, 1, 1, 1, 3),
    "streamed, tall": Tuning(5000, 1 << 40, 0, 1, 1, 3, 1),
    "plain": Tuning(100, 0, 1 << 40, 1, 2, 1, 1),
    "serial": Tuning(1 << 17, 1 << 40, 1 << 40, 2, 1, 1, 1),
}


@pytest.fixture(params=GEOMETRIES)
def geometry(request, monkeypatch):
    use(GEOMETRIES[request.param], monkeypatch)


def use(tuning, monkeypatch):
    monkeypatch.setattr(ops, "_assign_kernels", {})
    monkeypatch.setattr(blocking_transpose, "tuning", lambda size: tuning)


def check(x, axes=None, out=None):
    """Transpose and compare with the oracle; x is not modified, nor is anything around out."""
    expected = oracles.transpose(x, axes)
    around = None if out is None else outside(out)
    with unmodified(x):
        result = fm.transpose(x, axes, out)
    assert result.dtype == x.dtype
    assert result.shape == expected.shape
    assert bits(result) == bits(expected)
    if out is None:
        assert result.flags.c_contiguous
        assert not np.may_share_memory(result, x) or x.size == 0
    else:
        assert result is out
        assert outside(out) == around


def bits(x):
    return x.tobytes("C")


def sides(dtype):
    """The sides of the three tiles for items of this size."""
    return [max(width // np.dtype(dtype).itemsize, 1) for width in (16, 32, 64)]


@pytest.mark.parametrize("dtype", SIZES)
def test_around_the_tiles(dtype, geometry):
    edges = sorted({max(side + d, 0) for side in sides(dtype) for d in (-1, 0, 1)} | {0, 1, 3})
    for m, n in product(edges, repeat=2):
        check(any_bits((m, n), dtype))


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize(
    "shape", [(257, 131), (3, 1009), (1009, 3), (1, 500), (520, 64), (64, 520)]
)
def test_several_blocks(shape, dtype, geometry):
    check(any_bits(shape, dtype))


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("start", [0, 1, 3])
def test_results_anywhere_in_a_cache_line(dtype, start, geometry):
    for m, n, pad in [(300, 100, 0), (64, 300, 0), (300, 64, 0), (128, 128, 64), (70, 300, 1)]:
        base = np.zeros(start + n * (m + pad), dtype)
        out = base[start:].reshape(n, m + pad)[:, :m]
        check(any_bits((m, n), dtype), out=out)


@pytest.mark.parametrize("dtype", SIZES)
def test_all_permutations_of_four_axes(dtype, geometry):
    x = any_bits((5, 4, 7, 6), dtype)
    for axes in permutations(range(4)):
        check(x, axes)


@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_every_dtype(dtype):
    for shape, axes in [((33, 45), None), ((2, 9, 8, 3), (0, 3, 1, 2)), ((6, 5, 4), (1, 0, 2))]:
        check(any_bits(shape, dtype), axes)


RECORDS = (
    [("a", "f4"), ("b", "i2"), ("c", "u1"), ("d", "u1")],
    [("a", "u1"), ("b", "u1")],
)


@pytest.mark.parametrize(
    "dtype",
    ["S1", "S8", "U1", "U4", "V2", "V16", "M8[ns]", "m8[D]", ">f4", ">c16", ">U1", "g", *RECORDS],
    ids=str,
)
def test_other_dtypes_of_the_five_sizes(dtype):
    dtype = np.dtype(dtype)
    x = np.arange(37 * 21 * dtype.itemsize, dtype=np.uint32).astype(np.uint8) % 100
    x = x.view(dtype).reshape(37, 21)
    check(x)
    check(x.T[::2], out=np.empty((37, 11), dtype))
    square = np.array(x[:20, :20])
    expected = bits(square.T)
    assert bits(fm.transpose(square, out=square)) == expected


@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8", "c16"])
def test_layouts(dtype, geometry):
    for maker in makers_for(dtype).values():
        for shape, axes in [((40, 37), None), ((5, 9, 33), (2, 0, 1)), ((), None), ((17,), (0,))]:
            check(maker(any_bits(shape, dtype)), axes)


@pytest.mark.parametrize("dtype", ["u1", "f4", "c16"])
def test_layouts_of_out(dtype, geometry):
    makers = makers_for(dtype, WRITABLE)
    makers.pop("byte_swapped", None)
    for maker in makers.values():
        for shape, axes in [((40, 37), (1, 0)), ((4, 9, 33), (1, 2, 0)), ((9, 20, 3), (1, 0, 2))]:
            out = maker(np.zeros(tuple(shape[axis] for axis in axes), dtype))
            check(any_bits(shape, dtype), axes, out)


@st.composite
def arrays_and_axes(draw):
    dtype = draw(st.sampled_from(SIZES))
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 8, 17, 33]), max_size=5))
    while np.prod(shape) > 20_000:
        shape.remove(max(shape))
    maker = draw(st.sampled_from(list(makers_for(dtype).values())))
    axes = draw(st.permutations(range(len(shape))))
    axes = [axis - len(shape) * draw(st.booleans()) for axis in axes]
    out_maker = draw(st.sampled_from([None, *WRITABLE.values()]))
    return maker(any_bits(tuple(shape), dtype)), axes, out_maker


@given(case=arrays_and_axes(), tuning=st.sampled_from(list(GEOMETRIES.values())))
def test_anything(case, tuning):
    x, axes, out_maker = case
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(tuning, monkeypatch)
        out = None
        if out_maker is not None:
            out = out_maker(np.zeros(oracles.transpose(x, axes).shape, x.dtype))
            out = out.view(x.dtype)  # byte_swapped
        check(x, axes, out)


def test_more_than_eight_axes():
    x = any_bits((2, 3, 1, 2, 2, 1, 3, 2, 2, 2), "f4")
    check(x)
    check(x, (1, 0, 2, 9, 4, 5, 6, 3, 8, 7))
    square = any_bits((2,) * 10, "i2")
    expected = bits(square.T)
    assert bits(fm.transpose(square, out=square)) == expected


def test_result_larger_than_the_caches():
    check(any_bits((1501, 1500), "f8"))
    check(any_bits((40, 64, 40, 30), "f4"), (0, 2, 3, 1))


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 131, 300])
def test_in_place(n, dtype):
    for maker in (
        np.array,
        lambda x: np.array(x, order="F"),
        WRITABLE["sliced"],
        WRITABLE["block"],
    ):
        x = maker(any_bits((n, n), dtype))
        expected, around = bits(x.T), outside(x)
        assert fm.transpose(x, out=x) is x
        assert bits(x) == expected
        assert outside(x) == around


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((30, 4, 4), (0, 2, 1)),
        ((3, 4, 33, 33), (0, 1, 3, 2)),
        ((9, 4, 9), (2, 1, 0)),
        ((40, 40, 3), (1, 0, 2)),
        ((5, 5, 5), (1, 2, 0)),
        ((5, 5, 5), (0, 1, 2)),
    ],
)
def test_axes_change_places(shape, axes):
    for dtype in SIZES:
        x = any_bits(shape, dtype)
        expected = bits(x.transpose(axes))
        fm.transpose(x, axes, out=x)
        assert bits(x) == expected


@given(
    offsets=st.tuples(*[st.integers(0, 60)] * 2),
    strides=st.tuples(*[st.sampled_from([1, 2, 9, 10, -1, -9])] * 4),
    shape=st.tuples(*[st.integers(1, 7)] * 2),
)
def test_out_overlaps_x(offsets, strides, shape):
    base = np.arange(400, dtype=np.int32)
    middle = base[150:]
    x = as_strided(middle[offsets[0] :], shape, [4 * s for s in strides[:2]])
    out = as_strided(middle[offsets[1] :], shape[::-1], [4 * s for s in strides[2:]])
    assume(not _meets_itself(out))
    expected = x.T.copy()
    fm.transpose(x, out=out)
    np.testing.assert_array_equal(out, expected)


def _meets_itself(x):
    """Whether two items of an array share memory."""
    places = [
        sum(i * s for i, s in zip(index, x.strides, strict=True)) for index in np.ndindex(x.shape)
    ]
    return len(set(places)) < x.size


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (7, 33, 20), (2, 3, 16, 16), (0, 3), (5, 0, 4)])
def test_matrix_transpose(shape):
    for dtype in SIZES:
        x = any_bits(shape, dtype)
        expected = oracles.matrix_transpose(x)
        out = np.empty_like(expected)
        for result in (fm.matrix_transpose(x), fm.matrix_transpose(x, out=out)):
            assert result.shape == expected.shape
            assert result.dtype == x.dtype
            assert bits(result) == bits(expected)
        assert result is out


@pytest.mark.parametrize("dtype", SIZES)
def test_at_any_number_of_threads(dtype, monkeypatch):
    use(GEOMETRIES["streamed, wide"], monkeypatch)
    x = any_bits((3, 301, 402), dtype)
    results = set()
    for threads in (1, 2, 8):
        numba.set_num_threads(threads)
        results.add(bits(fm.transpose(x, (0, 2, 1))))
        square = np.array(x[:, :, :301])
        results.add(bits(fm.matrix_transpose(square, out=square)) + b"square")
    assert len(results) == 2


def test_array_likes():
    np.testing.assert_array_equal(fm.transpose([[1, 2], [3, 4]]), [[1, 3], [2, 4]])
    assert fm.transpose(3.5).shape == ()
    assert fm.transpose(np.float32(3.5)).dtype == np.float32
    assert type(fm.transpose(np.array(1))) is np.ndarray
    np.testing.assert_array_equal(fm.transpose(np.arange(3), 0), [0, 1, 2])

    class Exporter:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **keywords):
            return self.array.__dlpack__(**keywords)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    x, out = any_bits((4, 5), "i4"), np.empty((5, 4), "i4")
    assert fm.transpose(Exporter(x), out=out) is out
    assert bits(out) == bits(x.T)


@pytest.mark.parametrize(
    ("axes", "error", "message"),
    [
        ((0,), ValueError, r"axes is \(0,\); for x of 2 dimensions .* permutation of \(0, 1\)"),
        ((0, 1, 2), ValueError, r"axes is \(0, 1, 2\)"),
        ((0, 0), ValueError, r"axes is \(0, 0\)"),
        ((0, 2), ValueError, r"axes is \(0, 2\)"),
        ((-3, 1), ValueError, r"axes is \(-3, 1\)"),
        ((), ValueError, r"axes is \(\)"),
        (1, ValueError, r"axes is \(1,\)"),
        ((0.0, 1.0), TypeError, r"axes is \(0.0, 1.0\); it must consist of integers"),
        ("01", TypeError, "axes is '01'"),
    ],
)
def test_bad_axes(axes, error, message):
    out = np.zeros((3, 2))
    with pytest.raises(error, match=message):
        fm.transpose(np.ones((2, 3)), axes, out)
    assert not out.any()


@pytest.mark.parametrize("dtype", [object, "S3", "U3", "V32", "G", [("a", "i4"), ("b", "u1")]])
def test_items_of_another_size(dtype):
    x = np.zeros((2, 3), dtype)
    for function in (fm.transpose, fm.matrix_transpose):
        with pytest.raises(TypeError, match=r"x has dtype .* 1, 2, 4, 8, 16 bytes"):
            function(x)


def test_bad_out():
    x = np.ones((2, 3))
    frozen = np.zeros((3, 2))
    frozen.flags.writeable = False
    wrong = [
        (np.zeros((2, 3)), ValueError, r"out has shape \(2, 3\); the result has shape \(3, 2\)"),
        (np.zeros((3, 2), "f4"), TypeError, "out has dtype float32; the result has dtype float64"),
        (np.zeros((3, 2), ">f8"), TypeError, "out has dtype >f8"),
        (frozen, ValueError, "out is read-only"),
        ([[0, 0]] * 3, TypeError, "out is of type list"),
    ]
    for out, error, message in wrong:
        for function in (fm.transpose, fm.matrix_transpose):
            with pytest.raises(error, match=message):
                function(x, out=out)
            assert not np.any(out)


def test_matrix_transpose_wants_matrices():
    for x in (3.0, np.ones(4)):
        with pytest.raises(ValueError, match="2 or more dimensions"):
            fm.matrix_transpose(x)


def test_cache_size_is_read_or_assumed(monkeypatch):
    assert blocking_transpose.last_level_cache() >= 1 << 18
    monkeypatch.setattr(blocking_transpose, "Path", lambda path: _Nothing())
    assert blocking_transpose.last_level_cache() == blocking_transpose.LAST_LEVEL_CACHE


class _Nothing:
    def glob(self, pattern):
        return []
