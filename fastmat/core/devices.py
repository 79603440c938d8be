"""Which arrays lie on a GPU, and what a public function does with them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

# Types of arguments that never lie on a GPU: the answer for them has to come quickly.
_ON_THE_CPU = frozenset(
    (np.ndarray, np.float64, int, float, bool, complex, str, list, tuple, type(None))
)
_CUDA_DEVICES = (2, 13)  # kDLCUDA and kDLCUDAManaged of DLPack


def on_gpu(x: Any) -> bool:
    """Whether `x` is an array in the memory of a GPU."""
    kind = type(x)
    if kind in _ON_THE_CPU:
        return False
    device = getattr(kind, "__dlpack_device__", None)
    if device is not None:
        return _lies_on_gpu(device, x)
    return hasattr(x, "__cuda_array_interface__")


def _lies_on_gpu(device: Callable[[Any], tuple[int, int]], x: Any) -> bool:
    try:
        return device(x)[0] in _CUDA_DEVICES
    except (BufferError, TypeError, ValueError):  # a library's answer for what it cannot export
        return False


def any_on_gpu(*arguments: Any) -> bool:
    """Whether any of the arguments is an array in the memory of a GPU."""
    return any([type(x) is not np.ndarray and on_gpu(x) for x in arguments])  # noqa: C419 - quicker


@functools.cache
def twin(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of the same name for arrays on a GPU."""
    stem = function.__module__.rpartition(".")[2]
    name = function.__name__
    try:
        module = importlib.import_module(f"fastmat.ops.on_gpu.{stem}")
    except ModuleNotFoundError as error:
        if error.name != f"fastmat.ops.on_gpu.{stem}":
            raise
        raise TypeError(f"{name} wants CPU arrays; it does not run on GPUs") from None
    try:
        return cast(Callable[..., Any], getattr(module, name))
    except AttributeError:
        raise TypeError(f"{name} wants CPU arrays; it does not run on GPUs") from None


def also_on_gpu(function: Function) -> Function:
    """`function`, with calls that have a GPU array among the arguments handed to its twin."""

    @functools.wraps(function)
    def dispatching(*args: Any, **kwargs: Any) -> Any:
        for x in args:
            if type(x) is not np.ndarray and on_gpu(x):
                return twin(function)(*args, **kwargs)
        for x in kwargs.values():
            if on_gpu(x):
                return twin(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return cast(Function, dispatching)
