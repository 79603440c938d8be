"""Copies and sums of planes: four axes of any strides."""

from __future__ import annotations

import functools

from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.kernel import Kernel

THREADS = 256


@functools.cache
def add_planes(dtype, out_dtype):
    """``out[i] = sum(x[i, s] for s in range(count))``, for i of four axes, from s = 0 on."""
    read, write = element(dtype), element(out_dtype)
    widen, narrow, number = read.widen, write.narrow, read.number
    wide = write.number

    def add(
        x,  # in (n0, n1, n2, n3, count)
        x0,  # strides
        x1,
        x2,
        x3,
        x4,
        out,  # out (n0, n1, n2, n3)
        out0,
        out1,
        out2,
        out3,
        n1,
        n2,
        n3,
        size,  # n0 * n1 * n2 * n3
        count,
    ):
        place = types.int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
        if place >= size:
            return
        i3, rest = place % n3, place // n3
        i2, rest = rest % n2, rest // n2
        i1, i0 = rest % n1, rest // n1
        at = i0 * x0 + i1 * x1 + i2 * x2 + i3 * x3
        total = number(0)
        for s in range(count):
            total += widen(x[at + s * x4])
        out[i0 * out0 + i1 * out1 + i2 * out2 + i3 * out3] = narrow(wide(total))

    of_strides = ("int64",) * 4
    return Kernel(
        add,
        (read.pointer, *of_strides, "int64", write.pointer, *of_strides, *("int64",) * 5),
        name=f"add_planes {dtype} {out_dtype}",
        threads=THREADS,
    )
