"""`fm.softmax`, `log_softmax` and `logsumexp` with `mask=`, and their gradients."""

import gradient_bounds
import gradient_oracles
import numba
import numpy as np
import pytest
import softmax_oracles
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, makers_for, unmodified
from masked import hidden, near_masked, random_mask, shapes_of
from normals import near, values
from oracles import BFLOAT16, DTYPES, FLOATS, name
from products import bits
from softmaxes import OPS, SAME_SHAPE, spread

import fastmat as fm

REAL = [dtype for dtype in DTYPES if dtype.kind != "c"]
AXES_OF = {
    (1,): [0, None],
    (7,): [-1],
    (5, 3): [0, 1, None, ()],
    (13, 17): [0, 1],
    (2, 3, 4): [0, 1, 2, (0, 2), None],
    (3, 2, 2, 3, 5): [0, 2, -1, (0, 2, 4), (2, 3)],
    (65, 33): [0, 1],
    (64, 3, 64): [0, 1, 2],
}
GRADIENTS = {"softmax": "softmax_bound", "log_softmax": "log_softmax_bound"}


def check(op, x, mask, axis=-1, **keywords):
    """One call, where what is masked is strange; neither x nor the mask is modified."""
    x = hidden(x, mask)
    with unmodified(x, mask):
        result = getattr(fm, op)(x, axis, mask=mask, **keywords)
    near_masked(op, result, x, mask, axis, **keywords)
    return result


def check_all(x, mask, axis=-1):
    for op in OPS:
        check(op, x, mask, axis)


@pytest.mark.parametrize("dtype", REAL, ids=name)
def test_shapes_and_axes(dtype):
    for shape, choices in AXES_OF.items():
        x = spread(shape, dtype)
        for axis in choices:
            for of_mask in shapes_of(shape):
                check_all(x, random_mask(of_mask), axis)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8"], ids=name)
