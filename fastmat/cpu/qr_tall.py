"""Thin QR of tall matrices by Cholesky factorizations of Gram matrices.

One CholeskyQR leaves a Q whose columns are orthogonal to eps times the squared condition number;
the next one starts from that Q. How orthogonal it has become is measured, by its Gram matrix,
before it is factored for the last time: so two rounds do for well-conditioned matrices
(CholeskyQR2), three or more for others, of which the first ones are shifted (shifted CholeskyQR3).
Columns are scaled by powers of 2 to about one length, which changes the factor by such powers only.

A column that depends on those before it shrinks in each round, together with its row of R. What is
left of it after some of them does not count: a random column takes its place in Q, and 0 in R.
"""

import math

import numpy as np
from numba import types

from fastmat.core.compile import call, call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import real
from fastmat.core.philox import uniform
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import SERIAL_WORK, ceil_div
from fastmat.cpu.blocking_linalg import (
    FLOATS,
    ORTHOGONAL,
    QR_NOISE,
    QR_REST,
    QR_ROUNDS,
    QR_SHIFT,
    QR_SHIFTS,
    QR_TRIES,
    SCALED_ROWS,
)
from fastmat.cpu.cholesky import factor
from fastmat.cpu.gram import conjugate, divided, gram_of
from fastmat.cpu.matmul import product
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.solve_triangular import block_of, solve_right
from fastmat.cpu.views import as_any

DONE, NOT_FINITE, NOT_FOUND, NOT_EXPLAINED = 0, 1, 2, 3


def _types(t):
    return reads(t, 2), writes(t, 2), writes(t, 2), writes(types.int64, 1)


@kernel(_types, FLOATS, from_python=True)
def qr_tall(
    a,  # in (m, n), m >= n
    q,  # out (m, n)
    r,  # out (n, n)
    state,  # out (1,): DONE, NOT_FINITE, NOT_EXPLAINED: r lacks something; or NOT_FOUND, never seen
):
    """a = q r."""
    m, n = a.shape
    state[0] = DONE
    if n == 0:
        return
    threads = num_threads() if m * n * n > SERIAL_WORK else 1
    gram, lower = as_any(scratch((n, n), a.dtype)), as_any(scratch((n, n), a.dtype))
    powers = scratch(n, types.int64)
    call(gram_of, a.dtype, (a, gram, threads))
    source = a
    for j in range(n):
        powers[j] = 0
    if not _is_in_range(gram):
        if not _find_powers(a, powers, threads):
            state[0] = NOT_FINITE
            return
        parallel_for(_scale_rows, ceil_div(m, SCALED_ROWS), threads, (a, powers, q))
        source = q
        call(gram_of, a.dtype, (q, gram, threads))
    shifts, tries, blocks = 0, 0, ceil_div(m, block_of(m, a.dtype))
    squares, replaced = scratch((blocks, n), types.float64), False
    for turn in range(QR_ROUNDS):
        orthogonal = turn > 0 and _distance(gram) <= ORTHOGONAL
        shift = -1.0
        if orthogonal or tries < QR_TRIES:
            shift = _factor_scaled(gram, lower, shifts < QR_SHIFTS, threads)
        if shift < 0:
            _replace_dependent(gram, lower, q, r, turn, threads)
            shifts, tries, replaced = 0, 0, True
        else:
            tries += 1
            shifts += shift > 0
            upper = _upper(lower)
            args = source, as_any(upper), q, False, as_any(squares), threads
            call(solve_right, a.dtype, args)
            _accumulate(upper, r, turn == 0, threads)
            source = q
            if orthogonal:
                _scale_back(r, powers)
                if replaced and not _explains(a, q, r, threads):
                    state[0] = NOT_EXPLAINED
                return
        call(gram_of, a.dtype, (q, gram, threads))
        if shift >= 0:
            _set_diagonal(gram, squares)
    state[0] = NOT_FOUND


