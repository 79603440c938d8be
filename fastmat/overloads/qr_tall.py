"""`linalg.qr_tall` inside ``@njit``."""

import numpy as np
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu.qr_tall import NOT_EXPLAINED, NOT_FINITE, NOT_FOUND
from fastmat.cpu.qr_tall import qr_tall as kernel
from fastmat.ops import qr_tall as ops
from fastmat.ops.qr_tall import QR, householder, matmul, signed
from fastmat.overloads.factors import check_ndim, converted, floating
from fastmat.overloads.typing import as_kernel_reads, numba_dtype

overload(ops.signed, strict=False)(lambda q, r: signed)


@overload(ops.householder)
def _householder(a):
    def householder(a):
        q, r = np.linalg.qr(np.ascontiguousarray(a))
        return np.ascontiguousarray(q), np.ascontiguousarray(r)

    return householder


@overload(ops.qr_tall)
def _qr_tall(a):
    dtype = floating(a, "a")
    check_ndim(a, "a", (2,), "qr_tall wants 2")
    item, read = numba_dtype(dtype), converted(a, dtype)

    def qr_tall(a):
        m, n = a.shape
        if m < n:
            raise ValueError("a has fewer rows than columns; qr_tall wants at least as many")
        q, r = np.empty((m, n), item), np.empty((n, n), item)
        if n:
            state = np.zeros(1, np.int64)
            x, y, z = as_kernel_reads(read(a)), as_kernel_reads(q), as_kernel_reads(r)
            call_all(kernel, y.dtype, (x, y, z, state))
            if state[0] == NOT_FINITE:
                raise ValueError("a has NaN or infinity in it; qr_tall wants finite numbers")
            if state[0] == NOT_FOUND or state[0] == NOT_EXPLAINED:
                first, upper = householder(read(a))
                call_all(kernel, y.dtype, (as_kernel_reads(first), y, z, state))
                r = signed(q, np.triu(np.ascontiguousarray(matmul(r, upper))))
        return QR(q, r)

    return qr_tall
