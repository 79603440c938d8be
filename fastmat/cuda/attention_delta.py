"""What the gradients of attention want to know of each query."""

from __future__ import annotations

import functools
import math

from numba import cuda, types

from fastmat.cuda.attention import PLANE
from fastmat.cuda.attention_softmax import ALL_LANES
from fastmat.cuda.elements import element
from fastmat.cuda.kernel import Kernel

QUERIES = 4  # of a block: a warp has one


@functools.cache
def prepare(dtype, log_dtype):
    """Of each query, delta and the logarithm to base 2 of its sum of exponentials."""
    kind, logs_kind = element(dtype), element(log_dtype)
    number, widen, widen_log = kind.number, kind.widen, logs_kind.widen
    log2_e = math.log2(math.e)

    def prepare_rows(
        g,  # in (outer, heads, m, width)
        g_outer,  # strides
        g_head,
        g_row,
        g_column,
        result,  # in (outer, heads, m, width)
        result_outer,
        result_head,
        result_row,
        result_column,
        logs,  # in (outer, heads, m)
        log_outer,
        log_head,
        log_row,
        deltas,  # out (outer, heads, m), C-contiguous
        bases,  # out (outer, heads, m), C-contiguous
        m,
        width,
        heads,
        size,  # outer * heads * m
    ):
        lane = cuda.threadIdx.x & 31
        place = types.int64(cuda.blockIdx.x) * QUERIES + (cuda.threadIdx.x >> 5)
        if place >= size:
            return
        plane, row = place // m, place % m
        outer, head = plane // heads, plane % heads
        at = outer * g_outer + head * g_head + row * g_row
        other = outer * result_outer + head * result_head + row * result_row
        delta = number(0)
        for c in range(lane, width, 32):
            delta += widen(g[at + c * g_column]) * widen(result[other + c * result_column])
        for step in (16, 8, 4, 2, 1):
            delta += cuda.shfl_xor_sync(ALL_LANES, delta, step)
        if lane == 0:
            log = types.float64(
                widen_log(logs[outer * log_outer + head * log_head + row * log_row])
            )
            deltas[place] = delta
            bases[place] = number(0 if log == -math.inf else log * log2_e)

    return Kernel(
        prepare_rows,
        (
            *(kind.pointer, *PLANE) * 2, logs_kind.pointer, *PLANE[:3],
            f"{number.name}*", f"{number.name}*", *("int64",) * 4,
        ),
        name=f"prepare_rows {dtype} {log_dtype}",
        threads=32 * QUERIES,
    )  # fmt: skip
