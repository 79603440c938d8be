"""The CUDA driver: what a device is like, and launches."""

from __future__ import annotations

import functools
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
        context = self.context(device)
        status, found = api.cuCtxGetCurrent()
        if status == api.CUresult.CUDA_SUCCESS and int(found) == int(context):
            self._on_current(kernel, grid, arguments, stream, device)
            return
        checked(api.cuCtxPushCurrent(context))
        try:
            self._on_current(kernel, grid, arguments, stream, device)
        finally:
            checked(api.cuCtxPopCurrent())

    def _on_current(
        self,
        kernel: Kernel,
        grid: int | tuple[int, ...],
        arguments: tuple[Any, ...],
        stream: int,
        device: int,
    ) -> None:
        handle = kernel.handles.get(device)
        if handle is None:
            handle = kernel.handles[device] = self._load(kernel, device)
        x, y, z = (grid, 1, 1) if isinstance(grid, int) else (*grid, 1, 1)[:3]
        (status,) = api.cuLaunchKernel(
            handle, x, y, z, kernel.threads, 1, 1, kernel.shared, max(stream, 0),
            (arguments, kernel.c_types), 0,
        )  # fmt: skip
        if status != api.CUresult.CUDA_SUCCESS:
            checked((status,))
        if stream == AWAITED:
            checked(api.cuStreamSynchronize(0))

    def _load(self, kernel: Kernel, device: int) -> Any:
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
        return handle


current = Driver()  # tests put an emulator here
