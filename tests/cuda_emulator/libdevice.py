"""libdevice's own code: the functions that NVVM would link to a kernel."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path

import llvmlite.binding as llvm


@functools.cache
def _library() -> tuple[dict[str, str], dict[str, str]]:
    """libdevice's functions and globals, by name."""
    path = _libdevice_path()
    text = str(llvm.parse_bitcode(path.read_bytes())).replace("@llvm.nvvm.", "@nvvm.")
    text = re.sub(r"(?m)^;.*\n", "", text)
    text = re.sub(r",? ![a-zA-Z.]+ !\d+", "", text)
    text = re.sub(r"(?<=[)}]) (?:local_unnamed_addr )?#\d+", "", text)
    functions = {
        found[1]: found[0].replace("define ", "define linkonce_odr ", 1)
        for found in re.finditer(r"(?ms)^define [^\n]*?@([\w.]+)\([^\n]*\{\n.*?^\}\n", text)
    }
    functions = {
        name: re.sub(
            r"define linkonce_odr (?:internal|linkonce_odr) ", "define linkonce_odr ", body
        )
        for name, body in functions.items()
    }
    structs = {found[1]: found[0] for found in re.finditer(r"(?m)^(%[\w.]+) = type .*$", text)}
    variables = {found[1]: found[0] for found in re.finditer(r"(?m)^@([\w.]+) = .*$", text)}
    declarations = {
        found[1]: found[0] for found in re.finditer(r"(?m)^declare .*@([\w.]+)\(.*\)", text)
    }
    return functions, variables | declarations | structs


def _libdevice_path() -> Path:
    import nvidia

    for folder in nvidia.__path__:
        for path in Path(folder).rglob("libdevice.10.bc"):
            return path
    raise FileNotFoundError("libdevice.10.bc: install nvidia-nvvm")


_REFLECTED = "define internal i32 @__nvvm_reflect(ptr %0) alwaysinline {\nstart:\n  ret i32 0\n}\n"


def code(names: Iterable[str]) -> tuple[str, set[str]]:
    """The code of functions of libdevice and of all that they use; and names it does not have."""
    functions, others = _library()
    found: dict[str, str] = {}
    missing = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        body = _REFLECTED if name == "__nvvm_reflect" else functions.get(name, others.get(name))
        if body is None:
            missing.add(name)
            continue
        found[name] = body
        wanted += re.findall(r"@([\w.]+)", body)
        wanted += re.findall(r"%struct\.[\w.]+", body)
    # A type has to be known before it is used.
    return "\n".join(found[name] for name in sorted(found)), missing
