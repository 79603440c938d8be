"""Gradients of attention of float16 and bfloat16 on tensor cores.

As `attention_vjp`: each warp has 16 queries, or 16 keys, and keeps its scores and sums in
registers. Weights and the gradients by scores are rounded to 16 bits for their products.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import cuda, types

from fastmat.cuda.attention import PLANE, mask_pointer
from fastmat.cuda.attention_fragments import finite_of, loader, scores_of, sums_of, visibility
from fastmat.cuda.attention_tiles import inlined
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics import exp2_of_single
from fastmat.cuda.intrinsics_tensor import (
    commit_copies,
    shared_address,
    store_pair,
    wait_for_copies,
)
from fastmat.cuda.kernel import Kernel


@functools.cache
def attention_vjp_of_halves(dtype, out_dtypes, warps, mask, by_keys):
    """The kernel for the gradient by queries, or (`by_keys`) for those by keys and values.

    Its arguments are those of `attention_vjp`; all rows allow accesses of 16 bytes.
    """
    rows, tile, columns, size = warps.rows, warps.keys, warps.keys // 8, warps.size // 8
    of_tile, of_own, of_weights = warps.of_tile, warps.of_queries, warps.of_weights
    first_weights = (2 * of_own + 4 * of_tile) // 4
    all_scores, all_sums = tile // 2, warps.size // 2
    wide_length = all_sums if by_keys else 1
    causal, boolean = mask == "causal", mask == "bool"
    log2_e, nothing = np.float32(math.log2(math.e)), np.float32(0)
    load_own, load_tile = loader(warps, rows), loader(warps, tile)
    advance, seen_bits, _, add = visibility(warps, mask, not by_keys)
    multiply = scores_of(dtype, warps)
    accumulate, accumulate_seen = sums_of(dtype, warps)
    finite = finite_of(dtype, warps)
    wait = wait_for_copies(0)
    store, store_wide = store_pair(out_dtypes[0]), store_pair(out_dtypes[-1])

    @inlined
    def derive(begin, scores, slopes, bits, delta, base, deltas, bases, start, column, stop):
        """Scores to weights, and products of cotangent and values to gradients, of 16 columns."""
        for c in range(begin, begin + 2):
            for e in range(2):
                column_delta, column_base = nothing, nothing
                place = column + c * 8 + e
                if by_keys and place < stop:
                    column_delta, column_base = deltas[start + place], bases[start + place]
                for i in range(2):
                    at = c * 4 + i * 2 + e
                    weight = exp2_of_single(scores[at] - (column_base if by_keys else base[i]))
                    slope = weight * (slopes[at] - (column_delta if by_keys else delta[i]))
                    seen = (bits >> types.uint64(at)) & types.uint64(1)
                    scores[at] = weight if seen else nothing
                    slopes[at] = slope if seen else nothing

    @inlined
    def derive_all(scores, slopes, bits, delta, base, deltas, bases, start, column, stop):
        # A few at a time in the source: the compiler does not unroll as much as all.
        derive(0, scores, slopes, bits, delta, base, deltas, bases, start, column, stop)
        derive(2, scores, slopes, bits, delta, base, deltas, bases, start, column, stop)
        if columns > 4:
            derive(4, scores, slopes, bits, delta, base, deltas, bases, start, column, stop)
            derive(6, scores, slopes, bits, delta, base, deltas, bases, start, column, stop)

    def walk_through_halves(
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
        shared = cuda.shared.array(0, types.uint32)
        origin = shared_address(shared)
        scores = cuda.local.array(all_scores, types.float32)
        slopes = cuda.local.array(all_scores, types.float32)
        sums = cuda.local.array(all_sums, types.float32)
        wide_sums = cuda.local.array(wide_length, types.float32)
        delta = cuda.local.array(2, types.float32)
        base = cuda.local.array(2, types.float32)
        thread = types.uint32(cuda.threadIdx.x)
        lane, warp = thread & types.uint32(31), thread >> types.uint32(5)
        block, count = cuda.blockIdx.x, (row_stop + rows - 1) // rows
        plane, row = block // count, types.int32(block % count * rows)
        if causal and not by_keys:
            row = types.int32((count - 1) * rows - row)  # the longest come first
        outer, head = plane // heads, plane % heads
        own_start = outer * own_outer + head * own_head
        own_wide_start = outer * own_wide_outer + head * own_wide_head
        right_start = outer * right_outer + head * right_head
        wide_start = outer * wide_outer + head * wide_head
        mask_start = outer * mask_outer + head * mask_head
        of_queries = plane * (column_stop if by_keys else row_stop)
        in_block = warp * types.uint32(16) + (lane >> types.uint32(2))
        first = types.int32(row + types.int32(in_block))
        pair = types.int32((lane & types.uint32(3)) * types.uint32(2))
        start, end = types.int32(0), types.int32(column_stop)
        if causal and by_keys:
            start = types.int32(row // tile * tile)
        elif causal:
            end = types.int32(min(column_stop, row + rows))
        for i in range(all_sums):
            sums[i] = nothing
        for i in range(wide_length):
            wide_sums[i] = nothing
        for i in range(2):
            delta[i], base[i] = nothing, nothing
            if not by_keys and first + i * 8 < row_stop:
                delta[i] = deltas[of_queries + first + i * 8]
                base[i] = bases[of_queries + first + i * 8]

        of_second = types.uint32(origin + types.uint32(of_own))
        tiles = types.uint32(origin + types.uint32(2 * of_own))
        stage = types.uint32(0)
        column, bits = advance(
            start, end, first, pair, row_stop, masks, mask_start, mask_row, mask_column
        )
        if column < end:
            load_own(origin, own, own_start, own_row, row, row_stop, depth, thread)
            load_own(
                of_second, own_wide, own_wide_start, own_wide_row, row, row_stop, width, thread
            )
            load_tile(tiles, right, right_start, right_row, column, end, depth, thread)
            load_tile(
                tiles + types.uint32(of_tile),
                wide, wide_start, wide_row, column, end, width, thread,
            )  # fmt: skip
        commit_copies()
        while column < end:
            following, following_bits = advance(
                types.int32(column + tile), end, first, pair, row_stop,
                masks, mask_start, mask_row, mask_column,
            )  # fmt: skip
            wait()
            cuda.syncthreads()
            here = types.uint32(tiles + stage * types.uint32(2 * of_tile))
            here_wide = types.uint32(here + types.uint32(of_tile))
            stage ^= types.uint32(1)
            if following < end:
                there = types.uint32(tiles + stage * types.uint32(2 * of_tile))
                load_tile(there, right, right_start, right_row, following, end, depth, thread)
                load_tile(
                    there + types.uint32(of_tile),
                    wide, wide_start, wide_row, following, end, width, thread,
                )  # fmt: skip
            commit_copies()
            multiply(scores, origin, here, warp, lane)
            multiply(slopes, of_second, here_wide, warp, lane)
            for i in range(all_scores):
                scores[i] *= scale * log2_e
            stops = row_stop, end
            add(scores, masks, mask_start, mask_row, mask_column, first, column + pair, stops)
            partial = boolean or column + tile > column_stop
            if causal and by_keys:
                partial = partial or column + 1 < row + rows
            elif causal:
                partial = partial or column + tile > row + 1
            offset = types.uint32((here - origin) >> types.uint32(2))
            offset_wide = types.uint32((here_wide - origin) >> types.uint32(2))
            every = True
            if partial:
                bits = seen_bits(
                    bits, first, column + pair, end, row_stop,
                    masks, mask_start, mask_row, mask_column,
                )  # fmt: skip
                every = finite(shared, offset, thread)
                if by_keys:
                    every = every and finite(shared, offset_wide, thread)
                every = cuda.syncthreads_and(types.int32(every)) != 0
            else:
                bits = ~types.uint64(0)
            derive_all(
                scores, slopes, bits, delta, base,
                deltas, bases, of_queries, column + pair, column_stop,
            )  # fmt: skip
            if every:
                if by_keys:
                    accumulate(wide_sums, scores, here_wide, lane)
                accumulate(sums, slopes, here, lane)
            else:
                weights = types.uint32(first_weights + warp * types.uint32(of_weights // 4))
                if by_keys:
                    accumulate_seen(wide_sums, scores, shared, offset_wide, weights, lane, bits)
                accumulate_seen(sums, slopes, shared, offset, weights, lane, bits)
            column, bits = following, following_bits

        out_start = outer * out_outer + head * out_head
        wide_out_start = outer * out_wide_outer + head * out_wide_head
        for i in range(2):
            this_row = first + i * 8
            if this_row < row_stop:
                at = out_start + this_row * out_row + pair
                wide_at = wide_out_start + this_row * out_wide_row + pair
                for c in range(size):
                    place = c * 4 + i * 2
                    if c * 8 + pair < depth:
                        store(out, at + c * 8, sums[place] * scale, sums[place + 1] * scale)
                    if by_keys and c * 8 + pair < width:
                        store_wide(
                            out_wide, wide_at + c * 8, wide_sums[place], wide_sums[place + 1]
                        )

    pointer = element(dtype).pointer
    outs = element(out_dtypes[0]).pointer, element(out_dtypes[-1]).pointer
    pointers = (*[pointer] * 4, mask_pointer(mask), *outs)
    return Kernel(
        walk_through_halves,
        (
            *(a for each in pointers for a in (each, *PLANE)),
            "float32*", "float32*", *("int32",) * 5, "float32",
        ),
        name=f"attention_vjp_of_halves {dtype} {out_dtypes} {tuple(warps)} {mask} {by_keys}",
        threads=warps.threads,
        blocks=2,
        shared=warps.shared_of_gradients,
    )  # fmt: skip