@pytest.mark.parametrize("n", [31, 32, 33, 64, 65, 256, 1024, 1025, 4095, 4096, 4097, 9000])
def test_numbers_at_the_edges_of_blocks(dtype, n):
    for shape, axes in [((3, n), (1,)), ((n, 3), (0,)), ((2, n, 2), (1, (0, 1)))]:
        for axis in axes:
            for of_mask in (shape, (1, n) if len(shape) == 2 else (n, 1)):
                if len(of_mask) == 2 and shape[0] == n:
                    of_mask = of_mask[::-1] if of_mask != shape else shape
                check_all(spread(shape, dtype), random_mask(of_mask), axis)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_neighbouring_groups_at_the_edges_of_blocks(dtype):
    for groups in (31, 32, 63, 64, 65, 129):
        for shape in [(7, groups), (2, 40, groups), (groups, 40), (groups, 3)]:
            mask = random_mask(shape)
            check_all(spread(shape, dtype), mask, -2)
            check_all(spread(shape, dtype), mask, -1)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_few_long_groups(dtype):
    for shape in [(70_001,), (2, 65_537), (2, 140_000), (70_001, 2)]:
        axis = int(np.argmax(shape))
        for share in (0.6, 1e-5, 0):
            check_all(spread(shape, dtype), random_mask(shape, share), axis)
        check_all(spread(shape, dtype), np.arange(shape[-1]) < shape[-1] // 3, axis)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_groups_of_which_nothing_is_kept(dtype):
    """Zeros, or -inf in logarithms, whatever is masked; the other groups are as ever."""
    for shape in [(4, 6), (70, 5), (6, 5000), (3, 70_001), (1100, 70)]:
        mask = random_mask(shape)
        mask[1] = False
        x = hidden(spread(shape, dtype), mask)
        for y, m, axis in ((x, mask, 1), (x.T.copy(), mask.T.copy(), 0)):
            empty = (slice(None),) * (1 - axis) + (1,)
            for op, value in (("softmax", 0), ("log_softmax", -np.inf), ("logsumexp", -np.inf)):
                result = getattr(fm, op)(y, axis, mask=m)
                part = result[1] if op == "logsumexp" else result[empty]
                assert bits(np.asarray(part)) == bits(np.full_like(part, value))
                near_masked(op, result, y, m, axis)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_mask_that_keeps_all_changes_no_bit(dtype):
    for shape, axis in [
        ((5, 7), 1),
        ((300, 16), 1),
        ((40, 300), 0),
        ((2, 9000), 1),
        ((3, 70_001), 1),
    ]:
        x = spread(shape, dtype)
        for mask in (np.ones(shape, bool), np.True_, np.ones(shape[-1:], bool)):
            for op in OPS:
                plain = getattr(fm, op)(x, axis)
                assert bits(getattr(fm, op)(x, axis, mask=mask)) == bits(plain)


@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=str)
@pytest.mark.parametrize("n", [7, 1000, 4097, 70_001])
def test_nan_and_inf_that_are_kept(bad, n):
    """They make what is kept of their group NaN, and leave what is masked alone."""
    for place in (0, n // 2, n - 1):
        rows, mask = spread((3, n), "f4"), random_mask((3, n))
        rows[1, place], mask[1, place] = bad, True
        for x, m, axis in ((rows, mask, 1), (rows.T.copy(), mask.T.copy(), 0)):
            for op in OPS:
                near_masked(op, getattr(fm, op)(x, axis, mask=m), x, m, axis)
            found = np.moveaxis(fm.softmax(x, axis, mask=m), axis, 1)[1]
            assert np.isnan(found[mask[1]]).all()
            assert (found[~mask[1]] == 0).all()


@pytest.mark.parametrize("n", [7, 1000, 4097, 70_001])
def test_kept_numbers_that_are_all_minus_infinity(n):
    """NaN where they are kept, as without a mask, and 0 where it is masked."""
    x, mask = spread((2, n), "f4"), random_mask((2, n))
    x[1, mask[1]] = -np.inf
    for y, m, axis in ((x, mask, 1), (x.T.copy(), mask.T.copy(), 0)):
        for op in OPS:
            near_masked(op, getattr(fm, op)(y, axis, mask=m), y, m, axis)


@pytest.mark.parametrize("layout", sorted(makers_for("?")))
def test_layouts_of_the_mask(layout):
    for shape in [(9, 35), (70, 70), (3, 5000), (2, 40, 30)]:
        mask = LAYOUTS[layout](random_mask(shape))
        x = spread(shape, "f4")
        for axis in (0, -1):
            check_all(x, mask, axis)
            check_all(np.asfortranarray(x), mask, axis)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_layouts_of_x(layout):
    for shape in [(9, 35), (3, 5000)]:
        x, mask = LAYOUTS[layout](spread(shape, "f4")), random_mask(shape)
        for axis in (0, -1):
            for op in OPS:
                with unmodified(x, mask):
                    result = getattr(fm, op)(x, axis, mask=mask)
                near_masked(op, result, x, mask, axis)


def test_any_byte_but_zero_is_true():
    mask = np.frombuffer(bytes([0, 1, 2, 255, 128, 0]), np.uint8).view(bool)
    x = spread((4, 6), "f4")
    for axis in (0, 1):
        assert bits(fm.softmax(x, axis, mask=mask)) == bits(
            fm.softmax(x, axis, mask=mask.copy() & True)
        )


def test_masks_that_are_not_arrays():
    x = spread((2, 3), "f8")
    for mask in ([True, False, True], [[True], [False]], True, np.True_):
        near_masked("softmax", fm.softmax(x, mask=mask), x, np.asarray(mask))


def test_torch():
    torch = pytest.importorskip("torch")
    x, mask = spread((4, 50), "f4"), random_mask((4, 50))
    found = fm.softmax(torch.from_numpy(x), mask=torch.from_numpy(mask))
    assert isinstance(found, torch.Tensor)
    assert bits(found.numpy()) == bits(fm.softmax(x, mask=mask))


@pytest.mark.parametrize("op", SAME_SHAPE)
def test_out(op):
    """A new array, x itself, one that overlaps x, one that shares memory with the mask."""
    function = getattr(fm, op)
    for shape in [(9, 9), (70, 70), (3, 9000)]:
        x, mask = spread(shape, "f4"), random_mask(shape)
        expected = bits(function(x, mask=mask))
        for out in (np.full(shape, 7, "f4"), x.copy()):
            assert function(out if out[0, 0] != 7 else x, mask=mask, out=out) is out
            assert bits(out) == expected
        memory = np.concatenate([x, x])
        assert bits(function(memory[: len(x)], mask=mask, out=memory[1 : len(x) + 1])) == expected
        target = np.zeros(shape, "f4")
        within = target.view(bool)[:, ::4]
        within[...] = mask
        function(x, mask=within, out=target)
        assert bits(target) == expected


@pytest.mark.parametrize("op", [*OPS, "softmax_vjp", "log_softmax_vjp", "logsumexp_vjp"])
def test_wrong_masks(op):
    """The message says what the mask is, and what it must be; out is not touched."""
    x = np.ones((4, 3), "f4")
    reduced = op.startswith("logsumexp")
    if op.endswith("_vjp"):
        arrays = (np.ones(4, "f4"), x, np.ones(4, "f4")) if reduced else (x, x)
        out = np.full((4, 3), 7, "f4")
    else:
        arrays, out = (x,), np.full(4 if reduced else (4, 3), 7, "f4")
    for mask, error, message in [
        (np.ones((4, 3), "i1"), TypeError, r"mask has dtype int8; it must be bool"),
        (np.ones((4, 3)), TypeError, r"mask has dtype float64; it must be bool"),
        ("text", TypeError, r"mask has dtype"),
        (np.ones(4, bool), ValueError, r"mask has shape \(4,\); it must broadcast to \(4, 3\)"),
        (np.ones((3, 4), bool), ValueError, r"mask has shape \(3, 4\)"),
        (np.ones((1, 4, 3), bool), ValueError, r"mask has shape \(1, 4, 3\)"),
        (np.ones((0, 3), bool), ValueError, r"mask has shape \(0, 3\)"),
    ]:
        with pytest.raises(error, match=message):
            getattr(fm, op)(*arrays, mask=mask, out=out)
        assert (out == 7).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "i4"])
