"""Block sizes of random numbers."""

BLOCKS = 256  # of four words that are drawn at once: words and numbers stay in the L1 cache
LEAST = 16  # blocks that are drawn at least, so that loops are whole vectors
TASK = 1 << 16  # numbers that are one task
SERIAL = 1 << 14  # numbers up to which one thread is faster than several
