"""What becomes of a sum before it is stored: masks, epilogues, the dtype of the result."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

from fastmat.cuda.elements import element
from fastmat.cuda.epilogues import named_epilogue
from fastmat.cuda.semirings import Ring, compile_alone, device_function, number_type

_int32, _int64 = np.int32, np.int64

MOST_EXTRAS = 4


class Finish(NamedTuple):
    """What is done with sums, as far as code depends on it."""

    mask: str = ""  # or "band", or "blocks", which a band may cut as well
    leaves: bool = False  # entries that the mask leaves out stay as they are
    epilogue: Any = None  # a name, or a function of the user
    extras: tuple[str, ...] = ()  # dtypes of its arrays

    @property
    def plain(self) -> bool:
        """Whether sums are stored as they are."""
        return not self.mask and self.epilogue is None

    @property
    def name(self) -> str | None:
        """None if a function of the user is part of it."""
        if self.epilogue is not None and not isinstance(self.epilogue, str):
            return None
        return f"{self.mask}-{self.leaves}-{self.epilogue}-{','.join(self.extras)}"


def _reader(dtype: str) -> Any:
    """Device function from an extra's number in memory to what an epilogue gets."""
    kind = element(dtype)
    widen = kind.widen
    is_bool = dtype == "bool"

    @cuda.jit(device=True, forceinline=True)
    def read(pointer, at):
        return pointer[at] != 0 if is_bool else widen(pointer[at])

    return read


class Finishing(NamedTuple):
    """Device functions."""

    finished: Any  # (sum, i, j, extras) -> number
    kept: Any  # (i, j, mask) -> bool
    any_kept: Any  # (i, end of i, j, end of j, mask, thread, threads) -> bool, for the block
    filling: Any  # (fill, fill_imag) -> number
    of_item: Any  # (mask, its steps, extras, their steps, i_0, i_1, i_2) -> mask, extras


@functools.lru_cache(maxsize=1024)
def finishing(finish: Finish, ring: Ring, dtype: str, later: bool = False) -> Finishing:
    """Device functions for what is done, or `later` will be, with sums of this dtype."""
    return Finishing(
        _finished(finish, ring, dtype),
        *_keeping(finish.mask),
        _no_filling if later or finish.plain else _filling(ring.held),
        _of_no_item if finish.plain or (later and not finish.mask) else _of_item,
    )


def compile_epilogue(epilogue: Any, dtype: str, extras: tuple[str, ...], device: int) -> None:
    """Compile an epilogue of the user by itself; NumbaError where that is impossible."""
    kinds = tuple(types.boolean if x == "bool" else element(x).number for x in extras)
    compile_alone(device_function(epilogue), (number_type(dtype), *kinds), device)


def finish_arguments(finish: Finish, held: Any) -> list[str]:
    """The arguments of a `Kernel`: mask, its blocks and band, fill, extras."""
    steps = ["int64"] * 5
    real = {"complex64": "float32", "complex128": "float64"}.get(held.name, held.name)
    extras = [element(x).pointer for x in finish.extras]
    extras += ["uint8*"] * (MOST_EXTRAS - len(extras))
    return [
        "uint8*", *steps, *["int32"] * 4, real, real,
        *(x for pointer in extras for x in (pointer, *steps)),
    ]  # fmt: skip


@cuda.jit(device=True, forceinline=True)
def _no_filling(fill, fill_imag):
    return fill


@cuda.jit(device=True, forceinline=True)
def _of_no_item(mask, mask_steps, extras, extra_steps, i_0, i_1, i_2):
    return mask, extras


@cuda.jit(device=True, forceinline=True)
def _moved(extra, steps, i_0, i_1, i_2):
    first = extra[1] + i_0 * steps[0] + i_1 * steps[1] + i_2 * steps[2]
    return extra[0], first, extra[2], extra[3]


@cuda.jit(device=True, forceinline=True)
def _of_item(mask, mask_steps, extras, extra_steps, i_0, i_1, i_2):
    """Mask and extras of an item of the stack."""
    w, x, y, z = extras
    w_steps, x_steps, y_steps, z_steps = extra_steps
    pointer, first, row, col = _moved(mask[:4], mask_steps, i_0, i_1, i_2)
    return (pointer, first, row, col, mask[4], mask[5], mask[6], mask[7]), (
        _moved(w, w_steps, i_0, i_1, i_2),
        _moved(x, x_steps, i_0, i_1, i_2),
        _moved(y, y_steps, i_0, i_1, i_2),
        _moved(z, z_steps, i_0, i_1, i_2),
    )


