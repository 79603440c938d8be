"""The steps of randomized factorizations in compiled code, and kernels of all of them.

The bodies in `ops.range_finder` and `ops.decompositions` are compiled as they stand; here is what
they call that is another thing in compiled code. They take most of a minute to compile: too long
for each function that calls them, so kernels are what users' functions call.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from fastmat.core.compile import call_all, kernel, reads, writes
from fastmat.core.mathfn import real
from fastmat.cpu.blocking_linalg import FLOATS
from fastmat.cpu.pca import column_moments, subtract_row
from fastmat.cpu.randomized_svd import column_lengths
from fastmat.cpu.views import as_any
from fastmat.ops import centred, decompositions, range_finder
from fastmat.ops.centred import Centred
from fastmat.overloads.low_rank import as_it_stands

_matmul, _qr_tall = range_finder.matmul, range_finder.qr_tall
_gram, _power_step = range_finder.gram, range_finder.power_step


@njit
def _product(x1, x2):
    return _matmul(x1, x2)


@njit
def _factored(y):
    q, r = _qr_tall(y)
    return q, r


for _function in (
    range_finder.normalized,
    range_finder.scaled,
    range_finder.random_block,
    range_finder.sketched,
    range_finder.squared_steps,
    range_finder.check_finite,
    range_finder.without,
    range_finder.adaptive,
    range_finder.above_noise,
    range_finder.extended,
    range_finder.norm,
    range_finder.rounding,
    range_finder.bounds,
    decompositions.adjoint,
    decompositions.of_adjoint,
    decompositions.of_rank,
    decompositions.within,
    decompositions.beyond,
    decompositions.rank_within,
    decompositions.eigh_of_rank,
):
    as_it_stands(_function)


@overload(range_finder.times)  # one type of array, so that there is one product to compile
def _times(a, q):
    if not isinstance(a, types.Array):
        return None
    return lambda a, q: _product(as_any(a), as_any(q))


@overload(range_finder.times_adjoint)
def _times_adjoint(a, y):
    if not isinstance(a, types.Array):
        return None
    if isinstance(a.dtype, types.Complex):
        return lambda a, y: np.conj(_product(as_any(a.T), as_any(np.conj(y))))
    return lambda a, y: _product(as_any(a.T), as_any(y))


@overload(range_finder.factored)
def _factored_once(y):
    return lambda y: _factored(as_any(y))


@overload(range_finder.squared)
def _squared(a):
    if isinstance(a, types.Array):
        return lambda a: _gram(as_any(a))
    return lambda a: np.empty((0, 0), a.matrix.dtype)


@overload(range_finder.squared_times)
def _squared_times(a, q):
    if isinstance(a, types.Array):
        return lambda a, q: _power_step(as_any(a), as_any(q))
    return lambda a, q: range_finder.times_adjoint(a, range_finder.times(a, q))


@overload(range_finder.is_array)
def _is_array(a):
    found = isinstance(a, types.Array)
    return lambda a: found


@overload(range_finder.passes_of_step)
def _passes_of_step(a, few):
    passes = 1 if isinstance(a, types.Array) else 2
    return lambda a, few: passes


@overload(range_finder.lengths)
def _lengths(w):
    def lengths(w):
        found = np.empty(w.shape[1])
        call_all(column_lengths, w.dtype, (w, found))
        return found

    return lengths


@overload(range_finder.unit_lower)
def _unit_lower(y):
    def unit_lower(y):
        if y.shape[0] >= 0:  # always; else the type of what is returned would not be known
            raise ValueError("the normalizer LU is for Python; QR is as good")
        return y

    return unit_lower


@overload(decompositions.small_svd)
def _small_svd(r):
    return lambda r: np.linalg.svd(r, False)


@overload(decompositions.small_eigh)
def _small_eigh(t):
    return lambda t: np.linalg.eigh(t)


for _function in (
    centred.centred,
    centred.centred_times,
    centred.centred_times_adjoint,
    centred.without_mean,
    centred.variances,
):
    as_it_stands(_function)


@overload(range_finder.times)
def _centred_times(a, q):
    if isinstance(a, types.NamedTuple):
        return lambda a, q: centred.centred_times(a, q)
    return None


@overload(range_finder.times_adjoint)
def _centred_times_adjoint(a, y):
    if isinstance(a, types.NamedTuple):
        return lambda a, y: centred.centred_times_adjoint(a, y)
    return None


@overload(centred.less_row)
def _less_row(y, row):
    def less_row(y, row):
        found = np.empty(y.shape, y.dtype)
        call_all(subtract_row, y.dtype, (as_any(y), as_any(row), as_any(found)))
        return found

    return less_row


@overload(centred.column_moments)
def _column_moments(a):
    if isinstance(a.dtype, types.Complex):

        def moments(a):
            mean, sums = np.empty(a.shape[1], np.complex128), np.zeros(2)
            real, imaginary = as_any(a.real), as_any(a.imag)
            call_all(column_moments, real.dtype, (real, as_any(mean.real), as_any(sums)))
            call_all(column_moments, real.dtype, (imaginary, as_any(mean.imag), as_any(sums)))
            return mean, sums

    else:

        def moments(a):
            mean, sums = np.empty(a.shape[1]), np.zeros(2)
            call_all(column_moments, a.dtype, (as_any(a), as_any(mean), as_any(sums)))
            return mean, sums

    return moments


def _centred(signature):
    """The arguments of a kernel whose matrix is centred: what is subtracted comes second."""

    def types_of(t):
        matrix, *others = signature(t)
        return matrix, reads(t, 1), *others

    return types_of


def _svd_types(t):
    values = types.Array(real(t), 1, "C")
    return reads(t, 2), *[types.intp] * 3, types.uint64, writes(t, 2), values, writes(t, 2)


@kernel(_svd_types, FLOATS)
def svd_of_rank(
    a,  # in (m, n)
    size,  # columns of the sketch
    n_iter,
    normalizer,
    seed,
    u,  # out (m, k)
    s,  # out (k,)
    vh,  # out (k, n)
):
    """The first k triplets of a sketch."""
    found = decompositions.of_rank(a, s.size, size, n_iter, normalizer, seed)
    u[:], s[:], vh[:] = found[0], found[1][: s.size], found[2]


@kernel(_centred(_svd_types), FLOATS)
def centred_svd_of_rank(
    a,  # in (m, n)
    shift,  # in (n,) or (0,): see `centred`
    size,
    n_iter,
    normalizer,
    seed,
    u,  # out (m, k)
    s,  # out (k,)
    vh,  # out (k, n)
):
    """The same of a matrix less the means of its columns."""
    operand = Centred(a, shift, a.shape, a.dtype)
    found = decompositions.of_rank(operand, s.size, size, n_iter, normalizer, seed)
    u[:], s[:], vh[:] = found[0], found[1][: s.size], found[2]


def _within_types(t):
    values, rank = types.Array(real(t), 1, "C"), types.Array(types.intp, 1, "C")
    numbers = types.float64, types.boolean, types.intp, types.intp, types.uint64
    return reads(t, 2), *numbers, writes(t, 2), values, writes(t, 2), rank


@kernel(_within_types, FLOATS)
def svd_within(
    a,  # in (m, n)
    tol,
    spectral,
    n_iter,
    normalizer,
    seed,
    ut,  # out (most, m), of which the first `rank` rows are written
    s,  # out (most,), likewise
    vh,  # out (most, n), likewise
    rank,  # out (1,)
):
    """Triplets enough for a tolerance, `most` of them at the most."""
    found = decompositions.within(a, s.size, tol, spectral, n_iter, normalizer, seed)
    kept = found[0].shape[1]
    ut[:kept], s[:kept], vh[:kept], rank[0] = found[0].T, found[1][:kept], found[2], kept


@kernel(_centred(_within_types), FLOATS)
def centred_svd_within(
    a,  # in (m, n)
    shift,  # in (n,) or (0,)
    tol,
    spectral,
    n_iter,
    normalizer,
    seed,
    ut,  # out (most, m), of which the first `rank` rows are written
    s,  # out (most,), likewise
    vh,  # out (most, n), likewise
    rank,  # out (1,)
):
    """The same of a matrix less the means of its columns."""
    operand = Centred(a, shift, a.shape, a.dtype)
    found = decompositions.within(operand, s.size, tol, spectral, n_iter, normalizer, seed)
    kept = found[0].shape[1]
    ut[:kept], s[:kept], vh[:kept], rank[0] = found[0].T, found[1][:kept], found[2], kept


def factorizer(of_rank, within, normalizer, ranked, spectral):
    """A function (operand, most, extra, tol, n_iter, seed) that calls one of two kernels.

    The operand is a tuple of what describes the matrix to them, the matrix itself first.
    """

    def to_rank(operand, kept, extra, tol, n_iter, seed):
        a = operand[0]
        (m, n), size = a.shape, min(kept + extra, a.shape[0], a.shape[1])
        u, vh = np.empty((m, kept), a.dtype), np.empty((kept, n), a.dtype)
        s = np.empty(kept, a.real.dtype)
        args = size, n_iter, normalizer, np.uint64(seed), as_any(u), s, as_any(vh)
        call_all(of_rank, a.dtype, operand + args)
        return u, s, vh

    def to_tolerance(operand, most, extra, tol, n_iter, seed):
        if not 0 < tol < 1:
            raise ValueError("tol must lie between 0 and 1, both excluded")
        a = operand[0]
        ut, vh = np.empty((most, a.shape[0]), a.dtype), np.empty((most, a.shape[1]), a.dtype)
        s, rank = np.empty(most, a.real.dtype), np.empty(1, np.intp)
        args = tol, spectral, n_iter, normalizer, np.uint64(seed), as_any(ut), s, as_any(vh), rank
        call_all(within, a.dtype, operand + args)
        return ut[: rank[0]].T, s[: rank[0]], vh[: rank[0]]

    return njit(to_rank if ranked else to_tolerance)


def _range_types(t):
    return reads(t, 2), types.intp, types.intp, types.uint64, writes(t, 2)


@kernel(_range_types, FLOATS)
def range_of_rank(
    a,  # in (m, n)
    n_iter,
    normalizer,
    seed,
    q,  # out (m, size)
):
    """An orthonormal basis of about the range of a matrix."""
    q[:] = range_finder.sketched(a, q.shape[1], n_iter, normalizer, seed)[0]


def _eigh_types(t):
    values = types.Array(real(t), 1, "C")
    return reads(t, 2), *[types.intp] * 3, types.uint64, values, writes(t, 2)


@kernel(_eigh_types, FLOATS)
def eigh_of_rank(
    a,  # in (n, n)
    size,  # columns of the sketch
    n_iter,
    normalizer,
    seed,
    values,  # out (k,)
    vectors,  # out (n, k)
):
    """The eigenpairs of largest magnitude of a Hermitian matrix."""
    found = decompositions.eigh_of_rank(a, values.size, size, n_iter, normalizer, seed)
    values[:], vectors[:] = found
