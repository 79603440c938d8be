"""Linear algebra of tall and skinny matrices: what randomized factorizations are made of."""

from fastmat.ops.gram import gram, power_step

__all__ = ["gram", "power_step"]
