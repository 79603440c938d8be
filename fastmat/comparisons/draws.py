"""Random draws: rows, how the libraries spell them, and whether fastmat's are right.

Every library draws its own numbers, so NumPy's are no measure: fastmat's are held against
`by_philox`, in windows, since a number depends on its position alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmat
from fastmat.comparisons import by_philox
from fastmat.comparisons.by_philox import SEED

if TYPE_CHECKING:
    from fastmat.comparisons.cases import Case

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[[], object]

WINDOW = 1 << 16  # numbers that are checked at the begin, in the middle and at the end

_NUMBERS = ("uniform", "standard_normal", "normal", "integers", "rademacher")
_MATRICES = ("permutation", "orthogonal", "sparse_sign", "glorot_uniform", "he_normal")
OPERATIONS = tuple(f"random.{name}" for name in (*_NUMBERS, *_MATRICES))

# What the draws are given beside the size.
_EXTENT, _MEAN, _DEVIATION, _ENTRIES = 1000, 10.0, 2.0, 8


def row(op: str, dtype: str, *size: int, quick: bool = False) -> dict[str, Any]:
    """The fields of a `Case`, which has no operands."""
    fields = {"group": "random numbers", "op": f"random.{op}", "dtype": dtype, "shapes": ()}
    return {**fields, "options": (("size", size),), "quick": quick}


ROWS = (
    *(
        row(op, dtype, *size, quick=dtype == "float32" and size == (1000, 1000))
        for op in ("standard_normal", "uniform")
        for dtype, size in (
            ("float32", (1000, 1000)),
            ("float32", (10**8,)),
            ("float64", (10**7,)),
        )
    ),
    row("standard_normal", "complex64", 10**7),
    row("standard_normal", "float32", 100),
    row("normal", "float64", 10**7),
    row("integers", "int64", 10**7),
    row("integers", "uint8", 10**7),
    row("rademacher", "float32", 10**7),
    row("rademacher", "int8", 10**7),
    row("permutation", "int64", 10**6, quick=True),
    row("permutation", "int64", 10**7),
    row("orthogonal", "float64", 500, 500),
    row("orthogonal", "float32", 2000, 100),
    row("sparse_sign", "float32", 10**4, 10**4),
    row("glorot_uniform", "float32", 4096, 1024),
    row("he_normal", "float32", 4096, 1024),
)


def has(case: Case) -> bool:
    """Whether a row is spelled here."""
    return case.op in OPERATIONS


def size_of(case: Case) -> tuple[int, ...]:
    """The shape of what is drawn."""
    found: tuple[int, ...] = dict(case.options)["size"]  # type: ignore[assignment]
    return found


def output(case: Case) -> Array:
    """An uninitialized output for the case; of a sparse matrix, rows and values of its entries."""
    size = size_of(case)
    if case.op == "random.sparse_sign":
        size = (2, size[1] * _ENTRIES)
    return np.empty(size, case.dtype)


def fastmat_call(case: Case, out: Array) -> Call:
    """fastmat's way."""
    function = getattr(fastmat.random, case.op.removeprefix("random."))
    if case.op == "random.sparse_sign":
        return partial(_store_sparse, size_of(case), out)
    arguments: dict[str, tuple[object, ...]] = {
        "random.normal": (_MEAN, _DEVIATION),
        "random.integers": (0, _highest(out)),
        "random.permutation": (len(out),),
        "random.orthogonal": size_of(case),
        "random.glorot_uniform": (size_of(case),),
        "random.he_normal": (size_of(case),),
    }
    return partial(function, *arguments.get(case.op, ()), out=out, rng=SEED)


def _store_sparse(size: tuple[int, ...], out: Array) -> None:
    found = fastmat.random.sparse_sign(size, _ENTRIES, dtype=out.dtype, rng=SEED)
    out[0], out[1] = found.indices, found.data


def _highest(out: Array) -> int:
    return min(_EXTENT, int(np.iinfo(out.dtype).max)) if out.dtype.kind in "iu" else 0


