"""What products add and multiply with, as device functions.

As on the CPU, what is added up stands on the left, and minima and maxima leave NaN out.
"""

from __future__ import annotations

import functools
import math
import types as python_types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import cuda, types
from numba.core import errors
from numba.cuda import libdevice
from numba.cuda.core import errors as cuda_errors
from numba.cuda.extending import overload

from fastmat.core.dtypes import dtype_named
from fastmat.cuda import driver
from fastmat.cuda.elements import element
from fastmat.cuda.kernel import compiling_for

COMPILE_ERRORS = (errors.NumbaError, cuda_errors.NumbaError)
NAMED = {  # addition, multiplication, identity of the addition
    "plus_times": ("plus", "times", "zero"),
    "plus_plus": ("plus", "plus", "zero"),
    "plus_min": ("plus", "min", "zero"),
    "plus_max": ("plus", "max", "zero"),
    "plus_first": ("plus", "first", "zero"),
    "plus_second": ("plus", "second", "zero"),
    "plus_pair": ("plus", "pair", "zero"),
    "min_plus": ("least", "plus", "top"),
    "min_times": ("least", "times", "top"),
    "min_max": ("least", "max", "top"),
    "min_first": ("least", "first", "top"),
    "min_second": ("least", "second", "top"),
    "max_plus": ("greatest", "plus", "bottom"),
    "max_times": ("greatest", "times", "bottom"),
    "max_min": ("greatest", "min", "bottom"),
    "max_first": ("greatest", "first", "bottom"),
    "max_second": ("greatest", "second", "bottom"),
    "lor_land": ("or", "and", "zero"),
    "land_lor": ("and", "or", "true"),
    "lxor_land": ("xor", "and", "zero"),
    "sqeuclidean": ("plus", "squared_difference", "zero"),
    "cityblock": ("plus", "absolute_difference", "zero"),
    "chebyshev": ("greatest", "absolute_difference", "bottom"),
    "hamming": ("plus", "differ", "zero"),
    "log_sum_exp": ("log_add_exp", "plus", "bottom"),
}


@dataclass(frozen=True, eq=False)  # there is one for each semiring and dtype
class Ring:
    """A semiring in one dtype.

    Registers and shared memory hold `held` numbers; functions of the user get `number`.
    """

    held: Any  # Numba type
    number: Any  # Numba type
    add: Callable[[Any, Any], Any]  # of two `held`, as `held`
    multiply: Callable[[Any, Any], Any]
    identity: Any
    name: str | None  # None if it is made of the user's functions

    @property
    def pointer(self) -> str:
        """The argument of a `Kernel` that points at sums."""
        return f"{self.held.name}*"


def held_type(dtype: str) -> Any:
    """What numbers of a dtype are computed with: integers of less than 32 bits take 32."""
    if dtype in ("bool", "uint8", "uint16"):
        return types.uint32
    if dtype in ("int8", "int16"):
        return types.int32
    return element(dtype).number


def number_type(dtype: str) -> Any:
    """What functions of the user get."""
    return types.boolean if dtype == "bool" else element(dtype).number


@functools.lru_cache(maxsize=256)
def device_function(function: Any) -> Any:
    """A scalar function of the user, compiled by Numba or not yet, for devices."""
    plain = getattr(function, "py_func", function)
    if not isinstance(plain, python_types.FunctionType):
        return function  # a ufunc or builtin, which Numba knows
    return cuda.jit(device=True, forceinline=True)(plain)


def compile_alone(function: Any, arguments: tuple[Any, ...], device: int) -> None:
    """Compile a device function by itself, for one device.

    Where Numba cannot, it says so at once; inside of others it would try all of them many times.
    """
    if hasattr(function, "compile_device"):
        with compiling_for(driver.current.capability(device)):
            function.compile_device(arguments)


def _plus(x, y):
    return x + y


def _times(x, y):
    return x * y


def _min(x, y):
    return y if y < x else x


def _max(x, y):
    return y if y > x else x


def _least(x, y):
    raise TypeError("only for compiled code")


@overload(_least, target="cuda")
def _least_of(x, y):
    if x == types.float32:
        return lambda x, y: libdevice.fminf(x, y)
    if x == types.float64:
        return lambda x, y: libdevice.fmin(x, y)
    return lambda x, y: y if y < x else x


def _greatest(x, y):
    raise TypeError("only for compiled code")


@overload(_greatest, target="cuda")
def _greatest_of(x, y):
    if x == types.float32:
        return lambda x, y: libdevice.fmaxf(x, y)
    if x == types.float64:
        return lambda x, y: libdevice.fmax(x, y)
    return lambda x, y: y if y > x else x


def _smallest(x, y):
    return _least(x, y)


def _largest(x, y):
    return _greatest(x, y)


def _first(x, y):
    return x


def _second(x, y):
    return y


def _pair(x, y):
    return True


def _differ(x, y):
    return x != y


def _or(x, y):
    return x | y


def _and(x, y):
    return x & y


def _xor(x, y):
    return x ^ y


def _squared_difference(x, y):
    return (x - y) * (x - y)


def _absolute_difference(x, y):
    return _distance(x, y)


def _distance(x, y):
    raise TypeError("only for compiled code")


@overload(_distance, target="cuda")
def _distance_by_type(x, y):
    if isinstance(x, types.Integer):
        return lambda x, y: x - y if y < x else y - x
    return lambda x, y: abs(x - y)


