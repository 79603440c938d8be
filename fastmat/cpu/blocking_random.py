"""Block sizes of random numbers."""

BLOCKS = 256  # of four words that are drawn at once: words and numbers stay in the L1 cache
LEAST = 16  # blocks that are drawn at least, so that loops are whole vectors
TASK = 1 << 16  # numbers that are one task
SERIAL = 1 << 14  # numbers up to which one thread is faster than several
# Permutations: keys are dealt to as many buckets, so that a bucket has about so many keys; again
# within a bucket, so that about PILE are left to be sorted by insertion.
BUCKET = 2048
BUCKETS = 2048  # at most: as many places are written to at once
PILE = 2
DRAWN = 1 << 14  # keys that one task draws
FEW = 32  # rows of a column of a sparse matrix up to which they are sorted by insertion
COLUMNS = 1 << 13  # entries of the columns that are one task
