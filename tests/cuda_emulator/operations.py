"""What a fiber asks the scheduler for: barriers, shuffles, copies, products of matrices.

An operation is a row of numbers, a kind and its parameters, so that the scheduler, which is
compiled, can act on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cuda_emulator.faults import UnknownInstruction

(
    EXIT,
    FAULT,
    BARRIER,  # reduction: none, and, or, popc
    SYNCWARP,
    SHUFFLE,  # mode: idx, up, down, bfly
    VOTE,  # mode: all, any, eq, ballot
    MATCH,  # any, all
    MMA,  # type, m, k, registers of a, registers of b
    LDMATRIX,  # count, transposed
    COPY,  # bytes, whether the bytes to read are given
    COMMIT,
    WAIT,  # groups that may be pending; -1: none, those not committed included
    ACTIVE,
    YIELD,
    REDUX,  # operation, signed
    WGMMA,  # type, n, whether a and b lie across k
) = range(16)

WIDTH = 8  # numbers of an operation
MMA_TYPES = {"f16": 0, "bf16": 1, "tf32": 2, "f64": 3}
REDUCTIONS = ("add", "min", "max", "and", "or", "xor")


# All lanes, or threads, that wait for each other have to be at the same place in the code.
SITED = frozenset((BARRIER, SHUFFLE, VOTE, MATCH, REDUX))


class Operation(NamedTuple):
    """A kind with its parameters, and which arguments it takes, in which order."""

    row: tuple[int, ...]
    order: tuple[int | str, ...] | None = None  # strings are constants; None: all as they come
    convergent: bool = True


_NVVM = {
    "nvvm.barrier0": (BARRIER, 0),
    "nvvm.barrier0.and": (BARRIER, 1),
    "nvvm.barrier0.or": (BARRIER, 2),
    "nvvm.barrier0.popc": (BARRIER, 3),
    "nvvm.bar.warp.sync": (SYNCWARP,),
    "nvvm.membar.cta": (YIELD,),
    "nvvm.membar.gl": (YIELD,),
    "nvvm.membar.sys": (YIELD,),
    "nvvm.match.any.sync.i32": (MATCH, 0),
    "nvvm.match.any.sync.i64": (MATCH, 0),
    "nvvm.match.all.sync.i32": (MATCH, 1),
    "nvvm.match.all.sync.i64": (MATCH, 1),
}


def of_intrinsic(name: str, call: Sequence[str]) -> Operation | None:
    """The operation of an intrinsic called with these arguments; None if it is none."""
    if name in _NVVM:
        return Operation(_NVVM[name])
    # The mode is a constant: mask, mode, value, lane, clamp.
    if name == "nvvm.shfl.sync.i32":
        return Operation((SHUFFLE, int(call[1].split()[-1])), (0, 2, 3, 4))
    if name == "nvvm.vote.sync":
        return Operation((VOTE, int(call[1].split()[-1])), (0, 2))
    return None


def _operands(text: str) -> list[str]:
    return re.findall(r"\$\d+|(?<![\w.])-?(?:0x[0-9a-fA-F]+|\d+)", text)


def of_assembly(text: str, constraints: str) -> Operation | None:
    """The operation of inline PTX; None if it is none."""
    text = re.sub(r"\s+", " ", text).strip().rstrip(";").strip()
    outputs = [c for c in constraints.split(",") if c.startswith("=")]
    inputs = [c for c in constraints.split(",") if not c.startswith(("=", "~"))]
    # A number in place of a register ties an input to an output.
    where = {f"${len(outputs) + i}": i for i in range(len(inputs))}
    tied = {f"${c}": i for i, c in enumerate(inputs) if c.isdigit()}

    opcode, _, rest = text.partition(" ")
    operands = _operands(rest)

    def order(names: Sequence[str]) -> tuple[int | str, ...]:
        return tuple(
            where[n] if n in where else tied[n] if n.startswith("$") else str(int(n, 0))
            for n in names
        )

    if found := re.fullmatch(
        r"mma\.sync\.aligned\.m(\d+)n8k(\d+)\.row\.col\.(f32|f64)\.(\w+)\.(\w+)\.(f32|f64)"
        r"(?:\.rn)?",
        opcode,
    ):
        m, k, d, a, b, c = found.groups()
        if a == b and c == d and a in MMA_TYPES and (d == "f64") == (a == "f64"):
            per_register = 2 if a in ("f16", "bf16") else 1
            in_a, in_b = int(m) * int(k) // 32 // per_register, int(k) // 4 // per_register
            in_c = int(m) // 4
            if len(operands) != in_c + in_a + in_b + in_c or len(outputs) != in_c:
                raise UnknownInstruction(f"{text}: {len(operands)} operands")
            if operands[:in_c] != [f"${i}" for i in range(in_c)]:
                raise UnknownInstruction(f"{text}: results out of order")
            return Operation(
                (MMA, MMA_TYPES[a], int(m), int(k), in_a, in_b), order(operands[in_c:])
            )
    if found := re.fullmatch(
        r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k16\.f32\.(f16|bf16)\.(f16|bf16)", opcode
    ):
        n, count = int(found[1]), int(found[1]) // 2
        if operands[count + 2 : count + 5] != ["1", "1", "1"] or len(operands) != count + 7:
            raise UnknownInstruction(f"{text}: sums are kept and nothing negated")
        across = (int(x) for x in operands[count + 5 :])
        return Operation((WGMMA, MMA_TYPES[found[2]], n, *across), order(operands[: count + 2]))
    # Products are done when they are asked for; the scheduler may go on elsewhere here.
    if opcode in (
        "wgmma.fence.sync.aligned",
        "wgmma.commit_group.sync.aligned",
        "wgmma.wait_group.sync.aligned",
        "fence.proxy.async.shared::cta",
    ):
        return Operation((YIELD,), (), False)
    if found := re.fullmatch(
        r"ldmatrix\.sync\.aligned\.m8n8\.x([124])(\.trans)?\.shared(?:::cta)?\.b16", opcode
    ):
        count = int(found[1])
        return Operation((LDMATRIX, count, int(bool(found[2]))), order(operands[count : count + 1]))
    if found := re.fullmatch(r"cp\.async\.(ca|cg)\.shared(?:::cta)?\.global(?:\.L2::\w+)*", opcode):
        size = int(operands[2])
        if size not in ((16,) if found[1] == "cg" else (4, 8, 16)):
            raise UnknownInstruction(f"{text}: {size} bytes")
        given = operands[3:4]
        return Operation((COPY, size, int(bool(given))), order([*operands[:2], *given]), False)
    if opcode == "cp.async.commit_group":
        return Operation((COMMIT,), (), False)
    if opcode == "cp.async.wait_all":
        return Operation((WAIT, -1), (), False)
    if opcode == "cp.async.wait_group":
        return Operation((WAIT, int(operands[0])), (), False)
    if opcode in ("bar.sync", "barrier.sync", "barrier.sync.aligned") and operands == ["0"]:
        return Operation((BARRIER, 0), ())
    if opcode == "bar.warp.sync":
        return Operation((SYNCWARP,), order(operands))
    if found := re.fullmatch(r"shfl\.sync\.(idx|up|down|bfly)\.b32", opcode):
        mode = ("idx", "up", "down", "bfly").index(found[1])
        names = operands[len(outputs) :]  # value, lane, clamp, mask
        if len(names) == 4:
            value, lane, clamp, mask = order(names)
            return Operation((SHUFFLE, mode), (mask, value, lane, clamp))
    if found := re.fullmatch(r"redux\.sync\.(add|min|max|and|or|xor)\.([sub])32", opcode):
        value, mask = order(operands[1:])
        return Operation((REDUX, REDUCTIONS.index(found[1]), int(found[2] == "s")), (mask, value))
    if opcode == "activemask.b32":
        return Operation((ACTIVE,), (), False)
    if opcode == "nanosleep.u32":
        return Operation((YIELD,), (), False)
    return None


NAMES = (
    "exit", "access", "barrier", "syncwarp", "shuffle", "vote", "match", "mma", "ldmatrix",
    "asynchronous copy", "commit_group", "wait_group", "activemask", "yield", "redux",
    "wgmma",
)  # fmt: skip
