"""Machine code of the kernels for GPUs, held to budgets: no GPU is needed."""

import numpy as np
import pytest
from machine_code import Budget, Instruction, assembled, offences

pytest.importorskip("numba_cuda")

from cuda_budgets import FULL, QUICK
from numba import cuda, types

from fastmat.cuda.intrinsics import load_run, store_run
from fastmat.cuda.kernel import Kernel

CAPABILITIES = [(8, 0), (9, 0)]


def check(budget, capability, folder):
    """Hold kernels to their budget."""
    kernels = budget.kernels(capability)
    kernels = [k for k in kernels if budget.only in ("", k.function.__name__)]
    assert kernels
    broken = [
        f"{kernel}: {what}"
        for kernel in kernels
        for what in offences(assembled(kernel, capability, folder), budget)
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
@pytest.mark.parametrize("name", QUICK)
def test_budget(name, capability, tmp_path):
    check(QUICK[name], capability, tmp_path)


@pytest.mark.cuda_full
@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
@pytest.mark.parametrize("name", FULL)
def test_budget_in_full(name, capability, tmp_path):
    check(FULL[name], capability, tmp_path)


def planted(function, folder, **budget):
    """Offences of a kernel (x, i, n), compiled for compute capability 9.0."""
    kernel = Kernel(function, ("float32*", "int32", "int32"), name=None, threads=32)
    code = assembled(kernel, (9, 0), folder)
    assert code.instructions
    assert any(i.name == "EXIT" for i in code.instructions)
    return offences(code, Budget(None, **{"registers": 255, **budget}))


def test_stack_frame_is_seen(tmp_path):
    def indexed_in_a_loop(x, i, n):
        many = cuda.local.array(64, types.float32)
        for k in range(64):
            many[k] = x[k]
        for k in range(n):
            x[i + k] = many[(i * k) & 63]

    found = planted(indexed_in_a_loop, tmp_path)
    assert found[0] == "a stack frame of 256 bytes"
    assert found[1].startswith("local memory:\n    /*")
    assert "STL" in found[1]


def test_float64_is_seen(tmp_path):
    def scaled(x, i, n):
        x[i] = x[i] * 0.1 + 1.0

    (found,) = planted(scaled, tmp_path)
    assert found.startswith("float64 arithmetic:\n    /*")
    assert "DFMA" in found
    assert "F2F.F64.F32" in found
    assert planted(scaled, tmp_path, doubles=True) == []


def test_missing_instructions_are_seen(tmp_path):
    two = np.float32(2.5)

    def one_by_one(x, i, n):
        for k in range(4):
            x[4 * i + k] = x[4 * i + k] * two

    def by_runs(x, i, n):
        few = cuda.local.array(4, types.float32)
        load_run(few, 0, x, 4 * i, 4)
        for k in range(4):
            few[k] *= two
        store_run(x, 4 * i, few, 0, 4)

    found = planted(one_by_one, tmp_path, needs=("LDG.E.128", "HMMA"))
    assert found[0].startswith("no LDG.E.128, but:\n    /*")
    assert "LDG.E " in found[0]
    assert found[1] == "no HMMA"
    assert planted(by_runs, tmp_path, needs=("LDG.E.128", "LDG.E", "HMMA|STG.E.128")) == []


def test_registers_are_counted(tmp_path):
    def one(x, i, n):
        x[i] = np.float32(1)

    assert planted(one, tmp_path) == []
    (found,) = planted(one, tmp_path, registers=4)
    assert found.endswith("registers; the cap is 4")


def test_names_of_float64_arithmetic():
    from machine_code import DOUBLE

    for name in ("DFMA", "DADD.FTZ", "DMMA.8x8x4", "F2F.F64.F32", "F2F.F32.F64", "I2F.F64.S64"):
        assert DOUBLE.match(name), name
    for name in ("DEPBAR.LE", "F2F.F16.F32", "FFMA", "I2F.S64", "MUFU.RCP"):
        assert not DOUBLE.match(name), name
    assert DOUBLE.match("MUFU.RCP64H")
    assert Instruction("0", "F2I.F64.TRUNC", "").name  # as nvdisasm writes it
