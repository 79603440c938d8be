"""What the operations on groups of numbers share on a GPU: arguments, statistics, results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastmat.cuda import normalization
from fastmat.cuda.arrays import View, c_strides, empty, stream_of, target, view
from fastmat.cuda.copy import may_overlap
from fastmat.cuda.launch_norms import GROUP_BLOCK, MAP_BLOCK, pieces_for, shape_for
from fastmat.cuda.moments import PLANES, finish, measure
from fastmat.cuda.statistics import given as given_kernel
from fastmat.ops.on_gpu.groups import mask_of
from fastmat.ops.on_gpu.strided import copied, grouped, mapped

Axes = tuple[int, ...]
Strides = tuple[int, ...]
REAL = ("float16", "bfloat16", "float32", "float64")
_COMPLEX = ("complex64", "complex128")


def number_of(dtype: str) -> str:
    """What is computed with for numbers of this dtype."""
    return "float64" if dtype in ("float64", "complex128") else "float32"


def numbers_of(x: Any, complex_too: bool = False, name: str = "x") -> View:
    """`x` as an array of floating numbers."""
    found = view(x, name)
    if found.dtype in REAL:
        return found
    if found.dtype in _COMPLEX:
        if not complex_too:
            raise TypeError(f"{name} has dtype {found.dtype}; it must be real")
        return found
    return copied(found, "float64")


def converted(given: Any, name: str, x: View) -> View:
    """An argument of the shape and dtype of x, converted from another dtype of real numbers."""
    found = view(given, name)
    if found.dtype in _COMPLEX and x.dtype not in _COMPLEX:
        raise TypeError(f"{name} has dtype {found.dtype}; it must be real numbers")
    if found.shape != x.shape:
        raise ValueError(f"{name} has shape {found.shape}; it must have {x.shape}, as x")
    if found.dtype == x.dtype:
        return found
    if x.dtype in _COMPLEX:
        raise TypeError(
            f"{name} has dtype {found.dtype}; it does not run on GPUs with another dtype than "
            f"{x.dtype}, that of x"
        )
    return copied(found, x.dtype)


def mask_for(given: Any, x: View) -> View:
    """A mask of the shape of x."""
    return mask_of(given, x, "x").broadcast_to(x.shape)


def parameter_for(given: Any, name: str, lengths: Axes) -> View | None:
    """Weight or bias, of a real dtype and these lengths."""
    if given is None:
        return None
    found = view(given, name)
    if found.dtype in _COMPLEX:
        raise TypeError(f"{name} has dtype {found.dtype}; it must be real numbers")
    if found.shape != lengths:
        raise ValueError(f"{name} has shape {found.shape}; it must have {lengths}")
    return found


def parameters_for(x: View, weight: Any, bias: Any, lengths: Axes) -> list[View | None]:
    """Weight and bias in C order and of one floating dtype, or None."""
    found = [parameter_for(weight, "weight", lengths), parameter_for(bias, "bias", lengths)]
    dtypes = {p.dtype for p in found if p is not None}
    if len(dtypes) == 1 and dtypes <= set(REAL):
        return [p if p is None or p.contiguous else copied(p, p.dtype) for p in found]
    return [None if p is None else copied(p, number_of(x.dtype)) for p in found]


def along(lengths: Axes, axes: Axes, ndim: int) -> Strides:
    """Strides, in the axes of x, of an array in C order that has some of these axes."""
    strides = [0] * ndim
    for axis, step in zip(axes, c_strides(lengths), strict=True):
        strides[axis] = step
    return tuple(strides)


def kept_shape(shape: Axes, axes: Axes) -> Axes:
    """The lengths of statistics: 1 along the axes of a group."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def kept_strides(shape: Axes, axes: Axes) -> Strides:
    """Strides, in the axes of x, of statistics in C order."""
    kept = [i for i in range(len(shape)) if i not in axes]
    return along(tuple(shape[i] for i in kept), tuple(kept), len(shape))


def groups_of(shape: Axes, axes: Axes) -> int:
    """How many groups there are."""
    return math.prod(n for i, n in enumerate(shape) if i not in axes)


class Measured:
    """What was measured of groups: center in two parts, factor and count, and the spread."""

    def __init__(self, planes: View, spread: View, groups: int, center: View | None = None) -> None:
        self.planes, self.spread, self.groups, self.center = planes, spread, groups, center

    def plane(self, which: int) -> int:
        """The address of a plane."""
        if which == 0 and self.center is not None:
            return self.center.pointer
        return self.planes.pointer + which * self.groups * self.planes.itemsize


