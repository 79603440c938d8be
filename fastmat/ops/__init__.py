"""Top floor: what users call. Docstring, checks, dispatch; no kernels, no numba import."""
