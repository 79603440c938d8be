"""Block sizes of attention."""

KEYS = 192  # keys of a block: a multiple of MR of each tile. Its scores stay in the L1 cache
PANELS = 4  # panels of queries of one task, which share what of a block is in the L2 cache
PACKED = 8 << 20  # bytes of keys and values packed at once, if those of one head do not take more
SERIAL_SCORES = 64**3  # queries * keys * depth up to which one thread is faster than several