def test_empty(dtype):
    for shape, axis in [((0,), -1), ((0, 3), 0), ((0, 3), 1), ((3, 0), 1), ((2, 0, 3), (0, 2))]:
        for of_mask in shapes_of(shape):
            check_all(spread(shape, dtype), random_mask(of_mask), axis)


def test_keepdims():
    x, mask = spread((3, 4, 5), "f4"), random_mask((4, 1))
    for axis in (0, 1, (0, 2), None):
        kept = check("logsumexp", x, mask, axis, keepdims=True)
        assert bits(kept) == bits(fm.logsumexp(x, axis, mask=mask))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_same_bits_at_any_number_of_threads(dtype):
    for shape, axis in [
        ((5000, 8), 1),
        ((300, 300), 0),
        ((300, 300), 1),
        ((1500, 70), 0),
        ((200_000,), 0),
        ((3, 90_000), 1),
    ]:
        x, mask = spread(shape, dtype), random_mask(shape)
        g = values(shape, dtype, 6)
        for op in SAME_SHAPE:
            found = set()
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                result = getattr(fm, op)(x, axis, mask=mask)
                back = getattr(fm, f"{op}_vjp")(g, result, axis, mask=mask)
                found.add((bits(result), bits(back), bits(fm.logsumexp(x, axis, mask=mask))))
            assert len(found) == 1


def forward(op, x, mask, axis, **keywords):
    """The result of the operation without masks, and 0 or -inf where it is masked."""
    kept = np.broadcast_to(mask, x.shape)
    filled = np.where(kept, x, np.asarray(-np.inf, x.dtype))
    value = getattr(softmax_oracles, op)(filled, axis, **keywords).value
    if op == "logsumexp":
        return value
    return np.where(kept, value, 0 if op == "softmax" else -np.inf)


def check_vjp(op, x, mask, axis=-1):
    """The gradient of softmax or log_softmax: cotangents that are masked count for nothing."""
    kept = np.broadcast_to(mask, x.shape)
    y = np.asarray(forward(op, x, mask, axis)).astype(x.dtype)
    g = values(x.shape, x.dtype, 6)
    expected = getattr(gradient_oracles, f"{op}_vjp")(
        np.where(kept, g, np.zeros((), g.dtype)), y, axis
    )
    bound = np.where(kept, getattr(gradient_bounds, GRADIENTS[op])(expected), 0)
    value = np.where(kept, expected.x, 0)
    for cotangent, result in ((g, y), (hidden(g, mask), hidden(y, mask))):
        with unmodified(cotangent, result, mask):
            found = getattr(fm, f"{op}_vjp")(cotangent, result, axis, mask=mask)
        assert found.dtype == x.dtype
        near(found, value, bound)


