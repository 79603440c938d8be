"""Kernels for GPUs against PyTorch and CuPy on the same memory; n/a without a GPU.

Operands, checks and the clock (CUDA events) are those of ``fastmat compare --device cuda``.
"""

import abc
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


class OnGPU(abc.ABC):
    """One row, checked, then timed: seconds on the device."""

    timeout = 300
    param_names = ("dtype", "shape", "library")

    @abc.abstractmethod
    def case(self, dtype, shape):
        """The row."""

    def setup(self, dtype, shape, library):
        from fastmat.comparisons.gpu.operations import work

        case = self.case(dtype, shape)
        its = work(_bench(), case)
        its.calls["fastmat"]()
        if not its.error() <= 1:
            raise AssertionError(f"{case.op} of {dtype} is wrong")
        if library not in its.calls:
            raise NotImplementedError(f"{library} has no {case.op} of {dtype}")
        self.call = its.calls[library]

    def track_device(self, dtype, shape, library):
        from fastmat.comparisons.gpu.timing import Effort, medians

        return medians({library: self.call}, Effort(), _bench().torch)[library]

    track_device.unit = "seconds"


class Products(OnGPU):
    """Square products: SIMT and tensor cores."""

    params = (
        ("float32", "float64", "bfloat16", "float16", "int32", "complex64"),
        ((1024, 1024, 1024), (4096, 4096, 4096)),
        LIBRARIES,
    )

    def case(self, dtype, shape):
        return Case("asv", "matmul", dtype, shape)


class Transposes(OnGPU):
    """Transposed copies."""

    params = (("float32", "float64", "uint8"), ((16384, 16384),), LIBRARIES)

    def case(self, dtype, shape):
        return Case("asv", "transpose", dtype, shape)


class Softmaxes(OnGPU):
    """Rows that are long, short and very short."""

    params = (
        ("float32", "bfloat16"),
        ((65536, 4096), (1048576, 256), (4194304, 32)),
        LIBRARIES,
    )

    def case(self, dtype, shape):
        return Case("asv", "softmax", dtype, shape)


class LayerNorms(Softmaxes):
    """The same rows, normalized."""

    def case(self, dtype, shape):
        return Case("asv", "layer_norm", dtype, shape)


class MaskedSums(OnGPU):
    """Half of the numbers of each row."""

    params = (("float32",), ((65536, 4096),), LIBRARIES)

    def case(self, dtype, shape):
        return Case("asv", "masked_sum", dtype, shape, (("axis", -1),))


class Attention(OnGPU):
    """Online softmax over blocks of keys."""

    params = (("float32", "bfloat16"), ((4, 16, 4096, 64),), LIBRARIES)

    def case(self, dtype, shape):
        return Case("asv", "scaled_dot_product_attention", dtype, shape)


class Draws(OnGPU):
    """Normal numbers by position."""

    params = (("float32",), ((1 << 28,),), LIBRARIES)

    def case(self, dtype, shape):
        return Case("asv", "random.standard_normal", dtype, shape)
