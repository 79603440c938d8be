"""Block sizes and crossovers of reductions and of what is normalized by them."""

CHUNK = 4096  # numbers of a line that are read at once: they stay in the L1 cache
FUSED = 65536  # numbers of a group up to which it stays in the L2 cache from reading to writing
PIECE = 16  # chunks of a longer group that are one task
LANES = 64  # neighbouring groups that are computed side by side, across lines
FUSED_LINES = 1024  # lines of LANES numbers up to which a block stays in the L2 cache
BLOCK_LINES = 256  # lines of LANES numbers that are one task where there are more
SHORT = 32  # numbers of a group up to which groups are computed side by side in any case
SERIAL = 1 << 15  # numbers up to which one thread is faster than several
TASK = 1 << 15  # numbers of the groups that are one task
STREAMED = 1 << 23  # bytes of output above which stores pass by the caches
# Bytes of a line from which they do: both its ends do not, and lines of 256 bytes took six times
# as long with them as without.
STREAMED_LINE = 1024
SUMMED = 1 << 19  # numbers of a sum that stay in the L3 cache till they are normalized
# Gradients by weights are added up by so many tasks at most, with so many places in all, each
# of so many groups at least.
PARTS = 64
PARTIAL = 1 << 20
SHARED = 8
LARGE = 1e30  # factors beyond this, or its inverse, are multiplied in float64: float32 overflows
POINTS = 512  # rows whose distances to all centers are computed at once, in one task
DISTANCES = 1 << 18  # distances up to which that many are: they stay in the L2 cache
SLICES = 64  # parts of all rows that are summed apart, and then together
SLICE = 4  # rows for each center that such a part has at least: sums take less memory than rows
# Rows of a cluster before its turn that a row is fetched, to be read and to be written: without it,
# rows in random order take 1.5 times as long.
AHEAD = 16
