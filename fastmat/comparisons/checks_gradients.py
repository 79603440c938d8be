"""How far off a gradient may be, in units of the machine epsilon, by error analysis."""

from __future__ import annotations

import numpy as np

from fastmat.comparisons.cases import Case
from fastmat.comparisons.inputs import Array


def allowed(case: Case, arrays: tuple[Array, ...], exact: Array) -> Array:
    """For operands in float64, and the gradient by x of these.

    Each gradient is a difference of terms, which are products of a few rounded factors; what may
    be lost of a term is in proportion to the term, or in a sum to the sum of magnitudes. With
    g the cotangent, y the result, xhat the normalized x and w the weight:

    - normalizations: 16 rstd (|g w| + mean|g w| + |xhat| mean|g w xhat|)
    - normalize: 16 (|g| + |y| sum|g y|) / norm
    - softmax: 16 |y| (|g| + sum|g y|)
    - log_softmax: 16 (|g| + exp(y) sum|g|)
    - logsumexp: exp(x - y) inherits the rounding of its argument: (8 + |x - y|) of the gradient
    """
    named = dict(zip(("g", *case.parameters), arrays, strict=True))
    if "rstd" in named:
        return _of_normalization(case, named)
    g, axis = np.abs(named["g"]), {"axis": -1, "keepdims": True}
    if case.op == "logsumexp_vjp":
        return (8 + np.abs(named["x"] - named["result"][..., None])) * np.abs(exact)
    if case.op == "log_softmax_vjp":
        return 16 * (g + np.exp(named["result"]) * np.sum(g, **axis))
    if case.op == "softmax_vjp":
        y = named["result"]
        return 16 * y * (g + np.sum(g * y, **axis))
    norm = np.linalg.norm(named["x"], **axis)
    y = np.abs(named["x"]) / norm
    return 16 * (g + y * np.sum(g * y, **axis)) / norm


def _of_normalization(case: Case, named: dict[str, Array]) -> Array:
    """Of x in a shape that has the numbers of a group along axes of their own."""
    x, rstd, weight = named["x"], named["rstd"], named["weight"]
    mean = named.get("mean", np.zeros_like(rstd))
    shape, axes = x.shape, tuple(range(2, x.ndim))
    if case.op in ("layer_norm_vjp", "rms_norm_vjp"):
        axes = (-1,)
    elif case.op == "group_norm_vjp":
        groups = rstd.shape[1]
        x, axes = x.reshape(len(x), groups, shape[1] // groups, -1), (2, 3)
        weight = weight.reshape(groups, -1, 1)
    else:
        weight = weight.reshape(-1, *[1] * len(axes))
    if case.op == "batch_norm_vjp":
        axes = (0, *axes)
        mean, rstd = mean.reshape(weight.shape), rstd.reshape(weight.shape)
    elif rstd.ndim < x.ndim:
        mean, rstd = np.expand_dims(mean, axes), np.expand_dims(rstd, axes)
    terms = g = np.abs(named["g"].reshape(x.shape) * weight)
    if dict(case.options).get("training", True):
        xhat = np.abs(x - mean) * rstd
        through_mean = np.mean(g, axes, keepdims=True)
        terms = g + through_mean + xhat * np.mean(g * xhat, axes, keepdims=True)
    return np.reshape(16 * rstd * terms, shape)
