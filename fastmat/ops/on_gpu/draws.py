"""What the random draws share on GPUs: where results go, and which kernel makes them."""

from __future__ import annotations

from typing import Any

from fastmat.core.dtypes import DType
from fastmat.cuda.arrays import View, empty, stream_of, view, writable
from fastmat.cuda.random import THREADS, draw_of, flat, strided
from fastmat.ops import draws
from fastmat.ops.draws import Key, Place, Shape

_AXES = 4  # of what a kernel fills
_REAL = {"complex64": "float32", "complex128": "float64"}


def dtype_of(given: Any, out: Any, default: str, allowed: tuple[str, ...]) -> DType:
    """The dtype that is asked for, also as PyTorch's, else that of `out`, else the default."""
    if given is None:
        given = default if out is None else view(out, "out").dtype
    name = str(given).removeprefix("torch.")
    return draws.dtype_of(name if name in allowed else given, None, default, allowed)


def draw(
    kind: str, dtype: DType, place: Place, key: Key, out: Any, like: Any, *parameters: Any
) -> Any:
    """Draw the numbers, to `out` or to an array like `like`."""
    if out is None:
        out, target = empty(place.shape, dtype.name, view(like, "like"))
    else:
        target = writable(out, place.shape, dtype.name)
    if target.size:
        fill(kind, target, place, key, *parameters)
    return out


def fill(kind: str, target: View, place: Place, key: Key, *parameters: Any) -> None:
    """Draw numbers to an array that is not empty."""
    dtype, steps, first = target.dtype, place.steps, place.first
    parameters += (0,) * (3 - len(parameters))
    if kind == "integers":  # by the bits, whatever the sign
        dtype = "int8" if dtype == "bool" else dtype.removeprefix("u")
    elif kind == "normal" and dtype in _REAL:  # pairs of real numbers
        dtype = _REAL[dtype]
        target = target._replace(
            shape=(*target.shape, 2), strides=(*(2 * s for s in target.strides), 1)
        )
        steps, first = (*(2 * step for step in steps), 1), 2 * first
    stream = stream_of(target)
    if place.flat and target.contiguous:
        made = draw_of(kind, dtype)
        items = made.each * made.blocks
        aligned = first % items == 0 and target.pointer % 16 == 0
        skipped = 0 if aligned else first % made.each
        grid = -(-(target.size + skipped) // (items * THREADS))
        arguments = (target.pointer, target.size, first, *key, *parameters)
        flat(kind, dtype, aligned)(grid, arguments, stream, target.device)
        return
    _fill_lines(kind, dtype, target, steps, first, (*key, *parameters), stream)


def _fill_lines(
    kind: str, dtype: str, target: View, steps: Shape, first: int, rest: Any, stream: int
) -> None:
    """Axes that a kernel has, after joining those that can be; leading ones one by one."""
    axes = _joined(target.shape, target.strides, steps)
    while len(axes) < _AXES:
        axes.insert(0, (1, 0, 0))
    leading, last = axes[:-_AXES], axes[-_AXES:]
    each = draw_of(kind, dtype).each
    lengths, strides, moves = zip(*last, strict=True)
    pieces = (lengths[-1] + 2 * each - 2) // each
    grid = -(-(lengths[0] * lengths[1] * lengths[2] * pieces) // THREADS)
    kernel = strided(kind, dtype)

    def launch(depth: int, pointer: int, begin: int) -> None:
        if depth < len(leading):
            length, stride, step = leading[depth]
            for i in range(length):
                launch(depth + 1, pointer + i * stride * target.itemsize, begin + i * step)
            return
        arguments = (pointer, *lengths, *strides, *moves[:-1], begin, *rest)
        kernel(grid, arguments, stream, target.device)

    launch(0, target.pointer, first)


def _joined(shape: Shape, strides: Shape, steps: Shape) -> list[tuple[int, int, int]]:
    """Lengths, strides and steps of as few axes as can be; the last one has steps of 1."""
    axes: list[tuple[int, int, int]] = []
    for length, stride, step in zip(shape, strides, steps, strict=True):
        if length == 1:
            continue
        if axes and axes[-1][1:] == (length * stride, length * step):
            axes[-1] = (axes[-1][0] * length, stride, step)
        else:
            axes.append((length, stride, step))
    if not axes or axes[-1][2] != 1:
        axes.append((1, 0, 1))
    return axes
