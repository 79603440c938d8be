"""Launches of products: which kernel, its variant, the order of operands and axes."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from fastmat.cuda import driver
from fastmat.cuda.arrays import View, empty
from fastmat.cuda.elements import element
from fastmat.cuda.finishing import Finish
from fastmat.cuda.jobs import Job, Launch
from fastmat.cuda.semirings import Reading, Ring
from fastmat.cuda.stacks import ALIGNMENT, Array, runs


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
        tuple([(x.shape, x.strides, x.pointer % ALIGNMENT) for x in views]),
        c.dtype, ring, a_read, b_read, finish, mask and mask[1:], program.fill,
        driver.current.multiprocessors(c.device),
    )  # fmt: skip
    bases = [x.pointer - x.pointer % ALIGNMENT for x in views]
    if plan.scratch:
        _, scratch = empty((plan.scratch,), _scratch_dtype(ring), c)
        bases.append(scratch.pointer)
    for kernel, grid, arguments, places in plan.launches:
        filled = list(arguments)
        for place, of in places:
            filled[place] += bases[of]
        kernel(grid, tuple(filled), stream, c.device)


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
    views = [Array(*x) for x in arrays]
    sizes = [a_read.itemsize, b_read.itemsize, element(dtype).itemsize]
    if finish.mask == "blocks":
        sizes.append(1)
    sizes += [element(x).itemsize for x in finish.extras]
    shape = (*views[2].shape[-2:], views[0].shape[-1])
    launches: list[Launch] = []
    scratch = 0
    for run in runs(views, sizes):
        job = Job(run, *shape, dtype, ring, a_read, b_read, finish, band or (0, 0, 0, 0), fill)
        more, sums = job.in_order().launches(multiprocessors, scratch)
        launches += more
        scratch += -(-sums // ALIGNMENT) * ALIGNMENT
    return Plan(tuple(launches), scratch)


def _scratch_dtype(ring: Ring) -> str:
    return str(ring.held.name).removeprefix("u")  # which not all libraries have
