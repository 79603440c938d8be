"""Products of matrices and vectors: the matrix is read once, by many loads in flight."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from fastmat.cuda.intrinsics import load_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.semirings import Reading, Ring, writing
from fastmat.cuda.tiling import ITEMS

_int32, _int64 = np.int32, np.int64

THREADS = 256
AT_ONCE = 4  # loads of the matrix that a thread has in flight


class Shape(NamedTuple):
    """How a block shares out its part of a matrix whose rows are summed up.

    Parameters
    ----------
    along_k
        Whether lanes that are side by side read numbers of one row, or of neighbouring rows.
    lanes
        How many are side by side.
    run
        How many numbers one load reads.
    vector_run
        The same of the vector, where the matrix is read along k: `run` or 1.
    """

    along_k: bool
    lanes: int
    run: int
    vector_run: int = 1

    @property
    def rows(self) -> int:
        """Of a block."""
        return THREADS // self.lanes if self.along_k else self.lanes * self.run


def multiplying(
    dtype: str,
    ring: Ring,
    matrix_read: Reading,
    vector_read: Reading,
    shape: Shape,
    axes: int,
    split: bool,
    swapped: bool,
    name: str | None,
) -> Kernel:
    """The kernel of a matrix times a vector: grid of ceil(m / shape.rows), parts of k, items.

    `swapped` is for a vector times a matrix, which is given transposed. If the sums are `split`,
    those of parts go to scratch memory.
    """
    held = ring.held
    identity = held(ring.identity)
    stored, store = writing(dtype)
    target = held if split else stored
    add = ring.add
    place_of = ITEMS[axes]
    sum_rows = _along_k(ring, matrix_read, vector_read, shape, swapped) if shape.along_k else (
        _across_k(ring, matrix_read, vector_read, shape, swapped)
    )  # fmt: skip
    lanes, run = shape.lanes, shape.run
    rows, along_k = shape.rows, shape.along_k
    held_by_thread = 1 if along_k else run
    shared_size = THREADS * held_by_thread
    groups = lanes if along_k else THREADS // lanes  # threads that share a row
    group_step = 1 if along_k else lanes

    def matvec(
        a,  # in (m, k)
        a_row, a_col, a_0, a_1, a_2,
        b,  # in (k,); its row step is for stacks of dot products
        b_row, b_col, b_0, b_1, b_2,
        c,  # out (m,), or (parts, m)
        c_row, c_0, c_1, c_2,
        m, k, n_1, n_2,
        chunk, c_part,
    ):  # fmt: skip
        shared = cuda.shared.array(shared_size, held, 16)
        total = cuda.local.array(held_by_thread, held)
        thread = _int32(cuda.threadIdx.x)
        part = _int64(cuda.blockIdx.y)
        i_0, i_1, i_2 = place_of(_int32(cuda.blockIdx.z), n_1, n_2)
        done = part * _int64(chunk)
        count = _int32(min(_int64(k) - done, _int64(chunk)))
        a_first = i_0 * a_0 + i_1 * a_1 + i_2 * a_2 + done * a_col
        b_first = i_0 * b_0 + i_1 * b_1 + i_2 * b_2 + done * b_col
        c_first = i_0 * c_0 + i_1 * c_1 + i_2 * c_2 + part * c_part
        if along_k:
            row = _int32(cuda.blockIdx.x) * _int32(rows) + thread // _int32(lanes)
            here = min(row, m - _int32(1))
            group = thread % _int32(lanes)
        else:
            row = _int32(cuda.blockIdx.x) * _int32(rows) + thread % _int32(lanes) * _int32(run)
            here = min(row, m - _int32(run))
            group = thread // _int32(lanes)
        for e in range(held_by_thread):
            total[e] = identity
        sum_rows(
            total, a, a_first + _int64(here) * a_row, a_row, a_col,
            b, b_first + _int64(here) * b_row, b_col, group, count,
        )  # fmt: skip
        for e in range(held_by_thread):
            shared[thread + _int32(e * THREADS)] = total[e]
        cuda.syncthreads()
        half = _int32(groups // 2)
        while half > 0:
            if group < half:
                for e in range(held_by_thread):
                    at = thread + _int32(e * THREADS)
                    shared[at] = add(shared[at], shared[at + half * _int32(group_step)])
            cuda.syncthreads()
            half //= _int32(2)
        if group == 0:
            for e in range(held_by_thread):
                to = row + _int32(e)
                if to < m:
                    value = shared[thread + _int32(e * THREADS)]
                    at = c_first + _int64(to) * c_row
                    if split:
                        c[at] = value
                    else:
                        c[at] = store(value)

    arguments = (
        matrix_read.pointer, *["int64"] * 5, vector_read.pointer, *["int64"] * 5,
        f"{target.name}*", *["int64"] * 4, *["int32"] * 4, "int32", "int64",
    )  # fmt: skip
    return Kernel(matvec, arguments, name=name, threads=THREADS)


def _products(ring: Ring, a_read: Reading, b_read: Reading, swapped: bool) -> Any:
    add, multiply = ring.add, ring.multiply
    convert_a, convert_b = a_read.convert, b_read.convert

    @cuda.jit(device=True, forceinline=True)
    def add_product(total, x, y):
        left, right = convert_a(x), convert_b(y)
        return add(total, multiply(right, left) if swapped else multiply(left, right))

    return add_product


def _along_k(ring: Ring, a_read: Reading, b_read: Reading, shape: Shape, swapped: bool) -> Any:
    """Device function: the sum over the numbers of a row that are a lane's share."""
    _, lanes, run, vector_run = shape
    held = ring.held
    identity = held(ring.identity)
    add = ring.add
    add_product = _products(ring, a_read, b_read, swapped)
    a_stored, b_stored = a_read.stored, b_read.stored
    staged = AT_ONCE * run
    round_ = lanes * run

    @cuda.jit(device=True, forceinline=True)
    def sum_row(total, a, a_at, a_row, a_col, b, b_at, b_col, lane, count):
        x = cuda.local.array(staged, a_stored)
        y = cuda.local.array(staged, b_stored)
        sums = cuda.local.array(run, held)
        for e in range(run):
            sums[e] = identity
        rounds = count // _int32(round_)
        at = _int64(lane) * _int64(run)
        a_at += at * a_col
        b_at += at * b_col
        for _ in range(rounds // _int32(AT_ONCE)):
            for u in range(AT_ONCE):
                if run > 1:
                    load_run(x, u * run, a, a_at, run)
                else:
                    x[u] = a[a_at]
                if vector_run > 1:
                    load_run(y, u * run, b, b_at, run)
                else:
                    for e in range(run):
                        y[u * run + e] = b[b_at + _int64(e) * b_col]
                a_at += _int64(round_) * a_col
                b_at += _int64(round_) * b_col
            for u in range(AT_ONCE):
                for e in range(run):
                    sums[e] = add_product(sums[e], x[u * run + e], y[u * run + e])
        done = rounds // _int32(AT_ONCE) * _int32(AT_ONCE * round_)
        for first in range(done + lane * _int32(run), count, _int32(round_)):
            for e in range(run):
                if first + _int32(e) < count:
                    sums[e] = add_product(
                        sums[e], a[a_at + _int64(e) * a_col], b[b_at + _int64(e) * b_col]
                    )
            a_at += _int64(round_) * a_col
            b_at += _int64(round_) * b_col
        whole = sums[0]
        for e in range(1, run):
            whole = add(whole, sums[e])
        total[0] = whole

    return sum_row


def _across_k(ring: Ring, a_read: Reading, b_read: Reading, shape: Shape, swapped: bool) -> Any:
    """Device function: sums over every so many numbers of neighbouring rows."""
    _, lanes, run, _ = shape
    add_product = _products(ring, a_read, b_read, swapped)
    a_stored, b_stored = a_read.stored, b_read.stored
    groups = THREADS // lanes
    staged = AT_ONCE * run

    @cuda.jit(device=True, forceinline=True)
    def sum_rows(total, a, a_at, a_row, a_col, b, b_at, b_col, group, count):
        x = cuda.local.array(staged, a_stored)
        y = cuda.local.array(AT_ONCE, b_stored)
        a_at += _int64(group) * a_col
        b_at += _int64(group) * b_col
        rounds = count // _int32(groups * AT_ONCE)
        for _ in range(rounds):
            for u in range(AT_ONCE):
                if run > 1:
                    load_run(x, u * run, a, a_at, run)
                else:
                    x[u] = a[a_at]
                y[u] = b[b_at]
                a_at += _int64(groups) * a_col
                b_at += _int64(groups) * b_col
            for u in range(AT_ONCE):
                for e in range(run):
                    total[e] = add_product(total[e], x[u * run + e], y[u])
        for _ in range(rounds * _int32(groups * AT_ONCE) + group, count, _int32(groups)):
            for e in range(run):
                total[e] = add_product(total[e], a[a_at + _int64(e) * a_row], b[b_at])
            a_at += _int64(groups) * a_col
            b_at += _int64(groups) * b_col

    return sum_rows
