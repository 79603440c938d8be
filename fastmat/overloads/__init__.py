"""Top floor: the public names inside ``@njit``, registered with Numba by `register`."""


def register():
    """Tell Numba about fastmat. Numba calls this itself, through its entry point."""
    from fastmat.overloads import (  # noqa: F401
        attention,
        cholesky,
        cluster_norm,
        gradients,
        gram,
        layer_norm,
        linear,
        masked,
        masked_gradients,
        masked_reductions,
        masks,
        matmul,
        moments,
        normalization,
        pca,
        qr_tall,
        random,
        random_matrices,
        randomized_svd,
        randomized_svd_vjp,
        softmax,
        solve_triangular,
        submatrix,
        transpose,
    )
