"""What gradients are given of the forward operation: its results and statistics, in plain NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmat.comparisons import masked_reductions
from fastmat.comparisons.cases import OF_HEADS, Case

Array = NDArray[np.generic]

_EPS = {"rms_norm_vjp": 1e-6}  # all else has 1e-5


def with_results(case: Case, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The operands of a gradient, with what fits to `x` instead of random numbers.

    Statistics are in float64, as fastmat returns them.
    """
    named = dict(zip(("cotangent", *case.parameters), arrays, strict=True))
    if case.op in OF_HEADS:
        return _with_attention(case, named)
    if "rstd" in named:
        statistics = _mean_and_rstd(case, named["x"])
    else:
        statistics = {}
    for name, given in named.items():
        if name in statistics:
            named[name] = np.ascontiguousarray(statistics[name]).reshape(given.shape)
        elif name == "result" and "mask" in named:
            np.copyto(given, masked_reductions.result_of(case.op, named["x"], named["mask"]))
        elif name == "result":
            np.copyto(given, _result(case, named.get("x", given)), casting="same_kind")
    return tuple(named.values())


def _with_attention(case: Case, named: dict[str, Array]) -> tuple[Array, ...]:
    """With result and logarithms of sums of exponentials, the latter in float64."""
    q, k, v = (named[name].astype(np.float64) for name in "qkv")
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if dict(case.options).get("is_causal"):
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    largest = np.max(scores, -1, keepdims=True)
    weights = np.exp(scores - largest)
    total = weights.sum(-1, keepdims=True)
    np.copyto(named["result"], weights / total @ v, casting="same_kind")
    named["logsumexp"] = (largest + np.log(total))[..., 0]
    return tuple(named.values())


def _mean_and_rstd(case: Case, x: Array) -> dict[str, Array]:
    groups = dict(case.options).get("num_groups")
    axes = {
        "group_norm_vjp": (-1,),
        "instance_norm_vjp": tuple(range(2, x.ndim)),
        "batch_norm_vjp": (0, *range(2, x.ndim)),
    }.get(case.op, (-1,))
    if groups is not None:
        x = x.reshape(len(x), groups, -1)
    wide = x.astype(np.float64)
    mean = np.mean(wide, axes)
    if case.op == "rms_norm_vjp":
        spread = np.mean(wide * wide, axes)
    else:
        spread = np.var(wide, axes)
    return {"mean": mean, "rstd": 1 / np.sqrt(spread + _EPS.get(case.op, 1e-5))}


def _result(case: Case, x: Array) -> Array:
    """Of softmax, its logarithm, or logsumexp, over the last axis."""
    wide = x.astype(np.float64)
    largest = np.max(wide, -1, keepdims=True)
    total = np.log(np.sum(np.exp(wide - largest), -1, keepdims=True)) + largest
    if case.op == "logsumexp_vjp":
        return np.asarray(total[..., 0])
    return np.asarray(np.exp(wide - total) if case.op == "softmax_vjp" else wide - total)
