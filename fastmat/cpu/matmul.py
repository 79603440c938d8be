"""Products of matrices and stacks of them: which kernel serves which shape."""

from fastmat.core.compile import kernel, reads, writes
from fastmat.cpu.gemm import gemm
from fastmat.cpu.parallel import num_threads


@kernel(lambda t: (reads(t, 2), reads(t, 2), writes(t, 2)))
def matmul(a, b, c):
    if c.strides[1] != c.itemsize and c.strides[0] == c.itemsize:
        gemm(b.T, a.T, c.T, num_threads())
    else:
        gemm(a, b, c, num_threads())
