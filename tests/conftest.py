"""Settings that have to be in place before Numba is imported, and threads for every test."""

import os

# Eight threads exist, so that 1, 2, 4 and 8 can be told to work on any machine; every test
# starts with two. Kernels come from the user's cache folder or FASTMAT_CACHE_DIR, which the
# workers of pytest-xdist share: entries are keyed by fastmat's source, so none can be stale.
os.environ.setdefault("NUMBA_NUM_THREADS", "8")

import numba
import pytest
from gpus import gpu  # noqa: F401
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


collect_ignore = ["fuzz_arguments.py", "random_battery.py"]  # commands


def pytest_collection_modifyitems(items):
    """Tests of one dtype come first, those that take many after them.

    So the workers of pytest-xdist compile the kernels of different dtypes, each once, and later
    tests find them all in the cache. (`xdist_group` would say it better, but has no effect with
    pytest-xdist 3.8 and pytest 9.2: it writes to `Item._nodeid`, which pytest no longer reads.)
    """

    def many_dtypes(item):
        return not (hasattr(item, "callspec") and "dtype" in item.callspec.params)

    items.sort(key=many_dtypes)


@pytest.fixture(autouse=True)
def two_threads():
    """Two threads unless the test sets another number."""
    numba.set_num_threads(2)


@pytest.fixture(scope="session")
def overloads():
    """The names inside ``@njit``, also where the package is not installed (no entry point)."""
    from fastmat import overloads

    overloads.register()
