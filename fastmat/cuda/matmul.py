"""Launches of products: which kernel, its variant, the order of operands and axes."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fastmat.cuda import driver
from fastmat.cuda.arrays import View, empty
from fastmat.cuda.combining import THREADS, combining
from fastmat.cuda.elements import element
from fastmat.cuda.finishing import MOST_EXTRAS, Finish
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_matmul import FINISHING, TILES, tile_for
from fastmat.cuda.semirings import Reading, Ring
from fastmat.cuda.simt import Layout, Tile, Variant, product, run_of, tile_grid

MOST_ITEMS = 65535  # of one launch: they are counted along the grid's third axis


class Mask(NamedTuple):
    """Which entries of a product are computed.

    `blocks` are booleans ``(..., rows, columns)`` that broadcast to the stack, each of which
    stands for `height` x `width` entries, or None; of these only entries (i, j) with
    ``-below <= j - i <= above``.
    """

    blocks: View | None
    height: int
    width: int
    below: int
    above: int


class Program(NamedTuple):
    """What is done with the sums of a product.

    Parameters
    ----------
    mask
        None to compute all entries.
    fill
        What entries are that the mask leaves out; None leaves those of the result as they are.
    epilogue
        A name of `finishing.NAMED`, or a function of the user; None stores sums as they are.
    extras
        Its arrays, broadcast to the result.
    """

    mask: Mask | None = None
    fill: Any = 0
    epilogue: Any = None
    extras: tuple[View, ...] = ()


PLAIN = Program()


class Launch(NamedTuple):
    """A launch for arrays wherever they lie.

    `places` are the arguments, by position, that a pointer is to be added to, and of which array.
    """

    kernel: Kernel
    grid: tuple[int, int, int]
    arguments: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]


class Plan(NamedTuple):
    """The launches of a product, and how many sums they put into scratch memory."""

    launches: tuple[Launch, ...]
    scratch: int


def multiply(
    a: View,
    b: View,
    c: View,
    ring: Ring,
    a_read: Reading,
    b_read: Reading,
    stream: int,
    program: Program = PLAIN,
) -> None:
    """``c = a @ b``, for stacks of matrices that broadcast to `c`, in a semiring.

    The result must not overlap anything that is read.
    """
    if 0 in c.shape:
        return
    views = [a, b, c, *program.extras]
    mask = program.mask
    if mask is not None and mask.blocks is not None:
        views.insert(3, mask.blocks)
    finish = Finish(
        "" if mask is None else "band" if mask.blocks is None else "blocks",
        program.fill is None,
        program.epilogue,
        tuple([x.dtype for x in program.extras]),
    )
    plan = _plan(
        tuple([(x.shape, x.strides, x.pointer % _ALIGNMENT) for x in views]),
        c.dtype, ring, a_read, b_read, finish, mask and mask[1:], program.fill,
        driver.current.multiprocessors(c.device),
    )  # fmt: skip
    bases = [x.pointer - x.pointer % _ALIGNMENT for x in views]
    if plan.scratch:
        _, scratch = empty((plan.scratch,), _scratch_dtype(ring), c)
        bases.append(scratch.pointer)
    for kernel, grid, arguments, places in plan.launches:
        filled = list(arguments)
        for place, of in places:
            filled[place] += bases[of]
        kernel(grid, tuple(filled), stream, c.device)


_ALIGNMENT = 16


class _Array(NamedTuple):
    """A view by its shape, its strides, and how far its pointer is from one that is aligned."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    pointer: int


class _Operand(NamedTuple):
    """An array of a run: matrices in up to three axes of a stack."""

    pointer: int
    row: int
    col: int
    steps: tuple[int, int, int]

    def swapped(self) -> _Operand:
        """The transposed matrices."""
        return _Operand(self.pointer, self.col, self.row, self.steps)

    def arguments(self) -> tuple[int, ...]:
        return (self.pointer, self.row, self.col, *self.steps)


