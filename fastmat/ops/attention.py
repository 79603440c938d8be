"""Scaled dot-product attention, and its gradients."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.core.checks import check_out
from fastmat.core.devices import also_on_gpu
from fastmat.core.dtypes import DType
from fastmat.ops.differentiated import statistic
from fastmat.ops.heads import Shape, each_pair_of_axes
from fastmat.ops.statistics import compute_dtype, entry_of, number

FLOATING = ("float16", "bfloat16", "float32", "float64")


class Attended(NamedTuple):
    """A result with the logarithm of the sum of exponentials of each query."""

    result: Any
    logsumexp: Any


class AttentionGradients(NamedTuple):
    """Gradients by queries, keys and values."""

    q: Any
    k: Any
    v: Any


@also_on_gpu
def scaled_dot_product_attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    out: Any = None,
    return_stats: bool = False,
) -> Any:
    """``softmax(scale * q @ k.T) @ v``, as `torch.nn.functional.scaled_dot_product_attention`.

    Parameters
    ----------
    q
        Queries ``(..., L, E)``, of a floating dtype.
    k
        Keys ``(..., S, E)``.
    v
        Values ``(..., S, Ev)``. Leading axes of `q`, `k` and `v` broadcast.
    mask
        What broadcasts to ``(..., L, S)``: of bool, True where a query sees a key; or of a
        floating dtype, to be added to the scaled products. It is never expanded in memory.
    is_causal
        Whether query i sees keys 0 to i only; not together with `mask`.
    scale
        What products of queries and keys are multiplied with; by default ``1 / sqrt(E)``.
    out
        Where to store the result, ``(..., L, Ev)``. It may overlap any argument.
    return_stats
        Whether to return the logarithms of the sums of exponentials as well, which
        `scaled_dot_product_attention_vjp` wants.

    Returns
    -------
    array ``(..., L, Ev)`` of the dtype that `q`, `k` and `v` promote to; with `return_stats` a
    named tuple ``(result, logsumexp)``, the latter ``(..., L)`` in float64

    Raises
    ------
    ValueError
        For shapes that do not fit, and for a mask where `is_causal` is True.
    TypeError
        For dtypes other than float16, bfloat16, float32 and float64 (and bool, for a mask).

    Notes
    -----
    A query that sees no key gets zeros, and -inf as its logarithm. What a boolean mask or
    causality hides takes no part: NaN and infinities there do not reach the result, and blocks
    that are hidden throughout cost nothing. An additive mask is arithmetic: -inf plus NaN is NaN.

    Nothing of size L * S is stored. Products are computed block by block of keys, their
    exponentials relative to the largest so far [1]_ [2]_; 16-bit floats in float32. Keys and
    values of a head (of several if they are small) are packed, which is the only copy. The bits
    depend neither on the number of threads nor on memory layouts.

    Heads that share keys and values need no copies of these: with queries ``(N, H, G, L, E)`` and
    keys ``(N, H, 1, S, E)`` each head of keys serves G heads of queries (what PyTorch calls
    `enable_gqa`).

    References
    ----------
    .. [1] Dao, Fu, Ermon, Rudra and Ré, "FlashAttention: fast and memory-efficient exact
       attention with IO-awareness", 2022, arXiv:2205.14135.
    .. [2] Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018,
       arXiv:1805.02867.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> q, k = np.array([[0.0], [10.0]]), np.array([[1.0], [-1.0]])
    >>> v = np.array([[2.0, 0.0], [0.0, 4.0]])
    >>> fm.scaled_dot_product_attention(q, k, v).round(3)
    array([[1., 2.],
           [2., 0.]])
    >>> fm.scaled_dot_product_attention(q, k, v, mask=[[False, True], [False, False]])
    array([[0., 4.],
           [0., 0.]])
    """
    operands, dtype = _converted(_arrays(q, k, v))
    batch, m, n = _shape(*operands)
    masks = _masks(mask, is_causal, (*batch, m, n), dtype)
    factor = _scale(scale, operands[0])
    shape = (*batch, m, operands[2].shape[-1])
    if out is None:
        target = np.empty(shape, dtype)
    else:
        destination = check_out(out, shape, dtype)
        target = _target(destination, dtype, [*operands, *masks])
    logsumexp = np.empty((*batch, m))
    if logsumexp.size:
        inputs = [_broadcast(x, batch) for x in operands]
        entry = entry_of("attention", "attention", dtype)
        for views in each_pair_of_axes(batch, [*inputs, target, logsumexp, *masks]):
            both = _by_kind(views[5:], dtype)
            entry(*views[:3], *both, *views[3:5], bool(is_causal), factor)
    if out is None:
        result = like(target, q, k, v)
    else:
        result = out
        if target is not destination:
            np.copyto(destination, target, casting="same_kind")
    return Attended(result, logsumexp) if return_stats else result


@also_on_gpu
def scaled_dot_product_attention_vjp(
    cotangent: Any,
    q: Any,
    k: Any,
    v: Any,
    result: Any,
    logsumexp: Any,
    mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    out: Any = None,
) -> AttentionGradients:
    """Gradients of `scaled_dot_product_attention`: the vector-Jacobian product of a cotangent.

    There is none by the mask.

    Parameters
    ----------
    cotangent
        The gradient by the result, ``(..., L, Ev)``.
    q, k, v, mask, is_causal, scale
        As they were given to `scaled_dot_product_attention`.
    result, logsumexp
        What it returned with ``return_stats=True``.
    out
        Where to store the gradients: three arrays, of which any may be None. They may overlap
        the arguments, but not each other.

    Returns
    -------
    named tuple ``(q, k, v)``
        The gradients, each in the shape and the dtype of its argument.

    Raises
    ------
    ValueError, TypeError
        As `scaled_dot_product_attention`; statistics that do not fit.

    Notes
    -----
    Weights are computed again, block by block, from the logarithms of their sums [1]_. What is
    hidden has the gradient 0, whatever NaN there may be. Where an argument was broadcast, its
    gradient is the sum over these axes, in float64.

    References
    ----------
    .. [1] Dao et al., "FlashAttention", 2022, arXiv:2205.14135, appendix B.2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> q, k, v = np.zeros((1, 2)), np.zeros((4, 2)), np.arange(4.0).reshape(4, 1)
    >>> found = fm.scaled_dot_product_attention(q, k, v, return_stats=True)
    >>> fm.scaled_dot_product_attention_vjp([[1.0]], q, k, v, *found).v
    array([[0.25],
           [0.25],
           [0.25],
           [0.25]])
    """
    arrays = _arrays(q, k, v)
    operands, dtype = _converted(arrays)
    batch, m, n = _shape(*operands)
    masks = _masks(mask, is_causal, (*batch, m, n), dtype)
    factor = _scale(scale, operands[0])
    shape = (*batch, m, operands[2].shape[-1])
    forward = [
        _of_result(x, name, shape, dtype)
        for x, name in ((cotangent, "cotangent"), (result, "result"))
    ]
    logs = statistic(logsumexp, "logsumexp", shape[:-1], shape[:-1])
    destinations = _destinations(out, arrays)
    wide = compute_dtype(dtype)
    full = [(*batch, *x.shape[-2:]) for x in operands]
    read = [*operands, *forward, *masks, logs]
    targets = [
        np.empty(own, wide) if to is None or to.shape != own else _target(to, wide, read)
        for to, own in zip(destinations, full, strict=True)
    ]
    if logs.size and n:
        inputs = [forward[0], *(_broadcast(x, batch) for x in operands), forward[1], logs]
        entry = entry_of("attention_vjp", "attention_vjp", dtype)
        for views in each_pair_of_axes(batch, [*inputs, *targets, *masks]):
            both = _by_kind(views[9:], dtype)
            entry(*views[:6], *both, *views[6:9], bool(is_causal), factor)
    else:
        for target in targets:
            target[...] = 0
    found = []
    for x, given, target, to in zip(arrays, (q, k, v), targets, destinations, strict=True):
        gradient = target
        if target is not to:
            gradient = _summed(target, x.shape).astype(x.dtype.newbyteorder("="), copy=False)
        if to is None:
            found.append(like(gradient, given))
            continue
        if target is not to:
            np.copyto(to, gradient, casting="same_kind")
        found.append(out[len(found)])
    return AttentionGradients(*found)


def _arrays(q: Any, k: Any, v: Any) -> list[Array]:
    arrays = [_floating(x, name) for x, name in ((q, "q"), (k, "k"), (v, "v"))]
    for x, name in zip(arrays, "qkv", strict=True):
        if x.ndim < 2:
            raise ValueError(f"{name} has shape {x.shape}; it must have two or more dimensions")
    return arrays


def _converted(arrays: list[Array]) -> tuple[list[Array], DType]:
    """Queries, keys and values as arrays of one dtype that kernels can read."""
    dtype = np.result_type(*arrays).newbyteorder("=")
    converted = [native(x.astype(dtype, order="K", copy=False)) for x in arrays]
    return converted, dtype


def _floating(x: Any, name: str, others: tuple[str, ...] = ()) -> Array:
    array = as_array(x, name)
    if array.dtype.name not in FLOATING + others:
        wanted = ", ".join((*others, *FLOATING[:-1]))
        raise TypeError(f"{name} has dtype {array.dtype}; it must be {wanted} or {FLOATING[-1]}")
    return array


def _shape(q: Array, k: Array, v: Array) -> tuple[Shape, int, int]:
    """Leading axes, and the numbers of queries and keys."""
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(
            f"q has shape {q.shape} and k has shape {k.shape}: the last dimensions, "
            f"{q.shape[-1]} and {k.shape[-1]}, must be equal"
        )
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"k has shape {k.shape} and v has shape {v.shape}: the second last dimensions, "
            f"{k.shape[-2]} and {v.shape[-2]}, must be equal"
        )
    try:
        batch = np.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)))
    except ValueError:
        raise ValueError(
            f"q, k and v have shapes {q.shape}, {k.shape} and {v.shape}, "
            "whose leading dimensions do not broadcast"
        ) from None
    return batch, q.shape[-2], k.shape[-2]


def _masks(mask: Any, is_causal: bool, shape: Shape, dtype: DType) -> list[Array]:
    """The mask as a view of this shape, in a list; an empty list if there is none."""
    if mask is None:
        return []
    if is_causal:
        raise ValueError("mask is given and is_causal is True; only one of them may be")
    array = _floating(mask, "mask", ("bool",))
    if array.dtype != bool:
        array = array.astype(compute_dtype(dtype), order="K", copy=False)
    try:
        return [np.broadcast_to(native(array), shape)]
    except ValueError:
        raise ValueError(
            f"mask has shape {array.shape}, which does not broadcast to {shape}: "
            "leading dimensions, queries, keys"
        ) from None


def _by_kind(masks: list[Array], dtype: DType) -> tuple[Array, Array]:
    """The boolean and the additive mask that kernels take, of which one or both are empty."""
    boolean, additive = np.empty((0,) * 4, bool), np.empty((0,) * 4, compute_dtype(dtype))
    for mask in masks:
        if mask.dtype == bool:
            boolean = mask
        else:
            additive = mask
    return boolean, additive


def _scale(scale: float | None, q: Array) -> float:
    if scale is None:
        return 1 / math.sqrt(max(q.shape[-1], 1))
    return number(scale, "scale")


def _broadcast(x: Array, batch: Shape) -> Array:
    shape = (*batch, *x.shape[-2:])
    return x if x.shape == shape else np.broadcast_to(x, shape)


def _target(destination: Array, dtype: DType, read: list[Array]) -> Array:
    """The destination, if kernels can write it while they read these arrays; or a new one."""
    direct = destination.dtype == dtype and destination.flags.aligned
    if direct and not any(np.may_share_memory(destination, x) for x in read):
        return destination
    return np.empty(destination.shape, dtype)


def _of_result(x: Any, name: str, shape: Shape, dtype: DType) -> Array:
    """An argument that has shape and dtype of the result."""
    array = _floating(x, name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; it must have {shape}, as the result")
    return native(array.astype(dtype, order="K", copy=False))


def _destinations(out: Any, arrays: list[Array]) -> list[Array | None]:
    """Where the gradients are to be stored, if it was said."""
    if out is None:
        return [None] * 3
    if not isinstance(out, tuple | list) or len(out) != 3:
        raise TypeError(f"out is of type {type(out).__name__}; it must be three arrays, or None")
    found = [
        None if to is None else check_out(to, x.shape, x.dtype)
        for to, x in zip(out, arrays, strict=True)
    ]
    given = [to for to in found if to is not None]
    for i, to in enumerate(given):
        if any(np.may_share_memory(to, other) for other in given[:i]):
            raise ValueError("out has arrays that overlap; gradients need one each")
    return found


def _summed(gradient: Array, shape: Shape) -> Array:
    """The gradient in full, added up over axes that were broadcast."""
    if gradient.shape == shape:
        return gradient
    total = np.zeros(shape)
    own = shape[:-2]
    for index in np.ndindex(*gradient.shape[:-2]):
        place = index[len(index) - len(own) :]
        total[tuple(i if n > 1 else 0 for i, n in zip(place, own, strict=True))] += gradient[index]
    return total
