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

from fastmat.cpu import blocking

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from fastmat.core.mathfn import NUMBA_DTYPES, accumulator
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
