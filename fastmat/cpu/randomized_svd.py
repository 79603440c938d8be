"""What decompositions need of columns: their signs, which are left open, and their lengths."""

import numpy as np
from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import SERIAL_WORK, ceil_div
from fastmat.cpu.blocking_linalg import FLOATS, SCALED_ROWS
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.views import contiguous

LEAST = 1e-300  # whose reciprocal is finite


@kernel(lambda t: (writes(t, 2), writes(t, 2)), FLOATS, from_python=True)
def flip_signs(
    u,  # inout (m, k)
    vh,  # inout (k, n)
):
    """Make the entry of largest magnitude in each column of u real and positive.

    The first of several such; a row of vh is multiplied by the conjugate of what its column is.
    """
    k = u.shape[1]
    largest = scratch(k, u.dtype)
    largest[:] = 0
    for i in range(u.shape[0]):
        for c in range(k):
            if abs(u[i, c]) > abs(largest[c]):
                largest[c] = u[i, c]
    for c in range(k):
        size = abs(largest[c])
        largest[c] = largest[c] / size if size > 0 else 1
    for i in range(u.shape[0]):
        for c in range(k):
            u[i, c] *= np.conj(largest[c])
    for c in range(k):
        for j in range(vh.shape[1]):
            vh[c, j] *= largest[c]


@kernel(lambda t: (reads(t, 2), types.Array(types.float64, 1, "C")), FLOATS, from_python=True)
def column_lengths(
    w,  # in (m, n)
    found,  # out (n,)
):
    """The length of each column, without overflow; NaN where there is NaN or infinity."""
    (m, n), blocks = w.shape, ceil_div(w.shape[0], SCALED_ROWS)
    threads = num_threads() if m * n > SERIAL_WORK else 1
    partial = scratch((blocks, n), types.float64)
    largest, scales = scratch(n, types.float64), scratch(n, types.float64)
    parallel_for(_largest, blocks, threads, (w, partial))
    for j in range(n):
        largest[j] = 0
        for b in range(blocks):
            largest[j] = max(largest[j], partial[b, j])
        scales[j] = 1 / max(largest[j], LEAST)
    parallel_for(_squares, blocks, threads, (w, scales, partial))
    for j in range(n):
        total = 0.0
        for b in range(blocks):
            total += partial[b, j]
        found[j] = max(largest[j], LEAST) * np.sqrt(total)


@task
def _largest(args, slot, index):
    w, largest = args
    largest[index] = 0
    for i in range(index * SCALED_ROWS, min((index + 1) * SCALED_ROWS, w.shape[0])):
        if w.strides[1] == w.itemsize:
            _raise_to(contiguous(w[i]), largest[index])
        else:
            _raise_to(w[i], largest[index])


@inlined
def _raise_to(x, largest):
    for j in range(x.shape[0]):
        largest[j] = max(largest[j], abs(x[j].real), abs(x[j].imag))


@task
def _squares(args, slot, index):
    w, scales, sums = args
    sums[index] = 0
    for i in range(index * SCALED_ROWS, min((index + 1) * SCALED_ROWS, w.shape[0])):
        if w.strides[1] == w.itemsize:
            _add_squares(contiguous(w[i]), scales, sums[index])
        else:
            _add_squares(w[i], scales, sums[index])


@inlined
def _add_squares(x, scales, sums):
    for j in range(x.shape[0]):
        sums[j] += (x[j].real * scales[j]) ** 2 + (x[j].imag * scales[j]) ** 2
