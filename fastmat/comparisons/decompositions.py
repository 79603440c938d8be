"""Randomized decompositions: rows, how the libraries spell them, and whether errors are alike.

NumPy's way is scikit-learn's `randomized_svd` or `PCA` with its LU normalizer where that is
installed, else the same steps in NumPy and SciPy.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmat
from fastmat.comparisons import sparse

if TYPE_CHECKING:
    from fastmat.comparisons.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

OPERATIONS = (
    "randomized_svd",
    "randomized_range",
    "randomized_eigh",
    "RowBlocks",
    "LowRankSketch",
    "low_rank_approximation",
    "pca",
    "randomized_svd_vjp",
)

_OVERSAMPLES, _SEED = 10, 1
_SLACK = 1e-2  # by which the error may be larger than the other library's
_SLACK_ONCE = 5e-2  # of one pass, without iterations
_ROWS = 4096  # that NumPy's single pass takes at a time
_DECAY = 0.5  # the singular values of an operand fall about as powers of this exponent


def row(op: str, dtype: str, m: int, n: int, k: int, n_iter: int, quick: bool = False) -> Any:
    """The fields of a `Case` with an m x n matrix, of which k triplets are wanted."""
    fields = {"group": "randomized factorizations", "op": op, "dtype": dtype, "shapes": ((m, n),)}
    options = (("k", k), ("n_iter", n_iter))
    return {**fields, "options": options, "note": f"k = {k}", "quick": quick}


ROWS = (
    *(
        row("randomized_svd", dtype, m, n, k, 4)
        for dtype in ("float32", "float64")
        for m, n, k in ((4000, 4000, 50), (20000, 1000, 20), (100000, 200, 10))
    ),
    row("randomized_svd", "float32", 1000, 1000, 20, 4, quick=True),
    row("randomized_range", "float32", 4000, 4000, 60, 2),
    row("randomized_eigh", "float32", 2000, 2000, 20, 4),
    *sparse.ROWS,
    *(
        row(op, dtype, 100_000, 500, 20, n_iter)
        for op, n_iter in (("RowBlocks", 2), ("LowRankSketch", 0))
        for dtype in ("float32", "float64")
    ),
    row("RowBlocks", "float32", 20_000, 200, 10, 2, quick=True),
    row("LowRankSketch", "float32", 20_000, 200, 10, 0, quick=True),
    row("low_rank_approximation", "float32", 4000, 4000, 50, 4),
    row("randomized_svd_vjp", "float32", 1000, 800, 20, 4, quick=True),
    *(
        row("pca", dtype, m, n, k, 4, quick=(m, dtype) == (2000, "float32"))
        for dtype in ("float32", "float64")
        for m, n, k in ((2000, 500, 10), (20000, 1000, 20), (100000, 200, 10))
    ),
)


def has(case: Case) -> bool:
    """Whether a row is spelled here."""
    return case.op in OPERATIONS


def operands(case: Case, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The operand, whose columns get shorter from the first to the last."""
    x = arrays[0]
    x *= ((1 + np.arange(x.shape[1])) ** -_DECAY).astype(x.dtype)
    if case.op == "randomized_svd_vjp":  # the factors, and a cotangent of each of them
        factors = fastmat.randomized_svd(x, _options(case)[0], n_iter=_options(case)[1], rng=_SEED)
        return *factors, *(part[..., ::-1].copy() for part in factors)
    return ((x + x.T) / 2,) if case.op == "randomized_eigh" else (x,)


def output(case: Case, arrays: tuple[Array, ...]) -> Array:
    """An output for all factors, one after another."""
    if sparse.has(case):
        return sparse.output(case)
    (m, n), k = case.shapes[0], _options(case)[0]
    sizes = {
        "randomized_svd_vjp": m * n,
        "randomized_range": m * k,
        "randomized_eigh": (1 + n) * k,
        "low_rank_approximation": (m + n) * k,
    }
    size = sizes.get(case.op, (m + 1 + n) * k)
    return np.empty(size, case.dtype)


def operations(case: Case) -> float:
    """Additions and multiplications of the products with the matrix alone, or that make it."""
    if sparse.has(case):
        return sparse.operations(case)
    (m, n), (k, n_iter) = case.shapes[0], _options(case)
    if case.op == "randomized_svd_vjp":  # of the last product, which makes a matrix of factors
        return 4.0 * m * n * k
    passes = 2 * n_iter + (1 if case.op == "randomized_range" else 2)
    columns = k if case.op == "randomized_range" else k + _OVERSAMPLES
    return 2.0 * m * n * columns * passes


