"""What the scheduler keeps of each fiber, and what fibers may do alone or in warps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cuda_emulator import copies as async_copies
from cuda_emulator import operations as op
from cuda_emulator import tensor_core, warp
from cuda_emulator.machine import FIRST, MAIL_WORDS, OPERATION, RANGE_COUNT, RANGES, SITE
from cuda_emulator.memory import RANGE_WORDS
from cuda_emulator.raw import get, put, within

# How a launch ends
(
    DONE,
    BAD_ACCESS,
    STUCK,
    BARRIERS_DIFFER,
    NOT_TAKING_PART,
    NOT_IN_MASK,
    TOO_MANY,
    SPINNING,
) = map(np.int64, range(8))

# What a fiber does
READY, IN_WARP, IN_BLOCK, EXITED = range(4)

# Words of a warp: lanes that have not exited, lanes that are in an operation of the warp
ALIVE, ARRIVED, WARP_WORDS = range(3)

FULL = np.int64(0xFFFFFFFF)
NOBODY = np.int64(-1)
READ, WRITE = np.int64(0), np.int64(1)
_ROW = np.int64(16)  # bytes of a row that ldmatrix reads


class Code(NamedTuple):
    """Addresses of a module, and the size of its shared memory."""

    switch: int
    start: int
    state: int
    table: int  # of operations
    shared: int
    shared_size: int


class Fibers(NamedTuple):
    """Addresses of what fibers need: words, but for the stacks."""

    stacks: int
    stack_size: int
    pointers: int  # of the stacks
    mail: int
    doing: int
    ready: int  # those that can run
    warps: int
    copies: int
    scratch: int
    seed: int
    result: int  # how a launch ended, which fiber is to blame, and in which block


@within
def mail_of(fibers, f):
    return fibers.mail + 8 * MAIL_WORDS * f


@within
def copies_of(fibers, f):
    return fibers.copies + 8 * async_copies.THREAD_WORDS * f


@within
def end(fibers, status, f):
    """Note how a launch ends, and whose fault it is."""
    put(fibers.result, 0, status)
    put(fibers.result, 1, f)
    return status


@within
def row_of(fibers, code, f):
    """The operation that a fiber asks for."""
    return code.table + 8 * op.WIDTH * get(mail_of(fibers, f), OPERATION)


@within
def mask_of(fibers, f, kind):
    """The lanes that an operation of a warp waits for."""
    if kind == op.MMA or kind == op.LDMATRIX or kind == op.WGMMA:
        return FULL
    return get(mail_of(fibers, f), FIRST) & FULL


@within
def _shared_address(code, address):
    """The host's address of one in shared memory, of which 32 bits may be left."""
    return code.shared + ((address - code.shared) & FULL)


@within
def _bad(fibers, code, f, address, size, aligned, written):
    """Whether an access is an error; the fiber's mail then tells of it."""
    if address & (aligned - 1) == 0:
        ranges = get(code.state, RANGES)
        for i in range(get(code.state, RANGE_COUNT)):
            row = ranges + 8 * RANGE_WORDS * i
            if address >= get(row, 0) and address + size <= get(row, 1) and get(row, 2) >= written:
                return False
    mail = mail_of(fibers, f)
    put(mail, SITE, -1)
    put(mail, FIRST, address)
    put(mail, FIRST + 1, size)
    put(mail, FIRST + 2, aligned - 1)
    put(mail, FIRST + 3, written)
    return True


@within
def copy(fibers, code, f, size, given):
    """Ask for an asynchronous copy: arguments are the target, the source, the bytes to read."""
    mail = mail_of(fibers, f)
    target = _shared_address(code, get(mail, FIRST))
    source = get(mail, FIRST + 1)
    read = size
    if given:
        read = min(size, get(mail, FIRST + 2) & FULL)
    if _bad(fibers, code, f, target, size, size, WRITE):
        return end(fibers, BAD_ACCESS, f)
    if read > 0 and _bad(fibers, code, f, source, read, size, READ):
        return end(fibers, BAD_ACCESS, f)
    if not async_copies.ask(copies_of(fibers, f), target, source, size, read):
        return end(fibers, TOO_MANY, f)
    return DONE


@within
def _load_matrices(fibers, code, first, count, transposed):
    mail = mail_of(fibers, first)
    for lane in range(8 * count):
        address = _shared_address(code, warp.argument(mail, lane, warp.MASK))
        if _bad(fibers, code, first + lane, address, _ROW, _ROW, READ):
            return end(fibers, BAD_ACCESS, first + lane)
        put(fibers.scratch, lane, address)
    tensor_core.load_matrices(mail, fibers.scratch, count, transposed)
    return DONE


@within
def together(fibers, code, first, lanes, row):
    """Do what lanes have all come for."""
    kind = get(row, 0)
    mail = mail_of(fibers, first)
    if kind == op.SHUFFLE:
        wrong = warp.shuffle(mail, lanes, get(row, 1))
        if wrong >= 0:
            return end(fibers, NOT_TAKING_PART, first + wrong)
    elif kind == op.VOTE:
        warp.vote(mail, lanes, get(row, 1))
    elif kind == op.MATCH:
        warp.match(mail, lanes, get(row, 1))
    elif kind == op.REDUX:
        warp.reduce(mail, lanes, get(row, 1), get(row, 2))
    elif kind == op.MMA or kind == op.LDMATRIX or kind == op.WGMMA:
        if lanes != FULL:
            return end(fibers, NOT_TAKING_PART, first)
        if kind == op.LDMATRIX:
            return _load_matrices(fibers, code, first, get(row, 1), get(row, 2))
        if kind == op.WGMMA:
            tensor_core.wgmma(
                mail, code.shared, get(row, 1), get(row, 2), get(row, 3), get(row, 4),
                (first >> 5) & 3,
            )  # fmt: skip
            return DONE
        tensor_core.mma(
            mail, fibers.scratch, get(row, 1), get(row, 2), get(row, 3), get(row, 4), get(row, 5)
        )
    return DONE
