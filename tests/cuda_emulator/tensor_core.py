"""Products of matrices by a warp, and the loads that go with them.

The places of a fragment's numbers are those of the PTX manual: with lane = 4 g + t, a register of
A is in row g or g + 8, one of B in column g, and those of C are in columns 2 t and 2 t + 1.
"""

from __future__ import annotations

import numpy as np

from cuda_emulator.raw import (
    bits_of_double,
    bits_of_float,
    double_of_bits,
    float_of_bits,
    get,
    read_double,
    read_float,
    read_u16,
    within,
    write_double,
    write_float,
)
from cuda_emulator.warp import answer, argument

_F16, _BF16, _TF32, _F64 = range(4)
_UP = np.float32(2.0**112)
SCRATCH_WORDS = 16 * 16 + 16 * 8  # for A and B


@within
def half(bits):
    """The float32 of the bits of a float16."""
    size = float_of_bits((bits & 0x7FFF) << 13) * _UP
    if bits & 0x7C00 == 0x7C00:
        size = float_of_bits(0x7F800000 | ((bits & 0x3FF) << 13))
    return -size if bits & 0x8000 else size


@within
def _number(word, kind, part):
    if kind == _TF32:
        return float_of_bits(word & 0xFFFFE000)  # the hardware ignores the other bits
    bits = (word >> (16 * part)) & 0xFFFF
    return half(bits) if kind == _F16 else float_of_bits(bits << 16)


@within
def mma(mail, scratch, kind, m, k, in_a, in_b):
    """Arguments: registers of A, B and C. Answers: those of A B + C, summed in order of k."""
    if kind == _F64:
        _mma_double(mail, scratch, m, k, in_a, in_b)
        return
    a, b = scratch, scratch + 8 * 16 * 16
    parts = 1 if kind == _TF32 else 2
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        for r in range(in_a):
            for part in range(parts):
                j = parts * t + part + 4 * parts * (r >> 1)
                x = _number(argument(mail, lane, r), kind, part)
                write_float(a + 8 * ((g + 8 * (r & 1)) * k + j), x)
        for r in range(in_b):
            for part in range(parts):
                i = parts * t + part + 4 * parts * r
                write_float(
                    b + 8 * (i * 8 + g), _number(argument(mail, lane, in_a + r), kind, part)
                )
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        for r in range(m // 4):
            total = float_of_bits(argument(mail, lane, in_a + in_b + r))
            row, column = g + 8 * (r >> 1), 2 * t + (r & 1)
            for i in range(k):
                total += read_float(a + 8 * (row * k + i)) * read_float(b + 8 * (i * 8 + column))
            answer(mail, lane, r, bits_of_float(total))


@within
def _mma_double(mail, scratch, m, k, in_a, in_b):
    a, b = scratch, scratch + 8 * 16 * 16
    rows = m // 8
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        for r in range(in_a):
            row, column = g + 8 * (r % rows), t + 4 * (r // rows)
            write_double(a + 8 * (row * k + column), double_of_bits(argument(mail, lane, r)))
        for r in range(in_b):
            x = double_of_bits(argument(mail, lane, in_a + r))
            write_double(b + 8 * ((t + 4 * r) * 8 + g), x)
    for lane in range(32):
        g, t = lane >> 2, lane & 3
        for r in range(m // 4):
            total = double_of_bits(argument(mail, lane, in_a + in_b + r))
            row, column = g + 8 * (r >> 1), 2 * t + (r & 1)
            for i in range(k):
                total += read_double(a + 8 * (row * k + i)) * read_double(b + 8 * (i * 8 + column))
            answer(mail, lane, r, bits_of_double(total))


@within
def load_matrices(mail, addresses, count, transposed):
    """Answers: a register of two 16-bit numbers per matrix; `addresses`: of the rows, by lane."""
    for lane in range(32):
        for i in range(count):
            word = np.int64(0)
            for part in range(2):
                row, column = lane >> 2, 2 * (lane & 3) + part
                if transposed:
                    row, column = column, row
                at = get(addresses, 8 * i + row) + 2 * column
                word |= np.int64(read_u16(at)) << (16 * part)
            answer(mail, lane, i, word)


@within
def _in_swizzled(shared, descriptor, row, k, across):
    """Where an item lies: lines of 128 bytes, whose chunks of 16 are XORed with bits 7 to 9.

    Along k, a line is 64 items of k, and eight rows are a group; across it, a line is 64 rows, and
    eight items of k are a group.
    """
    start = (descriptor & 0x3FFF) << 4
    blocks, groups = ((descriptor >> 16) & 0x3FFF) << 4, ((descriptor >> 32) & 0x3FFF) << 4
    if across:
        at = start + (row >> 6) * blocks + (k >> 3) * groups + (k & 7) * 128 + (row & 63) * 2
    else:
        at = start + (row >> 3) * groups + (row & 7) * 128 + 2 * k
    at ^= ((at >> 7) & 7) << 4
    return shared + ((at - shared) & 0x3FFFF)  # 18 bits of an address are left


@within
def wgmma(mail, shared, kind, n, across_a, across_b, warp):
    """Arguments: a thread's sums, and descriptors of a and b. Answers: sums of 16 rows."""
    count = n // 2
    a, b = argument(mail, 0, count), argument(mail, 0, count + 1)
    for lane in range(32):
        for r in range(count):
            row = 16 * warp + (lane >> 2) + 8 * ((r >> 1) & 1)
            column = 8 * (r >> 2) + 2 * (lane & 3) + (r & 1)
            total = float_of_bits(argument(mail, lane, r))
            for k in range(16):
                x = read_u16(_in_swizzled(shared, a, row, k, across_a))
                y = read_u16(_in_swizzled(shared, b, column, k, across_b))
                total += _number(x, kind, 0) * _number(y, kind, 0)
            answer(mail, lane, r, bits_of_float(total))
