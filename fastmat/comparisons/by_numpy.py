"""Operations on groups of numbers as one composes them of NumPy's, temporaries and all.

Each has the name and the arguments of fastmat's. Where SciPy has the function, it is SciPy's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from fastmat.comparisons.inputs import Array


def layer_norm(
    x: Array,
    *,
    normalized_shape: tuple[int, ...],
    weight: Array,
    bias: Array,
    out: Array,
    eps: float = 1e-5,
    residual: Array | None = None,
    activation: str | None = None,
) -> None:
    x, out = _added(x, residual, out)
    axes = tuple(range(-len(normalized_shape), 0))
    np.add(_standardized(x, axes, eps) * weight, bias, out=out)
    if activation == "gelu":
        np.multiply(0.5 * out, 1 + special.erf(out * math.sqrt(0.5)), out=out)


def rms_norm(
    x: Array,
    *,
    normalized_shape: tuple[int, ...],
    weight: Array,
    eps: float,
    out: Array,
    residual: Array | None = None,
) -> None:
    x, out = _added(x, residual, out)
    axes = tuple(range(-len(normalized_shape), 0))
    square = np.mean(x * x, axes, keepdims=True)
    np.multiply(x / np.sqrt(square + eps), weight, out=out)


def group_norm(
    x: Array, *, num_groups: int, weight: Array, bias: Array, out: Array, eps: float = 1e-5
) -> None:
    groups = x.reshape(len(x), num_groups, -1)
    standardized = _standardized(groups, -1, eps).reshape(x.shape)
    np.add(standardized * _by_channel(weight, x), _by_channel(bias, x), out=out)


def instance_norm(x: Array, *, weight: Array, bias: Array, out: Array, eps: float = 1e-5) -> None:
    standardized = _standardized(x, tuple(range(2, x.ndim)), eps)
    np.add(standardized * _by_channel(weight, x), _by_channel(bias, x), out=out)


def batch_norm(
    x: Array,
    *,
    running_mean: Array,
    running_var: Array,
    weight: Array,
    bias: Array,
    training: bool,
    out: Array,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> None:
    mean, variance = running_mean, running_var
    if training:
        axes = (0, *range(2, x.ndim))
        mean, variance = x.mean(axes), x.var(axes)
        count = x.size // x.shape[1]
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (variance * (count / (count - 1)) - running_var)
    standardized = (x - _by_channel(mean, x)) / np.sqrt(_by_channel(variance, x) + eps)
    np.add(standardized * _by_channel(weight, x), _by_channel(bias, x), out=out)


def normalize(x: Array, *, axis: int, out: Array, eps: float = 1e-12) -> None:
    norm = np.linalg.norm(x, axis=axis, keepdims=True)
    np.divide(x, np.maximum(norm, eps), out=out)


def cluster_norm(
    x: Array, *, clusters: Array, weight: Array, bias: Array, out: Array, eps: float = 1e-5
) -> None:
    for rows in _rows_of_clusters(clusters):
        out[rows] = _standardized(x[rows], 0, eps) * weight + bias


def cluster_norm_vjp(
    cotangent: Array,
    *,
    x: Array,
    labels: Array,
    mean: Array,
    rstd: Array,
    weight: Array,
    out: Array,
) -> None:
    dweight = np.zeros_like(weight)
    for c, rows in enumerate(_rows_of_clusters(labels)):
        g, scaled = cotangent[rows], (x[rows] - mean[c]) * rstd[c]
        products = g * scaled
        dweight += products.sum(0)
        slope = g - g.mean(0) - scaled * products.mean(0)
        out[rows] = slope * (rstd[c] * weight)
    cotangent.sum(0)


def layer_norm_vjp(
    cotangent: Array,
    *,
    x: Array,
    mean: Array,
    rstd: Array,
    normalized_shape: tuple[int, ...],
    weight: Array,
    out: Array,
) -> None:
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    rest = tuple(range(axes[0]))
    scaled = (x - mean) * rstd
    _gradients_of_parameters(cotangent, scaled, rest)
    g = cotangent * weight
    np.multiply(_centered(g, axes) - _along(g, scaled, axes), rstd, out=out)


def rms_norm_vjp(
    cotangent: Array,
    *,
    x: Array,
    rstd: Array,
    normalized_shape: tuple[int, ...],
    weight: Array,
    out: Array,
) -> None:
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    scaled = x * rstd
    (cotangent * scaled).sum(tuple(range(axes[0])))
    g = cotangent * weight
    np.multiply(g - _along(g, scaled, axes), rstd, out=out)


def group_norm_vjp(
    cotangent: Array,
    *,
    x: Array,
    num_groups: int,
    mean: Array,
    rstd: Array,
    weight: Array,
    out: Array,
) -> None:
    n, channels = x.shape[:2]
    view = n, num_groups, channels // num_groups, -1
    mean, rstd = mean[:, :, None, None], rstd[:, :, None, None]
    cotangent = cotangent.reshape(view)
    scaled = (x.reshape(view) - mean) * rstd
    _gradients_of_parameters(cotangent, scaled, (0, 3))
    g = cotangent * weight.reshape(num_groups, -1, 1)
    gradient = (_centered(g, (2, 3)) - _along(g, scaled, (2, 3))) * rstd
    np.copyto(out, gradient.reshape(x.shape))


def instance_norm_vjp(
    cotangent: Array, *, x: Array, mean: Array, rstd: Array, weight: Array, out: Array
) -> None:
    axes = tuple(range(2, x.ndim))
    mean, rstd = np.expand_dims(mean, axes), np.expand_dims(rstd, axes)
    scaled = (x - mean) * rstd
    _gradients_of_parameters(cotangent, scaled, (0, *axes))
    g = cotangent * _by_channel(weight, x)
    np.multiply(_centered(g, axes) - _along(g, scaled, axes), rstd, out=out)


def batch_norm_vjp(
    cotangent: Array,
    *,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array,
    training: bool,
    out: Array,
) -> None:
    axes = (0, *range(2, x.ndim))
    scaled = (x - _by_channel(mean, x)) * _by_channel(rstd, x)
    by_weight, by_bias = _gradients_of_parameters(cotangent, scaled, axes)
    slope = cotangent
    if training:
        count = x.size // x.shape[1]
        slope = cotangent - _by_channel(by_bias / count, x)
        slope = slope - scaled * _by_channel(by_weight / count, x)
    np.multiply(slope, _by_channel(rstd * weight, x), out=out)


def normalize_vjp(cotangent: Array, *, x: Array, axis: int, out: Array, eps: float = 1e-12) -> None:
    norm = np.maximum(np.linalg.norm(x, axis=axis, keepdims=True), eps)
    y = x / norm
    np.divide(cotangent - y * (cotangent * y).sum(axis, keepdims=True), norm, out=out)


def softmax_vjp(cotangent: Array, *, result: Array, axis: int, out: Array) -> None:
    total = (cotangent * result).sum(axis, keepdims=True)
    np.multiply(result, cotangent - total, out=out)


def log_softmax_vjp(cotangent: Array, *, result: Array, axis: int, out: Array) -> None:
    total = cotangent.sum(axis, keepdims=True)
    np.subtract(cotangent, np.exp(result) * total, out=out)


def logsumexp_vjp(cotangent: Array, *, x: Array, result: Array, axis: int, out: Array) -> None:
    share = np.exp(x - np.expand_dims(result, axis))
    np.multiply(np.expand_dims(cotangent, axis), share, out=out)


def moments(x: Array, *, axis: int, out: Array) -> None:
    np.mean(x, axis, out=out[0])
    np.var(x, axis, out=out[1])


def standardize(x: Array, *, axis: int, out: Array) -> None:
    mean = x.mean(axis, keepdims=True)
    np.divide(x - mean, x.std(axis, keepdims=True), out=out)


def softmax(x: Array, *, axis: int, out: Array, mask: Array | None = None) -> None:
    filled = x if mask is None else np.where(_valid(mask), x, x.dtype.type(-np.inf))
    np.copyto(out, special.softmax(filled, axis))


def log_softmax(x: Array, *, axis: int, out: Array) -> None:
    np.copyto(out, special.log_softmax(x, axis))


def logsumexp(x: Array, *, axis: int, out: Array) -> None:
    np.copyto(out, special.logsumexp(x, axis))


def masked_sum(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.sum(x, axis, where=_valid(mask), out=out)


def masked_mean(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.mean(x, axis, where=_valid(mask), out=out)


def masked_var(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.var(x, axis, where=_valid(mask), out=out)


def masked_std(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.std(x, axis, where=_valid(mask), out=out)


def masked_min(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.min(x, axis, where=_valid(mask), initial=np.inf, out=out)


def masked_max(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.max(x, axis, where=_valid(mask), initial=-np.inf, out=out)


def masked_argmin(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.argmin(np.where(_valid(mask), x, x.dtype.type(np.inf)), axis, out=out)


def masked_argmax(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.argmax(np.where(_valid(mask), x, x.dtype.type(-np.inf)), axis, out=out)


def masked_count(x: Array, *, mask: Array, axis: int, out: Array) -> None:
    np.copyto(out, np.count_nonzero(_valid(mask), axis))


def masked_sum_vjp(cotangent: Array, *, x: Array, mask: Array, axis: int, out: Array) -> None:
    np.multiply(np.expand_dims(cotangent, axis), mask, out=out)


def masked_mean_vjp(cotangent: Array, *, x: Array, mask: Array, axis: int, out: Array) -> None:
    share = (cotangent / np.count_nonzero(mask, axis)).astype(out.dtype, copy=False)
    np.multiply(np.expand_dims(share, axis), mask, out=out)


def masked_var_vjp(cotangent: Array, *, x: Array, mask: Array, axis: int, out: Array) -> None:
    valid = _valid(mask)
    mean = np.mean(x, axis, where=valid, keepdims=True)
    factor = (2 * cotangent / np.count_nonzero(valid, axis)).astype(out.dtype, copy=False)
    np.multiply((x - mean) * np.expand_dims(factor, axis), mask, out=out)


def masked_std_vjp(cotangent: Array, *, x: Array, mask: Array, axis: int, out: Array) -> None:
    valid = _valid(mask)
    mean = np.mean(x, axis, where=valid, keepdims=True)
    deviation = np.std(x, axis, where=valid)
    factor = (cotangent / (np.count_nonzero(valid, axis) * deviation)).astype(out.dtype, copy=False)
    np.multiply((x - mean) * np.expand_dims(factor, axis), mask, out=out)


def masked_min_vjp(
    cotangent: Array, *, x: Array, mask: Array, result: Array, axis: int, out: Array
) -> None:
    equal = (x == np.expand_dims(result, axis)) & _valid(mask)
    share = (cotangent / np.count_nonzero(equal, axis)).astype(out.dtype, copy=False)
    np.multiply(np.expand_dims(share, axis), equal, out=out)


masked_max_vjp = masked_min_vjp


def _valid(mask: Array) -> Array:
    """The mask; the check of a result holds all operands in float64."""
    return mask.astype(bool, copy=False)


def scaled_dot_product_attention(
    q: Array, *, k: Array, v: Array, out: Array, is_causal: bool = False
) -> None:
    np.matmul(special.softmax(_scores(q, k, is_causal), -1), v, out=out)


def scaled_dot_product_attention_vjp(
    cotangent: Array,
    *,
    q: Array,
    k: Array,
    v: Array,
    result: Array,
    logsumexp: Array,
    out: Array,
    is_causal: bool = False,
) -> None:
    """All three gradients, of which the first is stored."""
    logs = logsumexp.astype(q.dtype, copy=False)[..., np.newaxis]
    weights = np.exp(_scores(q, k, is_causal) - logs)
    slopes = cotangent @ v.swapaxes(-1, -2) - (cotangent * result).sum(-1, keepdims=True)
    slopes *= weights * q.dtype.type(1 / math.sqrt(q.shape[-1]))
    np.matmul(slopes, k, out=out)
    _ = slopes.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ cotangent


def _scores(q: Array, k: Array, is_causal: bool) -> Array:
    scores = q @ k.swapaxes(-1, -2)
    scores *= q.dtype.type(1 / math.sqrt(q.shape[-1]))
    if is_causal:
        scores[..., ~np.tri(*scores.shape[-2:], dtype=bool)] = -np.inf
    return scores


def _rows_of_clusters(labels: Array) -> list[Array]:
    """The numbers of the rows of each cluster; all clusters have some."""
    labels = labels.astype(np.intp)
    ends = np.cumsum(np.bincount(labels))[:-1]
    return np.split(np.argsort(labels, kind="stable"), ends)


def _added(x: Array, residual: Array | None, out: Array) -> tuple[Array, Array]:
    """What is to be normalized, and where to; `out` holds result and sum if there is a residual."""
    if residual is None:
        return x, out
    np.add(x, residual, out=out[1])
    return out[1], out[0]


def _gradients_of_parameters(
    cotangent: Array, scaled: Array, axes: tuple[int, ...]
) -> tuple[Array, Array]:
    """By weight and by bias."""
    return (cotangent * scaled).sum(axes), cotangent.sum(axes)


def _centered(g: Array, axes: tuple[int, ...]) -> Array:
    return g - g.mean(axes, keepdims=True)


def _along(g: Array, scaled: Array, axes: tuple[int, ...]) -> Array:
    """What of `g` would change the variance."""
    return scaled * (g * scaled).mean(axes, keepdims=True)


def _standardized(x: Array, axes: Any, eps: float) -> Array:
    mean = x.mean(axes, keepdims=True)
    variance = x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps)


def _by_channel(parameter: Array, x: Array) -> Array:
    """One number for each channel, to be broadcast against ``(N, C, *spatial)``."""
    return parameter.reshape(-1, *[1] * (x.ndim - 2))
