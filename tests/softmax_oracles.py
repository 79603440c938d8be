"""What softmax and its kin should compute, in plain NumPy. Never imports fastmat.

All is computed in long double, and each oracle returns what the bounds in `tolerances` need.
"""

from typing import NamedTuple

import numpy as np
from normal_oracles import axes_of, result_dtype, wide

_QUIET = {"invalid": "ignore", "divide": "ignore", "over": "ignore", "under": "ignore"}


class Exponentials(NamedTuple):
    """A reference result; all arrays broadcast against it."""

    value: np.ndarray  # in long double
    apart: np.ndarray  # largest number of the group - x
    largest: np.ndarray  # |largest number of the group|
    log: np.ndarray  # log(sum(exp(x - largest)))
    n: int  # numbers in a group
    dtype: np.dtype  # of the result


def _parts(x, axis):
    """x, its largest number along the axes, and the logarithm of the sum relative to it."""
    value = wide(x)
    axes = axes_of(axis, value.ndim)
    largest = np.max(value, axis=axes, keepdims=True, initial=-np.inf)
    with np.errstate(**_QUIET):
        total = np.sum(np.exp(value - largest), axis=axes, keepdims=True)
        log = np.log(total)
    n = int(np.prod([value.shape[a] for a in axes], dtype=int))
    return value, axes, largest, total, log, n


def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)), NaN where the group has NaN or +inf, or only -inf."""
    value, _, largest, total, log, n = _parts(x, axis)
    with np.errstate(**_QUIET):
        apart = largest - value
        result = np.exp(-apart) / total
    return Exponentials(result, apart, np.abs(largest), log, n, result_dtype(x))


def log_softmax(x, axis=-1):
    """The logarithm of `softmax`."""
    value, _, largest, _, log, n = _parts(x, axis)
    with np.errstate(**_QUIET):
        apart = largest - value
        return Exponentials(-apart - log, apart, np.abs(largest), log, n, result_dtype(x))


def logsumexp(x, axis=-1, keepdims=False):
    """log(sum(exp(x))): -inf where there is nothing but -inf, +inf where there is +inf."""
    _, axes, largest, _, log, n = _parts(x, axis)
    with np.errstate(**_QUIET):
        value = np.where(np.isinf(largest), largest, largest + log)
    parts = value, np.zeros_like(value), np.abs(largest), log
    if not keepdims:
        parts = tuple(np.squeeze(part, axis=axes) for part in parts)
    return Exponentials(*parts, n, result_dtype(x))
