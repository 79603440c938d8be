"""The range of a matrix on a GPU: the steps of `ops.range_finder`.

Large matrices stay on the GPU; lengths of columns, and factors R of QR decompositions, come to the
CPU, in double precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.cuda import columns
from fastmat.cuda.arrays import stream_of
from fastmat.ops.draws import Place
from fastmat.ops.on_gpu.draws import fill
from fastmat.ops.on_gpu.gram import gram_of
from fastmat.ops.on_gpu.matrices import (
    Matrix,
    copied,
    launch_take,
    new,
    new_block,
    times,
    times_adjoint,
    times_block,
    written_scratch,
)
from fastmat.ops.on_gpu.qr_tall import NotFiniteError, factored, measured, scaled
from fastmat.ops.range_finder import (
    AUTO,
    BLOCK,
    COUNT,
    GRAM_SHARE,
    LU,
    NEW,
    NOISE,
    NONE,
    PROBES,
    SAFE,
    SKETCH,
    bounds,
    norm,
    rounding,
)

PASSES_OF_STEP = 2  # over a matrix, by its square


def check_normalizer(normalizer: int) -> None:
    """A TypeError for what there is on the CPU only."""
    if normalizer == LU:
        raise TypeError(
            "power_iteration_normalizer 'LU' does not run on GPUs; it must be 'auto', 'QR' or "
            "'none' there"
        )


def random_block(a: Matrix, size: int, seed: Any, stream: int, target: Matrix) -> Matrix:
    """Normal numbers to multiply a matrix with."""
    n, dtype = a.shape[1], a.view.dtype
    factor = math.sqrt(0.5) if a.is_complex else 1.0
    if n * size:
        fill("normal", target.view, Place((n, size), (size, 1), 0, True), (seed, stream), 0.0, 0.0,
             factor)  # fmt: skip
    assert target.view.dtype == dtype
    return target


def drawn(a: Matrix, size: int, seed: Any, stream: int) -> Matrix:
    """The same in a new block."""
    return random_block(a, size, seed, stream, new_block(a.shape[1], size, a))


def lengths(x: Matrix) -> Array:
    """The length of each column; not finite where a number of it is not."""
    return measured(x)[1]


def normalized(y: Matrix, normalizer: int) -> Matrix:
    """A matrix with the columns' span of another, in its place, good enough for a product."""
    if normalizer != NONE:
        return factored(y, exact=False, target=y)[0]
    top = np.max(measured(y)[0], initial=0.0)
    if top > 0 and math.isfinite(top):
        scaled(y, np.full(y.shape[1], -math.frexp(top)[1], np.int32), y)
    return y


def sketched(
    a: Matrix, size: int, n_iter: int, normalizer: int, seed: Any
) -> tuple[Matrix, Matrix, Matrix, int]:
    """A basis of about the range of a matrix, probes, the matrix times them, passes over it."""
    dtype, n = a.view.dtype, a.shape[1]
    both = new_block(n, size + COUNT, a)
    w, probes = both.columns(0, size), both.columns(size, size + COUNT)
    random_block(a, size, seed, SKETCH, w)
    random_block(a, COUNT, seed, PROBES, probes)
    passes = 1
    if normalizer == AUTO and n_iter:
        found, n_iter, passes = squared_steps(a, w, n_iter)
        if found is not w:
            copied(found, dtype, w)
    products = times_block(a, both)
    check_finite(products)
    y, seen = products.columns(0, size), products.columns(size, size + COUNT)
    for _ in range(n_iter):
        z = times_adjoint(a, normalized(y, normalizer))
        y = times_block(a, normalized(z, normalizer))
    q = factored(y, target=y)[0]
    return q, probes, seen, passes + 2 * n_iter


def squared_steps(a: Matrix, w: Matrix, n_iter: int) -> tuple[Matrix, int, int]:
    """Power iterations without a QR decomposition between the two products, where that is safe.

    As on the CPU, but for the passes, which are two in a step. Returns the columns to go on with,
    the iterations that are left, and the passes over the matrix, with that which comes next.
    """
    few = a.shape[1] <= GRAM_SHARE * n_iter * w.shape[1]
    square = gram_of(a, None) if few else None
    finfo = np.finfo(a.dtype)
    eps = float(finfo.eps)
    full = float(finfo.tiny) / eps
    passes, q = 2 if few else 1, w
    for _ in range(n_iter):
        z = times_adjoint(a, times_block(a, q)) if square is None else times_block(square, q)
        passes += PASSES_OF_STEP if square is None else 0
        try:
            q, r = factored(z, exact=False, target=z)
        except NotFiniteError:
            return w, n_iter, passes
        sizes = np.abs(np.diag(r))
        if not np.min(sizes) > SAFE * eps * max(np.max(sizes), full):
            return w, n_iter, passes
    return q, 0, passes


