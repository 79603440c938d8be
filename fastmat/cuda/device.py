"""Device functions for kernels of your own, to be called within ``@cuda.jit``.

Random numbers: `philox4x32` is the generator, `words_at` what `fastmat.random` makes its numbers
of.

Reductions: ``lanes_reduce(combine, width)`` makes a device function for groups of lanes of a warp,
``block_reduce(combine, threads)`` one for a block; see `fastmat.cuda.reductions`. All threads get
the result, in the same bits each time. What to combine states with: `plus`, `larger`, `smaller`,
``merged_moments(number)`` for means and variances, and ``log_sums(number)`` for the online
softmax: a state is the largest number so far and the sum of the exponentials of the numbers less
it, and two of them become one. Here a block computes the logarithms of sums of exponentials of the
rows of a matrix, in one pass::

    import math
    from numba import cuda, float32, uint64
    from fastmat.cuda.device import block_reduce, block_words, log_sums

    together = log_sums(float32)
    reduce = block_reduce(together, 256)
    WORDS = block_words(256, 2)  # for states of two numbers
    LOWEST, ZERO, ONE = float32(-math.inf), float32(0), float32(1)

    @cuda.jit
    def logsumexp_of_rows(x, result):  # launched with x.shape[0] blocks of 256 threads
        words = cuda.shared.array(WORDS, uint64)
        state = LOWEST, ZERO
        for j in range(cuda.threadIdx.x, x.shape[1], 256):
            state = together(state, (x[cuda.blockIdx.x, j], ONE))
        largest, total = reduce(state, words)
        if cuda.threadIdx.x == 0:
            result[cuda.blockIdx.x] = largest + math.log(total)

Functions of one number: ``elementary("exp", "float32")`` is fastmat's own `exp`, of the same source
as on the CPU; there are ``exp``, ``log``, ``tanh``, ``erf``, ``rsqrt`` and ``sincos_turns``, for
float32 and float64. The bits are those of the CPU where products and sums are rounded one by one;
`cuda.jit` lets the compiler fuse them.

Products: `tile_product` has the functions with which a block computes a tile of one.
"""

from fastmat.cuda.elementary import function as elementary
from fastmat.cuda.philox import philox4x32, words_at
from fastmat.cuda.reductions import (
    block_reduce,
    block_words,
    lanes_reduce,
    larger,
    log_sums,
    merged_moments,
    plus,
    smaller,
)
from fastmat.cuda.tile_products import tile_product

__all__ = [
    "block_reduce",
    "block_words",
    "elementary",
    "lanes_reduce",
    "larger",
    "log_sums",
    "merged_moments",
    "philox4x32",
    "plus",
    "smaller",
    "tile_product",
    "words_at",
]
