"""Kernels for GPUs against PyTorch and CuPy on the same memory; n/a without a GPU.

Operands, checks and the clock (CUDA events) are those of ``fastmat compare --device cuda``.
"""

import functools

from fastmat.comparisons.gpu.cases import Case

LIBRARIES = ("fastmat", "torch", "cupy")


@functools.cache
def _bench():
    """The device; asv's n/a where it, the compiler or PyTorch is missing."""
    from fastmat.comparisons.gpu.run import missing

    reason = missing()
    if reason:
        raise NotImplementedError(reason)
    from fastmat.comparisons.gpu.work import Bench

    return Bench()


class OnGPU:
    """One row, checked, then timed: seconds on the device."""

    unit = "seconds"
    timeout = 300
    param_names = ("dtype", "shape", "library")
    op = ""

    def setup(self, dtype, shape, library):
        from fastmat.comparisons.gpu.operations import work

        bench = _bench()
        its = work(bench, Case("asv", self.op, dtype, shape))
        its.calls["fastmat"]()
        if not its.error() <= 1:
            raise AssertionError(f"{self.op} of {dtype} is wrong")
        if library not in its.calls:
            raise NotImplementedError(f"{library} has no {self.op} of {dtype}")
        self.call = its.calls[library]

    def track_device(self, dtype, shape, library):
        from fastmat.comparisons.gpu.timing import Effort, medians

        return medians({library: self.call}, Effort(), _bench().torch)[library]

    track_device.unit = "seconds"


class Products(OnGPU):
    """Square products: SIMT and tensor cores."""

    op = "matmul"
    params = (
        ("float32", "float64", "bfloat16", "float16", "int32", "complex64"),
        ((1024, 1024, 1024), (4096, 4096, 4096)),
        LIBRARIES,
    )


class Transposes(OnGPU):
    """Transposed copies."""

    op = "transpose"
    params = (("float32", "float64", "uint8"), ((16384, 16384),), LIBRARIES)


class Softmaxes(OnGPU):
    """Rows that are long, short and very short."""

    op = "softmax"
    params = (
        ("float32", "bfloat16"),
        ((65536, 4096), (1048576, 256), (4194304, 32)),
        LIBRARIES,
    )


class LayerNorms(Softmaxes):
    """The same rows, normalized."""

    op = "layer_norm"


class MaskedSums(OnGPU):
    """Half of the numbers of each row."""

    op = "masked_sum"
    params = (("float32",), ((65536, 4096),), LIBRARIES)

    def setup(self, dtype, shape, library):
        from fastmat.comparisons.gpu.cases import REDUCTIONS
        from fastmat.comparisons.gpu.operations import work

        (case,) = (c for c in REDUCTIONS if c.op == self.op and c.shape == shape)
        its = work(_bench(), case)
        its.calls["fastmat"]()
        if not its.error() <= 1:
            raise AssertionError(f"{self.op} is wrong")
        if library not in its.calls:
            raise NotImplementedError(f"{library} has no {self.op}")
        self.call = its.calls[library]


class Attention(OnGPU):
    """Online softmax over blocks of keys."""

    op = "scaled_dot_product_attention"
    params = (("float32", "bfloat16"), ((4, 16, 4096, 64),), LIBRARIES)


class Draws(OnGPU):
    """Normal numbers by position."""

    op = "random.standard_normal"
    params = (("float32",), ((1 << 28,),), LIBRARIES)
