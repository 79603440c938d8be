"""`fm.linalg.qr_tall` on GPUs: the promises of the CPU, whatever the spectrum."""

import math

import numpy as np
import pytest
from gpus import on
from products import normal

import fastmat as fm

DTYPES = ["f4", "f8", "c8", "c16"]


@pytest.fixture(autouse=True)
def _on_general_cores(request, monkeypatch):
    """Emulated, tests of each dtype take no tensor cores for float64: fewer kernels to compile."""
    of_test = getattr(request.node, "callspec", None)
    if of_test and of_test.params.get("gpu") == "emulator" and of_test.params.get("dtype") == "f8":
        from fastmat.cuda import launch_gram

        monkeypatch.setattr(launch_gram, "DOUBLES", {})


def lengths(x):
    """Of columns, in long double."""
    return np.sqrt(np.sum(np.square(np.abs(x).astype("g")), 0))


def check(gpu, a):
    """As `test_qr_tall.check`: Q is orthonormal to 10 eps sqrt(n), and Q R is a by columns."""
    m, n = a.shape
    found = fm.linalg.qr_tall(gpu.array(a))
    assert all(isinstance(part, gpu.kind) for part in found)
    q, r = map(gpu.numpy, found)
    assert (q.dtype, r.dtype, q.shape, r.shape) == (a.dtype, a.dtype, (m, n), (n, n))
    assert (np.tril(r, -1) == 0).all()
    assert ((np.diagonal(r).real >= 0) & (np.diagonal(r).imag == 0)).all()
    finfo = np.finfo(a.dtype)
    wide = np.dtype("G" if a.dtype.kind == "c" else "g")
    q, r, exact = (x.astype(wide) for x in (q, r, a))
    gram = q.conj().T @ q
    assert np.sqrt(np.sum(np.abs(gram - np.eye(n)) ** 2)) <= 10 * finfo.eps * math.sqrt(n)
    allowed = 10 * finfo.eps * math.sqrt(n) * lengths(exact)
    allowed = allowed + 8 * n * math.sqrt(m) * np.longdouble(finfo.smallest_subnormal)
    assert (lengths(exact - q @ r) <= allowed).all()
    return q, r


def spread(shape, dtype, condition, seed=0):
    """A matrix whose singular values fall from 1 to 1/condition."""
    m, n = shape
    u, v = (np.linalg.qr(normal((k, n), dtype, seed))[0] for k in (m, n))
    values = 10.0 ** np.linspace(0, -np.log10(condition), n)
    return (u * values @ v).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(gpu, dtype):
    for shape in [(1, 1), (7, 1), (7, 7), (64, 64), (300, 65), (129, 33), (1000, 3)]:
        check(gpu, normal(shape, dtype))
    for shape in [(5, 0), (0, 0)]:
        q, r = map(gpu.numpy, fm.linalg.qr_tall(gpu.array(np.zeros(shape, dtype))))
        assert (q.shape, r.shape) == (shape, (0, 0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_spectra(gpu, dtype):
    for condition in (1e2, 1e5, 1e9, 1e17):
        check(gpu, spread((200, 20), dtype, condition))
    check(gpu, spread((150, 100), dtype, 1e7))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rank_deficient(gpu, dtype):
    a = normal((120, 12), dtype)
    a[:, 3] = 0
    a[:, 5] = a[:, 1]
    a[:, 8] = a[:, 2] + a[:, 7]
    check(gpu, a)
    check(gpu, np.zeros((40, 3), dtype))
    check(gpu, np.ones((40, 3), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scales(gpu, dtype):
    """Columns of sizes at the ends of the range."""
    finfo = np.finfo(dtype)
    powers = np.linspace(np.log2(finfo.smallest_subnormal) + 12, np.log2(finfo.max) - 8, 9)
    a = normal((100, 9), dtype)
    a = a / np.abs(a).max(0)
    check(gpu, np.asarray(a * np.exp2(np.floor(powers)).astype(finfo.dtype), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_like_terms(gpu, dtype):
    """Rounding errors of equal numbers do not add up."""
    a = np.ones((3000, 2), dtype)
    a[1::2, 1] = -1
    check(gpu, np.asarray(a / 3, dtype))


def test_layouts(gpu):
    x = normal((80, 10), "f4")
    for a in (np.asfortranarray(x), x[::2, ::3], x[:10].T):
        check(gpu, a)


def test_integers(gpu):
    a = np.arange(12, dtype="i4").reshape(6, 2)
    q, r = map(gpu.numpy, fm.linalg.qr_tall(gpu.array(a)))
    assert q.dtype == np.float64
    np.testing.assert_allclose(q @ r, a, atol=1e-12)


def test_good_enough_for_a_product():
    """What power iterations use: columns nearly orthonormal, R exact, less work."""
    from fastmat.ops.on_gpu.matrices import Matrix
    from fastmat.ops.on_gpu.qr_tall import factored

    for dtype, condition in (("f8", 1e3), ("f4", 1e6), ("f8", 1e12)):
        with on("emulator") as gpu:
            a = spread((200, 20), dtype, condition)
            x = Matrix.of(gpu.array(a))
            q, r = factored(x, exact=False, target=x)
            q = gpu.numpy(q.array).astype("f8")
            assert np.linalg.cond(q) < 1.01
            np.testing.assert_allclose(q @ r, a, atol=100 * np.finfo(dtype).eps)


def test_the_same_bits_in_any_order_of_threads():
    x, found = normal((700, 20), "f4"), []
    for seed in (0, 1):
        with on("emulator", seed=seed) as gpu:
            found.append(gpu.numpy(tuple(fm.linalg.qr_tall(gpu.array(x)))))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_errors(gpu):
    for shape in ((3, 4), (3,), (2, 4, 3)):
        with pytest.raises(ValueError, match="a has shape"):
            fm.linalg.qr_tall(gpu.array(np.ones(shape, "f4")))
    with pytest.raises(TypeError, match="a has dtype float16"):
        fm.linalg.qr_tall(gpu.array(np.ones((4, 3), "f2")))
    for bad in (np.nan, np.inf):
        for dtype in ("f4", "f8"):
            a = normal((40, 3), dtype)
            a[17, 1] = bad
            with pytest.raises(ValueError, match="NaN or infinity"):
                fm.linalg.qr_tall(gpu.array(a))
