"""Gradients of attention: a block walks with its queries through all keys, or the other way round.

Weights are computed again from the logarithms of their sums (Dao et al., 2022, arXiv:2205.14135,
appendix B.2). With P the weights, G the cotangent and delta the row sums of G times the result,

    dS = P * (G @ V.T - delta),  dQ = scale * dS @ K,  dK = scale * dS.T @ Q,  dV = P.T @ G.

Both kernels multiply their own rows with `right` operands of depth (K or Q), then of width (V or
G), and then weights with those of depth again; chunks come through two buffers in turn.
"""

from __future__ import annotations

import functools
import math

from numba import cuda, types

from fastmat.cuda.attention import PLANE, mask_pointer
from fastmat.cuda.attention_softmax import additive
from fastmat.cuda.attention_tiles import PER_LANE, chunk_of, inlined, products, visibility
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import exp2_of_single, store_run
from fastmat.cuda.kernel import Kernel
from fastmat.cuda.launch_attention import KEYS, LANES


@functools.cache
def attention_vjp(dtype, out_dtypes, walk, mask, by_keys, aligned):
    """The kernel for the gradient by queries, or (`by_keys`) for those by keys and values.

    Parameters
    ----------
    dtype
        Of the operands.
    out_dtypes
        Of the gradients of depth and of width (which only `by_keys` has).
    walk
        How blocks walk through their operands.
    mask
        None, "causal", "bool" or the dtype of an additive mask.
    by_keys
        Whether rows of tiles are keys.
    aligned
        Whether all arrays allow accesses of 16 bytes along their columns.
    """
    tiles = walk.tiles
    number = element(tiles.number).number
    rows, chunk, stride, threads = tiles.rows, tiles.chunk, tiles.stride, tiles.threads
    per_thread, groups, stride_of_weights = tiles.per_thread, tiles.groups, tiles.stride_of_weights
    depth_chunks, width_chunks, slab = walk.depth_chunks, walk.width_chunks, walk.slab
    resident = walk.resident
    columns, of_tile, of_chunk = chunk // LANES, per_thread * PER_LANE, tiles.of_chunk
    of_sums = per_thread * columns
    all_sums, more_sums = slab * of_sums, slab * of_sums if by_keys else 1
    first_weight = walk.of_rows
    first_chunk = walk.of_rows + tiles.of_weights
    stored = element(dtype).stored
    causal, boolean, plain = mask == "causal", mask == "bool", mask in (None, "causal", "bool")
    one, zero, hidden = number(1), number(0), number(-0.0)
    log2_e = number(math.log2(math.e))
    exp2 = exp2_of_single if tiles.number == "float32" else math.exp2

    fetch_own, put_own, length_own = chunk_of(
        rows, chunk, stride, threads, dtype, tiles.number, aligned
    )
    fetch, put, length = chunk_of(KEYS, chunk, stride, threads, dtype, tiles.number, aligned)
    clear, multiply, accumulate, accumulate_seen = products(tiles)
    advance = visibility(tiles, mask, not by_keys)
    add = additive("float32" if plain else mask, tiles.number, per_thread, groups)
    store_depth, store_width = (
        _store(d, columns, aligned, tiles.number) for d in (out_dtypes[0], out_dtypes[-1])
    )

    @inlined
    def add_product(sums, first, shared, weights, values, finite):
        if finite:
            accumulate(sums, first, shared, weights, values)
        else:
            accumulate_seen(sums, first, shared, weights, values)

    @inlined
    def add_chunk(which, sums, shared, weights, values, finite):
        if slab == 1 or which == 0:
            add_product(sums, 0, shared, weights, values, finite)
        else:
            add_product(sums, all_sums - of_sums, shared, weights, values, finite)

    @inlined
    def own_rows(raw, shared, own, row, row_stop, c, depth, width, factor, thread):
        """Put chunk c of the block's own rows, those of depth first, to its place."""
        first, first_start, first_row, first_column, second, start, row_stride, column_stride = own
        to = c * rows * stride if resident else 0
        if c < depth_chunks:
            fetch_own(
                raw, first, first_start, first_row, first_column,
                row, row_stop, c * chunk, depth, thread,
            )  # fmt: skip
            put_own(raw, shared, to, factor, thread)
        else:
            fetch_own(
                raw, second, start, row_stride, column_stride,
                row, row_stop, (c - depth_chunks) * chunk, width, thread,
            )  # fmt: skip
            put_own(raw, shared, to, one, thread)

    @inlined
    def barrier(finite, partial):
        if partial:
            return cuda.syncthreads_and(types.int32(finite)) != 0
        cuda.syncthreads()
        return True

    @inlined
    def exponential(i, scores, bits, shared, weights, base):
        for j in range(PER_LANE):
            at = i * PER_LANE + j
            weight = exp2(scores[at] - (base[j] if by_keys else base[i]))
            if not (bits >> types.uint32(at)) & types.uint32(1):
                weight = hidden
            scores[at] = weight
            if by_keys:
                shared[weights + i * groups * stride_of_weights + j * LANES] = weight

    @inlined
    def exponentials(scores, bits, shared, weights, base):
        # Row by row in the source: the compiler does not unroll as much as this.
        exponential(0, scores, bits, shared, weights, base)
        exponential(1, scores, bits, shared, weights, base)
        exponential(2, scores, bits, shared, weights, base)
        exponential(3, scores, bits, shared, weights, base)
        if per_thread > 4:
            exponential(4, scores, bits, shared, weights, base)
            exponential(5, scores, bits, shared, weights, base)
            exponential(6, scores, bits, shared, weights, base)
            exponential(7, scores, bits, shared, weights, base)

    @inlined
    def slopes(scores, products_of_rows, bits, shared, weights, delta):
        """Gradients by scores, to where the weights were."""
        for i in range(per_thread):
            for j in range(PER_LANE):
                at = i * PER_LANE + j
                slope = products_of_rows[at] - (delta[j] if by_keys else delta[i])
                slope = scores[at] * slope + zero  # -0.0 is what is hidden
                if not (bits >> types.uint32(at)) & types.uint32(1):
                    slope = hidden
                shared[weights + i * groups * stride_of_weights + j * LANES] = slope

    def walk_through(
        own,  # in (outer, heads, rows, depth): queries, or keys
        own_outer,  # strides
        own_head,
        own_row,
        own_column,
        own_wide,  # in (outer, heads, rows, width): the cotangent, or values
        own_wide_outer,
        own_wide_head,
        own_wide_row,
        own_wide_column,
        right,  # in (outer, heads, columns, depth): keys, or queries
        right_outer,
        right_head,
        right_row,
        right_column,
        wide,  # in (outer, heads, columns, width): values, or the cotangent
        wide_outer,
        wide_head,
        wide_row,
        wide_column,
        masks,  # in (outer, heads, rows, columns), if there is a mask
        mask_outer,
        mask_head,
        mask_row,
        mask_column,
        out,  # out (outer, heads, rows, depth)
        out_outer,
        out_head,
        out_row,
        out_column,
        out_wide,  # out (outer, heads, rows, width), by keys
        out_wide_outer,
        out_wide_head,
        out_wide_row,
        out_wide_column,
        deltas,  # in (planes, queries), C-contiguous
        bases,  # in (planes, queries), C-contiguous
        row_stop,
        column_stop,
        depth,
        width,
        heads,
        scale,
    ):
        shared = cuda.shared.array(0, number)
        raw_own = cuda.local.array(length_own, stored)
        raw = cuda.local.array(length, stored)
        scores = cuda.local.array(of_tile, number)
        slope = cuda.local.array(of_tile, number)
        sums = cuda.local.array(all_sums, number)
        wide_sums = cuda.local.array(more_sums, number)
        delta = cuda.local.array(per_thread, number)
        base = cuda.local.array(per_thread, number)
        thread = cuda.threadIdx.x
        lane, group = types.int32(thread & 15), types.int32(thread >> 4)
        block, count = cuda.blockIdx.x, (row_stop + rows - 1) // rows
        plane, row = block // count, types.int32(block % count * rows)
        if causal and not by_keys:
            row = types.int32((count - 1) * rows - row)  # the longest come first
        outer, head = plane // heads, plane % heads
        right_start = outer * right_outer + head * right_head
        wide_start = outer * wide_outer + head * wide_head
        mask_start = outer * mask_outer + head * mask_head
        own_start = outer * own_outer + head * own_head
        own_wide_start = outer * own_wide_outer + head * own_wide_head
        of_own = (
            own, own_start, own_row, own_column,
            own_wide, own_wide_start, own_wide_row, own_wide_column,
        )  # fmt: skip
        first = types.int32(cuda.blockIdx.y * slab)  # chunk of the gradients
        stop = types.int32(min(first + slab, depth_chunks))
        factor = scale * log2_e
        left = types.int32(group * stride)
        weights = types.int32(first_weight + group * stride_of_weights)
        start, end = types.int32(0), types.int32(column_stop)
        if causal and by_keys:
            start = types.int32(row // KEYS * KEYS)
        elif causal:
            end = types.int32(min(column_stop, row + rows))

        for i in range(all_sums):
            sums[i] = zero
        for i in range(more_sums):
            wide_sums[i] = zero
        for i in range(per_thread):
            delta[i], base[i] = zero, zero
            if not by_keys and row + group + i * groups < row_stop:
                delta[i] = deltas[plane * row_stop + row + group + i * groups]
                base[i] = bases[plane * row_stop + row + group + i * groups]
        if resident:
            for c in range(depth_chunks + width_chunks):
                own_rows(raw_own, shared, of_own, row, row_stop, c, depth, width, factor, thread)

        current, finite = 0, True
        column, bits = advance(
            start, end, row, row_stop, masks, mask_start, mask_row, mask_column, group, lane
        )
        fetch(raw, right, right_start, right_row, right_column, column, end, 0, depth, thread)
        put(raw, shared, first_chunk, one, thread)
        cuda.syncthreads()
        while column < end:
            following, following_bits = advance(
                types.int32(column + KEYS), end, row, row_stop,
                masks, mask_start, mask_row, mask_column, group, lane,
            )  # fmt: skip
            partial = boolean or column + KEYS > column_stop
            if causal and by_keys:
                partial = partial or column + 1 < row + rows
            elif causal:
                partial = partial or column + KEYS > row + 1
            clear(scores)
            clear(slope)
            for step in range(depth_chunks + width_chunks):
                here = first_chunk + current * of_chunk
                if step + 1 < depth_chunks:
                    fetch(
                        raw, right, right_start, right_row, right_column,
                        column, end, (step + 1) * chunk, depth, thread,
                    )  # fmt: skip
                elif step + 1 < depth_chunks + width_chunks:
                    fetch(
                        raw, wide, wide_start, wide_row, wide_column,
                        column, end, (step + 1 - depth_chunks) * chunk, width, thread,
                    )  # fmt: skip
                else:
                    again = first < stop
                    fetch(
                        raw, right, right_start, right_row, right_column,
                        column if again else following, end, first * chunk if again else 0,
                        depth, thread,
                    )  # fmt: skip
                at = left + step * rows * stride
                if not resident:
                    at = left
                    own_rows(
                        raw_own, shared, of_own, row, row_stop, step, depth, width, factor, thread
                    )
                    cuda.syncthreads()
                if step < depth_chunks:
                    multiply(scores, shared, at, here + lane * stride)
                else:
                    multiply(slope, shared, at, here + lane * stride)
                    which = step - depth_chunks - first
                    if by_keys and 0 <= which < slab:
                        add_chunk(which, wide_sums, shared, weights, here + lane * columns, finite)
                if step + 1 == depth_chunks:
                    if by_keys:
                        for j in range(PER_LANE):
                            query = column + lane + j * LANES
                            delta[j], base[j] = zero, zero
                            if query < column_stop:
                                delta[j] = deltas[plane * column_stop + query]
                                base[j] = bases[plane * column_stop + query]
                    if not plain:
                        add(
                            scores, bits, masks, mask_start, mask_row, mask_column,
                            row + group, row_stop, column + lane,
                        )  # fmt: skip
                    exponentials(scores, bits, shared, weights + lane, base)
                if step + 1 == depth_chunks + width_chunks:
                    cuda.syncwarp()  # the weights have been read
                    slopes(scores, slope, bits, shared, weights + lane, delta)
                current ^= 1
                finite = put(raw, shared, first_chunk + current * of_chunk, one, thread)
                finite = barrier(finite, partial)
            for c in range(first, stop):
                here = first_chunk + current * of_chunk
                last = c + 1 == stop
                fetch(
                    raw, right, right_start, right_row, right_column,
                    following if last else column, end, 0 if last else (c + 1) * chunk,
                    depth, thread,
                )  # fmt: skip
                add_chunk(c - first, sums, shared, weights, here + lane * columns, finite)
                current ^= 1
                finite = put(raw, shared, first_chunk + current * of_chunk, one, thread)
                finite = barrier(finite, partial)
            column, bits = following, following_bits

        out_start = outer * out_outer + head * out_head
        wide_out_start = outer * out_wide_outer + head * out_wide_head
        for i in range(per_thread):
            this_row = row + group + i * groups
            if this_row < row_stop:
                for c in range(slab):
                    place = (first + c) * chunk + lane * columns
                    at = out_start + this_row * out_row + place * out_column
                    store_depth(
                        out, at, out_column, place, depth, sums, c * of_sums + i * columns, scale
                    )
                    if by_keys:
                        at = wide_out_start + this_row * out_wide_row + place * out_wide_column
                        store_width(
                            out_wide, at, out_wide_column, place, width,
                            wide_sums, c * of_sums + i * columns, one,
                        )  # fmt: skip

    pointer = element(dtype).pointer
    outs = element(out_dtypes[0]).pointer, element(out_dtypes[-1]).pointer
    pointers = (*[pointer] * 4, mask_pointer(mask), *outs)
    return Kernel(
        walk_through,
        (
            *(a for each in pointers for a in (each, *PLANE)),
            f"{tiles.number}*", f"{tiles.number}*", *("int32",) * 5, tiles.number,
        ),
        name=f"attention_vjp {dtype} {out_dtypes} {walk} {mask} {by_keys} {aligned}",
        threads=threads,
        blocks=256 // threads,
        shared=walk.shared,
    )  # fmt: skip


@functools.cache
def _store(dtype, columns, aligned, number):
    """Writes a few neighbouring numbers of a row, times a factor."""
    write, wide = element(dtype), element(number).number
    narrow, length, written = write.narrow, min(columns, write.run), write.stored
    compute = write.number

    @inlined
    def store(out, at, column_stride, column, stop, sums, first, factor):
        some = cuda.local.array(columns, written)
        for c in range(columns):
            some[c] = narrow(compute(wide(sums[first + c] * factor)))
        if aligned:
            for c in range(0, columns, length):
                if column + c < stop:
                    store_run(out, at + c, some, c, length)
        else:
            for c in range(columns):
                if column + c < stop:
                    out[at + c * column_stride] = some[c]

    return store
