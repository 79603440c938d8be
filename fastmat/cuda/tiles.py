"""Transposition of tiles by way of shared memory.

A tile is ``rows`` along the axis that is contiguous in the target, the a axis, times ``columns``
along that which is contiguous in the source, the b axis. Shared memory holds it in cells of 4
bytes (8 or 16 if items have as many), in panels of rows of 128 bytes and one cell more. So
neither the rows that are written nor the columns that are read meet in a bank: the cell of row a
and column w of a panel is in bank ``a + w``, and for cells of 4 bytes each 32 rows are shifted
by 4 more, because a thread that stores 16 bytes of 1- or 2-byte items reads each 16th or 8th row.
"""

from __future__ import annotations

import functools

from numba import cuda, types

from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_copy import BLOCKS, SMALL, THREADS, TILES, WIDE

_LINE = 128  # bytes that 8 threads move by their longest accesses
STORED = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64", 16: "uint64"}
PAIR = {16: 2}  # how many of these make an item, if not one


@functools.cache
def transposing(size: int, loads: int, stores: int, batch: bool, small: bool) -> Kernel:
    """The kernel for items of a size that reads and writes so many bytes by one access.

    These are 16, or 4 for smaller items, or the size of an item; the last reads and writes
    with any stride. Arguments are the source and the target, both as cells and as items, the
    extents, the strides of the source and of the target along a and b, and for a batch its
    extents and strides of each; all in items.
    """
    cell_size = max(4, size)
    cell = getattr(types, STORED[cell_size])
    pair = PAIR.get(size, 1)  # numbers of a cell
    items = cell_size // size  # of a cell
    bits = 8 * size
    rows, columns = SMALL[size] if small else TILES[size]
    width = _LINE // cell_size  # cells of a row of a panel
    panels = columns // (width * items)
    shift = 4 if cell_size == 4 else 0
    panel_cells = rows * (width + 1) + shift * (rows // 32)

    load_cells = loads // cell_size or 1
    load_lanes = width // load_cells
    load_rows = THREADS // load_lanes
    load_steps = max(1, rows // load_rows)
    by_cells = loads >= cell_size  # else by items
    by_lines = loads > cell_size or loads == WIDE
    load_count = load_cells * pair
    load_items = load_cells * items
    loaded = load_steps * panels * load_count
    all_rows = rows >= load_rows  # each thread has rows to load

    run = max(stores // size, items)  # items along a of what a thread stores
    groups = run // items
    store_lanes = _LINE // (run * size)
    store_columns = THREADS // store_lanes
    column_steps = max(1, panels * width // store_columns)
    row_steps = rows // (run * store_lanes)
    to_cells = stores >= cell_size
    store_count = groups * pair
    column_count, out_count = run * pair, items * groups * pair

    to_cell, to_panel = items.bit_length() - 1, width.bit_length() - 1  # shifts
    low = types.uint32((1 << bits) - 1) if items > 1 else types.uint32(0)

    def tiles(
        source_cells,  # in
        source,  # in, the same memory
        target_cells,  # out
        target,  # out, the same memory
        na,
        nb,
        source_a,
        source_b,
        target_a,
        target_b,
        n0,
        n1,
        n2,
        source0,
        source1,
        source2,
        source3,
        target0,
        target1,
        target2,
        target3,
    ):
        shared = cuda.shared.array(0, cell)
        held = cuda.local.array(loaded, cell)
        thread = types.int32(cuda.threadIdx.x)
        block = types.uint32(cuda.blockIdx.x)
        across = types.uint32((nb + columns - 1) // columns)
        b_tile = types.int32(block % across)
        block = types.uint32(block // across)
        read, written = types.int64(0), types.int64(0)
        if batch:
            down = types.uint32((na + rows - 1) // rows)
            a_tile = types.int32(block % down)
            block = types.uint32(block // down)
            i = types.uint32(block % types.uint32(n0))
            block = types.uint32(block // types.uint32(n0))
            read += i * source0
            written += i * target0
            i = types.uint32(block % types.uint32(n1))
            block = types.uint32(block // types.uint32(n1))
            read += i * source1
            written += i * target1
            i = types.uint32(block % types.uint32(n2))
            block = types.uint32(block // types.uint32(n2))
            read += i * source2 + block * source3
            written += i * target2 + block * target3
        else:
            a_tile = types.int32(block)
        a_left = types.int32(min(na - types.int64(a_tile) * rows, rows))
        b_left = types.int32(min(nb - types.int64(b_tile) * columns, columns))
        read += types.int64(a_tile) * rows * source_a + types.int64(b_tile) * columns * source_b
        written += types.int64(a_tile) * rows * target_a + types.int64(b_tile) * columns * target_b
        whole = a_left == rows and b_left == columns

        lane = types.int32(thread % load_lanes)
        first = types.int32(thread // load_lanes)
        if by_cells and whole:
            at = read + first * source_a + ((lane * load_cells) << to_cell) * source_b
            for step in range(load_steps):
                for panel in range(panels):
                    if all_rows or first < rows:
                        from_cell = (at + (panel * width << to_cell) * source_b) >> to_cell
                        k = (step * panels + panel) * load_count
                        load_run(held, k, source_cells, from_cell * pair, load_count)
                at += load_rows * source_a
        else:
            for step in range(load_steps):
                a = types.int32(first + step * load_rows)
                for panel in range(panels):
                    b = types.int32((panel * width + lane * load_cells) << to_cell)
                    k = (step * panels + panel) * load_count
                    if a < a_left:
                        at = read + a * source_a + b * source_b
                        if by_lines and types.int32(b + load_items) <= b_left:
                            load_run(held, k, source_cells, (at >> to_cell) * pair, load_count)
                        else:
                            for part in range(load_cells):
                                if items == 1:
                                    if types.int32(b + part) < b_left:
                                        load_run(held, k + part * pair, source, at * pair, pair)
                                    at += source_b
                                else:
                                    bundle = types.uint32(0)
                                    for item in range(items):
                                        n = part * items + item
                                        if types.int32(b + n) < b_left:
                                            bundle |= types.uint32(source[at]) << (
                                                types.uint32(item * bits)
                                            )
                                        at += source_b
                                    held[k + part] = bundle
        for step in range(load_steps):
            a = types.int32(first + step * load_rows)
            if all_rows or a < rows:
                at_cell = a * (width + 1) + (a >> 5) * shift + lane * load_cells
                for panel in range(panels):
                    k = (step * panels + panel) * load_count
                    for part in range(load_cells):
                        store_run(
                            shared, types.int32(at_cell + panel * panel_cells + part) * pair,
                            held, k + part * pair, pair,
                        )  # fmt: skip
        cuda.syncthreads()

        column = cuda.local.array(column_count, cell)
        out = cuda.local.array(out_count, cell)
        lane = types.int32(thread % store_lanes)
        first = types.int32(thread // store_lanes)
        for step in range(column_steps):
            w = types.int32(first + step * store_columns)
            b = types.int32(w << to_cell)
            for row_step in range(row_steps):
                a = types.int32((row_step * store_lanes + lane) * run)
                if a < a_left and b < b_left:
                    at_cell = types.int32(
                        (w >> to_panel) * panel_cells
                        + a * (width + 1)
                        + (a >> 5) * shift
                        + w % width
                    )
                    for q in range(run):
                        from_cell = types.int32(at_cell + q * (width + 1))
                        load_run(column, q * pair, shared, from_cell * pair, pair)
                    if items == 1:
                        for q in range(column_count):
                            out[q] = column[q]
                    else:
                        for group in range(groups):
                            for item in range(items):
                                bundle = types.uint32(0)
                                for q in range(items):
                                    piece = column[group * items + q] >> types.uint32(item * bits)
                                    bundle |= (piece & low) << types.uint32(q * bits)
                                out[item * groups + group] = bundle
                    at = written + a * target_a + b * target_b
                    for item in range(items):
                        if types.int32(b + item) < b_left:
                            if to_cells and types.int32(a + run) <= a_left:
                                store_run(
                                    target_cells, (at >> to_cell) * pair,
                                    out, item * store_count, store_count,
                                )  # fmt: skip
                            else:
                                to = at
                                for q in range(run):
                                    if types.int32(a + q) < a_left:
                                        if items == 1:
                                            store_run(target, to * pair, out, q * pair, pair)
                                        else:
                                            bundle = out[item * groups + q // items]
                                            target[to] = bundle >> types.uint32(q % items * bits)
                                    to += target_a
                        at += target_b

    pointers = (f"{cell.name}*", f"{STORED[size]}*")
    return Kernel(
        tiles,
        (*pointers * 2, *("int64",) * 6, *("int32",) * 3, *("int64",) * 8),
        name=f"tiles {size} {loads} {stores} {batch} {small}",
        threads=THREADS,
        blocks=BLOCKS,
        shared=panels * panel_cells * cell_size,
    )
