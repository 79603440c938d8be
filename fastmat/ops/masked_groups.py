"""What masked reductions share: the mask, the calls of the kernels, results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array, like, native
from fastmat.core.checks import check_out
from fastmat.core.dtypes import DType, kernel_name, unsupported
from fastmat.cpu.kinds import VALUES
from fastmat.ops.groups import ScatteredError, grouped, normalized_axes
from fastmat.ops.statistics import Axes, entry_of, views_of

_NO_CENTER = np.zeros((1,) * 5)
_AXES_OF_A_GROUP = 3


class Masked(NamedTuple):
    """Numbers, and which of them are valid."""

    array: Array
    mask: Array  # True is valid; of as many axes as the array, with length 1 where it is alike
    axes: Axes
    from_masked_array: bool


def masked(x: Any, mask: Any, axis: Any) -> Masked:
    """The arguments of a masked reduction."""
    array = as_array(x, "x")
    if kernel_name(array.dtype) is None:
        raise unsupported("x", array.dtype)
    axes = normalized_axes(axis, array.ndim)
    own = isinstance(x, np.ma.MaskedArray)
    valid = _mask_for(mask, array, own)
    if own and x.mask is not np.ma.nomask:
        valid = ~np.ma.getmaskarray(x) if mask is None else valid & ~np.ma.getmaskarray(x)
    return Masked(native(array), valid, axes, own)


def _mask_for(given: Any, array: Array, optional: bool) -> Array:
    """The mask with as many axes as the array, each of its length or 1; never a copy."""
    if given is None and optional:
        return np.ones((1,) * array.ndim, bool)
    mask = as_array(given, "mask")
    if mask.dtype != bool:
        raise TypeError(f"mask has dtype {mask.dtype}; it must be bool, where True means valid")
    lengths = (1,) * (array.ndim - mask.ndim) + mask.shape
    fits = len(lengths) == array.ndim and all(
        n in (1, full) for n, full in zip(lengths, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"mask has shape {mask.shape}, which does not broadcast to {array.shape}, that of x"
        )
    mask = mask.reshape(lengths) if mask.ndim < array.ndim else mask
    alike = (n > 1 and stride == 0 for n, stride in zip(mask.shape, mask.strides, strict=True))
    return mask[tuple(slice(1) if same else slice(None) for same in alike)]


def kept_shape(found: Masked) -> tuple[int, ...]:
    """The lengths of results before axes are dropped: 1 along those that are reduced."""
    return tuple(1 if i in found.axes else n for i, n in enumerate(found.array.shape))


def result_shape(found: Masked, keepdims: bool) -> tuple[int, ...]:
    """The shape of the result."""
    if keepdims:
        return kept_shape(found)
    return tuple(n for i, n in enumerate(found.array.shape) if i not in found.axes)


def masked_views(
    found: Masked, inputs: list[Array], outputs: list[Array]
) -> Iterator[tuple[Array, ...]]:
    """The arrays as kernels take them: numbers, mask, the other inputs, outputs.

    Where axes are too scattered, the mask is repeated along as few of them as will do; only if
    that is in vain the numbers are copied, too.
    """
    array, mask, axes, _ = found
    repeated = [i for i in reversed(axes) if mask.shape[i] < array.shape[i]]
    for i in [-1, *repeated]:
        if i >= 0:
            mask = _repeated(mask, i, array)
        try:
            yield from grouped(axes, array, mask, *inputs, *outputs)
        except ScatteredError:
            continue
        return
    yield from views_of(axes, [array, mask, *inputs], outputs)


def _repeated(mask: Array, axis: int, array: Array) -> Array:
    """The mask written out along an axis; it then lies in memory as the array does."""
    lengths = [n if k == axis else mask.shape[k] for k, n in enumerate(array.shape)]
    order = sorted(range(array.ndim), key=lambda k: -abs(array.strides[k]))
    ordered = np.broadcast_to(mask, lengths).transpose(order)
    return np.ascontiguousarray(ordered).transpose(np.argsort(order))


def bits_of(dtype: DType) -> int:
    """The bits of an integer in those that the kernels of signed ones extend it to."""
    return 2 ** (8 * dtype.itemsize) - 1 if dtype.kind == "u" and dtype.itemsize < 8 else -1


def sums(found: Masked, kind: int = VALUES, center: Array | None = None) -> tuple[Array, Array]:
    """Sums of the valid numbers, and how many there are; in float64, complex128 or 64 bits."""
    array = found.array
    if array.dtype.kind == "c":
        real, count = sums(found._replace(array=array.real))
        imaginary, _ = sums(found._replace(array=array.imag))
        return _complex(real, imaginary), count
    shape = kept_shape(found)
    total = np.zeros(shape, np.int64 if array.dtype.kind in "biu" else np.float64)
    count = np.zeros(shape, np.int64)
    if array.size:
        entry = entry_of("masked_reductions", "masked_sums", array.dtype)
        inputs = [] if center is None else [center]
        for x, mask, *rest in masked_views(found, inputs, [total, count]):
            middle = rest[0] if inputs else _NO_CENTER
            entry(x, mask, middle, *rest[-2:], bits_of(array.dtype), kind)
    return total.view(np.uint64) if array.dtype.kind == "u" else total, count


def counted(found: Masked) -> Array:
    """How many numbers of each group are valid: what is repeated of the mask is counted once."""
    everything = np.ones((1,) * found.mask.ndim, bool)
    total, _ = sums(Masked(found.mask, everything, found.axes, False))
    repeated = 1
    for i in found.axes:
        repeated *= found.array.shape[i] if found.mask.shape[i] == 1 else 1
    return np.broadcast_to(total * repeated, kept_shape(found))


def moments(found: Masked) -> tuple[Array, Array, Array]:
    """Means of the valid numbers, sums of squares of deviations from them, and how many."""
    array = found.array
    if array.dtype.kind == "c":
        real, total, count = moments(found._replace(array=array.real))
        imaginary, more, _ = moments(found._replace(array=array.imag))
        return _complex(real, imaginary), total + more, count
    if array.dtype == np.uint64:  # shares the kernels of int64, of which half is negative
        found = found._replace(array=array.astype(np.float64))
    shape = kept_shape(found)
    mean, total, count = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape, np.int64)
    if array.size:
        entry = entry_of("masked_reductions", "masked_moments", found.array.dtype)
        for views in masked_views(found, [], [mean, total, count]):
            entry(*views, bits_of(found.array.dtype))
    return mean, total, count


def extremes(found: Masked, largest: bool, places: bool) -> tuple[Array, Array, Array]:
    """Extreme numbers in the dtype of the array, their first places, and how many are valid."""
    array = found.array
    if array.dtype.kind == "c":
        raise TypeError(f"x has dtype {array.dtype}; it must be real, so that it has an order")
    integer = array.dtype.kind in "biu"
    shape = kept_shape(found)
    least = np.zeros(shape, np.int64 if integer else np.float64)
    where, count = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    turn = turn_of(array.dtype, largest)
    if array.size:
        entry = entry_of("masked_reductions", "masked_extremes", array.dtype)
        steps: tuple[int, ...] = (0, 0, 1)
        views: Any = masked_views(found, [], [least, where, count])
        if places and len(found.axes) > 1:
            steps, views = _in_order(found, [least, where, count])
        for view in views:
            entry(*view, *steps, turn, places)
    values: Any = np.bitwise_xor(least, turn) if integer else least * turn
    with np.errstate(over="ignore"):
        return values.astype(array.dtype), where, count


def turn_of(dtype: DType, largest: bool) -> int:
    """What makes the wanted number the least: a factor of floats, what changes integers."""
    if dtype.kind not in "biu":
        return -1 if largest else 1
    if dtype.kind == "b":
        return int(largest)
    turn = -1 if largest else 0
    return turn ^ -(2 ** (8 * dtype.itemsize - 1)) if dtype.kind == "u" else turn


def _in_order(
    found: Masked, outputs: list[Array]
) -> tuple[tuple[int, ...], Iterator[tuple[Array, ...]]]:
    """Views of a single group, and by how much a step along its axes moves on in C order.

    Axes are joined only as they follow each other, unlike in `grouped`, so that places along the
    joined axis are in order.
    """
    array, mask = found.array, found.mask
    runs = _runs_in_order(array, mask)
    if len(runs) > _AXES_OF_A_GROUP:
        array, mask = np.ascontiguousarray(array), np.broadcast_to(mask, array.shape)
        mask = np.ascontiguousarray(mask)
        runs = _runs_in_order(array, mask)
    runs.sort(key=lambda run: -abs(array.strides[run[-1]]))
    steps = [math.prod(array.shape[run[-1] + 1 :]) for run in runs]
    missing = _AXES_OF_A_GROUP - len(runs)
    slots = [*[[]] * missing, *runs]
    order = [*itertools.chain(*slots)]
    rest = [axis for axis in range(array.ndim) if axis not in order]
    views = [
        x.transpose(rest + order).reshape(
            1, 1, *(math.prod(x.shape[axis] for axis in run) for run in slots)
        )
        for x in (array, mask)
    ]
    single = [x.reshape((1,) * 5) for x in outputs]
    return (*[0] * missing, *steps), iter([(*views, *single)])


def _runs_in_order(array: Array, mask: Array) -> list[list[int]]:
    runs: list[list[int]] = []
    for axis in (axis for axis in range(array.ndim) if array.shape[axis] > 1):
        if runs and all(_follows(x, runs[-1][-1], axis) for x in (array, mask)):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs


def _follows(x: Array, a: int, b: int) -> bool:
    if x.shape[a] == 1 or x.shape[b] == 1:
        return bool(x.shape[a] == x.shape[b])
    return bool(x.strides[a] == x.shape[b] * x.strides[b])


def result_of(
    value: Array, missing: Array, found: Masked, keepdims: bool, dtype: DType, out: Any, x: Any
) -> Any:
    """The result as the caller wants it, from one with all axes; masked where it is missing."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = value.reshape(result_shape(found, keepdims)).astype(dtype, copy=False)
    missing = missing.reshape(result.shape)
    if out is not None:
        target = out if isinstance(out, np.ndarray) else np.from_dlpack(out)
        np.copyto(np.asarray(target), result, casting="same_kind")
        if isinstance(out, np.ma.MaskedArray):
            out.mask = missing if found.from_masked_array else np.ma.nomask
        return out
    if not found.from_masked_array:
        return like(result, x)
    if result.ndim == 0:
        return np.ma.masked if missing else result[()]
    return np.ma.MaskedArray(result, missing)


def check_result(out: Any, found: Masked, keepdims: bool, dtype: DType) -> None:
    """Raise unless the result can be written to `out`, before anything is computed."""
    if out is not None:
        check_out(out, result_shape(found, keepdims), dtype)


def _complex(real: Array, imaginary: Array) -> Array:
    both = np.empty(real.shape, np.complex128)
    both.real, both.imag = real, imaginary
    return both


def scalar(initial: Any, dtype: DType) -> Array:
    """What a reduction starts with, in this dtype."""
    number = np.asarray(initial)
    if number.shape or number.dtype.kind not in ("biufc" if dtype.kind == "c" else "biuf"):
        raise TypeError(f"initial is {initial!r}; it must be a number as x has them")
    if dtype.kind in "iu" and number.dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if not limits.min <= int(number) <= limits.max:
            raise ValueError(f"initial is {initial!r}; it must fit into {dtype}")
    return number.astype(dtype)
