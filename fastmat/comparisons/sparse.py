"""randomized_svd of sparse matrices: rows, operands, how each library spells it, errors.

A matrix is given by the three arrays of its compressed rows. NumPy's way is scikit-learn's, or
SciPy's `svds` where that is not installed; PyTorch gets coordinates, which it multiplies faster.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmat

if TYPE_CHECKING:
    from fastmat.comparisons.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

_OVERSAMPLES, _SEED = 10, 1
_DECAY = 0.5  # columns get shorter as powers of this exponent


def row(
    dtype: str, m: int, n: int, density: float, k: int, n_iter: int, quick: bool = False
) -> dict[str, Any]:
    """The fields of a `Case`: k triplets of an m x n matrix of this density."""
    return {
        "group": "randomized factorizations",
        "op": "randomized_svd",
        "dtype": dtype,
        "shapes": ((m, n),),
        "options": (("k", k), ("n_iter", n_iter), ("density", density)),
        "note": f"{density:.1%} sparse, k = {k}",
        "quick": quick,
    }


ROWS = (
    row("float32", 10**6, 2000, 1e-3, 20, 4),
    row("float64", 10**6, 2000, 1e-3, 20, 4),
    row("float32", 10**5, 10**5, 1e-4, 20, 4),
    row("float32", 20000, 500, 1e-2, 10, 4, quick=True),
)


def has(case: Case) -> bool:
    """Whether the operand of a row is sparse."""
    return "density" in dict(case.options)


def operands(case: Case) -> tuple[Array, ...]:
    """Numbers, columns, and where rows begin; columns get shorter from the first to the last."""
    (m, n), options = case.shapes[0], dict(case.options)
    rng = np.random.default_rng(_SEED)
    places = np.unique(rng.integers(0, m * n, round(float(str(options["density"])) * m * n)))
    rows, columns = places // n, (places % n).astype(np.int32)
    starts = np.r_[0, np.cumsum(np.bincount(rows, minlength=m))].astype(np.int32)
    data = rng.standard_normal(places.size) * (1.0 + columns) ** -_DECAY
    return data.astype(case.dtype), columns, starts


def matrix(case: Case, arrays: Sequence[Array]) -> Any:
    """The operand of SciPy."""
    from scipy.sparse import csr_array

    return csr_array(tuple(arrays), case.shapes[0])


def output(case: Case) -> Array:
    """An output for all factors, one after another."""
    (m, n), k = case.shapes[0], _options(case)[0]
    return np.empty((m + 1 + n) * k, case.dtype)


def operations(case: Case) -> float:
    """Additions and multiplications of the products with the matrix alone."""
    (m, n), (k, n_iter) = case.shapes[0], _options(case)
    size = m * n * float(str(dict(case.options)["density"]))
    return 2.0 * size * (k + _OVERSAMPLES) * (2 * n_iter + 2)


def fastmat_call(case: Case, arrays: Sequence[Array], out: Array) -> Call:
    """fastmat's way."""
    k, n_iter = _options(case)
    function = partial(fastmat.randomized_svd, n_iter=n_iter, rng=_SEED)
    return partial(_store, partial(function, matrix(case, arrays), k), out)


def numpy_call(case: Case, arrays: Sequence[Array], out: Array) -> Call:
    """scikit-learn's way, or SciPy's."""
    k, n_iter = _options(case)
    x = matrix(case, arrays)
    if importlib.util.find_spec("sklearn") is None:
        from scipy.sparse.linalg import svds

        v0 = np.ones(min(x.shape), x.dtype)
        return partial(_store, partial(svds, x, k, v0=v0), out)
    from sklearn.utils.extmath import randomized_svd

    arguments = {"n_oversamples": _OVERSAMPLES, "n_iter": n_iter, "random_state": _SEED}
    call = partial(randomized_svd, x, k, power_iteration_normalizer="LU", **arguments)
    return partial(_store, call, out)


def torch_call(case: Case, tensors: Sequence[Any], out: Any) -> Call:
    """PyTorch's way: as many columns, of which the last are not dropped."""
    import torch

    k, n_iter = _options(case)
    data, columns, starts = tensors
    rows = torch.repeat_interleave(torch.arange(len(starts) - 1), torch.diff(starts))
    places = torch.stack([rows, columns.long()])
    x = torch.sparse_coo_tensor(
        places, data, case.shapes[0], check_invariants=True, is_coalesced=True
    )

    def call() -> Any:
        u, s, v = torch.svd_lowrank(x, k + _OVERSAMPLES, n_iter)
        parts = u[:, :k], s[:k], v[:, :k].mH
        torch.cat([part.reshape(-1) for part in parts], out=out)
        return out

    return call


def rest(case: Case, arrays: Sequence[Array], factors: Array) -> float:
    """The norm of what the factors leave of the matrix, relative to its own.

    By products with the factors: the matrix less them is not sparse.
    """
    (m, n), k = case.shapes[0], _options(case)[0]
    x, flat = matrix(case, arrays).astype(np.float64), factors.astype(np.float64)
    u, s, vh = flat[: m * k].reshape(m, k), flat[m * k : (m + 1) * k], flat[(m + 1) * k :]
    vh = vh.reshape(k, n)
    whole = float(np.sum(x.data**2))
    common = float(np.sum((u.T @ (x @ vh.T)).diagonal() * s))
    found = float(np.sum((u.T @ u) * (s[:, None] * (vh @ vh.T) * s)))
    return float(np.sqrt(max(whole - 2 * common + found, 0.0) / whole))


def _options(case: Case) -> tuple[int, int]:
    options: Any = dict(case.options)
    return options["k"], options["n_iter"]


def _store(call: Callable[[], Any], out: Array) -> None:
    np.concatenate([np.asarray(part).reshape(-1) for part in call()], out=out)
