"""What randomized factorizations share: products with a matrix and its adjoint, and its range.

The functions here are Python's and compiled code's at once: `overloads` compiles those that take
arrays. They call public operations, and functions that `overloads` has in another way.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.ops.gram import gram, power_step
from fastmat.ops.matmul import matmul
from fastmat.ops.qr_tall import qr_tall
from fastmat.ops.random import standard_normal
from fastmat.ops.statistics import entry_of

NONE, QR, LU, AUTO = range(4)  # how a block is normalized between two products
NORMALIZERS = {"none": NONE, "QR": QR, "LU": LU, "auto": AUTO}

SKETCH, PROBES = 0, 1  # streams of random numbers: of the sketch, and of what judges it
COUNT = 16  # probes
BLOCK = 32  # columns that a basis grows by
NEW = 0.5  # of a column of length 1, beyond the basis so far: one with less of it is noise
NOISE = 4.0  # rounding errors of a product with the matrix, relative to it: this times eps
FAILURE = 1e-3  # probability that an estimate from them is too small
SAFE = 100.0  # squared singular values, relative to the largest, that outweigh this times eps
GRAM_SHARE = 2.5  # columns of a matrix, per iteration and column of the sketch, for a Gram matrix
_LEAST = 3.9416  # a chi-squared number of COUNT degrees is less with probability FAILURE


def times(a: Any, q: Array) -> Array:
    """``a @ q``, of an array or a linear operator."""
    product: Array = matmul(a, q) if is_array(a) else a.times(q)
    return product


def times_adjoint(a: Any, y: Array) -> Array:
    """The adjoint of ``a`` times ``y``, of an array or a linear operator."""
    if not is_array(a):
        found: Array = a.times_adjoint(y)
        return found
    if a.dtype.kind != "c":
        product: Array = matmul(a.T, y)
        return product
    product = matmul(a.T, y.conj())
    return np.conj(product, out=product)


def factored(y: Array) -> tuple[Array, Array]:
    """The QR decomposition of a tall matrix."""
    q, r = qr_tall(y)
    return q, r


def normalized(y: Array, normalizer: int) -> Array:
    """A matrix with the columns' span of another, well enough conditioned for a product."""
    if normalizer == LU:
        return unit_lower(y)
    if normalizer == NONE:
        return scaled(y)
    found: Array = factored(y)[0]
    return found


def unit_lower(y: Array) -> Array:
    """The factor L of an LU factorization, rows permuted back."""
    from scipy.linalg import lu

    found: Array = lu(y, permute_l=True, check_finite=False)[0]
    return found


def scaled(y: Array) -> Array:
    """The numbers of a matrix times the power of 2 that makes the largest about 1."""
    largest = np.max(np.abs(y)) if y.size else 0.0
    if largest == 0.0:
        return y
    exponent = math.frexp(float(largest))[1]
    half = exponent // 2  # of the exponent alone a power may overflow
    found: Array = y * y.real.dtype.type(2.0**-half) * y.real.dtype.type(2.0 ** (half - exponent))
    return found


def random_block(a: Any, size: int, seed: Any, stream: int) -> Array:
    """Normal numbers to multiply a matrix with."""
    found: Array = standard_normal((a.shape[1], size), dtype=a.dtype, rng=seed, stream=stream)
    return found


def sketched(
    a: Any, size: int, n_iter: int, normalizer: int, seed: Any
) -> tuple[Array, Array, Array, int]:
    """A basis of about the range of a matrix, probes, the matrix times them, passes over it.

    Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 53(2), 2011,
    algorithm 4.4. The probes are other random numbers than those that the basis is made of, and
    share a pass over the matrix with them.
    """
    w = random_block(a, size, seed, SKETCH)
    passes = 1
    if normalizer == AUTO:
        w, n_iter, passes = squared_steps(a, w, n_iter)
    probes = random_block(a, COUNT, seed, PROBES)
    products = times(a, np.concatenate((w, probes), axis=1))
    check_finite(products)
    y = products[:, :size]
    for _ in range(n_iter):
        z = times_adjoint(a, normalized(y, normalizer))
        y = times(a, normalized(z, normalizer))
    q = products[:, :size]
    q[:] = factored(y)[0]  # so that no second block of this size stays
    return q, probes, products[:, size:], passes + 2 * n_iter


def squared_steps(a: Array, w: Array, n_iter: int) -> tuple[Array, int, int]:
    """Power iterations in one pass each, or in one for all: with the square of a matrix.

    It loses what is smaller than the square root of the precision, and what underflows when it is
    squared. Where that might be part of the sketch, nothing is done. Returns the columns to go on
    with, the iterations that are left, and how many passes over the matrix have been made, with
    that which comes next.
    """
    few = is_array(a) and a.shape[1] <= GRAM_SHARE * n_iter * w.shape[1]
    square = squared(a) if few else np.empty((0, 0), w.dtype)
    eps = float(np.finfo(w.real.dtype).eps)
    full = float(np.finfo(w.real.dtype).tiny) / eps  # from here on eps of a number is one, too
    cost = 0 if few else passes_of_step(a, w.shape[1])
    passes, q = 2 if few else 1, w
    for _ in range(n_iter):
        z = times(square, q) if few else squared_times(a, q)
        passes += cost
        if not math.isfinite(norm(lengths(z))):
            return w, n_iter, passes
        q, r = factored(z)
        sizes = np.abs(np.diag(r))
        if not np.min(sizes) > SAFE * eps * max(np.max(sizes), full):
            return w, n_iter, passes
    return q, 0, passes


def is_array(a: Any) -> bool:
    """Whether a matrix is an array; else it is an operand of another kind."""
    return isinstance(a, np.ndarray)


def squared(a: Array) -> Array:
    """The adjoint of a matrix times itself."""
    found: Array = gram(a)
    return found


