"""The CUDA driver: what a device is like, and launches."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import struct
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cuda.bindings import driver as api

if TYPE_CHECKING:
    from fastmat.cuda.kernel import Kernel

_Attribute = api.CUdevice_attribute
STATIC_SHARED = 48 * 1024  # bytes of shared memory that need no permission
AWAITED = -1  # in place of a stream: the default one, and return when the work is done
_LOG = 8192  # characters of the assembler's report


def checked(result: tuple[Any, ...]) -> Any:
    """What a call of the driver returned, or its error."""
    status = result[0]
    if status != api.CUresult.CUDA_SUCCESS:
        _, text = api.cuGetErrorString(status)
        raise RuntimeError(f"CUDA driver: {status.name}: {(text or b'').decode()}")
    return result[1] if len(result) == 2 else None


_CONFIG = "@7IPPI0P"  # CUlaunchConfig, in the letters of the module `struct`


class Loaded:
    """A kernel on a device, and the memory in which its launches are described.

    Configuration and arguments are written at once, into one buffer: pointers to five arguments
    take 7 µs in place of 2, and ctypes 3 µs for the eleven arguments of `cuLaunchKernel` in
    place of 1.
    """

    def __init__(self, function: int, kernel: Kernel) -> None:
        before = struct.calcsize(_CONFIG)
        self._layout = struct.Struct(_CONFIG + kernel.format)
        self._buffer = ctypes.create_string_buffer(self._layout.size)
        self._size = ctypes.c_size_t(self._layout.size - before)
        start = ctypes.addressof(self._buffer)
        self._config = ctypes.c_void_p(start)
        self._extra = (ctypes.c_void_p * 5)(
            1, start + before, 2, ctypes.addressof(self._size), 0
        )  # CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE, _END
        self._function = ctypes.c_void_p(function)
        self._fixed = (kernel.threads, 1, 1, kernel.shared)
        self._lock = threading.Lock()  # of the buffer
        self._call = _cu_launch_kernel_ex()

    def launch(self, grid: tuple[int, ...], arguments: tuple[Any, ...], stream: int) -> int:
        """Put a launch on a stream of the current context; the driver's answer."""
        with self._lock:
            self._layout.pack_into(self._buffer, 0, *grid, *self._fixed, stream, 0, 0, *arguments)
            status: int = self._call(self._config, self._function, None, self._extra)
        return status


@functools.cache
def _cu_launch_kernel_ex() -> Any:
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    call = library.cuLaunchKernelEx
    call.argtypes = [ctypes.c_void_p] * 4
    return call


# A launch where another device's context, or none, is current.
_WRONG_CONTEXT = frozenset(
    int(status)
    for status in (
        api.CUresult.CUDA_ERROR_INVALID_CONTEXT,
        api.CUresult.CUDA_ERROR_INVALID_HANDLE,
        api.CUresult.CUDA_ERROR_CONTEXT_IS_DESTROYED,
    )
)


