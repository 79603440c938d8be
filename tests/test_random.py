"""fastmat.random: uniform and normal numbers by position."""

import numba
import numpy as np
import pytest
import random_oracles as oracles
from test_philox import KNOWN

from fastmat import random

REALS = (np.float32, np.float64)
SEED, STREAM = 0x0123456789ABCDEF, 0xFEDCBA9876543210
LENGTHS = (0, 1, 2, 3, 5, 63, 64, 65, 509, 511, 512, 513, 1021, 1024, 1025, 70_001)
OFFSETS = (0, 1, 2, 3, 1023, 4 * 2**32 - 7, 2**61 + 5)


def positions(count, offset=0):
    return np.arange(count, dtype=np.uint64) + np.uint64(offset)


def test_oracle_gives_the_known_answers():
    for counter, key, expected in KNOWN:
        c = [int(word, 16) for word in counter.split()]
        k = [int(word, 16) for word in key.split()]
        found = oracles.philox(*c, k[0] | k[1] << 32)
        assert [int(word) for word in found] == [int(word, 16) for word in expected.split()]


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_uniform_is_exact(dtype, offset):
    for count in LENGTHS:
        found = random.uniform(size=count, dtype=dtype, rng=SEED, stream=STREAM, offset=offset)
        assert found.dtype == dtype
        expected = oracles.uniform(positions(count, offset), dtype, SEED, STREAM)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_normal_is_right_to_the_last_places(dtype, offset):
    """Of u: log and root, 1 ulp; of v: 1 ulp; two products of half an ulp each; 4 in all."""
    for count in LENGTHS:
        found = random.standard_normal(count, dtype=dtype, rng=SEED, stream=STREAM, offset=offset)
        assert found.dtype == dtype
        expected = oracles.normal(positions(count, offset), dtype, SEED, STREAM)
        error = np.abs(found - expected)
        assert (error <= 4 * np.finfo(dtype).eps * np.abs(expected)).all()


@pytest.mark.parametrize("dtype", REALS)
def test_bounds_and_moments_are_applied_with_one_rounding(dtype):
    eps = np.finfo(dtype).eps
    u = random.uniform(size=1000, dtype=dtype, rng=1).astype(np.longdouble)
    found = random.uniform(-3, 7, 1000, dtype=dtype, rng=1)
    assert (np.abs(found - (10 * u - 3)) <= 0.51 * np.spacing(np.abs(found))).all()
    z = random.standard_normal(1000, dtype=dtype, rng=1).astype(np.longdouble)
    found = random.normal(5, 0.25, 1000, dtype=dtype, rng=1)
    assert (np.abs(found - (5 + z / 4)) <= 0.51 * np.spacing(np.abs(found))).all()
    assert (random.normal(2.5, 0, 10, dtype=dtype, rng=1) == 2.5).all()
    assert (random.uniform(4, 4, 10, dtype=dtype, rng=1) == 4).all()
    assert np.abs(found).max() < 5 + 7 / 4 * (1 + eps)


@pytest.mark.parametrize(("dtype", "real"), [("complex64", "float32"), ("complex128", "float64")])
def test_complex_numbers_are_pairs(dtype, real):
    pairs = random.standard_normal((50, 2), dtype=real, rng=SEED, offset=14)
    found = random.standard_normal(50, dtype=dtype, rng=SEED, offset=7)
    assert found.dtype == dtype
    eps = np.finfo(real).eps
    np.testing.assert_allclose(found.real, pairs[:, 0] * np.sqrt(0.5), rtol=2 * eps)
    np.testing.assert_allclose(found.imag, pairs[:, 1] * np.sqrt(0.5), rtol=2 * eps)
    moved = random.normal(3 - 4j, 2, 50, dtype=dtype, rng=SEED, offset=7)
    np.testing.assert_allclose(moved, 3 - 4j + 2 * found, rtol=8 * eps)
    block = random.standard_normal((3, 4), dtype=dtype, rng=2, offset=(2, 1), whole=(6, 7))
    whole = random.standard_normal((6, 7), dtype=dtype, rng=2)
    np.testing.assert_array_equal(block, whole[2:5, 1:5])
    out = np.zeros((7, 6), dtype).T
    assert random.standard_normal(dtype=dtype, rng=2, out=out) is out
    np.testing.assert_array_equal(out, whole)