def numpy_call(case: Case, out: Array) -> Call:
    """NumPy's way: the same numbers at each call."""
    name = case.op.removeprefix("random.")
    if name == "sparse_sign":
        return lambda: _numpy_sparse(np.random.default_rng(SEED), out, size_of(case)[0])
    draw = _NUMPY[name]
    return lambda: draw(np.random.default_rng(SEED), out)


def torch_call(case: Case, out: Any) -> Call | None:
    """PyTorch's way, where it has one."""
    draw = _TORCH.get(case.op.removeprefix("random."))
    return draw and partial(draw, out)


def error(case: Case, result: Array, expected: Array) -> float:
    """The error in units of what rounding permits; 0 for NumPy's own result.

    Uniform numbers, integers, signs, permutations and sparse matrices are exact. Normal numbers
    may be off by 4 eps of themselves (logarithm, root, sine, two products), and with a mean by half
    an eps of the result. Bounds and deviations of weights are rounded, too. Of orthogonal matrices,
    see `_error_of_orthogonal`.
    """
    if np.array_equal(result, expected):
        return 0.0
    if case.op == "random.permutation":
        keys = by_philox.joined(np.arange(result.size, dtype=np.uint64))
        exact = np.argsort(keys, kind="stable")
        return 0.0 if np.array_equal(result, exact) else math.inf
    if case.op == "random.orthogonal":
        return _error_of_orthogonal(result)
    if case.op == "random.sparse_sign":
        return _error_of_sparse(result, size_of(case)[0])
    flat = result.reshape(-1)
    if flat.dtype.kind in "fc" and not np.isfinite(flat).all():
        return math.inf
    last = max(0, flat.size - WINDOW)
    return max(_error_of_window(case, flat, first) for first in {0, last // 2, last})


def _error_of_orthogonal(q: Array) -> float:
    """Columns must be orthonormal, and their product with what was drawn upper triangular, with a
    positive diagonal: both to n eps of the numbers that they are made of, as Householder's method
    has it (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 19.4).
    """
    if not np.isfinite(q).all():
        return math.inf
    positions = np.arange(q.size, dtype=np.uint64)
    z = by_philox.normal(positions, q.dtype).reshape(q.shape).astype(np.float64)
    wide, eps = q.astype(np.float64), len(q) * float(np.finfo(q.dtype).eps)
    triangle = wide.T @ z
    if not (np.diagonal(triangle) > 0).all():
        return math.inf
    of_columns = np.abs(wide.T @ wide - np.eye(q.shape[1])).max()
    of_triangle = np.abs(np.tril(triangle, -1)).max() / np.linalg.norm(z, axis=0).max()
    return float(max(of_columns, of_triangle) / eps)


def _error_of_sparse(result: Array, rows: int) -> float:
    """Of the first columns and the last."""
    columns = result.shape[1] // _ENTRIES
    for j in {*range(min(100, columns)), columns - 1}:
        found, signs = by_philox.column(rows, _ENTRIES, j)
        values = (np.array(signs) * math.sqrt(1 / _ENTRIES)).astype(result.dtype)
        part = result[:, j * _ENTRIES : (j + 1) * _ENTRIES]
        if not np.array_equal(part, np.stack((np.array(found, result.dtype), values))):
            return math.inf
    return 0.0


def _error_of_window(case: Case, flat: Array, first: int) -> float:
    found = flat[first : first + WINDOW]
    positions = np.arange(first, first + found.size, dtype=np.uint64)
    if case.op == "random.glorot_uniform":
        bound = _bound(size_of(case))
        value = bound * (2 * by_philox.uniform(positions, found.dtype).astype(np.float64) - 1)
        allowed = np.abs(value) + 2 * bound
        return float((np.abs(found - value) / (np.finfo(found.dtype).eps * allowed)).max())
    if "normal" not in case.op:
        exact = {
            "random.uniform": lambda: by_philox.uniform(positions, found.dtype),
            "random.integers": lambda: by_philox.integers(positions, _highest(found)),
            "random.rademacher": lambda: by_philox.signs(positions),
        }[case.op]()
        return 0.0 if np.array_equal(found, exact) else math.inf
    factor = 1.0
    if found.dtype.kind == "c":  # pairs of real numbers
        found, factor = found.view(found.real.dtype), math.sqrt(0.5)
        positions = np.arange(2 * first, 2 * first + found.size, dtype=np.uint64)
    value = by_philox.normal(positions, found.dtype) * factor
    allowed = 4.5 * np.abs(value)
    if case.op == "random.normal":
        value = _MEAN + _DEVIATION * value
        allowed = _DEVIATION * allowed + np.abs(value)
    if case.op == "random.he_normal":
        deviation = math.sqrt(2 / size_of(case)[1])
        value, allowed = deviation * value, deviation * (allowed + np.abs(value))
    ratio = np.abs(found - value) / (float(np.finfo(found.dtype).eps) * allowed)
    return float(ratio.max())


def _complex_normal(rng: np.random.Generator, out: Array) -> None:
    if out.dtype.kind == "c":
        parts = out.view(out.real.dtype)
        rng.standard_normal(out=parts, dtype=parts.dtype.type)
        np.multiply(parts, parts.dtype.type(math.sqrt(0.5)), out=parts)
    else:
        rng.standard_normal(out=out, dtype=out.dtype.type)


def _numpy_integers(rng: np.random.Generator, out: Array) -> None:
    np.copyto(out, rng.integers(0, _highest(out), out.shape, out.dtype.type))


def _numpy_signs(rng: np.random.Generator, out: Array) -> None:
    bits = rng.integers(0, 2, out.shape, np.int8)
    np.copyto(out, 1 - 2 * bits)


def _bound(size: tuple[int, ...]) -> float:
    return math.sqrt(6 / sum(size))


def _numpy_orthogonal(rng: np.random.Generator, out: Array) -> None:
    q, r = np.linalg.qr(rng.standard_normal(out.shape, out.dtype.type))
    np.multiply(q, np.sign(np.diagonal(r)), out=out)


def _numpy_sparse(rng: np.random.Generator, out: Array, rows: int) -> None:
    columns = out.shape[1] // _ENTRIES
    for j in range(columns):
        drawn = rng.choice(rows, _ENTRIES, replace=False, shuffle=False)
        out[0, j * _ENTRIES : (j + 1) * _ENTRIES] = np.sort(drawn)
    out[1] = (2 * rng.integers(0, 2, out.shape[1]) - 1) * math.sqrt(1 / _ENTRIES)


def _numpy_glorot(rng: np.random.Generator, out: Array) -> None:
    bound = out.dtype.type(_bound(out.shape))
    rng.random(out=out, dtype=out.dtype.type)
    np.multiply(out, 2 * bound, out=out)
    np.subtract(out, bound, out=out)


def _numpy_he(rng: np.random.Generator, out: Array) -> None:
    rng.standard_normal(out=out, dtype=out.dtype.type)
    np.multiply(out, out.dtype.type(math.sqrt(2 / out.shape[1])), out=out)


_NUMPY: dict[str, Callable[[np.random.Generator, Array], object]] = {
    "uniform": lambda rng, out: rng.random(out=out, dtype=out.dtype.type),
    "standard_normal": _complex_normal,
    "normal": lambda rng, out: np.copyto(out, rng.normal(_MEAN, _DEVIATION, out.shape)),
    "integers": _numpy_integers,
    "rademacher": _numpy_signs,
    "permutation": lambda rng, out: np.copyto(out, rng.permutation(len(out))),
    "orthogonal": _numpy_orthogonal,
    "glorot_uniform": _numpy_glorot,
    "he_normal": _numpy_he,
}


def _torch() -> Any:
    import torch

    return torch


_TORCH: dict[str, Callable[[Any], object]] = {
    "uniform": lambda out: out.uniform_(),
    "standard_normal": lambda out: out.normal_(),
    "normal": lambda out: out.normal_(_MEAN, _DEVIATION),
    "integers": lambda out: out.random_(0, _highest(out.numpy())),
    "permutation": lambda out: _torch().randperm(len(out), out=out),
    "orthogonal": lambda out: _torch().nn.init.orthogonal_(out),
    "glorot_uniform": lambda out: _torch().nn.init.xavier_uniform_(out),
    "he_normal": lambda out: _torch().nn.init.kaiming_normal_(out),
}
