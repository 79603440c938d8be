"""The instruction set that kernels are written for: the CPU's, or one that FASTMAT_ISA names."""

import os

import llvmlite.binding as llvm


def _native() -> str:
    features = llvm.get_host_cpu_features()
    if all(features.get(name) for name in ("avx512f", "avx512bw", "avx512dq")):
        return "avx512"
    if features.get("avx2") and features.get("fma"):
        return "avx2"
    return "baseline"


VECTOR_BYTES = {"avx512": 64, "avx2": 32, "baseline": 16}
ISA = os.environ.get("FASTMAT_ISA") or _native()
