"""Block sizes of masked operations and of submatrices."""

CHUNK = 8192  # bytes of a line that are filled at once: four such chunks stay in the L1 cache
SHORT = 16  # items of a line up to which lines are taken along another axis
CROSSED = 256  # items of a line that cross the lines of memory: they stay in the L1 cache
TASK = 1 << 16  # bytes that are one task
RUN = 1 << 15  # bytes of a line that are copied at once
# Lines of up to so many bytes are fetched so many before their turn.
FETCHED = 1024
AHEAD = 32
# Sums are in so many parts at most, with so many places in all, each of so many numbers at least.
PARTS = 64
PARTIAL = 1 << 20
SUMMED = 1 << 15
