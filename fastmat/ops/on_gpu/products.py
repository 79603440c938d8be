"""What products of arrays on GPUs share: operands, dtypes, shapes, which kernels compute them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.dtypes import DType, dtype_named, kernel_name, unsupported
from fastmat.cuda.arrays import View, empty, same_device, stream_of, target
from fastmat.cuda.copy import copy, may_overlap
from fastmat.cuda.matmul import PLAIN, Program, multiply
from fastmat.cuda.semirings import (
    COMPILE_ERRORS,
    NAMED,
    Reading,
    Ring,
    named_ring,
    reading,
    users_ring,
)
from fastmat.ops import products
from fastmat.ops.semirings import (
    LOGICAL,
    Modular,
    Semiring,
    check_dtype,
    dtype_of_product,
)


def stand_in(x: View) -> Array:
    """An array of the CPU of the shape and dtype of another, for checks."""
    return np.broadcast_to(np.zeros((), dtype_named(x.dtype)), x.shape)


@functools.lru_cache(maxsize=1024)
def _dtype_of(
    first: str, second: str, wanted: DType | None, names: tuple[str, str] = ("x1", "x2")
) -> str:
    a, b = (np.zeros((), dtype_named(x)) for x in (first, second))
    return str(products.operands(a, b, wanted, names)[2].name)


def dtype_of(a: View, b: View, dtype: Any, names: tuple[str, str] = ("x1", "x2")) -> str:
    """The dtype of a product; errors as on the CPU."""
    if dtype is None and a.dtype == b.dtype:
        return a.dtype
    return _dtype_of(a.dtype, b.dtype, None if dtype is None else np.dtype(dtype), names)


def with_axis(x: View, axis: int) -> View:
    """The view with a new axis, which is counted from the end of the result."""
    at = x.ndim + 1 + axis
    return x._replace(
        shape=(*x.shape[:at], 1, *x.shape[at:]), strides=(*x.strides[:at], 0, *x.strides[at:])
    )


def with_axes(x: View, axes: tuple[int, ...]) -> View:
    """The view with the axes that `axes` number in the result."""
    for axis in sorted(axes):
        x = x._replace(
            shape=(*x.shape[:axis], 1, *x.shape[axis:]),
            strides=(*x.strides[:axis], 0, *x.strides[axis:]),
        )
    return x


def matrices(a: View, b: View) -> tuple[View, View, tuple[int, ...]]:
    """Operands of `matmul` as stacks of matrices, and the axes of their product to remove."""
    if not a.shape or not b.shape or a.shape[-1] != b.shape[max(-2, -len(b.shape))]:
        products.matrices(stand_in(a), stand_in(b))  # raises
    removed = []
    if len(a.shape) == 1:
        a = with_axis(a, -2)
        removed.append(-2)
    if len(b.shape) == 1:
        b = with_axis(b, -1)
        removed.append(-1)
    return a, b, tuple(removed)


def result_shape(
    a: View, b: View, removed: tuple[int, ...], inputs: tuple[View, View]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Shape of a product of stacks with all axes, the axes to remove, and the shape without."""
    batch, other = a.shape[:-2], b.shape[:-2]
    if batch == other or not batch or not other:
        full = (*(batch or other), a.shape[-2], b.shape[-1])
        if not removed:
            return full, (), full
        n = len(full)
        axes = tuple([n + axis for axis in removed])
        return full, axes, tuple([full[i] for i in range(n) if i not in axes])
    return products.result_shape(
        stand_in(a), stand_in(b), list(removed), tuple(map(stand_in, inputs))
    )


@functools.cache
def plain_ring(dtype: str) -> Ring:
    """Sums of products."""
    return named_ring("plus_times", dtype)


