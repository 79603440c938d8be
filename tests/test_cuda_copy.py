"""Copies on GPUs between any strides: which launches are made of them, and what they move."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from cuda_emulator import EmulatedArray
from gpus import on
from products import any_bits

from fastmat.cuda import arrays, copy, launch_copy
from fastmat.cuda.copy import Axis, may_overlap, packed
from fastmat.cuda.gather import divisor


def plan(source, target):
    """The launches that copy between NumPy arrays at addresses of multiples of 256."""
    size = source.itemsize
    steps = (tuple(s // size for s in x.strides) for x in (source, target))
    return copy._plan(source.shape, *steps, size, 0, 0)


def names(source, target):
    return [step.kernel.name for step in plan(source, target)]


def copied(x, place):
    """What is in an array of these strides after `x` has been copied to it."""
    with on("emulator") as gpu:
        given, target = gpu.array(x), gpu.array(place)
        copy.copy(arrays.view(given, "x"), arrays.view(target, "out"))
        return gpu.numpy(target)


def bits(x):
    return np.ascontiguousarray(x).tobytes()


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_kernels_that_are_chosen(size):
    kind = "c16" if size == 16 else f"u{size}"
    x = np.empty((256, 512), kind)
    assert names(x, x) == ["copied 16"]
    assert names(x.T, np.empty((512, 256), kind)) == [f"tiles {size} 16 16 False False"]
    stack = np.empty((4, 256, 512), kind)
    assert names(stack.mT, np.empty((4, 512, 256), kind)) == [f"tiles {size} 16 16 True False"]
    heads = np.empty((4, 64, 8, 128), kind)
    assert names(heads.swapaxes(1, 2), np.empty((4, 8, 64, 128), kind)) == ["gathered 16 6"]
    few = np.empty((1000, 2), kind)
    # Two items of up to 8 bytes of a row are not one item of the target.
    assert names(few.T, np.empty((2, 1000), kind)) == [f"thinned {size} True"]
    assert names(x[:0], x[:0]) == []


def test_odd_sides_and_addresses():
    x = np.empty((130, 66), "u2")
    assert names(x.T, np.empty((66, 130), "u2")) == ["tiles 2 4 4 False False"]
    x = np.empty((131, 67), "u2")
    assert names(x.T, np.empty((67, 131), "u2")) == ["tiles 2 2 2 False False"]
    memory = np.empty((131, 68), "u4")
    assert names(memory[:, 1:], memory[:, 1:]) == ["gathered 4 3"]


def test_pairs_move_as_one():
    x = np.empty((100, 200, 2), "f4")
    assert names(x.swapaxes(0, 1), np.empty((200, 100, 2), "f4")) == ["tiles 8 16 16 False False"]


@pytest.mark.parametrize("size", [1, 4, 16])
def test_any_strides_to_any_strides(size):
    kind = "c16" if size == 16 else f"u{size}"
    x = any_bits((9, 40), kind)
    wide = any_bits((40, 80), kind)
    sources = [x, np.asfortranarray(x), x[::-1, ::-1], wide[3:12, 5:77:2][:, :40]]
    sources += [np.broadcast_to(x[:, :1], x.shape)]
    sources = [np.pad(s, ((0, 0), (0, 4)))[:, :40] if s.shape != x.shape else s for s in sources]
    for source in sources:
        for place in [np.zeros_like(x), np.zeros_like(x, order="F"), np.zeros_like(x)[::-1, ::-1]]:
            assert bits(copied(source, place)) == bits(source)


def test_items_at_addresses_that_are_no_multiple_of_their_size():
    memory = np.zeros(8 * 41 + 4, np.uint8)
    x = memory[4:].view("u1")[: 8 * 40].view("f8").reshape(8, 5)
    x[...] = np.arange(40).reshape(8, 5)
    with on("emulator"):
        whole = EmulatedArray.from_numpy(memory)
        like = arrays.view(whole, "x")
        source = like._replace(
            pointer=like.pointer + 4, shape=(5, 8), strides=(1, 5), dtype="float64"
        )
        assert source.pointer % 8
        assert np.array_equal(packed(source).owner.numpy(), x.T)


def test_packed():
    x = any_bits((3, 40, 30), "u4")
    with on("emulator") as gpu:
        view = arrays.view(gpu.array(x), "x")
        assert packed(view) is view
        made = packed(view.transposed((2, 0, 1)))
        assert made.contiguous
        assert bits(gpu.numpy(made.owner)) == bits(x.transpose(2, 0, 1))


def test_more_axes_than_a_launch_has():
    x = any_bits((2, 3, 2, 3, 2, 3, 2, 3, 2), "u2")
    axes = (7, 5, 3, 1, 8, 6, 4, 2, 0)
    result = copied(x.transpose(axes), np.zeros([x.shape[k] for k in axes], "u2"))
    assert bits(result) == bits(x.transpose(axes))
    assert len(plan(x.transpose(axes), result)) > 1


def test_more_items_than_a_launch_has(monkeypatch):
    monkeypatch.setattr(copy, "MOST", 100)
    copy._plan.cache_clear()
    x = any_bits((50, 7), "u4")
    assert bits(copied(x[:, :5], np.zeros((50, 5), "u4"))) == bits(x[:, :5])
    monkeypatch.setattr(copy, "MOST", 3)
    copy._plan.cache_clear()
    x = any_bits((6, 40, 40), "u4")
    assert bits(copied(x.mT, np.zeros_like(x))) == bits(x.mT)
    assert len(plan(x.mT, np.zeros_like(x))) > 1
    copy._plan.cache_clear()


def test_axes_are_merged():
    axes = [Axis(4, 50, 60), Axis(5, 10, 12), Axis(2, 1, 1)]
    assert copy._merged(axes) == (Axis(20, 10, 12), Axis(2, 1, 1))
    assert copy._merged(axes[::-1]) == (Axis(20, 10, 12), Axis(2, 1, 1))


def test_division():
    rng = np.random.default_rng(0)
    most = launch_copy.MOST
    for n in [1, 2, 3, 5, 7, 64, 641, 65535, 65537, 2**30, most - 1, most]:
        factor, shift = divisor(n)
        assert factor < 2**32
        numbers = {0, 1, n - 1, n, n + 1, most, *rng.integers(0, most, 200).tolist()}
        for i in numbers:
            assert i * factor >> shift == i // n


def test_overlap():
    with on("emulator") as gpu:
        x = gpu.array(np.zeros((10, 4), "f4"))
        first, last, all_, none = (arrays.view(v, "x") for v in (x[:5], x[5:], x[::-1], x[:0]))
        assert not may_overlap(first, last)
        assert may_overlap(first, all_)
        assert may_overlap(all_, last)
        assert not may_overlap(none, all_)
