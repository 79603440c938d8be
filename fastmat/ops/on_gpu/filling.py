"""What the twins that write values under masks and to submatrices share."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.dtypes import dtype_named
from fastmat.cuda.arrays import View, empty, view
from fastmat.cuda.copy import copy, may_overlap, packed
from fastmat.cuda.masked import fill
from fastmat.ops.casting import cast, rank


def value_of(given: Any, name: str, dtype: str) -> View | bytes:
    """A value: an array on a GPU of this dtype, or the bytes of a number cast to it."""
    if isinstance(given, bool | int | float | complex | np.generic):
        return cast(given, name, dtype_named(dtype)).tobytes()
    found = view(given, name)
    if found.dtype != dtype:
        wanted = dtype_named(dtype)
        have = dtype_named(found.dtype)
        ranks = rank(have), rank(wanted)
        if not np.can_cast(have, wanted, "same_kind") or ranks[0] > ranks[1]:  # type: ignore[operator]
            raise TypeError(
                f"{name} has dtype {found.dtype}, which cannot be cast to {dtype} under the rule "
                "'same_kind'"
            )
        raise TypeError(f"{name} has dtype {found.dtype}; on GPUs it must be {dtype}, as x")
    return found


def same_place(x: View, y: View) -> bool:
    """Whether two views of one shape have each item in the same place."""
    return x.pointer == y.pointer and x.strides == y.strides and x.shape == y.shape


def safe(target: View, *others: View | bytes | None) -> bool:
    """Whether a kernel can write to the target while it reads the others, item by item."""
    return not any(
        isinstance(other, View) and may_overlap(other, target) and not same_place(other, target)
        for other in others
    )


def filled(
    x: View,
    first: View | None,
    second: View | None,
    value: View | bytes,
    target: View,
    where: bool,
    stream: int,
) -> None:
    """`fastmat.cuda.masked.fill` for operands that broadcast to the target, anywhere in memory."""
    if not target.size:
        return
    shape = target.shape
    if not safe(target, x, first, second, value):
        _, scratch = empty(shape, target.dtype, target)
        filled(x, first, second, value, scratch, where, stream)
        copy(scratch, target, stream)
        return
    fastest = min(
        (k for k in range(target.ndim) if shape[k] > 1),
        key=lambda k: abs(target.strides[k]),
        default=None,
    )

    def near(operand: View | None) -> View | None:
        """The operand, in the order of the target if it would be read across its rows."""
        if operand is None:
            return None
        operand = operand.broadcast_to(shape)
        if fastest is None or operand.strides[fastest] in (0, 1) or 0 in operand.strides:
            return operand
        if target.contiguous:
            return packed(operand)
        return operand

    x = x.broadcast_to(shape)
    if fastest is not None and target.strides[fastest] == 1 and x.strides[fastest] not in (0, 1):
        copy(x, target, stream)  # by tiles
        x = target
    value = value if isinstance(value, bytes) else near(value) or value
    fill(x, near(first), near(second), value, target, where, stream)


def zero(target: View, stream: int) -> None:
    """``target[...] = 0``."""
    fill(target, None, None, bytes(target.itemsize), target, True, stream)
