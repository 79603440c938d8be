"""What the gradients share on a GPU: the calls of the kernels."""

from __future__ import annotations

from typing import Any

from fastmat.cuda import gradients as kernels
from fastmat.cuda import layer_norm_vjp as rows
from fastmat.cuda.arrays import View, empty, stream_of
from fastmat.cuda.gradients import CENTERED, GIVEN, OF_LARGEST, PARAMETERS
from fastmat.cuda.launch_norms import (
    FEW_ROWS,
    GROUP_BLOCK,
    LONG_ROW,
    MAP_BLOCK,
    pieces_for,
    shape_for,
)
from fastmat.ops.on_gpu.layer_norm import rows_of
from fastmat.ops.on_gpu.statistics import (
    Axes,
    Measured,
    Strides,
    groups_of,
    kept_strides,
    number_of,
)
from fastmat.ops.on_gpu.strided import grouped, mapped


def gradients(
    cotangent: View,
    x: View,
    axes: Axes,
    weight: View | None,
    weight_strides: Strides,
    statistics: Measured,
    stat_strides: Strides,
    target: View,
    kind: str,
    mask: View | None = None,
    eps: float = 0.0,
) -> None:
    """Write the gradient by x."""
    if x.size == 0:
        return
    flow = [0, 0]
    kept = []  # until the launch
    if kind != GIVEN:
        number = number_of(x.dtype)
        groups = groups_of(x.shape, axes)
        kept = [empty((groups,), number, x)[1] for _ in range(2)]
        how = statistics, stat_strides, mask
        pieces, partial = _sums(
            cotangent, x, axes, weight, weight_strides, *how, kind == OF_LARGEST
        )
        flow = [v.pointer for v in kept]
        spread = statistics.spread.pointer
        _finish(x, number, kind, number, partial, flow[0], flow[1], spread, groups, pieces, eps)
    _write(cotangent, x, weight, weight_strides, statistics, stat_strides, flow, target, kind, mask)


def parameter_gradients(
    cotangent: View,
    x: View,
    others: Axes,
    weight_strides: Strides,
    statistics: Measured,
    stat_strides: Strides,
    like: View,
    shape: Axes,
    mask: View | None = None,
) -> tuple[Any, Any]:
    """Gradients by weight and bias: sums over the other axes."""
    number, groups = number_of(x.dtype), groups_of(x.shape, others)
    (weight, by_weight), (bias, by_bias) = (empty(shape, like.dtype, like) for _ in range(2))
    if groups:
        none = (0,) * x.ndim
        how = None, none, statistics, stat_strides, mask
        pieces, partial = _sums(cotangent, x, others, *how)
        outputs = by_bias.pointer, by_weight.pointer
        _finish(x, number, PARAMETERS, like.dtype, partial, *outputs, 0, groups, pieces, 0.0)
    return weight, bias


def row_gradients(
    g: View,
    x: View,
    axes: Axes,
    weight: View | None,
    statistics: Measured,
    y: View,
    kind: str,
    like: View | None,
) -> tuple[Any, Any] | None:
    """All gradients of contiguous rows in one pass over memory; None if they are not that."""
    found = rows_of(axes, x, g, y) if x.size else None
    if found is None:
        return None
    count, n, steps = found
    run = 16 // x.itemsize
    if any(v.pointer % 16 for v in (x, g, y)) or n % run:
        run = 1
    if count > 1 and any(step % run for step in steps):
        run = 1
    if weight is not None and weight.pointer % min(run * weight.itemsize, 16):
        run = 1
    dtype = None if weight is None else weight.dtype
    kernel = rows.gradient(rows.Variant(x.dtype, kind == CENTERED, dtype, run), n)
    if kernel is None or (count < FEW_ROWS and n >= LONG_ROW):
        return None
    pieces = rows.pieces_of(kernel, count, weight is not None)
    number = number_of(x.dtype)
    shape = (2, pieces, n) if weight is not None else (0,)
    partial = empty(shape, number, x)[1]
    arguments = (
        x.pointer, g.pointer, 0 if weight is None else weight.pointer,
        *map(statistics.plane, range(3)), y.pointer, partial.pointer, count, n, *steps, 1 / n,
        pieces,
    )  # fmt: skip
    kernel(pieces, arguments, stream_of(x), x.device)
    if like is None:
        return None, None
    (by_weight, written), (by_bias, bias) = (empty(like.shape, like.dtype, like) for _ in "wb")
    outputs = bias.pointer, written.pointer
    _finish(x, number, PARAMETERS, like.dtype, partial, *outputs, 0, n, pieces, 0.0)
    return by_weight, by_bias


