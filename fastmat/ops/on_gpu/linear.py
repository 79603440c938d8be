"""Linear layers, and the gradients of products, on GPUs."""

from __future__ import annotations

import math
from typing import Any

from fastmat.core.dtypes import dtype_named
from fastmat.cuda.arrays import View, empty, same_device, view
from fastmat.cuda.copy import packed
from fastmat.cuda.epilogues import NAMED as EPILOGUES
from fastmat.cuda.epilogues import after_bias
from fastmat.cuda.finishing import compile_epilogue
from fastmat.cuda.matmul import PLAIN, Program
from fastmat.cuda.semirings import named_ring, reading
from fastmat.ops import linear as on_cpu
from fastmat.ops.linear import LinearGradients, MatmulGradients
from fastmat.ops.on_gpu.products import (
    compiling,
    compute,
    dtype_of,
    matrices,
    plain_ring,
    result_shape,
    stand_in,
    stored,
    with_axes,
)
from fastmat.ops.on_gpu.programmed import kept_views
from fastmat.ops.programmed import ACTIVATIONS


def linear(
    x: Any, weight: Any, bias: Any = None, *, activation: Any = None, out: Any = None
) -> Any:
    """`fastmat.linear` for arrays on a GPU."""
    array, matrix, offset, dtype = _layer(x, weight, bias)
    epilogue = _epilogue(activation, offset, dtype)
    shape = (*array.shape[:-1], matrix.shape[0])
    ring, reads = plain_ring(dtype), (reading(array.dtype, dtype), reading(matrix.dtype, dtype))
    inputs = [array, matrix] if offset is None else [array, matrix, offset]

    def compute_into(c: View) -> None:
        rows, target = _matrices(array, c)
        extras = () if offset is None else (offset.broadcast_to(target.shape),)
        program = PLAIN if epilogue is None else Program(epilogue=epilogue, extras=extras)
        compute(rows, _transposed(matrix), target, ring, reads, program)

    with compiling(None if isinstance(activation, str) else activation, dtype):
        if epilogue is not None and not isinstance(epilogue, str):
            kinds = () if offset is None else (offset.dtype,)
            compile_epilogue(epilogue, dtype, kinds, array.device)
        return stored(out, shape, dtype, tuple(inputs), (), compute_into)


def linear_vjp(
    cotangent: Any, x: Any, weight: Any, bias: Any = None, *, activation: Any = None
) -> LinearGradients:
    """`fastmat.linear_vjp` for arrays on a GPU."""
    array, matrix, offset, dtype = _layer(x, weight, bias)
    if activation is not None and not isinstance(activation, str):
        raise TypeError(f"activation is {activation!r}; gradients are known of {ACTIVATIONS}")
    on_cpu._check_name(activation)
    shape = (*array.shape[:-1], matrix.shape[0])
    slope = _cotangent(cotangent, shape, dtype, array)
    ring = plain_ring(dtype)
    reads = reading(array.dtype, dtype), reading(matrix.dtype, dtype)
    rows = _packed_rows(array)
    if activation is not None:
        name = f"{activation}_slope" if offset is not None else f"{activation}_slope_unbiased"
        _check_defined(f"{activation}_slope", dtype)
        _, slopes = empty((rows.shape[0], matrix.shape[0]), dtype, array)
        extras = [_packed_rows(slope)]
        if offset is not None:
            extras.insert(0, offset.broadcast_to(slopes.shape))
        program = Program(epilogue=name, extras=tuple(extras))
        compute(rows, _transposed(matrix), slopes, ring, reads, program)
        slope = slopes
    else:
        slope = _packed_rows(slope)
    by_x, x_view = empty(array.shape, dtype, array)
    by_weight, weight_view = empty(matrix.shape, dtype, array)
    from_slope = reading(slope.dtype, dtype)
    conjugate = [reading(v.dtype, dtype, v.dtype.startswith("complex")) for v in (array, matrix)]
    compute(slope, matrix, _rows(x_view), ring, (from_slope, conjugate[1]), PLAIN)
    compute(_transposed(slope), rows, weight_view, ring, (from_slope, conjugate[0]), PLAIN)
    by_bias = None
    if offset is not None:
        by_bias, bias_view = empty(offset.shape, dtype, array)
        _sum_rows(slope, bias_view.reshaped((1, matrix.shape[0])), dtype)
    return LinearGradients(by_x, by_weight, by_bias)


def matmul_vjp(cotangent: Any, x1: Any, x2: Any, *, mask: Any = None) -> MatmulGradients:
    """`fastmat.matmul_vjp` for arrays on a GPU."""
    a, b = view(x1, "x1"), view(x2, "x2")
    same_device(x1=a, x2=b)
    dtype = dtype_of(a, b, None)
    left, right, removed = matrices(a, b)
    full, axes, shape = result_shape(left, right, removed, (a, b))
    product = with_axes(_cotangent(cotangent, shape, dtype, a), axes)
    ring = plain_ring(dtype)
    if mask is not None:
        product = _masked(product, mask, full, axes, dtype, a)
    given = reading(product.dtype, dtype)
    left_conjugate, right_conjugate = (
        reading(x.dtype, dtype, x.dtype.startswith("complex")) for x in (left, right)
    )
    batch = full[:-2]
    _, by_left = empty((*batch, *left.shape[-2:]), dtype, a)
    compute(product, _transposed(right), by_left, ring, (given, right_conjugate), PLAIN)
    if right.ndim == 2:  # one matrix for all items: one product, added up over them as it goes
        tall = _packed_rows(left.broadcast_to((*full[:-1], left.shape[-1])))
        _, by_right = empty(right.shape, dtype, a)
        reads = left_conjugate, given
        compute(_transposed(tall), _packed_rows(product), by_right, ring, reads, PLAIN)
    else:
        _, by_right = empty((*batch, *right.shape[-2:]), dtype, a)
        compute(_transposed(left), product, by_right, ring, (left_conjugate, given), PLAIN)
    return MatmulGradients(
        _summed(by_left, left.shape, a.shape, dtype), _summed(by_right, right.shape, b.shape, dtype)
    )


