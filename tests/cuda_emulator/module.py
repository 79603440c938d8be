"""A kernel's NVVM IR, made into code of the host.

The IR that numba-cuda gives to NVVM is optimized by the host's LLVM with everything in place that
synchronizes, so that it may move accesses of memory as NVVM may. Then every access that is left
gets its check, and the whole is compiled.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numba import types
from numba.cuda import compiler
from numba.cuda.dispatcher import kernel_fixup

from cuda_emulator import libdevice, machine, mathematics, memory, operations
from cuda_emulator.cache import kept
from cuda_emulator.faults import UnknownInstruction
from cuda_emulator.text import closing, fields, split, take_type
from fastmat.cuda.kernel import compiling_for

GAP = 256  # bytes between variables in shared memory
_NAME = r'@(?:"[^"]*"|[\w.$-]+)'
_SHARED = re.compile(
    rf"(?m)^({_NAME}) = [^\n]*?addrspace\(3\) (?:global|constant) "
    r"(\[[^\n]*?\]|\w+)(?: undef| zeroinitializer| poison)?(?:, align (\d+))?$"
)
_DECLARED = re.compile(
    rf"(?m)^declare (?:[a-z]+ )*?(\{{[^\n]*?\}}|\S+) ({_NAME})\(([^\n]*)\)[^\n]*$"
)
_ASSEMBLY = re.compile(r'call (?:\w+ )*?(\{[^\n]*?\}|\S+) asm ((?:sideeffect )?(?:alignstack )?)"')

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
llvm.initialize_native_asmparser()


class Shared(NamedTuple):
    """A variable in shared memory: where it starts in it, and its size; None: dynamic."""

    name: str
    offset: int
    size: int | None


def nvvm_ir(kernel: Any, capability: tuple[int, int]) -> tuple[str, str]:
    """The IR of a kernel, linked into one module, and the kernel's name in it."""
    with compiling_for(capability):
        compiled = compiler.compile_cuda(
            kernel.function, types.void, kernel.numba_types, debug=False, lineinfo=False,
            forceinline=False, fastmath=False, nvvm_options={"opt": 3}, cc=capability,
            max_registers=None, lto=False,
        )  # fmt: skip
        entry = compiled.fndesc.llvm_func_name
        kernel_fixup(compiled.library.get_function(entry), False)
        texts = compiled.library.llvm_strs
    linked = None
    for text in texts:
        text = re.sub(r"(?m)^(!nvvm|target )[^\n]*$", "", text).replace("llvm.nvvm.", "nvvm.")
        part = llvm.parse_assembly(text)
        if linked is None:
            linked = part
        else:
            linked.link_in(part)
    text = re.sub(r"(?m)^@llvm\.used[^\n]*$", "", str(linked))
    if kernel.fuse:  # NVVM makes one instruction of a product and a sum
        text = re.sub(r"= (fmul|fadd|fsub) (?!contract)", r"= \1 contract ", text)
    return text, entry


