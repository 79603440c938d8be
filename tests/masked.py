"""Masks of every shape that broadcasts, and what results with a mask are held to.

What is masked must not have any influence, so that it is filled with what would be seen.
"""

import numpy as np
from normals import near
from softmaxes import expectation

STRANGE = (np.nan, np.inf, -np.inf, 3e4)  # what stands where it is masked


def shapes_of(shape):
    """The shape itself, one number, and those that are 1 or absent along some axes."""
    found = {shape, (1,) * len(shape), ()}
    if shape:
        found |= {shape[-1:], (*shape[:-1], 1), (shape[0], *[1] * (len(shape) - 1))}
        found |= {(*shape[:1], *[1] * (len(shape) - 2), *shape[1:][-1:])}
    return sorted(found)


def random_mask(shape, share=0.6, seed=0):
    """True in this share of the places."""
    return np.asarray(np.random.default_rng([seed, *shape]).random(shape) < share)


def hidden(x, mask, seed=0):
    """The array with something strange in the masked places; integers just get other numbers."""
    found = np.array(x)
    kept = np.broadcast_to(mask, found.shape)
    strange = STRANGE if found.dtype.kind not in "biu" else (0, 1, 99)
    count = int(np.count_nonzero(~kept))
    with np.errstate(over="ignore"):
        chosen = np.random.default_rng(seed).choice(strange, count)
        found[~kept] = chosen.astype(found.dtype)
    return found


def masked_expectation(op, x, mask, axis=-1, **keywords):
    """Value, bound and dtype of softmax or its kin: masked numbers count as -inf."""
    x = np.asarray(x)
    x = x.astype("f8") if x.dtype.kind in "biu" else x
    kept = np.broadcast_to(mask, x.shape)
    filled = np.where(kept, x, np.asarray(-np.inf, x.dtype))
    value, bound, dtype = expectation(op, filled, axis, **keywords)
    if op != "logsumexp":
        value = np.where(kept, value, 0 if op == "softmax" else -np.inf)
        bound = np.where(kept, bound, 0)
    return value, bound, dtype


def near_masked(op, result, x, mask, axis=-1, **keywords):
    """Assert that a result is what it should be, exactly so where it is masked."""
    value, bound, dtype = masked_expectation(op, x, mask, axis, **keywords)
    assert np.asarray(result).dtype == dtype
    near(result, value, bound)
