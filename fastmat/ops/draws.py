"""What the random draws share: seeds, positions, where results go."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.arrays import like as in_library_of
from fastmat.core.checks import check_out
from fastmat.core.dtypes import DType
from fastmat.ops.statistics import entry_of, integer

AXES = 8  # of the arrays that kernels take
SEEDS = 2**64
POSITIONS = 2**62  # of the numbers of one stream: complex ones are two of 2**63 real numbers
LINE = 64  # numbers of a line from which it is drawn where it lies

REAL = ("float32", "float64")
FLOATING = (*REAL, "complex64", "complex128")

Shape = tuple[int, ...]
Key = tuple[int, int]  # seed and stream


class Place(NamedTuple):
    """Which numbers of a stream are drawn."""

    shape: Shape
    steps: Shape  # positions from one number to the next along each axis
    first: int  # position of the first number
    flat: bool  # whether positions follow each other throughout


def key_of(rng: Any, stream: Any) -> Key:
    """The seed and the stream that these arguments stand for."""
    number = integer(stream, "stream")
    if not 0 <= number < SEEDS:
        raise ValueError(f"stream is {number}; it must be from 0 to 2**64 - 1")
    return _seed_of(rng), number


def _seed_of(rng: Any) -> int:
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool):
        seed = int(rng)
        if seed < 0:
            raise ValueError(f"rng is {seed}; a seed must not be negative")
        if seed < SEEDS:
            return seed
    if isinstance(rng, np.random.Generator | np.random.BitGenerator):
        generator = np.random.default_rng(rng)
        return int(generator.integers(SEEDS - 1, dtype=np.uint64, endpoint=True))
    try:
        sequence = rng if isinstance(rng, np.random.SeedSequence) else np.random.SeedSequence(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"rng is {rng!r}; it must be None, a seed or several, or a SeedSequence, BitGenerator "
            "or Generator of numpy.random"
        ) from error
    return int(sequence.generate_state(1, np.uint64)[0])


def place_of(size: Any, offset: Any, whole: Any, out: Any) -> Place:
    """Which numbers are drawn: those of a whole array, from a position on, or of a block of it."""
    if size is None:
        shape = () if out is None else tuple(getattr(out, "shape", ()))
    else:
        shape = shape_of(size, "size")
    count = math.prod(shape)
    if whole is None:
        if isinstance(offset, tuple | list):
            raise TypeError(
                f"offset is {offset!r}; without whole it must be an integer, a flat position"
            )
        first = integer(offset, "offset")
        if not 0 <= first <= POSITIONS - count:
            raise ValueError(
                f"offset is {first} and size {shape}; positions must be from 0 to 2**62 - 1"
            )
        return Place(shape, _steps(shape), first, True)
    full = shape_of(whole, "whole")
    if not isinstance(offset, tuple | list):
        if integer(offset, "offset"):
            raise TypeError(f"offset is {offset!r}; with whole it must be a tuple of indices")
        offset = (0,) * len(full)
    start = tuple(integer(index, "offset") for index in offset)
    if not len(start) == len(shape) == len(full):
        raise ValueError(
            f"offset is {start}, size {shape} and whole {full}; they must have the same length"
        )
    if len(full) > AXES:
        raise ValueError(f"whole has {len(full)} axes; {AXES} are the most")
    for i, n, m in zip(start, shape, full, strict=True):
        if i < 0 or i + n > m:
            raise ValueError(
                f"offset is {start} and size {shape}; the block must lie within whole, {full}"
            )
    if math.prod(full) > POSITIONS:
        raise ValueError(f"whole is {full}; it must have at most 2**62 items")
    steps = _steps(full)
    first = sum(i * step for i, step in zip(start, steps, strict=True))
    return Place(shape, steps, first, steps == _steps(shape))


def shape_of(given: Any, name: str) -> Shape:
    """A shape given as an integer or as a tuple."""
    if isinstance(given, tuple | list):
        shape = tuple(integer(n, name) for n in given)
    else:
        try:
            shape = (operator.index(given),)
        except TypeError:
            raise TypeError(
                f"{name} is {given!r}; it must be an integer or a tuple of them"
            ) from None
    if any(n < 0 for n in shape):
        raise ValueError(f"{name} is {given!r}; lengths must not be negative")
    return shape


def _steps(shape: Shape) -> Shape:
    steps: list[int] = []
    step = 1
    for n in reversed(shape):
        steps.append(step)
        step *= n
    return tuple(reversed(steps))


def dtype_of(given: Any, out: Any, default: str, allowed: tuple[str, ...]) -> DType:
    """The dtype that is asked for, else that of `out`, else the default."""
    if given is None:
        if not isinstance(out, np.ndarray) and hasattr(out, "__dlpack__"):
            out = np.from_dlpack(out)
        given = out.dtype if isinstance(out, np.ndarray) else default
    try:
        dtype = np.dtype(given)
    except TypeError as error:
        raise TypeError(f"dtype is {given!r}; it must be one of {', '.join(allowed)}") from error
    found = _native(dtype, allowed)
    if found is None:
        raise TypeError(f"dtype is {dtype}; it must be one of {', '.join(allowed)}")
    return found


@functools.cache  # NumPy takes 2 µs to find a dtype's name
def _native(dtype: DType, allowed: tuple[str, ...]) -> DType | None:
    """The dtype in this machine's byte order; None if it is not allowed."""
    return dtype.newbyteorder("=") if dtype.name in allowed else None


