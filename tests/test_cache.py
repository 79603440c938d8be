"""A cache that is damaged, full, shared or out of reach costs time, never the result."""

import os
import subprocess
import sys

import pytest

CODE = """
import numpy as np
import fastmat as fm
x = np.arange(35, dtype=np.int8).reshape(5, 7)
assert np.array_equal(fm.transpose(x), x.T)
"""


def start(folder, code=CODE, module=None, arguments=(), user=None, **settings):
    """A process that runs code, or a module, with this cache folder."""
    what = ["-m", module, *arguments] if module else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *what],
        env=os.environ | {"FASTMAT_CACHE_DIR": str(folder)} | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        user=user,
    )


def finish(process):
    """What the process said on stderr, after it succeeded."""
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    return errors


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache folder filled by two processes at once: its files, with their contents."""
    folder = tmp_path_factory.mktemp("cache")
    processes = [start(folder) for _ in range(2)]
    assert [finish(process) for process in processes] == ["", ""]
    return {path.relative_to(folder): path.read_bytes() for path in folder.glob("*/*")}


@pytest.fixture
def cache(filled, tmp_path):
    for path, content in filled.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def test_used_by_another_process(cache):
    files = {path: path.stat().st_mtime_ns for path in cache.glob("*/*")}
    assert files
    assert finish(start(cache)) == ""
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*/*")} == files


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x40]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda content: b""])
def test_damaged_machine_code(cache, damage):
    for path in cache.glob("*/*.nbc"):
        path.write_bytes(damage(path.read_bytes()))
    assert "is damaged" in finish(start(cache))
    assert finish(start(cache)) == "", "it was not repaired"


@pytest.mark.parametrize("damage", [truncated, lambda content: b"", lambda content: b"x" * 99])
def test_damaged_index(cache, damage):
    for path in cache.glob("*/*.nbi"):
        path.write_bytes(damage(path.read_bytes()))
    assert "cannot be read" in finish(start(cache))
    assert finish(start(cache)) == "", "it was not repaired"


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert "cannot be written" in finish(start(tmp_path / "file" / "cache"))


def test_full_disk(tmp_path):
    code = """
import errno, contextlib
from numba.core.caching import IndexDataCacheFile

@contextlib.contextmanager
def full(self, path):
    raise OSError(errno.ENOSPC, "No space left on device")
    yield

IndexDataCacheFile._open_for_write = full
"""
    assert "No space left" in finish(start(tmp_path, code + CODE))


def test_written_by_another_cpu(tmp_path):
    """A cache that was filled on a CPU of another model, and came here with the home folder."""
    other = {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""}
    for settings in (other, {}, other, {}):
        assert finish(start(tmp_path, **settings)) == ""
    indexes = list(tmp_path.glob("*/*.nbi"))
    machine_code = list(tmp_path.glob("*/*.nbc"))
    assert len(machine_code) == 2 * len(indexes) > 0


READ_ONLY = (
    CODE
    + """
from fastmat.cpu import transpose
assert not sum(transpose.assign.dispatcher.stats.cache_misses.values()), "compiled again"
"""
)


def test_warmed_up_by_one_user_and_read_by_another(tmp_path):
    """As in a container image: built by root, run by somebody without rights and without a home."""
    folder = tmp_path / "cache"
    finish(start(folder, module="fastmat", arguments=["warmup", "--ops", "transpose"]))
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    home = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent"}
    assert finish(start(folder, READ_ONLY, user=another_user(tmp_path), **home)) == ""
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def another_user(folder):
    """The number of a user without rights, if we may act as one and it may run this Python."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    nobody = 65534
    for parent in [folder, *folder.parents][:3]:  # pytest's own folders are closed to others
        parent.chmod(0o755)
    try:
        code = "import fastmat, numba"
        subprocess.run([sys.executable, "-c", code], user=nobody, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return nobody


def test_functions_of_another_version_are_named():
    """A user's cached function calls kernels by name: what if they take other arguments now?"""
    from fastmat.core.compile import _Load
    from fastmat.cpu.panels import pack

    load = _Load(pack, "float32", "load")
    load.arguments = "(float32,)"
    with pytest.raises(RuntimeError, match=r"fastmat.cpu.panels.pack of another version"):
        load()
