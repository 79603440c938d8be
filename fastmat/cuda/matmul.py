"""Launches of products: which kernel, its variant, the order of operands and axes."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from fastmat.core.precision import current_precision
from fastmat.cuda import driver, tensor_core
from fastmat.cuda.arrays import View, empty
from fastmat.cuda.elements import element
from fastmat.cuda.finishing import Finish
from fastmat.cuda.jobs import Job, Launch
from fastmat.cuda.semirings import Reading, Ring, reading
from fastmat.cuda.stacks import ALIGNMENT, Array, runs, stacked


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
        A name of `epilogues.NAMED`, or a function of the user; None stores sums as they are.
    extras
        Its arrays, broadcast to the result.
    """

    mask: Mask | None = None
    fill: Any = 0
    epilogue: Any = None
    extras: tuple[View, ...] = ()


PLAIN = Program()
_PLAIN_FINISH = Finish()
TENSOR_CORES = ("float16", "bfloat16", "float32", "float64")


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
    finish = _finish(program)
    if ring.name == "plus_times" and a.dtype == b.dtype == c.dtype in TENSOR_CORES:
        if min(c.shape[-2:]) > 1 and _by_tensor_cores(a, b, c, ring, stream, program, finish):
            return
    _by_simt(a, b, c, ring, a_read, b_read, stream, program, finish)


def _finish(program: Program) -> Finish:
    if program is PLAIN:
        return _PLAIN_FINISH
    mask = program.mask
    return Finish(
        "" if mask is None else "band" if mask.blocks is None else "blocks",
        program.fill is None,
        program.epilogue,
        tuple([x.dtype for x in program.extras]),
    )


def _by_tensor_cores(
    a: View, b: View, c: View, ring: Ring, stream: int, program: Program, finish: Finish
) -> bool:
    """The product by tensor cores, if they serve it; what is done with sums comes after it."""
    if c.dtype == "float32" and current_precision() != "tf32":
        return False
    stack = stacked(a, b, c)
    if stack is None:
        return False
    precision = "tf32" if c.dtype == "float32" else None
    if finish.plain:
        return bool(tensor_core.product(*stack, stream, precision=precision))
    if finish.mask:
        return False
    _, sums = empty(stack[2].shape, str(ring.held.name), c)
    if not tensor_core.product(*stack[:2], sums, stream, precision=precision):
        return False
    views = _views(c, c, c, program)
    read = reading(c.dtype, c.dtype)
    _launch(_plan_for(views, ring, (read, read), program, finish, True), views, sums, stream)
    return True


def _by_simt(
    a: View,
    b: View,
    c: View,
    ring: Ring,
    a_read: Reading,
    b_read: Reading,
    stream: int,
    program: Program,
    finish: Finish,
) -> None:
    views = _views(a, b, c, program)
    plan = _plan_for(views, ring, (a_read, b_read), program, finish, False)
    scratch = empty((plan.scratch,), _scratch_dtype(ring), c)[1] if plan.scratch else None
    _launch(plan, views, scratch, stream)


def _views(a: View, b: View, c: View, program: Program) -> list[View]:
    """All arrays of a product: operands, result, blocks of the mask if there are any, extras."""
    if program is PLAIN:
        return [a, b, c]
    mask = program.mask
    if mask is None or mask.blocks is None:
        return [a, b, c, *program.extras]
    return [a, b, c, mask.blocks, *program.extras]


def _plan_for(
    views: list[View],
    ring: Ring,
    reads: tuple[Reading, Reading],
    program: Program,
    finish: Finish,
    computed: bool,
) -> Plan:
    c = views[2]
    mask, fill = program.mask, program.fill
    if fill != fill and isinstance(fill, float):
        fill = math.nan  # which equals itself as a key
    return _plan(
        tuple([(x.shape, x.strides, x.pointer % ALIGNMENT) for x in views]),
        c.dtype, ring, *reads, finish, mask and mask[1:], (fill, str(fill)), computed,
        driver.current.multiprocessors(c.device),
    )  # fmt: skip


def _launch(plan: Plan, views: list[View], scratch: View | None, stream: int) -> None:
    bases = [x.pointer - x.pointer % ALIGNMENT for x in views]
    bases.append(scratch.pointer if scratch is not None else 0)
    device = views[2].device
    for kernel, grid, arguments, places in plan.launches:
        filled = list(arguments)
        for place, of in places:
            filled[place] += bases[of]
        kernel(grid, tuple(filled), stream, device)


@functools.lru_cache(maxsize=4096)
def _plan(
    arrays: tuple[tuple[Any, ...], ...],
    dtype: str,
    ring: Ring,
    a_read: Reading,
    b_read: Reading,
    finish: Finish,
    band: tuple[int, ...] | None,
    fill: tuple[Any, str],  # a number, and its text: 0 and -0.0 are equal
    computed: bool,
    multiprocessors: int,
) -> Plan:
    """The launches of a product, or of what is done with sums that are `computed` already."""
    views = [Array(*x) for x in arrays]
    sizes = [a_read.itemsize, b_read.itemsize, element(dtype).itemsize]
    if finish.mask == "blocks":
        sizes.append(1)
    sizes += [element(x).itemsize for x in finish.extras]
    shape = (*views[2].shape[-2:], views[0].shape[-1])
    launches: list[Launch] = []
    scratch = 0
    for run in runs(views, sizes):
        job = Job(run, *shape, dtype, ring, a_read, b_read, finish, band or (0, 0, 0, 0), fill[0])
        if computed:
            launches.append(job.combined(1, scratch))
            scratch += job.items * job.m * job.n
            continue
        more, sums = job.in_order().launches(multiprocessors, scratch)
        launches += more
        scratch += -(-sums // ALIGNMENT) * ALIGNMENT
    return Plan(tuple(launches), scratch)


def _scratch_dtype(ring: Ring) -> str:
    return str(ring.held.name).removeprefix("u")  # which not all libraries have