@inlined
def _explains(
    a,  # in (m, n)
    q,  # in (m, n)
    r,  # in (n, n)
    threads,
):
    """Whether q r is a, column by column: noise may have been kept for a column that counts."""
    (m, n), eps = a.shape, _eps(r)
    found = as_any(scratch((m, n), a.dtype))
    call_on_demand(product, a.dtype, (q, r, found, threads))
    for j in range(n):
        largest, rest, size = 0.0, 0.0, 0.0
        for i in range(m):
            largest = max(largest, np.float64(abs(a[i, j])))
        for i in range(m):
            if largest > 0:
                rest += (np.float64(abs(a[i, j] - found[i, j])) / largest) ** 2
                size += (np.float64(abs(a[i, j])) / largest) ** 2
        if rest > (QR_REST * eps) ** 2 * n * size:
            return False
    return True


@inlined
def _set_diagonal(
    gram,  # inout (n, n)
    squares,  # inout (blocks, n): squared lengths of columns
):
    """The squared lengths, summed with compensation: rounding errors of like terms add up."""
    blocks, n = squares.shape
    lost = scratch(n, types.float64)
    for j in range(n):
        lost[j] = 0
    for block in range(1, blocks):
        for j in range(n):
            total, term = squares[0, j], squares[block, j] - lost[j]
            after = total + term
            lost[j] = (after - total) - term
            squares[0, j] = after
    for j in range(n):
        gram[j, j] = squares[0, j]


@inlined
def _is_in_range(gram):
    """Whether no square has overflowed, and none that counts has underflowed."""
    least, most = _range(gram)
    for j in range(gram.shape[0]):
        if not least <= gram[j, j].real <= most:
            return False
    return True


def _range(gram):
    raise TypeError("only for compiled code")


@overload(_range)
def _range_of_dtype(gram):
    finfo = np.finfo(str(real(gram.dtype)))
    least, most = float(finfo.tiny / finfo.eps**2), float(finfo.max * finfo.eps)
    return lambda gram: (least, most)


def _eps(gram):
    raise TypeError("only for compiled code")


@overload(_eps)
def _eps_of_dtype(gram):
    eps = float(np.finfo(str(real(gram.dtype))).eps)
    return lambda gram: eps


@inlined
def _find_powers(
    a,  # in (m, n)
    powers,  # out (n,): what columns are multiplied with, as exponents of 2
    threads,
):
    """Powers of 2 that make the largest number of each column about 1; whether all are finite."""
    m, n = a.shape
    blocks = ceil_div(m, SCALED_ROWS)
    largest = scratch((blocks, n), types.float64)
    parallel_for(_find_largest, blocks, threads, (a, largest))
    for j in range(n):
        top = 0.0
        for block in range(blocks):
            if not largest[block, j] < np.inf:
                return False
            top = max(top, largest[block, j])
        powers[j] = -math.frexp(top)[1]
    return True


@task
def _find_largest(args, slot, index):
    """The largest part of a number in each column; inf if one is not finite."""
    a, largest = args
    for j in range(a.shape[1]):
        largest[index, j] = 0
    for i in range(index * SCALED_ROWS, min((index + 1) * SCALED_ROWS, a.shape[0])):
        for j in range(a.shape[1]):
            size = np.float64(max(abs(a[i, j].real), abs(a[i, j].imag)))
            if not size < np.inf or a[i, j] != a[i, j]:
                size = np.inf
            largest[index, j] = max(largest[index, j], size)


@task
def _scale_rows(args, slot, index):
    a, powers, q = args
    for i in range(index * SCALED_ROWS, min((index + 1) * SCALED_ROWS, a.shape[0])):
        for j in range(a.shape[1]):
            q[i, j] = scaled(a[i, j], powers[j])


def scaled(number, power):
    raise TypeError("only for compiled code")


@overload(scaled)
def _scaled_by_power(number, power):
    """number * 2**power, rounded once: float64 alone would need two steps for subnormal numbers."""

    if isinstance(number, types.Complex):
        return lambda number, power: complex(
            math.ldexp(number.real, power), math.ldexp(number.imag, power)
        )
    return lambda number, power: math.ldexp(number, power)


@inlined
def _distance(gram):
    """Frobenius norm of gram - 1."""
    total = 0.0
    for i in range(gram.shape[0]):
        for j in range(gram.shape[0]):
            u, v = np.float64(gram[i, j].real), np.float64(gram[i, j].imag)
            u -= i == j
            total += u * u + v * v
    return math.sqrt(total)


