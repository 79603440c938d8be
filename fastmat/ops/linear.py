"""Linear layers, and the gradients of products."""

from __future__ import annotations

import importlib
import math
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, as_array, like
from fastmat.core.checks import check_out
from fastmat.core.devices import also_on_gpu
from fastmat.core.dtypes import DType, kernel_name, unsupported
from fastmat.ops.masks import dense, kept_by
from fastmat.ops.matmul import matmul, vecmat
from fastmat.ops.products import matrices, operands, result_shape
from fastmat.ops.programmed import ACTIVATIONS

NAMES = ("relu", "gelu", "silu")


class LinearGradients(NamedTuple):
    """Gradients by the arguments of `linear`; None where there is no bias."""

    x: Any
    weight: Any
    bias: Any


class MatmulGradients(NamedTuple):
    """Gradients by the operands of a product."""

    x1: Any
    x2: Any


@also_on_gpu
def linear(
    x: Any, weight: Any, bias: Any = None, *, activation: Any = None, out: Any = None
) -> Any:
    """A linear layer, as `torch.nn.functional.linear`: ``activation(x @ weight.T + bias)``.

    Parameters
    ----------
    x
        Array-like ``(..., inputs)``.
    weight
        ``(outputs, inputs)``.
    bias
        ``(outputs,)``, added before the activation.
    activation
        "relu", "gelu" (by the error function), "silu", or a scalar function, compiled by
        `numba.njit` or not yet. It is applied, as the bias is added, while a tile of the product
        is in the cache.
    out
        Where to store the result; may overlap the inputs.

    Returns
    -------
    array ``(..., outputs)``
        Of the dtype that NumPy promotes all of them to.

    Raises
    ------
    ValueError
        Shapes that do not fit, a name that no activation has, an `out` of the wrong shape.
    TypeError
        Dtypes that kernels do not compute with, or that the activation is not defined for;
        functions that Numba cannot compile.

    See Also
    --------
    matmul : with `epilogue`, whatever the last step is.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> weight = np.array([[1.0, 0.0], [0.0, -1.0], [1.0, 1.0]])
    >>> fm.linear(np.array([[1.0, 2.0]]), weight, np.array([0.0, 0.0, 0.5]), activation="relu")
    array([[1. , 0. , 3.5]])
    """
    array, matrix, offset, dtype = _layer(x, weight, bias)
    shape = (*array.shape[:-1], matrix.shape[0])
    epilogue, extras = _epilogue(activation, offset, dtype)
    target = None if out is None else check_out(out, shape, dtype)
    rows = array if array.ndim == 1 else _rows(array)
    flat = None
    if target is not None and (target.ndim < 3 or target.flags.c_contiguous):
        flat = target if target.ndim == 1 else _rows(target)
    product = matmul(rows, matrix.T, flat, dtype=dtype, epilogue=epilogue, epilogue_args=extras)
    if target is None:
        return like(product.reshape(shape), x, weight)
    if flat is None:
        np.copyto(target, product.reshape(shape), casting="same_kind")
    return out


@also_on_gpu
def linear_vjp(
    cotangent: Any, x: Any, weight: Any, bias: Any = None, *, activation: Any = None
) -> LinearGradients:
    """Gradients of `linear`.

    Parameters
    ----------
    cotangent
        The gradient by the result, ``(..., outputs)``.
    x, weight, bias
        What `linear` was given.
    activation
        None, "relu", "gelu" or "silu". (The derivative of a function of your own is not known.)

    Returns
    -------
    named tuple ``(x, weight, bias)``
        In the shapes of the arguments; `bias` is None if there was none.

    Raises
    ------
    ValueError, TypeError
        As `linear`.

    Notes
    -----
    What the activation was applied to is computed again, and the cotangent multiplied with its
    derivative there, tile by tile.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x, weight = np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, -1.0]])
    >>> fm.linear_vjp(np.array([[1.0, 1.0]]), x, weight, activation="relu").weight
    array([[1., 2.],
           [0., 0.]])
    """
    array, matrix, offset, dtype = _layer(x, weight, bias)
    if activation is not None and not isinstance(activation, str):
        raise TypeError(f"activation is {activation!r}; gradients are known of {ACTIVATIONS}")
    _check_name(activation)
    given = _cotangent(cotangent, (*array.shape[:-1], matrix.shape[0]), dtype)
    rows, slope = _rows(array).astype(dtype, copy=False), _rows(given)
    if activation is not None:
        added = np.zeros(matrix.shape[0], dtype) if offset is None else offset
        extras = (_computed(added, dtype), _computed(slope, dtype))
        slope = matmul(
            rows, matrix.T, dtype=dtype, epilogue=f"{activation}_slope", epilogue_args=extras
        )
    by_x = matmul(slope, _conjugate(matrix), dtype=dtype).reshape(array.shape)
    by_weight = matmul(slope.T, _conjugate(rows), dtype=dtype)
    by_bias = None
    if offset is not None:
        by_bias = like(vecmat(np.ones(slope.shape[0], dtype), slope), x, weight)
    return LinearGradients(like(by_x, x, weight), like(by_weight, x, weight), by_bias)