class _Run(NamedTuple):
    """What one launch computes: lengths of the stack's axes, and its arrays."""

    lengths: tuple[int, int, int]
    arrays: tuple[_Operand, ...]  # a, b, c, blocks of the mask if there are any, extras


def _runs(arrays: Sequence[_Array], sizes: Sequence[int]) -> Iterator[_Run]:
    """Cut a stack into launches: of up to three axes, and not too many items."""
    batch = arrays[2].shape[:-2]
    lengths, merged = _merged(batch, [_steps(x, batch) for x in arrays])
    outer = max(0, len(lengths) - 3)
    while math.prod(lengths[outer:]) > MOST_ITEMS and outer < len(lengths) - 1:
        outer += 1
    inner = (1, 1, 1, *lengths[outer:])[-3:]
    most = inner[2] if math.prod(inner) <= MOST_ITEMS else MOST_ITEMS
    for place in itertools.product(*map(range, lengths[:outer])):
        for first in range(0, inner[2], most):
            operands = []
            for x, size, axes in zip(arrays, sizes, merged, strict=True):
                steps = (0, 0, 0, *axes[outer:])[-3:]
                ahead = sum(map(_times, place, axes)) + first * steps[2]
                operands.append(_Operand(x.pointer + size * ahead, *x.strides[-2:], steps))
            yield _Run((inner[0], inner[1], min(most, inner[2] - first)), tuple(operands))


def _times(x: int, y: int) -> int:
    return x * y


def _steps(x: _Array, batch: tuple[int, ...]) -> list[int]:
    """Strides along the axes of a stack, 0 where it is repeated."""
    own = x.shape[:-2]
    steps = [0 if n == 1 else s for n, s in zip(own, x.strides, strict=False)]
    return [0] * (len(batch) - len(own)) + steps


