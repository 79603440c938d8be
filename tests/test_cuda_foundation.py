"""Arrays of GPU libraries in and out, kernels and launches, and clear words without a GPU."""

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest

import fastmat as fm
from fastmat.core.devices import also_on_gpu, on_gpu

pytest.importorskip("numba_cuda")

from gpus import LIBRARIES, on
from numba import cuda


class OnGPU:
    """An array that says that it lies on a GPU."""

    __cuda_array_interface__ = {  # noqa: RUF012
        "data": (0, False),
        "shape": (2, 2),
        "typestr": "<f4",
        "version": 3,
    }


def scale(x, y, size, factor):
    """Every number times a factor."""
    i = cuda.grid(1)
    if i < size:
        y[i] = x[i] * factor


def scaling(name="test-scale"):
    from fastmat.cuda.kernel import Kernel

    return Kernel(scale, ("float32*", "float32*", "int64", "float32"), name=name, threads=64)


def test_where_arrays_lie():
    assert on_gpu(OnGPU())
    for x in (np.ones(3), np.float32(1), 1.0, None, [1], "x"):
        assert not on_gpu(x)


def test_an_operation_without_a_twin_says_so():
    @also_on_gpu
    def invented(x):
        return x

    assert invented(1) == 1
    invented.__wrapped__.__module__ = "fastmat.ops.invented"
    with pytest.raises(TypeError, match="invented wants CPU arrays; it does not run on GPUs"):
        invented(OnGPU())


def test_without_the_compiler_the_cpu_is_untouched():
    """A GPU array raises, and says what to install; all else works."""
    code = """
import sys
sys.modules["numba_cuda"] = None
import numpy as np
import fastmat as fm
class OnGPU:
    __cuda_array_interface__ = {"data": (0, False), "shape": (2, 2), "typestr": "<f4", "version": 3}
assert fm.matrix_transpose(np.eye(2)).shape == (2, 2)
try:
    fm.transpose(OnGPU())
except RuntimeError as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "fastmat-kernels[cuda]" in output.stdout, output.stderr


def test_without_a_driver_it_says_so():
    from fastmat.core.toolkit import missing_device

    if missing_device() is None:
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="GPU cannot be used: no NVIDIA driver"):
        scaling()(1, (0, 0, 0, 1.0), 0, 0)


def test_numpy_without_row_stack():
    """NumPy 2.5 dropped the name that numba-cuda asks for when it first compiles."""
    code = """
import numpy as np
vars(np).pop("row_stack", None)
import sys; sys.path.insert(0, {tests!r})
from test_cuda_foundation import scaling
import fastmat.cuda
print(scaling(None).ptx((8, 0)).count(".visible .entry"))
"""
    tests = __file__.rpartition("/")[0]
    run = [sys.executable, "-c", code.format(tests=tests)]
    output = subprocess.run(run, capture_output=True, text=True)
    assert output.stdout.split()[-1:] == ["1"], output.stderr


COMPILE = """
import numpy as np
{before}
from numba import cuda, types
@cuda.jit(device=True)
def twice(x):
    return 2 * x
def kernel(x):
    x[0] = twice(x[0])