def _sums(
    g: View,
    x: View,
    axes: Axes,
    weight: View | None,
    weight_strides: Strides,
    statistics: Measured,
    stat_strides: Strides,
    mask: View | None,
    ties: bool = False,
) -> tuple[int, View]:
    """Partial sums of groups over some axes, and in how many pieces."""
    number, stream, groups = number_of(x.dtype), stream_of(x), groups_of(x.shape, axes)
    item, pieces, partial = statistics.planes.itemsize, 0, statistics.planes
    mask_strides = (0,) * x.ndim if mask is None else mask.strides
    own = kept_strides(x.shape, axes)
    everything = x.strides, g.strides, mask_strides, weight_strides, stat_strides, own
    for part in grouped(x.shape, axes, *everything) if x.size else ():
        shape = shape_for(part.numbers, part.across)
        if not pieces:
            pieces, length = pieces_for(part.groups, part.numbers, shape)
            partial = empty((3, pieces, groups), number, x)[1]
        dtype = None if weight is None else weight.dtype
        at, run = part.offsets, 1
        if mask is None and not shape.across:
            run = part.run((x.pointer, g.pointer), x.itemsize, (0, 1))
        of_weight, of_statistics = (
            kernels.variation(part.lengths, part.strides[k]) for k in (3, 4)
        )
        variant = kernels.Sums(
            x.dtype, dtype, of_weight, of_statistics, mask is not None, ties, part.depth, run
        )
        kernel = kernels.sums(variant, shape)
        _, i, _, r, q = part.lengths
        arguments = (
            x.pointer + at[0] * x.itemsize,
            g.pointer + at[1] * g.itemsize,
            0 if mask is None else mask.pointer + at[2],
            0 if weight is None else weight.pointer + at[3] * weight.itemsize,
            *(statistics.plane(k) + at[4] * item for k in range(3)),
            partial.pointer + at[5] * partial.itemsize,
            part.groups, groups, pieces, length, part.numbers, i, r, q, *part.strides[5][:2],
            *(step for strides in part.strides[:5] for step in strides),
        )  # fmt: skip
        kernel(-(-part.groups // shape.groups) * pieces, arguments, stream, x.device)
    return pieces, partial


def _finish(
    x: View,
    number: str,
    kind: str,
    written: str,
    partial: View,
    first: int,
    second: int,
    spread: int,
    groups: int,
    pieces: int,
    eps: float,
) -> None:
    kernel = kernels.finish(number, kind, written)
    arguments = partial.pointer, first, second, spread, groups, pieces, eps
    kernel(-(-groups // GROUP_BLOCK.groups), arguments, stream_of(x), x.device)


def _write(
    g: View,
    x: View,
    weight: View | None,
    weight_strides: Strides,
    statistics: Measured,
    stat_strides: Strides,
    flow: list[int],
    y: View,
    kind: str,
    mask: View | None,
) -> None:
    """Write the gradient by x, of known shift and slope."""
    mask_strides = (0,) * x.ndim if mask is None else mask.strides
    item, stream = statistics.planes.itemsize, stream_of(x)
    everything = x.strides, g.strides, mask_strides, weight_strides, stat_strides, y.strides
    for part in mapped(x.shape, *everything):
        pointers = x.pointer, g.pointer, 0, 0, 0, y.pointer
        run = part.run(pointers, x.itemsize, (0, 1, 5))
        at = part.offsets
        variant = kernels.Gradient(
            x.dtype,
            kind,
            None if weight is None else weight.dtype,
            mask is not None,
            part.strides[4][3] != 0,
            part.strides[3][3] != 0,
            run,
        )
        kernel = kernels.write(variant, part.depth)
        sizes = part.lengths_and_divisors(run)
        arguments = (
            x.pointer + at[0] * x.itemsize,
            g.pointer + at[1] * g.itemsize,
            0 if mask is None else mask.pointer + at[2],
            0 if weight is None else weight.pointer + at[3] * weight.itemsize,
            *(statistics.plane(k) + at[4] * item for k in range(3)),
            *(address + at[4] * item for address in flow),
            y.pointer + at[5] * y.itemsize,
            *sizes,
            *(step for strides in part.strides for step in strides),
        )
        kernel(-(-sizes[0] // MAP_BLOCK), arguments, stream, x.device)
