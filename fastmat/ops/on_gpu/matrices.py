"""Matrices on GPUs as factorizations see them: parts without copies, products, and the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.dtypes import DType
from fastmat.cuda import driver
from fastmat.cuda.arrays import Library, View, c_strides, empty, register, stream_of, view
from fastmat.cuda.columns import grid_of, take
from fastmat.ops.matmul import matmul

_ROOM = 16  # columns of a block are a multiple of this, with what lies behind them


class Matrix:
    """A matrix, or a stack of them, on a GPU; public functions take it as an array."""

    __cuda_array_interface__ = "that of `view`"  # says where it lies; see `_Matrices`

    def __init__(self, where: View, array: Any = None, room: int | None = None) -> None:
        self.view = where
        self.array = array  # of the library, if it is a whole one
        self.room = where.shape[-1] if room is None else room  # columns that may be read

    @classmethod
    def of(cls, x: Any, name: str = "x") -> Matrix:
        """An array of a library."""
        return x if isinstance(x, Matrix) else cls(view(x, name), x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.view.shape

    @property
    def dtype(self) -> DType:
        """That of NumPy."""
        return np.dtype(self.view.dtype)

    @property
    def is_complex(self) -> bool:
        """Whether numbers have two parts."""
        return self.view.dtype.startswith("complex")

    @property
    def T(self) -> Matrix:
        """The last two axes swapped."""
        axes = (*range(self.view.ndim - 2), self.view.ndim - 1, self.view.ndim - 2)
        return Matrix(self.view.transposed(axes))

    def columns(self, start: int, stop: int) -> Matrix:
        """A part of the last axis."""
        return self._part(-1, start, stop, self.room - start)

    def rows(self, start: int, stop: int) -> Matrix:
        """A part of the axis before the last."""
        return self._part(-2, start, stop, self.room)

    def _part(self, axis: int, start: int, stop: int, room: int) -> Matrix:
        found = self.view
        shape = list(found.shape)
        shape[axis] = stop - start
        pointer = found.pointer + start * found.strides[axis] * found.itemsize
        return Matrix(found._replace(pointer=pointer, shape=tuple(shape)), None, room)

    def items(self) -> list[Matrix]:
        """The matrices of a stack."""
        found, batch = self.view, self.view.shape[:-2]
        if not batch:
            return [self]
        return [
            Matrix(
                found._replace(
                    pointer=found.pointer
                    + found.itemsize * sum(map(int, np.multiply(index, found.strides[:-2]))),
                    shape=found.shape[-2:],
                    strides=found.strides[-2:],
                )
            )
            for index in np.ndindex(batch)
        ]


class _Matrices(Library):
    """How public functions read a `Matrix`; what they make is of the library of its memory."""

    name = "fastmat"

    def view(self, x: Any, name: str) -> View:
        found: View = x.view
        return found


register(Matrix, _Matrices())


def new(shape: Sequence[int], dtype: str, like: Matrix) -> Matrix:
    """A new matrix in the library of another."""
    array, where = empty(shape, dtype, like.view)
    return Matrix(where, array)


def new_block(rows: int, columns: int, like: Matrix) -> Matrix:
    """A new matrix whose rows are aligned, with room behind them, and that no one else will see."""
    return new((rows, _ROOM * -(-columns // _ROOM)), like.view.dtype, like).columns(0, columns)


def scratch(shape: Sequence[int], dtype: str, like: Matrix) -> Matrix:
    """A new matrix that no one else will see, of dtypes that the library need not have."""
    shape = tuple(shape)
    _, where = empty((max(1, math.prod(shape)) * np.dtype(dtype).itemsize,), "uint8", like.view)
    return Matrix(where._replace(shape=shape, strides=c_strides(shape), dtype=dtype))


def read(x: Matrix) -> Array:
    """A copy on the CPU, after all work so far: for small matrices."""
    host = np.empty(x.shape, x.dtype)
    if not host.size:
        return host
    if not x.view.contiguous:
        x = copied(x, x.view.dtype)
    driver.current.read(x.view.pointer, host, stream_of(x.view), x.view.device)
    return host


def written(host: Array, like: Matrix, dtype: str | None = None) -> Matrix:
    """A copy on the GPU of a small array, in the library of a matrix."""
    host = np.ascontiguousarray(host, dtype or host.dtype)
    result = new(host.shape, host.dtype.name, like)
    return _sent(host, result)


def written_scratch(host: Array, like: Matrix) -> Matrix:
    """A copy on the GPU of a small array, for kernels alone."""
    host = np.ascontiguousarray(host)
    return _sent(host, scratch(host.shape, host.dtype.name, like))


def _sent(host: Array, result: Matrix) -> Matrix:
    if host.size:
        where = result.view
        driver.current.write(where.pointer, host, stream_of(where), where.device)
    return result


def copied(x: Matrix, dtype: str, target: Matrix | None = None, conjugated: bool = False) -> Matrix:
    """The numbers of a matrix, or their conjugates, in another dtype, to a target or a new one."""
    if target is None:
        target = new(x.shape, dtype, x)
    if math.prod(x.shape):
        launch_take(x, None, target, conjugated)
    return target


def launch_take(x: Matrix, which: Matrix | None, target: Matrix, conjugated: bool = False) -> None:
    """Columns of a matrix, to a target."""
    source, to = x.view, target.view
    given, dtype = source.dtype, to.dtype
    if given == dtype:  # moved as they are
        given = dtype = {"float16": "uint16", "bfloat16": "uint16", "bool": "uint8"}.get(
            dtype, dtype
        )
    pointer = 0 if which is None else which.view.pointer
    (m, n), stream = to.shape, stream_of(to)
    arguments = (
        *(source.pointer, *source.strides, pointer, m, n),
        *(to.pointer, *to.strides, int(which is None)),
    )
    kernel = take(given, dtype, conjugated and target.is_complex)
    kernel(grid_of(m, n), arguments, stream, to.device)


def times(a: Matrix, q: Matrix, target: Matrix | None = None) -> Matrix:
    """``a @ q``."""
    return Matrix.of(matmul(a, q, out=target))


def times_block(a: Matrix, q: Matrix) -> Matrix:
    """``a @ q`` for a block that no one else will see.

    What lies behind the rows of q is multiplied, too: products are quicker where rows are aligned
    and as long as a few vectors, and columns do not touch each other.
    """
    n = q.shape[1]
    more = min(q.room, _ROOM * -(-n // _ROOM))
    return times(a, q) if more == n else times(a, q.columns(0, more)).columns(0, n)


def conjugate(x: Matrix, target: Matrix | None = None) -> Matrix:
    """The conjugates of a matrix; of real numbers the matrix itself."""
    if not x.is_complex:
        return x
    return copied(x, x.view.dtype, target, conjugated=True)


def times_adjoint(a: Matrix, y: Matrix) -> Matrix:
    """The adjoint of ``a`` times ``y``."""
    product = times_block(a.T, conjugate(y))
    return conjugate(product, product)