def fastmat_call(case: Case, arrays: Sequence[Array], out: Array) -> Call:
    """fastmat's way."""
    if sparse.has(case):
        return sparse.fastmat_call(case, arrays, out)
    k, n_iter = _options(case)
    if case.op == "LowRankSketch":
        return partial(_store, partial(_sketch, arrays[0], k), out)
    if case.op == "RowBlocks":
        x, options = fastmat.RowBlocks(arrays[0]), {"n_iter": n_iter, "rng": _SEED}
        return partial(_store, partial(fastmat.randomized_svd, x, k, **options), out)
    function = getattr(fastmat, case.op)
    if case.op == "randomized_svd_vjp":
        return partial(_store, partial(function, arrays[3:], None, *arrays[:3]), out)
    call = partial(function, arrays[0], k, n_iter=n_iter, rng=_SEED)
    if case.op == "pca":
        return partial(_store, partial(_scores_first, call), out)
    return partial(_store, call, out)


def _scores_first(call: Callable[[], Any]) -> tuple[Array, ...]:
    found = call()
    return found.scores, found.singular_values, found.components


def numpy_call(case: Case, arrays: Sequence[Array], out: Array) -> Call:
    """NumPy's way, or scikit-learn's."""
    if sparse.has(case):
        return sparse.numpy_call(case, arrays, out)
    k, n_iter = _options(case)
    if case.op == "randomized_svd_vjp":
        return partial(_store, partial(_vjp, *arrays), out)
    if case.op == "pca" and importlib.util.find_spec("sklearn") is not None:
        return partial(_store, partial(_pca_of_scikit_learn, arrays[0], k, n_iter), out)
    if (
        case.op in ("randomized_svd", "RowBlocks")
        and importlib.util.find_spec("sklearn") is not None
    ):
        from sklearn.utils.extmath import randomized_svd

        arguments = {"n_oversamples": _OVERSAMPLES, "n_iter": n_iter, "random_state": _SEED}
        call = partial(randomized_svd, arrays[0], k, power_iteration_normalizer="LU", **arguments)
        return partial(_store, call, out)
    return partial(_store, partial(_NUMPY[case.op], arrays[0], k, n_iter), out)


def torch_call(case: Case, tensors: Sequence[Any], out: Any) -> Call | None:
    """PyTorch's way, where it has one: as many columns, of which the last are not dropped."""
    if sparse.has(case):
        return sparse.torch_call(case, tensors, out)
    import torch

    if case.op not in ("randomized_svd", "low_rank_approximation", "pca"):
        return None
    k, n_iter = _options(case)

    def call() -> Any:
        function = torch.pca_lowrank if case.op == "pca" else torch.svd_lowrank
        u, s, v = function(tensors[0], k + _OVERSAMPLES, niter=n_iter)
        parts = u[:, :k], s[:k], v[:, :k].mH
        if case.op == "low_rank_approximation":
            parts = u[:, :k] * s[:k], v[:, :k].mH
        elif case.op == "pca":
            parts = u[:, :k] * s[:k], s[:k], v[:, :k].mH
        torch.cat([part.reshape(-1) for part in parts], out=out)
        return out

    return call


def error(case: Case, arrays: Sequence[Array], result: Array, expected: Array) -> float:
    """How much larger the error is than the other library's, in units of what is permitted.

    Both are random; with some iterations both are near the least error that there is.
    """
    if not np.isfinite(result).all():
        return math.inf
    if case.op == "randomized_svd_vjp":
        exact = _vjp(*(part.astype(np.float64) for part in arrays)).reshape(-1)
        off = float(np.linalg.norm(result - exact) / np.linalg.norm(exact))
        return off / (1000 * float(np.finfo(result.dtype).eps))
    rounding = 100 * float(np.finfo(result.dtype).eps)
    if sparse.has(case):
        found, other = (sparse.rest(case, arrays, factors) for factors in (result, expected))
    else:
        x = arrays[0].astype(np.float64)
        size = float(np.linalg.norm(x))
        found, other = (_rest(case, x, factors) / size for factors in (result, expected))
    slack = _SLACK_ONCE if case.op == "LowRankSketch" else _SLACK
    return found / ((1 + slack) * other + rounding)


def _options(case: Case) -> tuple[int, int]:
    options: Any = dict(case.options)
    return options["k"], options["n_iter"]


def _store(call: Callable[[], Any], out: Array) -> None:
    found = call()
    parts = found if isinstance(found, tuple) else (found,)
    np.concatenate([np.asarray(part).reshape(-1) for part in parts], out=out)


