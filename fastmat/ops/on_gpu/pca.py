"""Principal component analysis of matrices on GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.ops.centred import variances
from fastmat.ops.on_gpu.matrices import Matrix, copied, read, times, written
from fastmat.ops.on_gpu.qr_tall import measured
from fastmat.ops.on_gpu.randomized_svd import (
    computed_dtype,
    factorized,
    flip_signs,
    operand_of,
    real_dtype,
)
from fastmat.ops.on_gpu.range_finder import check_normalizer, subtract
from fastmat.ops.pca import PCA, planned

_ROUNDS = 2  # the second takes off what the first left for rounding


def pca(
    x: Any,
    n_components: int | None = None,
    *,
    center: bool = True,
    tol: float | None = None,
    n_oversamples: int = 10,
    n_iter: int | str = "auto",
    power_iteration_normalizer: str = "auto",
    flip_sign: bool = True,
    norm: str = "fro",
    rng: Any = None,
) -> PCA:
    """As `fastmat.pca`, of a centred copy."""
    a = operand_of(x)
    plan = planned(
        a.shape, n_components, tol, n_oversamples, n_iter, power_iteration_normalizer, flip_sign,
        norm, rng,
    )  # fmt: skip
    check_normalizer(plan.normalizer)
    m, n = a.shape
    dtype = computed_dtype(a)
    a = copied(a, dtype)
    mean = centre(a) if center else np.zeros(n, a.dtype)
    total = float(np.sum(measured(a)[1] ** 2))
    left, s, right, error, passes = factorized(a, plan._replace(flip=False), None)
    if plan.flip:
        flip_signs(right.T, left.T)
    real = real_dtype(a)
    with np.errstate(over="ignore"):
        shares = [part.astype(real) for part in variances(s, total, m)]
    scores = times(left, written(np.diag(s), left, dtype))
    parts = [written(part, a, real) for part in (*shares, s)]
    arrays = right, *parts, written(mean, a, dtype), scores
    return PCA(*(part.array for part in arrays), error=error, n_iter=plan.n_iter,
               n_passes=1 + passes)  # fmt: skip


def centre(a: Matrix) -> Array:
    """Take the means of its columns off a matrix, in its place; what they are."""
    m, n = a.shape
    weights = written(np.full((1, m), 1 / m), a, a.view.dtype)
    mean = np.zeros(n, np.result_type(a.dtype, np.float64))
    for _ in range(_ROUNDS):
        row = times(weights, a)
        mean += read(row)[0]
        subtract(a, Matrix(row.view.broadcast_to((m, n))))
    return mean.astype(a.dtype)
