"""Scaled dot-product attention of float16 and bfloat16 on tensor cores.

As `attention`, with the products by mma.sync. Each warp has `16 * blocks` queries of its own, and
keeps their scores, weights and sums in registers: the accumulators of scores are, rounded to 16
bits, the left operands of weights times values (Dao, 2023, arXiv:2307.08691). While a tile of keys
and values is used up, the next one is copied to the other half of their shared memory.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import cuda, types

from fastmat.cuda.attention import PLANE, mask_pointer
from fastmat.cuda.attention_fragments import (
    finite_of,
    loader,
    scores_of,
    softmax_of_fragments,
    sums_of,
    visibility,
)
from fastmat.cuda.attention_softmax import ALL_LANES, widened_bits
from fastmat.cuda.attention_tiles import inlined
from fastmat.cuda.elements import element
from fastmat.cuda.intrinsics_tensor import (
    commit_copies,
    shared_address,
    store_pair,
    wait_for_copies,
)
from fastmat.cuda.kernel import Kernel


@functools.cache
def attention_of_halves(dtype, warps, mask, stats):
    """The kernel for operands of one dtype, whose rows allow accesses of 16 bytes.

    Parameters
    ----------
    dtype
        "float16" or "bfloat16".
    warps
        The geometry.
    mask
        None, "causal", "bool" or the dtype of an additive mask.
    stats
        Whether the logarithms of the sums of exponentials are stored.
    """
    rows, keys, size = warps.rows, warps.keys, warps.size
    blocks, columns = warps.blocks, size // 8
    of_tile, of_queries, of_weights = warps.of_tile, warps.of_queries, warps.of_weights
    first_weights = (of_queries + 4 * of_tile) // 4
    all_scores, all_sums = blocks * keys // 2, blocks * size // 2
    own_rows = 2 * blocks
    causal, boolean = mask == "causal", mask == "bool"
    log2_e, ln_2 = np.float32(math.log2(math.e)), np.float32(math.log(2))
    lowest, nothing, one = np.float32(-np.inf), np.float32(0), np.float32(1)
    load_queries, load_keys = loader(warps, rows), loader(warps, keys)
    advance, seen_bits, hide, add = visibility(warps, mask)
    multiply = scores_of(dtype, warps)
    weigh = softmax_of_fragments(warps)
    accumulate, accumulate_seen = sums_of(dtype, warps)
    finite = finite_of(dtype, warps)
    store = store_pair(dtype)
    double_bits = widened_bits("float32")
    wait = wait_for_copies(0)

    @inlined
    def quad_sum(x):
        x += cuda.shfl_xor_sync(ALL_LANES, x, 2)
        return x + cuda.shfl_xor_sync(ALL_LANES, x, 1)

    def attend_halves(
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
        shared = cuda.shared.array(0, types.uint32)
        origin = shared_address(shared)
        scores = cuda.local.array(all_scores, types.float32)
        sums = cuda.local.array(all_sums, types.float32)
        top = cuda.local.array(own_rows, types.float32)
        total = cuda.local.array(own_rows, types.float32)
        factor = cuda.local.array(own_rows, types.float32)
        thread = types.uint32(cuda.threadIdx.x)
        lane, warp = thread & types.uint32(31), thread >> types.uint32(5)
        block, count = cuda.blockIdx.x, (m + rows - 1) // rows
        plane, row = block // count, types.int32(block % count * rows)
        if causal:
            row = types.int32((count - 1) * rows - row)  # the longest come first
        outer, head = plane // heads, plane % heads
        q_start = outer * q_outer + head * q_head
        k_start = outer * k_outer + head * k_head
        v_start = outer * v_outer + head * v_head
        mask_start = outer * mask_outer + head * mask_head
        in_block = warp * types.uint32(16 * blocks) + (lane >> types.uint32(2))
        first = types.int32(row + types.int32(in_block))
        pair = types.int32((lane & types.uint32(3)) * types.uint32(2))
        key_stop = types.int32(min(n, row + rows)) if causal else n
        for i in range(own_rows):
            top[i], total[i] = lowest, nothing
        for i in range(all_sums):
            sums[i] = nothing

        tiles = types.uint32(origin + types.uint32(of_queries))
        stage = types.uint32(0)
        key, bits = advance(
            types.int32(0), key_stop, first, pair, m, masks, mask_start, mask_row, mask_column
        )
        if key < key_stop:
            load_queries(origin, q, q_start, q_row, row, m, depth, thread)
            load_keys(tiles, k, k_start, k_row, key, key_stop, depth, thread)
            load_keys(
                tiles + types.uint32(of_tile), v, v_start, v_row, key, key_stop, width, thread
            )
        commit_copies()
        while key < key_stop:
            following, following_bits = advance(
                types.int32(key + keys), key_stop, first, pair, m,
                masks, mask_start, mask_row, mask_column,
            )  # fmt: skip
            wait()
            cuda.syncthreads()
            here = types.uint32(tiles + stage * types.uint32(2 * of_tile))
            stage ^= types.uint32(1)
            if following < key_stop:
                there = types.uint32(tiles + stage * types.uint32(2 * of_tile))
                load_keys(there, k, k_start, k_row, following, key_stop, depth, thread)
                load_keys(
                    there + types.uint32(of_tile),
                    v, v_start, v_row, following, key_stop, width, thread,
                )  # fmt: skip
            commit_copies()
            multiply(scores, origin, here, warp, lane)
            for i in range(all_scores):
                scores[i] *= scale * log2_e
            partial = boolean or key + keys > n or (causal and key + keys > row + 1)
            stops = m, key_stop
            add(scores, masks, mask_start, mask_row, mask_column, first, key + pair, stops)
            if partial:
                bits = seen_bits(
                    bits, first, key + pair, key_stop, m,
                    masks, mask_start, mask_row, mask_column,
                )  # fmt: skip
                hide(scores, bits)
            weigh(scores, top, total, factor)
            for i in range(own_rows):
                for c in range(columns):
                    at = (i // 2 * columns + c) * 4 + i % 2 * 2
                    sums[at] *= factor[i]
                    sums[at + 1] *= factor[i]
            values = types.uint32(here + types.uint32(of_tile))
            every = True
            offset = types.uint32((values - origin) >> types.uint32(2))
            if partial:
                every = cuda.syncthreads_and(types.int32(finite(shared, offset, thread))) != 0
            if every:
                accumulate(sums, scores, values, lane)
            else:
                weights = types.uint32(first_weights + warp * types.uint32(of_weights // 4))
                accumulate_seen(sums, scores, shared, offset, weights, lane, bits)
            key, bits = following, following_bits

        out_start = outer * out_outer + head * out_head
        for i in range(own_rows):
            total[i] = quad_sum(total[i])
        for i in range(own_rows):
            this_row = first + i * 8
            unseen = total[i] == nothing
            inverse = nothing if unseen else one / total[i]
            if this_row < m:
                at = out_start + this_row * out_row + pair
                for c in range(columns):
                    if c * 8 + pair < width:
                        place = (i // 2 * columns + c) * 4 + i % 2 * 2
                        store(out, at + c * 8, sums[place] * inverse, sums[place + 1] * inverse)
                if stats and pair == 0:
                    log = lowest if unseen else (top[i] + math.log2(total[i])) * ln_2
                    logs[plane * m + this_row] = double_bits(log)

    pointer = element(dtype).pointer
    pointers = (*[pointer] * 3, mask_pointer(mask), pointer)
    arguments = [a for each in pointers for a in (each, *PLANE)]
    return Kernel(
        attend_halves,
        (*arguments, "uint64*", *("int32",) * 5, "float32"),
        name=f"attention_of_halves {dtype} {tuple(warps)} {mask} {stats}",
        threads=warps.threads,
        blocks=2 if warps.blocks == 2 and warps.size < 128 else 1,
        shared=warps.shared,
    )
