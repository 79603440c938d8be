"""What every kernel should compute, in plain NumPy. Never imports fastmat.

Each oracle gives the result in a dtype wider than the kernel's, so that its own rounding is
small beside the bounds in `tolerances`; integers and bool come in the result dtype, exact.
With ``exact=True`` the caller vouches that float64 holds every sum exactly, and the slow long
double is not used. `rounded` brings a wide result to the dtype that the kernel returns.
"""

from typing import NamedTuple

import ml_dtypes
import numpy as np

BOOL = (np.dtype(bool),)
INTEGERS = tuple(np.dtype(code) for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALVES = (np.dtype("f2"), BFLOAT16)
FLOATS = (*HALVES, np.dtype("f4"), np.dtype("f8"))
COMPLEX = (np.dtype("c8"), np.dtype("c16"))
# Unsigned integers come last: they share the kernels of the signed ones, so that workers of
# pytest-xdist that take a dtype each do not compile the same kernel at once.
DTYPES = (*BOOL, *INTEGERS[:4], *FLOATS, *COMPLEX, *INTEGERS[4:])

_WIDE = {
    **dict.fromkeys((*HALVES, np.dtype("f4")), np.float64),
    np.dtype("f8"): np.longdouble,
    np.dtype("c8"): np.complex128,
    np.dtype("c16"): np.clongdouble,
}
_EXACT = {**_WIDE, np.dtype("f8"): np.float64, np.dtype("c16"): np.complex128}


class Product(NamedTuple):
    """A reference product: its value in a wide dtype, and |A||B| for the error bound."""

    value: np.ndarray
    magnitude: np.ndarray
    k: int
    dtype: np.dtype


def name(dtype):
    """Short name of a dtype for test ids."""
    return np.dtype(dtype).name


def result_dtype(x1, x2, dtype=None):
    """NumPy's promotion, or the dtype that was asked for."""
    return np.dtype(np.result_type(x1.dtype, x2.dtype) if dtype is None else dtype)


def widen(x, dtype, exact=False):
    """The array cast to the dtype of the product, then to the dtype that the oracle computes in."""
    dtype = np.dtype(dtype)
    x = np.asarray(x)
    if x.dtype == bool:  # any byte other than 0 is True
        x = np.ascontiguousarray(x).view(np.uint8) != 0
    x = x.astype(dtype)
    return x.astype((_EXACT if exact else _WIDE).get(dtype, dtype))


def rounded(value, dtype):
    """The wide result rounded once to the dtype, in which a kernel returns it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(value).astype(dtype)


def _multiply(a, b):
    """a @ b with its parts spelled out, so that NaN and inf land where IEEE puts them."""
    with np.errstate(invalid="ignore", over="ignore"):
        if a.dtype == bool:
            return np.matmul(a.astype(np.float64), b.astype(np.float64)) > 0
        if a.dtype.kind != "c":
            return np.matmul(a, b)
        value = np.empty(np.matmul(a.real, b.real).shape, a.dtype)
        value.real = np.matmul(a.real, b.real) - np.matmul(a.imag, b.imag)
        value.imag = np.matmul(a.real, b.imag) + np.matmul(a.imag, b.real)
        return value


def matmul(x1, x2, dtype=None, exact=False):
    """NumPy's `matmul`: 1-D operands are promoted, leading axes broadcast."""
    x1, x2 = np.asarray(x1), np.asarray(x2)
    dtype = result_dtype(x1, x2, dtype)
    a, b = widen(x1, dtype, exact), widen(x2, dtype, exact)
    k = a.shape[-1]
    a = a[None, :] if x1.ndim == 1 else a
    b = b[:, None] if x2.ndim == 1 else b
    value = _multiply(a, b)
    if value.dtype.kind in "fc" and not exact:
        real = np.float64 if value.dtype.itemsize <= 16 else np.longdouble
        with np.errstate(invalid="ignore", over="ignore"):
            magnitude = np.matmul(np.abs(a).astype(real), np.abs(b).astype(real))
    else:
        magnitude = np.zeros(value.shape)
    drop = tuple(axis for axis, x in ((-2, x1), (-1, x2)) if x.ndim == 1)
    value, magnitude = (np.squeeze(part, axis=drop) for part in (value, magnitude))
    return Product(value, magnitude, k, dtype)


def matvec(x1, x2, dtype=None, exact=False):
    """NumPy's `matvec`: (…, m, k) and (…, k) give (…, m)."""
    x1, x2 = np.asarray(x1), np.asarray(x2)
    return _without(matmul(x1, x2[..., :, None], dtype, exact), -1)


def vecmat(x1, x2, dtype=None, exact=False):
    """NumPy's `vecmat`: (…, k) and (…, k, n) give (…, n); the vector is conjugated."""
    x1, x2 = np.asarray(x1), np.asarray(x2)
    return _without(matmul(_conjugate(x1)[..., None, :], x2, dtype, exact), -2)


def vecdot(x1, x2, axis=-1, dtype=None, exact=False):
    """NumPy's `vecdot`: the sum of conj(x1) * x2 along an axis of each operand."""
    x1, x2 = np.moveaxis(np.asarray(x1), axis, -1), np.moveaxis(np.asarray(x2), axis, -1)
    product = matmul(_conjugate(x1)[..., None, :], x2[..., :, None], dtype, exact)
    return _without(_without(product, -1), -1)


def transpose(x, axes=None):
    """A new C-contiguous array with the axes permuted."""
    return np.array(np.transpose(x, axes), order="C", copy=True)


def matrix_transpose(x):
    """A new C-contiguous array with the last two axes swapped."""
    return np.array(np.swapaxes(x, -1, -2), order="C", copy=True)


def _conjugate(x):
    return np.conjugate(x) if x.dtype.kind == "c" else x


def _without(product, axis):
    value, magnitude = (np.squeeze(p, axis=axis) for p in (product.value, product.magnitude))
    return product._replace(value=value, magnitude=magnitude)


ORACLES = {"matmul": matmul, "matvec": matvec, "vecmat": vecmat, "vecdot": vecdot}
