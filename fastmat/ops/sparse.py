"""Sparse matrices of SciPy, as randomized factorizations multiply with them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, native
from fastmat.core.dtypes import DType
from fastmat.ops.statistics import entry_of

MOST = np.iinfo(np.int32).max  # rows and columns: SciPy multiplies what has more
SUMS_BYTES = 2**20  # of sums that stay in the L2 cache: see `docs/kernels.md`
SHARE = 8  # least numbers and rows of the matrix, per row of such sums


class Rows(NamedTuple):
    """Compressed rows: numbers, where those of each row begin, and their columns."""

    data: Array
    starts: Array  # (rows + 1,), int64
    columns: Array  # int32


class SparseMatrix:
    """A matrix by its rows, or its columns, or both: what is not there is made when it pays.

    Parameters
    ----------
    held
        The rows under 0, those of the transpose under 1; one of them at the least.
    shape
        Of the matrix whose rows are under 0.
    side
        1 where it is the transpose that this stands for.
    """

    ndim = 2

    def __init__(self, held: dict[int, Rows], shape: tuple[int, int], side: int = 0) -> None:
        self._held, self._shape, self._side = held, shape, side
        self.dtype: DType = next(iter(held.values())).data.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self._shape[1], self._shape[0]) if self._side else self._shape

    @property
    def T(self) -> SparseMatrix:
        """The transpose, which shares all with it."""
        return SparseMatrix(self._held, self._shape, 1 - self._side)

    def times(self, q: Array) -> Array:
        """The matrix times a block."""
        return self._product(self._side, q, False)

    def times_adjoint(self, y: Array) -> Array:
        """The adjoint of the matrix times a block."""
        return self._product(1 - self._side, y, True)

    def power_step(self, q: Array) -> Array:
        """The adjoint of the matrix times the matrix times a block."""
        if self.passes_of_step(q.shape[1]) > 1:
            return self.times_adjoint(self.times(q))
        found = np.empty(q.shape, self.dtype)
        entry_of("sparse", "gram_times", self.dtype)(*self._held[self._side], _block(q), found)
        return found

    def passes_of_step(self, few: int) -> int:
        """How many times `power_step` reads the matrix, for so many columns."""
        in_one = self._side in self._held and self._adds_up(1 - self._side, 2 * few)
        return 1 if in_one else 2

    def _product(self, side: int, q: Array, conjugated: bool) -> Array:
        """Rows of one side times a block: sums row by row, or added to by rows of the other side.

        The second is better where the sums stay in the cache and the block does not.
        """
        found = np.empty((self._shape[side], q.shape[1]), self.dtype)
        other = 1 - side
        fits = self._adds_up(side, q.shape[1])
        if other in self._held and fits and (side not in self._held or q.nbytes > 4 * SUMS_BYTES):
            kernel, rows = "scatter", self._held[other]
        else:
            kernel, rows = "gather", self._rows(side)
        entry_of("sparse", kernel, self.dtype)(*rows, _block(q), found, conjugated)
        return found

    def _adds_up(self, side: int, few: int) -> bool:
        """Whether sums of this height are few enough to be added to in any order."""
        height = self._shape[side]
        work = next(iter(self._held.values())).data.size + self._shape[1 - side]
        return height * few * self.dtype.itemsize <= SUMS_BYTES and work >= SHARE * height

    def _rows(self, side: int) -> Rows:
        """The rows of a side, transposed where they are not there."""
        if side not in self._held:
            from scipy.sparse import csr_array

            data, starts, columns = self._held[1 - side]
            shape = self._shape[1 - side], self._shape[side]
            self._held[side] = _rows_of(csr_array((data, columns, starts), shape).tocsc())
        return self._held[side]


def sparse_matrix(x: Any, dtype: DType, name: str) -> SparseMatrix | None:
    """A SciPy sparse matrix as a `SparseMatrix` of this dtype; None where it is too large."""
    if max(x.shape) > MOST:
        return None
    kind = getattr(x, "format", "")
    if kind in ("csr", "csc", "bsr"):
        _check_compressed(x, kind, name)
    elif kind == "coo":
        for axis, indices in enumerate((x.row, x.col)):
            _check_indices(indices, x.shape[axis], name)
        if not x.row.shape == x.col.shape == x.data.shape:
            raise _malformed(name, "row, col and data differ in length")
    elif kind == "dia" and x.offsets.shape != x.data.shape[:1]:
        raise _malformed(name, "offsets and data differ in length")
    if kind not in ("csr", "csc"):
        x, kind = x.tocsr(), "csr"
        _check_compressed(x, kind, name)
    elif x.dtype.kind in "biu" and not x.has_canonical_format:
        x = x.copy()  # what stands there twice is added up in its own dtype, as by SciPy
        x.sum_duplicates()
    rows = _rows_of(x)
    return SparseMatrix(
        {int(kind == "csc"): rows._replace(data=rows.data.astype(dtype, copy=False))}, x.shape
    )


def is_sparse(x: Any) -> bool:
    """Whether `x` is a SciPy sparse array or matrix."""
    return hasattr(x, "tocsr") and hasattr(x, "nnz")


def _rows_of(x: Any) -> Rows:
    """The arrays of a CSR or CSC matrix as kernels read them, without a copy where they can."""
    starts = np.ascontiguousarray(x.indptr, np.int64)
    size = int(starts[-1])
    data = native(np.ascontiguousarray(np.asarray(x.data)[:size]))
    return Rows(data, starts, np.ascontiguousarray(x.indices[:size], np.int32))


def _block(q: Array) -> Array:
    """A block whose rows kernels can read: the numbers of each lie side by side."""
    if q.strides[1] != q.itemsize and q.shape[1] > 1:
        return np.ascontiguousarray(q)
    return q


def _check_compressed(x: Any, kind: str, name: str) -> None:
    """A ValueError where indices lead out of the matrix, or out of their arrays."""
    height, width = x.shape[::-1] if kind == "csc" else x.shape
    if kind == "bsr":
        height, width = height // x.data.shape[1], width // x.data.shape[2]
    starts, indices = np.asarray(x.indptr), np.asarray(x.indices)
    if starts.dtype.kind not in "iu" or starts.shape != (height + 1,):
        raise _malformed(name, f"indptr has shape {starts.shape}; it must have ({height + 1},)")
    if starts[0] != 0 or np.any(starts[1:] < starts[:-1]):
        raise _malformed(name, "indptr must begin with 0 and not decrease")
    if indices.ndim != 1 or starts[-1] > min(len(indices), len(x.data)):
        raise _malformed(name, "indptr exceeds indices or data")
    _check_indices(indices[: starts[-1]], width, name)


def _check_indices(indices: Array, count: int, name: str) -> None:
    if indices.dtype.kind not in "iu":
        raise _malformed(name, f"indices have dtype {indices.dtype}")
    if indices.size and (np.min(indices) < 0 or np.max(indices) >= count):
        raise _malformed(name, f"indices from {np.min(indices)} to {np.max(indices)} of {count}")


def _malformed(name: str, what: str) -> ValueError:
    return ValueError(f"{name} is not a valid sparse matrix: {what}")
