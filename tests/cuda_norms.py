"""Call normalizations and their gradients on a GPU, and compare them with their oracles.

Kernels for GPUs add up float32 numbers, and the halves, in float32: each of a row's threads a few
of them one after the other, then in a tree. `DEPTH` additions follow each other at most in the
tests, so that a sum is off by DEPTH · u of the sum of its absolute terms, beside what the bounds
of `tolerances` and `gradient_bounds` hold, where sums are in float64.

The mean has a second part, the mean of what is left when its first part is taken off: it is off
by DEPTH · u of that, which is less than a standard deviation.
"""

import gradient_bounds
import gradients
import normal_oracles
import numpy as np
from normal_oracles import Normal
from normals import near, reference
from oracles import HALVES
from tolerances import moments_bounds, normalized_bound, rounding_bound, scaled_bound

import fastmat as fm

DEPTH = 96


def unit(dtype, n):
    """DEPTH · u of the sums of n numbers of this dtype; 0 where they are held in float64."""
    if dtype in (np.dtype("f8"), np.dtype("c16")):
        return np.longdouble(n * np.finfo("f8").eps)
    return np.longdouble((min(n, DEPTH) + 6) * np.finfo("f4").eps / 2)


def bound_of(expected):
    """The bound on the error of a result."""
    sums = unit(expected.dtype, expected.n)
    if isinstance(expected, Normal):
        with np.errstate(invalid="ignore", over="ignore"):
            bound = normalized_bound(expected)
            if expected.n:
                centred = np.any(expected.mean != 0)
                bound = bound + sums * (expected.scaled + centred * expected.weight)
    else:
        bound = scaled_bound(expected) + sums * np.abs(expected.value)
    return (
        rounding_bound(expected.value, bound, expected.dtype)
        if (expected.dtype in HALVES)
        else bound
    )


def on_gpu(gpu, keywords):
    """The same keywords with the arrays on the GPU."""
    return {
        key: gpu.array(part) if isinstance(part, np.ndarray) else part
        for key, part in keywords.items()
    }


def check(gpu, op, x, *, out=None, stats=False, **keywords):
    """Call an operation and compare its result, and statistics if wanted, with the oracle."""
    expected = reference(op, x, **keywords)
    given = {} if out is None else {"out": out}
    given.update({"return_stats": True} if stats else {})
    result = getattr(fm, op)(gpu.array(x), **on_gpu(gpu, keywords), **given)
    if stats:
        assert result._fields == ("result", "mean", "rstd")
        result, mean, rstd = result
        check_statistics(gpu, op, x, keywords, expected, mean, rstd)
    assert isinstance(result, gpu.kind)
    if out is not None:
        assert result is out
    found = gpu.numpy(result)
    assert found.dtype == expected.dtype
    near(found, expected.value, bound_of(expected))
    return found


def check_statistics(gpu, op, x, keywords, expected, mean, rstd):
    """Compare mean and rstd, in float64, with the oracle's."""
    shape = np.shape(x)
    wanted = shape[:2]
    if op in ("layer_norm", "rms_norm"):
        wanted = expected.mean.shape
    elif op == "batch_norm":
        wanted = shape[1:2]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        sums = unit(expected.dtype, max(expected.n, 1))
        off = sums * (1 / expected.rstd + np.abs(expected.mean) * 2.0**-40)
        parts = [expected.mean, expected.rstd, off, sums * expected.rstd]
    if op == "instance_norm":
        parts = [np.broadcast_to(part, shape[:2] + (1,) * (len(shape) - 2)) for part in parts]
    if op == "group_norm":
        groups = keywords["num_groups"]
        wanted = (shape[0], groups)
        parts = [part[:, :: max(shape[1] // groups, 1)] for part in parts]
    parts = [np.reshape(part, wanted) for part in parts]
    for result, value, bound in ((mean, parts[0], parts[2]), (rstd, parts[1], parts[3])):
        assert isinstance(result, gpu.kind)
        found = gpu.numpy(result)
        assert found.dtype == np.float64
        assert found.shape == wanted
        near(found, value, bound)


def check_moments(gpu, x, axis=None, **keywords):
    """Call `fm.moments` and compare with the oracle."""
    expected = normal_oracles.moments(x, axis, **keywords)
    result = fm.moments(gpu.array(x), axis, **keywords)
    assert result._fields == ("mean", "variance")
    kind = expected.dtypes[0]
    sums = unit(kind, expected.n)
    with np.errstate(invalid="ignore", over="ignore"):
        deviation = np.sqrt(expected.variance)
        more = sums * (2 * deviation + np.abs(expected.mean) * 2.0**-22), sums * expected.variance
    wanted = expected.mean, expected.variance
    for part, value, bound, extra, dtype in zip(
        result, wanted, moments_bounds(expected), more, expected.dtypes, strict=True
    ):
        assert isinstance(part, gpu.kind)
        found = gpu.numpy(part)
        assert found.dtype == dtype
        assert found.shape == value.shape
        near(found, value, bound + 2 * extra)


def gradient_expectation(op, given):
    """Value, bound and dtype of each part of the gradient."""
    parts = gradients.expectation(op, given)
    expected = getattr(gradients.gradient_oracles, f"{op}_vjp")(**given)
    if expected.dtype in (np.dtype("f8"), np.dtype("c16")):
        return parts
    with np.errstate(invalid="ignore", over="ignore"):
        if op not in gradients.FIELDS:
            (value, bound, dtype), n = parts[0], expected.n
            bound = bound + unit(dtype, n) * np.abs(expected.slope * expected.total) / expected.size
            return [(value, bound, dtype)]
        more = np.zeros(expected.shape)
        if expected.axes is not None:
            n = gradients.gradient_oracles.lengths(expected.scaled.shape, expected.axes)
            mean = gradient_bounds._mean(expected.scaled, expected.axes)
            product = gradient_bounds._mean(expected.scaled * expected.normal, expected.axes)
            more = unit(expected.dtype, n) * expected.rstd * (mean + expected.normal * product)
            more = np.broadcast_to(more, expected.scaled.shape).reshape(expected.shape)
        found = [(parts[0][0], parts[0][1] + more * 1.01, parts[0][2])]
        m = gradients.gradient_oracles.lengths(expected.g.shape, expected.rest)
        sums = unit(expected.dtype, m)
        for part, terms in zip(parts[1:], (expected.g * expected.normal, expected.g), strict=False):
            if part is None:
                found.append(None)
                continue
            value, bound, dtype = part
            total = np.sum(terms, axis=expected.rest).reshape(value.shape)
            found.append((value, bound + sums * total * 1.01, dtype))
        return found


def check_gradient(gpu, op, given, out=None):
    """Call a gradient and compare it with the oracle."""
    wanted = gradient_expectation(op, given)
    more = {} if out is None else {"out": out}
    result = getattr(fm, f"{op}_vjp")(**on_gpu(gpu, given), **more)
    parts = [result]
    if op in gradients.FIELDS:
        assert result._fields == gradients.FIELDS[op]
        parts = list(result)
    assert out is None or parts[0] is out
    for found, part in zip(parts, wanted, strict=True):
        if part is None:
            assert found is None
            continue
        value, bound, dtype = part
        assert isinstance(found, gpu.kind)
        found = gpu.numpy(found)
        assert found.dtype == dtype
        gradients.compare(found, value, bound, dtype)
    return parts
