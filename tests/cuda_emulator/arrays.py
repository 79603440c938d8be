"""Arrays of the emulated device: host memory that only kernels may touch, between red zones."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

import numpy as np

from cuda_emulator.faults import Fault

REDZONE = 512
ALIGNMENT = 256
POISON = 0xFF


class Allocation:
    """A piece of memory, filled with garbage."""

    live: ClassVar[weakref.WeakSet[Allocation]] = weakref.WeakSet()

    def __init__(self, size: int, *, writable: bool = True) -> None:
        self._buffer = np.full(size + 2 * REDZONE + ALIGNMENT, POISON, np.uint8)
        start = self._buffer.ctypes.data + REDZONE
        self.address = -(-start // ALIGNMENT) * ALIGNMENT
        self.size = size
        self.writable = writable
        skipped = self.address - self._buffer.ctypes.data
        self.bytes = self._buffer[skipped : skipped + size]
        self.gaps: np.ndarray | None = None  # bytes that belong to no item
        Allocation.live.add(self)


def ranges() -> list[tuple[int, int, int]]:
    """What kernels may access: first address, the one after the last, whether to write."""
    return [(a.address, a.address + a.size, int(a.writable)) for a in Allocation.live if a.size]


class EmulatedArray:
    """An array on the emulated device."""

    def __init__(
        self, host: np.ndarray, allocation: Allocation, readonly: bool, device: int
    ) -> None:
        self._host = host
        self._allocation = allocation
        self.readonly = readonly
        self.device = device

    @classmethod
    def empty(cls, shape: Any, dtype: Any, *, device: int = 0) -> EmulatedArray:
        """A new C-contiguous array of garbage."""
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        allocation = Allocation(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        host = allocation.bytes.view(dtype).reshape(shape)
        return cls(host, allocation, False, device)

    @classmethod
    def from_numpy(
        cls, array: np.ndarray, *, readonly: bool = False, device: int = 0
    ) -> EmulatedArray:
        """A copy with the strides of `array`; garbage lies where it has gaps."""
        array = np.asarray(array)
        low, high = np.lib.array_utils.byte_bounds(array) if array.size else (0, 0)
        allocation = Allocation(high - low, writable=not readonly)
        first = array.__array_interface__["data"][0] - low if array.size else 0
        strides = array.strides if array.size else None
        host = np.ndarray(array.shape, array.dtype, allocation.bytes, first, strides)
        host[...] = array
        if array.nbytes < allocation.size:
            mask = np.ones(allocation.size, bool)
            items = (*array.shape, array.itemsize)
            np.ndarray(items, bool, mask, first, (*array.strides, 1))[...] = False
            allocation.gaps = np.flatnonzero(mask)
        return cls(host, allocation, readonly, device)

    def numpy(self) -> np.ndarray:
        """A copy on the host; nobody may have written between the items."""
        gaps = self._allocation.gaps
        if gaps is not None and (self._allocation.bytes[gaps] != POISON).any():
            raise Fault("a kernel wrote between the items of an array with gaps")
        return self._host.copy()

    def _view(self, host: np.ndarray) -> EmulatedArray:
        assert host.size == 0 or np.shares_memory(host, self._host)
        return type(self)(host, self._allocation, self.readonly, self.device)

    @property
    def pointer(self) -> int:
        """The address of the first item."""
        if self._host.size == 0:
            return self._allocation.address
        return self._host.__array_interface__["data"][0]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """In bytes."""
        return self._host.strides

    @property
    def dtype(self) -> np.dtype:
        return self._host.dtype

    @property
    def ndim(self) -> int:
        return self._host.ndim

    @property
    def size(self) -> int:
        return self._host.size

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, self.readonly),
            "strides": self.strides,
            "version": 3,
        }

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("an EmulatedArray does not become a NumPy array by itself: call .numpy()")

    def __int__(self) -> int:
        return int(self._host)

    def __len__(self) -> int:
        return len(self._host)

    def __getitem__(self, key: Any) -> EmulatedArray:
        key = key if isinstance(key, tuple) else (key,)
        return self._view(self._host[(*key, ...)])

    @property
    def T(self) -> EmulatedArray:
        return self._view(self._host.T)

    @property
    def mT(self) -> EmulatedArray:
        return self._view(self._host.mT)

    def transpose(self, *axes: Any) -> EmulatedArray:
        """A view with its axes in another order."""
        return self._view(self._host.transpose(*axes))

    def reshape(self, *shape: Any) -> EmulatedArray:
        """A view with another shape."""
        view = self._host.view()
        view.shape = shape[0] if isinstance(shape[0], tuple) else shape
        return self._view(view)

    def broadcast_to(self, shape: tuple[int, ...]) -> EmulatedArray:
        """A view repeated along axes."""
        return self._view(np.broadcast_to(self._host, shape))

    def __repr__(self) -> str:
        return f"EmulatedArray({self._host!r})"
