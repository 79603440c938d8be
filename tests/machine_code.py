"""Machine code of kernels for GPUs, without a GPU: assembled, disassembled, held to a budget."""

import re
import subprocess
from typing import NamedTuple

import pytest

DOUBLE = re.compile(r"D(FMA|ADD|MUL|SETP|MNMX|MMA)\b|MUFU\.\w*64|[FI]2[FI]\S*\.F64")
LOCAL = re.compile(r"(LDL|STL)\b")
SHOWN = 8  # instructions in a report


class Instruction(NamedTuple):
    """A line of machine code."""

    address: str
    name: str  # with its modifiers, as LDG.E.128
    text: str


class Code(NamedTuple):
    """What a kernel became."""

    registers: int
    stack: int  # bytes
    instructions: list[Instruction]


class Budget(NamedTuple):
    """What a kernel's machine code may and must have."""

    kernels: object  # a function of a compute capability that returns a list of Kernels
    registers: int  # at most
    needs: tuple[str, ...] = ()  # beginnings of names of instructions, or "this|that"
    doubles: bool = False  # whether it computes in float64
    stack: int = 0  # bytes at most
    only: str = ""  # of several kernels, those whose function has this name


def tool(name):
    """The path of a program of the CUDA toolkit, from its wheel."""
    pathfinder = pytest.importorskip("cuda.pathfinder")
    path = pathfinder.find_nvidia_binary_utility(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def assembled(kernel, capability, folder):
    """The machine code of a kernel for a compute capability."""
    source, binary = folder / "kernel.ptx", folder / "kernel.cubin"
    source.write_text(kernel.ptx(capability), encoding="ascii")
    arch = f"-arch=sm_{capability[0]}{capability[1]}{'a' if kernel.specific else ''}"
    report = _run(tool("ptxas"), "-v", arch, str(source), "-o", str(binary))
    listing = _run(tool("nvdisasm"), "-c", str(binary))
    instructions = [
        Instruction(found[1], found[3], " ".join(found[2].split()))
        for found in re.finditer(
            r"/\*([0-9a-f]{4,})\*/\s+((?:@!?U?P\w+\s+)?([A-Z][\w.]*)[^\n]*?);", listing
        )
    ]
    registers = int(re.search(r"Used (\d+) registers", report)[1])
    stack = int(re.search(r"(\d+) bytes stack frame", report)[1])
    return Code(registers, stack, instructions)


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def offences(code, budget):
    """How machine code breaks a budget, with the instructions that do."""
    found = []
    if code.registers > budget.registers:
        found.append(f"{code.registers} registers; the cap is {budget.registers}")
    if code.stack > budget.stack:
        found.append(f"a stack frame of {code.stack} bytes")
    if code.stack > budget.stack or not code.stack:
        found += _shown("local memory", [i for i in code.instructions if LOCAL.match(i.name)])
    if not budget.doubles:
        doubles = [i for i in code.instructions if DOUBLE.match(i.name)]
        found += _shown("float64 arithmetic", doubles)
    for names in budget.needs:
        starts = tuple(f"{name}." for name in names.split("|"))
        if not any(f"{i.name}.".startswith(starts) for i in code.instructions):
            kind = names.partition(".")[0]
            near = [i for i in code.instructions if i.name.startswith(kind)]
            found += _shown(f"no {names}, but", near) or [f"no {names}"]
    return found


def _shown(what, instructions):
    if not instructions:
        return []
    lines = [f"    /*{i.address}*/ {i.text}" for i in instructions[:SHOWN]]
    more = len(instructions) - SHOWN
    lines += [f"    and {more} more"] if more > 0 else []
    return ["\n".join([f"{what}:", *lines])]
