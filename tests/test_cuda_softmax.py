"""`fm.softmax` and its kin on GPUs, against the oracles that hold on the CPU."""

import gradient_bounds
import gradient_oracles
import numpy as np
import pytest
from gpus import on
from layouts import block, broadcast, f_order, negative, sliced
from masked import hidden, masked_expectation, random_mask, shapes_of
from normals import near, values
from oracles import BFLOAT16, FLOATS, name
from softmaxes import OPS, SAME_SHAPE, expectation, spread

import fastmat as fm

ROOM = 2  # sums are in the dtype that is computed with: float32 adds its eps for each level
VJPS = ("softmax", "log_softmax")
# Of each way to share a group among threads, with 4 multiprocessors: lanes, with single numbers
# and runs; a block; a block that reads twice; several blocks; the same down columns.
SHAPES = {
    "lanes": ((37, 5), -1),
    "lanes of runs": ((9, 100), -1),
    "block": ((5, 1300), -1),
    "long": ((9, 29_008), -1),
    "split": ((2, 40_001), -1),
    "columns": ((5, 37), 0),
    "long columns": ((300, 65), 0),
    "split columns": ((9000, 3), 0),
}
FEW = ("lanes of runs", "split")


def forward(gpu, op, x, axis=-1, mask=None, **keywords):
    """Call an operation and compare its result with the oracle."""
    if mask is None:
        value, bound, dtype = expectation(op, x, axis, **keywords)
        result = getattr(fm, op)(gpu.array(x), axis, **keywords)
    else:
        value, bound, dtype = masked_expectation(op, x, mask, axis, **keywords)
        result = getattr(fm, op)(gpu.array(x), axis, mask=gpu.array(mask), **keywords)
    assert isinstance(result, gpu.kind)
    found = gpu.numpy(result)
    assert found.dtype == dtype
    near(found, value, ROOM * bound)
    return found


def backward(gpu, op, x, axis=-1, mask=None):
    """Call a gradient and compare it with the oracle."""
    kept = np.broadcast_to(True if mask is None else mask, x.shape)
    keywords = {} if mask is None else {"mask": gpu.array(mask)}
    if op == "logsumexp":
        y = expectation(op, np.where(kept, x, -np.inf), axis, keepdims=True)[0].astype(x.dtype)
        y = np.where(np.isinf(y), np.zeros((), x.dtype), y)
        g = values(y.shape, x.dtype, 6)
        filled = np.where(kept, x, np.zeros((), x.dtype))
        expected = gradient_oracles.logsumexp_vjp(g, filled, y, axis, keepdims=True)
        arguments = g, hidden(x, kept), y
        keywords["keepdims"] = True
    else:
        y = expectation(op, np.where(kept, x, -np.inf), axis)[0].astype(x.dtype)
        y = np.where(kept & ~np.isnan(y), y, np.zeros((), x.dtype))
        g = values(x.shape, x.dtype, 6)
        g_kept = np.where(kept, g, np.zeros((), g.dtype))
        expected = getattr(gradient_oracles, f"{op}_vjp")(g_kept, y, axis)
        arguments = hidden(g, kept), hidden(y, kept)
    bound = getattr(gradient_bounds, f"{op}_bound")(expected)
    given = [gpu.array(a) for a in arguments]
    result = getattr(fm, f"{op}_vjp")(*given, axis, **keywords)
    assert isinstance(result, gpu.kind)
    found = gpu.numpy(result)
    assert found.dtype == x.dtype
    near(found, np.where(kept, expected.x, 0), ROOM * np.where(kept, bound, 0))


@pytest.mark.parametrize("way", SHAPES)
def test_softmax(gpu, way):
    shape, axis = SHAPES[way]
    forward(gpu, "softmax", spread(shape, "f4"), axis)


@pytest.mark.parametrize("way", FEW)
def test_kin(gpu, way):
    shape, axis = SHAPES[way]
    for op in ("log_softmax", "logsumexp"):
        forward(gpu, op, spread(shape, "f4"), axis)
    for op in OPS:
        backward(gpu, op, spread(shape, "f4"), axis)


@pytest.mark.cuda_full
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("way", SHAPES)
def test_everything(gpu, way, dtype):
    shape, axis = SHAPES[way]
    x = spread(shape, dtype)
    mask = random_mask(shape)
    for op in OPS:
        forward(gpu, op, x, axis)
        forward(gpu, op, hidden(x, mask), axis, mask)
        backward(gpu, op, x, axis)
        backward(gpu, op, x, axis, mask)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f8"], ids=name)
def test_dtypes(gpu, dtype):
    x = spread((3, 160), dtype)
    for op in SAME_SHAPE:
        forward(gpu, op, x)
    backward(gpu, "softmax", x)


