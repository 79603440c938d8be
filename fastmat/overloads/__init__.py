"""Top floor: the public names inside ``@njit``, registered with Numba by `register`."""