class Driver:
    """Devices by number, through their primary contexts, which all libraries share."""

    @functools.cached_property
    def _ready(self) -> bool:
        from fastmat.core.toolkit import missing_device

        reason = missing_device()
        if reason:
            raise RuntimeError(f"arrays on a GPU cannot be used: {reason}")
        return True

    @functools.cache  # noqa: B019 - one driver a process
    def context(self, device: int) -> Any:
        """The primary context of a device, held for good."""
        assert self._ready
        return checked(api.cuDevicePrimaryCtxRetain(checked(api.cuDeviceGet(device))))

    @functools.cache  # noqa: B019
    def attribute(self, device: int, which: Any) -> int:
        """A number that describes a device."""
        assert self._ready
        number: int = checked(api.cuDeviceGetAttribute(which, checked(api.cuDeviceGet(device))))
        return number

    def capability(self, device: int) -> tuple[int, int]:
        """Compute capability."""
        return (
            self.attribute(device, _Attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self.attribute(device, _Attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )

    def multiprocessors(self, device: int) -> int:
        """How many blocks run at the same time, at least."""
        return self.attribute(device, _Attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)

    def shared_limit(self, device: int) -> int:
        """Bytes of shared memory that a block can have."""
        return self.attribute(
            device, _Attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        )

    def name(self, device: int) -> str:
        """What the device is called."""
        assert self._ready
        text: bytes = checked(api.cuDeviceGetName(256, checked(api.cuDeviceGet(device))))
        return text.split(b"\0")[0].decode()

    def launch(
        self,
        kernel: Kernel,
        grid: int | tuple[int, ...],
        arguments: tuple[Any, ...],
        stream: int,
        device: int,
    ) -> None:
        """Put a launch on a stream."""
        if isinstance(grid, int):
            grid = (grid,)
        blocks = grid if len(grid) == 3 else (*grid, 1, 1)[:3]
        loaded = kernel.loaded.get(device)
        if loaded is not None:
            status = loaded.launch(blocks, arguments, max(stream, 0))
            if status == 0 and stream != AWAITED:
                return
            if status not in _WRONG_CONTEXT:
                self._complete(status, stream)
                return
        checked(api.cuCtxPushCurrent(self.context(device)))
        try:
            if loaded is None:
                loaded = kernel.loaded[device] = self._load(kernel, device)
            self._complete(loaded.launch(blocks, arguments, max(stream, 0)), stream)
        finally:
            checked(api.cuCtxPopCurrent())

    def read(self, pointer: int, host: Any, stream: int, device: int) -> None:
        """Copy to a contiguous NumPy array what the work on a stream has left at a pointer."""
        with self._current(device):
            checked(api.cuMemcpyDtoHAsync(host.ctypes.data, pointer, host.nbytes, max(stream, 0)))
            checked(api.cuStreamSynchronize(max(stream, 0)))

    def write(self, pointer: int, host: Any, stream: int, device: int) -> None:
        """Copy a contiguous NumPy array to a pointer, as part of the work on a stream.

        Its memory is not pinned, so the driver is done with it when the call returns.
        """
        with self._current(device):
            checked(api.cuMemcpyHtoDAsync(pointer, host.ctypes.data, host.nbytes, max(stream, 0)))

    def wait(self, stream: int, device: int) -> None:
        """Return when the work on a stream is done."""
        with self._current(device):
            checked(api.cuStreamSynchronize(stream))

    @contextlib.contextmanager
    def _current(self, device: int) -> Iterator[None]:
        checked(api.cuCtxPushCurrent(self.context(device)))
        try:
            yield
        finally:
            checked(api.cuCtxPopCurrent())

    def _complete(self, status: int, stream: int) -> None:
        if status:
            checked((api.CUresult(status),))
        if stream == AWAITED:
            checked(api.cuStreamSynchronize(0))

    def _load(self, kernel: Kernel, device: int) -> Loaded:
        from fastmat.cuda.kernel import entry_name

        ptx = kernel.ptx(self.capability(device))
        log = bytearray(_LOG)
        options = api.CUjit_option
        result = api.cuModuleLoadDataEx(
            ptx.encode(),
            2,
            [options.CU_JIT_ERROR_LOG_BUFFER, options.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES],
            [log, _LOG],
        )
        if result[0] != api.CUresult.CUDA_SUCCESS:
            text = bytes(log).split(b"\0")[0].decode(errors="replace")
            raise RuntimeError(f"CUDA driver: {result[0].name} loading {kernel}: {text}")
        handle = checked(api.cuModuleGetFunction(result[1], entry_name(ptx).encode()))
        if kernel.shared > STATIC_SHARED:
            which = api.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            checked(api.cuFuncSetAttribute(handle, which, kernel.shared))
        return Loaded(int(handle), kernel)


current = Driver()  # tests put an emulator here