def _merged(batch: Sequence[int], steps: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Axes without those of length 1, and joined where all arrays walk through two as one."""
    lengths: list[int] = []
    merged: list[list[int]] = [[] for _ in steps]
    for axis, n in enumerate(batch):
        if n == 1:
            continue
        here = [x[axis] for x in steps]
        if lengths and all(m[-1] == n * s for m, s in zip(merged, here, strict=True)):
            lengths[-1] *= n
            for axes, s in zip(merged, here, strict=True):
                axes[-1] = s
        else:
            lengths.append(n)
            for axes, s in zip(merged, here, strict=True):
                axes.append(s)
    return lengths, merged


@functools.lru_cache(maxsize=4096)
def _plan(
    arrays: tuple[tuple[Any, ...], ...],
    dtype: str,
    ring: Ring,
    a_read: Reading,
    b_read: Reading,
    finish: Finish,
    band: tuple[int, ...] | None,
    fill: Any,
    multiprocessors: int,
) -> Plan:
    views = [_Array(*x) for x in arrays]
    sizes = [a_read.itemsize, b_read.itemsize, element(dtype).itemsize]
    if finish.mask == "blocks":
        sizes.append(1)
    sizes += [element(x).itemsize for x in finish.extras]
    shape = (*views[2].shape[-2:], views[0].shape[-1])
    launches: list[Launch] = []
    scratch = 0
    for run in _runs(views, sizes):
        job = _Job(run, *shape, dtype, ring, a_read, b_read, finish, band or (0, 0, 0, 0), fill)
        if _swaps(run.arrays[2], *shape[:2]):
            job = job.swapped()
        tile, parts, chunk = job.geometry(multiprocessors)
        if parts > 1:
            launches.append(job.partial(tile, parts, chunk, scratch))
            launches.append(job.combined(parts, scratch))
            scratch += parts * math.prod(run.lengths) * shape[0] * shape[1]
        else:
            launches.append(job.whole(tile))
    return Plan(tuple(launches), scratch)


def _swaps(c: _Operand, m: int, n: int) -> bool:
    """Whether to compute the transposed product, whose rows lie side by side."""
    return n == 1 < m or (m > 1 and abs(c.row) < abs(c.col))


class _Job(NamedTuple):
    """A run of a product, on its way to launches."""

    run: _Run
    m: int
    n: int
    k: int
    dtype: str
    ring: Ring
    a_read: Reading
    b_read: Reading
    finish: Finish
    band: tuple[int, ...]  # height, width, below, above
    fill: Any
    is_swapped: bool = False

    def swapped(self) -> _Job:
        """The job that computes the transposed product."""
        a, b, *others = (x.swapped() for x in self.run.arrays)
        height, width, below, above = self.band
        return self._replace(
            run=self.run._replace(arrays=(b, a, *others)),
            m=self.n, n=self.m, a_read=self.b_read, b_read=self.a_read,
            band=(width, height, above, below), is_swapped=True,
        )  # fmt: skip

    @property
    def items(self) -> int:
        return math.prod(self.run.lengths)

    @property
    def axes(self) -> int:
        return 0 if self.items == 1 else 1 if self.run.lengths[:2] == (1, 1) else 3

    def geometry(self, multiprocessors: int) -> tuple[Tile, int, int]:
        """The tile, the number of parts, and how many numbers of k are in each."""
        choices = (TILES if self.finish.plain else FINISHING)[self.ring.held.bitwidth // 8]
        tile, parts = tile_for(choices, self.m, self.n, self.k, self.items, multiprocessors)
        chunk = max(-(-self.k // parts), 1)
        chunk = -(-chunk // tile.depth) * tile.depth
        return tile, max(-(-self.k // chunk), 1), chunk

    def layouts(self) -> tuple[Layout, Layout]:
        """Those of the operands."""
        a, b, *_ = self.run.arrays
        length = run_of(self.ring.held)
        return (
            _layout(a, self.m, self.k, self.a_read, length),
            _layout(b.swapped(), self.n, self.k, self.b_read, length),
        )

    def whole(self, tile: Tile) -> Launch:
        """The launch that computes the result."""
        a, b, out, *_ = self.run.arrays
        length = run_of(self.ring.held)
        vector = not self.finish.mask and _aligned(
            out, self.n, length, element(self.dtype).itemsize
        )
        kernel = self.kernel(tile, vector, False, self.finish)
        grid, shift = tile_grid(tile, self.m, self.n, self.items)
        arguments = (
            *a.arguments(), *b.arguments(), *out.arguments(), self.m, self.n, self.k,
            *self.run.lengths[1:], 0, 0, shift,
        )  # fmt: skip
        return self.launch(kernel, grid, arguments, ((0, 0), (6, 1), (12, 2)), self.finish)

    def partial(self, tile: Tile, parts: int, chunk: int, scratch: int) -> Launch:
        """The launch that computes sums over parts of k, to be put into scratch memory."""
        a, b, *_ = self.run.arrays
        m, n, items = self.m, self.n, self.items
        finish = self.finish._replace(epilogue=None, extras=())
        finish = finish if finish.mask else Finish()
        vector = not finish.mask and n % run_of(self.ring.held) == 0
        kernel = self.kernel(tile, vector, True, finish)
        grid, shift = tile_grid(tile, m, n, items, parts)
        to = scratch * self.ring.held.bitwidth // 8
        lengths = self.run.lengths
        steps = (lengths[1] * lengths[2] * m * n, lengths[2] * m * n, m * n)
        arguments = (
            *a.arguments(), *b.arguments(), to, n, 1, *steps, m, n, self.k,
            *lengths[1:], chunk, items * m * n, shift,
        )  # fmt: skip
        places = ((0, 0), (6, 1), (12, len(self.run.arrays)))
        return self.launch(kernel, grid, arguments, places, finish)

    def combined(self, parts: int, scratch: int) -> Launch:
        """The launch that adds up parts."""
        out = self.run.arrays[2]
        kernel = _combining(self.dtype, self.ring, self.axes, self.finish)
        grid = (-(-self.m * self.n // THREADS), 1, self.items)
        arguments = (
            scratch * self.ring.held.bitwidth // 8, parts, *out.arguments(), self.m, self.n,
            *self.run.lengths[1:],
        )  # fmt: skip
        places = ((0, len(self.run.arrays)), (2, 2))
        return self.launch(kernel, grid, arguments, places, self.finish)

    def kernel(self, tile: Tile, vector: bool, split: bool, finish: Finish) -> Kernel:
        """The kernel of tiles."""
        variant = Variant(*self.layouts(), vector, self.axes, split, self.is_swapped, finish)
        return _product(self.dtype, self.ring, self.a_read, self.b_read, tile, variant)

    def launch(
        self,
        kernel: Kernel,
        grid: tuple[int, int, int],
        arguments: tuple[Any, ...],
        places: tuple[tuple[int, int], ...],
        finish: Finish,
    ) -> Launch:
        """A launch whose first arguments these are, followed by those of mask and epilogue."""
        if self.is_swapped:
            places = tuple((at, {0: 1, 1: 0}.get(of, of)) for at, of in places)
        if finish.plain:
            return Launch(kernel, grid, arguments, places)
        others = list(enumerate(self.run.arrays))[3:]
        values: list[Any] = []
        found = list(places)
        blocks = others.pop(0) if self.finish.mask == "blocks" else None
        slots = [blocks, None, *(others if finish.extras else ())]
        for slot in [*slots, *[None] * (MOST_EXTRAS + 2 - len(slots))]:
            if slot is None and len(values) == 6:
                values += [*self.band, *_parts_of(self.fill)]
            elif slot is None:
                values += [0] * 6
            else:
                found.append((len(arguments) + len(values), slot[0]))
                values += slot[1].arguments()
        return Launch(kernel, grid, (*arguments, *values), tuple(found))


def _parts_of(fill: Any) -> tuple[Any, Any]:
    """The arguments for what fills a result."""
    if fill is None:
        return 0, 0
    return (fill.real, fill.imag) if isinstance(fill, complex) else (fill, 0)


def _scratch_dtype(ring: Ring) -> str:
    return str(ring.held.name).removeprefix("u")  # which not all libraries have


def _layout(x: _Operand, lines: int, k: int, read: Reading, length: int) -> Layout:
    """How an operand lies whose rows are lines and whose columns are summed over."""
    along_k = lines == 1 or (k > 1 and abs(x.col) <= abs(x.row))
    side_by_side, other = (x.col, x.row) if along_k else (x.row, x.col)
    size = read.itemsize
    vector = (
        side_by_side == 1
        and x.pointer % (length * size) == 0
        and (other % length == 0 or (lines if along_k else k) == 1)
        and (along_k or lines % length == 0)
        and not any(step % length for step in x.steps)
    )
    return Layout(along_k, vector)


def _aligned(x: _Operand, n: int, length: int, size: int) -> bool:
    """Whether rows of a result can be written in runs."""
    return (
        (x.col == 1 or n == 1)
        and n % length == 0
        and x.pointer % (length * size) == 0
        and x.row % length == 0
        and not any(step % length for step in x.steps)
    )


@functools.lru_cache(maxsize=4096)
def _product(
    dtype: str, ring: Ring, a_read: Reading, b_read: Reading, tile: Tile, variant: Variant
) -> Kernel:
    finish = variant.finish.name
    name = None
    if None not in (ring.name, finish):
        name = f"{dtype}-{ring.name}-{a_read.name}-{b_read.name}-{tile}-{variant[:-1]}-{finish}"
    return product(dtype, ring, a_read, b_read, tile, variant, name)


@functools.lru_cache(maxsize=1024)
def _combining(dtype: str, ring: Ring, axes: int, finish: Finish) -> Kernel:
    name = None
    if None not in (ring.name, finish.name):
        name = f"{dtype}-{ring.name}-{axes}-{finish.name}"
    return combining(dtype, ring, axes, finish, name)
