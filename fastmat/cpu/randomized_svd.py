"""The signs of singular vectors, which a decomposition leaves open."""

import numpy as np

from fastmat.core.compile import kernel, writes

FLOATS = ("float32", "float64", "complex64", "complex128")


@kernel(lambda t: (writes(t, 2), writes(t, 2)), FLOATS, from_python=True)
def flip_signs(
    u,  # inout (m, k)
    vh,  # inout (k, n)
):
    """Make the entry of largest magnitude in each column of u real and positive.

    The first of several such; a row of vh is multiplied by the conjugate of what its column is.
    """
    for c in range(u.shape[1]):
        largest = u[0, c]
        for i in range(u.shape[0]):
            if abs(u[i, c]) > abs(largest):
                largest = u[i, c]
        if abs(largest) > 0:
            phase = largest / abs(largest)
            for i in range(u.shape[0]):
                u[i, c] *= np.conj(phase)
            for j in range(vh.shape[1]):
                vh[c, j] *= phase
