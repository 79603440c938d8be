"""`pca` inside ``@njit``, by `factorizations`."""

import numpy as np
from numba import njit
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu.randomized_svd import flip_signs
from fastmat.cpu.views import as_any
from fastmat.ops import centred
from fastmat.ops import pca as ops
from fastmat.ops.pca import Components
from fastmat.overloads.draws import seed_reader
from fastmat.overloads.factorizations import (
    centred_svd_of_rank,
    centred_svd_within,
    factorizer,
    svd_of_rank,
    svd_within,
)
from fastmat.overloads.groups import constant
from fastmat.overloads.low_rank import (
    check_integer,
    components_reader,
    count_reader,
    normalizer_of,
    operand_reader,
)
from fastmat.overloads.typing import given


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

    if takes_mean:
        kernels = centred_svd_of_rank, centred_svd_within

        @njit
        def operand(a, mean, sums):
            return (a, centred.centred(a, mean, sums).shift), mean, sums[0]

    else:
        kernels = svd_of_rank, svd_within

        @njit
        def operand(a, mean, sums):
            return (a,), np.zeros_like(mean), sums[0] + sums[1]

    factorized = factorizer(*kernels, normalizer, ranked, spectral)

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
        u, s, vh = factorized(b, kept, n_oversamples, tol, iterations, seeded(rng))
        left, right = np.ascontiguousarray(u), np.ascontiguousarray(vh)
        if flip_sign:
            call_all(flip_signs, left.dtype, (as_any(right.T), as_any(left.T)))
        values = s.copy()
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