def measured(
    x: View,
    axes: Axes,
    kind: str,
    rule: str,
    eps: float,
    mask: View | None = None,
    statistics: tuple[View, View] | None = None,
) -> Measured:
    """Measure groups over some axes; mean and rstd go to `statistics`, in float64."""
    number, stream, device = number_of(x.dtype), stream_of(x), x.device
    groups = groups_of(x.shape, axes)
    result, spread = empty((PLANES, groups), number, x)[1], empty((groups,), number, x)[1]
    own = kept_strides(x.shape, axes)
    mask_strides = mask.strides if mask is not None else (0,) * x.ndim
    mask_pointer = 0 if mask is None else mask.pointer
    pieces, partial = 0, result
    for part in grouped(x.shape, axes, x.strides, own, mask_strides) if x.size else ():
        shape = shape_for(part.numbers, part.across)
        if not pieces:
            pieces, length = pieces_for(part.groups, part.numbers, shape)
            partial = empty((PLANES, pieces, groups), number, x)[1]
        run = 1
        if mask is None and not shape.across:
            run = part.run((x.pointer,), x.itemsize, (0,))
        kernel = measure(x.dtype, kind, mask is not None, part.depth, shape, run)
        at = part.offsets
        _, i, _, r, q = part.lengths
        arguments = (
            x.pointer + at[0] * x.itemsize, mask_pointer + at[2],
            partial.pointer + at[1] * partial.itemsize,
            part.groups, groups, pieces, length, part.numbers, i, r, q, *part.strides[1][:2],
            *part.strides[0], *part.strides[2],
        )  # fmt: skip
        kernel(-(-part.groups // shape.groups) * pieces, arguments, stream, device)
    if groups:
        mean, rstd = (0, 0) if statistics is None else (s.pointer for s in statistics)
        finishing = finish(number, kind, rule, statistics is not None)
        finished = (
            partial.pointer, result.pointer, spread.pointer, mean, rstd, groups, pieces, eps
        )  # fmt: skip
        finishing(-(-groups // GROUP_BLOCK.groups), finished, stream, device)
    return Measured(result, spread, groups)


def apply(
    x: View,
    statistics: Measured,
    stat_strides: Strides,
    parameters: Sequence[View | None],
    parameter_strides: Strides,
    y: View,
    mask: View | None = None,
    activation: Any = None,
) -> None:
    """Write ``(x - center) * factor * weight + bias``; 0 where it is masked."""
    if x.size == 0:
        return
    weight, bias = parameters
    given = weight if weight is not None else bias
    mask_strides = mask.strides if mask is not None else (0,) * x.ndim
    stream, item = stream_of(x), statistics.planes.itemsize
    weight_item = 0 if given is None else given.itemsize
    everything = x.strides, mask_strides, parameter_strides, stat_strides, y.strides
    for part in mapped(x.shape, *everything):
        run = part.run((x.pointer, 0, 0, 0, y.pointer), x.itemsize, (0, 4))
        at = part.offsets
        variant = normalization.Map(
            x.dtype,
            None if given is None else given.dtype,
            weight is not None,
            bias is not None,
            mask is not None,
            part.strides[3][3] != 0,
            part.strides[2][3] != 0,
            activation,
            run,
        )
        kernel = normalization.apply(variant, part.depth)
        sizes = part.lengths_and_divisors(run)
        arguments = (
            x.pointer + at[0] * x.itemsize,
            0 if mask is None else mask.pointer + at[1],
            0 if weight is None else weight.pointer + at[2] * weight_item,
            0 if bias is None else bias.pointer + at[2] * weight_item,
            *(statistics.plane(k) + at[3] * item for k in range(3)),
            y.pointer + at[4] * y.itemsize,
            *sizes,
            *(step for strides in part.strides for step in strides),
        )
        kernel(-(-sizes[0] // MAP_BLOCK), arguments, stream, x.device)


class Target:
    """Where the result goes: `out` itself, unless what is still read lies there."""

    def __init__(
        self, out: Any, x: View, others: Sequence[View | None], same: Sequence[View] = ()
    ) -> None:
        self.array, self.final = target(out, x.shape, x.dtype, x)
        self.view = self.final
        if out is None:
            return
        f = self.final
        for other in (x, *same):
            if may_overlap(f, other) and (f.pointer, f.strides) != (other.pointer, other.strides):
                others = (*others, other)
        repeats = any(s == 0 and n > 1 for s, n in zip(f.strides, f.shape, strict=True))
        if repeats or any(other is not None and may_overlap(f, other) for other in others):
            self.view = empty(x.shape, x.dtype, x)[1]

    def delivered(self) -> Any:
        """The result as the caller wants it."""
        if self.view is not self.final:
            copied(self.view, self.view.dtype, self.final)
        return self.array


def as_pairs(x: View) -> View:
    """Complex numbers as pairs of real ones, along a last axis."""
    part = "float64" if x.dtype == "complex128" else "float32"
    strides = (*(2 * s for s in x.strides), 1)
    return x._replace(shape=(*x.shape, 2), strides=strides, dtype=part)


def split_statistics(
    mean: View | None,
    second: View,
    like: View,
    eps: float | None = None,
    outputs: tuple[View, View] | None = None,
) -> Measured:
    """Statistics that are given, as kernels read them; mean and rstd go to `outputs`, in float64.

    `second` is rstd, or the variance if there is an `eps` to add to it.
    """
    if mean is not None and mean.dtype != second.dtype:
        mean, second = copied(mean, "float64"), copied(second, "float64")
    if mean is not None and not mean.contiguous:
        mean = copied(mean, mean.dtype)
    if not second.contiguous:
        second = copied(second, second.dtype)
    groups, number = second.size, number_of(like.dtype)
    planes = empty((3, groups), number, like)[1]
    if groups:
        how = eps is not None, mean is not None, outputs is not None
        kernel = given_kernel(number, second.dtype, *how)
        written = (0, 0) if outputs is None else (outputs[0].pointer, outputs[1].pointer)
        pointers = 0 if mean is None else mean.pointer, second.pointer, planes.pointer, *written
        kernel(
            -(-groups // kernel.threads), (*pointers, groups, eps or 0.0), stream_of(like),
            like.device,
        )  # fmt: skip
    return Measured(planes, planes, groups)
