"""Products of which a sparse pattern says what to compute: the result has that pattern."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.dtypes import DType
from fastmat.ops.semirings import Semiring


def is_sparse(mask: Any) -> bool:
    """Whether a mask is a SciPy sparse matrix or array."""
    if mask is None or isinstance(mask, np.ndarray):
        return False
    return bool(importlib.import_module("scipy.sparse").issparse(mask))


def sampled(a: Array, b: Array, mask: Any, semiring: str | Semiring, dtype: DType) -> Any:
    """The entries of ``a @ b`` that a sparse mask stores, in the mask's format.

    Each is a dot product, in an order that its length alone fixes. (Nisa, Sukumaran-Rajam, Kurt,
    Hong and Sadayappan, "Sampled dense matrix multiplication for high-performance machine
    learning", HiPC 2018.)
    """
    shape = (a.shape[0], b.shape[1])
    if mask.shape != shape:
        raise ValueError(f"mask has shape {mask.shape}; the product has shape {shape}")
    semirings = importlib.import_module("fastmat.cpu.semirings")
    _, dot, _ = semirings.addresses(semiring, dtype.name)
    pattern = mask.tocsr()
    data = np.empty(pattern.nnz, dtype)
    if pattern.nnz:
        kernels = importlib.import_module("fastmat.cpu.sampled")
        starts, columns = (x.astype(np.intp, copy=False) for x in (pattern.indptr, pattern.indices))
        kernels.sampled.entry(dtype)(a, b, starts, columns, data, dot)
    result = type(pattern)((data, pattern.indices.copy(), pattern.indptr.copy()), shape=shape)
    return result.asformat(mask.format)