class _Traps:
    """The operations of a module, and the functions that ask for them."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = [(operations.EXIT,), (operations.FAULT,)]
        self.definitions: list[str] = []
        self.declarations: list[str] = []
        self._names: dict[Any, str] = {}

    def name(self, operation: operations.Operation, returned: str, arguments: list[str],
             effects: str = "") -> str:  # fmt: skip
        key = (operation, returned, tuple(arguments), effects)
        if key not in self._names:
            name = self._names[key] = f"emu_trap_{len(self.rows)}"
            order = operation.order
            order = tuple(range(len(arguments))) if order is None else order
            sited = operation.row[0] in operations.SITED
            self.definitions.append(
                machine.trap(
                    name, len(self.rows), returned, arguments, fields(returned), order, sited
                )
            )
            parameters = ", ".join([*arguments, "i64"] if sited else arguments)
            convergent = "convergent " if operation.convergent else ""
            self.declarations.append(
                f"declare {returned} @{name}({parameters}) {convergent}nounwind {effects}"
            )
            self.rows.append(operation.row)
        return self._names[key]

    def table(self) -> np.ndarray:
        table = np.zeros((len(self.rows), operations.WIDTH), np.int64)
        for i, row in enumerate(self.rows):
            table[i, : len(row)] = row
        return table


def _lay_out_shared(text: str) -> tuple[str, list[Shared], int]:
    """The module with external shared variables, where they are, and where the dynamic ones start.

    Each is aligned as it says and no better, so that an access that wants more is noticed.
    """
    found = [(m[1], m[2], int(m[3] or 1)) for m in _SHARED.finditer(text)]
    text = _SHARED.sub(
        lambda m: f"{m[1]} = external addrspace(3) global {m[2]}, align {m[3]}", text
    )
    end = GAP
    placed = []
    dynamic = [f for f in found if f[1].startswith("[0 x")]
    for name, kind, align in found:
        if not kind.startswith("[0 x"):
            offset = _aligned_exactly(end, align)
            size = _size(kind)
            placed.append(Shared(name, offset, size))
            end = offset + size + GAP
    exact = max((align for _, _, align in dynamic), default=1)
    start = _aligned_exactly(end, exact) if placed else 1024
    placed += [Shared(name, start, None) for name, _, _ in dynamic]
    return text, placed, start


def _aligned_exactly(offset: int, align: int) -> int:
    return -(-offset // 1024) * 1024 + (align if align < 128 else 0)


def _size(kind: str) -> int:
    bits = re.fullmatch(r"i(\d+)", kind)
    if bits:
        return -(-int(bits[1]) // 8)
    if kind in ("half", "bfloat"):
        return 2
    if kind in ("float", "double"):
        return 4 if kind == "float" else 8
    if kind.startswith("{"):  # complex numbers
        return sum(map(_size, kind[1:-1].replace(" ", "").split(",")))
    count, inner = re.fullmatch(r"\[(\d+) x (.*)\]", kind).groups()
    return int(count) * _size(inner)


def _replace_assembly(text: str, traps: _Traps) -> str:
    """The module with functions in place of inline PTX."""
    lines = text.split("\n")
    defined: dict[tuple[str, ...], str] = {}
    for i, line in enumerate(lines):
        found = _ASSEMBLY.search(line)
        if not found:
            continue
        returned = found[1]
        code, constraints, rest = re.match(
            r'"([^"]*)", "([^"]*)"(.*)$', line[found.end() - 1 :]
        ).groups()
        code = re.sub(r"\\([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), code)
        end = closing(rest, 0)
        arguments = split(rest[1:end])
        kinds = [take_type(a)[0] for a in arguments]
        # What the compiler may assume of it is what NVVM may.
        effects = (
            ""
            if "~{memory}" in constraints
            else (
                "memory(inaccessiblemem: readwrite)" if "sideeffect" in found[2] else "memory(none)"
            )
        )
        name = defined.get((code, returned, *kinds))
        if name is None and (operation := operations.of_assembly(code, constraints)):
            if operation.row[0] in operations.SITED:
                arguments.append(f"i64 {i}")
            name = traps.name(operation, returned, kinds, effects)
        if name is None:
            name = f"emu_asm_{len(defined)}"
            body = mathematics.assembly(name, code, returned, kinds)
            if code.strip() == "mov.u32 $0, %dynamic_smem_size;":
                body = machine.register("nvvm.read.ptx.sreg.dynamic_smem_size", "i32")
                body = body.replace("@nvvm.read.ptx.sreg.dynamic_smem_size", f"@{name}")
            if body is None:
                raise UnknownInstruction(f"inline PTX not known to the emulator: {code}")
            defined[(code, returned, *kinds)] = name
            traps.declarations.append(body)
        call = f"call {returned} @{name}({', '.join(arguments)})"
        lines[i] = line[: found.start()] + call
    return "\n".join(lines)


def _replace_intrinsics(text: str, traps: _Traps) -> str:
    """The module with functions in place of NVVM's intrinsics."""
    for found in list(_DECLARED.finditer(text)):
        declaration, returned, quoted, inside = found[0], found[1], found[2], found[3]
        name = quoted[1:].strip('"')
        kinds = [take_type(part)[0] for part in split(inside)]
        if not name.startswith(("nvvm.", "___numba_")):
            continue
        body = _defined(name, returned, kinds)
        if body is not None:
            text = text.replace(declaration, body)
            continue
        text = text.replace(declaration, "")
        lines = text.split("\n")
        start = f"call {returned} {quoted}("
        for i, line in enumerate(lines):
            at = line.find(start)
            if at < 0:
                continue
            opened = at + len(start) - 1
            end = closing(line, opened)
            arguments = split(line[opened + 1 : end])
            operation = operations.of_intrinsic(name, arguments)
            if operation is None:
                raise UnknownInstruction(f"{name} is not known to the emulator")
            if operation.row[0] in operations.SITED:
                arguments.append(f"i64 {i}")
            trap = traps.name(operation, returned, kinds)
            lines[i] = f"{line[:at]}call {returned} @{trap}({', '.join(arguments)})"
        text = "\n".join(lines)
    return text


def _defined(name: str, returned: str, kinds: list[str]) -> str | None:
    if name.startswith("nvvm.read.ptx.sreg."):
        body = machine.register(name, returned)
        if body is None:
            raise UnknownInstruction(f"{name} is not known to the emulator")
        return body
    if found := re.fullmatch(r"nvvm\.atomic\.load\.add\.f(32|64)\.p0(?:f\d+)?", name):
        kind = {"32": "float", "64": "double"}[found[1]]
        return (
            f"define internal {kind} @{name}(ptr %p, {kind} %x) alwaysinline {{\n"
            f"  %r = atomicrmw fadd ptr %p, {kind} %x monotonic, align {int(found[1]) // 8}\n"
            f"  ret {kind} %r\n}}"
        )
    return mathematics.intrinsic(name, returned, kinds)


