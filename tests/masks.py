"""Call a masked reduction, check all that it promises, and compare it with its oracle."""

import masked_oracles
import numpy as np
from layouts import unmodified
from masked_oracles import PLACES, REDUCTIONS
from normals import near
from oracles import BFLOAT16

import fastmat as fm

NAMES = {op: f"masked_{op}" for op in (*REDUCTIONS, *PLACES)}


def marks(shape, seed=0, share=0.6):
    """A mask in which each slice along any axis has a valid number, if there is one at all."""
    rng = np.random.default_rng([seed, *np.atleast_1d(shape)])
    mask = rng.random(shape) < share
    if mask.size and mask.ndim:
        places = np.indices(mask.shape).sum(0) % min(mask.shape)
        mask |= places == rng.integers(min(mask.shape))
    return mask


def poisoned(x, mask):
    """The numbers, NaN or an extreme integer where they are not valid."""
    x = np.array(x)
    if x.dtype.kind == "b":
        return x
    wrong = np.iinfo(x.dtype).max if x.dtype.kind in "iu" else np.nan
    x[~np.broadcast_to(mask, x.shape)] = wrong
    return x


def function(op):
    """The operation of fastmat."""
    return getattr(fm, NAMES[op])


def check(op, x, mask, axis=None, keepdims=False, *, out=None, **keywords):
    """Call a reduction with a mask and compare its result with the oracle."""
    if op in PLACES:
        value = masked_oracles.place(op, x, mask, axis, keepdims)
        expected = masked_oracles.Reduced(
            np.asarray(value), np.zeros(np.shape(value)), np.dtype(np.intp)
        )
    else:
        expected = masked_oracles.reduce(op, x, mask, axis, keepdims, **keywords)
    given = {} if out is None else {"out": out}
    inputs = [part for part in (x, mask) if out is None or not np.may_share_memory(part, out)]
    with unmodified(*inputs):
        result = function(op)(x, mask, axis, keepdims, **keywords, **given)
    if out is None:
        assert np.asarray(result).dtype == expected.dtype
        assert np.asarray(result).dtype.isnative
        assert type(result) is (np.ndarray if expected.value.ndim else expected.dtype.type)
    else:
        assert result is out
    compare(result, expected)
    return result


def compare(result, expected):
    """Assert that a result is within its bound; what exceeds its dtype may be infinite."""
    result = np.asarray(result)
    assert result.shape == expected.value.shape
    if expected.dtype.kind in "biu":
        np.testing.assert_array_equal(result, expected.value)
        return
    value, bound = expected.value, np.broadcast_to(expected.bound, expected.value.shape)
    if expected.dtype.kind == "f" and expected.dtype != BFLOAT16:
        largest = float(np.finfo(expected.dtype).max)
        with np.errstate(invalid="ignore"):
            beyond = np.isinf(result) & (np.abs(value) + bound >= largest) & (value * result > 0)
        value = np.where(beyond, result.astype(value.dtype), value)
    near(result, value, bound)
