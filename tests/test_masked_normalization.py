"""`fm.moments`, `layer_norm` and `batch_norm` with `mask=`, and their gradients.

What a group should give is what its kept numbers give alone, by the oracles without masks.
"""

import gradient_bounds
import gradient_oracles
import normal_oracles
import numba
import numpy as np
import pytest
from layouts import LAYOUTS, makers_for, unmodified
from masked import hidden, random_mask, shapes_of
from normals import near, values
from oracles import BFLOAT16, FLOATS, name
from products import bits
from tolerances import moments_bounds, normalized_bound, rounding_bound, statistics_bounds

import fastmat as fm

# Not many groups, for each is compared with what its kept numbers give alone.
SHAPES = {
    "layer_norm": [(5, 7), (70, 65), (3, 5000), (2, 70_001), (4, 3, 50), (300, 16), (2, 3, 4, 5)],
    "batch_norm": [(5, 7), (70, 65), (5000, 3), (70_001, 2), (4, 3, 50), (30, 70), (2, 3, 4, 5)],
}


def groups_of(shape, axes):
    """Where the numbers of each group are: an index of the statistics, and one of the array."""
    kept = [1 if a in axes else n for a, n in enumerate(shape)]
    for at in np.ndindex(*kept):
        yield at, tuple(slice(None) if a in axes else i for a, i in enumerate(at))


def check_moments(x, mask, axis):
    """Mean and variance of the kept numbers of each group; NaN where there are none."""
    shape, axes = x.shape, normal_oracles.axes_of(axis, x.ndim)
    kept, given = np.broadcast_to(mask, shape), hidden(x, mask)
    with unmodified(given, mask):
        found = fm.moments(given, axis, mask=mask, keepdims=True)
    for at, where in groups_of(shape, axes):
        numbers = x[where][kept[where]]
        if numbers.size == 0:
            assert all(np.isnan(part[at]) for part in found)
            continue
        expected = normal_oracles.moments(numbers)
        bounds, wanted = moments_bounds(expected), (expected.mean, expected.variance)
        for part, value, bound, dtype in zip(found, wanted, bounds, expected.dtypes, strict=True):
            assert part.dtype == dtype
            near(part[at], value, bound)


@pytest.mark.parametrize("dtype", ["f2", BFLOAT16, "f4", "f8", "c8", "i4", "?"], ids=name)
def test_moments(dtype):
    for shape in {*SHAPES["layer_norm"], *SHAPES["batch_norm"]}:
        axes = [-1, 0] if max(shape) < 1000 else [int(np.argmax(shape))]
        axes += [(0, 2)] if len(shape) == 3 else []
        for axis in axes:
            for of_mask in shapes_of(shape):
                mask = random_mask(of_mask)
                if mask.ndim == len(shape):
                    mask[0] = False
                check_moments(values(shape, dtype), mask, axis)


def test_moments_of_numbers_far_from_zero():
    """What is masked must not be taken for numbers at the mean, rounded."""
    for shape, axis in [((3, 9000), 1), ((9000, 3), 0), ((40, 20), 1), ((20, 40), 0)]:
        x = (values(shape, "f8") + 1e4).astype("f4")
        for share in (0.01, 0.5):
            check_moments(x, random_mask(shape, share), axis)


def test_moments_as_numpy_where():
    x, mask = values((6, 50), "f8"), random_mask((6, 50))
    for correction in (0, 1, 2.5):
        found = fm.moments(x, 1, mask=mask, correction=correction)
        np.testing.assert_allclose(found.mean, np.mean(x, 1, where=mask), rtol=1e-13)
        variance = np.var(x, 1, where=mask, ddof=correction)
        np.testing.assert_allclose(found.variance, variance, rtol=1e-12)
    assert isinstance(fm.moments(x, mask=mask).mean, float)