def check_logsumexp_vjp(x, mask, axis=-1):
    kept = np.broadcast_to(mask, x.shape)
    y = np.asarray(forward("logsumexp", x, mask, axis, keepdims=True)).astype(x.dtype)
    g = values(y.shape, x.dtype, 6)
    filled = np.where(kept, x, np.zeros((), x.dtype))
    expected = gradient_oracles.logsumexp_vjp(g, filled, y, axis, keepdims=True)
    value, bound = expected.x, gradient_bounds.logsumexp_bound(expected)
    given_x = hidden(x, mask)
    with unmodified(given_x, mask):
        found = fm.logsumexp_vjp(g, given_x, y, axis, mask=mask, keepdims=True)
    assert found.dtype == x.dtype
    near(found, np.where(kept, value, 0), np.where(kept, bound, 0))


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_gradients(dtype):
    """Of every path: chunks, pieces, side by side; groups of which nothing is kept among them."""
    for shape, axes in [
        ((5, 7), (0, 1, None)),
        ((300, 16), (0, 1)),
        ((70, 130), (0, 1)),
        ((3, 5000), (0, 1)),
        ((2, 70_001), (1,)),
        ((1100, 3), (0,)),
        ((3, 4, 50), (0, 1, (0, 2))),
    ]:
        x = spread(shape, dtype)
        for of_mask in shapes_of(shape):
            mask = random_mask(of_mask, 0.5)
            if mask.ndim == len(shape) and len(mask) > 1:
                mask[0] = False
            for axis in axes:
                for op in GRADIENTS:
                    check_vjp(op, x, mask, axis)
                check_logsumexp_vjp(x, mask, axis)


def test_gradients_are_those_of_differences():
    """Central differences of the oracles in long double."""
    shape, h = (5, 6), np.longdouble(1e-6)
    x, mask = spread(shape, "f8"), random_mask(shape)
    mask[2] = False
    g = np.where(mask, values(shape, "f8", 6), 0)
    for op in OPS:
        result = forward(op, x, mask, -1).astype("f8")
        if op == "logsumexp":
            cotangent = values(shape[0], "f8", 6)
            found = fm.logsumexp_vjp(cotangent, x, result, mask=mask)
        else:
            cotangent = g
            found = getattr(fm, f"{op}_vjp")(cotangent, result, mask=mask)
        expected = np.zeros(shape, np.longdouble)
        for place in np.ndindex(shape):
            step = np.zeros(shape, np.longdouble)
            step[place] = h
            ahead, behind = (
                np.where(np.isfinite(part), part, 0)
                for part in (forward(op, x + step, mask, -1), forward(op, x - step, mask, -1))
            )
            expected[place] = np.sum(cotangent * (ahead - behind)) / (2 * h)
        np.testing.assert_allclose(found, expected.astype("f8"), rtol=1e-7, atol=1e-9)
        assert (found[~mask] == 0).all()


def test_gradients_in_place():
    x, mask = spread((70, 90), "f4"), random_mask((70, 90))
    g, y = values(x.shape, "f4", 6), fm.softmax(x, mask=mask)
    expected = bits(fm.softmax_vjp(g, y, mask=mask))
    for out in (g.copy(), y.copy()):
        given_arrays = (out, y) if bits(out) == bits(g) else (g, out)
        assert fm.softmax_vjp(*given_arrays, mask=mask, out=out) is out
        assert bits(out) == expected


@st.composite
def calls(draw):
    """An array of any shape up to four axes, a mask of it, and an axis."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    axes = st.lists(st.integers(0, len(shape) - 1), unique=True, max_size=3).map(tuple)
    axis = draw(st.none() | st.integers(-len(shape), len(shape) - 1) | axes)
    of_mask = tuple(n if draw(st.booleans()) else 1 for n in shape)
    of_mask = of_mask[draw(st.integers(0, len(shape))) :]
    seed = draw(st.integers(0, 1000))
    return shape, random_mask(of_mask, draw(st.sampled_from([0, 0.3, 0.8, 1])), seed), axis


@given(calls(), st.sampled_from(["f2", "f4", "f8"]), st.sampled_from("CF"))
def test_random_calls(call, dtype, order):
    shape, mask, axis = call
    x = np.array(spread(shape, dtype), order=order)
    check_all(x, np.array(mask, order=order), axis)
    for op in GRADIENTS:
        check_vjp(op, x, mask, axis)
