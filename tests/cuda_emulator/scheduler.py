"""The fibers of a block, run one at a time in random order until each has to wait.

All of it is compiled: Python is left once for all blocks of a launch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cuda_emulator import copies as async_copies
from cuda_emulator import operations as op
from cuda_emulator import tensor_core, warp
from cuda_emulator.cache import cached
from cuda_emulator.machine import (
    ANSWER,
    BLOCK,
    BLOCKS,
    FIBER,
    FIRST,
    MAIL,
    MAIL_WORDS,
    OPERATION,
    RANGE_COUNT,
    RANGES,
    SCHEDULER,
    SITE,
    THREAD,
    THREADS,
)
from cuda_emulator.memory import RANGE_WORDS
from cuda_emulator.raw import call, fill, get, put

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
) = range(8)

# What a fiber does
READY, IN_WARP, IN_BLOCK, EXITED = range(4)

# Words of a warp: lanes that have not exited, lanes that are in an operation of the warp
ALIVE, ARRIVED, WARP_WORDS = range(3)

_FULL = np.int64(0xFFFFFFFF)
_PATIENCE = 1 << 20  # how often fibers may yield with nothing else going on


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


@njit
def _random(fibers, n):
    """A number below n."""
    x = get(fibers.seed, 0)
    x ^= x << 13
    x ^= (x >> 7) & 0x1FFFFFFFFFFFFFF
    x ^= x << 17
    put(fibers.seed, 0, x)
    return (x & 0x7FFFFFFFFFFFFFFF) % n


@njit
def _mail(fibers, f):
    return fibers.mail + 8 * MAIL_WORDS * f


@njit
def _copies(fibers, f):
    return fibers.copies + 8 * async_copies.THREAD_WORDS * f


@njit
def _end(fibers, status, f):
    """Note how a launch ends, and whose fault it is."""
    put(fibers.result, 0, status)
    put(fibers.result, 1, f)
    return status


@njit
def _begin(fibers, code, n):
    """Every fiber starts the kernel when it is first switched to."""
    for w in range((n + 31) // 32):
        lanes = min(32, n - 32 * w)
        put(fibers.warps, WARP_WORDS * w + ALIVE, (np.int64(1) << lanes) - 1)
        put(fibers.warps, WARP_WORDS * w + ARRIVED, 0)
    for f in range(n):
        top = fibers.stacks + (f + 1) * fibers.stack_size - 64
        fill(top, 0, 64)
        put(top, 6, code.start)  # below it are the registers of the switch
        put(fibers.pointers, f, top)
        put(fibers.doing, f, READY)
        put(fibers.ready, f, f)
        async_copies.begin(_copies(fibers, f))
    fill(code.shared, 0xFF, code.shared_size)


@njit
def _shared_address(code, address):
    """The host's address of one in shared memory, of which 32 bits may be left."""
    return code.shared + ((address - code.shared) & _FULL)


@njit
def _bad(fibers, code, f, address, size, aligned, written):
    """Whether an access is an error; the fiber's mail then tells of it."""
    if address & (aligned - 1) == 0:
        ranges = get(code.state, RANGES)
        for i in range(get(code.state, RANGE_COUNT)):
            row = ranges + 8 * RANGE_WORDS * i
            if address >= get(row, 0) and address + size <= get(row, 1) and get(row, 2) >= written:
                return False
    mail = _mail(fibers, f)
    put(mail, SITE, -1)
    put(mail, FIRST, address)
    put(mail, FIRST + 1, size)
    put(mail, FIRST + 2, aligned - 1)
    put(mail, FIRST + 3, written)
    return True


@njit
def _copy(fibers, code, f, size, given):
    """Ask for an asynchronous copy: arguments are the target, the source, the bytes to read."""
    mail = _mail(fibers, f)
    target = _shared_address(code, get(mail, FIRST))
    source = get(mail, FIRST + 1)
    read = size
    if given:
        read = min(size, get(mail, FIRST + 2) & _FULL)
    if _bad(fibers, code, f, target, size, size, 1):
        return _end(fibers, BAD_ACCESS, f)
    if read > 0 and _bad(fibers, code, f, source, read, size, 0):
        return _end(fibers, BAD_ACCESS, f)
    if not async_copies.ask(_copies(fibers, f), target, source, size, read):
        return _end(fibers, TOO_MANY, f)
    return DONE


