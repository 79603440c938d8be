"""Which arrays lie on a GPU, and what a public function does with them."""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

_CUDA_DEVICES = (2, 13)  # kDLCUDA and kDLCUDAManaged of DLPack


def on_gpu(x: Any) -> bool:
    """Whether `x` is an array in the memory of a GPU."""
    ask = _questions.get(type(x))
    if ask is None:
        ask = _questions[type(x)] = _question(type(x))
    return ask is not _never and ask(x)  # most often it is, and is not called


def _never(x: Any) -> bool:
    return False


def _always(x: Any) -> bool:
    return True


def _by_dlpack(x: Any) -> bool:
    try:
        return x.__dlpack_device__()[0] in _CUDA_DEVICES
    except (BufferError, TypeError, ValueError):  # a library's answer for what it cannot export
        return False


def _question(kind: type) -> Callable[[Any], bool]:
    """What tells whether an array of some type lies on a GPU.

    The protocol takes PyTorch and CuPy some microseconds, and each argument is asked for.
    """
    package = kind.__module__.partition(".")[0]
    if package == "torch" and hasattr(kind, "is_cuda"):
        return operator.attrgetter("is_cuda")
    if package == "cupy" and hasattr(kind, "__cuda_array_interface__"):
        return _always
    if hasattr(kind, "__dlpack_device__"):
        return _by_dlpack
    # Of an object, not of its type: that may lack it.
    return _by_interface


def _by_interface(x: Any) -> bool:
    return hasattr(x, "__cuda_array_interface__")


# How to ask, by type of argument: quickly where the answer is known.
_questions: dict[type, Callable[[Any], bool]] = dict.fromkeys(
    (np.ndarray, np.float64, int, float, bool, complex, str, list, tuple, type(None)), _never
)


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
