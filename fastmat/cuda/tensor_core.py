"""Launches of products on tensor cores."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from fastmat.cuda import driver, tensor_mma, tensor_wgmma
from fastmat.cuda import launch_tensor_core as geometry
from fastmat.cuda.arrays import ITEMSIZE, View, empty
from fastmat.cuda.elements import element
from fastmat.cuda.kernel import Kernel

MOST_ITEMS = 65535  # of one launch: they are counted along the grid's second axis
_ALIGNMENT = 16
_MOST = 2**31 - 1 - 4096  # of a length: places a few tiles on are int32
_THREADS = 256


def product(a: View, b: View, c: View, stream: int, *, precision: str | None = None) -> bool:
    """``c = a @ b`` for matrices or stacks of matrices; False if these are not served.

    Parameters
    ----------
    a, b
        Two or three axes, those of the stack as long as that of `c` (strides may be 0).
    precision
        "tf32" computes float32 products of numbers rounded to 10 bits after the first.
    """
    capability = driver.current.capability(c.device)
    instruction = _instruction(a.dtype, b.dtype, c.dtype, capability, precision)
    if instruction is None:
        return False
    plan = _plan(
        instruction,
        c.dtype,
        (a.shape, a.strides, a.pointer % _ALIGNMENT),
        (b.shape, b.strides, b.pointer % _ALIGNMENT),
        (c.shape, c.strides, c.pointer % _ALIGNMENT),
        capability,
        driver.current.multiprocessors(c.device),
        driver.current.shared_limit(c.device),
    )
    if plan is None:
        return False
    x, y = (b, a) if plan.swapped else (a, b)
    sums = c.pointer
    if plan.scratch:
        _, scratch = empty((plan.scratch,), plan.sums, c)
        sums = scratch.pointer
    for launch in plan.launches:
        ahead = launch.ahead
        pointers = (x.pointer + ahead[0], y.pointer + ahead[1], sums + ahead[2])
        launch.kernel(launch.grid, (*pointers, *launch.arguments), stream, c.device)
    if plan.last is not None:
        plan.last.kernel(plan.last.grid, (sums, c.pointer, *plan.last.arguments), stream, c.device)
    return True


class Launch(NamedTuple):
    """A launch for arrays wherever they lie."""

    kernel: Kernel
    grid: tuple[int, int, int]
    arguments: tuple[int, ...]
    ahead: tuple[int, int, int] = (0, 0, 0)  # bytes from the pointers of a, b and c


class Plan(NamedTuple):
    """The launches of a product: all that read operands, and the one that adds up parts."""

    launches: tuple[Launch, ...]
    swapped: bool  # computes the transposed product
    scratch: int  # items
    sums: str  # their dtype
    last: Launch | None


class _Matrices(NamedTuple):
    """A stack of matrices."""

    items: int
    rows: int
    columns: int
    step: int
    row: int
    column: int
    pointer: int

    @staticmethod
    def of(shape: tuple[int, ...], strides: tuple[int, ...], pointer: int) -> _Matrices:
        items, step = (1, 0) if len(shape) == 2 else (shape[0], strides[0])
        return _Matrices(items, *shape[-2:], step if items > 1 else 0, *strides[-2:], pointer)

    @property
    def transposed(self) -> _Matrices:
        return _Matrices(
            self.items, self.columns, self.rows, self.step, self.column, self.row, self.pointer
        )

    def contiguous_rows(self) -> bool:
        return self.column == 1 or self.columns == 1

    def line(self, along_rows: bool) -> int:
        """From one line of contiguous items, a row or a column, to the next."""
        if along_rows:
            return self.row if self.rows > 1 else 0
        return self.column if self.columns > 1 else 0

    def width(self, itemsize: int, along_rows: bool) -> int:
        """Bytes that the places of all lines are multiples of, 16 at most."""
        line = self.line(along_rows)
        both = (line * itemsize) | (self.step * itemsize) | self.pointer | 16
        return both & -both


def _instruction(
    a: str, b: str, c: str, capability: tuple[int, int], precision: str | None
) -> str | None:
    if a != b or capability < geometry.OLDEST:
        return None
    if a in ("float16", "bfloat16"):
        return a if c in (a, "float32") else None
    if a == "float64" == c:
        return geometry.DOUBLES.get(capability)
    if a == "float32" == c and precision == "tf32":
        return "tf32"
    return None


@functools.lru_cache(maxsize=4096)
def _plan(
    instruction: str,
    out: str,
    a_array: tuple[Any, ...],
    b_array: tuple[Any, ...],
    c_array: tuple[Any, ...],
    capability: tuple[int, int],
    multiprocessors: int,
    shared_limit: int,
) -> Plan | None:
    a, b, c = _Matrices.of(*a_array), _Matrices.of(*b_array), _Matrices.of(*c_array)
    swapped = not c.contiguous_rows() or (c.columns == 1 < c.rows and c.row == 1)
    if swapped:
        a, b, c = b.transposed, a.transposed, c.transposed
    m, n, k, items = c.rows, c.columns, a.columns, c.items
    if 0 in (m, n, items):
        return Plan((), swapped, 0, out, None)
    if not c.contiguous_rows() or max(m, n, k) > _MOST:
        return None
    dtype = "float32" if instruction == "tf32" else instruction.split()[0]
    itemsize = ITEMSIZE[dtype]
    a_along_k = a.contiguous_rows() and (k > 1 or a.row != 1)
    b_along_k = b.transposed.contiguous_rows() and (k > 1 or b.column != 1)
    if not (a_along_k or a.transposed.contiguous_rows()):
        return None
    if not (b_along_k or b.contiguous_rows()):
        return None
    width = min(a.width(itemsize, a_along_k), b.width(itemsize, not b_along_k))
    if width < max(4, itemsize):
        return None
    choices = geometry.TILES[dtype]
    if itemsize == 2 and capability == (9, 0) and width == 16:
        choices = (*geometry.WGMMA, *choices)
    choice, parts = geometry.choose(
        choices, m, n, k, items, itemsize, multiprocessors, shared_limit
    )
    tile = choice.tile
    kernel = tensor_wgmma.kernel if choice.wgmma else tensor_mma.kernel
    part = -(-max(-(-k // parts), 1) // tile.depth) * tile.depth
    parts = max(-(-k // part), 1)
    sums = "float64" if dtype == "float64" else "float32"
    written, c_row, c_step = (out, c.row, c.step) if parts == 1 else (sums, n, m * n)
    size = ITEMSIZE[written]
    run = 16 if size == 2 else 2 * size  # bytes that are written at once
    start = c.pointer if parts == 1 else 0
    aligned = not (c_row * size % run or c_step * size % run or start % run)
    found = kernel(instruction, written, a_along_k, b_along_k, tile, width, aligned)
    tiles = -(-m // tile.rows) * -(-n // tile.columns)
    lines = (
        a.line(a_along_k),
        b.line(not b_along_k),
        c_row,
        a.step,
        b.step,
        c_step,
        items * m * n,
    )
    launches = tuple(
        Launch(
            found,
            (tiles, min(items - first, MOST_ITEMS), parts),
            (m, n, k, part, *lines),
            (first * a.step * itemsize, first * b.step * itemsize, first * c_step * size),
        )
        for first in range(0, items, MOST_ITEMS)
    )
    if parts == 1:
        return Plan(launches, swapped, 0, sums, None)
    total = items * m * n
    last = Launch(
        parts_adder(sums, out),
        (-(-total // _THREADS), 1, 1),
        (parts, total, m, n, c.row, c.step),
    )
    return Plan(launches, swapped, parts * total, sums, last)


@functools.cache
def parts_adder(sums: str, out: str) -> Kernel:
    """The kernel that adds up sums over parts of k, in their order."""
    stored = element(out)
    narrow = stored.narrow

    def add_parts(
        parts,  # in (count, items, m, n)
        c,  # out (items, m, n)
        count,
        size,  # items * m * n
        m,
        n,
        c_stride,
        c_batch,
    ):
        place = np.int64(cuda.blockIdx.x) * np.int64(_THREADS) + np.int64(cuda.threadIdx.x)
        if place >= size:
            return
        total = parts[place]
        at = place
        for _ in range(1, count):
            at += size
            total += parts[at]
        line = place // np.int64(n)
        column = place - line * np.int64(n)
        item = line // np.int64(m)
        c[item * c_batch + (line - item * np.int64(m)) * c_stride + column] = narrow(total)

    return Kernel(
        add_parts,
        (f"{sums}*", stored.pointer, "int32", "int64", "int32", "int32", "int64", "int64"),
        name=f"add parts {sums} {out}",
        threads=_THREADS,
    )
