"""`pca` inside ``@njit``: the steps in `ops.centred` are compiled as they stand."""

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu.pca import column_moments, subtract_row
from fastmat.cpu.randomized_svd import flip_signs
from fastmat.cpu.views import as_any
from fastmat.ops import centred, decompositions, range_finder
from fastmat.ops import pca as ops
from fastmat.ops.pca import Components
from fastmat.overloads.draws import seed_reader
from fastmat.overloads.groups import constant
from fastmat.overloads.low_rank import (
    as_it_stands,
    check_integer,
    components_reader,
    count_reader,
    normalizer_of,
    operand_reader,
)
from fastmat.overloads.typing import given

for _function in (
    centred.centred,
    centred.centred_times,
    centred.centred_times_adjoint,
    centred.without_mean,
    centred.variances,
):
    as_it_stands(_function)


@overload(range_finder.times)
def _times(a, q):
    if isinstance(a, types.NamedTuple):
        return lambda a, q: centred.centred_times(a, q)
    return None


@overload(range_finder.times_adjoint)
def _times_adjoint(a, y):
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


@overload(ops.pca, prefer_literal=True)
def _pca(
    x,
    n_components=None,
    center=True,
    tol=None,
    n_oversamples=10,
    n_iter="auto",
    power_iteration_normalizer="auto",
    flip_sign=True,
    norm="fro",
    rng=None,
):
    matrix, count, seeded = operand_reader(x), count_reader(n_iter), seed_reader(rng)
    normalizer, size_of = normalizer_of(power_iteration_normalizer), components_reader(n_components)
    takes_mean = constant(center, "center", bool)
    ranked, spectral = not given(tol), constant(norm, "norm", str) == "spectral"
    if constant(norm, "norm", str) not in ("fro", "spectral"):
        raise errors.TypingError(f"norm is {norm}; it must be 'fro' or 'spectral'")
    if ranked and not given(n_components):
        raise errors.TypingError("neither n_components nor tol was given")
    check_integer(getattr(n_oversamples, "value", n_oversamples), "n_oversamples")
    auto = not given(n_components)

    @njit
    def of_rank(a, kept, extra, tol, n_iter, seed):
        size = min(kept + extra, a.shape[0], a.shape[1])
        u, s, vh, _ = decompositions.of_rank(a, size, n_iter, normalizer, seed)
        return u, s, vh, kept

    @njit
    def within(a, kept, extra, tol, n_iter, seed):
        if not 0 < tol < 1:
            raise ValueError("tol must lie between 0 and 1, both excluded")
        u, s, vh, rest, _ = decompositions.within(a, kept, tol, spectral, n_iter, normalizer, seed)
        return u, s, vh, decompositions.rank_within(s, tol, spectral, rest)

    factorized = of_rank if ranked else within

    if takes_mean:

        @njit
        def operand(a, mean, sums):
            return centred.centred(a, mean, sums), mean, sums[0]

    else:

        @njit
        def operand(a, mean, sums):
            return a, np.zeros_like(mean), sums[0] + sums[1]

    def pca(
        x,
        n_components=None,
        center=True,
        tol=None,
        n_oversamples=10,
        n_iter="auto",
        power_iteration_normalizer="auto",
        flip_sign=True,
        norm="fro",
        rng=None,
    ):
        a = matrix(x)
        m, n = a.shape
        if m < 2 or n < 1:
            raise ValueError("x must have 2 rows or more, and a column")
        kept = size_of(n_components, min(m, n))
        if n_oversamples < 0:
            raise ValueError("n_oversamples must be at least 0")
        iterations = count(n_iter, kept, min(m, n), auto)
        found, sums = centred.column_moments(a)
        b, mean, total = operand(a, found, sums)
        u, s, vh, rank = factorized(b, kept, n_oversamples, tol, iterations, seeded(rng))
        left, right = np.ascontiguousarray(u[:, :rank]), np.ascontiguousarray(vh[:rank])
        if flip_sign:
            call_all(flip_signs, left.dtype, (as_any(right.T), as_any(left.T)))
        values = s[:rank].copy()
        variance, shares = centred.variances(values, total, m)
        return Components(
            right,
            variance.astype(values.dtype),
            shares.astype(values.dtype),
            values,
            mean.astype(a.dtype),
            left * values,
        )

    return pca
