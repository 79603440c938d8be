"""Call softmax or one of its kin, check all that it promises, and compare it with its oracle."""

import numpy as np
import softmax_oracles
from layouts import unmodified
from normals import near, values
from tolerances import log_softmax_bound, logsumexp_bound, rounding_bound, softmax_bound

import fastmat as fm

OPS = ("softmax", "log_softmax", "logsumexp")
SAME_SHAPE = OPS[:2]
BOUNDS = {
    "softmax": softmax_bound,
    "log_softmax": log_softmax_bound,
    "logsumexp": logsumexp_bound,
}


def spread(shape, dtype, seed=0):
    """Numbers of which the exponentials differ by a factor of a million and more."""
    x = values(shape, dtype, seed)
    return x if x.dtype.kind in "biu" else (x * np.asarray(3, x.dtype)).astype(dtype)


def result_shape(op, shape, axis=-1, keepdims=False):
    """The shape of the result for x of this shape."""
    if op != "logsumexp":
        return shape
    axes = softmax_oracles.axes_of(axis, len(shape))
    kept = [(1 if a in axes else n) for a, n in enumerate(shape) if keepdims or a not in axes]
    return tuple(kept)


def expectation(op, x, axis=-1, **keywords):
    """Value, bound and dtype that a result is held to."""
    expected = getattr(softmax_oracles, op)(x, axis, **keywords)
    return expected.value, BOUNDS[op](expected), expected.dtype


def check(op, x, axis=-1, *, out=None, **keywords):
    """Call an operation and compare its result with the oracle; x is asserted unmodified."""
    value, bound, dtype = expectation(op, x, axis, **keywords)
    inputs = [x] if out is None or not np.may_share_memory(x, out) else []
    given = {} if out is None else {"out": out}
    with unmodified(*inputs):
        result = getattr(fm, op)(x, axis, **keywords, **given)
    if out is None:
        assert np.asarray(result).dtype == dtype
        assert np.asarray(result).dtype.isnative
        assert type(result) is (np.ndarray if value.ndim else dtype.type)
    else:
        assert result is out
        if out.dtype != dtype:
            kind = {"c8": "f4", "c16": "f8"}.get(out.dtype.str[1:], out.dtype)
            bound = rounding_bound(value, bound, kind)
    near(result, value, bound)
    return result


def check_all(x, axis=-1):
    """The three operations on one array."""
    for op in OPS:
        check(op, x, axis)
