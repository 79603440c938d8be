"""Scaled dot-product attention of arrays on GPUs."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

from fastmat.cuda import arrays, driver
from fastmat.cuda.arrays import empty, same_device, stream_of
from fastmat.cuda.attention import attention
from fastmat.cuda.attention_halves import attention_of_halves
from fastmat.cuda.copy import may_overlap
from fastmat.cuda.launch_attention import tiles_for
from fastmat.cuda.launch_attention_halves import warps_for
from fastmat.ops.attention import Attended
from fastmat.ops.on_gpu.attention_operands import (
    HALVES,
    computed,
    copy,
    in_runs,
    mask_of,
    pairs_of_axes,
    promoted,
    read,
    scale_of,
    shape_of,
)
from fastmat.ops.on_gpu.attention_vjp import scaled_dot_product_attention_vjp

__all__ = ["scaled_dot_product_attention", "scaled_dot_product_attention_vjp"]


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
    """See `fastmat.scaled_dot_product_attention`."""
    operands = read(q, k, v)
    dtype = promoted(operands)
    batch, m, n = shape_of(*operands)
    kind, masks = mask_of(mask, is_causal, (*batch, m, n))
    factor = scale_of(scale, operands[0])
    width = operands[2].shape[-1]
    device = same_device(q=operands[0], k=operands[1], v=operands[2], mask=masks)
    result, destination = arrays.target(out, (*batch, m, width), dtype, operands[0])
    target = destination
    if out is not None and any(may_overlap(destination, x) for x in (*operands, masks) if x):
        _, target = empty(destination.shape, dtype, operands[0])
    logsumexp, logs = None, None
    if return_stats:
        logsumexp, logs = empty((*batch, m), "float64", operands[0])
    stream = stream_of(operands[0])
    full = [x.broadcast_to((*batch, *x.shape[-2:])) for x in operands]
    if math.prod(batch) * m and (width or return_stats):
        names = tuple(x.dtype for x in operands)
        aligned = all(map(in_runs, (*full, target)))
        kernel, rows, columns = _kernel(
            names, dtype, full[0].shape[-1], width, kind, return_stats, aligned,
            driver.current.capability(device), driver.current.shared_limit(device),
        )  # fmt: skip
        sizes = m, n, full[0].shape[-1], width
        for (outer, heads), planes in pairs_of_axes(batch, [*full, masks, target, logs]):
            *five, of_logs = planes
            kernel(
                (-(-m // rows) * outer * heads, max(1, -(-width // columns))),
                (*itertools.chain(*five), of_logs[0], *sizes, heads, factor),
                stream,
                device,
            )
    if target is not destination:
        copy(target, destination, stream, device)
    return Attended(result, logsumexp) if return_stats else result


@functools.cache
def _kernel(
    names: tuple[str, ...],
    dtype: str,
    depth: int,
    width: int,
    kind: str | None,
    stats: bool,
    aligned: bool,
    capability: tuple[int, int],
    limit: int,
) -> tuple[Any, int, int]:
    """The kernel, and the rows and columns of the result that a block computes."""
    if aligned and names == (dtype,) * 3 and dtype in HALVES and capability >= (8, 0):
        warps = warps_for(depth, width, kind)
        if warps is not None and warps.shared <= limit:
            return attention_of_halves(dtype, warps, kind, stats), warps.rows, warps.size
    tiles = tiles_for(computed(dtype), depth, width, limit)
    kernel = attention(names, dtype, tiles, kind, stats, aligned)
    return kernel, tiles.rows, tiles.width_chunks * tiles.chunk