def test_moments_of_infinities_that_are_kept():
    for shape, axis in [((3, 50), 1), ((50, 3), 0), ((3, 5000), 1), ((5000, 3), 0)]:
        x, mask = values(shape, "f4"), random_mask(shape)
        place = tuple(np.argwhere(mask)[0])
        x[place] = np.inf
        found = fm.moments(hidden(x, mask), axis, mask=mask)
        group = place[1 - axis]
        assert found.mean[group] == np.inf
        assert np.isnan(found.variance[group])
        assert np.isfinite(np.delete(found.mean, group)).all()


def check_norm(op, x, mask, weight, bias, stats=True, **keywords):
    """Result and statistics of each group, and exact zeros where it is masked."""
    shape, kept = x.shape, np.broadcast_to(mask, x.shape)
    axes = (0, *range(2, x.ndim)) if op == "batch_norm" else (x.ndim - 1,)
    along = (-1, *[1] * (x.ndim - 2)) if op == "batch_norm" else (-1,)
    given = hidden(x, mask)
    how = {"training": True} if op == "batch_norm" else {"normalized_shape": shape[-1:]}
    with unmodified(given, mask, weight, bias):
        found = getattr(fm, op)(
            given, weight=weight, bias=bias, mask=mask, return_stats=True, **how, **keywords
        )
    result, mean, rstd = found
    assert result.dtype == x.dtype
    assert mean.dtype == rstd.dtype == np.float64
    assert bits(result[~kept]) == bits(np.zeros_like(result[~kept]))
    w, b = (np.broadcast_to(part.reshape(along), shape) for part in (weight, bias))
    of_groups = [
        part.reshape([1 if a in axes else n for a, n in enumerate(shape)]) for part in (mean, rstd)
    ]
    for at, where in groups_of(shape, axes):
        inside = kept[where]
        if not inside.any():
            assert np.isnan(of_groups[0][at])
            assert np.isnan(of_groups[1][at])
            continue
        parameters = [np.ascontiguousarray(part[where][inside]) for part in (w, b)]
        expected = normal_oracles.layer_norm(x[where][inside], (int(inside.sum()),), *parameters)
        near(result[where][inside], expected.value, normalized_bound(expected))
        for part, value, bound in zip(
            of_groups, (expected.mean, expected.rstd), statistics_bounds(expected), strict=True
        ):
            near(part[at], np.squeeze(value), np.squeeze(bound))
    return found


def operands(op, shape, dtype, of_mask, share=0.6):
    """x, a mask that keeps nothing of its first items, weight and bias."""
    x, mask = values(shape, dtype), random_mask(of_mask, share)
    if mask.ndim == len(shape) and len(mask) > 1:
        mask[0] = False
    size = shape[1] if op == "batch_norm" else shape[-1]
    compute = dtype if np.dtype(dtype).kind == "f" else "f8"
    return x, mask, values(size, compute, 1), values(size, compute, 2)


