"""Device functions for kernels of your own, to be called within ``@cuda.jit``.

Random numbers: `philox4x32` is the generator, `words_at` what `fastmat.random` makes its numbers
of.
"""

from fastmat.cuda.philox import philox4x32, words_at

__all__ = ["philox4x32", "words_at"]
