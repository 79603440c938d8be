"""The fibers of a block, run one at a time in random order until each has to wait.

All of it is compiled: Python is left once for all blocks of a launch.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cuda_emulator import copies as async_copies
from cuda_emulator import operations as op
from cuda_emulator import warp
from cuda_emulator.cache import cached
from cuda_emulator.fibers import (
    ALIVE,
    ARRIVED,
    BAD_ACCESS,
    BARRIERS_DIFFER,
    DONE,
    EXITED,
    FULL,
    IN_BLOCK,
    IN_WARP,
    NOBODY,
    NOT_IN_MASK,
    READY,
    SPINNING,
    STUCK,
    WARP_WORDS,
    copies_of,
    copy,
    end,
    mail_of,
    mask_of,
    row_of,
    together,
)
from cuda_emulator.machine import (
    ANSWER,
    BLOCK,
    BLOCKS,
    FIBER,
    FIRST,
    MAIL,
    OPERATION,
    SCHEDULER,
    SITE,
    THREAD,
    THREADS,
)
from cuda_emulator.raw import call, fill, get, put, within

_PATIENCE = 1 << 20  # how often fibers may yield with nothing else going on


@within
def _random(fibers, n):
    """A number below n."""
    x = get(fibers.seed, 0)
    x ^= x << 13
    x ^= (x >> 7) & 0x1FFFFFFFFFFFFFF
    x ^= x << 17
    put(fibers.seed, 0, x)
    return (x & 0x7FFFFFFFFFFFFFFF) % n


@within
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
        async_copies.begin(copies_of(fibers, f))
    fill(code.shared, 0xFF, code.shared_size)


@within
def _complete(fibers, first, lanes, number, mask, row, site):
    """Whether all lanes have come for an operation."""
    kind = get(row, 0)
    sited = kind == op.SHUFFLE or kind == op.VOTE or kind == op.MATCH or kind == op.REDUX
    for lane in range(32):
        if warp.has(lanes, lane):
            f = first + lane
            if (
                get(fibers.doing, f) != IN_WARP
                or get(mail_of(fibers, f), OPERATION) != number
                or mask_of(fibers, f, kind) != mask
                or (sited and get(mail_of(fibers, f), SITE) != site)
            ):
                return False
    return True


@within
def _gather(fibers, code, first, ready_count):
    """Do every operation of a warp that all its lanes have come for: how many are ready then."""
    state = fibers.warps + 8 * WARP_WORDS * (first // 32)
    alive = get(state, ALIVE)
    for lane in range(32):
        f = first + lane
        if not warp.has(alive, lane) or get(fibers.doing, f) != IN_WARP:
            continue
        row = row_of(fibers, code, f)
        mask = mask_of(fibers, f, get(row, 0))
        if not warp.has(mask, lane):
            end(fibers, NOT_IN_MASK, f)
            return -1
        lanes = mask & alive
        mail = mail_of(fibers, f)
        if not _complete(fibers, first, lanes, get(mail, OPERATION), mask, row, get(mail, SITE)):
            continue
        if together(fibers, code, first, lanes, row) != DONE:
            return -1
        for other in range(32):
            if warp.has(lanes, other):
                put(fibers.doing, first + other, READY)
                put(fibers.ready, ready_count, first + other)
                put(state, ARRIVED, get(state, ARRIVED) - 1)
                ready_count += 1
    return ready_count


@within
def _barrier(fibers, n, reduction):
    """All threads have come to a barrier: let them go on with its answer."""
    first = fibers.mail
    true = 0
    for f in range(n):
        mail = mail_of(fibers, f)
        if get(mail, SITE) != get(first, SITE) or get(mail, OPERATION) != get(first, OPERATION):
            return end(fibers, BARRIERS_DIFFER, f)
        if get(mail, FIRST) & FULL:
            true += 1
    if reduction == 1:
        true = np.int64(true == n)
    elif reduction == 2:
        true = np.int64(true > 0)
    for f in range(n):
        put(mail_of(fibers, f), ANSWER, true)
        put(fibers.doing, f, READY)
        put(fibers.ready, f, f)
    return DONE


@within
def _switch(fibers, code, f):
    """Run a fiber until it asks for something: the operation."""
    put(code.state, FIBER, get(fibers.pointers, f))
    put(code.state, MAIL, mail_of(fibers, f))
    put(code.state, THREAD, f)
    call(code.switch, code.state + 8 * SCHEDULER, code.state + 8 * FIBER)
    put(fibers.pointers, f, get(code.state, FIBER))
    return row_of(fibers, code, f)


@within
def _run_fiber(fibers, code, f):
    """Run a fiber until it needs others: the operation that it waits for, or 0."""
    while True:
        row = _switch(fibers, code, f)
        kind = get(row, 0)
        if kind == op.COPY:
            if copy(fibers, code, f, get(row, 1), get(row, 2)) != DONE:
                return 0
        elif kind == op.COMMIT:
            async_copies.commit(copies_of(fibers, f))
        elif kind == op.WAIT:
            async_copies.wait(copies_of(fibers, f), get(row, 1))
        elif kind == op.ACTIVE:
            put(mail_of(fibers, f), ANSWER, get(fibers.warps, WARP_WORDS * (f // 32) + ALIVE))
        elif kind == op.FAULT:
            end(fibers, BAD_ACCESS, f)
            return 0
        else:
            return row


@within
def _count(mask):
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@within
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
                end(fibers, SPINNING, f)
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
            whole = mask_of(fibers, f, kind) == FULL
        arrived = get(state, ARRIVED)
        # What is for all lanes cannot be complete before all are there.
        if arrived and (not whole or arrived == _count(get(state, ALIVE))):
            ready_count = _gather(fibers, code, f - f % 32, ready_count)
            if ready_count < 0:
                return
    for f in range(n):
        if get(fibers.doing, f) != EXITED:
            end(fibers, STUCK, f)
            return


@cached
@njit
def run(fibers, code, blocks, count):
    """Run blocks in this order; how that ends is in `fibers.result`."""
    end(fibers, DONE, NOBODY)
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
