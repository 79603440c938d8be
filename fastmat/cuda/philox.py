"""Philox 4x32-10 in kernels for GPUs: the words of `core.philox`, in registers of 32 bits."""

from numba import cuda, types

from fastmat.core.philox import MULTIPLIERS, ROUNDS, STEPS


@cuda.jit(device=True)
def philox4x32(c0, c1, c2, c3, k0, k1):
    """Four random words of 32 bits, from a counter of four and a key of two, all uint32."""
    half = types.uint64(32)
    c0, c1, c2, c3 = types.uint32(c0), types.uint32(c1), types.uint32(c2), types.uint32(c3)
    k0, k1 = types.uint32(k0), types.uint32(k1)
    for _ in range(ROUNDS):
        x = types.uint64(c0) * types.uint64(MULTIPLIERS[0])
        y = types.uint64(c2) * types.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            types.uint32(y >> half) ^ c1 ^ k0,
            types.uint32(y),
            types.uint32(x >> half) ^ c3 ^ k1,
            types.uint32(x),
        )
        c0, c2 = types.uint32(c0), types.uint32(c2)
        k0 = types.uint32(k0 + types.uint32(STEPS[0]))
        k1 = types.uint32(k1 + types.uint32(STEPS[1]))
    return c0, c1, c2, c3


@cuda.jit(device=True)
def words_at(position, seed, stream):
    """The four words of a block of a stream: what `fastmat.random` makes numbers of."""
    half = types.uint64(32)
    position, seed, stream = types.uint64(position), types.uint64(seed), types.uint64(stream)
    return philox4x32(
        types.uint32(position),
        types.uint32(position >> half),
        types.uint32(stream),
        types.uint32(stream >> half),
        types.uint32(seed),
        types.uint32(seed >> half),
    )