def _log_add_exp(x, y):
    """log(exp(x) + exp(y))"""
    larger = y if y > x else x
    smaller = x if y > x else y
    apart = x - x if x == y else smaller - larger
    if x == y:
        apart = type(x)(0)
    return larger + math.log1p(math.exp(apart))


_OPERATORS = {
    "plus": _plus,
    "times": _times,
    "min": _min,
    "max": _max,
    "least": _smallest,
    "greatest": _largest,
    "first": _first,
    "second": _second,
    "pair": _pair,
    "differ": _differ,
    "or": _or,
    "and": _and,
    "xor": _xor,
    "squared_difference": _squared_difference,
    "absolute_difference": _absolute_difference,
    "log_add_exp": _log_add_exp,
}


def _identity(name: str, dtype: str) -> Any:
    if dtype == "bool":
        return int(name in ("true", "top"))
    if name == "zero":
        return 0
    kind = number_type(dtype)
    if isinstance(kind, types.Integer):
        return kind.minval if name == "bottom" else kind.maxval
    return -math.inf if name == "bottom" else math.inf


@functools.cache
def named_ring(name: str, dtype: str) -> Ring:
    """A semiring of `NAMED`."""
    add, multiply, identity = NAMED[name]
    if dtype == "bool" and name == "plus_times":
        add, multiply, identity = "or", "and", "zero"
    functions = (cuda.jit(device=True, forceinline=True)(_OPERATORS[x]) for x in (add, multiply))
    # Sums of products modulo 2**32 end in the right bits whatever their upper ones are.
    wraps = name == "plus_times" and dtype != "bool"
    return _ring(dtype, *functions, _identity(identity, dtype), name, wraps)


def users_ring(semiring: Any, dtype: str) -> Ring:
    """A `Semiring` of the user."""
    functions = (device_function(f) for f in (semiring.add, semiring.multiply))
    return _ring(dtype, *functions, semiring.identity_for(dtype_named(dtype)), None, False)


def compile_ring(ring: Ring, device: int) -> None:
    """Compile the functions of a semiring by themselves; NumbaError where that is impossible."""
    for function in (ring.add, ring.multiply):
        compile_alone(function, (ring.held, ring.held), device)


def _ring(dtype: str, add, multiply, identity, name: str | None, wraps: bool) -> Ring:
    held, number = held_type(dtype), number_type(dtype)
    if held == number or wraps:

        @cuda.jit(device=True, forceinline=True)
        def held_add(x, y):
            return held(add(x, y))

        @cuda.jit(device=True, forceinline=True)
        def held_multiply(x, y):
            return held(multiply(x, y))

    else:

        @cuda.jit(device=True, forceinline=True)
        def held_add(x, y):
            return held(number(add(number(x), number(y))))

        @cuda.jit(device=True, forceinline=True)
        def held_multiply(x, y):
            return held(number(multiply(number(x), number(y))))

    start = complex(identity) if isinstance(held, types.Complex) else identity
    return Ring(held, number, held_add, held_multiply, start, name)


@dataclass(frozen=True, eq=False)
class Reading:
    """How an operand's numbers become those of the product."""

    stored: Any  # Numba type
    convert: Callable[[Any], Any]  # device function: stored number to held one
    name: str
    itemsize: int

    @property
    def pointer(self) -> str:
        """The argument of a `Kernel` that points at the operand."""
        return f"{self.stored.name}*"


@functools.cache
def reading(have: str, want: str, conjugated: bool = False, modulus: int = 0) -> Reading:
    """Device function from a number in memory of one dtype to a held one of another."""
    kind, target = element(have), element(want)
    widen, held, number = kind.widen, held_type(want), number_type(want)
    stored = kind.stored
    is_bool = have == "bool"
    if want == "bool":

        @cuda.jit(device=True, forceinline=True)
        def convert(x):
            return held(1) if widen(x) != 0 else held(0)

    elif modulus:
        wide = types.uint64 if have.startswith("uint") else types.int64
        divisor = wide(modulus) if wide == types.int64 else types.uint64(modulus)

        @cuda.jit(device=True, forceinline=True)
        def convert(x):
            left = wide(x != 0) % divisor if is_bool else wide(x) % divisor
            return types.int64(left)

    elif is_bool:

        @cuda.jit(device=True, forceinline=True)
        def convert(x):
            return held(1) if x != 0 else held(0)

    elif have == want or not want.endswith("float16"):
        if conjugated:

            @cuda.jit(device=True, forceinline=True)
            def convert(x):
                y = held(widen(x))
                return held(complex(y.real, -y.imag))

        else:

            @cuda.jit(device=True, forceinline=True)
            def convert(x):
                return held(number(widen(x)))

    else:
        shorten, lengthen = target.narrow, target.widen

        @cuda.jit(device=True, forceinline=True)
        def convert(x):
            return lengthen(shorten(types.float32(widen(x))))

    return Reading(stored, convert, f"{have}-{want}-{conjugated}-{modulus}", kind.itemsize)


@functools.cache
def writing(dtype: str) -> tuple[Any, Any]:
    """The type in memory, and the device function from a held number to it."""
    kind = element(dtype)
    stored, narrow = kind.stored, kind.narrow

    @cuda.jit(device=True, forceinline=True)
    def convert(x):
        return narrow(stored(x))

    @cuda.jit(device=True, forceinline=True)
    def convert_float(x):
        return narrow(x)

    return stored, convert_float if kind.number == types.float32 else convert