def test_rows_of_halves_in_a_block(gpu):
    x = spread((3, 2600), BFLOAT16)
    forward(gpu, "softmax", x)
    mask = random_mask(x.shape)
    forward(gpu, "softmax", hidden(x, mask), -1, mask)
    forward(gpu, "logsumexp", x)


def test_integers_count_as_float64(gpu):
    for dtype in ("i1", "u8", "?"):
        forward(gpu, "softmax", (np.arange(24).reshape(2, 12) % 5).astype(dtype))


def test_a_cotangent_of_another_dtype(gpu):
    y = expectation("softmax", spread((3, 16), "f4"))[0].astype("f4")
    g = values((3, 16), "f8")
    found = gpu.numpy(fm.softmax_vjp(gpu.array(g), gpu.array(y)))
    expected = gradient_oracles.softmax_vjp(g, y)
    assert found.dtype == np.float32
    near(found, expected.x, ROOM * gradient_bounds.softmax_bound(expected))


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 2), (1, -1), (2, 0, 1), ()])
def test_axes(gpu, axis):
    x = spread((3, 4, 5), "f4")
    forward(gpu, "softmax", x, axis)
    forward(gpu, "logsumexp", x, axis, keepdims=axis == 1)


def test_lengths(gpu):
    """Around what lanes and threads hold."""
    for n in (1, 3, 8, 9, 512, 513):
        forward(gpu, "softmax", spread((3, n), "f4"))


@pytest.mark.parametrize("layout", [f_order, sliced, negative, block, broadcast])
def test_layouts(gpu, layout):
    x = layout(spread((6, 16), "f4"))
    forward(gpu, "softmax", x)
    forward(gpu, "logsumexp", x, 0)
    y = layout(spread((2, 3, 4, 5), "f4"))
    forward(gpu, "softmax", y, (1, 3))


def test_scattered_axes(gpu):
    """Groups along more axes than kernels have."""
    x = spread((3, 4, 5, 6, 7), "f4")[::2, ::3, ::-2, ::2, ::3]
    forward(gpu, "softmax", x)
    forward(gpu, "softmax", x, (0, 2))
    mask = random_mask(x.shape)[:, :1, :, :1, :]
    forward(gpu, "softmax", hidden(x, mask), -1, mask)


def test_masks_broadcast(gpu):
    x = spread((2, 3, 4, 16), "f4")
    for shape in ((2, 3, 4, 16), (2, 1, 1, 16), (3, 1, 1), (), (2, 1, 4, 16)):
        mask = np.asarray(random_mask(shape))
        forward(gpu, "softmax", hidden(x, mask), -1, mask)
    forward(gpu, "logsumexp", hidden(x, mask), -1, mask)
    forward(gpu, "softmax", hidden(x, mask), (1, 3), mask)


@pytest.mark.parametrize("way", ["block", "split", "long columns"])
def test_masks(gpu, way):
    shape, axis = SHAPES[way]
    x = spread(shape, "f4")
    for of_mask in (shape, shapes_of(shape)[0]):
        mask = np.asarray(random_mask(of_mask))
        forward(gpu, "softmax", hidden(x, mask), axis, mask)
    backward(gpu, "softmax", x, axis, random_mask(shape))
    backward(gpu, "logsumexp", x, axis, random_mask(shape))


def test_groups_that_are_masked_throughout(gpu):
    x = spread((3, 16), "f4")
    mask = np.ones((3, 16), bool)
    mask[1] = False
    for op, nothing in (("softmax", 0), ("log_softmax", -np.inf), ("logsumexp", -np.inf)):
        assert (forward(gpu, op, x, -1, mask)[1] == nothing).all()


