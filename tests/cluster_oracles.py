"""What normalization within clusters, and its gradient, should compute: plain NumPy, long double.

Never imports fastmat. Each oracle also returns what the bounds on errors need.
"""

from typing import NamedTuple

import numpy as np
from normal_oracles import WIDE, Normal, result_dtype, wide
from oracles import HALVES
from tolerances import rounding_bound

_EPS64 = np.longdouble(np.finfo("f8").eps)
_QUIET = {"invalid": "ignore", "divide": "ignore", "over": "ignore", "under": "ignore"}


class Gradient(NamedTuple):
    """Reference gradients, and bounds on their errors before they are rounded."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    x_bound: np.ndarray
    weight_bound: np.ndarray
    bias_bound: np.ndarray


def statistics(x, labels, clusters):
    """Mean, variance and mean of |x| of each cluster, (clusters, d); NaN where it has no rows."""
    value = wide(x)
    found = np.full((3, clusters, value.shape[1]), np.nan, WIDE)
    with np.errstate(**_QUIET):
        for c in np.unique(labels):
            rows = value[labels == c]
            mean = rows.sum(0) / WIDE(len(rows))
            equal = np.all(rows == rows[0], axis=0)
            mean = np.where(equal, rows[0], mean)
            variance = ((rows - mean) ** 2).sum(0) / WIDE(len(rows))
            found[:, c] = mean, variance, np.abs(rows).sum(0) / WIDE(len(rows))
    return found


def cluster_norm(x, labels, weight=None, bias=None, eps=1e-5):
    """The result with statistics spread out over the rows, as `tolerances` wants them."""
    value = wide(x)
    clusters = 1 + max(labels.tolist(), default=-1)
    mean, variance, size = (part[labels] for part in statistics(x, labels, clusters))
    w = WIDE(1) if weight is None else wide(weight)
    b = WIDE(0) if bias is None else wide(bias)
    with np.errstate(**_QUIET):
        rstd = 1 / np.sqrt(variance + WIDE(eps))
        scaled = (value - mean) * rstd * w
        counts = np.bincount(labels, minlength=clusters)[labels][:, None]
        parts = np.abs(scaled), mean, rstd, size, np.abs(w), np.abs(b), counts
        return Normal(scaled + b, *parts, result_dtype(x))


def cluster_norm_vjp(cotangent, x, labels, mean, rstd, weight=None):
    """Gradients by the given statistics.

    A sum of n numbers is off by n · u of the sum of their magnitudes, and every other operation
    by u of its result; eight of them, of which eps = 2u leaves room for sixteen.
    """
    g, value = wide(cotangent), wide(x)
    w = WIDE(1) if weight is None else wide(weight)
    clusters, n = len(mean), len(value)
    with np.errstate(**_QUIET):
        scaled = (value - wide(mean)[labels]) * wide(rstd)[labels]
        terms = np.stack([g, g * scaled, np.abs(g), np.abs(g * scaled)])
        means = np.zeros((4, clusters, value.shape[1]), WIDE)
        for c in np.unique(labels):
            rows = terms[:, labels == c]
            means[:, c] = rows.sum(1) / WIDE(rows.shape[1])
        m, p, m_size, p_size = means[:, labels]
        scale = wide(rstd)[labels] * w
        size = np.abs(g) + m_size + np.abs(scaled) * p_size
        return Gradient(
            scale * (g - m - scaled * p),
            terms[1].sum(0),
            terms[0].sum(0),
            (n + 8) * _EPS64 * np.abs(scale) * size,
            (n + 8) * _EPS64 * terms[3].sum(0),
            (n + 8) * _EPS64 * terms[2].sum(0),
        )


def gradient_bound(value, bound, dtype):
    """The bound after rounding to the dtype; to 16 bits by way of float32."""
    if dtype in HALVES:
        bound = rounding_bound(value, bound, "f4")
    return rounding_bound(value, bound, dtype)
