"""Scalar products of columns, which conjugate gradients take one by one."""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.cpu.blocking_linalg import FLOATS


@kernel(lambda t: (reads(t, 2), reads(t, 2), writes(types.float64, 1)), FLOATS, from_python=True)
def column_dots(
    x,  # in (m, k)
    y,  # in (m, k)
    out,  # out (k,): the real parts of the sums of conj(x) * y
):
    """Row by row, in float64."""
    for c in range(out.shape[0]):
        out[c] = 0
    for i in range(x.shape[0]):
        for c in range(out.shape[0]):
            a, b = x[i, c], y[i, c]
            out[c] += types.float64(a.real) * types.float64(b.real)
            out[c] += types.float64(a.imag) * types.float64(b.imag)
