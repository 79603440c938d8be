"""QR factorization of tall matrices on GPUs.

The steps of `cpu.qr_tall`, with Gram matrices and substitutions in double precision also for
matrices of single precision. So a single CholeskyQR does for those whose condition is less than
about 10**4, and a shift is needed beyond 10**7 only (Yamazaki, Tomov and Dongarra,
"Mixed-precision Cholesky QR factorization", SIAM J. Sci. Comput. 37(3), 2015). What is n x n is
factorized on the CPU: one small transfer each way in a round.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.cuda import columns, gram
from fastmat.cuda import qr_tall as kernels
from fastmat.cuda.arrays import stream_of
from fastmat.ops.on_gpu.gram import floats_of, summed
from fastmat.ops.on_gpu.matrices import (
    Matrix,
    copied,
    new,
    read,
    scratch,
    written,
    written_scratch,
)
from fastmat.ops.qr_tall import QR, householder, signed

# As on the CPU, in `cpu.blocking_linalg`.
_ORTHOGONAL = 0.5
_ROUNDS, _TRIES, _SHIFTS = 40, 5, 3
_SHIFT, _NOISE, _REST = 2.0, 32.0, 10.0

_ENOUGH = 1e-8  # a squared pivot: columns that are about orthonormal then are so for a product
_EPS = float(np.finfo(np.float64).eps)
_WIDE = np.finfo(np.float64)


class NotFiniteError(ValueError):
    """NaN or infinity in a matrix, or numbers whose squares are too large."""


def qr_tall(a: Any, /) -> QR:
    """As `fastmat.linalg.qr_tall`."""
    x = floats_of(a, "a")
    if x.view.ndim != 2 or x.shape[0] < x.shape[1]:
        raise ValueError(
            f"a has shape {x.shape}; qr_tall wants (m, n) with at least as many rows as columns"
        )
    try:
        q, r = factored(x)
    except NotFiniteError:
        message = "a has NaN or infinity in it; qr_tall wants finite numbers"
        raise ValueError(message) from None
    return QR(q.array, written(r, q, x.view.dtype).array)


def factored(a: Matrix, exact: bool = True, target: Matrix | None = None) -> tuple[Matrix, Array]:
    """Q, and R on the CPU in double precision; without `exact` Q is good enough for a product.

    Q may take the place of `a`.
    """
    n = a.shape[1]
    q = new(a.shape, a.view.dtype, a) if target is None else target
    r = np.zeros((n, n), gram.WIDE[a.view.dtype])
    if n == 0:
        return q, r
    found = _factored(a, q, r, exact)
    if found is None:  # as on the CPU: has not been seen
        first, upper = householder(read(a))
        found = _factored(written(first, a), q, r, True)
        assert found is not None
        return q, signed_on_gpu(q, np.triu(found @ upper))
    return q, found


def signed_on_gpu(q: Matrix, r: Array) -> Array:
    """R with a diagonal that is not negative; columns of q are turned as its rows are."""
    host = read(q)
    found = signed(host, r)
    copied(written(host, q), q.view.dtype, q)
    return found


def _factored(a: Matrix, q: Matrix, r: Array, exact: bool) -> Array | None:
    n, source = a.shape[1], a
    eps = float(np.finfo(a.dtype).eps)
    square = gram_of(a)
    powers = np.zeros(n, np.int32)
    if not _is_in_range(square, eps):
        tops = measured(a)[0]
        if not np.isfinite(tops).all():
            raise NotFiniteError
        powers = -np.frexp(tops)[1].astype(np.int32)
        scaled(a, powers, q)
        source, square = q, gram_of(q)
    shifts, tries, replaced, turns = 0, 0, False, 0
    in_place = q.view.pointer == a.view.pointer  # then there is nothing to compare with
    for turn in range(_ROUNDS):
        orthogonal = turn > 0 and np.linalg.norm(square - np.eye(n)) <= _ORTHOGONAL
        found = None
        if orthogonal or tries < _TRIES:
            found = _factor_scaled(square, shifts < _SHIFTS)
        if found is None:
            dependent = _dependent(square)
            r[dependent] = 0
            marks = np.where(dependent, columns.RANDOM, columns.KEEP).astype(np.int32)
            scaled(source, marks, q, turn)
            source, shifts, tries, replaced = q, 0, 0, True
        else:
            upper, shift, least = found
            tries, shifts, turns = tries + 1, shifts + (shift > 0), turns + 1
            solved(source, upper, q)
            r = upper if turns == 1 and turn == 0 else np.triu(upper @ r)
            source = q
            near = shift == 0 and not replaced
            good = near and 4 * n * _EPS / least <= eps  # rounding of the Gram matrix, magnified
            if orthogonal or good or (near and not exact and least > _ENOUGH):
                r = _scaled_back(r, powers)
                if replaced and not in_place and not _explains(a, q, r, eps):
                    return None
                return r
        square = gram_of(q)
        if found is not None:
            np.fill_diagonal(square, measured(q)[1] ** 2)
    return None


def gram_of(x: Matrix) -> Array:
    """The Gram matrix in double precision, on the CPU."""
    n = x.shape[1]
    result = scratch((n, n), gram.WIDE[x.view.dtype], x)
    summed(x, result)
    return read(result)


def measured(x: Matrix) -> tuple[Array, Array]:
    """The largest part of a number in each column, inf if one is not finite, and its length."""
    m, n = x.shape
    if not n or not m:
        return np.zeros(n), np.zeros(n)
    tops, sums = _measured(x, 1.0)
    top = float(np.max(tops, initial=0.0))
    least, most = math.sqrt(_WIDE.tiny / _WIDE.eps), math.sqrt(_WIDE.max) / math.sqrt(2.0 * m)
    exponent = 0
    if math.isfinite(top) and top > 0 and not least <= top <= most:
        exponent = max(min(-math.frexp(top)[1], 1000), -1000)
        sums = _measured(x, math.ldexp(1.0, exponent))[1]
    lengths = np.ldexp(np.sqrt(sums), -exponent)
    lengths[~np.isfinite(tops)] = np.inf
    return tops, lengths


def _measured(x: Matrix, scale: float) -> tuple[Array, Array]:
    (m, n), where = x.shape, x.view
    piece = columns.piece_of(m)
    pieces = -(-m // piece)
    found = scratch((2, pieces, n), "float64", x)
    arguments = (where.pointer, m, n, *where.strides, piece, scale, found.view.pointer)
    grid = (-(-n // columns.COLUMNS), pieces)
    columns.measure(where.dtype)(grid, arguments, stream_of(where), where.device)
    tops, sums = read(found)
    total, lost = np.zeros(n), np.zeros(n)
    for term in sums:
        with np.errstate(invalid="ignore", over="ignore"):
            after = total + (term - lost)
            lost, total = (after - total) - (term - lost), after
    return np.max(tops, axis=0), total


def scaled(x: Matrix, powers: Array, target: Matrix, seed: int = 0) -> None:
    """Columns times powers of 2, or what `columns.scale` has in place of them."""
    (m, n), source, to = x.shape, x.view, target.view
    given = written_scratch(powers, x)
    arguments = (
        *(source.pointer, m, n, *source.strides, given.view.pointer, seed),
        *(to.pointer, *to.strides),
    )
    grid = columns.grid_of(m, n)
    columns.scale(source.dtype)(grid, arguments, stream_of(to), to.device)


def solved(x: Matrix, upper: Array, q: Matrix) -> None:
    """``q = x / upper``, which may be in place.

    By panels, of which each is solved for what the ones before it leave. Where there are several
    they stay in double precision till the end: rounding them would make the next ones less
    orthogonal.
    """
    (m, n), dtype, stream = x.shape, x.view.dtype, stream_of(q.view)
    wide, panel = gram.WIDE[dtype], kernels.panel_of(dtype)
    padded = -(-n // 4) * 4
    host = np.zeros((padded, padded), wide)
    host[:n, :n] = upper
    np.fill_diagonal(host, 1.0)
    host[range(n), range(n)] = 1.0 / np.diagonal(upper).real
    r = written_scratch(host, x)
    target = q
    if n > panel and dtype != wide:
        x = copied(x, wide, scratch((m, n), wide, x))
        target = x
    rest = scratch((m, min(panel, n)), wide, x) if n > panel else None
    for start in range(0, n, panel):
        stop = min(start + panel, n)
        given, to = x.columns(start, stop), target.columns(start, stop).view
        if start:
            assert rest is not None
            left = rest.columns(0, stop - start)
            subtracted(given, target.columns(0, start), r.rows(0, start).columns(start, stop), left)
            given = left
        corner = r.rows(start, stop).columns(start, stop).view
        source = given.view
        arguments = (
            *(source.pointer, m, stop - start, *source.strides),
            *(corner.pointer, corner.strides[0]),
            *(to.pointer, *to.strides),
        )
        kernel = kernels.solve_rows(source.dtype, to.dtype)
        kernel(-(-m // kernels.ROWS), arguments, stream, to.device)
    if target is not q:
        copied(target, dtype, q)


def subtracted(x: Matrix, q: Matrix, r: Matrix, rest: Matrix) -> None:
    """``rest = x - q @ r``, of which r and the rest are in double precision."""
    (m, n), source, left, right, to = x.shape, x.view, q.view, r.view, rest.view
    arguments = (
        *(source.pointer, m, n, *source.strides),
        *(left.pointer, q.shape[1], *left.strides),
        *(right.pointer, right.strides[0], to.pointer, to.strides[0]),
    )
    grid = (-(-m // gram.TILE), -(-n // gram.TILE))
    kernels.subtract(source.dtype)(grid, arguments, stream_of(to), to.device)


def _is_in_range(square: Array, eps: float) -> bool:
    """Whether no square has overflowed, and none that counts has underflowed."""
    least, most = _WIDE.tiny / _WIDE.eps**2, _WIDE.max * _WIDE.eps
    diagonal = np.diagonal(square).real
    zero_is_zero = eps > _WIDE.eps  # of single precision no square underflows
    inside = (least <= diagonal) | (zero_is_zero & (diagonal == 0))
    return bool((inside & (diagonal <= most)).all()) and bool(np.isfinite(square).all())


def _gram_powers(square: Array) -> Array:
    """Powers of 2 that make the lengths of columns about 1; 0 stays 0."""
    found: Array = np.ldexp(1.0, -(np.frexp(np.diagonal(square).real)[1] // 2))
    return found


def _factor_scaled(square: Array, may_shift: bool) -> tuple[Array, float, float] | None:
    """The Cholesky factor, the shift relative to the columns that it took, the least pivot.

    Pivots at the level of rounding errors count as failures: their columns of Q would be noise, of
    any length.
    """
    n = len(square)
    powers = _gram_powers(square)
    even = square * powers * powers[:, np.newaxis]
    noise, shift = _SHIFT * n * _EPS, 0.0
    while shift < 1:
        try:
            lower = np.linalg.cholesky(even + shift * np.eye(n))
        except np.linalg.LinAlgError:
            lower = None
        if lower is not None and np.isfinite(lower).all():
            least = float(np.min(np.diagonal(lower).real)) ** 2
            if least > noise or shift > 0:
                return np.conj(lower.T) / powers, shift, least
        if not may_shift:
            return None
        shift = noise if shift == 0 else 8 * shift
    return None


def _dependent(square: Array) -> Array:
    """Which columns depend on those before them; one at least."""
    powers = _gram_powers(square)
    work = square * powers * powers[:, np.newaxis]
    n = len(work)
    noise = _NOISE * n * _EPS
    pivots = np.empty(n)
    for j in range(n):
        pivots[j] = work[j, j].real
        if pivots[j] > noise:
            column = work[j + 1 :, j]
            work[j + 1 :, j + 1 :] -= np.outer(column / pivots[j], np.conj(column))
    found: Array = ~(pivots > noise)
    if not found.any():
        found[np.argmin(pivots)] = True
    return found


def _scaled_back(r: Array, powers: Array) -> Array:
    if not powers.any():
        return r
    found: Array
    if r.dtype.kind == "c":
        found = np.ldexp(r.real, -powers) + 1j * np.ldexp(r.imag, -powers)
    else:
        found = np.ldexp(r, -powers)
    return found


def _explains(a: Matrix, q: Matrix, r: Array, eps: float) -> bool:
    """Whether q r is a, column by column: noise may have been kept for a column that counts."""
    n = a.shape[1]
    rest = scratch(a.shape, gram.WIDE[a.view.dtype], a)
    subtracted(a, q, written_scratch(r, a), rest)
    beyond, given = measured(rest)[1], measured(a)[1]
    return bool((beyond <= _REST * eps * math.sqrt(n) * given).all())
