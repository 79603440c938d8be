"""What a linear layer does with a product: a bias, then a user's own activation.

(Named activations are kernels, see `epilogues`.)
"""

import functools

from fastmat.cpu.scalar_functions import embedded


@functools.lru_cache
def after_bias(activation):
    """The scalar function that adds a bias, and then applies a user's own."""
    apply = embedded(activation, 1)

    def biased(x, bias):
        return apply(x + bias)

    biased.__name__ = getattr(activation, "__name__", str(activation))
    return biased
