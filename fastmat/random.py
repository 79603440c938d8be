"""Random numbers by position: what is drawn depends on a seed, a stream and a place alone."""

from fastmat.ops.random import integers, normal, rademacher, standard_normal, uniform

__all__ = ["integers", "normal", "rademacher", "standard_normal", "uniform"]