def _filling(held: Any) -> Any:
    @cuda.jit(device=True, forceinline=True)
    def of_parts(fill, fill_imag):
        return held(complex(fill, fill_imag))

    @cuda.jit(device=True, forceinline=True)
    def of_number(fill, fill_imag):
        return held(fill)

    return of_parts if isinstance(held, types.Complex) else of_number


def _finished(finish: Finish, ring: Ring, dtype: str) -> Any:
    held = ring.held
    number = number_type(dtype)
    if finish.epilogue is None:

        @cuda.jit(device=True, forceinline=True)
        def finished(total, i, j, extras):
            return total

        return finished
    if isinstance(finish.epilogue, str):
        function = named_epilogue(finish.epilogue, number)
    else:
        function = device_function(finish.epilogue)
    readers = [_reader(x) for x in finish.extras]
    readers += [_reader("bool")] * (MOST_EXTRAS - len(readers))
    read0, read1, read2, read3 = readers
    count = len(finish.extras)

    @cuda.jit(device=True, forceinline=True)
    def at(extra, i, j):
        return extra[1] + _int64(i) * extra[2] + _int64(j) * extra[3]

    @cuda.jit(device=True, forceinline=True)
    def apply0(x, i, j, extras):
        return function(x)

    @cuda.jit(device=True, forceinline=True)
    def apply1(x, i, j, extras):
        return function(x, read0(extras[0][0], at(extras[0], i, j)))

    @cuda.jit(device=True, forceinline=True)
    def apply2(x, i, j, extras):
        return function(
            x,
            read0(extras[0][0], at(extras[0], i, j)),
            read1(extras[1][0], at(extras[1], i, j)),
        )

    @cuda.jit(device=True, forceinline=True)
    def apply3(x, i, j, extras):
        return function(
            x,
            read0(extras[0][0], at(extras[0], i, j)),
            read1(extras[1][0], at(extras[1], i, j)),
            read2(extras[2][0], at(extras[2], i, j)),
        )

    @cuda.jit(device=True, forceinline=True)
    def apply4(x, i, j, extras):
        return function(
            x,
            read0(extras[0][0], at(extras[0], i, j)),
            read1(extras[1][0], at(extras[1], i, j)),
            read2(extras[2][0], at(extras[2], i, j)),
            read3(extras[3][0], at(extras[3], i, j)),
        )

    apply = (apply0, apply1, apply2, apply3, apply4)[count]

    @cuda.jit(device=True, forceinline=True)
    def finished_by(total, i, j, extras):
        return held(number(apply(number(total), i, j, extras)))

    return finished_by


def _keeping(mask: str) -> tuple[Any, Any]:
    if not mask:

        @cuda.jit(device=True, forceinline=True)
        def kept(i, j, mask):
            return True

        @cuda.jit(device=True, forceinline=True)
        def any_kept(i, i_end, j, j_end, mask, thread, threads):
            return True

        return kept, any_kept

    @cuda.jit(device=True, forceinline=True)
    def in_band(i, j, mask):
        return -mask[6] <= j - i and j - i <= mask[7]

    @cuda.jit(device=True, forceinline=True)
    def any_in_band(i, i_end, j, j_end, mask, thread, threads):
        return j_end - 1 - i >= -mask[6] and j - (i_end - 1) <= mask[7]

    if mask == "band":
        return in_band, any_in_band

    @cuda.jit(device=True, forceinline=True)
    def in_blocks(i, j, mask):
        pointer, offset, row, col, height, width = mask[:6]
        at = offset + _int64(i // height) * row + _int64(j // width) * col
        return pointer[at] != 0 and in_band(i, j, mask)

    @cuda.jit(device=True, forceinline=True)
    def any_in_blocks(i, i_end, j, j_end, mask, thread, threads):
        pointer, offset, row, col, height, width = mask[:6]
        top, left = i // height, j // width
        across = (j_end - _int32(1)) // width + _int32(1) - left
        count = ((i_end - _int32(1)) // height + _int32(1) - top) * across
        found = False
        for at in range(thread, count, threads):
            place = offset + _int64(top + at // across) * row + _int64(left + at % across) * col
            found = found or pointer[place] != 0
        some = cuda.syncthreads_or(_int32(found)) != 0
        return some and any_in_band(i, i_end, j, j_end, mask, thread, threads)

    return in_blocks, any_in_blocks
