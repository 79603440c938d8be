"""Top floor: the public names inside ``@njit``, registered with Numba by `register`."""


def register():
    """Tell Numba about fastmat. Numba calls this itself, through its entry point."""
    from fastmat.overloads import (  # noqa: F401
        cluster_norm,
        gradients,
        layer_norm,
        masked,
        matmul,
        moments,
        normalization,
        softmax,
        submatrix,
        transpose,
    )
