"""Sums over some axes of what a mask selects, in a fixed order."""

from __future__ import annotations

import functools

from numba import cuda, types

from fastmat.cuda.arrays import View, empty
from fastmat.cuda.copy import packed
from fastmat.cuda.elements import element
from fastmat.cuda.gather import divided, divisor
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.masked import merged

THREADS = 256
AXES = 4
_LANES = 32
_TERMS = 16  # that a thread adds up one after the other


@functools.cache
def summing(dtype: str, result: str, mask: str, beside: bool) -> Kernel:
    """The kernel for numbers of a dtype, and sums of another.

    `mask` says which numbers are added: those where it is "True" or "False", or "all". With
    `beside`, a warp has 32 neighbouring sums, and the warps share their terms; else all threads
    of a block share the terms of one sum.
    """
    number = element(dtype)
    to = element(result)
    kind = number.number
    widen, narrow = number.widen, to.narrow
    lanes = _LANES if beside else 1
    rows = THREADS // lanes
    masked = mask != "all"
    wanted = mask == "True"
    terms = _TERMS

    def sums(
        x, mask, target, outputs, count, parts,
        n0, factor0, shift0, n1, factor1, shift1, n2, factor2, shift2,
        x0, x1, x2, x3, mask0, mask1, mask2, mask3,
        r0, rfactor0, rshift0, r1, rfactor1, rshift1, r2, rfactor2, rshift2,
        y0, y1, y2, y3, marks0, marks1, marks2, marks3,
    ):  # fmt: skip
        shared = cuda.shared.array(THREADS, kind)
        thread = types.int32(cuda.threadIdx.x)
        block = types.uint32(cuda.blockIdx.x)
        part = types.uint32(block % parts)
        lane, row = types.int32(thread % lanes), types.int32(thread // lanes)
        output = types.uint32(types.uint32(block // parts) * types.uint32(lanes)) + lane
        total = kind(0)
        if output < outputs:
            i = types.uint32(output)
            j = divided(i, factor0, shift0)
            d0 = types.uint32(i - types.uint32(j * n0))
            i = divided(j, factor1, shift1)
            d1 = types.uint32(j - types.uint32(i * n1))
            d3 = divided(i, factor2, shift2)
            d2 = types.uint32(i - types.uint32(d3 * n2))
            x_at = d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
            mask_at = d0 * mask0 + d1 * mask1 + d2 * mask2 + d3 * mask3
            first = types.uint32(part * types.uint32(rows * terms)) + row
            for k in range(terms):
                i = types.uint32(first + k * rows)
                if i < count:
                    j = divided(i, rfactor0, rshift0)
                    d0 = types.uint32(i - types.uint32(j * r0))
                    i = divided(j, rfactor1, rshift1)
                    d1 = types.uint32(j - types.uint32(i * r1))
                    d3 = divided(i, rfactor2, rshift2)
                    d2 = types.uint32(i - types.uint32(d3 * r2))
                    selected = True
                    if masked:
                        at = mask_at + d0 * marks0 + d1 * marks1 + d2 * marks2 + d3 * marks3
                        selected = (mask[at] != 0) == wanted
                    if selected:
                        total += widen(x[x_at + d0 * y0 + d1 * y1 + d2 * y2 + d3 * y3])
        shared[thread] = total
        cuda.syncthreads()
        half = rows // 2
        while half > 0:
            if row < half:
                shared[thread] += shared[thread + half * lanes]
            cuda.syncthreads()
            half //= 2
        if row == 0 and output < outputs:
            target[types.int64(part) * outputs + output] = narrow(shared[thread])

    axes = (*("uint32",) * 9, *("int64",) * 8)
    return Kernel(
        sums,
        (number.pointer, "uint8*", to.pointer, *("uint32",) * 3, *axes, *axes),
        name=f"sums {dtype} {result} {mask} {beside}",
        threads=THREADS,
        blocks=2,
    )


def sum_where(
    x: View, mask: View | None, wanted: bool, axes: tuple[int, ...], target: View, stream: int
) -> None:
    """Sums over these axes of `x` where the mask, of its shape, is wanted.

    `target` is contiguous, with the shape of the axes that are left. Float16 and bfloat16 are
    added as float32.
    """
    kept = [k for k in range(x.ndim) if k not in axes]
    marks = (0,) * x.ndim if mask is None else mask.strides
    all_axes = [(n, (x.strides[k], marks[k])) for k, n in enumerate(x.shape)]
    # Results are in the order of the target; terms from those that lie side by side.
    outer = _in_order([all_axes[k] for k in kept])
    inner = merged([(n, (m, s)) for n, (s, m) in (all_axes[k] for k in axes) if n > 1])
    inner = [(n, (s, m)) for n, (m, s) in inner]
    if len(outer) > AXES or len(inner) > AXES:
        x = packed(x)
        mask = None if mask is None else packed(mask)
        if len(outer) > AXES or len(inner) > AXES:
            order = [*kept, *axes]
            x = packed(x.transposed(order))
            mask = None if mask is None else packed(mask.transposed(order))
            axes = tuple(range(len(kept), x.ndim))
        sum_where(x, mask, wanted, axes, target, stream)
        return
    outputs, count = _product(outer), _product(inner)
    beside = outputs >= _LANES // 2 and _least(outer) <= _least(inner)
    share = THREADS // (_LANES if beside else 1) * _TERMS
    parts = -(-count // share)
    held = "float64" if x.dtype == "float64" else "float32"
    which = "all" if mask is None else str(wanted)
    numbers = (*_numbers(outer), *_numbers(inner))
    groups = -(-outputs // _LANES) if beside else outputs
    place = target
    if parts > 1:
        _, place = empty((parts, outputs), held, target)
    kernel = summing(x.dtype, place.dtype, which, beside)
    pointers = x.pointer, 0 if mask is None else mask.pointer, place.pointer
    kernel(parts * groups, (*pointers, outputs, count, parts, *numbers), stream, target.device)
    if parts > 1:
        sum_where(place, None, True, (0,), target.reshaped((outputs,)), stream)


_Axis = tuple[int, tuple[int, ...]]


def _in_order(axes: list[_Axis]) -> list[_Axis]:
    """Axes as they are, without those of length 1, and neighbours as one where that is so."""
    found: list[_Axis] = []
    for n, strides in axes:
        if n == 1:
            continue
        if found and found[-1][1] == tuple(n * s for s in strides):
            found[-1] = found[-1][0] * n, strides
        else:
            found.append((n, strides))
    return found


def _product(axes: list[_Axis]) -> int:
    count = 1
    for n, _ in axes:
        count *= n
    return count


def _least(axes: list[_Axis]) -> int:
    """The smallest stride; where there is no axis, that of the longest."""
    return min((abs(strides[0]) for _, strides in axes), default=1 << 62)


def _numbers(axes: list[_Axis]) -> tuple[int, ...]:
    """The arguments for axes, the fastest first."""
    full = [*axes[::-1], *[(1, (0, 0))] * (AXES - len(axes))]
    divisors: list[int] = []
    for k, (n, _) in enumerate(full[:-1]):
        divisors += (1, 0, 0) if k >= len(axes) - 1 else (n, *divisor(n))
    return (*divisors, *(s[0] for _, s in full), *(s[1] for _, s in full))
