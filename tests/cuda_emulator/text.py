"""LLVM IR as text: the little parsing that rewriting single instructions takes."""

from __future__ import annotations

_OPEN, _CLOSE = "([{<", ")]}>"


def split(text: str) -> list[str]:
    """The parts of a list, at its commas outside of brackets and strings."""
    parts: list[str] = []
    depth, start, quoted = 0, 0, False
    for i, c in enumerate(text):
        if c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    depth, quoted = 0, False
    for i in range(start, len(text)):
        c = text[i]
        if c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
            if depth == 0:
                return i
    raise ValueError(text)


def take_type(text: str) -> tuple[str, str]:
    """The type that `text` starts with, and the rest."""
    text = text.lstrip()
    end = closing(text, 0) + 1 if text[0] in _OPEN else len(text.split(None, 1)[0])
    if text[end:].startswith(" addrspace("):
        end = text.index(")", end) + 1
    return text[:end], text[end:].lstrip()


def fields(kind: str) -> list[str]:
    """The types of a struct's fields; those of another type are itself, those of void none."""
    if kind == "void":
        return []
    return split(kind[1:-1]) if kind.startswith("{") else [kind]
