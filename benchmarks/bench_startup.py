"""What comes before and beside the arithmetic: imports, first calls, memory.

Imports and first calls are timed in processes of their own.
"""

import os
import subprocess
import sys
import tempfile

from .bench_matmul import product
from .peers import LIBRARIES, Work, require

_OPERANDS = "import numpy as np; a = np.arange(9.0).reshape(3, 3); x = np.ones((512, 512))"
_CALLS = {
    "matmul 3x3": {
        "fastmat": "import fastmat; c = fastmat.matmul(a, a)",
        "numpy": "c = np.matmul(a, a)",
    },
    "matmul 512x512": {
        "fastmat": "import fastmat; c = fastmat.matmul(x, x)",
        "numpy": "c = np.matmul(x, x)",
    },
    "matvec 512x512": {
        "fastmat": "import fastmat; c = fastmat.matvec(x, x[0])",
        "numpy": "c = x @ x[0]",
    },
    "transpose 3x3": {
        "fastmat": "import fastmat; c = fastmat.transpose(a)",
        "numpy": "c = a.T.copy()",
    },
}
_CHECKS = {
    "matmul 3x3": "assert (c == np.array([[15, 18, 21], [42, 54, 66], [69, 90, 111]])).all()",
    "matmul 512x512": "assert c.shape == (512, 512) and (c == 512).all()",
    "matvec 512x512": "assert c.shape == (512,) and (c == 512).all()",
    "transpose 3x3": "assert (c == np.array([[0, 3, 6], [1, 4, 7], [2, 5, 8]])).all()",
}


def run_once(*code, cache=None):
    """Run lines of code in a new process, which leaves its kernels in the cache."""
    environment = {**os.environ, "FASTMAT_CACHE_DIR": cache} if cache else None
    subprocess.run([sys.executable, "-c", "\n".join(code)], check=True, env=environment)


class Import:
    """Importing a library; fastmat and PyTorch once NumPy is there."""

    params = ("fastmat", "numpy", "torch")
    param_names = ("library",)
    rounds = 1
    repeat = (3, 7, 10.0)
    warmup_time = 0.0

    def setup(self, library):
        require(library)
        run_once(f"import {library}")  # the files are in memory from here on

    def timeraw_import(self, library):
        return f"import {library}", "" if library == "numpy" else "import numpy"


class FirstCall:
    """The first call in a process, with the imports that it needs.

    With a cold cache it compiles the kernel, with a warm one it loads what another process has
    compiled.
    """

    params = (tuple(_CALLS), ("warm", "cold"), ("fastmat", "numpy"))
    param_names = ("operation", "cache", "library")
    rounds = 1
    repeat = (1, 5, 20.0)
    warmup_time = 0.0
    timeout = 600

    def setup(self, operation, cache, library):
        if library == "numpy" and cache == "cold":
            raise NotImplementedError("NumPy compiles nothing")
        self.folder = tempfile.TemporaryDirectory(prefix="fastmat-warm-")
        if cache == "warm":
            code = _OPERANDS, _CALLS[operation][library], _CHECKS[operation]
            run_once(*code, cache=self.folder.name)

    def teardown(self, operation, cache, library):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def timeraw_first_call(self, operation, cache, library):
        folder = repr(self.folder.name)
        if cache == "cold":  # a new one for each sample
            folder = f"tempfile.mkdtemp(dir={folder})"
        setup = f"import os, tempfile; os.environ['FASTMAT_CACHE_DIR'] = {folder}; {_OPERANDS}"
        return _CALLS[operation][library], setup


class FurtherKernel:
    """A kernel from a warm cache, in a process that has used another one before."""

    rounds = 1
    repeat = (3, 7, 20.0)
    warmup_time = 0.0
    timeout = 600

    def setup(self):
        self.folder = tempfile.TemporaryDirectory(prefix="fastmat-warm-")
        matmul, transpose = (_CALLS[name]["fastmat"] for name in ("matmul 3x3", "transpose 3x3"))
        run_once(_OPERANDS, matmul, transpose, _CHECKS["transpose 3x3"], cache=self.folder.name)

    def teardown(self):
        self.folder.cleanup()

    def timeraw_further_kernel(self):
        folder = f"import os; os.environ['FASTMAT_CACHE_DIR'] = {self.folder.name!r}"
        before = _CALLS["matmul 3x3"]["fastmat"]
        return _CALLS["transpose 3x3"]["fastmat"], f"{folder}; {_OPERANDS}; {before}"


class Memory:
    """The most memory that a process holds which makes one product of n×n float32 matrices.

    The three matrices take 48 MiB of it.
    """

    params = ((2048,), LIBRARIES)
    param_names = ("n", "library")

    def setup(self, n, library):
        require(library)
        if library.startswith("fastmat"):  # compiling takes memory, too, but not in this process
            run_once(
                "import numpy as np, fastmat",
                "a = np.ones((64, 64), np.float32)",
                "fastmat.matmul(a, a, np.empty_like(a))",
            )
        self.work = Work(product("float32", n, n, n), library)

    def peakmem_product(self, n, library):
        self.work.call()

    def teardown(self, n, library):
        if hasattr(self, "work"):  # checked only now: the check takes memory
            self.work.check(self.work.expected())
