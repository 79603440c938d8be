"""Products of matrices by a warp, and the loads that go with them.

The places of a fragment's numbers are those of the PTX manual: with lane = 4 g + t, a register of
A is in row g or g + 8, one of B in column g, and those of C are in columns 2 t and 2 t + 1.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cuda_emulator.machine import ANSWER, FIRST
from cuda_emulator.raw import (
    bits_of_double,
    bits_of_float,
    double_of_bits,
    float_of_bits,
    read_u16,
)

_F16, _BF16, _TF32, _F64 = range(4)
_UP = np.float32(2.0**112)


@njit
def half(bits):
    """The float32 of the bits of a float16."""
    size = float_of_bits((bits & 0x7FFF) << 13) * _UP
    if bits & 0x7C00 == 0x7C00:
        size = float_of_bits(0x7F800000 | ((bits & 0x3FF) << 13))
    return -size if bits & 0x8000 else size


@njit
def _number(word, kind, part):
    if kind == _TF32:
        return float_of_bits(word & 0xFFFFE000)  # the hardware ignores the other bits
    bits = (word >> (16 * part)) & 0xFFFF
    return half(bits) if kind == _F16 else float_of_bits(bits << 16)


@njit
def mma(mail, first, kind, m, k, in_a, in_b):
    """Arguments: registers of A, B and C. Answers: those of A B + C, summed in order of k."""
    if kind == _F64:
        _mma_double(mail, first, m, k, in_a, in_b)
        return -1
    a = np.zeros((m, k), np.float32)
    b = np.zeros((k, 8), np.float32)
    parts = 1 if kind == _TF32 else 2
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        row = mail[first + lane]
        for r in range(in_a):
            for part in range(parts):
                j = parts * t + part + 4 * parts * (r >> 1)
                a[g + 8 * (r & 1), j] = _number(row[FIRST + r], kind, part)
        for r in range(in_b):
            for part in range(parts):
                i = parts * t + part + 4 * parts * r
                b[i, g] = _number(row[FIRST + in_a + r], kind, part)
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        row = mail[first + lane]
        for r in range(m // 4):
            total = float_of_bits(row[FIRST + in_a + in_b + r])
            for i in range(k):
                total += a[g + 8 * (r >> 1), i] * b[i, 2 * t + (r & 1)]
            row[ANSWER + r] = bits_of_float(total)
    return -1


@njit
def _mma_double(mail, first, m, k, in_a, in_b):
    a = np.zeros((m, k), np.float64)
    b = np.zeros((k, 8), np.float64)
    rows = m // 8
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        row = mail[first + lane]
        for r in range(in_a):
            a[g + 8 * (r % rows), t + 4 * (r // rows)] = double_of_bits(row[FIRST + r])
        for r in range(in_b):
            b[t + 4 * r, g] = double_of_bits(row[FIRST + in_a + r])
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        row = mail[first + lane]
        for r in range(m // 4):
            total = double_of_bits(row[FIRST + in_a + in_b + r])
            for i in range(k):
                total += a[g + 8 * (r >> 1), i] * b[i, 2 * t + (r & 1)]
            row[ANSWER + r] = bits_of_double(total)


@njit
def load_matrices(mail, first, addresses, count, transposed):
    """Answers: a register of two 16-bit numbers per matrix; `addresses`: of the rows, by lane."""
    for lane in range(32):
        for i in range(count):
            word = np.int64(0)
            for part in range(2):
                row, column = lane >> 2, 2 * (lane & 3) + part
                if transposed:
                    row, column = column, row
                word |= np.int64(read_u16(addresses[8 * i + row] + 2 * column)) << (16 * part)
            mail[first + lane, ANSWER + i] = word
    return -1
