"""What the lanes of a warp do together: shuffles, votes, matches, reductions.

Each function gets the mail of all fibers, the first fiber of the warp, and the lanes that take
part, as a mask. It returns the lane that did something wrong, or -1.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cuda_emulator.machine import ANSWER, FIRST

_ALL = np.int64(0xFFFFFFFF)


@njit
def shuffle(mail, first, lanes, mode):
    """Arguments: mask, value, lane or distance, clamp. Answers: value, whether it was in range."""
    for lane in range(32):
        if not (lanes >> lane) & 1:
            continue
        value = mail[first + lane, FIRST + 1]
        b = mail[first + lane, FIRST + 2] & 31
        c = mail[first + lane, FIRST + 3]
        segment = (c >> 8) & 31
        highest = (lane & segment) | (c & 31 & ~segment)
        lowest = lane & segment
        if mode == 0:
            source = lowest | (b & ~segment)
            within = source <= highest
        elif mode == 1:
            source = lane - b
            within = source >= highest
        elif mode == 2:
            source = lane + b
            within = source <= highest
        else:
            source = lane ^ b
            within = source <= highest
        if within:
            if not (lanes >> source) & 1:
                return lane
            value = mail[first + source, FIRST + 1]
        mail[first + lane, ANSWER] = value
        mail[first + lane, ANSWER + 1] = np.int64(within)
    return -1


@njit
def vote(mail, first, lanes, mode):
    """Arguments: mask, predicate. Answers: ballot, whether all, any, or all the same."""
    ballot = np.int64(0)
    for lane in range(32):
        if (lanes >> lane) & 1 and mail[first + lane, FIRST + 1] & 1:
            ballot |= np.int64(1) << lane
    if mode == 0:
        result = ballot == lanes
    elif mode == 1:
        result = ballot != 0
    else:
        result = ballot == 0 or ballot == lanes
    for lane in range(32):
        if (lanes >> lane) & 1:
            mail[first + lane, ANSWER] = ballot
            mail[first + lane, ANSWER + 1] = np.int64(result)
    return -1


@njit
def match(mail, first, lanes, mode):
    """Arguments: mask, value. Answers: the lanes with the same value (or all lanes, or none)."""
    for lane in range(32):
        if not (lanes >> lane) & 1:
            continue
        same = np.int64(0)
        for other in range(32):
            if (lanes >> other) & 1 and (
                mail[first + other, FIRST + 1] == mail[first + lane, FIRST + 1]
            ):
                same |= np.int64(1) << other
        if mode == 1 and same != lanes:
            same = np.int64(0)
        mail[first + lane, ANSWER] = same
        mail[first + lane, ANSWER + 1] = np.int64(same != 0)
    return -1


@njit
def reduce(mail, first, lanes, operation, signed):
    """Arguments: mask, value of 32 bits. Answer: the values of all lanes, combined."""
    result = np.int64(0)
    begun = False
    for lane in range(32):
        if not (lanes >> lane) & 1:
            continue
        value = mail[first + lane, FIRST + 1] & _ALL
        if signed and value >> 31:
            value -= np.int64(1) << 32
        if not begun:
            result = value
        elif operation == 0:
            result += value
        elif operation == 1:
            result = min(result, value)
        elif operation == 2:
            result = max(result, value)
        elif operation == 3:
            result &= value
        elif operation == 4:
            result |= value
        else:
            result ^= value
        begun = True
    for lane in range(32):
        if (lanes >> lane) & 1:
            mail[first + lane, ANSWER] = result & _ALL
    return -1