def check_finite(y: Matrix) -> None:
    """A ValueError where the product of a matrix and normal numbers is not finite."""
    if not math.isfinite(norm(lengths(y))):
        raise ValueError(
            "x contains NaN or infinity, or numbers whose sums are too large for its dtype"
        )


def subtract(y: Matrix, x: Matrix) -> Matrix:
    """``y -= x``."""
    (m, n), to, source = y.shape, y.view, x.view
    if m * n:
        arguments = (to.pointer, m, n, *to.strides, source.pointer, *source.strides)
        grid = columns.grid_of(m, n)
        columns.subtract(to.dtype)(grid, arguments, stream_of(to), to.device)
    return y


def without(q: Matrix, y: Matrix) -> Matrix:
    """The columns of y, less what the columns of q explain of them."""
    return y if not q.shape[1] else subtract(y, times(q, times_adjoint(q, y)))


def taken(x: Matrix, which: Array) -> Matrix:
    """Some columns."""
    found = new((x.shape[0], which.size), x.view.dtype, x)
    if which.size:
        launch_take(x, written_scratch(which.astype(np.int32), x), found)
    return found


def adaptive(
    a: Matrix, most: int, tol: float, spectral: bool, n_iter: int, normalizer: int, seed: Any
) -> tuple[Matrix, Matrix, Matrix, Matrix, int]:
    """A basis, block by block, until what is beyond it is small enough; or of `most` columns.

    As on the CPU. Returns the basis q, the adjoint of the matrix times q, probes, the matrix times
    them, and how many blocks there are.
    """
    (m, n), dtype = a.shape, a.view.dtype
    probes = drawn(a, COUNT, seed, PROBES)
    seen_by_probes = times_block(a, probes)
    check_finite(seen_by_probes)
    rest, room = copied(seen_by_probes, dtype), min(2 * BLOCK, most)
    eps = np.zeros(1, a.dtype)  # stands for its dtype
    noise = NOISE * float(np.finfo(a.dtype).eps) * np.max(lengths(rest))
    q, z = new((m, room), dtype, a), new((n, room), dtype, a)
    size, blocks, captured, largest = 0, 0, 0.0, 0.0
    while size < most:
        width = min(BLOCK, most - size)
        old, seen = q.columns(0, size), z.columns(0, size)
        w = drawn(a, width, seed, PROBES + 1 + blocks)
        y = _beyond(times_block(a, w), old, seen, w)
        for _ in range(n_iter):
            y = normalized(y, normalizer)
            w = normalized(_beyond(times_adjoint(a, y), seen, old, y), normalizer)
            y = _beyond(times_block(a, w), old, seen, w)
        fresh = above_noise(without(old, above_noise(y, noise)), NEW)
        if fresh.shape[1] > 0:
            y = fresh
        elif size > 0:
            break
        else:  # nothing but zeros: any column will do
            y = copied(factored(y)[0].columns(0, 1), dtype)
        width = y.shape[1]
        y = factored(without(old, y))[0]
        y = factored(without(old, y))[0]  # twice is enough
        w = times_adjoint(a, y)
        if size + width > q.shape[1]:
            q, z = extended(q, size, most), extended(z, size, most)
        copied(y, dtype, q.columns(size, size + width))
        copied(w, dtype, z.columns(size, size + width))
        rest = without(y, rest)
        size, blocks = size + width, blocks + 1
        found, left = lengths(w), lengths(rest)[np.newaxis]
        captured = math.hypot(captured, norm(found))
        largest = max(largest, np.max(found))
        beyond, longest = bounds(left)
        limit = tol - rounding(eps, size)
        if spectral:
            if longest <= limit * largest:
                break
        elif beyond <= limit * math.hypot(captured, beyond):
            break
    return q.columns(0, size), z.columns(0, size), probes, seen_by_probes, blocks


def _beyond(y: Matrix, basis: Matrix, of_rows: Matrix, w: Matrix) -> Matrix:
    """``y -= basis @ (adjoint of of_rows) @ w``."""
    return y if not basis.shape[1] else subtract(y, times(basis, times_adjoint(of_rows, w)))


def above_noise(y: Matrix, noise: float) -> Matrix:
    """An orthonormal basis of the columns, without those of which the others leave only noise."""
    if not y.shape[1]:
        return y
    q, r = factored(y)
    return taken(q, np.flatnonzero(np.abs(np.diag(r)) > noise))


def extended(q: Matrix, size: int, most: int) -> Matrix:
    """A matrix with room for twice as many columns, whose first ones are those of another."""
    found = new((q.shape[0], min(2 * q.shape[1], most)), q.view.dtype, q)
    if size:
        copied(q.columns(0, size), q.view.dtype, found.columns(0, size))
    return found
