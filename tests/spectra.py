"""Matrices of known singular values; plain NumPy."""

import numpy as np


def orthonormal(m, k, rng, dtype="f8"):
    """A random m x k matrix of orthonormal columns."""
    x = rng.standard_normal((m, k))
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal((m, k))
    return np.linalg.qr(x)[0]


def matrix(m, n, values, rng, dtype="f8"):
    """An m x n matrix with these singular values, and 0 for the rest."""
    values = np.asarray(values)[: min(m, n)]
    u, v = (orthonormal(side, len(values), rng, dtype) for side in (m, n))
    return np.asarray((u * values) @ v.conj().T, dtype)


SPECTRA = {
    "geometric": lambda k: 0.85 ** np.arange(k),
    "polynomial": lambda k: (1.0 + np.arange(k)) ** -2,
    "staircase": lambda k: 10.0 ** -(np.arange(k) // 8),
    "noise floor": lambda k: np.where(np.arange(k) < 10, 1.0, 1e-3),
}


def errors(x, found):
    """The true relative errors of factors, in the Frobenius and the spectral norm."""
    wide = np.complex128 if np.iscomplexobj(x) else np.float64
    u, s, vh = (np.asarray(part).astype(wide) for part in found)
    rest = x.astype(wide) - (u * s) @ vh
    return tuple(np.linalg.norm(rest, p) / np.linalg.norm(x.astype(wide), p) for p in ("fro", 2))