@pytest.mark.parametrize("way", ["lanes", "block", "split"])
def test_infinities_and_nan(gpu, way):
    (_, n), _ = SHAPES[way]
    x = spread((7, n), "f4")
    x[0] = -np.inf
    x[1, -1] = np.inf
    x[2, n // 2] = np.nan
    x[3, :-1] = -np.inf
    x[4, 0], x[4, -1] = np.inf, np.nan
    x[5, 0] = -np.inf
    with np.errstate(invalid="ignore"):
        for op in OPS:
            forward(gpu, op, x if way != "split" else x[:5:2])
            if way == "split":
                forward(gpu, op, x[1:5:3])


def test_nothing_overflows(gpu):
    x = np.array([[-1e38, 1e38, 0, 1], [1e4, 1e4, -1e4, 1e4], [-3e38] * 4], "f4")
    for op in OPS:
        forward(gpu, op, x)


def test_empty(gpu):
    for shape in ((0,), (0, 5), (5, 0), (2, 0, 3)):
        x = np.zeros(shape, "f4")
        for op in OPS:
            forward(gpu, op, x)
        assert gpu.numpy(fm.softmax_vjp(gpu.array(x), gpu.array(x))).shape == shape
    assert gpu.numpy(fm.logsumexp(gpu.array(np.zeros((2, 0), "f4")), 1))[0] == -np.inf


def test_in_place_and_out(gpu):
    for (m, n), axis in (SHAPES["lanes of runs"], SHAPES["split"], SHAPES["long columns"]):
        x = spread((m, n), "f4")
        expected = gpu.numpy(fm.softmax(gpu.array(x), axis)).tobytes()
        given = gpu.array(x)
        assert fm.softmax(given, axis, out=given) is given
        assert gpu.numpy(given).tobytes() == expected
        out = gpu.array(np.full((m, n), 7, "f4"))
        assert fm.softmax(gpu.array(x), axis, out=out) is out
        assert gpu.numpy(out).tobytes() == expected


def test_out_that_overlaps(gpu):
    memory = spread((5, 16), "f4")
    for first, second in ((slice(0, 4), slice(1, 5)), (slice(1, 5), slice(0, 4))):
        given = gpu.array(memory)
        expected = gpu.numpy(fm.softmax(gpu.array(memory[first])))
        fm.softmax(given[first], out=given[second])
        np.testing.assert_array_equal(gpu.numpy(given)[second], expected)
    total = gpu.array(memory)
    expected = gpu.numpy(fm.logsumexp(gpu.array(memory)))
    fm.logsumexp(total, out=total[:, 3])
    np.testing.assert_array_equal(gpu.numpy(total)[:, 3], expected)


@pytest.mark.parametrize("layout", [f_order, sliced, negative])
def test_a_strided_out(gpu, layout):
    x = spread((6, 16), "f4")
    out = gpu.array(layout(np.zeros((6, 16), "f4")))
    assert fm.softmax(gpu.array(x), out=out) is out
    value, bound, _ = expectation("softmax", x)
    near(gpu.numpy(out), value, ROOM * bound)


MISTAKES = [
    (lambda f, a: f.softmax(a("c8")), "x has dtype complex64; it must be real"),
    (lambda f, a: f.softmax(a("f4"), 2), "axis 2 is out of bounds"),
    (lambda f, a: f.softmax(a("f4"), (0, 0)), "must not name an axis twice"),
    (lambda f, a: f.softmax(a("f4"), 1.5), "axis is 1.5; it must be an integer"),
    (lambda f, a: f.softmax(a("f4"), mask=a("f4")), "mask has dtype float32; it must be bool"),
    (lambda f, a: f.softmax(a("f4"), mask=a("?", (3,))), "mask has shape .*broadcast to"),
    (lambda f, a: f.softmax(a("f4"), out=a("f4", (2, 5))), "out has shape .*the result has shape"),
    (lambda f, a: f.softmax(a("f4"), out=a("i4")), "out has dtype int32; the result has dtype"),
    (lambda f, a: f.logsumexp(a("f4"), out=a("f4")), "out has shape .*the result has shape"),
    (lambda f, a: f.softmax_vjp(a("f4", (2, 3)), a("f4")), "cotangent has shape .*must have"),
    (lambda f, a: f.softmax_vjp(a("c8"), a("f4")), "cotangent has dtype complex64; it must be"),
    (lambda f, a: f.logsumexp_vjp(a("f4"), a("f4"), a("f4", (2,))), "cotangent has shape"),
    (lambda f, a: f.logsumexp_vjp(a("f4", (2,)), a("f4"), a("c8", (2,))), "result has dtype"),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_mistakes(gpu, call, message):
    """The errors are those of the CPU."""
    caught = []
    for move in (np.asarray, gpu.array):
        with pytest.raises((ValueError, TypeError), match=message) as error:
            call(fm, lambda dtype, shape=(2, 4), move=move: move(np.zeros(shape, dtype)))
        caught.append(error.type)
    assert caught[0] is caught[1]


def test_arrays_on_the_cpu_beside_those_on_a_gpu(gpu):
    x = np.zeros((2, 4), "f4")
    with pytest.raises(TypeError, match="mask is not on a GPU"):
        fm.softmax(gpu.array(x), mask=x == 0)
    with pytest.raises(TypeError, match="out is not on a GPU"):
        fm.softmax(gpu.array(x), out=x)


@pytest.mark.parametrize("way", ["block", "split", "long columns"])
def test_the_same_bits(way):
    shape, axis = SHAPES[way]
    x = spread(shape, "f4")
    found = set()
    for seed in (0, 1):
        with on("emulator", seed=seed) as gpu:
            found.add(gpu.numpy(fm.softmax(gpu.array(x), axis)).tobytes())
    assert len(found) == 1
