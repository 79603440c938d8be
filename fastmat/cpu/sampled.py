"""The sampled product: dot products of the rows of a and columns of b that a pattern names."""

from numba import types

from fastmat.core.compile import call, call_at, kernel, reads, writes
from fastmat.core.mathfn import narrow
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ROWS_PER_TASK, SERIAL_WORK, ceil_div, parts
from fastmat.cpu.panels import pack
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scalar_dtype, scratch, sum_dtype
from fastmat.cpu.views import address, part, transposed

INDICES = types.Array(types.intp, 1, "A", readonly=True)


@kernel(
    lambda t: (reads(t, 2), reads(t, 2), INDICES, INDICES, writes(t, 1), types.intp),
    from_python=True,
)
def sampled(
    a,  # in (m, k)
    b,  # in (k, n)
    starts,  # in (m + 1,): where the entries of a row start
    columns,  # in (entries,)
    c,  # out (entries,)
    dot,  # address
):
    """c = the entries of a times b, row by row."""
    (m, k), n = a.shape, b.shape[1]
    scalar, size = scalar_dtype(a.dtype), k * parts(a.dtype)
    threads = num_threads() if (columns.shape[0] + m + n) * k > SERIAL_WORK else 1
    b_packed = scratch((n, max(size, 1)), scalar)
    rows = scratch((threads, max(size, 1)), scalar)
    results = scratch((threads, 1), sum_dtype(a.dtype))
    parallel_for(_pack_column, n, threads, (transposed(b), size, b_packed))
    args = (a, b_packed, starts, columns, c, dot, size, rows, results)
    parallel_for(_rows, ceil_div(m, ROWS_PER_TASK), threads, args)


@task
def _pack_column(args, slot, index):
    source, size, packed = args
    call(pack, source.dtype, (part(source, index, index + 1), 1, part(packed[index], 0, size)))


@task
def _rows(args, slot, index):
    a, b_packed, starts, columns, c, dot, size, rows, results = args
    k, row = a.shape[1], part(rows[slot], 0, size)
    at, item = address(results, slot, 0), b_packed.strides[0]
    i0 = index * ROWS_PER_TASK
    for i in range(i0, min(i0 + ROWS_PER_TASK, a.shape[0])):
        if starts[i] < starts[i + 1]:
            call(pack, a.dtype, (part(a, i, i + 1), 1, row))
            for entry in range(starts[i], starts[i + 1]):
                column = b_packed.ctypes.data + columns[entry] * item
                call_at(dot, (a.dtype, k, row.ctypes.data, column, at))
                c[entry] = narrow(results[slot, 0], c.dtype)
