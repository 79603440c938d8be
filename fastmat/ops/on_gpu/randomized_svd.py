"""Randomized factorizations of matrices on GPUs.

The steps of the CPU, from products, draws and QR decompositions on the GPU. What is as small as the
rank is decomposed on the CPU by LAPACK, in double precision.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array
from fastmat.cuda import columns
from fastmat.cuda.arrays import stream_of
from fastmat.ops.approximations import Eigenpairs, ErrorEstimate, LowRank, RandomizedSVD
from fastmat.ops.decompositions import (
    adjoint,
    rank_within,
    relative_errors,
    small_eigh,
    small_svd,
)
from fastmat.ops.draws import key_of
from fastmat.ops.low_rank import (
    COMPUTED,
    iterations,
    normalizer_of,
    whole_number,
)
from fastmat.ops.on_gpu.matrices import (
    Matrix,
    conjugate,
    copied,
    new,
    read,
    times,
    times_adjoint,
    written,
)
from fastmat.ops.on_gpu.qr_tall import factored
from fastmat.ops.on_gpu.range_finder import adaptive, check_normalizer, lengths, sketched, subtract
from fastmat.ops.randomized_svd import Plan, planned

_REAL = {"complex64": "float32", "complex128": "float64"}


class _Found(NamedTuple):
    """A basis q and v of rows, between them r, and what tells of the error."""

    q: Matrix
    v: Matrix  # q (w s) (v th)ᴴ is the approximation
    w: Array
    s: Array
    th: Array
    beyond: Array  # lengths of what is beyond all triplets, times probes; one row
    passes: int


def randomized_svd(
    x: Any,
    n_components: int | None = None,
    *,
    tol: float | None = None,
    n_oversamples: int = 10,
    n_iter: int | str = "auto",
    power_iteration_normalizer: str = "auto",
    transpose: bool | str = "auto",
    flip_sign: bool = True,
    norm: str = "fro",
    rng: Any = None,
) -> RandomizedSVD:
    """As `fastmat.randomized_svd`."""
    a = operand_of(x)
    plan = planned(
        a.shape,
        n_components,
        tol,
        n_oversamples,
        n_iter,
        power_iteration_normalizer,
        transpose,
        flip_sign,
        norm,
        rng,
    )
    check_normalizer(plan.normalizer)
    batch = a.shape[:-2]
    if not batch:
        left, s, right, error, passes = factorized(a, plan, None)
        values = written(s, left, real_dtype(a)).array
        return RandomizedSVD(left.array, values, right.array, error, plan.n_iter, passes)
    if not math.prod(batch):
        raise ValueError(f"x has shape {a.shape}; it has no matrices")
    (m, n), k = a.shape[-2:], plan.components
    dtype = computed_dtype(a)
    lefts, rights = new((*batch, m, k), dtype, a), new((*batch, k, n), dtype, a)
    parts = zip(a.items(), lefts.items(), rights.items(), strict=True)
    found = [factorized(item, plan, (left, right)) for item, left, right in parts]
    values = written(np.stack([f[1] for f in found]).reshape(*batch, k), a, real_dtype(a))
    errors = zip(*(f[3] for f in found), strict=True)
    error = ErrorEstimate(*(np.array(bound).reshape(batch) for bound in errors))
    return RandomizedSVD(lefts.array, values.array, rights.array, error, plan.n_iter, found[0][4])


def low_rank_approximation(
    x: Any,
    rank: int | None = None,
    *,
    tol: float | None = None,
    n_oversamples: int = 10,
    n_iter: int | str = "auto",
    power_iteration_normalizer: str = "auto",
    transpose: bool | str = "auto",
    norm: str = "fro",
    rng: Any = None,
) -> LowRank:
    """As `fastmat.low_rank_approximation`."""
    a = operand_of(x)
    most = None if rank is None else whole_number(rank, "rank", 1, min(a.shape[-2:]))
    if rank is None and tol is None:
        raise ValueError("neither rank nor tol was given; give one of them, or both")
    found = randomized_svd(
        x,
        most,
        tol=tol,
        n_oversamples=n_oversamples,
        n_iter=n_iter,
        power_iteration_normalizer=power_iteration_normalizer,
        transpose=transpose,
        norm=norm,
        rng=rng,
    )
    u, values = Matrix.of(found.U), read(Matrix.of(found.S))
    left = new(u.shape, u.view.dtype, u)
    for item, target, s in zip(
        u.items(), left.items(), values.reshape(-1, values.shape[-1]), strict=True
    ):
        times(item, written(np.diag(s), u, u.view.dtype), target)
    return LowRank(left.array, found.Vh, found.error, found.n_iter, found.n_passes)


def randomized_range(
    x: Any,
    size: int,
    *,
    n_iter: int = 2,
    power_iteration_normalizer: str = "auto",
    rng: Any = None,
) -> Any:
    """As `fastmat.randomized_range`."""
    a = _matrix(x)
    number = whole_number(size, "size", 1, min(a.shape))
    count = whole_number(n_iter, "n_iter", 0)
    normalizer = normalizer_of(power_iteration_normalizer)
    check_normalizer(normalizer)
    basis = sketched(computed(a), number, count, normalizer, key_of(rng, 0)[0])[0]
    return _whole(basis).array


def randomized_eigh(
    x: Any,
    n_components: int,
    *,
    n_oversamples: int = 10,
    n_iter: int | str = "auto",
    power_iteration_normalizer: str = "auto",
    rng: Any = None,
) -> Eigenpairs:
    """As `fastmat.randomized_eigh`."""
    a = _matrix(x)
    n = a.shape[0]
    if n != a.shape[1]:
        raise ValueError(f"x has shape {a.shape}; it must be square")
    kept = whole_number(n_components, "n_components", 1, n)
    size = min(kept + whole_number(n_oversamples, "n_oversamples", 0), n)
    count = iterations(n_iter, kept, n)
    normalizer = normalizer_of(power_iteration_normalizer)
    check_normalizer(normalizer)
    a = computed(a)
    q = sketched(a, size, count, normalizer, key_of(rng, 0)[0])[0]
    t = read(times_adjoint(q, times(a, q)))
    values, w = small_eigh((t + adjoint(t)) / t.real.dtype.type(2))
    order = np.argsort(-np.abs(values), kind="mergesort")[:kept]
    vectors = times(q, written(w[:, order], q, q.view.dtype))
    return Eigenpairs(written(values[order], q, real_dtype(a)).array, vectors.array)


def operand_of(x: Any) -> Matrix:
    """`x` as it is, its shape and dtype checked."""
    a = Matrix.of(x)
    if a.view.ndim < 2:
        raise ValueError(f"x has shape {a.shape}; it must have two or more dimensions")
    return a


def _matrix(x: Any) -> Matrix:
    a = operand_of(x)
    if a.view.ndim != 2:
        raise ValueError(f"x has shape {a.shape}; it must be a single matrix")
    return a


def computed_dtype(a: Matrix) -> str:
    """What it is computed in: integers in float64, float16 and bfloat16 in float32."""
    if a.view.dtype in COMPUTED:
        return a.view.dtype
    return "float32" if a.view.dtype in ("float16", "bfloat16") else "float64"


def computed(a: Matrix) -> Matrix:
    """The matrix in the dtype that it is computed in."""
    dtype = computed_dtype(a)
    return a if dtype == a.view.dtype else copied(a, dtype)


def real_dtype(a: Matrix) -> str:
    """That of singular values."""
    dtype = computed_dtype(a)
    return _REAL.get(dtype, dtype)


def _whole(x: Matrix) -> Matrix:
    """A matrix that is an array of the library, not a part of one."""
    return copied(x, x.view.dtype) if x.array is None else x


def factorized(
    x: Matrix, plan: Plan, targets: tuple[Matrix, Matrix] | None
) -> tuple[Matrix, Array, Matrix, ErrorEstimate, int]:
    """The triplets of a matrix, bounds of the error, and the passes over it."""
    if min(x.shape) == 0:
        raise ValueError(f"x has shape {x.shape}; it has no singular values")
    x = computed(x)
    a = x.T if plan.transposed else x
    found = _within(a, plan) if plan.tol is not None else _of_rank(a, plan)
    kept = plan.components
    if plan.tol is not None:
        kept = rank_within(found.s, plan.tol, plan.spectral, found.beyond)
    error = ErrorEstimate(*map(float, relative_errors(found.s, kept, found.beyond)))
    dtype = a.view.dtype
    w = written(found.w[:, :kept], a, dtype)
    left, right = (None, None) if targets is None else targets
    back = conjugate(found.v)
    if plan.transposed:
        left = times(back, written(found.th[:kept].T, a, dtype), left)
        right = times(w.T, found.q.T, right)
    else:
        left = times(found.q, w, left)
        right = times(written(found.th[:kept], a, dtype), back.T, right)
    if plan.flip:
        flip_signs(left, right)
    return left, found.s[:kept].copy(), right, error, found.passes


def flip_signs(x: Matrix, y: Matrix) -> None:
    """Turn columns of x and rows of y, so that the largest number of each column is positive."""
    (m, count), n, u, v = x.shape, y.shape[1], x.view, y.view
    arguments = (u.pointer, m, *u.strides, v.pointer, n, *v.strides)
    columns.flip_signs(u.dtype)(count, arguments, stream_of(u), u.device)


def _of_rank(a: Matrix, plan: Plan) -> _Found:
    q, probes, seen, passes = sketched(a, plan.size, plan.n_iter, plan.normalizer, plan.seed)
    return _decomposed(q, times_adjoint(a, q), probes, seen, passes + 1)


def _within(a: Matrix, plan: Plan) -> _Found:
    assert plan.tol is not None
    q, z, probes, seen, blocks = adaptive(
        a, plan.components, plan.tol, plan.spectral, plan.n_iter, plan.normalizer, plan.seed
    )
    return _decomposed(q, z, probes, seen, 1 + blocks * (2 + 2 * plan.n_iter))


def _decomposed(q: Matrix, z: Matrix, probes: Matrix, seen: Matrix, passes: int) -> _Found:
    """Triplets from a basis and the adjoint of the matrix times it."""
    v, r = factored(z)
    w, s, th = small_svd(adjoint(r))
    captured = adjoint(r) @ read(times_adjoint(v, probes))
    rest = subtract(seen, times(q, written(captured, q, q.view.dtype)))
    beyond = lengths(rest)[np.newaxis]
    return _Found(q, v, w, s.astype(q.dtype.type(0).real.dtype), th, beyond, passes)
