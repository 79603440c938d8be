"""Attention and its gradients in plain NumPy, and how far off fastmat may be.

All is computed in the wide dtype of `oracles`. With eps of the dtype that fastmat computes in, E
the depth, n keys, m queries and W numbers of a value, to first order and with room to spare:

- A score s, a sum of E products of queries that were rounded when they were scaled, is off by
  (E + 2) eps scale |q||k|, and by eps (|s| + |mask|) where a mask is added.
- The weight exp(s - top) turns that into a relative error, and so it does with the rounding of
  s - top. `exp` itself is within eps. The largest score so far grows from block to block (of at
  least 64 keys): the differences add up to s - top, and the exponentials are another eps each.
- Weights below the smallest normal number count as 0.
- A sum of n products is off by n eps of that of their magnitudes (Higham, section 3.1).
"""

from typing import NamedTuple

import numpy as np
from oracles import HALVES, widen
from tolerances import _finfo, rounding_bound

LEAST_BLOCK = 64  # keys


class Attention(NamedTuple):
    """Expected results in a wide dtype, and bounds on their errors."""

    result: np.ndarray
    result_bound: np.ndarray
    logsumexp: np.ndarray
    logsumexp_bound: np.ndarray


def attention(q, k, v, mask=None, is_causal=False, scale=None):
    """Expected result and logarithms of sums; bounds on the errors of both."""
    dtype, (q, k, v), scores, off, _ = _scores(q, k, v, mask, is_causal, scale)
    eps, tiny = _computed(dtype)
    n = scores.shape[-1]
    top = np.max(scores, -1, keepdims=True, initial=-np.inf)
    shift = np.where(np.isneginf(top), 0, top)
    weights = np.exp(scores - shift)
    total = weights.sum(-1, keepdims=True)
    seen = total > 0
    with np.errstate(divide="ignore"):
        logs = (shift + np.log(total))[..., 0]
    weights = weights / np.where(seen, total, 1)
    result = weights @ v
    apart = np.where(np.isneginf(scores), 0, shift - scores)
    relative = np.expm1(off + eps * (apart / 2 + 2 * (n / LEAST_BLOCK + 1) + 2)) + 2 * n * eps
    of_total = (weights * relative).sum(-1, keepdims=True) + 4 * eps
    size = np.abs(v)
    bound = (weights * relative) @ size + of_total * np.abs(result)
    bound = bound + tiny * (1 + size.sum(-2, keepdims=True)) * seen
    if dtype in HALVES:
        bound = rounding_bound(result, bound, dtype)
    return Attention(result, bound, logs, of_total[..., 0] + n * tiny)


def gradients(cotangent, q, k, v, result, logsumexp, mask=None, is_causal=False, scale=None):
    """Expected gradients by q, k and v, and bounds on their errors, for statistics as given."""
    own = [(x.shape, x.dtype) for x in (q, k, v)]
    dtype, (q, k, v), scores, off, factor = _scores(q, k, v, mask, is_causal, scale)
    g, result = widen(cotangent, dtype), widen(result, dtype)
    eps, tiny = _computed(dtype)
    (m, n), width = scores.shape[-2:], v.shape[-1]
    logs = np.asarray(logsumexp, q.dtype)[..., np.newaxis]
    logs = np.where(np.isneginf(logs), 0, logs)
    p = np.exp(scores - logs)
    apart = np.where(np.isneginf(scores), 0, np.abs(scores - logs))
    relative = np.expm1(off + eps * (apart + np.abs(logs) + 2))
    delta = (g * result).sum(-1, keepdims=True)
    size_of_delta = (np.abs(g) * np.abs(result)).sum(-1, keepdims=True)
    slope = g @ _turned(v) - delta
    ds = p * slope
    size = np.abs(g) @ np.abs(_turned(v)) + size_of_delta
    visible = ~np.isneginf(scores)
    off_ds = p * (relative * np.abs(slope) + (width + 4) * eps * size) + tiny * size * visible
    of_q = (off_ds + 2 * (n + 2) * eps * np.abs(ds)) @ np.abs(k)
    of_k = _turned(off_ds + 2 * (m + 2) * eps * np.abs(ds)) @ np.abs(q)
    of_v = _turned(p * (relative + 2 * m * eps) + tiny * visible) @ np.abs(g)
    found = [
        (factor * (ds @ k), abs(factor) * of_q),
        (factor * (_turned(ds) @ q), abs(factor) * of_k),
        (_turned(p) @ g, of_v),
    ]
    return [
        _added_up(value, bound + 4 * tiny, *wanted)
        for (value, bound), wanted in zip(found, own, strict=True)
    ]


def _scores(q, k, v, mask, is_causal, scale):
    """The dtype, operands, scores (-inf where hidden), bounds on their errors, and the scale."""
    dtype = np.result_type(q.dtype, k.dtype, v.dtype).newbyteorder("=")
    q, k, v = (widen(x, dtype) for x in (q, k, v))
    eps, _ = _computed(dtype)
    depth = q.shape[-1]
    factor = depth**-0.5 if scale is None and depth else 1.0 if scale is None else scale
    factor = q.dtype.type(factor)
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    shape = (*batch, q.shape[-2], k.shape[-2])
    scores = np.broadcast_to(factor * (q @ _turned(k)), shape)
    off = abs(factor) * (depth + 2) * eps * (np.abs(q) @ np.abs(_turned(k)))
    off = np.broadcast_to(off, shape)
    if is_causal:
        mask = np.tril(np.ones(shape[-2:], bool))
    if mask is not None and mask.dtype == bool:
        scores = np.where(mask, scores, -np.inf)
    elif mask is not None:
        mask = mask.astype(q.dtype)
        finite = np.where(np.isneginf(mask), 0, np.abs(mask))
        off = off + eps * (np.abs(scores) + 2 * finite)
        scores = scores + mask
    return dtype, (q, k, v), scores, np.where(np.isneginf(scores), 0, off), factor


def _turned(x):
    return x.swapaxes(-1, -2)


def _computed(dtype):
    """Machine epsilon and smallest normal number of the dtype that is computed in."""
    finfo = np.finfo("f8" if dtype == np.dtype("f8") else "f4")
    return np.longdouble(finfo.eps), np.longdouble(finfo.tiny)


def _added_up(value, bound, shape, dtype):
    """A gradient in full, added up over axes that were broadcast, and rounded."""
    extra = value.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(shape) if n == 1 != value.shape[extra + i]
    )
    size = np.abs(value).sum(axes, keepdims=True).reshape(shape)
    value, bound = (x.sum(axes, keepdims=True).reshape(shape) for x in (value, bound))
    bound = bound + np.longdouble(_finfo(np.dtype("f8")).eps) * size
    return value, rounding_bound(value, bound, dtype)
