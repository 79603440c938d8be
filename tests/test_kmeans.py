"""Clusters that `cluster_norm` finds by itself: k-means."""

import numba
import numpy as np
import pytest
from layouts import SAME_VALUES, makers_for, unmodified
from normals import values
from numba import njit
from oracles import BFLOAT16
from products import bits

import fastmat as fm

pytestmark = pytest.mark.usefixtures("overloads")


def found(x, clusters, rng=0):
    with unmodified(x):
        return fm.cluster_norm(x, clusters, rng=rng, return_stats=True).labels


@njit
def in_compiled_code(x, clusters, rng):
    return fm.cluster_norm(x, clusters, rng=rng, return_stats=True).labels


def blobs(n, d, clusters, dtype="f8", apart=100.0):
    """Points around centers that are far from each other, and which of these they belong to."""
    rng = np.random.default_rng([n, d, clusters])
    centers = rng.permutation(clusters)[:, None] * apart + rng.standard_normal((clusters, d))
    labels = rng.permutation(np.arange(n) % clusters)
    return (centers[labels] + rng.standard_normal((n, d))).astype(dtype), labels


def inertia(x, labels):
    """The sum of squared distances of the rows to the means of their clusters."""
    x = x.astype("f8")
    parts = (x[labels == c] for c in np.unique(labels))
    return sum(np.sum((part - part.mean(0)) ** 2) for part in parts)


def same_partition(a, b):
    """Whether labels differ by their numbers at most."""
    pairs = len(set(zip(a.tolist(), b.tolist(), strict=True)))
    return pairs == len(set(a.tolist())) == len(set(b.tolist()))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("n", "d", "clusters"), [(10, 1, 2), (600, 3, 5), (2000, 17, 8), (900, 70, 3), (64, 2, 64)]
)
def test_separate_blobs_are_found(dtype, n, d, clusters):
    x, labels = blobs(n, d, clusters, dtype)
    result = found(x, clusters)
    assert result.dtype == np.intp
    assert same_partition(result, labels)


def test_of_other_dtypes():
    x, labels = blobs(600, 3, 4)
    for dtype in ("f2", BFLOAT16, "i4"):
        assert same_partition(found(x.astype(dtype), 4), labels)


def test_normalizes_within_what_it_found():
    x, _ = blobs(600, 3, 4, "f4")
    result = fm.cluster_norm(x, 4, rng=1, return_stats=True)
    again = fm.cluster_norm(x, result.labels, return_stats=True)
    assert [bits(part) for part in result] == [bits(part) for part in again]
    assert bits(fm.cluster_norm(x, 4, rng=1)) == bits(result.result)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "d", "clusters"), [(1000, 2, 7), (3000, 20, 30)])
def test_as_good_as_scikit_learn(seed, n, d, clusters):
    """Both end in a local minimum, which depends on the seed."""
    cluster = pytest.importorskip("sklearn.cluster")
    x = values((n, d), "f8", seed)
    theirs = cluster.KMeans(clusters, n_init=1, random_state=seed).fit(x).inertia_
    assert inertia(x, found(x, clusters, seed)) < 1.15 * theirs


def test_ends_where_no_center_wants_to_move():
    """Each row is nearest to the mean of its own cluster."""
    x = values((400, 3), "f8")
    labels = found(x, 6)
    centers = np.stack([x[labels == c].mean(0) for c in range(6)])
    nearest = np.argmin(((x[:, None] - centers) ** 2).sum(-1), 1)
    assert np.mean(nearest == labels) > 0.98


def test_extreme_numbers_of_clusters():
    x = values((50, 3), "f8")
    assert (found(x, 1) == 0).all()
    assert sorted(found(x, 50)) == list(range(50))


def test_fewer_different_rows_than_clusters():
    """Ties go to the lowest label; the other clusters stay empty."""
    assert (found(np.ones((20, 3)), 4) == 0).all()
    assert (found(np.empty((5, 0)), 2) == 0).all()
    x = np.repeat([[0.0, 1], [5, 5]], [7, 3], axis=0)
    labels = found(x, 4)
    assert same_partition(labels, np.repeat([0, 1], [7, 3]))
    result = fm.cluster_norm(x, 4, rng=0, return_stats=True)
    assert result.mean.shape == (4, 2)
    assert np.isnan(result.mean[np.setdiff1d(range(4), labels)]).all()


@pytest.mark.parametrize("scale", [2.0**-1060, 1e-200, 1e200, 1e307])
def test_magnitudes_do_not_matter(scale):
    x, labels = blobs(300, 3, 4, apart=10.0)
    assert same_partition(found(x / 100 * scale, 4), labels)


def test_mean_does_not_matter():
    x, labels = blobs(300, 3, 4, "f4")
    assert same_partition(found(x + np.float32(1e6), 4), labels)


@pytest.mark.parametrize("layout", SAME_VALUES)
def test_layouts(layout):
    x = values((700, 5), "f4")
    maker = makers_for(x.dtype, SAME_VALUES)[layout]
    np.testing.assert_array_equal(found(maker(x), 6), found(x, 6))


@pytest.mark.parametrize("shape", [(20_000, 3, 4), (3000, 70, 50), (700, 2, 600)], ids=str)
def test_at_any_number_of_threads_from_python_and_njit(shape):
    n, d, clusters = shape
    x = values((n, d), "f4")
    expected = found(x, clusters, 7)
    for threads in (1, 2, 4, 8):
        numba.set_num_threads(threads)
        np.testing.assert_array_equal(found(x, clusters, 7), expected)
        np.testing.assert_array_equal(in_compiled_code(x, clusters, 7), expected)


def test_seeds():
    """One seed, one result; others for others; a generator moves on."""
    x = values((500, 3), "f8")
    np.testing.assert_array_equal(found(x, 9, 3), found(x, 9, np.int32(3)))
    np.testing.assert_array_equal(found(x, 9, 3), in_compiled_code(x, 9, np.uint8(3)))
    assert len({bits(found(x, 9, seed)) for seed in (0, 1, 2**32, 2**63, 2**64 - 1)}) == 5
    large = np.uint64(2**64 - 1)
    np.testing.assert_array_equal(found(x, 9, 2**64 - 1), in_compiled_code(x, 9, large))
    mine, theirs = np.random.default_rng(5), np.random.default_rng(5)
    draws = [found(x, 9, mine) for _ in range(2)]
    assert bits(draws[0]) != bits(draws[1])
    for labels in draws:
        np.testing.assert_array_equal(in_compiled_code(x, 9, theirs), labels)
    for rng in (np.random.SeedSequence(5), np.random.PCG64(5), [1, 2]):
        assert found(x, 9, rng).shape == (500,)
    for function in (found, in_compiled_code):
        assert bits(function(x, 9, None)) != bits(function(x, 9, None))