@njit
def _load_matrices(fibers, code, first, count, transposed):
    mail = _mail(fibers, first)
    for lane in range(8 * count):
        address = _shared_address(code, warp.argument(mail, lane, 0))
        if _bad(fibers, code, first + lane, address, 16, 16, 0):
            return _end(fibers, BAD_ACCESS, first + lane)
        put(fibers.scratch, lane, address)
    tensor_core.load_matrices(mail, fibers.scratch, count, transposed)
    return DONE


@njit
def _together(fibers, code, first, lanes, row):
    """Do what lanes have all come for."""
    kind = get(row, 0)
    mail = _mail(fibers, first)
    if kind == op.SHUFFLE:
        wrong = warp.shuffle(mail, lanes, get(row, 1))
        if wrong >= 0:
            return _end(fibers, NOT_TAKING_PART, first + wrong)
    elif kind == op.VOTE:
        warp.vote(mail, lanes, get(row, 1))
    elif kind == op.MATCH:
        warp.match(mail, lanes, get(row, 1))
    elif kind == op.REDUX:
        warp.reduce(mail, lanes, get(row, 1), get(row, 2))
    elif kind == op.MMA or kind == op.LDMATRIX:
        if lanes != _FULL:
            return _end(fibers, NOT_TAKING_PART, first)
        if kind == op.LDMATRIX:
            return _load_matrices(fibers, code, first, get(row, 1), get(row, 2))
        tensor_core.mma(
            mail, fibers.scratch, get(row, 1), get(row, 2), get(row, 3), get(row, 4), get(row, 5)
        )
    return DONE


@njit
def _row(fibers, code, f):
    """The operation that a fiber asks for."""
    return code.table + 8 * op.WIDTH * get(_mail(fibers, f), OPERATION)


@njit
def _mask(fibers, f, kind):
    """The lanes that an operation of a warp waits for."""
    if kind == op.MMA or kind == op.LDMATRIX:
        return _FULL
    return get(_mail(fibers, f), FIRST) & _FULL


@njit
def _complete(fibers, first, lanes, number, mask, kind):
    """Whether all lanes have come for an operation."""
    for lane in range(32):
        if warp.has(lanes, lane):
            f = first + lane
            if (
                get(fibers.doing, f) != IN_WARP
                or get(_mail(fibers, f), OPERATION) != number
                or _mask(fibers, f, kind) != mask
            ):
                return False
    return True


