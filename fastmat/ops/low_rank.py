"""Arguments of randomized factorizations, and the small factorizations that they end in."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fastmat.core.arrays import as_array
from fastmat.core.dtypes import DType, unsupported
from fastmat.ops.operators import Operator
from fastmat.ops.range_finder import NORMALIZERS
from fastmat.ops.row_blocks import ByRows, RowBlocks
from fastmat.ops.sparse import SparseMatrix, is_sparse, sparse_matrix

COMPUTED = ("float32", "float64", "complex64", "complex128")
FEW = 0.1  # of the smaller side: scikit-learn iterates more for fewer components
ITERATIONS_OF_FEW, ITERATIONS = 7, 4  # as in scikit-learn


def operand_of(x: Any, name: str = "x") -> Any:
    """`x` as products take it: an array of a computed dtype, a sparse matrix or an operator."""
    if isinstance(x, ByRows):
        return x
    if _is_operator(x):
        return _of_operator(x, name)
    if isinstance(x, np.memmap) and x.ndim == 2 and _is_converted(x.dtype):
        rows_first = x.flags.c_contiguous or not x.flags.f_contiguous
        return RowBlocks(x) if rows_first else RowBlocks(x.T).T  # never all of it in memory
    array = as_array(x, name)
    if array.ndim < 2:
        raise ValueError(f"{name} has shape {array.shape}; it must have two or more dimensions")
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype.name in ("float16", "bfloat16"):
        return array.astype(np.float32)
    if array.dtype.name not in COMPUTED:
        raise unsupported(name, array.dtype)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _is_converted(dtype: DType) -> bool:
    """Whether numbers of this dtype are computed with in another."""
    return dtype.kind in "biu" or dtype.name in ("float16", "bfloat16") or not dtype.isnative


def _is_operator(x: Any) -> bool:
    """Whether `x` is a SciPy sparse array or matrix, or a LinearOperator."""
    return not isinstance(x, np.ndarray) and (hasattr(x, "rmatmat") or is_sparse(x))


def _of_operator(x: Any, name: str) -> SparseMatrix | Operator:
    if len(x.shape) != 2:
        raise ValueError(f"{name} has shape {x.shape}; it must be a matrix")
    dtype = np.dtype(np.float64 if x.dtype is None else x.dtype).newbyteorder("=")
    if dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    if dtype.name not in COMPUTED:
        raise unsupported(name, dtype)
    if not is_sparse(x):
        return Operator(x, dtype, name)
    found = sparse_matrix(x, dtype, name)
    if found is not None:
        return found
    from scipy.sparse.linalg import aslinearoperator

    return Operator(aslinearoperator(x.astype(dtype)), dtype, name)


def whole_number(value: Any, name: str, least: int, most: int | None = None) -> int:
    """An integer argument within its range."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it must be an integer") from None
    if number < least or (most is not None and number > most):
        upper = "" if most is None else f" and at most {most}"
        raise ValueError(f"{name} is {number}; it must be at least {least}{upper}")
    return number


def iterations(n_iter: Any, components: int | None, smaller: int) -> int:
    """How many power iterations: as in scikit-learn, or one where the rank is not given."""
    if isinstance(n_iter, str):
        if n_iter != "auto":
            raise ValueError(f"n_iter is {n_iter!r}; it must be an integer or 'auto'")
        if components is None:
            return 1
        return ITERATIONS_OF_FEW if components < FEW * smaller else ITERATIONS
    return whole_number(n_iter, "n_iter", 0)


def normalizer_of(name: Any) -> int:
    """The normalizer of this name."""
    if not isinstance(name, str) or name not in NORMALIZERS:
        raise ValueError(
            f"power_iteration_normalizer is {name!r}; it must be one of "
            + ", ".join(map(repr, NORMALIZERS))
        )
    return NORMALIZERS[name]


def transposes(transpose: Any, m: int, n: int) -> bool:
    """Whether to factorize the transposed matrix: "auto" does so with wide ones."""
    if isinstance(transpose, str) and transpose == "auto":
        return m < n
    if not isinstance(transpose, bool | np.bool_):
        raise TypeError(f"transpose is {transpose!r}; it must be True, False or 'auto'")
    return bool(transpose)


def tolerance(tol: Any) -> float:
    """A relative tolerance."""
    try:
        number = float(tol)
    except (TypeError, ValueError):
        raise TypeError(f"tol is {tol!r}; it must be a number") from None
    if not 0 < number < 1:
        raise ValueError(f"tol is {number}; it must lie between 0 and 1, both excluded")
    return number
