"""GPUs for tests: an emulator everywhere, the arrays of each library where there is a GPU.

A test with the fixture ``gpu`` runs once on the emulator and, under ``-m gpu``, once with the
arrays of each library that is installed.
"""

import contextlib

import numpy as np
import pytest

LIBRARIES = ("cupy", "torch")


class Cupy:
    """CuPy's arrays; any strides."""

    def __init__(self):
        self.cupy = pytest.importorskip("cupy")

    def array(self, x):
        """`x` on the GPU, with the same strides."""
        x = np.asarray(x)
        if x.dtype.name == "bfloat16":
            pytest.skip("CuPy has no bfloat16")
        low, length = extent(x)
        memory = self.cupy.zeros(max(length, 1), np.uint8)
        pointer = memory.data - low  # the first item lies after those of negative strides
        array = self.cupy.ndarray(x.shape, x.dtype, pointer, x.strides)
        if x.size:
            host = np.zeros(length, np.uint8)
            view = np.ndarray(x.shape, x.dtype, host, -low, x.strides)
            view[...] = x
            memory.set(host)
        return array

    def numpy(self, array):
        """The numbers of an array, or of all arrays of a tuple."""
        if isinstance(array, tuple):
            return tuple(map(self.numpy, array))
        return None if array is None else self.cupy.asnumpy(array)

    @property
    def kind(self):
        """The type of arrays."""
        return self.cupy.ndarray


class Torch:
    """PyTorch's tensors; no negative strides."""

    def __init__(self):
        self.torch = pytest.importorskip("torch")

    def array(self, x):
        """`x` on the GPU, with the same strides."""
        torch = self.torch
        x = np.asarray(x)
        if any(s < 0 for s in x.strides):
            pytest.skip("PyTorch has no negative strides")
        dtype = getattr(torch, x.dtype.name)
        _, length = extent(x)
        items = -(-length // x.itemsize)
        memory = torch.zeros(max(items, 1), dtype=dtype, device="cuda")
        strides = [s // x.itemsize for s in x.strides]
        array = torch.as_strided(memory, x.shape, strides)
        if x.size:
            host = np.zeros(items, x.dtype)
            np.ndarray(x.shape, x.dtype, host, 0, x.strides)[...] = x
            bits = host.view(f"i{x.itemsize}") if x.dtype.name == "bfloat16" else host
            memory.copy_(torch.from_numpy(bits).view(dtype))
        return array

    def numpy(self, array):
        """The numbers of a tensor, or of all tensors of a tuple."""
        if isinstance(array, tuple):
            return tuple(map(self.numpy, array))
        if array is None:
            return None
        if array.dtype == self.torch.bfloat16:
            import ml_dtypes

            return array.view(self.torch.int16).cpu().numpy().view(ml_dtypes.bfloat16)
        return array.cpu().numpy()

    @property
    def kind(self):
        """The type of arrays."""
        return self.torch.Tensor


class Emulated:
    """Arrays of the emulator; any strides."""

    def array(self, x):
        """`x` on the emulated GPU, with the same strides."""
        from cuda_emulator import EmulatedArray

        return EmulatedArray.from_numpy(np.asarray(x))

    def numpy(self, array):
        """The numbers of an array, or of all arrays of a tuple."""
        if isinstance(array, tuple):
            return tuple(map(self.numpy, array))
        return None if array is None else array.numpy()

    @property
    def kind(self):
        """The type of arrays."""
        from cuda_emulator import EmulatedArray

        return EmulatedArray


def extent(x):
    """Where the bytes of an array begin and how many they are, counted from its first item."""
    if not x.size:
        return 0, 0
    reach = [(n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)]
    low = sum(r for r in reach if r < 0)
    return low, sum(r for r in reach if r > 0) + x.itemsize - low


@contextlib.contextmanager
def on(name, capability=(8, 0), seed=0):
    """The GPU of this name."""
    if name == "emulator":
        pytest.importorskip("numba_cuda")
        from cuda_emulator import emulated

        with emulated(capability=capability, seed=seed):
            yield Emulated()
    else:
        yield {"cupy": Cupy, "torch": Torch}[name]()


@pytest.fixture(params=["emulator", *(pytest.param(n, marks=pytest.mark.gpu) for n in LIBRARIES)])
def gpu(request):
    """A GPU with ``array(numpy_array)``, ``numpy(gpu_array)`` and ``kind``."""
    with on(request.param) as found:
        yield found
