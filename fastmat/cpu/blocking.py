"""Tile shapes and block sizes: one table per instruction set and dtype, chosen by measurement."""

import os
import platform
from dataclasses import dataclass

import llvmlite.binding as llvm
from numba import types

WIDTH = {"avx512": 64, "avx2": 32, "baseline": 16}


def _native_isa():
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512dq") and features.get("avx512bw"):
        return "avx512"
    if features.get("avx2") and features.get("fma"):
        return "avx2"
    return "baseline"


ISA = os.environ.get("FASTMAT_ISA") or _native_isa()
FUSED = ISA != "baseline" or platform.machine() in ("aarch64", "arm64")


@dataclass(frozen=True)
class Tile:
    mr: int
    vectors: int
    lanes: int
    parts: int
    unroll: int

    @property
    def nr(self):
        return self.vectors * self.lanes


MR = {"avx512": 14, "avx2": 6, "baseline": 6}


def tile(dtype):
    size = {types.float32: 4, types.float64: 8}[dtype]
    return Tile(int(os.environ.get("MR", MR[ISA])), int(os.environ.get("NV", 2)), WIDTH[ISA] // size, 1, int(os.environ.get("UNROLL", 4)))