@inlined
def _factor_scaled(
    gram,  # in (n, n)
    lower,  # out (n, n): the Cholesky factor of gram, or of a matrix close to it
    may_shift,
    threads,
):
    """The shift, relative to the columns, with which the factorization went well; -1 if none.

    Pivots at the level of the rounding errors of gram count as failures: their columns of Q would
    be noise, of any length.
    """
    n = gram.shape[0]
    powers, failed = scratch(n, types.int64), scratch(1, types.int64)
    _find_gram_powers(gram, powers)
    noise = QR_SHIFT * n * _eps(gram)
    shift = 0.0
    while shift < 1:
        for i in range(n):
            for j in range(i + 1):
                lower[i, j] = scaled(gram[i, j], powers[i] + powers[j])
            lower[i, i] += shift
        call(factor, gram.dtype, (lower, as_any(failed), threads))
        least = np.inf
        if failed[0] == 0:
            for j in range(n):
                pivot = np.float64(lower[j, j].real)
                least = min(least, pivot * pivot)
        if failed[0] == 0 and (least > noise or shift > 0):
            for i in range(n):
                for j in range(i + 1):
                    lower[i, j] = scaled(lower[i, j], -powers[i])
            return shift
        if not may_shift:
            return -1.0
        shift = noise if shift == 0 else 8 * shift
    return -1.0


@inlined
def _find_gram_powers(gram, powers):
    """Powers of 2, as exponents, that make the lengths of columns about 1; 0 stays 0."""
    for j in range(gram.shape[0]):
        powers[j] = -(math.frexp(np.float64(gram[j, j].real))[1] // 2)


@inlined
def _replace_dependent(
    gram,  # in (n, n), of q
    work,  # scratch (n, n)
    q,  # inout (m, n)
    r,  # inout (n, n)
    seed,
    threads,
):
    """Random columns in place of those that depend on the ones before, whose rows of r become 0."""
    n = gram.shape[0]
    powers, dependent = scratch(n, types.int64), scratch(n, types.int64)
    _find_gram_powers(gram, powers)
    noise = QR_NOISE * n * _eps(gram)
    for i in range(n):
        for j in range(i + 1):
            work[i, j] = scaled(gram[i, j], powers[i] + powers[j])
    least, which, found = np.inf, 0, 0
    for j in range(n):
        pivot = np.float64(work[j, j].real)
        dependent[j] = not pivot > noise
        found += dependent[j]
        if pivot < least:
            least, which = pivot, j
        if not dependent[j]:
            for i in range(j + 1, n):
                factor = divided(work[i, j], work[j, j].real)
                for t in range(j + 1, i + 1):
                    work[i, t] -= factor * conjugate(work[t, j])
    if found == 0:
        dependent[which] = 1
    for i in range(n):
        if dependent[i]:
            for j in range(n):
                r[i, j] = 0
    args = q, dependent, seed
    parallel_for(_fill_randomly, ceil_div(q.shape[0], SCALED_ROWS), threads, args)


@task
def _fill_randomly(args, slot, index):
    q, columns, seed = args
    for i in range(index * SCALED_ROWS, min((index + 1) * SCALED_ROWS, q.shape[0])):
        for j in range(q.shape[1]):
            if columns[j]:
                q[i, j] = uniform(types.uint64(seed), i, j) - 0.5


@inlined
def _upper(lower):
    """The conjugate transpose, with zeros below the diagonal."""
    n = lower.shape[0]
    upper = scratch((n, n), lower.dtype)
    for i in range(n):
        for j in range(n):
            if j >= i:
                upper[i, j] = conjugate(lower[j, i])
            else:
                upper[i, j] = 0
    return upper


@inlined
def _accumulate(
    upper,  # in (n, n)
    r,  # inout (n, n)
    first,
    threads,
):
    """r = upper @ r, the first time upper itself."""
    n = r.shape[0]
    result = upper
    if not first:
        result = scratch((n, n), r.dtype)
        call_on_demand(product, r.dtype, (as_any(upper), r, as_any(result), threads))
    for i in range(n):
        for j in range(n):
            r[i, j] = result[i, j]


@inlined
def _scale_back(r, powers):
    for i in range(r.shape[0]):
        for j in range(r.shape[0]):
            r[i, j] = scaled(r[i, j], -powers[j])
