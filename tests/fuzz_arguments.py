"""The hostile calls of `test_fuzz`, led by Atheris to arguments that take new branches.

    pip install atheris
    python tests/fuzz_arguments.py -max_total_time=600

Any other option of libFuzzer will do, too. A call that gives a wrong result, or an error that is
not clear, ends the run and leaves its input in a file; give the file's name to make it again.
"""

import sys

import atheris

with atheris.instrument_imports(include=["fastmat.ops", "fastmat.core"]):
    import fastmat as fm

import numpy as np
from test_fuzz import OPS, check_call, check_transpose


class Draws:
    """The part of `numpy.random.Generator` that `test_fuzz` uses, drawn from the fuzzer's bytes."""

    def __init__(self, data):
        self.data = atheris.FuzzedDataProvider(data)
        self.numbers = np.random.default_rng(self.data.ConsumeInt(4) & 0xFFFF)

    def random(self):
        return self.data.ConsumeProbability()

    def integers(self, low, high=None, size=None):
        if size is not None:  # contents of arrays
            return self.numbers.integers(low, high, size)
        low, high = (0, low) if high is None else (low, high)
        return self.data.ConsumeIntInRange(int(low), int(high) - 1)

    def choice(self, options, p=None):
        return options[self.integers(len(options))]

    def permutation(self, options):
        rest = list(range(options)) if isinstance(options, int) else list(options)
        return [rest.pop(self.integers(len(rest))) for _ in range(len(rest))]


def make_a_call(data):
    draws = Draws(data)
    op = draws.choice([*OPS, "transpose"])
    if op == "transpose":
        check_transpose(draws)
    else:
        check_call(draws, op)


if __name__ == "__main__":
    fm.matmul(np.eye(2), np.eye(2))
    atheris.Setup(sys.argv, make_a_call)
    atheris.Fuzz()