def into(
    a: View,
    b: View,
    removed: tuple[int, ...],
    inputs: tuple[View, View],
    dtype: str,
    out: Any,
    conjugated: bool = False,
) -> Any:
    """The product of two stacks of matrices, without the `removed` axes of their product."""
    _, axes, shape = result_shape(a, b, removed, inputs)
    device_of(*inputs)
    reads = reading(a.dtype, dtype, conjugated), reading(b.dtype, dtype)
    return stored(
        out, shape, dtype, inputs, axes,
        lambda c: compute(a, b, c, plain_ring(dtype), reads, PLAIN),
    )  # fmt: skip


def device_of(x1: View, x2: View) -> None:
    """A ValueError where operands are on different devices."""
    if x1.device != x2.device:
        same_device(x1=x1, x2=x2)


def stored(
    out: Any,
    shape: tuple[int, ...],
    dtype: str,
    inputs: tuple[View, ...],
    axes: tuple[int, ...],
    compute_into: Callable[[View], None],
    keeps: bool = False,
) -> Any:
    """A new array, or `out`, that was computed into.

    Parameters
    ----------
    inputs
        What is read, which `out` may overlap; the result is in the library of the first.
    axes
        Those that the computed matrices have and the result lacks.
    keeps
        Whether some entries of `out` stay as they are.
    """
    like = inputs[0]
    result, final = target(out, shape, dtype, like)
    place = final
    if out is not None and any(may_overlap(final, x) for x in inputs):
        place = empty(shape, dtype, like)[1]
        if keeps:
            copy(final, place, stream_of(like))
    compute_into(with_axes(place, axes) if axes else place)
    if place is not final:
        copy(place, final, stream_of(like))
    return result


@contextlib.contextmanager
def compiling(users: Any, dtype: str) -> Iterator[None]:
    """A TypeError where Numba cannot compile the functions of `users`; None if there are none."""
    try:
        yield
    except COMPILE_ERRORS as error:
        if users is None:
            raise
        name = users if isinstance(users, str) else repr(getattr(users, "__name__", users))
        raise TypeError(f"{name} for {dtype} cannot be compiled: {error}") from error


def compute(
    a: View, b: View, c: View, ring: Ring, reads: tuple[Reading, Reading], program: Program
) -> None:
    """Compute a product by the first family of kernels that serves it."""
    stream = stream_of(a)
    multiply(a, b, c, ring, *reads, stream, program)


def ring_and_reads(
    semiring: str | Semiring, a: View, b: View, dtype: Any
) -> tuple[Ring, tuple[Reading, Reading], str]:
    """A semiring for operands, how they are read, and the dtype of the product."""
    modulus = semiring.modulus if isinstance(semiring, Modular) else 0
    if modulus:
        for name, x in (("x1", a), ("x2", b)):
            if dtype_named(x.dtype).kind not in "biu":
                raise TypeError(f"{name} has dtype {x.dtype}; {semiring!r} wants integers")
    kinds = [dtype_named(x.dtype) for x in (a, b)]
    if modulus:
        kinds = [np.dtype(np.int64)] * 2
    elif semiring in LOGICAL:
        kinds = [np.dtype(bool)] * 2
    promoted = dtype_of_product(semiring, np.result_type(*kinds))
    wanted = promoted if dtype is None else np.dtype(dtype)
    left, right = (np.zeros((), kind) for kind in kinds)
    products.check_casts(left, right, wanted)
    if kernel_name(wanted) is None:
        raise unsupported("the product", wanted)
    check_dtype(semiring, wanted)
    name = wanted.name
    reads = tuple(reading(x.dtype, name, False, modulus) for x in (a, b))
    return ring_of(semiring, name), (reads[0], reads[1]), name


def ring_of(semiring: str | Semiring, dtype: str) -> Ring:
    """A semiring, as kernels take it."""
    if isinstance(semiring, str):
        assert semiring in NAMED
        return named_ring(semiring, dtype)
    return _users_ring(semiring, dtype)


@functools.lru_cache(maxsize=256)
def _users_ring(semiring: Semiring, dtype: str) -> Ring:
    return users_ring(semiring, dtype)
