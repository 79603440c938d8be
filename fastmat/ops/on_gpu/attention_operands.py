"""Arguments of attention on GPUs: what they must be, and how kernels see them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastmat.cuda.arrays import View, empty, view
from fastmat.cuda.planes import THREADS, add_planes
from fastmat.ops.attention import FLOATING
from fastmat.ops.statistics import number

HALVES = ("float16", "bfloat16")
Shape = tuple[int, ...]
Plane = tuple[int, int, int, int, int]  # pointer, and strides of four axes
_NOTHING: Plane = (0, 0, 0, 0, 0)


def computed(dtype: str) -> str:
    """What kernels compute with."""
    return "float64" if dtype == "float64" else "float32"


def read(q: Any, k: Any, v: Any) -> list[View]:
    """Where queries, keys and values lie."""
    views = [floating(x, name) for x, name in ((q, "q"), (k, "k"), (v, "v"))]
    for x, name in zip(views, "qkv", strict=True):
        if x.ndim < 2:
            raise ValueError(f"{name} has shape {x.shape}; it must have two or more dimensions")
    return views


def floating(x: Any, name: str, others: tuple[str, ...] = ()) -> View:
    """Where an array of floating numbers lies."""
    found = view(x, name)
    if found.dtype not in FLOATING + others:
        wanted = ", ".join((*others, *FLOATING[:-1]))
        raise TypeError(f"{name} has dtype {found.dtype}; it must be {wanted} or {FLOATING[-1]}")
    return found


def promoted(views: Sequence[View]) -> str:
    """The dtype of the result."""
    names = {x.dtype for x in views}
    if len(names) == 1:
        return names.pop()
    if names == {"float16", "bfloat16"}:
        raise TypeError("q, k and v have dtypes float16 and bfloat16, which cannot be promoted")
    return "float64" if "float64" in names else "float32"


def shape_of(q: View, k: View, v: View) -> tuple[Shape, int, int]:
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
    batch = q.shape[:-2]
    if batch != k.shape[:-2] or batch != v.shape[:-2]:
        try:
            batch = np.broadcast_shapes(*(x.shape[:-2] for x in (q, k, v)))
        except ValueError:
            raise ValueError(
                f"q, k and v have shapes {q.shape}, {k.shape} and {v.shape}, "
                "whose leading dimensions do not broadcast"
            ) from None
    return batch, q.shape[-2], k.shape[-2]


def mask_of(mask: Any, is_causal: bool, shape: Shape) -> tuple[str | None, View | None]:
    """The kind of the mask, and where it lies, broadcast to this shape."""
    if mask is None:
        return ("causal" if is_causal else None), None
    if is_causal:
        raise ValueError("mask is given and is_causal is True; only one of them may be")
    found = floating(mask, "mask", ("bool",))
    try:
        return found.dtype, found.broadcast_to(shape)
    except ValueError:
        raise ValueError(
            f"mask has shape {found.shape}, which does not broadcast to {shape}: "
            "leading dimensions, queries, keys"
        ) from None


def scale_of(scale: float | None, q: View) -> float:
    """What scores are multiplied with."""
    if scale is None:
        return 1 / math.sqrt(max(q.shape[-1], 1))
    return number(scale, "scale")


def in_runs(x: View) -> bool:
    """Whether rows can be read by accesses of 16 bytes."""
    return x.pointer % 16 == 0 and _in_runs(x.shape[-1], x.strides, 16 // x.itemsize)


@functools.lru_cache(1024)
def _in_runs(columns: int, strides: Shape, run: int) -> bool:
    return strides[-1] == 1 and columns % run == 0 and all(s % run == 0 for s in strides[:-1])


def pairs_of_axes(
    batch: Shape, views: Sequence[View | None]
) -> Iterator[tuple[tuple[int, int], list[Plane]]]:
    """Pointers and strides of views that begin with the axes of `batch`, cut to two of these.

    Neighbouring axes that all views walk through in equal steps count as one.
    """
    steps = tuple([None if x is None else (x.strides, x.itemsize) for x in views])
    for lengths, planes in _pairs_of_axes(batch, steps):
        yield (
            lengths,
            [
                plane if x is None else (x.pointer + plane[0], *plane[1:])
                for x, plane in zip(views, planes, strict=True)
            ],
        )


@functools.lru_cache(1024)
def _pairs_of_axes(
    batch: Shape, arrays: tuple[tuple[Shape, int] | None, ...]
) -> list[tuple[tuple[int, int], list[Plane]]]:
    """The same for strides and itemsizes, with bytes from the pointers of arrays."""
    some = [x for x in arrays if x is not None]
    axes = [i for i, n in enumerate(batch) if n != 1]
    runs: list[tuple[int, list[int]]] = []  # length; strides in each view
    for axis in axes:
        steps = [strides[axis] for strides, _ in some]
        n = batch[axis]
        if runs and all(s == n * t for s, t in zip(runs[-1][1], steps, strict=True)):
            runs[-1] = (runs[-1][0] * n, steps)
        else:
            runs.append((n, steps))
    while len(runs) < 2:
        runs.insert(0, (1, [0] * len(some)))
    *looped, (outer, outer_steps), (heads, head_steps) = runs
    own = [(*strides[len(batch) :], 0, 0) for strides, _ in some]
    pairs = []
    for index in itertools.product(*(range(n) for n, _ in looped)):
        found = iter(
            (
                itemsize * sum(i * s[at] for i, (_, s) in zip(index, looped, strict=True)),
                outer_steps[at],
                head_steps[at],
                own[at][0],
                own[at][1],
            )
            for at, (_, itemsize) in enumerate(some)
        )
        pairs.append(((outer, heads), [_NOTHING if x is None else next(found) for x in arrays]))
    return pairs


def copy(x: View, out: View, stream: int, device: int) -> None:
    """``out[...] = x``, of one shape and any strides."""
    *batch, rows, columns = out.shape
    if not out.size:
        return
    kernel = add_planes(x.dtype, out.dtype)
    for (outer, heads), (source, target) in pairs_of_axes(tuple(batch), [x, out]):
        size = outer * heads * rows * columns
        sizes = heads, rows, columns, size, 1
        kernel(-(-size // THREADS), (*source, 0, *target, *sizes), stream, device)


def cast(x: View, dtype: str, stream: int, device: int) -> View:
    """The numbers in another dtype."""
    if x.dtype == dtype:
        return x
    _, target = empty(x.shape, dtype, x)
    copy(x, target, stream, device)
    return target


def add_up(x: View, shape: Shape, dtype: str, stream: int, device: int) -> tuple[Any, View]:
    """A C-contiguous array, added up over axes that were broadcast, from the first on."""
    new = x.ndim - len(shape)
    summed = [i < new or shape[i - new] != n for i, n in enumerate(x.shape)]
    runs = [
        (which, math.prod(n for _, n in group))
        for which, group in itertools.groupby(
            zip(summed, x.shape, strict=True), key=lambda pair: pair[0]
        )
    ]
    array = None
    while True:
        at = next(i for i, (which, _) in enumerate(runs) if which)
        count = runs.pop(at)[1]
        last = not any(which for which, _ in runs)
        before = math.prod(n for _, n in runs[:at])
        after = math.prod(n for _, n in runs[at:])
        size = before * after
        array, target = empty(shape if last else (size,), dtype if last else x.dtype, x)
        if size:
            add_planes(x.dtype, target.dtype)(
                -(-size // THREADS),
                (
                    x.pointer, 0, 0, count * after, 1, after,
                    target.pointer, 0, 0, after, 1, 1, before, after, size, count,
                ),
                stream,
                device,
            )  # fmt: skip
        if last:
            return array, target
        x = target
