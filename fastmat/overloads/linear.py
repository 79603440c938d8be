"""`linear`, `linear_vjp` and `matmul_vjp` inside ``@njit``."""

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import overload
from numba.np.numpy_support import as_dtype

from fastmat.core.dtypes import kernel_name, unsupported
from fastmat.cpu.epilogues import named
from fastmat.cpu.linear import after_bias
from fastmat.cpu.strides import strided
from fastmat.ops import linear as ops
from fastmat.ops.linear import NAMES, LinearGradients, MatmulGradients
from fastmat.ops.matmul import matmul, vecmat
from fastmat.ops.programmed import ACTIVATIONS
from fastmat.overloads.matmul import _EXPANDED
from fastmat.overloads.programmed import constant
from fastmat.overloads.storing import store
from fastmat.overloads.typing import (
    array_type,
    check_out,
    given,
    numba_dtype,
    numpy_dtype,
    result_dtype,
)


@overload(ops.linear)
def _linear(x, weight, bias=None, activation=None, out=None):
    wanted = _layer_dtype(x, weight, bias)
    item, ndim = numba_dtype(wanted), x.ndim
    function = _activation(activation)
    if isinstance(function, str) and wanted.name not in named(function).dtypes:
        raise errors.TypingError(f"activation {function!r} is not defined for {wanted}")
    if given(out):
        check_out(out, ndim, wanted)
    if given(bias):
        if function is None:
            function = "bias"
        else:
            named_ = isinstance(function, str)
            function = f"bias_{function}" if named_ else njit(after_bias(function))
        extras = njit(lambda bias: (bias.astype(item),))
    else:
        extras = njit(lambda bias: ())
    flat = _flat(ndim)

    if function is None:
        product = njit(lambda rows, columns, bias: matmul(rows, columns, dtype=item))
    else:

        @njit
        def product(rows, columns, bias):
            return matmul(rows, columns, dtype=item, epilogue=function, epilogue_args=extras(bias))

    def layer(x, weight, bias):
        _check_layer(x, weight, bias)
        result = product(flat(x), weight.T, bias)
        return result.reshape((*x.shape[:-1], weight.shape[0]))

    layer = njit(layer)
    if not given(out):
        return lambda x, weight, bias=None, activation=None, out=None: layer(x, weight, bias)

    def into(x, weight, bias=None, activation=None, out=None):
        if out.shape != (*x.shape[:-1], weight.shape[0]):
            raise ValueError("out has another shape than the result")
        store(layer(x, weight, bias), out)
        return out

    return into


@overload(ops.linear_vjp)
def _linear_vjp(cotangent, x, weight, bias=None, activation=None):
    wanted = _layer_dtype(x, weight, bias)
    item = numba_dtype(wanted)
    function = _activation(activation)
    if function is not None and not isinstance(function, str):
        raise errors.TypingError(
            f"activation is {activation}; gradients are known of {ACTIVATIONS}"
        )
    _check_cotangent(cotangent, x.ndim, wanted)
    flat, flat_cotangent = _flat(x.ndim, rows=True), _flat(x.ndim, rows=True)
    conjugate = _CONJUGATE[wanted.kind == "c"]
    if function is None:
        slope_of = njit(lambda rows, columns, bias, given: given)
    else:
        slope, added = f"{function}_slope", given(bias)
        if wanted.name not in named(slope).dtypes:
            raise errors.TypingError(f"activation {function!r} is not defined for {wanted}")
        offset = (
            njit(lambda bias, n: bias.astype(item))
            if added
            else njit(lambda bias, n: np.zeros(n, item))
        )

        @njit
        def slope_of(rows, columns, bias, given):
            extras = (offset(bias, columns.shape[1]), given)
            return matmul(rows, columns, dtype=item, epilogue=slope, epilogue_args=extras)

    by_bias = njit(_no_gradient)
    if given(bias):
        by_bias = njit(lambda slope: vecmat(np.ones(slope.shape[0], item), slope))

    def gradients(cotangent, x, weight, bias=None, activation=None):
        _check_layer(x, weight, bias)
        if cotangent.shape != (*x.shape[:-1], weight.shape[0]):
            raise ValueError("cotangent has another shape than the result")
        rows, columns = flat(x), weight.T
        slope = slope_of(rows, columns, bias, flat_cotangent(cotangent).astype(item))
        by_x = matmul(slope, conjugate(weight), dtype=item).reshape(x.shape)
        by_weight = matmul(slope.T, conjugate(rows), dtype=item)
        return LinearGradients(by_x, by_weight, by_bias(slope))

    return gradients


