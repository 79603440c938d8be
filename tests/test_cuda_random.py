"""Random draws on GPUs: the bits of the CPU, for every dtype, position and layout."""

import numpy as np
import pytest
from gpus import on
from test_philox import KNOWN

import fastmat as fm

random = fm.random
KINDS = [
    ("uniform", "float32", {"low": -1.5, "high": 2.25}),
    ("uniform", "float64", {"low": -1.5, "high": 2.25}),
    ("normal", "float32", {"loc": 3.0, "scale": 0.1}),
    ("normal", "float64", {"loc": 3.0, "scale": 0.1}),
    ("normal", "complex64", {"loc": 1 - 2j, "scale": 0.1}),
    ("standard_normal", "complex128", {}),
    ("integers", "bool", {"low": 0, "high": 2}),
    ("integers", "int8", {"low": -128, "high": 128}),
    ("integers", "uint16", {"low": 7, "high": 60_000}),
    ("integers", "int32", {"low": -5, "high": 6}),
    ("integers", "uint64", {"low": 0, "high": 2**64}),
    ("integers", "int64", {"low": -(2**62), "high": 2**61 + 1}),  # a quarter is drawn again
    *(("rademacher", dtype, {}) for dtype in ("int8", "int16", "int64", "float16", "bfloat16")),
    *(("rademacher", dtype, {}) for dtype in ("float32", "float64", "complex64", "complex128")),
]
NAMES = [f"{name}-{dtype}" for name, dtype, _ in KINDS]


def same(got, want):
    """Every bit, the type and the shape."""
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(
        np.ascontiguousarray(got).view(np.uint8), np.ascontiguousarray(want).view(np.uint8)
    )


def drawn(gpu, name, dtype, **options):
    """On the GPU and on the CPU."""
    like = gpu.array(np.zeros(3, np.float32))
    found = getattr(random, name)(dtype=dtype, like=like, **options)
    assert isinstance(found, gpu.kind)
    return gpu.numpy(found), getattr(random, name)(dtype=dtype, **options)


@pytest.mark.parametrize(("name", "dtype", "options"), KINDS, ids=NAMES)
def test_bits_of_the_cpu(gpu, name, dtype, options):
    if dtype == "bfloat16":
        gpu.array(np.zeros(1, fm_bfloat16()))  # skips where the library has none
    for size, offset in ((0, 0), (1, 0), (1, 3), (4099, 0), (4096, 2**61 + 1), ((3, 5, 7), 16)):
        same(*drawn(gpu, name, dtype, size=size, offset=offset, rng=5, stream=2**63, **options))


def fm_bfloat16():
    import ml_dtypes

    return ml_dtypes.bfloat16


@pytest.mark.parametrize(("name", "dtype", "options"), KINDS[::3], ids=NAMES[::3])
def test_blocks_of_a_whole(gpu, name, dtype, options):
    for size, offset, whole in (
        ((5, 6), (2, 3), (20, 31)),
        ((5, 1), (2, 30), (20, 31)),
        ((2, 3, 4, 5, 2), (1, 0, 1, 0, 1), (4, 3, 6, 5, 4)),
    ):
        options = {**options, "size": size, "offset": offset, "whole": whole}
        same(*drawn(gpu, name, dtype, rng=5, **options))


@pytest.mark.parametrize(("name", "dtype", "options"), KINDS[::3], ids=NAMES[::3])
def test_layouts_of_out(gpu, name, dtype, options):
    kind = np.dtype(dtype)
    layouts = [
        np.zeros((6, 10), kind).T,
        np.zeros((20, 18), kind)[::2, 1::3],
        np.zeros(61, kind)[1:].reshape(10, 6),  # not aligned
        np.zeros((10, 6), kind)[::-1, ::-1],
    ]
    for host in layouts[: 4 if gpu.kind.__module__.split(".")[0] != "torch" else 3]:
        out = gpu.array(host)
        assert getattr(random, name)(size=host.shape, out=out, rng=1, offset=3, **options) is out
        want = getattr(random, name)(size=host.shape, dtype=kind, rng=1, offset=3, **options)
        same(gpu.numpy(out), want)


def test_stores_nothing_elsewhere(gpu):
    around = np.arange(40, dtype=np.float32)
    memory = gpu.array(around)
    random.uniform(out=memory[3:34], rng=0)
    got = gpu.numpy(memory)
    np.testing.assert_array_equal(got[:3], around[:3])
    np.testing.assert_array_equal(got[34:], around[34:])
    same(got[3:34], random.uniform(size=31, dtype="f4", rng=0))


def test_defaults(gpu):
    like = gpu.array(np.zeros(3, np.int8))
    assert gpu.numpy(random.uniform(like=like, rng=1)) == random.uniform(rng=1)
    out = gpu.array(np.zeros((4, 3), np.float32))
    assert random.standard_normal(out=out, rng=1) is out
    same(gpu.numpy(out), random.standard_normal((4, 3), dtype="f4", rng=1))
    found = gpu.numpy(random.integers(10, size=5, like=like, rng=np.random.default_rng(3)))
    same(found, random.integers(10, size=5, rng=np.random.default_rng(3)))


def test_weights_of_layers(gpu):
    for name in ("glorot_uniform", "he_normal"):
        options = {"shape": (3, 4, 5), "dtype": "f4", "rng": 1}
        got = getattr(random, name)(**options, like=gpu.array(np.zeros(1)))
        same(gpu.numpy(got), getattr(random, name)(**options))


