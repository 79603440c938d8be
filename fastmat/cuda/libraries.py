"""The libraries whose arrays on GPUs are read where they lie, and made."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmat.core.dtypes import SUPPORTED, dtype_named
from fastmat.cuda import driver
from fastmat.cuda.driver import AWAITED
from fastmat.cuda.views import ITEMSIZE, View, c_strides


class Library:
    """How one library's arrays are read and made."""

    name = ""

    def view(self, x: Any, name: str) -> View:
        """Where `x` lies."""
        raise NotImplementedError

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> tuple[Any, int]:
        """A new C-contiguous array, not initialized, and its pointer."""
        raise NotImplementedError

    def stream(self, device: int) -> int:
        """The stream that the caller's work is on."""
        raise NotImplementedError

    def host(self, array: Any) -> np.ndarray[Any, Any]:
        """A copy on the CPU, which awaits the caller's stream."""
        raise NotImplementedError

    def put(self, x: np.ndarray[Any, Any], device: int) -> tuple[Any, int]:
        """A copy of a contiguous NumPy array, in the order of the caller's stream; its pointer."""
        raise NotImplementedError

    def permuted(self, array: Any, axes: Sequence[int]) -> Any:
        """The same memory with its axes in another order; None where the library would copy."""
        return None


class CuPy(Library):
    name = "cupy"

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        self._array = cupy.ndarray  # what cupy.empty calls
        self._current_device = cupy.cuda.runtime.getDevice
        self._current_stream = cupy.cuda.get_current_stream

    def view(self, x: Any, name: str) -> View:
        shape = x.shape
        if x.flags.c_contiguous:
            strides = c_strides(shape)
        else:
            strides = _in_items(x.strides, x.itemsize, name)
        data = x.data
        return View(data.ptr, shape, strides, _name_of(x.dtype, name), data.device_id, self, x)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> tuple[Any, int]:
        if self._current_device() == device:
            array = self._array(shape, dtype_named(dtype))
        else:
            with self._cupy.cuda.Device(device):
                array = self._array(shape, dtype_named(dtype))
        return array, array.data.ptr

    def stream(self, device: int) -> int:
        return int(self._current_stream(device).ptr)

    def host(self, array: Any) -> np.ndarray[Any, Any]:
        with self._cupy.cuda.Device(array.data.device_id):
            found: np.ndarray[Any, Any] = self._cupy.asnumpy(array)
        return found

    def put(self, x: np.ndarray[Any, Any], device: int) -> tuple[Any, int]:
        with self._cupy.cuda.Device(device):
            array = self._cupy.asarray(x)
        return array, array.data.ptr

    def permuted(self, array: Any, axes: Sequence[int]) -> Any:
        return array.transpose(tuple(axes))


class PyTorch(Library):
    name = "torch"

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self._dtypes = {n: getattr(torch, n) for n in SUPPORTED if hasattr(torch, n)}
        self._names = {dtype: n for n, dtype in self._dtypes.items()}
        self._devices: dict[int, Any] = {}
        # What torch.cuda.current_stream asks, without the object that it builds.
        self._raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)

    def view(self, x: Any, name: str) -> View:
        if x.requires_grad and self._torch.is_grad_enabled():
            raise TypeError(
                f"{name} requires gradients, which fastmat does not record; pass {name}.detach()"
            )
        lazy = x.is_neg() or x.is_conj()
        if lazy:  # a copy, to which no result can be written
            x = x.resolve_conj().resolve_neg()
        dtype = self._names.get(x.dtype) or _known(str(x.dtype).removeprefix("torch."), name)
        device = x.get_device()
        return View(x.data_ptr(), tuple(x.shape), x.stride(), dtype, device, self, x, lazy)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> tuple[Any, int]:
        where = self._devices.get(device)
        if where is None:
            where = self._devices[device] = self._torch.device("cuda", device)
        array = self._torch.empty(shape, dtype=self._dtypes[dtype], device=where)
        return array, array.data_ptr()

    def stream(self, device: int) -> int:
        if self._raw_stream is not None:
            return int(self._raw_stream(device))
        return int(self._torch.cuda.current_stream(device).cuda_stream)

    def host(self, array: Any) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = array.cpu().numpy()
        return found

    def put(self, x: np.ndarray[Any, Any], device: int) -> tuple[Any, int]:
        array = self._torch.tensor(x, device=self._torch.device("cuda", device))
        return array, array.data_ptr()

    def permuted(self, array: Any, axes: Sequence[int]) -> Any:
        return array.permute(tuple(axes))


