"""Gradients of scaled dot-product attention, of arrays on GPUs."""

from __future__ import annotations

import functools
import itertools
from typing import Any

from fastmat.cuda import arrays, driver
from fastmat.cuda.arrays import View, empty, same_device, stream_of
from fastmat.cuda.attention_delta import QUERIES, prepare
from fastmat.cuda.attention_halves_vjp import attention_vjp_of_halves
from fastmat.cuda.attention_vjp import attention_vjp
from fastmat.cuda.copy import may_overlap
from fastmat.cuda.launch_attention import walk_for
from fastmat.cuda.launch_attention_halves import gradient_warps_for
from fastmat.ops.attention import AttentionGradients
from fastmat.ops.on_gpu.attention_operands import (
    HALVES,
    Shape,
    add_up,
    cast,
    computed,
    copy,
    floating,
    in_runs,
    mask_of,
    pairs_of_axes,
    promoted,
    read,
    scale_of,
    shape_of,
)


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
    """See `fastmat.scaled_dot_product_attention_vjp`."""
    given = read(q, k, v)
    dtype = promoted(given)
    batch, m, n = shape_of(*given)
    kind, masks = mask_of(mask, is_causal, (*batch, m, n))
    factor = scale_of(scale, given[0])
    depth, width = given[0].shape[-1], given[2].shape[-1]
    shape = (*batch, m, width)
    slopes = of_result(cotangent, "cotangent", shape)
    results = of_result(result, "result", shape)
    logs = floating(logsumexp, "logsumexp")
    if logs.shape != shape[:-1]:
        raise ValueError(f"logsumexp has shape {logs.shape}; it must have {shape[:-1]}")
    destinations = destinations_of(out, given)
    device = same_device(
        q=given[0], k=given[1], v=given[2], cotangent=slopes, result=results, logsumexp=logs,
        mask=masks, out=next((to for to in destinations if to is not None), None),
    )  # fmt: skip
    stream = stream_of(given[0])
    number = computed(dtype)
    read_arrays = [x for x in (*given, slopes, results, logs, masks) if x is not None]
    targets = []
    for x, to in zip(given, destinations, strict=True):
        full = (*batch, *x.shape[-2:])
        if to is not None and full == x.shape and not any(may_overlap(to, y) for y in read_arrays):
            targets.append((None, to))
        else:
            targets.append(empty(full, x.dtype if full == x.shape else number, given[0]))
    operands = [cast(x, dtype, stream, device) for x in (*given, slopes, results)]
    operands = [x.broadcast_to((*batch, *x.shape[-2:])) for x in operands]
    deltas, bases = (empty((*batch, m), number, given[0])[1] for _ in range(2))
    views = [to for _, to in targets]
    aligned = all(map(in_runs, (*operands, *views)))
    ready = prepare(dtype, logs.dtype)
    by_queries, by_keys, rows, slabs = _kernels(
        dtype, tuple(x.dtype for x in views), depth, width, kind, aligned,
        driver.current.capability(device), driver.current.shared_limit(device),
    )  # fmt: skip
    everything = [*operands, masks, *views, logs, deltas, bases]
    for (outer, heads), planes in pairs_of_axes(batch, everything):
        of_q, of_k, of_v, of_slopes, of_results, of_mask, to_q, to_k, to_v, *rest = planes
        of_logs, (of_deltas, *_), (of_bases, *_) = rest
        count = outer * heads
        if count * m:
            sizes = m, width, heads, count * m
            ready(
                -(-count * m // QUERIES),
                (*of_slopes, *of_results, *of_logs[:4], of_deltas, of_bases, *sizes),
                stream,
                device,
            )
        if count * m * depth:
            by_queries(
                (-(-m // rows) * count, slabs),
                (
                    *itertools.chain(of_q, of_slopes, of_k, of_v, of_mask, to_q, to_q),
                    of_deltas, of_bases, m, n, depth, width, heads, factor,
                ),
                stream,
                device,
            )  # fmt: skip
        if count * n * (depth + width):
            turned = (*of_mask[:3], of_mask[4], of_mask[3])
            by_keys(
                (-(-n // rows) * count, slabs),
                (
                    *itertools.chain(of_k, of_v, of_q, of_slopes, turned, to_k, to_v),
                    of_deltas, of_bases, n, m, depth, width, heads, factor,
                ),
                stream,
                device,
            )  # fmt: skip
    found = []
    for i, (x, to, (array, target)) in enumerate(zip(given, destinations, targets, strict=True)):
        if target.shape != x.shape:
            array, target = add_up(target, x.shape, x.dtype, stream, device)
        if to is not None and target is not to:
            copy(target, to, stream, device)
        found.append(array if to is None else out[i])
    return AttentionGradients(*found)


@functools.cache
def _kernels(
    dtype: str,
    out_dtypes: tuple[str, ...],
    depth: int,
    width: int,
    kind: str | None,
    aligned: bool,
    capability: tuple[int, int],
    limit: int,
) -> tuple[Any, Any, int, int]:
    """The kernels, the rows of a block, and how many blocks share the columns."""
    warps = gradient_warps_for(depth, width)
    halves = aligned and dtype in HALVES and capability >= (8, 0)
    if halves and warps is not None and warps.shared_of_gradients <= limit:
        by_queries = attention_vjp_of_halves(dtype, out_dtypes[:1], warps, kind, False)
        by_keys = attention_vjp_of_halves(dtype, out_dtypes[1:], warps, kind, True)
        return by_queries, by_keys, warps.rows, 1
    walk = walk_for(computed(dtype), depth, width, kind, limit)
    by_queries = attention_vjp(dtype, out_dtypes[:1], walk, kind, False, aligned)
    by_keys = attention_vjp(dtype, out_dtypes[1:], walk, kind, True, aligned)
    return by_queries, by_keys, walk.tiles.rows, walk.slabs


def of_result(x: Any, name: str, shape: Shape) -> View:
    """An argument that has the shape of the result."""
    found = floating(x, name)
    if found.shape != shape:
        raise ValueError(f"{name} has shape {found.shape}; it must have {shape}, as the result")
    return found


def destinations_of(out: Any, given: list[View]) -> list[View | None]:
    """Where the gradients are to be stored, if it was said."""
    if out is None:
        return [None] * 3
    if not isinstance(out, tuple | list) or len(out) != 3:
        raise TypeError(f"out is of type {type(out).__name__}; it must be three arrays, or None")
    found = [
        None if to is None else arrays.writable(to, x.shape, x.dtype)
        for to, x in zip(out, given, strict=True)
    ]
    some = [to for to in found if to is not None]
    for i, to in enumerate(some):
        if any(may_overlap(to, other) for other in some[:i]):
            raise ValueError("out has arrays that overlap; gradients need one each")
    return found
