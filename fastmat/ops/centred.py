"""Products with a matrix less the means of its columns, which is never formed.

In Python and in compiled code, as `range_finder`. With P = 1 - 11ᵀ/m, the projector that takes the
mean off a column, the centred matrix is P B, where B is the matrix less any one row c. So
``P (B q)`` and ``Bᴴ (P y)`` are its products, right to rounding errors of B. Where means are large
beside deviations, c is the row of means and B is formed by blocks of rows that stay in the cache;
else c is 0.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array
from fastmat.ops.range_finder import times, times_adjoint
from fastmat.ops.statistics import entry_of

LARGE = 4.0  # means are, relative to deviations: up to there products lose as many digits
BLOCK_NUMBERS = 2**18  # of a block of rows: 1 MiB of float32


class Centred(NamedTuple):
    """A matrix whose products are centred."""

    matrix: Any  # (m, n)
    shift: Any  # (n,), what is subtracted from each row first; (0,): nothing
    shape: Any
    dtype: Any

    @property
    def ndim(self) -> int:
        """Of a matrix."""
        return 2

    def times(self, q: Array) -> Array:
        """The centred matrix times q."""
        return centred_times(self, q)

    def times_adjoint(self, y: Array) -> Array:
        """Its adjoint times y."""
        return centred_times_adjoint(self, y)

    def power_step(self, q: Array) -> Array:
        """Its adjoint times the centred matrix times q."""
        return self.times_adjoint(self.times(q))

    def passes_of_step(self, few: int) -> int:
        """How many times `power_step` reads the matrix."""
        return 2


def less_row(y: Array, row: Array) -> Array:
    """``y - row``, a new array."""
    found: Array = np.empty(y.shape, y.dtype)
    entry_of("pca", "subtract_row", y.dtype)(y, row, found)
    return found


def add_moments(a: Array, mean: Array, sums: Array) -> None:
    """Store the mean of each column of real numbers; see `cpu.pca.column_moments`."""
    entry_of("pca", "column_moments", a.dtype)(a, mean, sums)


def column_moments(a: Array) -> tuple[Array, Array]:
    """The mean of each column, and two sums over the matrix, all in twice the precision.

    Of the squares of what the means leave, and of the squares of the means that are taken off.
    """
    sums, n = np.zeros(2), a.shape[1]
    if a.dtype.kind == "c":
        pairs = np.empty(n, np.complex128)
        add_moments(a.real, pairs.real, sums)
        add_moments(a.imag, pairs.imag, sums)
        return pairs, sums
    mean = np.empty(n)
    add_moments(a, mean, sums)
    return mean, sums


def centred(a: Array, mean: Array, sums: Array) -> Centred:
    """The centred matrix, as products take it."""
    shift = mean.astype(a.dtype)
    if not sums[1] > LARGE**2 * sums[0]:
        shift = shift[:0]
    return Centred(a, shift, a.shape, a.dtype)


def without_mean(y: Array) -> Array:
    """The columns of y less their means."""
    m = y.shape[0]
    weights = np.full((1, m), y.dtype.type(1.0 / m))
    return less_row(y, times(weights, y)[0])


def centred_times(a: Centred, q: Array) -> Array:
    """The centred matrix times q."""
    if a.shift.size == 0:
        return without_mean(times(a.matrix, q))
    m, n = a.shape
    rows = max(1, BLOCK_NUMBERS // n)
    y = np.empty((m, q.shape[1]), q.dtype)
    for i in range(0, m, rows):
        y[i : i + rows] = times(less_row(a.matrix[i : i + rows], a.shift), q)
    return without_mean(y)


def centred_times_adjoint(a: Centred, y: Array) -> Array:
    """The adjoint of the centred matrix times y."""
    y = without_mean(y)
    if a.shift.size == 0:
        return times_adjoint(a.matrix, y)
    m, n = a.shape
    rows = max(1, BLOCK_NUMBERS // n)
    z = np.zeros((n, y.shape[1]), y.dtype)
    for i in range(0, m, rows):
        z += times_adjoint(less_row(a.matrix[i : i + rows], a.shift), y[i : i + rows])
    return z


def variances(s: Array, total: float, m: int) -> tuple[Array, Array]:
    """Variances of components, and their shares of the total sum of squares, in float64."""
    lengths = s.astype(np.float64) / math.sqrt(m - 1)
    shares = np.zeros(s.size)
    if total > 0.0:
        shares = s.astype(np.float64) / math.sqrt(total)
    return lengths * lengths, shares * shares


def sparse_moments(a: Any) -> tuple[Array, Array]:
    """As `column_moments`, of a SciPy sparse matrix: zeros are counted, not visited."""
    rows = a.tocsr(copy=True)
    rows.sum_duplicates()
    wide = np.complex128 if rows.dtype.kind == "c" else np.float64
    m, n = rows.shape
    values, columns = rows.data.astype(wide), rows.indices

    def added(weights: Array) -> Array:
        return np.bincount(columns, weights, n)

    mean = added(values.real) / m
    if values.dtype.kind == "c":
        mean = mean + 1j * (added(values.imag) / m)
    absent = m - np.bincount(columns, minlength=n)
    of_means = np.abs(mean) ** 2
    left = np.sum(np.abs(values - mean[columns]) ** 2) + np.sum(absent * of_means)
    return mean, np.array([left, m * np.sum(of_means)])


def operator_mean(a: Any) -> Array:
    """The mean of each column of a linear operator, by a product with its adjoint."""
    m = a.shape[0]
    dtype = np.dtype(a.dtype)
    return np.conj(times_adjoint(a, np.full((m, 1), 1.0 / m, dtype))[:, 0])