cuda.compile(kernel, types.void(types.CPointer(types.int32)), device=False, abi="numba", cc=(8, 0))
"""


@pytest.mark.parametrize(
    ("before", "error"),
    [
        # https://github.com/NVIDIA/numba-cuda/issues/907
        ('vars(np).pop("row_stack", None)', "AttributeError"),
        (
            'np.row_stack = np.vstack; import os; os.environ["CUDA_VISIBLE_DEVICES"] = "-1"',
            "CudaSupportError",
        ),
    ],
    ids=["row_stack", "current device"],
)
def test_workarounds_are_still_needed(before, error):
    """Fails when `core.toolkit.require` or `cuda.kernel.compiling_for` can do with less."""
    run = [sys.executable, "-c", COMPILE.format(before=before)]
    output = subprocess.run(run, capture_output=True, text=True)
    assert re.search(rf"^(numba\S*\.)?{error}: ", output.stderr, re.MULTILINE), output.stderr


def test_numba_still_cannot_be_told_not_to_fuse():
    """Fails when `cuda.kernel.fusing` can be an argument."""
    assert not {"fma", "nvvm_options"} & set(inspect.signature(cuda.compile).parameters)


def test_assembly_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTMAT_CACHE_DIR", str(tmp_path))
    first = scaling().ptx((9, 0))
    (kept,) = tmp_path.rglob("*.ptx")
    kept.write_text("kept")
    assert scaling().ptx((9, 0)) == "kept"
    assert scaling().ptx((8, 0)) != first
    assert len(scaling(None).ptx((9, 0))) == len(first)
    assert len(list(tmp_path.rglob("*.ptx"))) == 2


def test_assembly_without_a_disk(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("FASTMAT_CACHE_DIR", str(file / "not a folder"))
    assert ".entry" in scaling().ptx((9, 0))


def test_a_launch_is_described_as_the_driver_reads_it(monkeypatch):
    """Byte by byte what `cuLaunchKernelEx` is given: configuration, function, arguments."""
    import ctypes

    from cuda.bindings import driver as api

    from fastmat.cuda import driver
    from fastmat.cuda.kernel import Kernel

    class Arguments(ctypes.Structure):
        _fields_ = (
            ("x", ctypes.c_void_p),
            ("size", ctypes.c_int32),
            ("factor", ctypes.c_float),
            ("flag", ctypes.c_int32),
            ("y", ctypes.c_void_p),
        )

    calls = []

    def launch(config, function, parameters, extra):
        words = (ctypes.c_void_p * 5).from_address(
            extra.value if hasattr(extra, "value") else extra
        )
        size = ctypes.c_size_t.from_address(words[3]).value
        calls.append(
            (ctypes.string_at(config, 52), function, parameters, words[0], words[2], words[4], size,
             Arguments.from_buffer_copy(ctypes.string_at(words[1], size)))
        )  # fmt: skip
        return 7

    prototype = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(launch)
    monkeypatch.setattr(driver, "_cu_launch_kernel_ex", lambda: prototype)
    arguments = ("float32*", "int32", "float32", "int32", "float32*")
    kernel = Kernel(scale, arguments, name=None, threads=64, shared=48)
    loaded = driver.Loaded(1 << 40, kernel)
    assert loaded.launch((3, 2, 1), (1 << 41, -5, 0.5, 9, 1 << 42), 1 << 43) == 7
    config = api.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = 3, 2, 1
    config.blockDimX, config.blockDimY, config.blockDimZ = 64, 1, 1
    config.sharedMemBytes, config.hStream = 48, api.CUstream(1 << 43)
    (found,) = calls
    assert found[0] == ctypes.string_at(config.getPtr(), 52)
    assert found[1:7] == (1 << 40, None, 1, 2, None, ctypes.sizeof(Arguments))
    given = found[7]
    assert (given.x, given.size, given.factor, given.flag, given.y) == (
        1 << 41, -5, 0.5, 9, 1 << 42,
    )  # fmt: skip


def test_a_launch(gpu):
    from fastmat.cuda import arrays

    x = np.arange(200, dtype=np.float32)
    read = arrays.view(gpu.array(x), "x")
    out, written = arrays.empty(x.shape, "float32", read)
    scaling()(4, (read.pointer, written.pointer, 200, 2.5), arrays.stream_of(read), read.device)
    np.testing.assert_array_equal(gpu.numpy(out), x * np.float32(2.5))
    assert isinstance(out, gpu.kind)


@pytest.mark.parametrize(("name", "exact"), [("exp", np.exp), ("log", np.log), ("tanh", np.tanh)])
def test_elementary_functions_in_kernels_of_the_user(gpu, name, exact):
    from fastmat.cuda import arrays
    from fastmat.cuda.device import elementary
    from fastmat.cuda.kernel import Kernel

    function = elementary(name, "float32")

    def apply(x, y, size):
        i = cuda.grid(1)
        if i < size:
            y[i] = function(x[i])

    x = np.linspace(0.01, 20, 100, dtype=np.float32)
    read = arrays.view(gpu.array(x), "x")
    out, written = arrays.empty(x.shape, "float32", read)
    kernel = Kernel(apply, ("float32*", "float32*", "int64"), name=None, threads=64)
    kernel(2, (read.pointer, written.pointer, 100), arrays.stream_of(read), read.device)
    np.testing.assert_allclose(gpu.numpy(out), exact(x.astype(np.float64)), rtol=2**-22)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_strides_of_new_arrays(shape):
    from fastmat.cuda.arrays import c_strides

    expected = np.empty(shape, np.int8).strides
    assert np.prod(shape) == 0 or c_strides(shape) == expected


def test_views(gpu):
    from fastmat.cuda.arrays import view

    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for axes in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        found = view(gpu.array(x.transpose(axes)), "x")
        expected = x.transpose(axes)
        assert found.shape == expected.shape
        assert found.strides == tuple(s // 4 for s in expected.strides)
        assert found.contiguous == expected.flags.c_contiguous
        assert found.dtype == "float32"
        for shape in ((24,), (6, 4), (2, 12), (3, 8)):
            other = found.reshaped(shape)
            try:
                strides = np.reshape(expected, shape, copy=False).strides
            except ValueError:
                assert other is None
            else:
                assert other.strides == tuple(s // 4 for s in strides)


def test_broadcast_views(gpu):
    from fastmat.cuda.arrays import view

    found = view(gpu.array(np.ones((3, 1), np.float32)), "x")
    wide = found.broadcast_to((2, 3, 4))
    assert wide.shape == (2, 3, 4)
    assert wide.strides[0] == wide.strides[2] == 0
    with pytest.raises(ValueError, match=r"\(3, 1\) does not broadcast to \(2, 2\)"):
        found.broadcast_to((2, 2))


def test_unknown_dtypes():
    from fastmat.cuda.arrays import view

    class Text(OnGPU):
        __cuda_array_interface__ = OnGPU.__cuda_array_interface__ | {"typestr": "<U4"}

    with pytest.raises(TypeError, match="labels has dtype str128; supported are"):
        view(Text(), "labels")


def test_strides_that_are_not_of_whole_items():
    from fastmat.cuda.arrays import view

    class Field(OnGPU):
        __cuda_array_interface__ = OnGPU.__cuda_array_interface__ | {"strides": (18, 6)}

    with pytest.raises(TypeError, match=r"x has strides of \(18, 6\) bytes; .* its itemsize, 4"):
        view(Field(), "x")


def test_items_that_are_not_aligned():
    """Such are read from a copy; results cannot be written there."""
    with on("emulator"):
        from cuda_emulator import EmulatedArray

        parts = EmulatedArray.empty(13, "f8")
        host = parts._host[1:].view("c16").reshape(2, 3)  # at multiples of 8 bytes
        host[...] = np.arange(6).reshape(2, 3) * (1 + 2j)
        x = EmulatedArray(host, parts._allocation, False, 0)
        mask = EmulatedArray.from_numpy(np.arange(6).reshape(2, 3) > 3)
        found = fm.masked_fill(x, mask, 5).numpy()
        np.testing.assert_array_equal(found, np.where(mask.numpy(), 5, host))
        with pytest.raises(ValueError, match="out is read-only"):
            fm.masked_fill(x, mask, 5, out=x)


def test_tensors_that_are_conjugates_only_when_read():
    torch = pytest.importorskip("torch")
    from fastmat.cuda.libraries import PyTorch

    x = torch.tensor([1 + 2j, 3 - 1j])
    library = PyTorch()
    assert not library.view(x, "out").readonly
    assert library.view(x.conj(), "out").readonly  # writing to the copy would be lost
    assert library.view(x.conj().imag, "out").readonly


def test_cpu_arrays_beside_gpu_arrays(gpu):
    from fastmat.cuda.arrays import view

    with pytest.raises(TypeError, match=r"weight is not on a GPU \(ndarray\)"):
        view(np.ones(3), "weight")


def test_devices_do_not_mix(gpu):
    from fastmat.cuda.arrays import same_device, view

    x = view(gpu.array(np.ones(3, np.float32)), "x")
    assert same_device(x=x, weight=None) == x.device
    with pytest.raises(ValueError, match="weight is on device 5 and x on device 0"):
        same_device(x=x._replace(device=0), weight=x._replace(device=5))


def test_out(gpu):
    from fastmat.cuda.arrays import target, view

    x = view(gpu.array(np.ones((2, 3), np.float32)), "x")
    given = gpu.array(np.ones((2, 3), np.float32))
    out, where = target(given, (2, 3), "float32", x)
    assert out is given
    assert where.shape == (2, 3)
    with pytest.raises(ValueError, match=r"out has shape \(2, 3\); the result has shape \(3,\)"):
        target(given, (3,), "float32", x)
    with pytest.raises(TypeError, match="out has dtype float32; the result has dtype int8"):
        target(given, (2, 3), "int8", x)
    with pytest.raises(ValueError, match="out is on device"):
        target(given, (2, 3), "float32", x._replace(device=x.device + 1))


def test_arrays_that_are_still_being_made_are_awaited(monkeypatch):
    """The ``stream`` of version 3 of the interface: 1 is the default one, where our work goes."""
    from fastmat.cuda import arrays, driver, libraries

    waited = []
    monkeypatch.setattr(libraries, "_device_of", lambda pointer: 3)
    monkeypatch.setattr(driver.Driver, "wait", lambda self, *where: waited.append(where))
    for stream in (None, 1, 7):

        class Made:
            __cuda_array_interface__ = OnGPU.__cuda_array_interface__ | {
                "data": (256, False),
                "stream": stream,
            }

        assert arrays.view(Made(), "x").device == 3
    assert waited == [(7, 3)]


@pytest.mark.gpu
@pytest.mark.parametrize("library", LIBRARIES)
def test_streams(library):
    """Work goes on the stream that is current in the caller's library."""
    from fastmat.cuda.arrays import stream_of, view

    with on(library) as gpu:
        x = gpu.array(np.ones(3, np.float32))
        if library == "torch":
            stream = gpu.torch.cuda.Stream()
            with gpu.torch.cuda.stream(stream):
                assert stream_of(view(x, "x")) == stream.cuda_stream
        else:
            with gpu.cupy.cuda.Stream(non_blocking=True) as stream:
                assert stream_of(view(x, "x")) == stream.ptr


@pytest.mark.gpu
def test_numba_and_jax():
    x = np.arange(300, dtype=np.float32).reshape(20, 15)
    given = cuda.to_device(x)
    result = fm.transpose(given)
    assert isinstance(result, type(given))
    np.testing.assert_array_equal(result.copy_to_host(), x.T)
    jax = pytest.importorskip("jax")
    given = jax.numpy.asarray(x)
    result = fm.transpose(given)
    assert isinstance(result, type(given))
    np.testing.assert_array_equal(np.asarray(result), x.T)
    np.testing.assert_array_equal(np.asarray(given), x)
    with pytest.raises(ValueError, match="out is read-only"):
        fm.transpose(given, out=jax.numpy.zeros((15, 20), "float32"))


@pytest.mark.gpu
def test_tensors_that_require_gradients():
    torch = pytest.importorskip("torch")
    x = torch.ones(3, 2, device="cuda", requires_grad=True)
    with pytest.raises(TypeError, match="x requires gradients"):
        fm.transpose(x)
    with torch.no_grad():
        assert fm.transpose(x).shape == (2, 3)