def test_orthogonal(gpu):
    like = gpu.array(np.zeros(1))
    for n, m in ((9, 4), (4, 9), (6, 6)):
        got = gpu.numpy(random.orthogonal(n, m, dtype="f4", rng=1, like=like))
        want = random.orthogonal(n, m, dtype="f4", rng=1)
        np.testing.assert_allclose(got, want, atol=1e-5)
    out = gpu.array(np.zeros((5, 8), "f4")[:, ::2])
    assert random.orthogonal(5, 4, rng=1, out=out) is out
    np.testing.assert_allclose(
        gpu.numpy(out), random.orthogonal(5, 4, dtype="f4", rng=1), atol=1e-5
    )


def test_the_same_in_any_order_of_threads():
    found = []
    for seed in (0, 1):
        with on("emulator", seed=seed) as gpu:
            found.append(drawn(gpu, "normal", "float32", size=3001, rng=1)[0])
    same(*found)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "high must not be less than low", lambda x: random.uniform(2, 1, like=x)),
        (ValueError, "scale is -1", lambda x: random.normal(0, -1, like=x)),
        (ValueError, "no integers", lambda x: random.integers(3, 3, like=x)),
        (ValueError, "out has shape", lambda x: random.uniform(size=(3,), out=x)),
        (TypeError, "out has dtype", lambda x: random.uniform(size=(2,), dtype="f8", out=x)),
        (TypeError, "dtype is int8", lambda x: random.uniform(dtype="int8", like=x)),
        (TypeError, "out is not on a GPU", lambda x: random.uniform(out=np.zeros(2), like=x)),
        (ValueError, "offset is -1", lambda x: random.uniform(size=2, offset=-1, like=x)),
    ],
)
def test_errors(gpu, error, message, call):
    x = gpu.array(np.array([1.5, 2.5], np.float32))
    with pytest.raises(error, match=message):
        call(x)
    np.testing.assert_array_equal(gpu.numpy(x), np.float32([1.5, 2.5]))


@pytest.mark.parametrize("shape", [(0,), (1,), (1000,), (30, 4), (33, 3, 5), (5, 0), (0, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "complex128"])
def test_permutations_of_items(gpu, shape, dtype):
    x = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    for given in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        found = random.permutation(gpu.array(given), rng=3, stream=1, offset=7)
        assert isinstance(found, gpu.kind)
        same(gpu.numpy(found), random.permutation(x, rng=3, stream=1, offset=7))


def test_permutations_to_out(gpu):
    x = np.arange(60, dtype=np.float32).reshape(20, 3)
    expected = random.permutation(x, rng=1)
    array = gpu.array(x)
    assert random.permutation(array, out=array, rng=1) is array
    same(gpu.numpy(array), expected)
    out = gpu.array(np.zeros((3, 20), np.float32).T)
    random.permutation(gpu.array(x), out=out, rng=1)
    same(gpu.numpy(out), expected)
    for count in (0, 1, 500):
        order = gpu.array(np.full(2 * count, -1)[::2])
        assert random.permutation(count, out=order, rng=2) is order
        same(gpu.numpy(order), random.permutation(count, rng=2))


def test_permutations_of_what_cannot_be(gpu):
    x = np.arange(6.0).reshape(2, 3)
    for error, message, call in [
        (ValueError, "x has no axes", lambda a: random.permutation(gpu.array(np.array(1.5)))),
        (ValueError, "out has shape", lambda a: random.permutation(gpu.array(x[:1]), out=a)),
        (TypeError, "out has dtype", lambda a: random.permutation(3, out=gpu.array(np.zeros(3)))),
        (TypeError, "x is not on a GPU", lambda a: random.permutation(x, out=a)),
        (ValueError, "must not be negative", lambda a: random.permutation(-1, out=a)),
    ]:
        array = gpu.array(x)
        with pytest.raises(error, match=message):
            call(array)
        same(gpu.numpy(array), x)


def test_like_an_array_on_the_cpu():
    assert type(random.uniform(size=3, like=np.zeros(2))) is np.ndarray
    torch = pytest.importorskip("torch")
    found = random.standard_normal((2, 3), rng=1, like=torch.zeros(1))
    assert isinstance(found, torch.Tensor)
    same(found.numpy(), random.standard_normal((2, 3), rng=1))


def test_known_answers_of_philox(gpu):
    """Through `fastmat.cuda.device`, from a kernel of the user."""
    pytest.importorskip("numba_cuda")
    from fastmat.cuda import device, driver
    from fastmat.cuda.kernel import Kernel

    def draw(counters, out, _):
        c = counters
        words = device.philox4x32(c[0], c[1], c[2], c[3], c[4], c[5])
        for w in range(4):
            out[w] = words[w]

    kernel = Kernel(draw, ("uint32*", "uint32*", "int32"), name=None, threads=1)
    from fastmat.cuda.arrays import empty, view

    for counter, key, words in KNOWN:
        numbers = [int(word, 16) for word in f"{counter} {key}".split()]
        given = gpu.array(np.array(numbers, np.uint32))
        where = view(given, "given")
        out, target = empty((4,), "uint32", where)
        driver.current.launch(kernel, 1, (where.pointer, target.pointer, 0), 0, 0)
        assert [f"{word:08x}" for word in gpu.numpy(out)] == words.split()
