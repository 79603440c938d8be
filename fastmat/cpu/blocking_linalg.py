"""Block sizes of tall-skinny linear algebra: data, each with what chose it."""

FLOATS = ("float32", "float64", "complex64", "complex128")

GRAM_SUMS = 2**21  # numbers in the partial sums of a Gram matrix, at the most
GRAM_PIECES = 4  # into how many pieces its rows are split, at the least
PACKED_BYTES = 2**15  # of rows that a narrow Gram matrix packs: an L1 cache
PACKED_LEAST = 64  # rows of them, at the least
STEP_BYTES = 2**21  # of a block of rows in `power_step`, read again from L2 or L3: 2**20 is slower
STEP_ROWS = 384  # rows of such a block, at the most
STEP_PIECES = 32  # into how many pieces its rows are split, at the most
STEP_SHARE = 16  # least rows of a piece, per column: partial sums take at most 1/16 of the memory
FACTOR = 64  # columns of a panel in Cholesky's factorization
LANES_FACTOR = 16  # n up to which the items of a stack are factored in lanes
SOLVE_VECTORS = 8  # vectors of rows that are solved at once: enough sums to hide their latency
SOLVE_FEW = 2  # the same where there are few rows
SOLVE_COLUMNS = 128  # columns that are solved by substitution, whose rows stay in the L2 cache
SOLVE_ROWS = 8192  # rows of which products are subtracted at once
COMBINED_ROWS = 64  # rows of partial sums that one task adds up
ORTHOGONAL = 0.5  # ||QᴴQ - 1|| from which one more CholeskyQR makes Q orthogonal to rounding
QR_ROUNDS = 40  # CholeskyQRs at the most; 12 were seen
QR_TRIES = 5  # CholeskyQRs before dependent columns are replaced: all others need fewer
QR_SHIFTS = 3  # how many of them may be shifted
QR_SHIFT = 2.0  # of the shift, relative to squared columns: this times n * eps
QR_NOISE = 32.0  # squared columns, less what others explain, that are noise: this times n * eps
QR_REST = 10.0  # columns of a - q r, relative to those of a: at most this times eps * sqrt(n)
SCALED_ROWS = 256  # rows that one task scales
MEASURED_ROWS = 4096  # rows that one task goes through for the lengths of columns
MOMENT_ROWS = 4096  # rows whose sums one task takes
MOMENT_COLUMNS = 512  # columns of them: their sums are 8 KiB, and stay in the L1 cache
SHIFTED_NUMBERS = 2**15  # numbers that one task subtracts from
