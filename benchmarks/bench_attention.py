"""Attention and its gradients: 8 heads, all queries seeing all keys or those before them.

A rate counts the products of visible blocks, two of the forward operation and seven of the
gradients (five that are needed, and the scores and their slopes once more).
"""

from fastmat.comparisons.cases import on_heads

from .peers import LIBRARIES, Comparison

OPERATIONS = ("scaled_dot_product_attention", "scaled_dot_product_attention_vjp")
SHAPES = {"8x1024x64": (1, 8, 1024, 64), "4x8x200x64": (4, 8, 200, 64), "4000x32": (1, 1, 4000, 32)}
SEEN = {"all": (), "causal": (("is_causal", True),)}


class Heads(Comparison):
    """As many queries as keys."""

    unit = "GFLOP/s"
    params = (OPERATIONS, ("float32", "float64"), tuple(SHAPES), tuple(SEEN), LIBRARIES)
    param_names = ("operation", "dtype", "shape", "seen", "library")

    def case(self, operation, dtype, shape, seen):
        return on_heads("asv", operation, dtype, SHAPES[shape], options=SEEN[seen])
