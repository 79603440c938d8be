"""Block sizes of sparse products: data, each with what chose it."""

VECTORS = 4  # of the columns of a block that are summed up at once, in registers
TASK_ENTRIES = 16384  # numbers and rows that one task goes through
PIECES = 32  # into how many pieces the rows are split that add to the same sums, at the most
SHARE = 8  # least numbers and rows of a piece, per row of its sums
