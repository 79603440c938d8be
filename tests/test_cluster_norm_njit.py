"""`cluster_norm` and its gradient inside the user's own ``@njit`` functions.

k-means is in `test_kmeans.py`, and threads are in `test_reproducible.py`.
"""

import numpy as np
import pytest
from clusterings import labels_for, parameters
from layouts import LAYOUTS, unmodified
from normals import values
from numba import njit
from numba.core.errors import TypingError
from products import bits

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


@njit
def norm(x, clusters, weight, bias, eps):
    return fm.cluster_norm(x, clusters, weight, bias, eps, return_stats=True)


@njit
def into(x, clusters, weight, out):
    return fm.cluster_norm(x, clusters, weight, out=out)


@njit
def gradient(cotangent, x, labels, mean, rstd, weight):
    return fm.cluster_norm_vjp(cotangent, x, labels, mean, rstd, weight)


@njit
def gradient_into(cotangent, x, labels, mean, rstd, out):
    return fm.cluster_norm_vjp(cotangent, x, labels, mean, rstd, out=out).x


@njit
def found_by_kmeans(x, clusters, rng):
    return fm.cluster_norm(x, clusters, rng=rng)


def same(found, expected):
    assert found._fields == expected._fields
    for part, wanted in zip(found, expected, strict=True):
        if wanted is None:
            assert part is None
        else:
            assert part.dtype == wanted.dtype
            assert part.shape == wanted.shape
            assert bits(part) == bits(wanted)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_same_bits_as_from_python(dtype):
    kind = "f4" if dtype == "f4" else "f8"
    for n, d, clusters in [(1, 1, 1), (7, 5, 3), (2600, 67, 2), (500, 3, 400)]:
        x, labels = values((n, d), dtype), labels_for(n, clusters)
        both, cotangent = parameters(d, kind), values((n, d), kind, 5)
        with unmodified(x, labels, cotangent, *both.values()):
            found = norm(x, labels, both["weight"], both["bias"], 1e-3)
            gradients = gradient(cotangent, x, *_statistics(found), both["weight"])
        expected = fm.cluster_norm(x, labels, **both, eps=1e-3, return_stats=True)
        same(found, expected)
        given = cotangent, x, *_statistics(expected), both["weight"]
        same(gradients, fm.cluster_norm_vjp(*given))


def _statistics(found):
    return found.labels, found.mean, found.rstd


def test_without_parameters_and_of_other_dtypes():
    x, labels = values((40, 5), "f4"), labels_for(40, 4, dtype="i4")
    expected = fm.cluster_norm(x, labels, return_stats=True)
    same(norm(x, labels, None, None, 1e-5), expected)
    given = x, x, *_statistics(expected)
    same(gradient(*given, None), fm.cluster_norm_vjp(*given))
    weight = np.arange(5)
    same(gradient(*given, weight), fm.cluster_norm_vjp(*given, weight))
    wide = values((40, 5), "f8", 5), *given[1:]
    same(gradient(*wide, None), fm.cluster_norm_vjp(*wide))


@pytest.mark.parametrize("layout", ["f_order", "sliced", "negative", "read_only"])
def test_layouts(layout):
    maker = LAYOUTS[layout]
    x, labels, weight = maker(values((70, 6), "f4")), labels_for(70, 4), values((6,), "f4", 1)
    expected = fm.cluster_norm(x, labels, weight, return_stats=True)
    same(norm(x, maker(labels), maker(weight), None, 1e-5), expected)
    given = maker(values((70, 6), "f4", 5)), x, *_statistics(expected)
    same(gradient(*given, maker(weight)), fm.cluster_norm_vjp(*given, weight))


def test_out():
    """In place, shifted by a row, of another dtype or layout, on top of an argument."""
    labels, weight = labels_for(20, 3), values((5,), "f8", 1)
    memory = values((21, 5), "f8")
    for first, second in [(0, 0), (0, 1), (1, 0)]:
        again = memory.copy()
        x, out = again[first : first + 20], again[second : second + 20]
        expected = fm.cluster_norm(x.copy(), labels, weight)
        assert into(x, labels, weight, out).ctypes.data == out.ctypes.data
        assert bits(out) == bits(expected)
    x = memory[:20]
    expected = fm.cluster_norm(x, labels, weight)
    for out in (np.zeros((20, 5), "f4"), np.zeros((5, 20)).T):
        assert bits(into(x, labels, weight, out)) == bits(expected.astype(out.dtype))
    out = np.zeros((20, 5))
    out[3] = weight
    into(x, labels, out[3], out)
    assert bits(out) == bits(expected)
    given = memory[1:], x, *_statistics(fm.cluster_norm(x, labels, return_stats=True))
    for out in (np.zeros((20, 5)), given[0]):
        expected = bits(fm.cluster_norm_vjp(*given).x)
        assert bits(gradient_into(*given, out)) == expected