@also_on_gpu
def matmul_vjp(cotangent: Any, x1: Any, x2: Any, *, mask: Any = None) -> MatmulGradients:
    """Gradients of `matmul` with ``+`` and ``*``.

    Parameters
    ----------
    cotangent
        The gradient by the result, of its shape.
    x1, x2
        What `matmul` was given.
    mask
        The mask that it was given: booleans that broadcast to the result. Entries that it leaves
        out have no gradient.

    Returns
    -------
    named tuple ``(x1, x2)``
        In the shapes of the operands: over axes that were broadcast, gradients are added up.

    Raises
    ------
    ValueError, TypeError
        As `matmul`; a `cotangent` of another shape than the result.

    Notes
    -----
    Gradients by complex operands are those of PyTorch: ``cotangent @ conj(x2).T``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.matmul_vjp(np.ones((1, 1)), np.array([[2.0, 3.0]]), np.array([[5.0], [7.0]])).x1
    array([[5., 7.]])
    """
    a, b, dtype = operands(x1, x2, None)
    left, right, removed = matrices(a, b)
    full, axes, shape = result_shape(left, right, removed, (x1, x2))
    given = _cotangent(cotangent, shape, dtype)
    product = np.expand_dims(given, axes) if axes else given
    if mask is not None:
        product = np.where(dense(kept_by(mask, full, axes), full), product, dtype.type(0))
    by_left = matmul(product, _conjugate(right).swapaxes(-1, -2), dtype=dtype)
    if right.ndim == 2:  # one matrix for all items: one product, added up over them as it goes
        tall = np.broadcast_to(left, (*full[:-1], left.shape[-1]))
        by_right = matmul(_conjugate(_rows(tall)).T, _rows(product), dtype=dtype)
    else:
        by_right = matmul(_conjugate(left).swapaxes(-1, -2), product, dtype=dtype)
    by_x1 = _summed(by_left, left.shape).reshape(a.shape)
    by_x2 = _summed(by_right, right.shape).reshape(b.shape)
    return MatmulGradients(like(by_x1, x1, x2), like(by_x2, x1, x2))


def _layer(x: Any, weight: Any, bias: Any) -> tuple[Array, Array, Array | None, DType]:
    """The arguments of a layer as arrays that fit each other, and the dtype of its result."""
    array, matrix, dtype = operands(x, weight, None, names=("x", "weight"))
    if matrix.ndim != 2 or array.ndim == 0 or array.shape[-1] != matrix.shape[1]:
        raise ValueError(
            f"x has shape {array.shape} and weight has shape {matrix.shape}; "
            "they must be (..., inputs) and (outputs, inputs)"
        )
    if bias is None:
        return array, matrix, None, dtype
    offset = as_array(bias, "bias")
    if kernel_name(offset.dtype) is None:
        raise unsupported("bias", offset.dtype)
    if offset.shape != matrix.shape[:1]:
        raise ValueError(f"bias has shape {offset.shape}; it must have {matrix.shape[:1]}")
    dtype = np.result_type(dtype, offset)
    if kernel_name(dtype) is None:
        raise unsupported("the result", dtype)
    return array, matrix, offset, dtype


def _epilogue(activation: Any, bias: Array | None, dtype: DType) -> tuple[Any, tuple[Array, ...]]:
    """The epilogue that adds the bias and applies the activation, and what it takes."""
    _check_name(activation)
    if bias is None:
        return activation, ()
    extra = (_computed(bias, dtype),)
    if activation is None:
        return "bias", extra
    if isinstance(activation, str):
        return f"bias_{activation}", extra
    if not callable(activation):
        raise TypeError(f"activation is {activation!r}; it must be {ACTIVATIONS}, or a function")
    kernels = importlib.import_module("fastmat.cpu.linear")
    return kernels.after_bias(activation), extra


def _check_name(activation: Any) -> None:
    if isinstance(activation, str) and activation not in NAMES:
        raise ValueError(f"activation is {activation!r}; it must be {ACTIVATIONS}, or a function")


def _computed(x: Array, dtype: DType) -> Array:
    """Numbers in the dtype that epilogues of products of this one compute with."""
    short = dtype.kind == "V" or dtype == np.float16
    return x.astype(np.float32 if short else dtype, copy=False)


def _cotangent(cotangent: Any, shape: tuple[int, ...], dtype: DType) -> Array:
    array = as_array(cotangent, "cotangent")
    if array.shape != shape:
        raise ValueError(f"cotangent has shape {array.shape}; the result has shape {shape}")
    if kernel_name(array.dtype) is None:
        raise unsupported("cotangent", array.dtype)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"cotangent has dtype {array.dtype}, which cannot be cast to {dtype}")
    return array.astype(dtype, copy=False)


def _rows(x: Array) -> Array:
    """All numbers but those along the last axis on top of each other."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _conjugate(x: Array) -> Array:
    return np.conj(x) if x.dtype.kind == "c" else x


def _summed(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient, added up over the axes that an operand was broadcast along."""
    if gradient.shape == shape:
        return gradient
    added: Array = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))), dtype=gradient.dtype)
    broadcast = tuple(i for i, n in enumerate(shape) if n != added.shape[i])
    result: Array = added.sum(axis=broadcast, keepdims=True, dtype=gradient.dtype)
    return result
