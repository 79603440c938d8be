"""Every tile of the table runs and is right: each instruction set, forced in its own process.

LLVM turns vectors that are wider than the CPU's into several of its own, so any CPU can execute
all of them. The script walks the branches of a kernel: edges of tiles, several blocks of k, split
sums, vectors, stacks.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastmat.core import mathfn
from fastmat.cpu import blocking

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from fastmat.core.mathfn import NUMBA_DTYPES, accumulator
from fastmat.core import mathfn
from fastmat.cpu import blocking
from products import bits, check, check_near, normal, small_integers
import fastmat as fm
import numpy as np

assert blocking.ISA == sys.argv[2], blocking.ISA
for dtype in sys.argv[3:]:
    tile = blocking.tile(accumulator(NUMBA_DTYPES[dtype]))
    rows, cols = tile.rows, tile.cols
    for m in (rows - 1, rows, rows + 1, 3 * rows + 1):
        for n in (cols - 1, cols, cols + 1, 2 * cols + 1):
            for k in (1, 4, 300):
                check("matmul", small_integers((m, k), dtype, 1), small_integers((k, n), dtype, 2))
    for shape1, shape2 in [
        ((61, 1030), (1030, 67)),
        ((4, 20011), (20011, 3)),
        ((131, 40), (40, 137)),
        ((100, 4, 4), (100, 4, 4)),
        ((100, 9, 10), (10, 11)),
        ((90, 70), (70,)),
        ((70,), (70, 90)),
        ((1000,), (1000,)),
    ]:
        x1, x2 = small_integers(shape1, dtype, 1), small_integers(shape2, dtype, 2)
        check("matmul", x1, x2)
        check("matmul", np.asfortranarray(x1), x2[..., ::-1] if x2.ndim > 1 else x2)
        if np.dtype(dtype).kind in "fc":
            x1, x2 = normal(shape1, dtype, 1), normal(shape2, dtype, 2)
            check_near("matmul", x1, x2)
            assert bits(fm.matmul(np.asfortranarray(x1), x2)) == bits(fm.matmul(x1, x2))
    print(dtype, "is right")
"""


@pytest.mark.parametrize(
    ("isa", "dtypes"),
    [
        (isa, dtypes)
        for isa in blocking.REGISTERS
        for dtypes in (("float32", "int64", "bool"), ("float64", "complex64", "float16"))
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_every_tile(isa, dtypes):
    tests = Path(__file__).parent
    forced = {} if isa == blocking.ISA else {"FASTMAT_ISA": isa}  # the own one is compiled already
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tests), isa, *dtypes],
        cwd=tests.parent,
        env={**os.environ, **forced},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [f"{dtype} is right" for dtype in dtypes]


HALVES = """
import sys
import numpy as np
import fastmat as fm
from fastmat.core import mathfn

assert mathfn.has_float16_instructions() == (sys.argv[1] == "with"), sys.argv[1]
every = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(2, -1)
count = every.shape[1]
one, zero = np.ones(count), np.zeros(count)
same = fm.batch_norm(every, zero, one, eps=0.0)  # read, and rounded to what they are
assert np.array_equal(same, every, equal_nan=True)
rng = np.random.default_rng(1)
wide = rng.integers(0, 2**32, count, np.uint32).view(np.float32)
wide[: count // 2] = rng.standard_normal(count // 2) * 10.0 ** rng.integers(-9, 6, count // 2)
rounded = fm.batch_norm(np.ones((2, count), np.float16), zero, one, weight=wide, eps=0.0)[0]
with np.errstate(over="ignore", under="ignore", invalid="ignore"):
    assert np.array_equal(rounded, wide.astype(np.float16), equal_nan=True)
print("right")
"""


@pytest.mark.parametrize("instructions", ["with", "without"])
def test_float16_with_and_without_instructions_for_it(instructions):
    """All float16 numbers are read, and float32 numbers rounded, as NumPy does."""
    if instructions == "with" and not mathfn.has_float16_instructions():
        pytest.skip("this CPU has none")
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    run = subprocess.run(
        [sys.executable, "-c", HALVES, instructions],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **(plain if instructions == "without" else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["right"]