def test_empty():
    for shape in [(0, 4), (3, 0)]:
        x, labels = np.empty(shape, "f4"), np.zeros(shape[0], int)
        expected = fm.cluster_norm(x, labels, return_stats=True)
        found = norm(x, labels, None, None, 1e-5)
        same(found, expected)
        given = x, x, *_statistics(found)
        same(gradient(*given, None), fm.cluster_norm_vjp(*given))


def test_nan_and_infinities():
    x, labels = values((60, 5), "f8"), labels_for(60, 3)
    x[3, 1], x[5, 2] = np.nan, np.inf
    same(norm(x, labels, None, None, 0.0), fm.cluster_norm(x, labels, eps=0, return_stats=True))


X, LABELS, WEIGHT = np.ones((4, 3)), np.array([0, 1, 0, 1]), np.ones(3)
STATISTICS = LABELS, np.ones((2, 3)), np.ones((2, 3))
READ_ONLY = np.ones((4, 3))
READ_ONLY.flags.writeable = False

WRONG_TYPES = [
    (norm, (np.ones(4), LABELS, None, None, 1e-5), "x has 1 dimensions; it must have 2"),
    (norm, (X.astype("c16"), LABELS, None, None, 1e-5), "x has dtype complex128"),
    (norm, (X, LABELS * 1.0, None, None, 1e-5), "clusters has dtype float64; it must be integers"),
    (norm, (X, X.astype(int), None, None, 1e-5), "clusters has 2 dimensions"),
    (norm, (X, 2.0, None, None, 1e-5), "clusters is of type float64"),
    (norm, (X, LABELS, X, None, 1e-5), "weight has 2 dimensions"),
    (norm, (X, LABELS, None, 1j * WEIGHT, 1e-5), "bias has dtype complex128"),
    (into, (X, LABELS, None, READ_ONLY), "out is read-only"),
    (into, (X, LABELS, None, X.astype(int)), "out has dtype int64"),
    (gradient, (1j * X, X, *STATISTICS, None), "cotangent has dtype complex128"),
    (gradient, (X, X, LABELS, WEIGHT, WEIGHT, None), "mean has 1 dimensions"),
    (gradient, (X, X, LABELS * 1.0, *STATISTICS[1:], None), "labels has dtype float64"),
    (gradient, (X, X, *STATISTICS, X), "weight has 2 dimensions"),
    (found_by_kmeans, (X, 2, 0.5), "rng is of type float64"),
]
WRONG_VALUES = [
    (norm, (X, LABELS[:3], None, None, 1e-5), "clusters must have one label for each row"),
    (norm, (X, -LABELS, None, None, 1e-5), "clusters has a negative label"),
    (norm, (X, LABELS * 65536, None, None, 1e-5), "clusters has a label that is not less"),
    (norm, (X, LABELS, np.ones(4), None, 1e-5), "weight has not the lengths"),
    (into, (X, LABELS, None, np.ones((3, 4))), "out has another shape"),
    (found_by_kmeans, (X, 0, 1), "clusters must be from 1 to"),
    (found_by_kmeans, (X, 5, 1), "clusters must be from 1 to"),
    (found_by_kmeans, (X * np.nan, 2, 1), "x has NaN or infinities"),
    (found_by_kmeans, (X, 2, -1), "rng is negative"),
    (gradient, (np.ones((3, 4)), X, *STATISTICS, None), "cotangent has another shape"),
    (gradient, (X, X, LABELS * 2, *STATISTICS[1:], None), "a label that mean does not have"),
    (gradient, (X, X, LABELS, np.ones((2, 4)), np.ones((2, 4)), None), "mean must have one"),
    (gradient, (X, X, LABELS, np.ones((2, 3)), np.ones((3, 3)), None), "rstd has another shape"),
    (gradient, (X, X, *STATISTICS, np.ones(4)), "weight must have one number"),
]


@pytest.mark.parametrize(("function", "args", "match"), WRONG_TYPES)
def test_wrong_types(function, args, match):
    with pytest.raises(TypingError, match=match):
        function(*args)


@pytest.mark.parametrize(("function", "args", "match"), WRONG_VALUES)
def test_wrong_values(function, args, match):
    with pytest.raises(ValueError, match=match):
        function(*args)


def test_return_stats_must_be_a_constant():
    @njit
    def maybe(x, labels, return_stats):
        return fm.cluster_norm(x, labels, return_stats=return_stats)

    with pytest.raises(TypingError, match="return_stats must be a constant"):
        maybe(X, LABELS, True)
