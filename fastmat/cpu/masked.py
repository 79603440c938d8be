"""Fill what masks say: the kernel of `masked_fill` and `mask_rows_cols`.

Items are moved as bits, so five kernels serve all dtypes. Two masks of any strides are read where
they lie: a mask of rows and one of columns are never multiplied out.
"""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.process import num_threads
from fastmat.cpu.blocking import ceil_div
from fastmat.cpu.blocking_masked import CHUNK, CROSSED, SHORT, TASK
from fastmat.cpu.lines import is_packed, packed
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.shuffle import store_fence
from fastmat.cpu.strides import AXES, BITS, address, join_axes, plane, repeating, replaced
from fastmat.cpu.transpose import copy_lines


@kernel(
    lambda dtype: (
        reads(dtype, AXES),
        reads(types.int8, AXES),
        reads(types.int8, AXES),
        reads(dtype, AXES),
        writes(dtype, AXES),
        types.boolean,
        types.intp,
        types.intp,
    ),
    [str(dtype) for dtype in BITS.values()],
    from_python=True,
)
def fill(
    x,  # in (8 axes); axes of length 1 are repeated, here and below
    first,  # in (8 axes), a mask
    second,  # in (8 axes), another
    value,  # in (8 axes)
    out,  # out (8 axes): x itself, or in other memory than all else
    filled,  # what in either mask stands for the value
    parallel,  # bytes of out from which threads pay
    streamed,  # bytes of out above which stores pass by the caches
):
    """out = where((first == filled) | (second == filled), value, x)"""
    if out.size == 0:
        return
    size, nbytes = out.itemsize, out.size * out.itemsize
    strides = out.strides + repeating(x) + repeating(first) + repeating(second) + repeating(value)
    count, shape, strides = join_axes(out.shape, strides)
    along = max(count - 1, 0)
    if shape[along] < SHORT and count > 1 and shape[along - 1] > shape[along]:
        along -= 1
    beside = _crossing(along, shape, strides)
    m, n = shape[beside] if beside != along else 1, shape[along]
    shape = replaced(replaced(shape, along, 1), beside, 1)
    length = min(n, CROSSED if m > 1 else CHUNK // size)
    pieces = ceil_div(n, length)
    units = out.size // n * pieces
    several = max(1, TASK // (length * size))
    arrays = out, x, first, second, value
    plan = (m, n), (along, beside), shape, strides, length, pieces, units, several
    threads = num_threads() if nbytes >= parallel else 1
    args = (arrays, plan, filled, nbytes > streamed and m == 1)
    parallel_for(_fill_some, ceil_div(units, several), threads, args)


@inlined
def _crossing(along, shape, strides):
    """The axis along which x, or what is written, lies closer than along the lines; or `along`."""
    crossing = along
    for axis in range(AXES):
        if shape[axis] > 1:
            for array in range(2):
                here, step = strides[array * AXES + axis], strides[array * AXES + crossing]
                if here != 0 and abs(here) < abs(step):
                    crossing = axis
    return crossing


@task
def _fill_some(args, slot, index):
    """Fill some pieces of lines, those first that lie beside each other."""
    (out, x, first, second, value), plan, filled, streaming = args
    (m, n), (along, beside), shape, s, length, pieces, units, several = plan
    size = out.itemsize
    work = scratch(3 * length, out.dtype)
    marks = scratch(length, types.int8)
    buffers = (
        packed(plane(marks, 0, (length,), (1,))),
        packed(plane(work, 0, (length,), (size,))),
        packed(plane(work, length * size, (length,), (size,))),
        packed(plane(work, 2 * length * size, (length,), (size,))),
    )
    for unit in range(index * several, min((index + 1) * several, units)):
        j, rest = unit % m, unit // m
        start, rest = rest % pieces * length, rest // pieces
        a = j * s[beside] + start * s[along]
        b = j * s[AXES + beside] + start * s[AXES + along]
        c = j * s[2 * AXES + beside] + start * s[2 * AXES + along]
        d = j * s[3 * AXES + beside] + start * s[3 * AXES + along]
        e = j * s[4 * AXES + beside] + start * s[4 * AXES + along]
        for axis in range(AXES - 1, -1, -1):
            if shape[axis] > 1:
                k, rest = rest % shape[axis], rest // shape[axis]
                a += k * s[axis]
                b += k * s[AXES + axis]
                c += k * s[2 * AXES + axis]
                d += k * s[3 * AXES + axis]
                e += k * s[4 * AXES + axis]
        run = (min(length, n - start),)
        _fill_line(
            plane(x, b, run, (s[AXES + along],)),
            plane(first, c, run, (s[2 * AXES + along],)),
            plane(second, d, run, (s[3 * AXES + along],)),
            plane(value, e, run, (s[4 * AXES + along],)),
            plane(out, a, run, (s[along],)),
            filled,
            streaming,
            buffers,
        )
    if streaming:
        store_fence()
    address(work), address(marks)  # keeps them alive till here: planes do not


@inlined
def _fill_line(
    x,  # in (n,)
    first,  # in (n,), a mask
    second,  # in (n,), a mask
    value,  # in (n,)
    out,  # out (n,)
    filled,
    streaming,
    buffers,  # scratch (n or more,): a mask, and three lines
):
    marks, x_buffer, value_buffer, out_buffer = buffers
    one, other = first.strides[0] == 0, second.strides[0] == 0
    if (one and (first[0] != 0) == filled) or (other and (second[0] != 0) == filled):
        _write(value, out, out_buffer, streaming)
        return
    itself = address(x) == address(out)
    if one and other:
        if not itself:
            _write(x, out, out_buffer, streaming)
        return
    wanted = filled
    if one:
        mask = _side_by_side(second, marks, False)
    elif other:
        mask = _side_by_side(first, marks, False)
    else:
        mask, wanted = marks, True
        for j in range(out.shape[0]):
            marks[j] = ((first[j] != 0) == filled) | ((second[j] != 0) == filled)
    numbers = _side_by_side(x, x_buffer, itself)
    target = packed(out) if is_packed(out) and not streaming else out_buffer
    if value.strides[0] == 0:
        single = value[0]
        for j in range(out.shape[0]):
            number = numbers[j]
            target[j] = single if (mask[j] != 0) == wanted else number
    else:
        values = _side_by_side(value, value_buffer, False)
        for j in range(out.shape[0]):
            number, new = numbers[j], values[j]
            target[j] = new if (mask[j] != 0) == wanted else number
    if streaming or not is_packed(out):
        _write(plane(out_buffer, 0, out.shape, (out.itemsize,)), out, out_buffer, streaming)


@inlined
def _side_by_side(
    line,  # in (n,)
    buffer,  # scratch (n or more,)
    copied,  # whether it is to be in the buffer in any case
):
    """The items of a line side by side."""
    if is_packed(line) and not copied:
        return packed(line)
    if is_packed(line):
        source = packed(line)
        for j in range(line.shape[0]):
            buffer[j] = source[j]
    else:
        for j in range(line.shape[0]):
            buffer[j] = line[j]
    return buffer


@inlined
def _write(
    line,  # in (n,)
    out,  # out (n,)
    buffer,  # scratch (n or more,)
    streaming,
):
    """out[...] = line"""
    n, size = out.shape[0], out.itemsize
    if not is_packed(out):
        for j in range(n):
            out[j] = line[j]
        return
    target = plane(out, 0, (1, n), (0, size))
    if is_packed(line):
        copy_lines(plane(line, 0, (1, n), (0, size)), target, streaming)
    elif line.strides[0] != 0:
        side_by_side = packed(out)
        for j in range(n):
            side_by_side[j] = line[j]
    elif streaming:
        single = line[0]
        for j in range(n):
            buffer[j] = single
        copy_lines(plane(buffer, 0, (1, n), (0, size)), target, streaming)
    else:
        single, side_by_side = line[0], packed(out)
        for j in range(n):
            side_by_side[j] = single
