"""What the operations on groups share: arguments on a GPU, and how they lie."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmat.core.dtypes import SUPPORTED
from fastmat.cuda import arrays, copy, row_shapes
from fastmat.cuda.arrays import View
from fastmat.cuda.reduced import zero_kernel
from fastmat.cuda.reduced_launch import reduce

Axes = tuple[int, ...]
FLOATS = ("float16", "bfloat16", "float32", "float64")
REAL = tuple(name for name in SUPPORTED if not name.startswith("complex"))


def real(x: Any, name: str) -> View:
    """An array of real numbers."""
    found = arrays.view(x, name)
    if found.dtype not in REAL:
        raise TypeError(f"{name} has dtype {found.dtype}; it must be real")
    return found


def floating(dtype: str) -> str:
    """What results have for numbers of a dtype: integers and bool count as float64."""
    return dtype if dtype in FLOATS or dtype.startswith("complex") else "float64"


def computed(dtype: str) -> str:
    """What is computed with for results of a dtype."""
    return "float64" if dtype == "float64" else "float32"


def mask_of(given: Any, x: View, name: str) -> View:
    """A mask with as many axes as x, of length 1 where it is alike."""
    found = arrays.view(given, "mask")
    if found.dtype != "bool":
        raise TypeError(f"mask has dtype {found.dtype}; it must be bool")
    missing = x.ndim - found.ndim
    shape = (1,) * missing + found.shape
    if missing < 0 or any(n not in (1, m) for n, m in zip(shape, x.shape, strict=True)):
        raise ValueError(
            f"mask has shape {found.shape}; it must broadcast to {x.shape}, the shape of {name}"
        )
    return found._replace(shape=shape, strides=(0,) * missing + found.strides)


class Scattered(NamedTuple):
    """Copies of arrays whose axes kernels could not take as they lay."""

    axes: Axes
    inputs: tuple[View, ...]
    output: View
    wanted: View  # where `output` is to be copied to, unless it is there

    def deliver(self, stream: int) -> None:
        """Copy the result to where it belongs."""
        if self.output.pointer != self.wanted.pointer:
            copy.copy(self.output, self.wanted, stream)


def gathered(
    axes: Axes, inputs: tuple[View, ...], output: View, in_order: bool = False
) -> Scattered:
    """Copies of inputs in which groups lie side by side, and room for the output.

    The first input has the full shape; the others, and the output, have it, too, or length 1.
    """
    shape = inputs[0].shape
    order = [*(i for i in range(len(shape)) if i not in axes), *axes]
    read = tuple(_side_by_side(x, shape, axes, order) for x in inputs)
    wanted = output.transposed(order)
    written = wanted if wanted.contiguous else arrays.empty(wanted.shape, output.dtype, output)[1]
    shape = tuple(shape[i] for i in order)
    axes = tuple(range(len(shape) - len(axes), len(shape)))
    strides = tuple(row_shapes.repeated(x.shape, x.strides, shape) for x in (*read, written))
    if row_shapes.grouped(axes, shape, strides, in_order) is None:
        read = tuple(copy.packed(x.broadcast_to(shape)) for x in read)
    return Scattered(axes, read, written, wanted)


def _side_by_side(x: View, shape: tuple[int, ...], axes: Axes, order: list[int]) -> View:
    """A copy in whose memory the numbers of a group lie side by side."""
    if any(x.shape[i] > 1 for i in axes):
        x = x.broadcast_to([shape[i] if i in axes else n for i, n in enumerate(x.shape)])
    return copy.packed(x.transposed(order))


def overlaps(out: View, inputs: tuple[View | None, ...]) -> bool:
    """Whether an array to write to shares memory with what is read, but not each item."""
    for x in inputs:
        if x is None or not copy.may_overlap(out, x):
            continue
        same = (out.pointer, out.strides, out.dtype) == (x.pointer, x.strides, x.dtype)
        if not same or out.shape != x.shape:
            return True
    return False


def reduced_shapes(
    shape: tuple[int, ...], axes: Axes, keepdims: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of a result with length 1 along the axes that are reduced, and as it is wanted."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return kept, kept if keepdims else tuple(n for i, n in enumerate(shape) if i not in axes)


def with_axes(x: View, kept: tuple[int, ...]) -> View:
    """The view with axes of length 1 put in, so that it has this shape."""
    if x.shape == kept:
        return x
    strides = iter(zip(x.shape, x.strides, strict=True))
    found = []
    here = next(strides, None)
    for n in kept:
        if here is not None and here[0] == n:
            found.append(here[1])
            here = next(strides, None)
        else:
            found.append(0)
    return x._replace(shape=kept, strides=tuple(found))


def reduced(
    how: tuple[Any, tuple[str, ...]],
    x: View,
    mask: View | None,
    axes: Axes,
    keepdims: bool,
    dtype: str,
    out: Any,
    parameters: tuple[Any, Any, int] = (0, 0, 1),
    complain: str = "",
    in_order: bool = False,
) -> Any:
    """The result of a reduction, see `fastmat.cuda.reduced`.

    Raises ValueError with the message `complain`, if that is not empty, where there is a group
    without numbers; the caller then waits for the GPU.
    """
    kept, shape = reduced_shapes(x.shape, axes, keepdims)
    array, target = arrays.target(out, shape, dtype, x)
    if target.size == 0:
        return array
    stream = arrays.stream_of(x)
    written = target
    if out is not None and (complain or overlaps(target, (x, mask))):
        _, written = arrays.empty(shape, dtype, x)
    if complain:
        flags, missing = arrays.empty((1,), "int32", x)
        zero_kernel()(1, (missing.pointer,), stream, x.device)
    else:
        flags = missing = None
    narrow = with_axes(written, kept)
    if not reduce(*how, axes, x, mask, narrow, stream, parameters, missing, in_order):
        copies = gathered(axes, (x,) if mask is None else (x, mask), narrow, in_order)
        x, *rest = copies.inputs
        mask = rest[0] if rest else None
        served = reduce(
            *how, copies.axes, x, mask, copies.output, stream, parameters, missing, in_order
        )
        assert served, copies
        copies.deliver(stream)
    if complain and int(flags[0]):
        raise ValueError(complain)
    if written is not target:
        copy.copy(written, target, stream)
    return array
