"""Normalization of contiguous rows that fit into the registers of the threads that read them."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.cuda.activations import activation_of
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_norms import FEW_ROWS, LONG_ROW, Rows, rows_for
from fastmat.cuda.row_sums import ALL, row_sum, row_sums

# Where weight and bias of a number are found.
BY_COLUMN = 0  # at its place in the row
BY_ROW = 1  # at the place of the row in a period of rows
BY_RUN = 2  # rows of a period have so many each, and the row is divided into runs of equal length


class Variant(NamedTuple):
    """What tells kernels for rows apart."""

    dtype: str
    centred: bool  # subtract the mean
    parameters: str | None = None  # dtype of weight and bias
    weight: bool = False
    bias: bool = False
    place: int = BY_COLUMN
    residual: bool = False
    statistics: bool = False
    activation: Any = None
    run: int = 1  # numbers of an access
    norm: bool = False  # divide by the Euclidean norm, or eps if that is larger


class RowsKernel(Kernel):
    """A kernel for rows, and how many of them a block takes."""

    rows = 1


@functools.cache
def _kernel(variant: Variant, n: int) -> RowsKernel | None:
    itemsize = element(variant.dtype).itemsize
    more = variant.residual or variant.statistics or variant.activation is not None
    found = rows_for(n, itemsize, variant.run, more=more or itemsize == 8)
    return None if found is None else _norm(variant, found)


def norm(variant: Variant, n: int, count: int) -> RowsKernel | None:
    """The kernel for so many rows of this length; None if they are to be read in pieces."""
    if n >= LONG_ROW and count < FEW_ROWS:
        return None
    return _kernel(variant, n)


@functools.cache
def _norm(variant: Variant, rows: Rows) -> RowsKernel:
    e = element(variant.dtype)
    p = element(variant.parameters or variant.dtype)
    number, stored, widen, narrow = e.number, e.stored, e.widen, e.narrow
    stored_parameter, to_number = p.stored, p.widen
    T, K, V = rows.threads, rows.runs, variant.run
    R, N = rows.rows, K * V
    P = min(V, p.run)
    centred, place, residual = variant.centred, variant.place, variant.residual
    weighted, biased, kept = variant.weight, variant.bias, variant.statistics
    mapped, by_norm = variant.activation is not None, variant.norm
    activation = activation_of(variant.activation, number)
    sum_one, sum_two = row_sum(number, T), row_sums(number, T)
    kind = np.dtype(number.name).type
    zero, one = kind(0), kind(1)

    def normalize_rows(
        x,  # in (rows, n), rows `step` apart
        added,  # in (rows, n), contiguous
        weight,  # in, see `place`
        bias,  # in, as weight
        y,  # out (rows, n), rows `y_step` apart
        total,  # out (rows, n), contiguous
        mean,  # out (rows,)
        rstd,  # out (rows,)
        rows,
        n,
        step,
        y_step,
        share,  # 1 / n; 1 for a norm
        eps,
        period,  # of rows, BY_ROW and BY_RUN
        length,  # of a run
    ):
        t = cuda.threadIdx.x
        lane = t % T
        row = types.int64(cuda.blockIdx.x) * R + t // T
        inside = row < rows
        start = row * step
        words = cuda.shared.array(32, number)
        plain = cuda.shared.array(32, number)
        pairs = cuda.shared.array(64, number)
        raw = cuda.local.array(N, stored)
        v = cuda.local.array(N, number)
        for k in range(K):
            j = (lane + k * T) * V
            if inside and j < n:
                load_run(raw, k * V, x, start + j, V)
        if residual:
            more = cuda.local.array(N, stored)
            for k in range(K):
                j = (lane + k * T) * V
                if inside and j < n:
                    load_run(more, k * V, added, row * n + j, V)
            for k in range(K):
                j = (lane + k * T) * V
                if inside and j < n:
                    for i in range(V):
                        raw[k * V + i] = narrow(widen(raw[k * V + i]) + widen(more[k * V + i]))
                    store_run(total, row * n + j, raw, k * V, V)
        for k in range(K):
            j = (lane + k * T) * V
            for i in range(V):
                v[k * V + i] = widen(raw[k * V + i]) if inside and j < n else zero
        if centred:
            first = zero
            if residual:  # which may be overwritten by the sum
                first = v[0]
                if T > 32:
                    if t == 0:
                        plain[0] = first
                    cuda.syncthreads()
                    first = plain[0]
                    cuda.syncthreads()
                else:
                    first = cuda.shfl_sync(ALL, first, t & 31 & ~(T - 1))
            elif inside:
                first = widen(x[start])
            s = zero
            for k in range(K):
                j = (lane + k * T) * V
                if j < n:
                    for i in range(V):
                        s += v[k * V + i] - first
            # Of numbers that are all equal the mean is exact. It is held in two parts.
            center = first + sum_one(s, words) * share
            if kept:
                # Infinities, perhaps of one sign. A warp may have several rows, and shuffles whole.
                bad = center != center
                if cuda.any_sync(ALL, bad):
                    s = zero
                    for m in range(N):
                        s += v[m]
                    s = sum_one(s, plain) * share
                    if bad:
                        center = s
            s = zero
            squares = zero
            for k in range(K):
                j = (lane + k * T) * V
                if j < n:
                    for i in range(V):
                        d = v[k * V + i] - center
                        v[k * V + i] = d
                        s += d
                        squares += d * d
            s, squares = sum_two(s, squares, pairs)
            rest = s * share
            variance = squares * share - rest * rest
            if variance < zero:
                variance = zero
        else:
            center = rest = zero
            squares = zero
            for m in range(N):
                squares += v[m] * v[m]
            variance = sum_one(squares, words) * share
        if by_norm:
            norm = math.sqrt(variance)
            factor = one / (eps if norm < eps else norm)
        else:
            factor = one / math.sqrt(variance + eps)
        if kept and lane == 0 and inside:
            if rest != rest:
                rest = zero
            mean[row] = types.float64(center) + types.float64(rest)
            rstd[row] = types.float64(factor)
        parameter = types.int64(0)
        if place == BY_ROW:
            parameter = row % period
        if place == BY_RUN:
            parameter = (row % period) * (n // length)
        for k in range(K):
            j = (lane + k * T) * V
            if inside and j < n:
                w = cuda.local.array(V, stored_parameter)
                b = cuda.local.array(V, stored_parameter)
                if place == BY_COLUMN:
                    for part in range(0, V, P):
                        if weighted:
                            load_run(w, part, weight, j + part, P)
                        if biased:
                            load_run(b, part, bias, j + part, P)
                at = parameter
                if place == BY_RUN:
                    at += types.uint32(j) // types.uint32(length)
                for i in range(V):
                    result = v[k * V + i]
                    if centred:
                        result -= rest
                    result *= factor
                    if weighted:
                        result *= number(to_number(w[i] if place == BY_COLUMN else weight[at]))
                    if biased:
                        result += number(to_number(b[i] if place == BY_COLUMN else bias[at]))
                    if mapped:
                        result = activation(result)
                    raw[k * V + i] = narrow(result)
                store_run(y, row * y_step + j, raw, k * V, V)

    arguments = (
        *[e.pointer] * 2, *[p.pointer] * 2, *[e.pointer] * 2, "float64*", "float64*",
        "int64", "int32", "int64", "int64", number.name, number.name, "int32", "int32",
    )  # fmt: skip
    named = not callable(variant.activation)
    name = f"normalize_rows {variant} {rows}" if named else None
    kernel = RowsKernel(normalize_rows, arguments, name=name, threads=T * R, blocks=rows.blocks)
    kernel.rows = R
    return kernel
