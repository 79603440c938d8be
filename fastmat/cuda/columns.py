"""Columns of tall matrices: how long they are, scaled, drawn, taken, and signs of pairs of them."""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.gram import conjugate
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.philox import words_at

THREADS = 256
COLUMNS = 32  # that a block does: 2**5
PIECES = 64  # into which rows are split, at the most
LEAST_ROWS = 256  # of a piece

REAL = {"complex64": "float32", "complex128": "float64"}


def piece_of(rows: int) -> int:
    """How many rows a piece has."""
    return max(LEAST_ROWS, -(-rows // PIECES))


def grid_of(m: int, n: int) -> int:
    """Blocks of a kernel whose threads have one number each."""
    return -(-n // COLUMNS) * -(-m // (THREADS // COLUMNS))


@cuda.jit(device=True)
def place(n):
    """Row and column of the number of a thread."""
    blocks = (n + types.int64(COLUMNS - 1)) >> types.int64(5)
    block, thread = types.int64(cuda.blockIdx.x), types.int64(cuda.threadIdx.x)
    down = types.int64(types.uint64(block) // types.uint64(blocks))
    column = (block - down * blocks) * COLUMNS + (thread & types.int64(COLUMNS - 1))
    return down * (THREADS // COLUMNS) + (thread >> types.int64(5)), column


@functools.cache
def measure(dtype: str) -> Kernel:
    """The largest part of a number and the sum of squares of each column, by pieces of rows.

    What sums lose is added to them. The largest is not finite where a number is not.
    """
    lanes = THREADS // COLUMNS

    def columns_measure(
        x,  # in (m, n)
        m,
        n,
        row_step,
        column_step,
        piece,
        scale,  # that numbers are multiplied with, a power of 2
        found,  # out (2, pieces, n)
    ):
        tops = cuda.shared.array((lanes, COLUMNS), types.float64)
        sums = cuda.shared.array((lanes, COLUMNS), types.float64)
        thread = types.int32(cuda.threadIdx.x)
        lane, across = thread // types.int32(COLUMNS), thread % types.int32(COLUMNS)
        column = types.int64(cuda.blockIdx.x) * COLUMNS + across
        first = types.int64(cuda.blockIdx.y) * piece
        last = min(m, first + piece)
        top, total, lost = 0.0, 0.0, 0.0
        if column < n:
            for i in range(first + lane, last, lanes):
                number = x[i * row_step + column * column_step]
                real = types.float64(number.real)
                imaginary = types.float64(number.imag)
                largest = max(abs(real), abs(imaginary))
                if not largest < math.inf or real != real or imaginary != imaginary:
                    largest = math.inf
                top = max(top, largest)
                real *= scale
                imaginary *= scale
                term = (real * real + imaginary * imaginary) - lost
                after = total + term
                lost = (after - total) - term
                total = after
        tops[lane, across] = top
        sums[lane, across] = total
        cuda.syncthreads()
        if lane == 0 and column < n:
            for other in range(1, lanes):
                top = max(top, tops[other, across])
                total += sums[other, across]
            at = types.int64(cuda.blockIdx.y) * n + column
            found[at] = top
            found[types.int64(cuda.gridDim.y) * n + at] = total

    return Kernel(
        columns_measure,
        (f"{dtype}*", *["int64"] * 5, "float64", "float64*"),
        name=f"columns_measure_{dtype}",
        threads=THREADS,
    )


@functools.cache
def scale(dtype: str) -> Kernel:
    """Columns times powers of 2, rounded once; random ones, by position, in place of some."""
    kind = getattr(types, dtype)
    is_complex = dtype.startswith("complex")
    keep, draw = np.int32(2**20), np.int32(2**20 + 1)  # no powers

    def columns_scale(
        x,  # in (m, n)
        m,
        n,
        row_step,
        column_step,
        powers,  # in (n,): exponents of 2; 2**20: as it is, 2**20 + 1: random numbers
        seed,
        y,  # out (m, n), may be x
        y_row,
        y_column,
    ):
        row, column = place(n)
        if column >= n or row >= m:
            return
        power = powers[column]
        number = x[row * row_step + column * column_step]
        if power == draw:
            words = words_at(types.uint64(row) | types.uint64(column) << types.uint64(32), seed, 0)
            bits = types.uint64(words[0]) << types.uint64(21) | types.uint64(
                words[1] >> types.uint32(11)
            )
            number = kind(types.float64(bits) * 2.0**-53 - 0.5)
        elif power != keep:
            if is_complex:
                number = kind(
                    complex(math.ldexp(number.real, power), math.ldexp(number.imag, power))
                )
            else:
                number = kind(math.ldexp(number, power))
        y[row * y_row + column * y_column] = number

    pointer = f"{dtype}*"
    return Kernel(
        columns_scale,
        (pointer, *["int64"] * 4, "int32*", "uint64", pointer, "int64", "int64"),
        name=f"columns_scale_{dtype}",
        threads=THREADS,
    )


KEEP, RANDOM = 2**20, 2**20 + 1  # in place of powers


@functools.cache
def subtract(dtype: str) -> Kernel:
    """y -= x."""

    def columns_subtract(
        y,  # inout (m, n)
        m,
        n,
        y_row,
        y_column,
        x,  # in (m, n)
        x_row,
        x_column,
    ):
        row, column = place(n)
        if column < n and row < m:
            y[row * y_row + column * y_column] -= x[row * x_row + column * x_column]

    pointer = f"{dtype}*"
    return Kernel(
        columns_subtract,
        (pointer, *["int64"] * 4, pointer, "int64", "int64"),
        name=f"columns_subtract_{dtype}",
        threads=THREADS,
    )


@functools.cache
def take(given: str, dtype: str, conjugated: bool) -> Kernel:
    """y[:, j] = x[:, which[j]] in another dtype, conjugated if need be."""
    source, kind = element(given), getattr(types, dtype)
    widen = source.widen
    conj = conjugate(dtype) if conjugated else conjugate("float64")

    def columns_take(
        x,  # in
        x_row,
        x_column,
        which,  # in (n,), or no pointer: all columns as they are
        m,
        n,
        y,  # out (m, n)
        y_row,
        y_column,
        all_columns,
    ):
        row, column = place(n)
        if column >= n or row >= m:
            return
        taken = column
        if all_columns == 0:
            taken = types.int64(which[column])
        y[row * y_row + column * y_column] = conj(kind(widen(x[row * x_row + taken * x_column])))

    return Kernel(
        columns_take,
        (
            *(source.pointer, "int64", "int64", "int32*", "int64", "int64"),
            *(f"{dtype}*", "int64", "int64", "int32"),
        ),
        name=f"columns_take_{given}_{dtype}_{conjugated}",
        threads=THREADS,
    )


@functools.cache
def flip_signs(dtype: str) -> Kernel:
    """Make the largest number of each column of u real and positive; rows of vh turn back.

    The first of several such. A block does one column and one row.
    """
    kind = getattr(types, dtype)
    is_complex = dtype.startswith("complex")
    real = getattr(types, REAL.get(dtype, dtype))

    @cuda.jit(device=True)
    def size_of(number):
        if is_complex:
            return math.hypot(number.real, number.imag)
        return abs(number)

    @cuda.jit(device=True)
    def phase_of(number, size):
        if is_complex:
            return kind(complex(number.real / size, number.imag / size))
        return number / size

    conj = conjugate(dtype)

    def columns_flip_signs(
        u,  # inout (m, k)
        m,
        u_row,
        u_column,
        vh,  # inout (k, n)
        n,
        vh_row,
        vh_column,
    ):
        sizes = cuda.shared.array(THREADS, real)
        rows = cuda.shared.array(THREADS, types.int64)
        thread = types.int32(cuda.threadIdx.x)
        column = types.int64(cuda.blockIdx.x)
        largest, where = real(-1), types.int64(0)
        for i in range(types.int64(thread), m, THREADS):
            size = size_of(u[i * u_row + column * u_column])
            if size > largest:
                largest, where = size, i
        sizes[thread] = largest
        rows[thread] = where
        cuda.syncthreads()
        half = types.int32(THREADS // 2)
        while half > 0:
            if thread < half:
                other = sizes[thread + half]
                before = rows[thread + half] < rows[thread]
                if other > sizes[thread] or (other == sizes[thread] and before):
                    sizes[thread] = other
                    rows[thread] = rows[thread + half]
            cuda.syncthreads()
            half //= types.int32(2)
        largest = sizes[0]
        number = u[rows[0] * u_row + column * u_column]
        cuda.syncthreads()
        if not largest > real(0):
            return
        phase = phase_of(number, largest)
        back = conj(phase)
        for i in range(types.int64(thread), m, THREADS):
            u[i * u_row + column * u_column] *= back
        for j in range(types.int64(thread), n, THREADS):
            vh[column * vh_row + j * vh_column] *= phase

    pointer = f"{dtype}*"
    return Kernel(
        columns_flip_signs,
        (pointer, *["int64"] * 3, pointer, *["int64"] * 3),
        name=f"columns_flip_signs_{dtype}",
        threads=THREADS,
    )