@njit
def _gather(fibers, code, first, ready_count):
    """Do every operation of a warp that all its lanes have come for: how many are ready then."""
    state = fibers.warps + 8 * WARP_WORDS * (first // 32)
    alive = get(state, ALIVE)
    for lane in range(32):
        f = first + lane
        if not warp.has(alive, lane) or get(fibers.doing, f) != IN_WARP:
            continue
        row = _row(fibers, code, f)
        mask = _mask(fibers, f, get(row, 0))
        if not warp.has(mask, lane):
            _end(fibers, NOT_IN_MASK, f)
            return -1
        lanes = mask & alive
        if not _complete(fibers, first, lanes, get(_mail(fibers, f), OPERATION), mask, get(row, 0)):
            continue
        if _together(fibers, code, first, lanes, row) != DONE:
            return -1
        for other in range(32):
            if warp.has(lanes, other):
                put(fibers.doing, first + other, READY)
                put(fibers.ready, ready_count, first + other)
                put(state, ARRIVED, get(state, ARRIVED) - 1)
                ready_count += 1
    return ready_count


@njit
def _barrier(fibers, n, reduction):
    """All threads have come to a barrier: let them go on with its answer."""
    first = _mail(fibers, 0)
    true = 0
    for f in range(n):
        mail = _mail(fibers, f)
        if get(mail, SITE) != get(first, SITE) or get(mail, OPERATION) != get(first, OPERATION):
            return _end(fibers, BARRIERS_DIFFER, f)
        if get(mail, FIRST) & _FULL:
            true += 1
    if reduction == 1:
        true = np.int64(true == n)
    elif reduction == 2:
        true = np.int64(true > 0)
    for f in range(n):
        put(_mail(fibers, f), ANSWER, true)
        put(fibers.doing, f, READY)
        put(fibers.ready, f, f)
    return DONE


@njit
def _switch(fibers, code, f):
    """Run a fiber until it asks for something: the operation."""
    put(code.state, FIBER, get(fibers.pointers, f))
    put(code.state, MAIL, _mail(fibers, f))
    put(code.state, THREAD, f)
    call(code.switch, code.state + 8 * SCHEDULER, code.state + 8 * FIBER)
    put(fibers.pointers, f, get(code.state, FIBER))
    return _row(fibers, code, f)


@njit
def _run_fiber(fibers, code, f):
    """Run a fiber until it needs others: the operation that it waits for, or 0."""
    while True:
        row = _switch(fibers, code, f)
        kind = get(row, 0)
        if kind == op.COPY:
            if _copy(fibers, code, f, get(row, 1), get(row, 2)) != DONE:
                return 0
        elif kind == op.COMMIT:
            async_copies.commit(_copies(fibers, f))
        elif kind == op.WAIT:
            async_copies.wait(_copies(fibers, f), get(row, 1))
        elif kind == op.ACTIVE:
            put(_mail(fibers, f), ANSWER, get(fibers.warps, WARP_WORDS * (f // 32) + ALIVE))
        elif kind == op.FAULT:
            _end(fibers, BAD_ACCESS, f)
            return 0
        else:
            return row


@njit
def _count(mask):
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@njit
def _run_block(fibers, code, n):
    """Run a block to its end."""
    _begin(fibers, code, n)
    ready_count = n
    at_barrier = 0
    yielded = 0
    while ready_count:
        k = _random(fibers, ready_count)
        f = get(fibers.ready, k)
        ready_count -= 1
        put(fibers.ready, k, get(fibers.ready, ready_count))
        row = _run_fiber(fibers, code, f)
        if row == 0:
            return
        kind = get(row, 0)
        if kind == op.YIELD:
            put(fibers.ready, ready_count, f)
            ready_count += 1
            yielded += 1
            if yielded == _PATIENCE:
                _end(fibers, SPINNING, f)
                return
            continue
        yielded = 0
        if kind == op.BARRIER:
            put(fibers.doing, f, IN_BLOCK)
            at_barrier += 1
            if at_barrier == n:
                if _barrier(fibers, n, get(row, 1)) != DONE:
                    return
                at_barrier = 0
                ready_count = n
            continue
        state = fibers.warps + 8 * WARP_WORDS * (f // 32)
        whole = False
        if kind == op.EXIT:
            put(fibers.doing, f, EXITED)
            put(state, ALIVE, get(state, ALIVE) & ~(np.int64(1) << (f & 31)))
        else:
            put(fibers.doing, f, IN_WARP)
            put(state, ARRIVED, get(state, ARRIVED) + 1)
            whole = _mask(fibers, f, kind) == _FULL
        arrived = get(state, ARRIVED)
        # What is for all lanes cannot be complete before all are there.
        if arrived and (not whole or arrived == _count(get(state, ALIVE))):
            ready_count = _gather(fibers, code, f - f % 32, ready_count)
            if ready_count < 0:
                return
    for f in range(n):
        if get(fibers.doing, f) != EXITED:
            _end(fibers, STUCK, f)
            return


@cached
@njit
def run(fibers, code, blocks, count):
    """Run blocks in this order; how that ends is in `fibers.result`."""
    _end(fibers, DONE, -1)
    x, y = get(code.state, BLOCKS), get(code.state, BLOCKS + 1)
    for i in range(count):
        b = get(blocks, i)
        put(code.state, BLOCK, b % x)
        put(code.state, BLOCK + 1, b // x % y)
        put(code.state, BLOCK + 2, b // x // y)
        put(fibers.result, 2, b)
        _run_block(fibers, code, get(code.state, THREADS))
        if get(fibers.result, 0) != DONE:
            return
