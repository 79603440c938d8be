"""Masks of numbers, in compiled code."""

from functools import reduce

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from fastmat.core.inline import inlined
from fastmat.cpu.lines import as_read
from fastmat.overloads.groups import in_slots
from fastmat.overloads.typing import array_type

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