def draw(
    module: str,
    kernel: str,
    dtype: DType,
    place: Place,
    key: Key,
    out: Any,
    *parameters: Any,
    like: Any = None,
) -> Any:
    """Draw the numbers and deliver them: to `out`, or in the library of `like`."""
    destination = None if out is None else np.asarray(check_out(out, place.shape, dtype))
    target = _target(destination, dtype, place)
    if target.size:
        view, steps, first = target.view(_bits(dtype)), place.steps, place.first
        if place.flat and target.flags.c_contiguous:
            view, steps = view.reshape(-1), (1,)
        if dtype.kind == "c" and kernel == "normal":  # pairs of real numbers
            view = view[..., np.newaxis].view(view.real.dtype)
            steps, first = (*(2 * step for step in steps), 1), 2 * first
        _fill(entry_of(module, kernel, view.dtype), view, steps, first, (*key, *parameters))
    if destination is None:
        return in_library_of(target, like)
    if target is not destination:
        np.copyto(destination, target, casting="same_kind")
    return out


def _fill(
    entry: Callable[..., None], view: Array, steps: Shape, first: int, parameters: Any
) -> None:
    """Have a kernel fill an array, one of too many axes by parts along the first."""
    missing = AXES - view.ndim
    if missing < 0:
        for i in range(view.shape[0]):
            _fill(entry, view[i], steps[1:], first + i * steps[0], parameters)
        return
    entry(view[(np.newaxis,) * missing + (...,)], (0,) * missing + steps, first, *parameters)


def _bits(dtype: DType) -> DType:
    """What kernels take numbers of this dtype for: they do not know unsigned integers and bool."""
    return np.dtype(f"i{dtype.itemsize}") if dtype.kind in "bu" else dtype


def _target(destination: Array | None, dtype: DType, place: Place) -> Array:
    """Where to draw: `out` itself, if kernels can write it and do so in lines that are long."""
    if destination is not None:
        as_it_is = destination.dtype == dtype and destination.flags.aligned
        few = destination.ndim < AXES  # complex numbers take one more
        long = destination.ndim == 1 or (place.shape and place.shape[-1] >= LINE)
        if as_it_is and (destination.flags.c_contiguous or (few and (long or not place.flat))):
            return destination
    return np.empty(place.shape, dtype)
