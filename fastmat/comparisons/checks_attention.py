"""How far off attention and its gradients may be, in units of the machine epsilon."""

from __future__ import annotations

import math

import numpy as np

from fastmat.comparisons.cases import Case
from fastmat.comparisons.inputs import Array


def allowed(case: Case, arrays: tuple[Array, ...]) -> Array:
    """For operands in float64: of the result, or of the gradient by queries.

    A score may be off by (E + 2) scale |q||k|; its weight by that, by half of its distance from
    the largest score, and by 8 for exponentials of scores and of what they are relative to; a sum
    of n products by 2 n of their magnitudes.
    """
    names = ("g", "q", "k", "v", "result", "logs") if case.op.endswith("_vjp") else ("q", "k", "v")
    named = dict(zip(names, arrays, strict=True))
    q, k, v = (named[name] for name in "qkv")
    depth, n = q.shape[-1], k.shape[-2]
    scale = 1 / math.sqrt(depth)
    scores = scale * (q @ _turned(k))
    off = (depth + 2) * scale * (np.abs(q) @ np.abs(_turned(k)))
    if dict(case.options).get("is_causal"):
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    largest = np.max(scores, -1, keepdims=True)
    weights = np.exp(scores - largest)
    weights /= weights.sum(-1, keepdims=True)
    apart = np.where(weights > 0, largest - scores, 0)
    off += apart / 2 + 8
    if "g" not in named:
        own = (weights * (off + 2 * n)) @ np.abs(v)
        return np.asarray(
            own + (weights * (off + 2 * n)).sum(-1, keepdims=True) * np.abs(weights @ v)
        )
    g, logs = named["g"], np.abs(named["logs"])[..., np.newaxis]
    delta = (g * named["result"]).sum(-1, keepdims=True)
    slopes = weights * np.abs(g @ _turned(v) - delta)
    size = np.abs(g) @ np.abs(_turned(v)) + np.abs(g * named["result"]).sum(-1, keepdims=True)
    terms = slopes * (off + logs + 2 * n) + weights * (depth + 4) * size
    return np.asarray(scale * (terms @ np.abs(k)))


def _turned(x: Array) -> Array:
    return x.swapaxes(-1, -2)