def _with_libdevice(text: str) -> str:
    wanted = [m[2][1:] for m in _DECLARED.finditer(text) if m[2].startswith("@__nv")]
    code, missing = libdevice.code(wanted)
    if missing:
        raise UnknownInstruction(f"{', '.join(missing)}: not in libdevice")
    text = re.sub(r"(?m)^declare [^\n]*@__nv[^\n]*$", "", text)
    declared = {m[2] for m in _DECLARED.finditer(text)}
    code = _DECLARED.sub(lambda m: "" if m[2] in declared else m[0], code)
    return text + "\n" + code


def _host() -> Any:
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2,
        jit=True,
    )  # fmt: skip


def _optimize(module: Any, host: Any, level: int) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(host, options)
    builder.getModulePassManager().run(module, builder)


class Module:
    """A kernel compiled for the host, and the addresses of what it shares with the scheduler."""

    def __init__(self, kernel: Any, capability: tuple[int, int]) -> None:
        text, entry = kept(kernel, capability, nvvm_ir)
        traps = _Traps()
        arch = 100 * capability[0] + 10 * capability[1]  # which is all that kernels ask for
        text = re.sub(r"call i32 @__nvvm_reflect\([^\n]*\)", f"add i32 0, {arch}", text)
        text, self.shared, self.dynamic = _lay_out_shared(text)
        text = _with_libdevice(text)
        text = _replace_assembly(text, traps)
        text = _replace_intrinsics(text, traps)
        kinds = _kinds(text, entry)
        host = _host()
        text += f"\n@emu_state = external global [{machine.STATE_WORDS} x i64], align 16\n"
        module = llvm.parse_assembly(text + "\n" + "\n".join(traps.declarations))
        module.triple = llvm.get_process_triple()
        module.data_layout = str(host.target_data)
        for function in module.functions:
            if not function.is_declaration and function.name != entry:
                function.linkage = "internal"
        _optimize(module, host, 2)
        text, self.sites = memory.instrument(str(module))
        text = re.sub(r"(?m)^@emu_state = [^\n]*$", "", text)
        for name in (n for n in re.findall(r"@(emu_trap_\d+)\(", "\n".join(traps.definitions))):
            text = re.sub(rf"(?m)^declare [^\n]*@{name}\([^\n]*$", "", text)
        text += machine.runtime(f'"{entry}"', kinds) + "\n".join(traps.definitions)
        text += self._shared_definitions(kernel.shared)
        text = re.sub(r"(?m)^@[^\n]* = external [^\n]*addrspace\(3\) global[^\n]*$", "", text)
        # Their addresses have to be known.
        self.text = re.sub(
            rf"(?m)^({_NAME} = )(?:private |internal )?(?:unnamed_addr )?"
            r"(addrspace\(\d\) )?constant ", r"\1\2constant ", text,
        )  # fmt: skip
        module = llvm.parse_assembly(self.text)
        module.verify()
        _optimize(module, host, 1)
        self.table = traps.table()
        self._engine = llvm.create_mcjit_compiler(module, host)
        self._engine.finalize_object()
        self.constants = _constants(self.text, self._engine)

    def _shared_definitions(self, dynamic: int) -> str:
        self.shared_size = self.dynamic + dynamic + GAP
        kind = f"[{self.shared_size} x i8]"
        text = f"\n@emu_shared = addrspace(3) global {kind} zeroinitializer, align 1024\n"
        for variable in self.shared:
            text += (
                f"{variable.name} = alias i8, ptr addrspace(3) getelementptr "
                f"(i8, ptr addrspace(3) @emu_shared, i64 {variable.offset})\n"
            )
        return text

    def shared_used(self, dynamic: int) -> int:
        """Bytes of shared memory, without what the emulator adds."""
        return sum(v.size for v in self.shared if v.size is not None) + dynamic

    def address(self, name: str) -> int:
        """The address of a variable or a function."""
        found = self._engine.get_global_value_address(name)
        return found or self._engine.get_function_address(name)

    def words(self, name: str, count: int) -> np.ndarray:
        """A variable as an array of words."""
        memory_ = (ctypes.c_int64 * count).from_address(self.address(name))
        return np.frombuffer(memory_, np.int64)


def _kinds(text: str, entry: str) -> list[str]:
    """The types of the kernel's parameters."""
    found = re.search(rf'(?m)^define [^\n]*@"?{re.escape(entry)}"?\(([^\n]*)\)[^\n]*\{{$', text)
    return [take_type(part)[0] for part in split(found[1])]


def _constants(text: str, engine: Any) -> Sequence[tuple[int, int]]:
    """The ranges of the module's constants."""
    ranges = []
    for found in re.finditer(
        rf"(?m)^({_NAME}) = [^\n]*?(?:addrspace\((?:1|4)\) )?constant (\[[^\n]*?\]) ", text
    ):
        address = engine.get_global_value_address(found[1][1:].strip('"'))
        if address:
            ranges.append((address, address + _size(found[2])))
    return ranges
