"""One product on its way to launches: layouts, geometry, kernels and their arguments."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from fastmat.cuda.combining import THREADS, combining
from fastmat.cuda.elements import element
from fastmat.cuda.finishing import MOST_EXTRAS, Finish
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_matmul import (
    FINISHING,
    TILES,
    parts_of_vector,
    shape_for,
    tile_for,
)
from fastmat.cuda.matvec import Shape, multiplying
from fastmat.cuda.semirings import Reading, Ring
from fastmat.cuda.simt import product, tile_grid
from fastmat.cuda.stacks import Operand, Run
from fastmat.cuda.tiling import Layout, Tile, Variant, run_of


class Launch(NamedTuple):
    """A launch for arrays wherever they lie.

    `places` are the arguments, by position, that a pointer is to be added to, and of which array.
    """

    kernel: Kernel
    grid: tuple[int, int, int]
    arguments: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]


class Job(NamedTuple):
    """A run of a product, on its way to launches."""

    run: Run
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
    dots: bool = False  # each row has a vector of its own, in a column of b

    def swapped(self) -> Job:
        """The job that computes the transposed product."""
        a, b, *others = (x.swapped() for x in self.run.arrays)
        height, width, below, above = self.band
        return self._replace(
            run=self.run._replace(arrays=(b, a, *others)),
            m=self.n, n=self.m, a_read=self.b_read, b_read=self.a_read,
            band=(width, height, above, below), is_swapped=not self.is_swapped,
        )  # fmt: skip

    def in_order(self) -> Job:
        """The job, or the transposed one: its result has one column, or rows side by side."""
        if self.n == 1 or self.m == 1:
            job = self if self.n == 1 else self.swapped()
            return job.of_dots() if job.m == 1 else job
        out = self.run.arrays[2]
        return self.swapped() if abs(out.row) < abs(out.col) else self

    def of_dots(self) -> Job:
        """Dot products along one axis of a stack, as rows of a matrix."""
        lengths = self.run.lengths
        if lengths[:2] != (1, 1) or not self.finish.plain:
            return self
        arrays = [x._replace(row=x.steps[2], steps=(0, 0, 0)) for x in self.run.arrays]
        b = arrays[1]._replace(row=self.run.arrays[1].row, col=self.run.arrays[1].steps[2])
        return self._replace(
            run=Run((1, 1, 1), (arrays[0], b, arrays[2])), m=lengths[2], dots=lengths[2] > 1
        )

    def launches(self, multiprocessors: int, scratch: int) -> tuple[list[Launch], int]:
        """The launches, and how many sums they put into scratch memory, from `scratch` on."""
        if self.n == 1:
            return self.of_vector(multiprocessors, scratch)
        tile, parts, chunk = self.geometry(multiprocessors)
        if parts == 1:
            return [self.whole(tile)], 0
        launches = [self.partial(tile, parts, chunk, scratch), self.combined(parts, scratch)]
        return launches, parts * self.items * self.m * self.n

    def of_vector(self, multiprocessors: int, scratch: int) -> tuple[list[Launch], int]:
        """The same for a matrix times a vector."""
        a, b, out, *_ = self.run.arrays
        length = run_of(self.ring.held)
        layout = _layout(a, self.m, self.k, self.a_read, length)
        vector = self.b_vector(length)
        shape = shape_for(
            self.m, self.k, layout.along_k, length if layout.vector else 1, length if vector else 1
        )
        blocks = -(-self.m // shape.rows) * self.items
        parts, chunk = parts_of_vector(shape, blocks, self.k, multiprocessors)
        split = parts > 1 or not self.finish.plain
        kernel = _multiplying(
            self.dtype, self.ring, self.a_read, self.b_read, shape, self.axes, split,
            self.is_swapped,
        )  # fmt: skip
        m, lengths = self.m, self.run.lengths
        c = (out.pointer, out.row, *out.steps)
        if split:
            to = scratch * self.ring.held.bitwidth // 8
            c = (to, 1, lengths[1] * lengths[2] * m, lengths[2] * m, m)
        arguments = (
            *a.arguments(), b.pointer, b.col if self.dots else 0, b.row, *b.steps, *c,
            m, self.k, *lengths[1:], chunk, self.items * m,
        )  # fmt: skip
        places = ((0, 0), (6, 1), (12, len(self.run.arrays) if split else 2))
        grid = (-(-m // shape.rows), parts, self.items)
        first = self.launch(kernel, grid, arguments, places, Finish())
        if not split:
            return [first], 0
        return [first, self.combined(parts, scratch)], parts * self.items * m

    def b_vector(self, length: int) -> bool:
        """Whether a vector on the right can be read in runs."""
        b = self.run.arrays[1]
        return (
            (b.row == 1 or self.k == 1)
            and b.pointer % (length * self.b_read.itemsize) == 0
            and (not self.dots or b.col % length == 0)
            and not any(step % length for step in b.steps)
        )

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


def _layout(x: Operand, lines: int, k: int, read: Reading, length: int) -> Layout:
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


def _aligned(x: Operand, n: int, length: int, size: int) -> bool:
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


@functools.lru_cache(maxsize=1024)
def _multiplying(
    dtype: str,
    ring: Ring,
    a_read: Reading,
    b_read: Reading,
    shape: Shape,
    axes: int,
    split: bool,
    swapped: bool,
) -> Kernel:
    name = None
    if ring.name is not None:
        name = f"{dtype}-{ring.name}-{a_read.name}-{b_read.name}-{shape}-{axes}-{split}-{swapped}"
    return multiplying(dtype, ring, a_read, b_read, shape, axes, split, swapped, name)
