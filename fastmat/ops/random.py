"""Random numbers by position: uniform and normal ones, integers, signs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmat.core.devices import also_on_gpu
from fastmat.core.dtypes import DType
from fastmat.ops.draws import FLOATING, REAL, SEEDS, draw, dtype_of, key_of, place_of
from fastmat.ops.statistics import integer, number

_SIGNED = ("int8", "int16", "int32", "int64")
INTEGERS = ("bool", *_SIGNED, "uint8", "uint16", "uint32", "uint64")
NUMBERS = (*_SIGNED, "float16", "bfloat16", *FLOATING)


@also_on_gpu
def uniform(
    low: float = 0.0,
    high: float = 1.0,
    size: Any = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """Numbers that are equally likely anywhere from `low` up to `high`.

    Parameters
    ----------
    low, high
        The bounds, finite numbers.
    size
        The shape of the result, an integer or a tuple; by default that of `out`, else one number.
    dtype
        float32 or float64; by default that of `out`, else float64.
    out
        Where to store the result, of any strides.
    rng
        None for a seed that nobody knows; an integer that is not negative; whatever else
        `numpy.random.default_rng` takes (SPEC 7). A Generator or BitGenerator draws a seed, so it
        gives other numbers the next time; a SeedSequence gives the same.
    stream
        From 0 to 2**64 - 1: each stream of a seed has numbers of its own.
    offset
        The position in the stream of the first number. With `whole`, a tuple: the indices in the
        whole array of the first number.
    whole
        The shape of the array that the result is a block of: ``uniform(size=(2, 3), offset=(4, 5),
        whole=(10, 20))`` are the numbers ``uniform(size=(10, 20))[4:6, 5:8]``.
    like
        An array of the library that the result is to be of, and on its device; by default NumPy's.
        Neither its shape nor its dtype matter.

    Returns
    -------
    array of the shape `size`, or a scalar, or `out`

    Raises
    ------
    ValueError
        `high` below `low`, or bounds that are not finite; a negative size, seed, stream or
        position; a block that is not within the whole; an `out` of another shape.
    TypeError
        Arguments that are no numbers; other dtypes; an `out` that cannot take them.

    Notes
    -----
    Number i depends on (seed, stream, i) alone: neither threads, nor blocks, nor the machine
    change it. It is low + (high - low)*u, rounded once, where u is a multiple of 2**-24 in float32,
    made of word i % 4 of the block i // 4 of Philox 4x32-10, or of 2**-53 in float64, made of two
    words of the block i // 2. As in NumPy, rounding can make it `high` where the bounds are large
    against their distance.

    References
    ----------
    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.uniform(size=(2, 3), rng=1).round(3)
    array([[0.89 , 0.586, 0.672],
           [0.476, 0.247, 0.713]])
    >>> fm.random.uniform(size=(1, 2), rng=1, offset=(1, 1), whole=(2, 3)).round(3)
    array([[0.247, 0.713]])
    """
    kind = dtype_of(dtype, out, "float64", REAL)
    a, extent = bounds(low, high, kind)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw("random", "uniform", kind, place, key, out, a, extent, like=like)


def bounds(low: Any, high: Any, dtype: DType) -> tuple[float, float]:
    """The lower bound, and how far it is to the upper one."""
    a, b = number(low, "low"), number(high, "high")
    with np.errstate(over="ignore"):
        finite = np.isfinite([dtype.type(a), dtype.type(b - a)]).all()
    if not finite:
        raise ValueError(f"low is {a} and high {b}; both, and their distance, must be finite")
    if b < a:
        raise ValueError(f"low is {a} and high {b}; high must not be less than low")
    return a, b - a


@also_on_gpu
def standard_normal(
    size: Any = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """Normal numbers of mean 0 and variance 1.

    Parameters
    ----------
    size
        As `uniform`.
    dtype
        float32, float64, complex64 or complex128; by default that of `out`, else float64. Complex
        numbers have half of their variance in each part.
    out, rng, stream, offset, whole, like
        As `uniform`.

    Returns
    -------
    array of the shape `size`, or a scalar, or `out`

    Raises
    ------
    ValueError, TypeError
        As `uniform`.

    Notes
    -----
    Number i depends on (seed, stream, i) alone. Numbers 2j and 2j + 1 are sqrt(-2 log(u)) times
    cosine and sine of 2 pi v, where u and v are the uniform numbers at these places; u has 32 bits
    in float32 and 64 in float64, so numbers are up to 6.76 or 9.49. Parts of the complex number i
    are the real numbers 2i and 2i + 1, times sqrt(1/2).

    References
    ----------
    Box and Muller, "A note on the generation of random normal deviates", Annals of Mathematical
    Statistics 29(2), 1958.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.standard_normal(4, rng=1).round(3)
    array([-0.414, -0.247, -0.881,  0.136])
    >>> fm.random.standard_normal(2, rng=1, offset=2).round(3)
    array([-0.881,  0.136])
    """
    kind = dtype_of(dtype, out, "float64", FLOATING)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw("random", "normal", kind, place, key, out, *moments(0.0, 1.0, kind), like=like)


@also_on_gpu
def normal(
    loc: complex = 0.0,
    scale: float = 1.0,
    size: Any = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """Normal numbers of a mean and a standard deviation.

    Parameters
    ----------
    loc
        The mean; a complex one for complex dtypes only.
    scale
        The standard deviation, at least 0: the root of the mean of ``abs(x - loc)**2``.
    size
        As `uniform`.
    dtype
        As `standard_normal`.
    out, rng, stream, offset, whole, like
        As `uniform`.

    Returns
    -------
    array of the shape `size`, or a scalar, or `out`

    Raises
    ------
    ValueError
        A negative `scale`; else as `uniform`.
    TypeError
        As `uniform`.

    Notes
    -----
    ``loc + scale * standard_normal(...)`` at the same positions, rounded once.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.normal(10, 2, 4, rng=1).round(3)
    array([ 9.172,  9.505,  8.238, 10.272])
    """
    kind = dtype_of(dtype, out, "float64", FLOATING)
    given = moments(loc, scale, kind)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw("random", "normal", kind, place, key, out, *given, like=like)


def moments(loc: Any, scale: Any, dtype: DType) -> tuple[float, float, float]:
    """What is added at even positions and at odd ones, and what is multiplied with."""
    deviation = number(scale, "scale")
    if not deviation >= 0:
        raise ValueError(f"scale is {deviation}; it must be at least 0")
    if dtype.kind != "c":
        mean = number(loc, "loc")
        return mean, mean, deviation
    if not isinstance(loc, int | float | complex | np.number):
        raise TypeError(f"loc is {loc!r}; it must be a number")
    center = complex(loc)
    return center.real, center.imag, deviation * math.sqrt(0.5)


@also_on_gpu
def integers(
    low: int,
    high: int | None = None,
    size: Any = None,
    *,
    dtype: Any = None,
    endpoint: bool = False,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """Integers that are equally likely from `low` up to `high`.

    Parameters
    ----------
    low, high
        The bounds; without `high` from 0 up to `low`.
    size
        As `uniform`.
    dtype
        Of integers, or bool; by default that of `out`, else int64.
    endpoint
        Whether `high` is among them.
    out, rng, stream, offset, whole, like
        As `uniform`.

    Returns
    -------
    array of the shape `size`, or a scalar, or `out`

    Raises
    ------
    ValueError
        No integers between the bounds, or some that `dtype` does not have; else as `uniform`.
    TypeError
        Bounds that are not integers; else as `uniform`.

    Notes
    -----
    Integer i depends on (seed, stream, i) alone. It is the high half of the product of 64 random
    bits, of the words of a uniform float64, and of the count of the integers. To be without bias,
    a few in 2**64 are drawn again: at the same position in the stream with the number of the
    attempt in its highest 16 bits (exclusive or), so that what others get does not change.

    References
    ----------
    Lemire, "Fast random integer generation in an interval", ACM Transactions on Modeling and
    Computer Simulation 29(1), 2019.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.integers(1, 6, 8, endpoint=True, rng=1)
    array([6, 4, 5, 3, 2, 5, 5, 1])
    """
    kind = dtype_of(dtype, out, "int64", INTEGERS)
    least, extent = range_of(low, high, endpoint, kind)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw(
        "random", "integers", kind, place, key, out, least % SEEDS, extent % SEEDS, like=like
    )


def range_of(low: Any, high: Any, endpoint: Any, dtype: DType) -> tuple[int, int]:
    """The least integer, and how many there are."""
    if high is None:
        low, high = 0, low
        top = integer(high, "low")
    else:
        top = integer(high, "high")
    least = integer(low, "low")
    most = top if endpoint else top - 1
    if dtype == np.bool_:
        smallest, largest = 0, 1
    else:
        smallest, largest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if most < least:
        raise ValueError(f"low is {least} and high {top}; there are no integers between them")
    if least < smallest or most > largest:
        raise ValueError(
            f"low is {least} and high {top}; {dtype} has integers from {smallest} to {largest}"
        )
    return least, most - least + 1


@also_on_gpu
def rademacher(
    size: Any = None,
    *,
    dtype: Any = None,
    out: Any = None,
    rng: Any = None,
    stream: int = 0,
    offset: Any = 0,
    whole: Any = None,
    like: Any = None,
) -> Any:
    """Numbers that are 1 or -1, equally likely.

    Parameters
    ----------
    size
        As `uniform`.
    dtype
        Of signed integers, real or complex numbers; by default that of `out`, else float64, as
        that of other draws.
    out, rng, stream, offset, whole, like
        As `uniform`.

    Returns
    -------
    array of the shape `size`, or a scalar, or `out`

    Raises
    ------
    ValueError, TypeError
        As `uniform`.

    Notes
    -----
    Number i depends on (seed, stream, i) alone: it is -1 where the highest bit of word i % 4 of
    the block i // 4 of Philox 4x32-10 is set. So it is the same in all dtypes.

    Examples
    --------
    >>> import fastmat as fm
    >>> fm.random.rademacher(6, dtype="int8", rng=3)
    array([-1,  1, -1, -1,  1, -1], dtype=int8)
    """
    kind = dtype_of(dtype, out, "float64", NUMBERS)
    place, key = place_of(size, offset, whole, out), key_of(rng, stream)
    return draw("random", "rademacher", kind, place, key, out, like=like)
