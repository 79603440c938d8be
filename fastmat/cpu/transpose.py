"""Transpose: the kernels.

Any permutation of axes is a copy from one set of strides to another. Axes that can be walked as
one are merged; of those left two matter: `inner`, along which the target is contiguous, and
`outer`, along which the source is. They span a plane, which is cut into blocks that suit L1 and
the TLB and moved tile by tile in registers; all other axes only count planes.
"""

from numba import types

from fastmat.core.compile import kernel, reads, writes
from fastmat.core.inline import inlined
from fastmat.core.process import num_threads
from fastmat.cpu.blocking_transpose import LONG, TASKS_PER_THREAD
from fastmat.cpu.parallel import parallel_for, task
from fastmat.cpu.scratch import scratch
from fastmat.cpu.shuffle import (
    LANE,
    LINE,
    copy_lane,
    copy_line,
    store_fence,
    tile_side,
    transpose_column,
    transpose_lane,
    transpose_line,
    transpose_tile,
)
from fastmat.cpu.strides import AXES, BITS, address, merge_axes, offset, plane, replaced

STRAIGHT, TILED, STAGED, SCALAR = range(4)  # how planes are moved: see _move


@kernel(
    lambda dtype: (reads(dtype, AXES), writes(dtype, AXES), *[types.intp] * 7),
    [str(dtype) for dtype in BITS.values()],
    from_python=True,
)
def assign(
    src,  # in (8 axes)
    dst,  # out, the same shape, in other memory
    run,  # this and what follows: blocking_transpose.Tuning
    parallel,
    streamed,
    rows,
    columns,
    streamed_rows,
    streamed_columns,
):
    """dst[...] = src."""
    if dst.size == 0:
        return
    size, nbytes = dst.itemsize, dst.size * dst.itemsize
    line = LINE // size
    threads = num_threads() if nbytes >= parallel else 1
    share = dst.size // (threads * TASKS_PER_THREAD)

    count, shape, source, target = merge_axes(src.shape, src.strides, dst.strides)
    inner = max(count - 1, 0)
    outer = _outer_axis(inner, shape, source)
    n = shape[inner]
    m = shape[outer] if outer != inner else 1
    shape = replaced(replaced(shape, inner, 1), outer, 1)
    strides = source[outer], source[inner], target[outer], target[inner]
    streaming = nbytes > streamed and _items_aligned(dst)

    tile, mode = (0, 0), SCALAR
    if target[inner] == size == source[inner] and n * size >= LANE:
        mode = STRAIGHT
        streaming = streaming and n >= LONG * line
    elif target[inner] == size == source[outer]:
        tile = _tile(src, n, m)
        whole = address(dst) % LINE == 0 and n % line == 0
        direct = tile[0] == line and target[outer] % LINE == 0 and (whole or n >= LONG * line)
        dense = target[outer] == n * size and n <= streamed_rows * line
        dense = dense and 4 * m * n * size >= run
        if tile[0] > 0:
            mode = STAGED if streaming and dense and not direct else TILED
        streaming = streaming and (direct or dense)
    streaming = streaming and mode != SCALAR

    if mode == STRAIGHT:
        cells = max(min(run // size, share), 1)
        height = min(n, _whole_lines(cells, line))
    elif mode == STAGED:
        cells, height = max(min(run // size, share), line * n), n
    else:
        if streaming:
            rows, columns = streamed_rows, streamed_columns
        height = min(n, rows * line)
        cells = max(min(rows * columns * line * line, share), rows * line)
    width = min(m, _whole_lines(cells // height, line))
    if mode != STAGED:
        height = min(n, _whole_lines(cells // width, line))

    planes = max(cells // (m * n), 1)
    batch = dst.size // (m * n), planes, _last_axis(shape), shape, source, target
    blocks = -(-m // width), -(-n // height)
    run = max(run // (16 * m * n * size), 1) if mode == SCALAR else planes
    args = (src, dst, batch, (m, n), strides, blocks, (width, height), run, mode, tile, streaming)
    parallel_for(_move, -(-batch[0] // planes) * blocks[0] * blocks[1], threads, args)


@inlined
def _items_aligned(array):
    """Whether every item lies at a multiple of its size."""
    distances = address(array)
    for stride in array.strides:
        distances |= stride
    return distances % array.itemsize == 0


@inlined
def _outer_axis(inner, shape, source):
    """The axis along which the source lies closest, or the next best if that is `inner`."""
    closest = inner
    for axis in range(inner):
        if source[axis] != 0 and abs(source[axis]) < abs(source[closest]):
            closest = axis
    return closest if closest != inner else max(inner - 1, 0)


@inlined
def _last_axis(shape):
    """The last axis of more than one item."""
    last = 0
    for axis in range(AXES):
        if shape[axis] > 1:
            last = axis
    return last


@inlined
def _tile(array, n, m):
    """Rows and columns of the tiles that an (n, m) plane is cut into, 0 if it is too narrow."""
    line, side = 2 * tile_side(array), largest_tile(array, min(n, m))
    if n >= line > side > 0:
        return line, tile_side(array) // 2
    return side, side


@inlined
def largest_tile(array, extent):
    """The side of the largest tile that fits, 0 if none does."""
    side = 2 * tile_side(array)
    for _ in range(2):
        if extent < side:
            side //= 2
    return side if extent >= side else 0


@inlined
def _whole_lines(items, line):
    return items - items % line if items > line else max(items, 1)


@task
def _move(args, slot, index):
    """Move one block of one plane, or several whole planes."""
    src, dst, batch, (m, n), strides, blocks, (width, height), longest, mode, tile, streaming = args
    total, planes, along, shape, source, target = batch
    block, group = index % (blocks[0] * blocks[1]), index // (blocks[0] * blocks[1])
    i, j = block // blocks[0] * height, block % blocks[0] * width
    i_end, j_end = min(i + height, n), min(j + width, m)
    number, end = group * planes, min(group * planes + planes, total)
    while number < end:
        # Planes that lie at constant distances.
        run = min(shape[along] - number % shape[along], end - number, longest)
        a = plane(src, offset(number, shape, source), (run, m, n), (source[along], *strides[:2]))
        b = plane(dst, offset(number, shape, target), (run, m, n), (target[along], *strides[2:]))
        if mode == STRAIGHT:
            _copy_rows(a, b, i, i_end, j, j_end, streaming)
        elif mode == SCALAR:
            _copy_items(a, b, i, i_end, j, j_end)
        else:
            _transpose_tiles(a, b, i, i_end, j, j_end, tile, streaming, mode == STAGED)
        number += run
    if streaming:
        store_fence()


@inlined
def _part(planes, number, j, i, m, n):
    """The m rows from j on, and n items of each from i on, of one plane."""
    s0, s1, s2 = planes.strides
    return plane(planes, number * s0 + j * s1 + i * s2, (m, n), (s1, s2))


@inlined
def _copy_items(
    src,  # in (planes, m, n)
    dst,  # out (planes, m, n)
    i,
    i_end,
    j,
    j_end,
):
    """dst[:, j:j_end, i:i_end] = src[:, j:j_end, i:i_end]"""
    planes, m, n = src.shape[0], j_end - j, i_end - i
    if planes > m:
        for row in range(j, j_end):
            s, d = src.strides, dst.strides
            a = plane(src, row * s[1] + i * s[2], (planes, n), (s[0], s[2]))
            b = plane(dst, row * d[1] + i * d[2], (planes, n), (d[0], d[2]))
            _copy_plane(a, b)
    else:
        for number in range(planes):
            _copy_plane(_part(src, number, j, i, m, n), _part(dst, number, j, i, m, n))


@inlined
def _copy_plane(src, dst):
    """dst[...] = src, by as many columns as write one line where rows are many."""
    m, n = dst.shape
    line = LINE // dst.itemsize
    step = line if m >= line else n
    for start in range(0, n, step):
        a, b = _columns(src, start, step), _columns(dst, start, step)
        rows, columns = b.shape
        if columns >= line:
            for j in range(rows):
                for i in range(columns):
                    b[j, i] = a[j, i]
        else:
            for i in range(columns):
                for j in range(rows):
                    b[j, i] = a[j, i]


@inlined
def _columns(array, start, count):
    """Up to so many columns from start on."""
    m, n = array.shape
    return plane(array, start * array.strides[1], (m, min(count, n - start)), array.strides)


@inlined
def _copy_rows(
    src,  # in (planes, m, n), unit stride along n
    dst,  # out (planes, m, n), unit stride along n
    i,
    i_end,
    j,
    j_end,
    streaming,
):
    """dst[:, j:j_end, i:i_end] = src[:, j:j_end, i:i_end]"""
    for number in range(src.shape[0]):
        copy_lines(
            _part(src, number, j, i, j_end - j, i_end - i),
            _part(dst, number, j, i, j_end - j, i_end - i),
            streaming,
        )


@inlined
def copy_lines(src, dst, streaming):
    """dst[...] = src, both with unit stride along axis 1."""
    m, n = dst.shape
    size = dst.itemsize
    lane, line = LANE // size, LINE // size
    if n < lane:
        for row in range(m):
            for k in range(n):
                dst[row, k] = src[row, k]
    elif n < line:
        for k in range(0, n, lane):
            column = min(k, n - lane)
            for row in range(m):
                copy_lane(src, row, column, dst, row, column, False)
    for row in range(m if n >= line else 0):
        head = -(address(dst) + row * dst.strides[0]) % LINE // size
        tail = n - (n - head) % line
        if streaming:
            for k in range(head):
                dst[row, k] = src[row, k]
            for k in range(tail, n):
                dst[row, k] = src[row, k]
        else:
            copy_line(src, row, 0, dst, row, 0, False)
            copy_line(src, row, n - line, dst, row, n - line, False)
        for k in range(head, tail, line):
            copy_line(src, row, k, dst, row, k, streaming)


@inlined
def _transpose_tiles(
    src,  # in (planes, m, n), unit stride along m
    dst,  # out (planes, m, n), unit stride along n
    i,
    i_end,
    j,
    j_end,
    tile,  # rows and columns of src
    streaming,
    staged,  # i:i_end is 0:n, and planes of dst have no gaps
):
    """dst[:, j:j_end, i:i_end] = src[:, j:j_end, i:i_end]

    Tiles that would reach over an edge of the plane are moved back: what they share with their
    neighbours is written twice, with the same values. When streaming, all other tiles begin on
    cache lines of dst, up to a line later than i, and on those of src; stores that meet a line
    of a tile at an edge are not streamed. When staged, tiles go to work space, and from there to
    dst line by line: for rows that are short or not aligned to lines.
    """
    planes, m, n = src.shape
    size, (down, across) = src.itemsize, tile
    # Tiles may begin up to one tile before the block, and end up to two after it.
    work = scratch((j_end - j + 3 * across) * n if staged else 0, src.dtype)
    for number in range(planes):
        a = plane(src, number * src.strides[0], (n, m), (src.strides[2], src.strides[1]))
        i_head = j_head = 0
        if staged:
            b = plane(work, (across - j) * n * size, (m, n), (n * size, size))
        else:
            b = _part(dst, number, 0, 0, m, n)
            if streaming:
                i_head = _unaligned(b)
        if streaming and across * size == LINE and a.strides[0] % LINE == 0 and m >= LONG * across:
            j_head = _unaligned(a)
        first, last = _shifted(i, i_end, n, i_head)
        q, q_end = _shifted(j, j_end, m, j_head)
        while q < q_end:
            column = min(q, m - across)
            p = first
            while p < last:
                row = min(p, n - down)
                apart = (p > i_head or i_head == 0) and (p + 2 * down <= n or p + down == n)
                past = streaming and apart and not staged
                move_tile(tile, a, row, column, b, column, row, past)
                p = p + down if p > 0 or i_head == 0 else i_head
            q = q + across if q > 0 or j_head == 0 else j_head
        if staged:
            begin, end = _shifted(j, j_end, m, j_head)
            count = (end - begin) * n
            a = plane(work, (across - j + begin) * n * size, (1, count), (0, size))
            b = plane(dst, number * dst.strides[0] + begin * n * size, (1, count), (0, size))
            copy_lines(a, b, True)
    address(work)  # keeps it alive till here: planes do not


@inlined
def _unaligned(array):
    """Items before the first that begins a cache line."""
    return -address(array) % LINE // array.itemsize


@inlined
def _shifted(begin, end, extent, head):
    """A range moved by head, but for the two ends of the extent."""
    return begin + head if begin > 0 else 0, min(end + head, extent) if end < extent else end


@inlined
def move_tile(tile, src, i, j, dst, p, q, streaming):
    """dst[p:p+across, q:q+down] = src[i:i+down, j:j+across].T, where tile is (down, across)."""
    down, across = tile
    side = tile_side(src)
    if across > side:
        transpose_line(src, i, j, dst, p, q, streaming)
    elif down > side:
        transpose_column(src, i, j, dst, p, q, streaming)
    elif down == side:
        transpose_tile(src, i, j, dst, p, q, False)
    else:
        transpose_lane(src, i, j, dst, p, q, False)
