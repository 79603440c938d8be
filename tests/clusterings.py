"""Call `cluster_norm` and its gradient, check all that they promise, compare with the oracles."""

import cluster_oracles
import normal_oracles
import numpy as np
from layouts import unmodified
from normals import near, values
from tolerances import normalized_bound, rounding_bound, statistics_bounds

import fastmat as fm


def labels_for(n, clusters, seed=0, dtype=np.intp):
    """Random labels, of which the largest is there."""
    labels = np.random.default_rng([seed, n, clusters]).integers(0, clusters, n)
    labels[: min(n, 1)] = clusters - 1
    return labels.astype(dtype)


def parameters(d, dtype):
    return {"weight": values((d,), dtype, 1), "bias": values((d,), dtype, 2)}


def check(x, labels, out=None, **keywords):
    """Compare result, statistics and labels with the oracle; inputs must not change."""
    labels = np.asarray(labels)
    before = labels.copy()
    expected = cluster_oracles.cluster_norm(x, labels.astype(np.intp), **keywords)
    clusters = 1 + max(labels.tolist(), default=-1)
    inputs = [part for part in (x, labels, *keywords.values()) if isinstance(part, np.ndarray)]
    if out is not None:
        inputs = [part for part in inputs if not np.may_share_memory(part, out)]
    with unmodified(*inputs):
        found = fm.cluster_norm(x, labels, **keywords, out=out, return_stats=True)
    assert found._fields == ("result", "mean", "rstd", "labels")
    bound = normalized_bound(expected)
    if out is None:
        assert found.result.dtype == expected.dtype
        assert found.result.dtype.isnative
    else:
        assert found.result is out
        if out.dtype != expected.dtype:
            bound = rounding_bound(np.abs(expected.value), bound, out.dtype)
    near(found.result, expected.value, bound)
    check_statistics(found, before, clusters, expected)
    return found


def check_statistics(found, labels, clusters, expected):
    """Mean and rstd of each cluster, NaN where it is empty; labels as they were given."""
    assert found.labels.dtype == np.intp
    np.testing.assert_array_equal(found.labels, labels)
    shape = clusters, expected.value.shape[1]
    present, rows = np.unique(labels, return_index=True)
    for result, value, bound in zip(
        (found.mean, found.rstd),
        (expected.mean, expected.rstd),
        statistics_bounds(expected),
        strict=True,
    ):
        assert result.dtype == np.float64
        assert result.shape == shape
        near(result[present], value[rows], bound[rows])
        assert np.isnan(np.delete(result, present, axis=0)).all()


def check_gradient(cotangent, x, labels, weight=None, out=None):
    """Compare the gradients with the oracle's, by the statistics of the forward pass."""
    _, mean, rstd, labels = fm.cluster_norm(x, labels, return_stats=True)
    expected = cluster_oracles.cluster_norm_vjp(cotangent, x, labels, mean, rstd, weight)
    inputs = [part for part in (cotangent, x, weight) if isinstance(part, np.ndarray)]
    if out is not None:
        inputs = [part for part in inputs if not np.may_share_memory(part, out)]
    with unmodified(*inputs, mean, rstd, labels):
        found = fm.cluster_norm_vjp(cotangent, x, labels, mean, rstd, weight, out=out)
    assert found._fields == ("x", "weight", "bias")
    dtype = normal_oracles.result_dtype(x)
    assert found.x.shape == np.shape(x)
    assert found.x.dtype == dtype if out is None else found.x is out
    near(found.x, expected.x, cluster_oracles.gradient_bound(expected.x, expected.x_bound, dtype))
    if weight is None:
        assert found.weight is None
        assert found.bias is None
        return found
    dtype = normal_oracles.result_dtype(weight)
    for result, value, bound in (
        (found.weight, expected.weight, expected.weight_bound),
        (found.bias, expected.bias, expected.bias_bound),
    ):
        assert result.dtype == dtype
        near(result, value, rounding_bound(np.abs(value), bound, dtype))
    return found
