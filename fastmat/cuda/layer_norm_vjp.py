"""Gradients of normalizations of contiguous rows, which a block reads once."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_norms import GRADIENT_PIECES, Rows, gradient_rows_for
from fastmat.cuda.row_sums import row_sums


class Variant(NamedTuple):
    """What tells kernels for rows apart."""

    dtype: str
    centred: bool  # whether the mean was subtracted
    parameters: str | None  # dtype of the weight; None if there is none
    run: int  # numbers of an access


class RowsGradient(Kernel):
    """A kernel for rows, and how many of them a block takes at a time."""

    rows = 1


@functools.cache
def gradient(variant: Variant, n: int) -> RowsGradient | None:
    """The kernel for rows of this length; None if they do not fit into registers."""
    found = gradient_rows_for(n, element(variant.dtype).itemsize, variant.run)
    return None if found is None else _gradient(variant, found)


def pieces_of(kernel: RowsGradient, count: int, weighted: bool) -> int:
    """In how many pieces the rows are added up, each by a block; that depends on them alone."""
    tiles = -(-count // kernel.rows)
    return min(tiles, GRADIENT_PIECES) if weighted else tiles


@functools.cache
def _gradient(variant: Variant, rows: Rows) -> RowsGradient:
    e = element(variant.dtype)
    p = element(variant.parameters or variant.dtype)
    number, stored, widen, narrow = e.number, e.stored, e.widen, e.narrow
    stored_weight, to_number = p.stored, p.widen
    weighted, centred = variant.parameters is not None, variant.centred
    T, R, K, V = rows.threads, rows.rows, rows.runs, variant.run
    N, P = K * V, min(V, p.run)
    Q = min(V, 16 // np.dtype(number.name).itemsize)
    summed = T * N if R > 1 and weighted else 1
    add_up = row_sums(number, T)
    zero = np.dtype(number.name).type(0)

    def differentiate_rows(
        x,  # in (rows, n), rows `step` apart
        cotangent,  # in (rows, n), rows `g_step` apart
        weight,  # in (n,)
        high,  # in (rows,), center
        low,  # in (rows,), what is added to it
        factor,  # in (rows,)
        y,  # out (rows, n), rows `y_step` apart
        partial,  # out (2, pieces, n): gradients by bias and weight
        rows,
        n,
        step,
        g_step,
        y_step,
        share,  # 1 / n
        pieces,
    ):
        words = cuda.shared.array(128, number)
        weights = cuda.shared.array(summed, number)
        biases = cuda.shared.array(summed, number)
        t = cuda.threadIdx.x
        lane = t % T
        slot = t // T
        by_weight = cuda.local.array(N, number)
        by_bias = cuda.local.array(N, number)
        for m in range(N):
            by_weight[m] = zero
            by_bias[m] = zero
        first = types.int64(cuda.blockIdx.x) * R
        turn = 0
        while first < rows:
            row = first + slot
            inside = row < rows
            raw = cuda.local.array(N, stored)
            raw_g = cuda.local.array(N, stored)
            for k in range(K):
                j = (lane + k * T) * V
                if inside and j < n:
                    load_run(raw, k * V, x, row * step + j, V)
                    load_run(raw_g, k * V, cotangent, row * g_step + j, V)
            center = rest = scale = zero
            if inside:
                scale = factor[row]
                if centred:
                    center = high[row]
                    rest = low[row]
            normal = cuda.local.array(N, number)
            h = cuda.local.array(N, number)
            s = zero
            product = zero
            for k in range(K):
                j = (lane + k * T) * V
                w = cuda.local.array(V, stored_weight)
                if weighted and j < n:
                    for part in range(0, V, P):
                        load_run(w, part, weight, j + part, P)
                for i in range(V):
                    m = k * V + i
                    normal[m] = zero
                    h[m] = zero
                    if inside and j < n:
                        g = widen(raw_g[m])
                        v = widen(raw[m])
                        if centred:
                            v = v - center - rest
                        v *= scale
                        if weighted:
                            by_bias[m] += g
                            by_weight[m] += g * v
                            g *= number(to_number(w[i]))
                        normal[m] = v
                        h[m] = g
                        s += g
                        product += g * v
            s, product = add_up(s, product, words[64 * turn : 64 * turn + 64])
            turn = 1 - turn  # who is late still reads the words of the last turn
            shift = s * share
            slope = product * share
            for k in range(K):
                j = (lane + k * T) * V
                if inside and j < n:
                    for i in range(V):
                        m = k * V + i
                        result = h[m]
                        if centred:
                            result -= shift
                        raw[m] = narrow((result - normal[m] * slope) * scale)
                    store_run(y, row * y_step + j, raw, k * V, V)
            first += types.int64(cuda.gridDim.x) * R
        if weighted:
            if R > 1:
                for owner in range(R):
                    if slot == owner:
                        for m in range(N):
                            at = lane + m * T
                            if owner > 0:
                                by_weight[m] += weights[at]
                                by_bias[m] += biases[at]
                            weights[at] = by_weight[m]
                            biases[at] = by_bias[m]
                    cuda.syncthreads()
            if slot == R - 1:
                start = types.int64(cuda.blockIdx.x) * n
                for k in range(K):
                    j = (lane + k * T) * V
                    if j < n:
                        for part in range(0, V, Q):
                            at = start + j + part
                            store_run(partial, at, by_bias, k * V + part, Q)
                            store_run(partial, pieces * n + at, by_weight, k * V + part, Q)

    q = f"{number.name}*"
    arguments = (
        e.pointer, e.pointer, p.pointer, q, q, q, e.pointer, q, "int64", "int32", *["int64"] * 3,
        number.name, "int64",
    )  # fmt: skip
    kernel = RowsGradient(
        differentiate_rows,
        arguments,
        name=f"differentiate_rows {variant} {rows}",
        threads=T * R,
        blocks=rows.blocks,
    )
    kernel.rows = R
    return kernel