CALLS = {
    "uniform": lambda *args, **keywords: random.uniform(-1, 1, *args, **keywords),
    "normal": lambda *args, **keywords: random.normal(1, 2, *args, **keywords),
    "standard_normal": random.standard_normal,
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
@pytest.mark.parametrize("dtype", REALS)
def test_any_part_is_the_same_part_of_the_whole(call, dtype):
    whole = call(40_000, dtype=dtype, rng=SEED, stream=3)
    rng = np.random.default_rng(0)
    for _ in range(60):
        begin, end = np.sort(rng.integers(0, whole.size + 1, 2))
        part = call(int(end - begin), dtype=dtype, rng=SEED, stream=3, offset=int(begin))
        np.testing.assert_array_equal(part, whole[begin:end])


@every_call
@pytest.mark.parametrize("dtype", REALS)
def test_any_block_is_the_same_block_of_the_whole(call, dtype):
    rng = np.random.default_rng(1)
    for shape in ((7,), (40, 1100), (9, 1, 13), (5, 6, 7, 8), (3, 1, 2, 1, 4, 1, 2, 3)):
        whole = call(shape, dtype=dtype, rng=SEED)
        for _ in range(10):
            start = tuple(int(rng.integers(n)) for n in shape)
            size = tuple(int(rng.integers(n - i + 1)) for i, n in zip(start, shape, strict=True))
            block = call(size, dtype=dtype, rng=SEED, offset=start, whole=shape)
            inside = tuple(slice(i, i + n) for i, n in zip(start, size, strict=True))
            np.testing.assert_array_equal(block, whole[inside])
            out = np.full((*size, 2), 7, dtype)[..., 0]
            call(dtype=dtype, rng=SEED, offset=start, whole=shape, out=out)
            np.testing.assert_array_equal(out, whole[inside])
        np.testing.assert_array_equal(call(shape, dtype=dtype, rng=SEED, whole=shape), whole)


def test_blocks_of_many_axes():
    """Complex normal numbers are pairs of real ones: one axis more than kernels have."""
    shape = (2, 1, 3, 1, 2, 2, 1, 5)
    whole = random.standard_normal(shape, dtype="c8", rng=2)
    offset, size = (1, 0, 1, 0, 0, 1, 0, 2), (1, 1, 2, 1, 2, 1, 1, 3)
    block = random.standard_normal(size, dtype="c8", rng=2, offset=offset, whole=shape)
    ends = [slice(i, i + n) for i, n in zip(offset, size, strict=True)]
    np.testing.assert_array_equal(block, whole[tuple(ends)])


@every_call
@pytest.mark.parametrize("dtype", REALS)
def test_threads_do_not_matter(call, dtype):
    found = []
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        found.append(call(300_001, dtype=dtype, rng=5, offset=3).tobytes())
    assert len(set(found)) == 1


@every_call
@pytest.mark.parametrize("dtype", REALS)
def test_out_of_any_strides(call, dtype):
    expected = call((70, 90), dtype=dtype, rng=SEED)
    big = np.zeros((140, 180), dtype)
    unaligned = np.zeros(70 * 90 * expected.itemsize + 1, np.uint8)[1:].view(dtype)
    for out in (
        np.empty((70, 90), dtype),
        np.empty((90, 70), dtype).T,
        big[::2, ::2],
        big[-1:-71:-1, 90:0:-1],
        big[:70, :90],
        unaligned.reshape(70, 90),
        np.empty((70, 90), np.dtype(dtype).newbyteorder()),
        np.empty((70, 90), np.float64),
        np.empty((70, 90), np.complex128),
    ):
        assert call(dtype=dtype, rng=SEED, out=out) is out
        np.testing.assert_array_equal(out, expected)
        assert call((70, 90), dtype=dtype, rng=SEED, out=out) is out
    line = np.zeros(6300 * 3, dtype)[::-3]
    call(dtype=dtype, rng=SEED, out=line)
    np.testing.assert_array_equal(line, expected.ravel())
    guarded = np.full((74, 94), 7, dtype)
    call(dtype=dtype, rng=SEED, out=guarded[2:-2, 2:-2])
    np.testing.assert_array_equal(guarded[2:-2, 2:-2], expected)
    guarded[2:-2, 2:-2] = 7
    assert (guarded == 7).all()


def test_dtype_of_out_is_taken():
    out = np.empty(5, np.float32)
    random.uniform(out=out, rng=1)
    np.testing.assert_array_equal(out, random.uniform(size=5, dtype="f4", rng=1))
    assert random.uniform(size=5).dtype == np.float64


def test_out_of_another_library():
    torch = pytest.importorskip("torch")
    out = torch.zeros((3, 4), dtype=torch.float32)
    assert random.standard_normal(out=out, rng=1) is out
    expected = random.standard_normal((3, 4), dtype=np.float32, rng=1)
    np.testing.assert_array_equal(out.numpy(), expected)


def test_sizes():
    assert random.uniform().shape == ()
    assert isinstance(random.uniform(dtype=np.float32), np.float32)
    assert isinstance(random.standard_normal(()), np.float64)
    assert random.normal(size=(0, 3)).shape == (0, 3)
    assert random.normal(size=[2, 3]).shape == (2, 3)
    assert random.uniform(size=np.int64(4)).shape == (4,)
    many = random.uniform(size=(1, 2) * 8, rng=1)
    np.testing.assert_array_equal(many.ravel(), random.uniform(size=256, rng=1))
    out = np.empty((2, 1) * 8)
    np.testing.assert_array_equal(random.uniform(out=out[..., ::-1], rng=1).ravel(), many.ravel())


def test_seeds():
    def drawn(rng):
        return random.uniform(size=4, rng=rng).tolist()

    assert drawn(None) != drawn(None)
    assert drawn(7) == drawn(np.uint8(7)) != drawn(8)
    assert drawn(2**64 - 1) == oracles.uniform(positions(4), np.float64, 2**64 - 1).tolist()
    for large in (2**64, 2**200 + 1, [1, 2, 3]):
        word = int(np.random.SeedSequence(large).generate_state(1, np.uint64)[0])
        assert drawn(large) == drawn(word) == drawn(np.random.SeedSequence(large))
    generator = np.random.default_rng(3)
    first = drawn(generator)
    assert first == drawn(np.random.default_rng(3)) == drawn(np.random.PCG64(3))
    assert drawn(generator) != first
    assert len({tuple(random.uniform(size=4, rng=1, stream=s)) for s in (0, 1, 2**32, 2**63)}) == 4


ERRORS = [
    (ValueError, "high must not be less than low", lambda r: r.uniform(1, 0)),
    (ValueError, "must be finite", lambda r: r.uniform(0, np.inf)),
    (ValueError, "must be finite", lambda r: r.uniform(-1e38, 1e39, dtype="f4")),
    (TypeError, "low is 'a'", lambda r: r.uniform("a")),
    (ValueError, "scale is -1", lambda r: r.normal(0, -1)),
    (ValueError, "scale is nan", lambda r: r.normal(0, np.nan)),
    (TypeError, "loc is", lambda r: r.normal(1j)),
    (TypeError, "loc is", lambda r: r.normal([1.0], dtype="c8")),
    (TypeError, "dtype is int32", lambda r: r.uniform(dtype="i4")),
    (TypeError, "dtype is float16", lambda r: r.standard_normal(dtype="f2")),
    (TypeError, "dtype is complex64", lambda r: r.uniform(dtype="c8")),
    (TypeError, "dtype is 'no'", lambda r: r.uniform(dtype="no")),
    (ValueError, "size is -1", lambda r: r.uniform(size=-1)),
    (TypeError, "size is 1.5", lambda r: r.uniform(size=1.5)),
    (TypeError, "size is", lambda r: r.uniform(size=(2, "a"))),
    (ValueError, "rng is -1", lambda r: r.uniform(rng=-1)),
    (TypeError, "rng is 'a'", lambda r: r.uniform(rng="a")),
    (ValueError, "stream is -1", lambda r: r.uniform(stream=-1)),
    (ValueError, "stream is 1844", lambda r: r.uniform(stream=2**64)),
    (TypeError, "stream is 0.5", lambda r: r.uniform(stream=0.5)),
    (ValueError, "offset is -1", lambda r: r.uniform(offset=-1)),
    (ValueError, "offset is", lambda r: r.uniform(size=2, offset=2**62 - 1)),
    (TypeError, "without whole", lambda r: r.uniform(size=2, offset=(1,))),
    (TypeError, "with whole", lambda r: r.uniform(size=2, offset=1, whole=4)),
    (ValueError, "same length", lambda r: r.uniform(size=2, offset=(1,), whole=(4, 4))),
    (ValueError, "must lie within", lambda r: r.uniform(size=2, offset=(3,), whole=4)),
    (ValueError, "must lie within", lambda r: r.uniform(size=2, offset=(-1,), whole=4)),
    (ValueError, "8 are the most", lambda r: r.uniform(size=(1,) * 9, whole=(1,) * 9)),
    (ValueError, "at most", lambda r: r.uniform(size=(1, 1), whole=(2**40, 2**40))),
    (TypeError, "out is of type list", lambda r: r.uniform(size=1, out=[1.0])),
    (ValueError, "out has shape", lambda r: r.uniform(size=2, out=np.empty(3))),
    (TypeError, "out has dtype", lambda r: r.uniform(dtype="f8", out=np.empty(3, "i4"))),
]


@pytest.mark.parametrize(("error", "message", "call"), ERRORS)
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call(random)


def test_out_is_left_alone_by_errors():
    out = np.full(3, 7.0)
    with pytest.raises(ValueError, match="rng"):
        random.uniform(out=out, rng=-1)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        random.uniform(out=out, rng=1)
    assert (out == 7).all()