def squared_times(a: Any, q: Array) -> Array:
    """The adjoint of a matrix times the matrix times q, in one pass over it if that can be."""
    found: Array = power_step(a, q) if is_array(a) else a.power_step(q)
    return found


def passes_of_step(a: Any, few: int) -> int:
    """How many times `squared_times` reads a matrix, for so many columns."""
    return 1 if is_array(a) else int(a.passes_of_step(few))


def check_finite(y: Array) -> None:
    """A ValueError where the product of a matrix and normal numbers is not finite."""
    if not math.isfinite(norm(lengths(y))):
        raise ValueError(
            "x contains NaN or infinity, or numbers whose sums are too large for its dtype"
        )


def without(q: Array, y: Array) -> Array:
    """The part of the columns of y that is orthogonal to the columns of q."""
    found: Array = y - times(q, times_adjoint(q, y))
    return found


def adaptive(
    a: Any, most: int, tol: float, spectral: bool, n_iter: int, normalizer: int, seed: Any
) -> tuple[Array, Array, Array, Array, int]:
    """A basis, block by block, until what is beyond it is small enough; or of `most` columns.

    Yu, Gu and Li, "Efficient randomized algorithms for the fixed-precision low-rank matrix
    approximation", SIAM J. Matrix Anal. Appl. 39(3), 2018, algorithm 2. It is stopped by probes, of
    which each block is taken off, not by the difference of squared norms, which says nothing below
    the square root of the precision.

    Returns the basis q, the adjoint of the matrix times q, probes, the matrix times them, and how
    many blocks there are.
    """
    m, n = a.shape
    probes = random_block(a, COUNT, seed, PROBES)
    seen_by_probes = times(a, probes)
    check_finite(seen_by_probes)
    rest, room = seen_by_probes, min(2 * BLOCK, most)
    noise = NOISE * float(np.finfo(rest.real.dtype).eps) * np.max(lengths(rest))
    q, z = np.empty((m, room), rest.dtype), np.empty((n, room), rest.dtype)
    size, blocks, captured, largest = 0, 0, 0.0, 0.0
    while size < most:
        width = min(BLOCK, most - size)
        old, seen = q[:, :size], z[:, :size]
        w = random_block(a, width, seed, PROBES + 1 + blocks)
        y = times(a, w) - times(old, times_adjoint(seen, w))
        for _ in range(n_iter):
            y = normalized(y, normalizer)
            w = normalized(times_adjoint(a, y) - times(seen, times_adjoint(old, y)), normalizer)
            y = times(a, w) - times(old, times_adjoint(seen, w))
        fresh = above_noise(without(old, above_noise(y, noise)), NEW)
        if fresh.shape[1] > 0:
            y = fresh
        elif size > 0:
            break
        else:  # nothing but zeros: any column will do
            y = np.ascontiguousarray(factored(y)[0][:, :1])
        width = y.shape[1]
        y = factored(without(old, y))[0]
        y = factored(without(old, y))[0]  # twice is enough
        w = times_adjoint(a, y)
        if size + width > q.shape[1]:
            q, z = extended(q, size, most), extended(z, size, most)
        q[:, size : size + width], z[:, size : size + width] = y, w
        rest = without(y, rest)
        size, blocks = size + width, blocks + 1
        found = lengths(w)
        captured = math.hypot(captured, norm(found))
        largest = max(largest, np.max(found))
        beyond, longest = bounds(rest)
        limit = tol - rounding(rest, size)
        if spectral:
            if longest <= limit * largest:
                break
        elif beyond <= limit * math.hypot(captured, beyond):
            break
    return q[:, :size], z[:, :size], probes, seen_by_probes, blocks


def above_noise(y: Array, noise: float) -> Array:
    """An orthonormal basis of the columns, without those of which the others leave only noise.

    Noise need not point away from the basis so far: where the range of the matrix is exhausted it
    may lie within, and then nothing would make it orthogonal.
    """
    q, r = factored(y)
    found: Array = q[:, np.flatnonzero(np.abs(np.diag(r)) > noise)]
    return found


def extended(q: Array, size: int, most: int) -> Array:
    """A matrix with room for twice as many columns, whose first ones are those of another."""
    found = np.empty((q.shape[0], min(2 * q.shape[1], most)), q.dtype)
    found[:, :size] = q[:, :size]
    return found


def rounding(y: Array, size: int) -> float:
    """About what rounding makes of so many triplets, relative to the matrix."""
    return 2 * math.sqrt(size) * float(np.finfo(y.real.dtype).eps)


def lengths(w: Array) -> Array:
    """The length of each column, in float64; not finite where a number of it is not."""
    found = np.empty(w.shape[1])
    entry_of("randomized_svd", "column_lengths", w.dtype)(w, found)
    return found


def norm(numbers: Array) -> float:
    """The length of a vector, without overflow."""
    total = 0.0
    for number in numbers:
        total = math.hypot(total, number)
    return total


def bounds(rest: Array) -> tuple[float, float]:
    """Upper bounds for the Frobenius and the spectral norm of a matrix, from its probes.

    Of E times normal numbers in COUNT columns. Each holds with probability 1 - FAILURE: the
    squares of the columns add up to at least chi-squared times the squared norm where E has
    rank 1, which is the worst case for so small a quantile (Szekely and Bakirov, "Extremal
    probabilities for Gaussian quadratic forms", 2003); the spectral norm by lemma 4.1 of Halko,
    Martinsson and Tropp.
    """
    found = lengths(rest)
    frobenius = norm(found) / math.sqrt(_LEAST)
    spectral = FAILURE ** (-1.0 / COUNT) * math.sqrt(2.0 / math.pi) * np.max(found)
    return frobenius, min(spectral, frobenius)
