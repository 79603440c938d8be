"""Scaled dot-product attention: a block takes a tile of queries through all tiles of keys.

Dao, "FlashAttention-2: faster attention with better parallelism and work partitioning", 2023,
arXiv:2307.08691. Scores are in units of log 2; the largest of a query and the sum of exponentials
are kept up to date (Milakov and Gimelshein, 2018, arXiv:1805.02867). Keys and values come through
two buffers in turn: while products of one chunk are computed, the next one is on its way.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import cuda, types

from fastmat.cuda.attention_softmax import ALL_LANES, additive, softmax_of_tile, widened_bits
from fastmat.cuda.attention_tiles import PER_LANE, chunk_of, inlined, products, visibility
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_attention import KEYS, LANES

PLANE = ("int64",) * 4  # strides of an operand: outer axis, heads, rows, columns


def mask_pointer(mask):
    """The argument that points at a mask of this kind."""
    return element("bool" if mask in (None, "causal") else mask).pointer


@functools.cache
def attention(dtypes, out_dtype, tiles, mask, stats, aligned):
    """The kernel for operands of these dtypes.

    Parameters
    ----------
    dtypes
        Of queries, keys and values.
    out_dtype
        Of the result.
    tiles
        How blocks walk through their operands.
    mask
        None, "causal", "bool" or the dtype of an additive mask.
    stats
        Whether the logarithms of the sums of exponentials are stored.
    aligned
        Whether all operands allow accesses of 16 bytes along their columns.
    """
    kind = element(tiles.number)
    number = kind.number
    rows, chunk, stride, threads = tiles.rows, tiles.chunk, tiles.stride, tiles.threads
    per_thread, groups, stride_of_weights = tiles.per_thread, tiles.groups, tiles.stride_of_weights
    depth_chunks, width_chunks, resident = tiles.depth_chunks, tiles.width_chunks, tiles.resident
    columns = chunk // LANES
    of_tile, of_sums = per_thread * PER_LANE, per_thread * columns
    all_sums = width_chunks * of_sums
    first_chunk = tiles.of_queries + tiles.of_weights
    of_chunk, first_weight = tiles.of_chunk, tiles.of_queries
    write = element(out_dtype)
    narrow, store_length = write.narrow, min(columns, write.run)
    written = write.stored
    causal, boolean, plain = mask == "causal", mask == "bool", mask in (None, "causal", "bool")
    one, log2_e, ln_2 = number(1), number(math.log2(math.e)), number(math.log(2))
    lowest = number(-np.inf)

    fetch_q, put_q, length_q = chunk_of(
        rows, chunk, stride, threads, dtypes[0], tiles.number, aligned
    )
    fetch_k, put_k, length_k = chunk_of(
        KEYS, chunk, stride, threads, dtypes[1], tiles.number, aligned
    )
    fetch_v, put_v, length_v = chunk_of(
        KEYS, chunk, stride, threads, dtypes[2], tiles.number, aligned
    )
    stored_q, stored_k, stored_v = (element(d).stored for d in dtypes)
    clear, multiply, accumulate, accumulate_seen = products(tiles)
    advance = visibility(tiles, mask, True)
    hide, weigh, mark = softmax_of_tile(tiles)
    add = additive("float32" if plain else mask, tiles.number, per_thread, groups)
    double_bits = widened_bits(tiles.number)

    @inlined
    def add_values(sums, first, shared, weights, values, finite):
        if finite:
            accumulate(sums, first, shared, weights, values)
        else:
            accumulate_seen(sums, first, shared, weights, values)

    @inlined
    def all_of_block(finite, partial):
        """A barrier; whether values are finite, where that matters."""
        if partial:
            return cuda.syncthreads_and(types.int32(finite)) != 0
        cuda.syncthreads()
        return True

    @inlined
    def next_values(raw_v, from_v, column, width, sums, shared, where, finite, partial):
        """Use up a chunk of values while the next one is on its way; whether that is finite."""
        v, start, row_stride, column_stride, key, key_stop = from_v
        first, weights, first_chunk, current, lane, thread = where
        fetch_v(raw_v, v, start, row_stride, column_stride, key, key_stop, column, width, thread)
        here = first_chunk + current * of_chunk + lane * columns
        add_values(sums, first, shared, weights, here, finite)
        finite = put_v(raw_v, shared, first_chunk + (current ^ 1) * of_chunk, one, thread)
        return all_of_block(finite, partial)

    @inlined
    def store(out, at, column_stride, column, width, sums, first, inverse):
        """A few neighbouring numbers of a row."""
        some = cuda.local.array(columns, written)
        for c in range(columns):
            some[c] = narrow(sums[first + c] * inverse)
        if aligned:
            for c in range(0, columns, store_length):
                if column + c < width:
                    store_run(out, at + c, some, c, store_length)
        else:
            for c in range(columns):
                if column + c < width:
                    out[at + c * column_stride] = some[c]

    def attend(
        q,  # in (outer, heads, m, depth)
        q_outer,  # strides
        q_head,
        q_row,
        q_column,
        k,  # in (outer, heads, n, depth)
        k_outer,
        k_head,
        k_row,
        k_column,
        v,  # in (outer, heads, n, width)
        v_outer,
        v_head,
        v_row,
        v_column,
        masks,  # in (outer, heads, m, n), if there is a mask
        mask_outer,
        mask_head,
        mask_row,
        mask_column,
        out,  # out (outer, heads, m, width)
        out_outer,
        out_head,
        out_row,
        out_column,
        logs,  # out (outer, heads, m), C-contiguous: the bits of float64
        m,
        n,
        depth,
        width,
        heads,
        scale,
    ):
        shared = cuda.shared.array(0, number)
        raw_q = cuda.local.array(length_q, stored_q)
        raw_k = cuda.local.array(length_k, stored_k)
        raw_v = cuda.local.array(length_v, stored_v)
        scores = cuda.local.array(of_tile, number)
        sums = cuda.local.array(all_sums, number)
        top = cuda.local.array(per_thread, number)
        total = cuda.local.array(per_thread, number)
        factor = cuda.local.array(per_thread, number)
        thread = cuda.threadIdx.x
        lane, group = types.int32(thread & 15), types.int32(thread >> 4)
        block, count = cuda.blockIdx.x, (m + rows - 1) // rows
        plane, row = block // count, types.int32(block % count * rows)
        if causal:
            row = types.int32((count - 1) * rows - row)  # the longest come first
        outer, head = plane // heads, plane % heads
        q_start = outer * q_outer + head * q_head
        k_start = outer * k_outer + head * k_head
        v_start = outer * v_outer + head * v_head
        mask_start = outer * mask_outer + head * mask_head
        first_column = cuda.blockIdx.y * (width_chunks * chunk)
        factor_of_q = scale * log2_e
        left = types.int32(group * stride)
        weights = types.int32(first_weight + group * stride_of_weights)
        key_stop = types.int32(min(n, row + rows)) if causal else n

        for i in range(per_thread):
            top[i], total[i] = lowest, number(0)
        for i in range(all_sums):
            sums[i] = number(0)
        if resident:
            for c in range(depth_chunks):
                fetch_q(raw_q, q, q_start, q_row, q_column, row, m, c * chunk, depth, thread)
                put_q(raw_q, shared, c * rows * stride, factor_of_q, thread)

        current = 0
        key, bits = advance(
            types.int32(0), key_stop, row, m, masks, mask_start, mask_row, mask_column, group, lane
        )
        fetch_k(raw_k, k, k_start, k_row, k_column, key, key_stop, 0, depth, thread)
        put_k(raw_k, shared, first_chunk, one, thread)
        cuda.syncthreads()
        while key < key_stop:
            clear(scores)
            for c in range(depth_chunks):
                last = c + 1 == depth_chunks
                here = first_chunk + current * of_chunk
                if last:
                    fetch_v(
                        raw_v, v, v_start, v_row, v_column,
                        key, key_stop, first_column, width, thread,
                    )  # fmt: skip
                else:
                    fetch_k(
                        raw_k, k, k_start, k_row, k_column,
                        key, key_stop, (c + 1) * chunk, depth, thread,
                    )  # fmt: skip
                at = left + c * rows * stride
                if not resident:
                    at = left
                    fetch_q(raw_q, q, q_start, q_row, q_column, row, m, c * chunk, depth, thread)
                    put_q(raw_q, shared, 0, factor_of_q, thread)
                    cuda.syncthreads()
                multiply(scores, shared, at, here + lane * stride)
                if not last:
                    current ^= 1
                    put_k(raw_k, shared, first_chunk + current * of_chunk, one, thread)
                    cuda.syncthreads()
            partial = boolean or key + KEYS > n or (causal and key + KEYS > row + 1)
            if not plain:
                add(
                    scores, bits, masks, mask_start, mask_row, mask_column,
                    row + group, m, key + lane,
                )  # fmt: skip
            if partial:
                hide(scores, bits)
            weigh(scores, top, total, factor, shared, weights + lane)
            if partial:
                mark(bits, shared, weights + lane)
            for w in range(width_chunks):
                for i in range(per_thread):
                    for c in range(columns):
                        sums[w * of_sums + i * columns + c] *= factor[i]
            current ^= 1
            finite = put_v(raw_v, shared, first_chunk + current * of_chunk, one, thread)
            finite = all_of_block(finite, partial)
            following, bits = advance(
                types.int32(key + KEYS), key_stop, row, m,
                masks, mask_start, mask_row, mask_column, group, lane,
            )  # fmt: skip
            column = first_column + chunk
            from_v = v, v_start, v_row, v_column, key, key_stop
            if width_chunks > 1:
                where = 0, weights, first_chunk, current, lane, thread
                finite = next_values(
                    raw_v, from_v, column, width, sums, shared, where, finite, partial
                )
                current ^= 1
            if width_chunks > 2:
                where = of_sums, weights, first_chunk, current, lane, thread
                finite = next_values(
                    raw_v, from_v, column + chunk, width, sums, shared, where, finite, partial
                )
                current ^= 1
            if width_chunks > 3:
                where = 2 * of_sums, weights, first_chunk, current, lane, thread
                finite = next_values(
                    raw_v, from_v, column + 2 * chunk, width, sums, shared, where, finite, partial
                )
                current ^= 1
            here = first_chunk + current * of_chunk + lane * columns
            fetch_k(raw_k, k, k_start, k_row, k_column, following, key_stop, 0, depth, thread)
            add_values(sums, all_sums - of_sums, shared, weights, here, finite)
            current ^= 1
            put_k(raw_k, shared, first_chunk + current * of_chunk, one, thread)
            cuda.syncthreads()
            key = following

        out_start = outer * out_outer + head * out_head
        for i in range(per_thread):
            sum_ = total[i]
            for step in (8, 4, 2, 1):
                sum_ += cuda.shfl_xor_sync(ALL_LANES, sum_, step)
            total[i] = sum_
        for i in range(per_thread):
            this_row = row + group + i * groups
            unseen = total[i] == number(0)
            if this_row < m:
                inverse = number(0) if unseen else one / total[i]
                for w in range(width_chunks):
                    column = first_column + w * chunk + lane * columns
                    at = out_start + this_row * out_row + column * out_column
                    store(
                        out, at, out_column, column, width,
                        sums, w * of_sums + i * columns, inverse,
                    )  # fmt: skip
                if stats and lane == 0 and cuda.blockIdx.y == 0:
                    log = lowest if unseen else (top[i] + math.log2(total[i])) * ln_2
                    logs[plane * m + this_row] = double_bits(log)

    pointers = (*(element(d).pointer for d in dtypes), mask_pointer(mask), write.pointer)
    arguments = [a for pointer in pointers for a in (pointer, *PLANE)]
    return Kernel(
        attend,
        (
            *arguments,
            "uint64*",
            *("int32",) * 5,
            "float64" if number == types.float64 else "float32",
        ),
        name=f"attention {dtypes} {out_dtype} {tuple(tiles)} {mask} {stats} {aligned}",
        threads=threads,
        blocks=tiles.blocks(mask),
        shared=tiles.shared,
    )
