"""Arrays of the GPU libraries, in and out: read where they lie, made in the caller's library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmat.core.devices import on_gpu
from fastmat.cuda.libraries import Library, library_of, register
from fastmat.cuda.views import ITEMSIZE, View, c_strides

__all__ = [
    "ITEMSIZE",
    "Library",
    "View",
    "c_strides",
    "empty",
    "on_device",
    "on_host",
    "register",
    "same_device",
    "scratch",
    "stream_of",
    "target",
    "view",
    "writable",
]


def view(x: Any, name: str) -> View:
    """Where an array on a GPU lies."""
    if not on_gpu(x):
        raise TypeError(
            f"{name} is not on a GPU ({type(x).__name__}), but another argument is; "
            "all arrays must be on one device"
        )
    found = library_of(x).view(x, name)
    return _aligned(found) if found.pointer % ITEMSIZE[found.dtype] else found


def _aligned(x: View) -> View:
    """A copy where items are at multiples of their size, as GPUs access them."""
    from fastmat.cuda.copy import copy

    made = empty(x.shape, x.dtype, x)[1]
    copy(x, made)
    return made._replace(readonly=True)  # what is written there would be lost


def same_device(**views: View | None) -> int:
    """The device of all views; None stands for an argument that is not given."""
    first = None
    for name, found in views.items():
        if found is None:
            continue
        if first is None:
            first = name, found.device
        elif found.device != first[1]:
            raise ValueError(
                f"{name} is on device {found.device} and {first[0]} on device {first[1]}; "
                "all arrays must be on one device"
            )
    assert first is not None
    return first[1]


def empty(shape: Sequence[int], dtype: str, like: View) -> tuple[Any, View]:
    """A new array in the library and on the device of `like`, and where it lies."""
    shape = tuple(shape)
    library, device = like.library, like.device
    array, pointer = library.empty(shape, dtype, device)
    return array, View(pointer, shape, c_strides(shape), dtype, device, library, array)


def scratch(shape: Sequence[int], dtype: str, like: View) -> View:
    """New memory for numbers that the caller does not see, of dtypes that the library may lack."""
    size = math.prod(shape) * ITEMSIZE[dtype]
    array, pointer = like.library.empty((size,), "uint8", like.device)
    shape = tuple(shape)
    return View(pointer, shape, c_strides(shape), dtype, like.device, like.library, array)


def on_device(x: np.ndarray[Any, Any], like: View) -> View:
    """A copy of a NumPy array on the device of `like`."""
    array, pointer = like.library.put(
        np.ascontiguousarray(x).reshape(-1).view(np.uint8), like.device
    )
    return View(
        pointer, x.shape, c_strides(x.shape), x.dtype.name, like.device, like.library, array
    )


def on_host(x: View) -> np.ndarray[Any, Any]:
    """What lies in the memory of `scratch`; awaits the caller's stream."""
    return x.library.host(x.owner).view(x.dtype).reshape(x.shape)


def stream_of(x: View) -> int:
    """The stream that the caller's work is on."""
    return x.library.stream(x.device)


def writable(out: Any, shape: tuple[int, ...], dtype: str) -> View:
    """Where `out` lies, which results of this shape and dtype are to be written to."""
    found = view(out, "out")
    if found.shape != tuple(shape):
        raise ValueError(f"out has shape {found.shape}; the result has shape {tuple(shape)}")
    if found.dtype != dtype:
        raise TypeError(f"out has dtype {found.dtype}; the result has dtype {dtype}")
    if found.readonly:
        raise ValueError("out is read-only; it must be writeable")
    return found


def target(out: Any, shape: Sequence[int], dtype: str, like: View) -> tuple[Any, View]:
    """`out`, checked, or a new array: what to return, and where to write."""
    if out is None:
        return empty(shape, dtype, like)
    found = writable(out, tuple(shape), dtype)
    if found.device != like.device:
        same_device(x=like, out=found)
    return out, found
