"""Products of slender shapes: few entries with long sums, and few columns."""

from numba import types

from fastmat.core.compile import call, call_on_demand, kernel, reads, writes
from fastmat.core.inline import inlined, overload
from fastmat.core.mathfn import narrow, plus
from fastmat.cpu.blocking import (
    DIRECT_WORK,
    SPLIT_PIECES,
    ceil_div,
    depth,
    direct_rows,
    parts,
    split_depth,
    tile_cols,
    tile_rows,
)
from fastmat.cpu.gemm import gemm
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch, sum_dtype
from fastmat.cpu.small import DIRECT, direct
from fastmat.cpu.strided import STRIDED, is_strided, strided_tiles
from fastmat.cpu.views import part, stack, transposed


def _matrices(t):
    return reads(t, 2), reads(t, 2), writes(t, 2), types.intp


@kernel(_matrices)
def long_sums(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n)
    threads,
):
    """c = a @ b for few entries, with k beyond `split_depth`: pieces of k, added up in order."""
    (m, k), n = a.shape, b.shape[1]
    steps = depth(a.dtype)
    piece = max(split_depth(a.dtype), ceil_div(k, SPLIT_PIECES * steps) * steps)
    pieces = ceil_div(k, piece)
    partial = scratch((pieces, m, n), sum_dtype(a.dtype))
    parallel_for(_piece, pieces, threads, (a, b, partial, piece))
    for i in range(m):
        for j in range(n):
            total = partial[0, i, j]
            for q in range(1, pieces):
                total = plus(total, partial[q, i, j])
            c[i, j] = narrow(total, c.dtype)


@task
def _piece(args, slot, index):
    a, b, partial, piece = args
    p0, p1 = index * piece, min((index + 1) * piece, a.shape[1])
    _piece_product(part(a, 0, a.shape[0], p0, p1), part(b, p0, p1), partial[index])


def _piece_product(a, b, c):
    raise TypeError("only for compiled code")


@overload(_piece_product, inline="always")
def _piece_product_by_dtype(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n), of the accumulator's dtype
):
    if is_strided(a.dtype):
        return lambda a, b, c: call(strided_product, a.dtype, (a, b, c))
    return lambda a, b, c: call_on_demand(gemm, a.dtype, (a, b, c, 1))


@kernel(lambda t: (reads(t, 2), reads(t, 2), types.Array(t, 2, "C")), STRIDED)
def strided_product(
    a,  # in (m, k)
    b,  # in (k, n)
    c,  # out (m, n)
):
    """c = a @ b on one thread; b alone is packed."""
    (m, k), n, rows, cols = a.shape, b.shape[1], tile_rows(a.dtype), tile_cols(a.dtype)
    steps, scalar = min(depth(a.dtype), k), scalar_dtype(a.dtype)
    size = steps * cols * parts(a.dtype)
    panels = scratch(ceil_div(n, cols) * size, scalar)
    own, edge = scratch(steps * rows * parts(a.dtype), scalar), scratch((rows, cols), a.dtype)
    for p in range(0, k, steps):
        chunk = part(b, p, p + steps)
        size = chunk.shape[0] * cols * parts(a.dtype)
        for j in range(0, n, cols):
            columns, at = part(transposed(chunk), j, j + cols), j // cols * size
            call(pack, a.dtype, (columns, cols, part(panels, at, at + size)))
        args = part(a, 0, m, p, p + steps), panels.ctypes.data, c, False, p > 0, own, edge
        call(strided_tiles, a.dtype, args)


@kernel(_matrices, DIRECT)
def few_columns(
    a,  # in (m, k)
    b,  # in (k, n), few columns
    c,  # out (m, n)
    threads,
):
    """c = a @ b by strips of rows: a stack of small products that share b."""
    (m, k), n = a.shape, b.shape[1]
    rows = max(1, DIRECT_WORK // (n * k * direct_rows(a.dtype))) * direct_rows(a.dtype)
    strips = m // rows
    done = strips * rows
    if strips:
        _strips(part(a, 0, rows), b, part(c, 0, rows), strips, rows, threads)
    if done < m:
        _strips(part(a, done, m), b, part(c, done, m), 1, 0, 1)


@inlined
def _strips(a, b, c, count, rows, threads):
    x, z = stack(a, count, rows * a.strides[0]), stack(c, count, rows * c.strides[0])
    call(direct, a.dtype, (x, stack(b, count, 0), z, threads))