@overload(ops.matmul_vjp)
def _matmul_vjp(cotangent, x1, x2, mask=None):
    wanted = result_dtype({"x1": x1, "x2": x2}, None)
    item = numba_dtype(wanted)
    row, column = x1.ndim == 1, x2.ndim == 1
    ndim = max(x1.ndim + row, x2.ndim + column) - row - column
    if ndim == 0:
        raise errors.TypingError("x1 and x2 are vectors; matmul_vjp in njit wants one matrix")
    _check_cotangent(cotangent, ndim, wanted)
    as_left, as_right = _EXPANDED[row, False], _EXPANDED[False, column]
    expanded = _EXPANDED[row, column]
    conjugate = _CONJUGATE[wanted.kind == "c"]
    masked = njit(_unmasked)
    if given(mask):
        if array_type(mask, "mask").dtype != types.boolean:
            raise errors.TypingError(f"mask has dtype {mask.dtype}; it must be bool")
        masked = njit(lambda cotangent, mask: np.where(mask, cotangent, cotangent.dtype.type(0)))

    def gradients(cotangent, x1, x2, mask=None):
        a, b = as_left(x1), as_right(x2)
        kept = expanded(masked(cotangent.astype(item), mask))
        by_left = matmul(kept, _swapped(conjugate(b)), dtype=item)
        by_right = matmul(_swapped(conjugate(a)), kept, dtype=item)
        by_x1 = _summed(by_left, a.shape).reshape(x1.shape)
        return MatmulGradients(by_x1, _summed(by_right, b.shape).reshape(x2.shape))

    return gradients


def _layer_dtype(x, weight, bias):
    """The NumPy dtype of a layer's result; TypingErrors for its arguments."""
    dtypes = [numpy_dtype(x, "x"), numpy_dtype(weight, "weight")]
    if weight.ndim != 2:
        raise errors.TypingError(f"weight has {weight.ndim} dimensions; linear wants 2")
    if given(bias):
        dtypes.append(numpy_dtype(bias, "bias"))
        if bias.ndim != 1:
            raise errors.TypingError(f"bias has {bias.ndim} dimensions; linear wants 1")
    if x.ndim == 0:
        raise errors.TypingError("x has no dimensions; linear wants 1 or more")
    wanted = np.result_type(*dtypes)
    if kernel_name(wanted) is None:
        raise errors.TypingError(str(unsupported("the result", wanted)))
    return wanted


def _activation(activation):
    """The name of an activation, the user's function, or None."""
    if not given(activation):
        return None
    if isinstance(activation, types.Dispatcher):
        return activation.dispatcher
    name = constant(activation, None)
    if name not in NAMES:
        raise errors.TypingError(
            f"activation is {name!r}; it must be {ACTIVATIONS}, or a function that Numba compiled"
        )
    return name


def _check_cotangent(cotangent, ndim, wanted):
    got = as_dtype(array_type(cotangent, "cotangent").dtype)
    if cotangent.ndim != ndim:
        raise errors.TypingError(
            f"cotangent has {cotangent.ndim} dimensions; the result has {ndim}"
        )
    if not np.can_cast(got, wanted, "same_kind"):
        raise errors.TypingError(f"cotangent has dtype {got}, which cannot be cast to {wanted}")


def _flat(ndim, rows=False):
    """A function that makes an array a matrix (or, unless `rows`, leaves a vector as it is)."""
    if ndim == 2 or (ndim == 1 and not rows):
        return njit(lambda x: x)
    if ndim == 1:
        return njit(lambda x: np.expand_dims(x, 0))

    def flat(x):
        n = x.shape[-1]
        count = 1
        for length in x.shape[:-1]:
            count *= length
        return np.ascontiguousarray(x).reshape((count, n))

    return njit(flat)


@njit
def _check_layer(x, weight, bias):
    if x.shape[-1] != weight.shape[1]:
        raise ValueError("x and weight differ in the number of inputs")
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise ValueError("bias and weight differ in the number of outputs")


def _no_gradient(slope):
    return None


def _unmasked(cotangent, mask):
    return cotangent


@njit
def _swapped(x):
    rows, columns = x.ndim - 2, x.ndim - 1
    shape = tuple_setitem(x.shape, rows, x.shape[columns])
    strides = tuple_setitem(x.strides, rows, x.strides[columns])
    shape = tuple_setitem(shape, columns, x.shape[rows])
    return strided(x, shape, tuple_setitem(strides, columns, x.strides[rows]))


def _summed(gradient, shape):
    raise TypeError("only for compiled code")


@overload(_summed)
def _summed_over_broadcast(
    gradient,  # in (..., m, n)
    shape,  # of the operand
):
    """The gradient, added up over the axes that an operand was broadcast along."""
    missing = gradient.ndim - len(shape)
    if gradient.ndim == 2:
        return lambda gradient, shape: gradient

    def summed(gradient, shape):
        total = np.zeros(shape, gradient.dtype)
        for index in np.ndindex(gradient.shape):
            place = index[missing:]
            for axis in range(len(shape)):
                if shape[axis] == 1:
                    place = tuple_setitem(place, axis, 0)
            total[place] += gradient[index]
        return total

    return summed


_CONJUGATE = {False: njit(lambda x: x), True: njit(lambda x: np.conj(x))}
