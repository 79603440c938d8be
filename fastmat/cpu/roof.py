"""What the machine can do at best, measured: the micro-kernel on panels in L1, and a copy.

Both are figures to hold other figures against, not limits of the hardware: the micro-kernel
leaves out packing and memory, the copy is what a parallel, streaming loop reaches. (The kernels
here name no dtypes: ``fastmat warmup`` passes them by.)
"""

import time

import numpy as np
from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.dtypes import kernel_name
from fastmat.core.mathfn import NUMBA_DTYPES, real
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import CACHE_LINE, tile
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.shuffle import copy_line, store_fence
from fastmat.cpu.simd import multiply_tile
from fastmat.cpu.views import address

_DEPTH = 96  # steps of k: the panels of every tile fit 32 kB
_REPEATS = 5000
_COPY_BYTES = 256 * 2**20
_TASK_ROWS = 16


@kernel(
    lambda t: (
        reads(t, 1),
        reads(real(t), 1),
        reads(real(t), 1),
        writes(real(t), 2),
        types.intp,
        types.intp,
    ),
    dtypes=(),
    from_python=True,
)
def _multiply_panels(
    element,  # empty, of the dtype of the product
    a,  # in (k * parts * MR,)
    b,  # in (k * parts * NR,)
    c,  # inout (MR, parts * NR)
    k,
    repeats,
):
    at = address(c, 0, 0)
    for _ in range(repeats):
        multiply_tile(element.dtype, 3, 2, k, a.ctypes.data, b.ctypes.data, at, c.strides[0], True)


@task
def _copy_rows(args, slot, index):
    src, dst = args
    for i in range(index * _TASK_ROWS, min((index + 1) * _TASK_ROWS, src.shape[0])):
        for j in range(0, src.shape[1], CACHE_LINE // src.itemsize):
            copy_line(src, i, j, dst, i, j, True)
    store_fence()


@kernel(lambda t: (reads(t, 2), writes(t, 2)), dtypes=(), from_python=True)
def _copy(
    src,  # in (m, n), rows of whole cache lines
    dst,  # out (m, n), aligned to cache lines
):
    tasks = (src.shape[0] + _TASK_ROWS - 1) // _TASK_ROWS
    parallel_for(_copy_rows, tasks, num_threads(), (src, dst))


def flops(dtype):
    """Operations per second of one core in the micro-kernel for this dtype, panels in L1.

    Real multiplications and additions count, also those of complex products.
    """
    example = np.empty(0, dtype)
    element = NUMBA_DTYPES[kernel_name(example.dtype)]
    shape = tile(element)
    scalar = np.dtype(str(real(element)))
    a = _aligned(_DEPTH * shape.parts * shape.rows, scalar)
    b = _aligned(_DEPTH * shape.parts * shape.cols, scalar)
    c = _aligned(shape.rows * shape.parts * shape.cols, scalar).reshape(shape.rows, -1)
    run = _multiply_panels.entry(example.dtype)
    seconds = _best(lambda: run(example, a, b, c, _DEPTH, _REPEATS))
    count = 2 * shape.parts**2 * _DEPTH * shape.rows * shape.cols
    return count * _REPEATS / seconds


def copy_bandwidth():
    """Bytes per second, read plus written, of a copy by all threads that Numba may use."""
    dtype = np.dtype(np.float64)
    src, dst = (_aligned(_COPY_BYTES // dtype.itemsize, dtype).reshape(-1, 512) for _ in range(2))
    src.fill(1)  # memory that was never written is one page of zeros, which stays in the cache
    run = _copy.entry(dtype)
    return 2 * _COPY_BYTES / _best(lambda: run(src, dst))


def _aligned(size, dtype):
    """Zeros that begin on a cache line."""
    raw = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


def _best(call, tries=7):
    """Shortest of several runs, after an untimed one."""
    call()
    times = []
    for _ in range(tries):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)
