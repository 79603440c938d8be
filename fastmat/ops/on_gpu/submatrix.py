"""Submatrices on GPUs: rows and columns taken out of matrices, and written back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.devices import on_gpu
from fastmat.cuda import submatrix as kernels
from fastmat.cuda.arrays import (
    View,
    empty,
    on_device,
    on_host,
    same_device,
    scratch,
    stream_of,
    view,
    writable,
)
from fastmat.cuda.copy import copy, may_overlap, packed
from fastmat.cuda.gather import divisor
from fastmat.cuda.launch_copy import MOST, THREADS, WIDE
from fastmat.cuda.masked import fill, merged
from fastmat.cuda.sorting import places
from fastmat.ops import submatrix as cpu
from fastmat.ops.on_gpu.filling import value_of, zero
from fastmat.ops.on_gpu.masked import numbers
from fastmat.ops.statistics import integer

_ALL = slice(None)


class Selection(NamedTuple):
    """A slice, or indices that count from 0."""

    part: slice
    indices: View | None


def take_submatrix(x: Any, rows: Any, cols: Any, *, out: Any = None) -> Any:
    """`fastmat.take_submatrix` for arrays on a GPU."""
    a = _matrices(view(x, "x"), "x")
    stream = stream_of(a)
    place = None if out is None else view(out, "out")
    same_device(x=a, out=place)
    row_part, col_part = _selections(rows, cols, a.shape, a, stream)
    source = _part(a, row_part, col_part)
    shape = (*a.shape[:-2], *_lengths(source, row_part, col_part))
    if out is None:
        result, target = _empty_like(a, shape)
    else:
        result, target = out, writable(out, shape, a.dtype)
    written = target
    if out is not None and may_overlap(a, target):
        written = scratch(shape, a.dtype, a)
    if target.size:
        if row_part.indices is None and col_part.indices is None:
            copy(source, written, stream)
        else:
            _move(source, written, row_part.indices, col_part.indices, False, stream)
        if written is not target:
            copy(written, target, stream)
    return result


def take_rows(x: View, order: View, target: View) -> None:
    """Items of x along its first axis, by indices that are in range, to other memory."""
    if not target.size:
        return
    stream, rest = stream_of(x), math.prod(x.shape[1:])
    source = x.reshaped((x.shape[0], rest)) or packed(x).reshaped((x.shape[0], rest))
    to = target.reshaped((target.shape[0], rest))
    written = scratch((target.shape[0], rest), target.dtype, target) if to is None else to
    assert source is not None
    _move(source, written, order, None, False, stream)
    if to is None:
        copied = written.reshaped(target.shape)
        assert copied is not None
        copy(copied, target, stream)


def put_submatrix(x: Any, rows: Any, cols: Any, values: Any) -> Any:
    """`fastmat.put_submatrix` for arrays on a GPU."""
    a = _matrices(view(x, "x"), "x")
    if a.readonly:
        raise ValueError("x is read-only; it must be writeable")
    stream = stream_of(a)
    found = value_of(values, "values", a.dtype)
    same_device(x=a, values=found if isinstance(found, View) else None)
    row_part, col_part = _selections(rows, cols, a.shape, a, stream)
    target = _part(a, row_part, col_part)
    shape = (*a.shape[:-2], *_lengths(target, row_part, col_part))
    if isinstance(found, View):
        found = _fitted(found, shape)
    if 0 in shape:
        return x
    indices = row_part.indices, col_part.indices
    if isinstance(found, bytes):
        if indices == (None, None):
            fill(target, None, None, found, target, True, stream)
            return x
        number = scratch((), a.dtype, a)
        fill(number, None, None, found, number, True, stream)
        found = number
    elif may_overlap(found, a):
        copied = scratch(found.shape, a.dtype, a)
        copy(found, copied, stream)
        found = copied
    source = found.broadcast_to(shape)
    if indices == (None, None):
        copy(source, target, stream)
    else:
        _move(source, target, *indices, True, stream)
    return x


def take_submatrix_vjp(cotangent: Any, rows: Any, cols: Any, shape: Any, *, out: Any = None) -> Any:
    """`fastmat.take_submatrix_vjp` for arrays on a GPU."""
    g = numbers(cotangent, "cotangent")
    full = tuple(integer(n, "shape") for n in (shape if np.iterable(shape) else (shape,)))
    if len(full) < 2 or min(full) < 0:
        raise ValueError(f"shape is {full}; it must be that of x, of 2 or more dimensions")
    stream = stream_of(g)
    row_part, col_part = _selections(rows, cols, full, g, stream)
    taken = (
        *full[:-2],
        *(
            len(range(*part.part.indices(n))) if part.indices is None else part.indices.shape[0]
            for part, n in zip((row_part, col_part), full[-2:], strict=True)
        ),
    )
    if g.shape != taken:
        raise ValueError(f"cotangent has shape {g.shape}; the result has shape {taken}")
    result, target = (
        (out, writable(out, full, g.dtype)) if out is not None else empty(full, g.dtype, g)
    )
    same_device(cotangent=g, out=target)
    written = scratch(full, g.dtype, g) if out is not None and may_overlap(g, target) else target
    part = _part(written, row_part, col_part)
    if part.shape != written.shape or 0 in taken:
        zero(written, stream)
    if 0 not in taken:
        if row_part.indices is None and col_part.indices is None:
            copy(g, part, stream)
        else:
            _add_up(g, row_part.indices, col_part.indices, part, stream)
    if written is not target:
        copy(written, target, stream)
    return result


def _matrices(x: View, name: str) -> View:
    if x.ndim < 2:
        raise ValueError(f"{name} has shape {x.shape}; it must have 2 or more dimensions")
    return x


def _selections(
    rows: Any, cols: Any, shape: tuple[int, ...], like: View, stream: int
) -> tuple[Selection, Selection]:
    return (
        _selection(rows, "rows", shape[-2], like, stream),
        _selection(cols, "cols", shape[-1], like, stream),
    )


def _selection(given: Any, name: str, length: int, like: View, stream: int) -> Selection:
    """What an argument names, checked; of arrays on the GPU one number is awaited."""
    if given is None or isinstance(given, slice) or not on_gpu(given):
        part, found = cpu.selection(given, name, length)
        return Selection(part, None if found is None else on_device(found, like))
    array = view(given, name)
    same_device(x=like, **{name: array})
    kind = np.dtype("f4" if array.dtype == "bfloat16" else array.dtype).kind
    if array.ndim != 1 or kind not in "biu":
        got = f"{array.ndim} dimensions" if array.ndim != 1 else f"dtype {array.dtype}"
        raise TypeError(
            f"{name} has {got}; it must be a slice, a 1-D array of integers or bool, or None"
        )
    (count,), (stride,) = array.shape, array.strides
    if kind == "b" and count != length:
        raise IndexError(f"{name} is a mask of {count}; x has {length} {name}")
    indices = scratch((count,), "int64", like)
    if not count:
        return Selection(_ALL, indices)
    answer = scratch((1,), "int64", like)
    zero(answer, stream)
    if kind == "b":
        kernels.finding()(
            1, (array.pointer, stride, count, indices.pointer, answer.pointer), stream, like.device
        )
        marked = int(on_host(answer)[0])
        return Selection(_ALL, indices._replace(shape=(marked,)))
    arguments = array.pointer, stride, count, length, indices.pointer, answer.pointer
    blocks = -(-count // THREADS)
    kernels.checking(array.dtype)(blocks, arguments, stream, like.device)
    if on_host(answer)[0]:
        cpu.selection(array.library.host(array.owner), name, length)  # raises, naming the index
    return Selection(_ALL, indices)


def _part(x: View, rows: Selection, cols: Selection) -> View:
    """The view by the slices."""
    shape, strides, pointer = list(x.shape), list(x.strides), x.pointer
    for axis, selection in ((-2, rows), (-1, cols)):
        chosen = range(*selection.part.indices(shape[axis]))
        pointer += chosen.start * strides[axis] * x.itemsize if len(chosen) else 0
        shape[axis] = len(chosen)
        strides[axis] *= chosen.step
    return x._replace(pointer=pointer, shape=tuple(shape), strides=tuple(strides))


def _lengths(part: View, rows: Selection, cols: Selection) -> tuple[int, int]:
    """How many rows and columns are selected."""
    return (
        part.shape[-2] if rows.indices is None else rows.indices.shape[0],
        part.shape[-1] if cols.indices is None else cols.indices.shape[0],
    )


def _empty_like(x: View, shape: tuple[int, ...]) -> tuple[Any, View]:
    """A new array in whose memory those of the last two axes lie as in x."""
    if abs(x.strides[-2]) >= abs(x.strides[-1]):
        return empty(shape, x.dtype, x)
    made, target = empty((*shape[:-2], shape[-1], shape[-2]), x.dtype, x)
    n = x.ndim
    turned = x.library.permuted(made, (*range(n - 2), n - 1, n - 2))
    return empty(shape, x.dtype, x) if turned is None else (turned, _turned(target))


def _turned(x: View) -> View:
    """The last two axes exchanged."""
    n = x.ndim
    return x.transposed((*range(n - 2), n - 1, n - 2))


def _fitted(values: View, shape: tuple[int, ...]) -> View:
    """The values, if they broadcast to the shape; as in NumPy, leading axes of length 1 may go."""
    fitted = values
    while fitted.ndim > len(shape) and fitted.shape[0] == 1:
        fitted = fitted._replace(shape=fitted.shape[1:], strides=fitted.strides[1:])
    pairs = zip(fitted.shape[::-1], shape[::-1], strict=False)
    if fitted.ndim > len(shape) or not all(n in (1, length) for n, length in pairs):
        raise ValueError(f"values has shape {values.shape}, which does not broadcast to {shape}")
    return fitted


_Launch = Callable[[int, int, int, tuple[int, ...]], None]  # pointers, count, other numbers


def _each_batch(
    source: View, target: View, lengths: tuple[int, int], columns: int, launch: _Launch
) -> None:
    """Launch for up to two axes of a batch at a time; `columns` are what one index counts."""
    axes = [
        (n, (s, t))
        for n, s, t in zip(target.shape[:-2], source.strides[:-2], target.strides[:-2], strict=True)
        if n > 1
    ]
    batch = merged(axes)
    rows, cols = lengths
    cols //= columns
    while len(batch) > 2 or np.prod([n for n, _ in batch], dtype=object) * rows * cols > MOST:
        if not batch:
            raise ValueError(f"{rows} rows and {cols} columns are too many for one call")
        n, (s, t) = batch[0]
        rest = _one_axis(source, target, batch[1:])
        for i in range(n):
            one, other = (
                v._replace(pointer=v.pointer + i * step * v.itemsize)
                for v, step in zip(rest, (s, t), strict=True)
            )
            _each_batch(one, other, lengths, columns, launch)
        return
    full = [*batch[::-1], *[(1, (0, 0))] * (2 - len(batch))]
    sizes = [cols, rows, full[0][0]]
    last = 1 + len(batch)  # the axis whose index is all that is left
    divisors: list[int] = []
    for k, n in enumerate(sizes):
        divisors += (1, 0, 0) if k >= last else (n, *divisor(n))
    steps = [
        stride
        for which, v in enumerate((source, target))
        for stride in (v.strides[-1], v.strides[-2], full[0][1][which], full[1][1][which])
    ]
    count = cols * rows * full[0][0] * full[1][0]
    launch(source.pointer, target.pointer, count, (*divisors, *steps))


def _one_axis(source: View, target: View, batch: list[Any]) -> tuple[View, View]:
    """Views whose axes are those of a batch and the last two."""
    shape = tuple(n for n, _ in batch)
    found = []
    for which, v in enumerate((source, target)):
        strides = (*(s[which] for _, s in batch), *v.strides[-2:])
        found.append(v._replace(shape=(*shape, *v.shape[-2:]), strides=strides))
    return found[0], found[1]


def _across(target: View) -> bool:
    """Whether rows rather than columns lie side by side."""
    return abs(target.strides[-2]) < abs(target.strides[-1])


def _move(
    source: View, target: View, rows: View | None, cols: View | None, into: bool, stream: int
) -> None:
    """Copy from what is selected of the source, or into what is selected of the target."""
    if _across(target):
        source, target, rows, cols = _turned(source), _turned(target), cols, rows
    whole, part = (target, source) if into else (source, target)
    size, device = target.itemsize, target.device
    wide = cols is None and size < WIDE and _aligned(source) and _aligned(target)
    wide = wide and part.shape[-1] * size % WIDE == 0
    kernel = kernels.moving(kernels.Moving(size, wide, rows is not None, cols is not None, into))
    lasts = [
        _last(indices, n, stream) if into and indices is not None else None
        for indices, n in ((rows, whole.shape[-2]), (cols, whole.shape[-1]))
    ]
    fixed = [0 if v is None else v.pointer for v in (rows, cols, *lasts)]
    each = THREADS * kernels.runs_at_once(size)

    def launch(read: int, written: int, count: int, numbers: tuple[int, ...]) -> None:
        arguments = (read, written, *fixed, count, 0, *numbers)
        kernel(-(-count // each), arguments, stream, device)

    lengths = part.shape[-2], part.shape[-1]
    _each_batch(source, target, lengths, WIDE // size if wide else 1, launch)


def _aligned(x: View) -> bool:
    """Whether runs of 16 bytes along the columns can be moved by one access."""
    size = x.itemsize
    return (
        x.strides[-1] == 1
        and x.pointer % WIDE == 0
        and not any(
            s * size % WIDE for s, n in zip(x.strides[:-1], x.shape[:-1], strict=True) if n > 1
        )
    )


def _last(indices: View, length: int, stream: int) -> View:
    """The place of the last of equal indices, for each that there may be."""
    last = scratch((length,), "int32", indices)
    fill(last, None, None, b"\xff" * 4, last, True, stream)
    (count,) = indices.shape
    arguments = indices.pointer, count, last.pointer
    kernels.marking()(-(-count // THREADS), arguments, stream, indices.device)
    return last


def _add_up(g: View, rows: View | None, cols: View | None, target: View, stream: int) -> None:
    """Sums of the cotangent over all places of each index."""
    if _across(target):
        g, target, rows, cols = _turned(g), _turned(target), cols, rows
    kernel = kernels.adding(g.dtype, rows is not None, cols is not None)
    lists: list[View | None] = []
    for indices, n in ((rows, target.shape[-2]), (cols, target.shape[-1])):
        lists += (None, None) if indices is None else places(indices, n, stream)
    fixed = [0 if v is None else v.pointer for v in lists]

    def launch(read: int, written: int, count: int, numbers: tuple[int, ...]) -> None:
        blocks = -(-count // THREADS)
        kernel(blocks, (read, written, *fixed, count, *numbers), stream, target.device)

    _each_batch(g, target, (target.shape[-2], target.shape[-1]), 1, launch)