def _rest(case: Case, x: Array, factors: Array) -> float:
    """The norm of what the factors leave of the matrix."""
    (m, n), k = x.shape, _options(case)[0]
    flat = factors.astype(np.float64)
    if case.op == "randomized_range":
        q = flat.reshape(m, k)
        return float(np.linalg.norm(x - q @ (q.T @ x)))
    if case.op == "randomized_eigh":
        values, vectors = flat[:k], flat[k:].reshape(n, k)
        return float(np.linalg.norm(x - (vectors * values) @ vectors.T))
    if case.op == "low_rank_approximation":
        return float(np.linalg.norm(x - flat[: m * k].reshape(m, k) @ flat[m * k :].reshape(k, n)))
    if case.op == "pca":
        components = flat[(m + 1) * k :].reshape(k, n)
        return float(np.linalg.norm(x - x.mean(0) - flat[: m * k].reshape(m, k) @ components))
    u, s, vh = flat[: m * k].reshape(m, k), flat[m * k : (m + 1) * k], flat[(m + 1) * k :]
    return float(np.linalg.norm(x - (u * s) @ vh.reshape(k, n)))


def _range(x: Array, size: int, n_iter: int) -> Array:
    from scipy.linalg import lu

    rng = np.random.default_rng(_SEED)
    q = rng.standard_normal((x.shape[1], size), dtype=x.dtype.type)
    for _ in range(n_iter):
        q = lu(x @ q, permute_l=True)[0]
        q = lu(x.T @ q, permute_l=True)[0]
    return np.asarray(np.linalg.qr(x @ q)[0])


def _svd(x: Array, k: int, n_iter: int) -> tuple[Array, ...]:
    q = _range(x, k + _OVERSAMPLES, n_iter)
    u, s, vh = np.linalg.svd(q.T @ x, full_matrices=False)
    return (q @ u)[:, :k], s[:k], vh[:k]


def _sketch(x: Array, k: int) -> Any:
    sketch = fastmat.LowRankSketch(x.shape[1], k + _OVERSAMPLES, dtype=x.dtype, rng=_SEED)
    return sketch.update(x).svd(k)


def _single_pass(x: Array, k: int, n_iter: int) -> tuple[Array, ...]:
    """Blocks of rows one after another, multiplied in double precision as `LowRankSketch` does."""
    (m, n), size = x.shape, k + _OVERSAMPLES
    draws = np.random.default_rng(_SEED).standard_normal((n, size), dtype=x.dtype.type)
    y, h = np.empty((m, size), x.dtype), np.zeros((n, size))
    for start in range(0, m, _ROWS):
        block = x[start : start + _ROWS]
        y[start : start + _ROWS] = block @ draws
        h += block.T.astype(np.float64) @ y[start : start + _ROWS].astype(np.float64)
    q, r = np.linalg.qr(y.astype(np.float64))
    u, s, vh = np.linalg.svd(np.linalg.solve(r.T, h.T), full_matrices=False)
    return (q @ u[:, :k]).astype(x.dtype), s[:k].astype(x.dtype), vh[:k].astype(x.dtype)


def _factors(x: Array, k: int, n_iter: int) -> tuple[Array, ...]:
    u, s, vh = _svd(x, k, n_iter)
    return u * s, vh


def _pca(x: Array, k: int, n_iter: int) -> tuple[Array, ...]:
    u, s, vh = _svd(x - x.mean(0), k, n_iter)
    return u * s, s, vh


def _pca_of_scikit_learn(x: Array, k: int, n_iter: int) -> tuple[Array, ...]:
    from sklearn.decomposition import PCA

    options = {"iterated_power": n_iter, "power_iteration_normalizer": "LU", "random_state": _SEED}
    found = PCA(k, svd_solver="randomized", n_oversamples=_OVERSAMPLES, **options)
    scores = found.fit_transform(x)
    return scores, found.singular_values_, found.components_


def _vjp(u: Array, s: Array, vh: Array, gu: Array, gs: Array, gvh: Array) -> Array:
    """Of a matrix of rank k: Townsend, "Differentiating the singular value decomposition"."""
    a, b = u.T @ gu, vh @ gvh.T
    differences = s**2 - s[:, np.newaxis] ** 2
    np.fill_diagonal(differences, np.inf)
    middle = (a - a.T) / differences * s + s[:, np.newaxis] * ((b - b.T) / differences)
    middle += np.diag(gs)
    left = u @ middle + (gu - u @ a) / s
    return np.asarray(left @ vh + (u / s) @ (gvh - b.T @ vh))


def _eigh(x: Array, k: int, n_iter: int) -> tuple[Array, ...]:
    q = _range(x, k + _OVERSAMPLES, n_iter)
    values, vectors = np.linalg.eigh(q.T @ x @ q)
    order = np.argsort(-np.abs(values))[:k]
    return values[order], q @ vectors[:, order]


_NUMPY: dict[str, Callable[[Array, int, int], Any]] = {
    "randomized_svd": _svd,
    "RowBlocks": _svd,
    "LowRankSketch": _single_pass,
    "randomized_range": _range,
    "randomized_eigh": _eigh,
    "low_rank_approximation": _factors,
    "pca": _pca,
}
