"""What masked reductions share in compiled code: views of numbers and mask, kernels, results."""

from itertools import pairwise

import numpy as np
from numba import types
from numba.core import errors

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.cpu.kinds import TIES, VALUES
from fastmat.cpu.masked_reductions import masked_extremes, masked_moments, masked_sums
from fastmat.ops.masked_groups import bits_of, turn_of
from fastmat.overloads.groups import (
    check_output,
    constant,
    in_slots,
    is_joined,
    kept_only,
    only_number,
    plan,
    statistics_shape,
)
from fastmat.overloads.storing import store
from fastmat.overloads.typing import array_type, given, numba_dtype, numpy_dtype


def check_mask(mask, x):
    """A TypingError unless the mask can be one of `x`; a function that checks its lengths."""
    if array_type(mask, "mask").dtype != types.boolean:
        raise errors.TypingError(
            f"mask has dtype {mask.dtype}; it must be bool, where True means valid"
        )
    if mask.ndim > x.ndim:
        raise errors.TypingError(f"mask has {mask.ndim} dimensions; it must have up to {x.ndim}")
    ndim, missing = mask.ndim, x.ndim - mask.ndim

    def check(mask, x):
        for k in range(ndim):
            if mask.shape[k] != 1 and mask.shape[k] != x.shape[missing + k]:
                raise ValueError("mask does not broadcast to the shape of x")

    return inlined(check)


class Views:
    """Functions of arrays that view them in five axes.

    Axes of a contiguous `x` are joined if the mask allows it, which shows when the program runs.
    Otherwise the axes are left apart, or where they are too many for that the mask is copied.
    """

    def __init__(self, x, mask, axes):
        slots = plan(x, axes, join=True)
        joined = is_joined(slots)
        apart = _apart(x.ndim, axes)
        loose = slots if apart is None else apart
        tight_view, loose_view = in_slots(slots), in_slots(loose)
        check, mergeable = check_mask(mask, x), _mergeable(slots)
        copied = joined and apart is None

        @inlined
        def contiguous(x):
            return x

        if joined and x.layout != "C":
            contiguous = inlined(lambda x: np.ascontiguousarray(x))
        self.numbers = contiguous
        self.steps = _steps(slots, x.ndim), _steps(loose, x.ndim)

        @inlined
        def repeated(mask, x):
            check(mask, x)
            return np.broadcast_to(mask, x.shape)

        if x.ndim == 0:

            @inlined
            def repeated(mask, x):
                return mask

        elif copied:
            plain = repeated

            @inlined
            def repeated(mask, x):
                found = plain(mask, x)
                if not mergeable(found):
                    found = np.broadcast_to(np.ascontiguousarray(found), x.shape)
                return found

        self.repeated = repeated
        if joined and not copied:
            self.tight = mergeable
            self.view = inlined(
                lambda array, tight: tight_view(array) if tight else loose_view(array)
            )
        else:
            self.tight = inlined(lambda mask: True)
            self.view = inlined(lambda array, tight: tight_view(array))


def _apart(ndim, axes):
    """A plan that joins no axes, if there is one."""
    kept = [axis for axis in range(ndim) if axis not in axes]
    if len(kept) > 2 or len(axes) > 3:
        return None
    groups, numbers = [(axis,) for axis in kept], [(axis,) for axis in axes]
    return (*[()] * (2 - len(groups)), *groups, *[()] * (3 - len(numbers)), *numbers)


def _mergeable(slots):
    """A function that says whether an array of any strides can be viewed by a plan that joins."""
    pairs = tuple(pair for slot in slots for pair in pairwise(slot))
    if not pairs:
        return inlined(lambda mask: True)

    def mergeable(mask):
        for a, b in pairs:
            if mask.shape[a] > 1 and mask.strides[a] != mask.shape[b] * mask.strides[b]:
                return False
        return True

    return inlined(mergeable)