@pytest.mark.parametrize("op", ["layer_norm", "batch_norm"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_normalization(dtype, op):
    for shape in SHAPES[op]:
        for of_mask in shapes_of(shape):
            x, mask, weight, bias = operands(op, shape, dtype, of_mask)
            for y in (x, np.asfortranarray(x)):
                if y is x or x.size < 10_000:
                    check_norm(op, y, mask, weight, bias)


@pytest.mark.parametrize("layout", sorted(makers_for("?")))
def test_layouts_of_the_mask(layout):
    for op in ("layer_norm", "batch_norm"):
        for shape in [(9, 35), (3, 5000), (4, 6, 20)]:
            x, mask, weight, bias = operands(op, shape, "f4", shape)
            check_norm(op, x, LAYOUTS[layout](mask), weight, bias)


def test_layer_norm_over_other_axes():
    x, mask = values((6, 7, 8), "f8"), random_mask((6, 1, 8))
    for axis in (0, 1, (0, 2), (0, 1, 2)):
        found = fm.layer_norm(hidden(x, mask), axis=axis, mask=mask)
        mean = np.mean(x, axis, keepdims=True, where=mask)
        variance = np.var(x, axis, keepdims=True, where=mask)
        expected = np.where(mask, (x - mean) / np.sqrt(variance + 1e-5), 0)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
def test_layer_norm_with_residual_and_activation(activation):
    """As the sum normalized alone; zeros where it is masked, whatever the activation of 0 is."""
    for shape in [(20, 30), (3, 5000), (300, 8)]:
        x, mask, weight, bias = operands("layer_norm", shape, "f4", shape)
        residual = values(shape, "f4", 5)
        keywords = {"mask": mask, "activation": activation, "return_stats": True}
        found = fm.layer_norm(x, shape[-1], weight, bias, residual=residual, **keywords)
        assert bits(found.sum) == bits(x + residual)
        alone = fm.layer_norm(x + residual, shape[-1], weight, bias, **keywords)
        for part in ("result", "mean", "rstd"):
            assert bits(getattr(found, part)) == bits(getattr(alone, part))
        plain = fm.layer_norm(x + residual, shape[-1], weight, bias, mask=mask)
        if activation == "relu":
            assert bits(found.result) == bits(np.maximum(plain, np.float32(0)))


def test_a_users_activation_sees_nothing_that_is_masked():
    @numba.njit
    def shifted(y):
        return y + 1 if y == y else 1000.0

    for shape in [(20, 30), (3, 5000), (300, 8), (40, 3)]:
        x, mask, weight, bias = operands("layer_norm", shape, "f8", shape)
        for y in (x, np.asfortranarray(x)):
            found = fm.layer_norm(
                hidden(y, mask), shape[-1], weight, bias, mask=mask, activation=shifted
            )
            plain = fm.layer_norm(y, shape[-1], weight, bias, mask=mask)
            np.testing.assert_allclose(found, np.where(mask, plain + 1, 0), rtol=1e-12)


def test_batch_norm_updates_running_statistics_by_what_is_kept():
    """By the unbiased variance; where fewer than two numbers are kept, they stay."""
    shape = (6, 4, 9)
    x, mask = values(shape, "f8"), random_mask((6, 1, 9)) & np.ones((6, 4, 1), bool)
    mask[:, 1], mask[:, 2] = False, False
    mask[3, 2, 5] = True
    for dtype in ("f4", "f8"):
        mean, var = values(4, dtype, 3), values(4, dtype, 4) ** 2
        before = mean.copy(), var.copy()
        fm.batch_norm(hidden(x, mask), mean, var, training=True, momentum=0.25, mask=mask)
        for c in range(4):
            if c in (1, 2):
                assert (mean[c], var[c]) == (before[0][c], before[1][c])
                continue
            numbers = x[:, c][mask[:, c]]
            new = np.mean(numbers), np.var(numbers, ddof=1)
            for old, now, part in zip(before, (mean, var), new, strict=True):
                np.testing.assert_allclose(now[c], 0.75 * old[c] + 0.25 * part, rtol=1e-6)


def test_batch_norm_by_running_statistics():
    for shape in [(6, 4, 9), (6, 4), (40, 70)]:
        x, mask, weight, bias = operands("batch_norm", shape, "f8", shape)
        mean, var = values(shape[1], "f8", 3), values(shape[1], "f8", 4) ** 2 + 0.5
        found = fm.batch_norm(hidden(x, mask), mean, var, weight, bias, mask=mask)
        plain = fm.batch_norm(x, mean, var, weight, bias)
        assert bits(found) == bits(np.where(mask, plain, 0))


def test_out_and_errors():
    for op, how in (("layer_norm", {"axis": -1}), ("batch_norm", {"training": True})):
        x, mask = values((8, 9), "f4"), random_mask((8, 9))
        expected = getattr(fm, op)(x, mask=mask, **how)
        out = x.copy()
        assert getattr(fm, op)(out, mask=mask, out=out, **how) is out
        assert bits(out) == bits(expected)
        for wrong, error in ((np.ones((8, 9)), TypeError), (np.ones((9, 8), bool), ValueError)):
            out = np.full((8, 9), 7, "f4")
            with pytest.raises(error, match="mask has"):
                getattr(fm, op)(x, mask=wrong, out=out, **how)
            assert (out == 7).all()
    with pytest.raises(ValueError, match="mask has shape"):
        fm.moments(np.ones((2, 3)), mask=np.ones(2, bool))


def gradients_of(op, g, x, mean, rstd, weight, training=True, **more):
    how = {"training": training} if op == "batch_norm" else {"normalized_shape": x.shape[-1:]}
    return getattr(fm, f"{op}_vjp")(g, x, mean, rstd, weight=weight, **how, **more)


def check_vjp(op, x, mask, weight, training=True):
    """Each group's gradient is that of its kept numbers alone; sums are over what is kept."""
    shape, kept = x.shape, np.broadcast_to(mask, x.shape)
    axes = (0, *range(2, x.ndim)) if op == "batch_norm" else (x.ndim - 1,)
    form = (-1, *[1] * (x.ndim - 2)) if op == "batch_norm" else (-1,)
    how = {"training": True} if op == "batch_norm" else {"normalized_shape": shape[-1:]}
    _, mean, rstd = getattr(fm, op)(x, mask=mask, return_stats=True, **how)
    g = values(shape, x.dtype, 6)
    given = hidden(x, mask), hidden(g, mask)
    with unmodified(*given, mask, weight, mean, rstd):
        found = gradients_of(op, given[1], given[0], mean, rstd, weight, training, mask=mask)
        alone = gradients_of(op, given[1], given[0], mean, rstd, None, training, mask=mask)
    assert alone.weight is None
    assert alone.bias is None
    assert found.x.dtype == x.dtype
    assert found.weight.dtype == weight.dtype
    assert bits(found.x[~kept]) == bits(np.zeros_like(found.x[~kept]))
    assert (alone.x[~kept] == 0).all()
    statistics = [
        part.reshape([1 if a in axes else n for a, n in enumerate(shape)]) for part in (mean, rstd)
    ]
    w = np.broadcast_to(weight.reshape(form), shape)
    by_weight, by_bias = np.zeros(shape, np.longdouble), np.zeros(shape, np.longdouble)
    bounds = np.zeros(shape, np.longdouble)
    for at, where in groups_of(shape, axes):
        inside = kept[where]
        n = int(inside.sum())
        if n == 0:
            continue
        of_group = [np.reshape(part[at], (1,)) for part in statistics]
        arrays = g[where][inside], x[where][inside]
        if training:
            arguments = *arrays, *of_group, (n,), np.ascontiguousarray(w[where][inside])
            expected = gradient_oracles.layer_norm_vjp(*arguments)
        else:
            columns = [part.reshape(n, 1) for part in arrays]
            expected = gradient_oracles.batch_norm_vjp(*columns, *of_group, w[where][inside][:1])
        bound = gradient_bounds.normal_bounds(expected)[0]
        near(found.x[where][inside], expected.x.reshape(n), bound.reshape(n))
        normal = (x[where][inside].astype("g") - of_group[0]) * of_group[1]
        for total, term in ((by_weight, normal), (by_bias, 1)):
            part = total[where]
            part[inside] = g[where][inside].astype("g") * term
            total[where] = part
        part = bounds[where]
        part[inside] = np.abs(arrays[0]) * (np.abs(normal) + np.abs(of_group[0] * of_group[1]) + 1)
        bounds[where] = part
    rest = (
        tuple(a for a in range(x.ndim) if a != 1)
        if op == "batch_norm"
        else tuple(range(x.ndim - 1))
    )
    bound = 8 * np.finfo("f4" if x.dtype != np.float64 else "f8").eps * np.sum(bounds, rest)
    bound = bound + x.size * 2.0**-52 * np.sum(bounds, rest)
    for part, total in ((found.weight, by_weight), (found.bias, by_bias)):
        value = np.sum(total, rest)
        near(part, value, rounding_bound(value, bound, weight.dtype))


@pytest.mark.parametrize("op", ["layer_norm", "batch_norm"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_gradients(dtype, op):
    for shape in SHAPES[op]:
        for of_mask in shapes_of(shape):
            x, mask, weight, _ = operands(op, shape, dtype, of_mask, 0.7)
            check_vjp(op, x, mask, weight)
            if op == "batch_norm":
                check_vjp(op, x, mask, weight, training=False)


@pytest.mark.parametrize("op", ["layer_norm", "batch_norm"])
def test_gradients_of_other_layouts(op):
    for shape in [(9, 35), (70, 65), (3, 5000)]:
        x, mask, weight, _ = operands(op, shape, "f4", shape)
        for layout in ("f_order", "sliced", "negative"):
            check_vjp(op, LAYOUTS[layout](x), LAYOUTS[layout](mask), weight)


def oracle(op, x, mask, weight, bias, eps=1e-5):
    """The operation in long double, by its definition."""
    axes = (0, *range(2, x.ndim)) if op == "batch_norm" else (x.ndim - 1,)
    form = (-1, *[1] * (x.ndim - 2)) if op == "batch_norm" else (-1,)
    with np.errstate(invalid="ignore", divide="ignore"):
        n = np.sum(np.broadcast_to(mask, x.shape), axes, keepdims=True)
        mean = np.sum(np.where(mask, x, 0), axes, keepdims=True) / n
        variance = np.sum(np.where(mask, (x - mean) ** 2, 0), axes, keepdims=True) / n
        y = (x - mean) / np.sqrt(variance + eps) * weight.reshape(form) + bias.reshape(form)
        return np.where(mask, y, 0)


@pytest.mark.parametrize("op", ["layer_norm", "batch_norm"])
def test_gradients_are_those_of_differences(op):
    """Central differences of the definition in long double, by x, weight and bias."""
    shape = (4, 3, 5)
    x, mask, weight, bias = operands(op, shape, "f8", (4, 1, 5))
    g, how = values(shape, "f8", 6), {"layer_norm": {"axis": -1}, "batch_norm": {"training": True}}
    _, mean, rstd = getattr(fm, op)(x, mask=mask, return_stats=True, **how[op])
    found = gradients_of(op, g, x, mean, rstd, weight, mask=mask)
    wide = [part.astype(np.longdouble) for part in (x, weight, bias)]
    for place, gradient in enumerate(found):
        for index in np.ndindex(wide[place].shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [part.copy() for part in wide]
                moved[place][index] += np.longdouble(step)
                ends.append(np.sum(g * oracle(op, moved[0], mask, *moved[1:])))
            difference = (ends[0] - ends[1]) / np.longdouble(2e-5)
            np.testing.assert_allclose(gradient[index], float(difference), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_same_bits_at_any_number_of_threads(dtype):
    for op in ("layer_norm", "batch_norm"):
        for shape in [(5000, 8), (300, 700), (40, 6, 300), (3, 4, 40_000)]:
            x, mask, weight, bias = operands(op, shape, dtype, shape)
            how = {"training": True} if op == "batch_norm" else {"axis": -1}
            found, g = set(), values(shape, dtype, 6)
            for threads in (1, 2, 4, 8):
                numba.set_num_threads(threads)
                parts = getattr(fm, op)(
                    x, weight=weight, bias=bias, mask=mask, return_stats=True, **how
                )
                back = gradients_of(op, g, x, *parts[1:], weight, mask=mask)
                found.add(b"".join(bits(part) for part in (*parts, *back)))
            assert len(found) == 1


def test_empty():
    for shape in [(0, 3), (3, 0), (2, 0, 4), (0, 3, 2)]:
        x, mask = np.empty(shape, "f4"), np.ones((1,) * len(shape), bool)
        for op, how in (("layer_norm", {"axis": -1}), ("batch_norm", {"training": True})):
            found = getattr(fm, op)(x, mask=mask, return_stats=True, **how)
            assert found.result.shape == shape
            assert np.isnan(found.mean).all()
            back = gradients_of(op, x, x, *found[1:], None, mask=mask)
            assert back.x.shape == shape
        assert np.isnan(fm.moments(x, mask=mask).mean)


def test_dtypes_of_integers():
    for dtype in FLOATS:
        x = values((4, 6), dtype)
        assert fm.layer_norm(x, 6, mask=True).dtype == x.dtype
    assert fm.layer_norm(np.arange(6), 6, mask=[True] * 5 + [False]).dtype == np.float64
