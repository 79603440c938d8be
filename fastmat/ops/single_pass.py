"""The decomposition of a matrix of which two products are known, from one pass over its rows.

Y = A Ω and H = Aᴴ Y are known, H in double precision. With an orthonormal basis Q of the columns of
Y, Y = Q R, the projection of the matrix is Qᴴ A = R⁻ᴴ Hᴴ (W. Yu, Y. Gu, J. Li, S. Liu and Y. Li,
"Single-pass PCA of large high-dimensional data", IJCAI 2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.dtypes import DType
from fastmat.ops.decompositions import adjoint, relative_errors, small_svd
from fastmat.ops.matmul import matmul
from fastmat.ops.qr_tall import qr_tall
from fastmat.ops.range_finder import COUNT, times_adjoint
from fastmat.ops.row_blocks import add_product
from fastmat.ops.solve_triangular import solve_triangular

ROWS = 512  # that are looked at together, at least
NEARLY = 0.5  # of the length of a column, outside the others: then one correction is enough
NOISE = 4.0  # rounding errors of H, in units of eps

EPS = float(np.finfo(np.float64).eps)
LEAST = math.sqrt(float(np.finfo(np.float64).tiny) / EPS)  # of Y: its square has all bits


def wide_of(dtype: DType) -> DType:
    """Double precision."""
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def accumulate(h: Array, block: Array, y: Array) -> None:
    """Add the conjugate transpose of a block times y to h."""
    left = block.astype(h.dtype, copy=False)
    if h.dtype.kind == "c":
        left = np.conj(left)
    add_product(h, left, y.astype(h.dtype))


def decomposed(
    products: Sequence[Array], h: Array, probes: Array, kept: int
) -> tuple[Array, Array, Array, tuple[float, float]]:
    """The first `kept` singular triplets, and bounds for their errors.

    `products` are blocks of rows of A Ω and, in COUNT columns more, of A times the probes.
    """
    size, dtype = h.shape[1], probes.dtype
    r = upper((rows[:, :size] for rows in together(products, h.dtype)), size, h.dtype)
    to_basis, noise = inverse(r, len(products))
    by_rows = (matmul(rows, to_basis) for rows in pieces(h))
    w, s, _ = small_svd(adjoint(upper(by_rows, size, h.dtype)))
    left = matmul(to_basis, w)  # A Ω times it is U
    right = left[:, :kept] * np.divide(
        1.0, s[:kept], out=np.zeros(kept), where=s[:kept] > EPS * s[0]
    )
    u = np.empty((sum(map(len, products)), kept), dtype)
    store(u, (matmul(rows[:, :size], left[:, :kept]) for rows in together(products, h.dtype)))
    v = np.empty((h.shape[0], kept), dtype)
    store(v, (matmul(rows, right) for rows in pieces(h)))
    u, v = orthonormal(u), orthonormal(v)

    # What is beyond: A times the probes, less all triplets times them. Those that are dropped are
    # not there, but their values times their right vectors are.
    judges = probes.astype(h.dtype)
    rest = left[:, kept:]
    dropped = matmul(rest, matmul(adjoint(rest), times_adjoint(h, judges)))
    explained = s[:kept, np.newaxis] * times_adjoint(v.astype(h.dtype), judges)
    lengths, first = np.zeros(COUNT), 0
    for rows in together(products, h.dtype):
        beyond = rows[:, size:] - matmul(rows[:, :size], dropped)
        beyond -= matmul(u[first : first + len(rows)].astype(h.dtype), explained)
        lengths = np.hypot(lengths, np.linalg.norm(beyond, axis=0))
        first += len(rows)
    s = s.astype(probes.real.dtype)
    frobenius, spectral = relative_errors(s, kept, lengths[np.newaxis])
    return u, s[:kept], v, (frobenius + noise, spectral + noise)


def inverse(r: Array, count: int) -> tuple[Array, float]:
    """What Y is multiplied with to become orthonormal, and how much noise of H it lets through.

    Columns of length 0 stand for directions of Y that are not well enough known: dividing H by the
    singular value multiplies its rounding errors, which grow with the root of the number of blocks.
    """
    _, s, zh = small_svd(r)
    if 0 < s[0] < LEAST:
        raise ValueError("rows contains only numbers whose squares are too small for float64")
    error = EPS * math.sqrt(count)
    known = s > math.sqrt(error) * s[0]
    found: Array = adjoint(zh) * reciprocals(s, math.sqrt(error) * s[0])
    return found, NOISE * error * float(s[0] / np.min(s[known])) if known.any() else 0.0


def reciprocals(s: Array, least: float) -> Array:
    """1 / s, and 0 where it is not more than the least."""
    return np.divide(1.0, s, out=np.zeros(s.size), where=s > least)


def upper(pieces: Iterable[Array], size: int, dtype: DType) -> Array:
    """The upper triangular factor of rows that come in pieces."""
    r = np.zeros((size, size), dtype)
    for rows in pieces:
        r = qr_tall(np.concatenate((r, rows))).R
    return r


def orthonormal(u: Array) -> Array:
    """Columns that are nearly orthonormal, made so in place; others, as well as they can be."""
    r = upper(pieces(u), u.shape[1], u.dtype)
    if np.min(np.abs(np.diag(r))) < NEARLY:
        found: Array = qr_tall(u).Q
        return found
    correction = adjoint(solve_triangular(adjoint(r), np.eye(len(r), dtype=r.dtype), lower=True))
    for rows in pieces(u):
        rows[...] = matmul(rows, correction)
    return u


def pieces(x: Array) -> Iterator[Array]:
    """Views of some rows each."""
    for start in range(0, len(x), ROWS):
        yield x[start : start + ROWS]


def together(blocks: Sequence[Array], dtype: DType) -> Iterator[Array]:
    """Blocks of rows, small ones joined, in this dtype."""
    waiting: list[Array] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= ROWS:
            yield np.concatenate(waiting).astype(dtype, copy=False)
            waiting = []
    if waiting:
        yield np.concatenate(waiting).astype(dtype, copy=False)


def store(target: Array, parts: Iterable[Array]) -> None:
    """Put rows one after another into an array."""
    start = 0
    for part in parts:
        target[start : start + len(part)] = part
        start += len(part)
