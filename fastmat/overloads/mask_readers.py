"""Masks of numbers, in compiled code."""

import math
from functools import reduce

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from fastmat.core.compile import call_all
from fastmat.core.inline import inlined
from fastmat.cpu.lines import as_read
from fastmat.cpu.masked_moments import masked_moments
from fastmat.cpu.masked_normalization import masked_affine, masked_affine_and_map
from fastmat.overloads.activations import map_address
from fastmat.overloads.groups import in_slots, is_joined, plan, ready, statistics_shape
from fastmat.overloads.typing import array_type, given

i64 = ir.IntType(64)


def mask_reader(mask, x, slots, name="x"):
    """A function (mask, x): the mask as kernels read it beside x, in five axes by a plan.

    It is read where it lies, unless axes that the plan joins cannot be joined in it.
    """
    if not isinstance(array_type(mask, "mask").dtype, types.Boolean):
        raise errors.TypingError(f"mask has dtype {mask.dtype}; it must be bool")
    missing = x.ndim - mask.ndim
    if missing < 0:
        raise errors.TypingError(f"mask has {mask.ndim} dimensions; {name} has {x.ndim}")
    message = f"mask does not broadcast to the shape of {name}"
    full, joins, count = in_slots(slots), _joins(slots), mask.ndim

    def read(mask, x):
        for k in range(count):
            if mask.shape[k] != 1 and mask.shape[k] != x.shape[missing + k]:
                raise ValueError(message)
        spread = np.broadcast_to(mask, x.shape)
        if joins(spread):
            return as_read(full(spread))
        return as_read(full(np.ascontiguousarray(spread)))

    return inlined(read)


def masks_reader(mask, x, *plans):
    """A function (mask, x): the mask as kernels read it by each plan; nothing if there is none."""
    if not given(mask):
        return inlined(lambda mask, x: ())
    readers = [mask_reader(mask, x, slots) for slots in plans]
    if len(readers) == 1:
        (only,) = readers
        return inlined(lambda mask, x: (only(mask, x),))
    first, second = readers
    return inlined(lambda mask, x: (first(mask, x), second(mask, x)))


def kept_moments(x, dtype, axes):
    """A function (x, mask as read): mean, squares of deviations and number of what is kept.

    They have length 1 along the axes.
    """
    slots = plan(x, axes)
    read, full = ready(x, dtype, is_joined(slots)), in_slots(slots)
    shape_of = statistics_shape(x.ndim, axes)

    def measure(x, kept):
        shape = shape_of(x)
        center, spread, count = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
        if x.size:
            a = full(read(x))
            call_all(masked_moments, a.dtype, (a, kept, full(center), full(spread), full(count)))
        return center, spread, count

    return inlined(measure)


def affine_caller(activation, dtype):
    """A function of all arrays of `masked_affine`, with a map if there is one."""
    address = map_address(activation, dtype)

    def plain(arrays):
        call_all(masked_affine, arrays[0].dtype, arrays)

    def with_map(arrays):
        call_all(masked_affine_and_map, arrays[0].dtype, (*arrays, address()))

    return inlined(with_map if given(activation) else plain)


def kept_normalizer(slots, parameter_axes, statistics_axes, activation, dtype):
    """A function (arguments, statistics, target) that normalizes what is kept, 0 elsewhere.

    Arguments are x, its mask as kernels read it, weight and bias; statistics are center and factor.
    """
    full, parameters = in_slots(slots), in_slots(slots, parameter_axes)
    per_group, call = in_slots(slots, statistics_axes), affine_caller(activation, dtype)

    def run(arguments, extra, target):
        x, kept, weight, bias = arguments
        if x.size:
            given_arrays = full(x), kept, parameters(weight), parameters(bias), full(target)
            call((*given_arrays, per_group(extra[0]), per_group(extra[1])))

    return inlined(run)


@inlined
def factors_of(spread, count, eps):
    """1 / sqrt(variance + eps) of each group."""
    found = np.empty(spread.shape)
    flat, spreads, counts = found.reshape(-1), spread.reshape(-1), count.reshape(-1)
    for g in range(flat.shape[0]):
        flat[g] = 1 / math.sqrt(spreads[g] / counts[g] + eps)
    return found


def _joins(slots):
    """A function that tells whether the axes of each slot can be walked through as one."""

    @intrinsic
    def joins(typingctx, array):
        def codegen(context, builder, signature, args):
            view = context.make_array(array)(context, builder, args[0])
            lengths = cgutils.unpack_tuple(builder, view.shape, array.ndim)
            steps = cgutils.unpack_tuple(builder, view.strides, array.ndim)
            found = []
            for slot in slots:
                wanted = steps[slot[-1]] if slot else None
                for axis, inner in zip(slot[-2::-1], slot[:0:-1], strict=True):
                    wanted = builder.mul(wanted, lengths[inner])
                    fits = builder.icmp_signed("==", steps[axis], wanted)
                    single = builder.icmp_signed("==", lengths[axis], ir.Constant(i64, 1))
                    found.append(builder.or_(fits, single))
            return reduce(builder.and_, found, ir.Constant(ir.IntType(1), 1))

        return types.boolean(array), codegen

    return joins