def _layer(x: Any, weight: Any, bias: Any) -> tuple[View, View, View | None, str]:
    """The arguments of a layer, which fit each other, and the dtype of its result."""
    array, matrix = view(x, "x"), view(weight, "weight")
    offset = None if bias is None else view(bias, "bias")
    same_device(x=array, weight=matrix, bias=offset)
    kinds = {array.dtype, matrix.dtype} | ({array.dtype} if offset is None else {offset.dtype})
    fits = array.ndim > 0 and matrix.ndim == 2 and array.shape[-1] == matrix.shape[1]
    if fits and len(kinds) == 1 and (offset is None or offset.shape == matrix.shape[:1]):
        return array, matrix, offset, array.dtype
    *_, dtype = on_cpu._layer(
        stand_in(array), stand_in(matrix), None if offset is None else stand_in(offset)
    )
    return array, matrix, offset, dtype.name


def _epilogue(activation: Any, bias: View | None, dtype: str) -> Any:
    """The epilogue that adds the bias and applies the activation."""
    on_cpu._check_name(activation)
    if activation is None:
        return None if bias is None else "bias"
    if isinstance(activation, str):
        name = activation if bias is None else f"bias_{activation}"
        _check_defined(name, dtype)
        return name
    if not callable(activation):
        raise TypeError(f"activation is {activation!r}; it must be {ACTIVATIONS}, or a function")
    return activation if bias is None else after_bias(activation)


def _check_defined(epilogue: str, dtype: str) -> None:
    if dtype not in EPILOGUES[epilogue]:
        raise TypeError(f"epilogue {epilogue!r} is not defined for {dtype}")


def _cotangent(cotangent: Any, shape: tuple[int, ...], dtype: str, like: View) -> View:
    given = view(cotangent, "cotangent")
    same_device(x=like, cotangent=given)
    if given.shape != shape or given.dtype != dtype:
        on_cpu._cotangent(stand_in(given), shape, dtype_named(dtype))  # raises, or can be cast
    return given


def _transposed(x: View) -> View:
    """The matrices of a stack, transposed."""
    return x.transposed((*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _shape_of_rows(x: View) -> tuple[int, int]:
    return math.prod(x.shape[:-1]), x.shape[-1]


def _rows(x: View) -> View:
    """All numbers but those along the last axis on top of each other, of a contiguous array."""
    found = x.reshaped(_shape_of_rows(x))
    assert found is not None
    return found


def _packed_rows(x: View) -> View:
    """The same of any array, copied if need be."""
    found = x.reshaped(_shape_of_rows(x))
    return _rows(packed(x)) if found is None else found


def _matrices(x: View, c: View) -> tuple[View, View]:
    """Rows and results of a layer as matrices, or as stacks of them if that takes no copy."""
    rows, results = x.reshaped(_shape_of_rows(x)), c.reshaped(_shape_of_rows(c))
    if rows is not None and results is not None:
        return rows, results
    return x, c


def _sum_rows(x: View, target: View | None, dtype: str) -> None:
    """Add up the rows of matrices ``(..., k, n)`` into ``(..., 1, n)``."""
    assert target is not None
    ones = x._replace(shape=(*x.shape[:-2], 1, x.shape[-2]), strides=(0,) * x.ndim)
    read = reading(x.dtype, dtype)
    compute(ones, x, target, named_ring("plus_second", dtype), (read, read), PLAIN)


def _summed(gradient: View, shape: tuple[int, ...], wanted: tuple[int, ...], dtype: str) -> Any:
    """The gradient, added up over the axes that an operand was broadcast along."""
    full = (1,) * (gradient.ndim - len(shape)) + shape
    for axis, (have, want) in enumerate(zip(gradient.shape, full, strict=True)):
        if have != want:
            before, after = gradient.shape[:axis], gradient.shape[axis + 1 :]
            outer, inner = math.prod(before), math.prod(after)
            stack = gradient.reshaped((outer, have, inner))
            assert stack is not None
            _, added = empty((*before, 1, *after), dtype, gradient)
            _sum_rows(stack, added.reshaped((outer, 1, inner)), dtype)
            gradient = added
    if gradient.shape == wanted:
        return gradient.owner
    array = gradient.owner
    return array.reshape(wanted)


def _masked(
    product: View,
    mask: Any,
    full: tuple[int, ...],
    axes: tuple[int, ...],
    dtype: str,
    like: View,
) -> View:
    """The cotangent, with zeros where the mask is False."""
    kept = kept_views(mask, full, axes)
    _, result = empty(full, dtype, like)
    nothing = product._replace(shape=(*full[:-1], 0)), product._replace(shape=(0, full[-1]))
    left = nothing[0]._replace(strides=(0,) * len(full))
    right = nothing[1]._replace(strides=(0, 0))
    read = reading(product.dtype, dtype)
    program = Program(kept, 0, "bias", (product,))
    compute(left, right, result, plain_ring(dtype), (read, read), program)
    return result