def _steps(slots, ndim):
    """A function of x: by how much one step along p, r and q moves on in the flattened array."""
    ends = tuple(slot[-1] + 1 if slot else ndim for slot in slots[2:])

    def steps(x):
        p = r = q = 1
        for axis in range(ends[0], ndim):
            p *= x.shape[axis]
        for axis in range(ends[1], ndim):
            r *= x.shape[axis]
        for axis in range(ends[2], ndim):
            q *= x.shape[axis]
        return p, r, q

    if ndim == 0:
        return inlined(lambda x: (0, 0, 1))
    return inlined(steps)


def _parts(x):
    """The type of the real or imaginary part of an array of complex numbers."""
    return x.copy(dtype=x.dtype.underlying_float, layout="A")


@inlined
def joined_parts(real, imaginary):
    """Complex numbers of their parts."""
    both = np.empty(real.shape, np.complex128)
    flat, a, b = both.reshape(both.size), real.reshape(real.size), imaginary.reshape(real.size)
    for g in range(flat.shape[0]):
        flat[g] = complex(a[g], b[g])
    return both


def summed(x, mask, axes):
    """A function (x, mask): sums of the valid numbers, and how many; with length 1 along axes."""
    dtype = numpy_dtype(x, "x")
    if dtype.kind == "c":
        part = summed(_parts(x), mask, axes)

        def both(x, mask):
            real, count = part(x.real, mask)
            return joined_parts(real, part(x.imag, mask)[0]), count

        return inlined(both)
    views, shape_of = Views(x, mask, axes), statistics_shape(x.ndim, axes)
    numbers, repeated, view, tight = views.numbers, views.repeated, views.view, views.tight
    total_type = np.int64 if dtype.kind in "biu" else np.float64
    keep = bits_of(dtype)

    def run(x, mask):
        shape = shape_of(x)
        total, count = np.zeros(shape, total_type), np.zeros(shape, np.int64)
        valid = repeated(mask, x)
        if x.size:
            how = tight(valid)
            a, m = view(numbers(x), how), view(valid, how)
            results = view(total, how), view(count, how)
            nothing = np.zeros((1, 1, 1, 1, 1))
            call_all(masked_sums, a.dtype, (a, m, nothing, *results, keep, VALUES))
        return total, count

    return inlined(run)


def tied(x, mask, axes):
    """A function (x, mask, center): how many valid numbers equal the center, and how many are."""
    views, shape_of = Views(x, mask, axes), statistics_shape(x.ndim, axes)
    numbers, repeated, view, tight = views.numbers, views.repeated, views.view, views.tight

    def run(x, mask, center):
        shape = shape_of(x)
        total, count = np.zeros(shape), np.zeros(shape, np.int64)
        valid = repeated(mask, x)
        if x.size:
            how = tight(valid)
            a, m, middle = view(numbers(x), how), view(valid, how), view(center, how)
            results = view(total, how), view(count, how)
            call_all(masked_sums, a.dtype, (a, m, middle, *results, -1, TIES))
        return total, count

    return inlined(run)


def measured(x, mask, axes):
    """A function (x, mask): means, sums of squares of deviations from them, and how many."""
    dtype = numpy_dtype(x, "x")
    if dtype.kind == "c":
        part = measured(_parts(x), mask, axes)

        def both(x, mask):
            real, total, count = part(x.real, mask)
            imaginary, more, _ = part(x.imag, mask)
            return joined_parts(real, imaginary), total + more, count

        return inlined(both)
    if dtype == np.uint64:  # shares the kernels of int64, of which half is negative
        wide = measured(x.copy(dtype=types.float64, readonly=False), mask, axes)
        return inlined(lambda x, mask: wide(x.astype(np.float64), mask))
    views, shape_of = Views(x, mask, axes), statistics_shape(x.ndim, axes)
    numbers, repeated, view, tight = views.numbers, views.repeated, views.view, views.tight
    keep = bits_of(dtype)

    def run(x, mask):
        shape = shape_of(x)
        mean, total, count = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape, np.int64)
        valid = repeated(mask, x)
        if x.size:
            how = tight(valid)
            a, m = view(numbers(x), how), view(valid, how)
            results = view(mean, how), view(total, how), view(count, how)
            call_all(masked_moments, a.dtype, (a, m, *results, keep))
        return mean, total, count

    return inlined(run)