class Jax(Library):
    """JAX's arrays are immutable, and its work is on streams of its own.

    So inputs are awaited, a result is a new array that nobody else has seen, and it is complete
    when the caller gets it.
    """

    name = "jax"

    def view(self, x: Any, name: str) -> View:
        x.block_until_ready()
        (device,) = x.devices()
        shape = tuple(x.shape)
        pointer = x.unsafe_buffer_pointer()
        dtype = _known(x.dtype.name, name)
        number = device.local_hardware_id
        return View(pointer, shape, c_strides(shape), dtype, number, self, x, True)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> tuple[Any, int]:
        import jax

        (where,) = (d for d in jax.local_devices() if d.local_hardware_id == device)
        if dtype in ("int64", "uint64", "float64", "complex128") and not jax.config.jax_enable_x64:
            raise TypeError(f"a result of dtype {dtype} wants jax.config's jax_enable_x64")
        with jax.default_device(where):
            array = jax.numpy.empty(shape, dtype)
        array.block_until_ready()
        return array, array.unsafe_buffer_pointer()

    def stream(self, device: int) -> int:
        return AWAITED

    def host(self, array: Any) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    def put(self, x: np.ndarray[Any, Any], device: int) -> tuple[Any, int]:
        import jax

        (where,) = (d for d in jax.local_devices() if d.local_hardware_id == device)
        array = jax.device_put(x, where).block_until_ready()
        return array, array.unsafe_buffer_pointer()


class NumbaCuda(Library):
    """Numba's device arrays, and whatever else has a ``__cuda_array_interface__``."""

    name = "numba"

    def view(self, x: Any, name: str) -> View:
        interface = x.__cuda_array_interface__
        if interface.get("mask") is not None:
            raise TypeError(f"{name} is a masked array; pass data and mask")
        dtype = np.dtype(interface["typestr"])
        if not dtype.isnative:
            raise TypeError(f"{name} has the byte order of another machine ({dtype.str})")
        shape = tuple(interface["shape"])
        strides = interface.get("strides")
        items = c_strides(shape) if strides is None else _in_items(strides, dtype.itemsize, name)
        pointer, readonly = interface["data"]
        device = _device_of(pointer) if pointer else 0
        # The stream on which the array is being made; 1 is the default one, as ours is.
        if interface.get("stream") not in (None, 1):
            driver.current.wait(interface["stream"], device)
        return View(pointer or 0, shape, items, _known(dtype.name, name), device, self, x, readonly)

    def empty(self, shape: tuple[int, ...], dtype: str, device: int) -> tuple[Any, int]:
        from numba import cuda

        with cuda.gpus[device]:
            array = cuda.device_array(shape, dtype_named(dtype))
        return array, array.__cuda_array_interface__["data"][0] or 0

    def stream(self, device: int) -> int:
        return 0

    def host(self, array: Any) -> np.ndarray[Any, Any]:
        from numba import cuda

        found: np.ndarray[Any, Any] = cuda.as_cuda_array(array).copy_to_host()
        return found

    def put(self, x: np.ndarray[Any, Any], device: int) -> tuple[Any, int]:
        from numba import cuda

        with cuda.gpus[device]:
            array = cuda.to_device(x)
        return array, array.__cuda_array_interface__["data"][0] or 0


def _in_items(strides: Sequence[int], itemsize: int, name: str) -> tuple[int, ...]:
    """Strides in items, of strides in bytes."""
    if any([s % itemsize for s in strides]):
        raise TypeError(
            f"{name} has strides of {tuple(strides)} bytes; they must be multiples of its "
            f"itemsize, {itemsize}"
        )
    return tuple([s // itemsize for s in strides])


def _device_of(pointer: int) -> int:
    from cuda.bindings import driver as api

    driver.current.context(0)
    attribute = api.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(driver.checked(api.cuPointerGetAttribute(attribute, pointer)))


_dtype_names: dict[Any, str] = {np.dtype(n): n for n in SUPPORTED if n != "bfloat16"}


def _name_of(dtype: Any, name: str) -> str:
    """The name of a NumPy dtype (NumPy itself takes 2 µs to find it)."""
    return _dtype_names.get(dtype) or _known(dtype.name, name)


def _known(dtype: str, name: str) -> str:
    if dtype not in ITEMSIZE:
        raise TypeError(f"{name} has dtype {dtype}; supported are {', '.join(SUPPORTED)}")
    return dtype


_of_package: dict[str, Any] = {"cupy": CuPy, "torch": PyTorch, "jax": Jax, "jaxlib": Jax}
_of_type: dict[type, Library] = {}


def register(kind: type, library: Library) -> None:
    """Read arrays of this type through this library."""
    _of_type[kind] = library


@functools.cache
def _library(kind: type[Library]) -> Library:
    return kind()


def library_of(x: Any) -> Library:
    """The library of an array."""
    kind = type(x)
    found = _of_type.get(kind)
    if found is None:
        for base in kind.__mro__:
            package = base.__module__.partition(".")[0]
            if package in _of_package and package in sys.modules:
                found = _library(_of_package[package])
                break
        else:
            found = _library(NumbaCuda)
        _of_type[kind] = found
    return found
