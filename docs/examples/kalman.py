"""Kalman filters of 100,000 tracked objects at once: ``python docs/examples/kalman.py``.

Each object moves in the plane with a nearly constant velocity: its state is position and velocity
(4 numbers), and its position is observed with noise. The same equations are written with NumPy,
and with fastmat inside ``@njit``, where every product is a stack of 100,000 products of 4x4 and
smaller matrices. Kalman, "A new approach to linear filtering and prediction problems", 1960.
"""

import argparse
import time

import numpy as np
from numba import njit

import fastmat as fm

STEP = 0.1  # seconds from observation to observation
MOTION = np.eye(4) + STEP * np.eye(4, k=2)  # state -> next state
SEEN = np.eye(2, 4)  # state -> what is observed
DRIFT = 1e-3 * np.eye(4)  # covariance of what moves the objects
NOISE = 0.05 * np.eye(2)  # covariance of the errors of observation


def simulate(count, steps, rng):
    """Observed positions, (steps, count, 2)."""
    state = rng.standard_normal((count, 4))
    observed = np.empty((steps, count, 2))
    for t in range(steps):
        state = state @ MOTION.T + rng.standard_normal((count, 4)) @ np.sqrt(DRIFT)
        observed[t] = state[:, :2] + rng.standard_normal((count, 2)) @ np.sqrt(NOISE)
    return observed


def filter_numpy(observed):
    """The last state, (count, 4), and its covariance, (count, 4, 4)."""
    count = observed.shape[1]
    state, covariance = np.zeros((count, 4, 1)), np.tile(np.eye(4), (count, 1, 1))
    for z in observed:
        state = MOTION @ state
        covariance = MOTION @ covariance @ MOTION.T + DRIFT
        cross = covariance @ SEEN.T
        inverse = np.linalg.inv(SEEN @ cross + NOISE)
        gain = cross @ inverse
        state = state + gain @ (z[:, :, np.newaxis] - SEEN @ state)
        covariance = covariance - gain @ (SEEN @ covariance)
    return state[:, :, 0], covariance


@njit
def invert_2x2(m):
    """Inverse of each matrix of a stack (count, 2, 2), in place."""
    for i in range(m.shape[0]):
        a, b, c, d = m[i, 0, 0], m[i, 0, 1], m[i, 1, 0], m[i, 1, 1]
        scale = 1 / (a * d - b * c)
        m[i, 0, 0], m[i, 0, 1], m[i, 1, 0], m[i, 1, 1] = (
            scale * d,
            -scale * b,
            -scale * c,
            scale * a,
        )


@njit
def filter_fastmat(observed, motion, seen, drift, noise):
    """The same; the products are fastmat's, and write into arrays that are there already."""
    count = observed.shape[1]
    state, moved = np.zeros((count, 4, 1)), np.empty((count, 4, 1))
    covariance, work = np.empty((count, 4, 4)), np.empty((count, 4, 4))
    covariance[:] = np.eye(4)
    cross, gain = np.empty((count, 4, 2)), np.empty((count, 4, 2))
    inner, error = np.empty((count, 2, 2)), np.empty((count, 2, 1))
    rows = np.empty((count, 2, 4))
    for t in range(observed.shape[0]):
        fm.matmul(motion, state, out=moved)
        fm.matmul(motion, covariance, out=work)
        fm.matmul(work, motion.T, out=covariance)
        covariance += drift
        fm.matmul(covariance, seen.T, out=cross)
        fm.matmul(seen, cross, out=inner)
        inner += noise
        invert_2x2(inner)
        fm.matmul(cross, inner, out=gain)
        fm.matmul(seen, moved, out=error)
        error[:, :, 0] = observed[t] - error[:, :, 0]
        fm.matmul(gain, error, out=state)
        state += moved
        fm.matmul(seen, covariance, out=rows)
        fm.matmul(gain, rows, out=work)
        covariance -= work
    return state[:, :, 0], covariance


def main(arguments=None):
    """Run both, compare their results, print their times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000, help="objects (default: 100000)")
    parser.add_argument("--steps", type=int, default=20, help="observations (default: 20)")
    options = parser.parse_args(arguments)
    observed = simulate(options.count, options.steps, np.random.default_rng(0))
    constants = MOTION, SEEN, DRIFT, NOISE
    filter_fastmat(observed[:1], *constants)  # compiles

    begin = time.perf_counter()
    expected = filter_numpy(observed)
    middle = time.perf_counter()
    found = filter_fastmat(observed, *constants)
    end = time.perf_counter()

    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    print(f"{options.count} objects, {options.steps} observations; the results agree")
    print(f"NumPy    {middle - begin:.3f} s")
    print(f"fastmat  {end - middle:.3f} s, {(middle - begin) / (end - middle):.1f} times as fast")


if __name__ == "__main__":
    main()