def searched(x, mask, axes, largest, places):
    """A function (x, mask): extreme numbers as kernels order them, places, and how many."""
    dtype = numpy_dtype(x, "x")
    if dtype.kind == "c":
        raise errors.TypingError(f"x has dtype {dtype}; it must be real, so that it has an order")
    views, shape_of = Views(x, mask, axes), statistics_shape(x.ndim, axes)
    numbers, repeated, view, tight = views.numbers, views.repeated, views.view, views.tight
    total_type = np.int64 if dtype.kind in "biu" else np.float64
    turn, wanted = turn_of(dtype, largest), int(places)
    steps = inlined(lambda x, how: (0, 0, 1))
    if len(axes) > 1:
        tight_steps, loose_steps = views.steps
        steps = inlined(lambda x, how: tight_steps(x) if how else loose_steps(x))

    def run(x, mask):
        shape = shape_of(x)
        least, where = np.zeros(shape, total_type), np.zeros(shape, np.int64)
        count = np.zeros(shape, np.int64)
        valid = repeated(mask, x)
        if x.size:
            how = tight(valid)
            a, m = view(numbers(x), how), view(valid, how)
            results = view(least, how), view(where, how), view(count, how)
            call_all(masked_extremes, a.dtype, (a, m, *results, *steps(x, how), turn, wanted))
        return least, where, count

    return inlined(run)


def finisher(x, axes, keepdims, out, dtype):
    """A function (result, out) that gives the caller what it wants, from one with all axes."""
    kept = tuple(axis for axis in range(x.ndim) if axis not in axes)
    keep = constant(keepdims, "keepdims", bool)
    ndim = x.ndim if keep else len(kept)
    reduced = kept_only(x.ndim, kept, keep)
    if not given(out):
        if ndim == 0:
            number = only_number(x.ndim)
            return inlined(lambda result, out: number(result))
        return inlined(lambda result, out: reduced(result))
    check_output(out, ndim, dtype)

    def write(result, out):
        found = reduced(result)
        if out.shape != found.shape:
            raise ValueError("out has another shape than the result")
        store(found, out)
        return out

    return inlined(write)


def per_group(value, name, x, axes, keepdims):
    """A function (value, x): one number for each group, in float64 and with all axes."""
    kept = tuple(axis for axis in range(x.ndim) if axis not in axes)
    keep = constant(keepdims, "keepdims", bool)
    ndim = x.ndim if keep else len(kept)
    shape_of = statistics_shape(x.ndim, axes)
    if ndim == 0 and isinstance(value, types.Number | types.Boolean):
        if isinstance(value, types.Complex):
            raise errors.TypingError(f"{name} is of type {value}; it must be real")
        return inlined(lambda value, x: np.full(shape_of(x), np.float64(value)))
    if numpy_dtype(value, name).kind == "c":
        raise errors.TypingError(f"{name} has dtype {value.dtype}; it must be real")
    if value.ndim != ndim:
        raise errors.TypingError(f"{name} has {value.ndim} dimensions; it must have {ndim}")
    message = f"{name} has not the shape of the result"
    shortened = kept_only(x.ndim, kept, keep)

    def read(value, x):
        shape = shape_of(x)
        if value.shape != shortened(np.empty(shape)).shape:
            raise ValueError(message)
        return np.ascontiguousarray(value).astype(np.float64).reshape(shape)

    return inlined(read)


def item_of(dtype):
    """What makes a number one of this dtype, in compiled code."""
    return numba_dtype(np.dtype(dtype))
