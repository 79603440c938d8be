"""Settings that have to be in place before Numba is imported, and threads for every test."""

import os

# Eight threads exist, so that 1, 2, 4 and 8 can be told to work on any machine; every test
# starts with two. Kernels come from the user's cache folder or FASTMAT_CACHE_DIR, which the
# workers of pytest-xdist share: entries are keyed by fastmat's source, so none can be stale.
os.environ.setdefault("NUMBA_NUM_THREADS", "8")

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    deadline=None,  # the first example of a dtype compiles its kernels
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", parent=settings.get_profile("ci"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items):
    """Let each kernel be compiled only once, though pytest-xdist runs several workers.

    All tests of a dtype run in one worker; those that take many dtypes come after them.
    """
    mixed = []
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "dtype" in parameters:
            name = np.dtype(parameters["dtype"]).name.removeprefix("u")
            item.add_marker(pytest.mark.xdist_group(name))
        else:
            mixed.append(item)
    after = set(mixed)
    items[:] = [item for item in items if item not in after] + mixed


@pytest.fixture(autouse=True)
def two_threads():
    """Two threads unless the test sets another number."""
    numba.set_num_threads(2)


@pytest.fixture(scope="session")
def overloads():
    """The names inside ``@njit``, also where the package is not installed (no entry point)."""
    from fastmat import overloads

    overloads.register()
