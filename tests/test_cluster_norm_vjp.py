"""`cluster_norm_vjp`, from Python: against its oracle, finite differences and PyTorch."""

import numba
import numpy as np
import pytest
from clusterings import check_gradient, labels_for, parameters
from layouts import LAYOUTS, WRITABLE, makers_for, outside, unmodified
from normals import values
from oracles import BFLOAT16, FLOATS, name
from products import bits
from test_cluster_norm import SHAPES

import fastmat as fm


def operands(shape, dtype, clusters):
    return values(shape, dtype, 5), values(shape, dtype), labels_for(shape[0], clusters)


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_dtypes(dtype, shape):
    n, d, clusters = shape
    cotangent, x, labels = operands((n, d), dtype, clusters)
    check_gradient(cotangent, x, labels)
    check_gradient(cotangent, x, labels, values((d,), dtype, 1))


def test_of_other_dtypes():
    """The cotangent is converted to the dtype of x; the others' gradients have that of weight."""
    cotangent, x, labels = operands((40, 5), "f4", 4)
    for dtype in (*FLOATS, np.dtype("i4")):
        check_gradient(cotangent, x, labels, values((5,), dtype, 1))
    found = check_gradient(np.round(cotangent).astype("i4"), x, labels)
    assert found.x.dtype == np.float32
    check_gradient(cotangent, np.round(x).astype("i4"), labels)


def test_by_finite_differences():
    """In float64, in a random direction, for clusters of 1, 2 and more rows and one of none."""
    labels = np.array([0, 3, 3, 1, 3, 1, 3, 3, 1, 1, 3, 3])
    x, both = values((12, 4), "f8"), parameters(4, "f8")
    cotangent = values((12, 4), "f8", 5)
    found = fm.cluster_norm(x, labels, **both, return_stats=True)
    gradients = fm.cluster_norm_vjp(cotangent, x, labels, *found[1:3], both["weight"])
    given = {"x": x, **both}
    for key, gradient in gradients._asdict().items():
        direction = values(given[key].shape, "f8", 6)

        def value(step, key=key, direction=direction):
            moved = {**given, key: given[key] + step * direction}
            return np.sum(cotangent * fm.cluster_norm(clusters=labels, **moved))

        step = 1e-5
        slope = (value(step) - value(-step)) / (2 * step)
        assert abs(slope - np.sum(gradient * direction)) < 1e-7 * np.abs(cotangent).sum()


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    cotangent, x, labels = operands((300, 7), "f8", 5)
    given = {"x": x, **parameters(7, "f8")}
    tensors = {key: torch.from_numpy(part).requires_grad_() for key, part in given.items()}
    found = fm.cluster_norm(clusters=labels, **given, return_stats=True)
    parts = []
    for c in range(5):
        rows = tensors["x"][torch.from_numpy(labels == c)]
        both = tensors["weight"], tensors["bias"]
        parts.append(torch.nn.functional.batch_norm(rows, None, None, *both, True))
    order = np.argsort(labels, kind="stable")
    np.testing.assert_allclose(torch.cat(parts).detach(), found.result[order], 1e-12, 1e-12)
    torch.cat(parts).backward(torch.from_numpy(cotangent[order]))
    gradients = fm.cluster_norm_vjp(cotangent, x, labels, *found[1:3], given["weight"])
    for key, gradient in gradients._asdict().items():
        np.testing.assert_allclose(gradient, tensors[key].grad, 1e-11, 1e-11)


@pytest.mark.parametrize("dtype", [np.dtype("f4"), BFLOAT16], ids=name)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(dtype, layout):
    makers = makers_for(dtype)
    if layout not in makers:
        return
    maker = makers[layout]
    for shape in [(70, 67), (1300, 3)]:
        cotangent, x, labels = operands(shape, dtype, 2)
        check_gradient(maker(cotangent), maker(x), labels, maker(values(shape[1:], dtype, 1)))


@pytest.mark.parametrize("layout", WRITABLE)
def test_out_of_any_layout(layout):
    cotangent, x, labels = operands((1300, 5), "f4", 2)
    out = WRITABLE[layout](np.full(x.shape, 7, "f4"))
    around = outside(out)
    check_gradient(cotangent, x, labels, out=out)
    assert outside(out) == around


def test_out_overlaps_arguments():
    for name_of_out in ("cotangent", "x", "mean", "rstd"):
        cotangent, x, labels = operands((4, 4), "f8", 4)
        _, mean, rstd, labels = fm.cluster_norm(x, labels, return_stats=True)
        given = {"cotangent": cotangent, "x": x, "mean": mean, "rstd": rstd}
        expected = bits(fm.cluster_norm_vjp(labels=labels, **given).x)
        out = given[name_of_out]
        assert fm.cluster_norm_vjp(labels=labels, **given, out=out).x is out
        assert bits(out) == expected


def test_empty():
    for shape in [(0, 4), (3, 0)]:
        x, labels = np.empty(shape, "f4"), np.zeros(shape[0], int)
        _, mean, rstd, labels = fm.cluster_norm(x, labels, return_stats=True)
        found = fm.cluster_norm_vjp(x, x, labels, mean, rstd, np.ones(shape[1]))
        assert found.x.shape == shape
        np.testing.assert_array_equal(found.weight, np.zeros(shape[1]))
        np.testing.assert_array_equal(found.bias, np.zeros(shape[1]))


def test_a_cluster_of_one_row_has_no_gradient():
    cotangent, x, _ = operands((5, 4), "f4", 1)
    found = check_gradient(cotangent, x, [0, 1, 0, 2, 0], np.ones(4))
    assert (found.x[[1, 3]] == 0).all()


def test_nan_and_infinities_stay_in_their_feature_of_their_cluster():
    cotangent, x, labels = operands((3000, 5), "f4", 3)
    labels[1000:] = 1
    x[1500, 2], cotangent[np.argmax(labels == 0), 3] = np.nan, np.inf
    found = check_gradient(cotangent, x, labels, np.ones(5, "f4"))
    touched = np.zeros(x.shape, bool)
    touched[labels == 1, 2] = touched[labels == 0, 3] = True
    np.testing.assert_array_equal(np.isnan(found.x) | np.isinf(found.x), touched)


@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30])
def test_hard_numbers(scale):
    """Means of 10,000 deviations; magnitudes whose squares float32 does not hold."""
    cotangent, x, labels = operands((3000, 5), "f4", 4)
    labels[:1500] = 2
    check_gradient(cotangent, (x + 1e4).astype("f4") * np.float32(scale), labels)
    check_gradient(cotangent * np.float32(scale), x, labels)


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_at_any_number_of_threads(threads):
    cotangent, x, labels = operands((7000, 70), "f4", 40)
    labels[1000:5000] = 7
    _, mean, rstd, labels = fm.cluster_norm(x, labels, return_stats=True)
    arguments = cotangent, x, labels, mean, rstd, values((70,), "f4", 1)
    expected = fm.cluster_norm_vjp(*arguments)
    numba.set_num_threads(threads)
    found = fm.cluster_norm_vjp(*arguments)
    assert [bits(part) for part in found] == [bits(part) for part in expected]


GIVEN = {
    "cotangent": np.ones((4, 3), "f4"),
    "x": np.ones((4, 3), "f4"),
    "labels": [0, 1, 0, 1],
    "mean": np.ones((2, 3)),
    "rstd": np.ones((2, 3)),
    "weight": np.ones(3),
}
ERRORS = [
    ({"cotangent": np.ones((3, 4))}, ValueError, r"cotangent has shape \(3, 4\); .* \(4, 3\)"),
    ({"cotangent": np.ones((4, 3), "c8")}, TypeError, "cotangent has dtype complex64"),
    ({"x": np.ones((4, 3), "c8")}, TypeError, "x has dtype complex64"),
    ({"x": np.ones(4)}, ValueError, "x has shape"),
    ({"labels": [0, 1, 0]}, ValueError, "labels has shape"),
    ({"labels": [0, 1, 0, 2]}, ValueError, "labels has the label 2; mean has 2 clusters"),
    ({"labels": [0, 1, 0, -2]}, ValueError, "labels has the label -2"),
    ({"labels": [0.0, 1, 0, 1]}, TypeError, "labels has dtype float64"),
    ({"mean": np.ones((2, 4))}, ValueError, r"mean has shape \(2, 4\); it must have \(k, 3\)"),
    ({"mean": np.ones(3)}, ValueError, "mean has shape"),
    ({"mean": np.ones((2, 3), "c8")}, TypeError, "mean has dtype complex64"),
    ({"rstd": np.ones((3, 3))}, ValueError, "rstd has shape"),
    ({"rstd": np.ones((2, 3), "U1")}, TypeError, "rstd has dtype"),
    ({"weight": np.ones(4)}, ValueError, "weight has shape"),
    ({"weight": np.ones(3, "c8")}, TypeError, "weight has dtype complex64"),
    ({"out": np.ones((3, 4))}, ValueError, "out has shape"),
    ({"out": np.ones((4, 3), int)}, TypeError, "out has dtype int64"),
]


@pytest.mark.parametrize(("keywords", "error", "match"), ERRORS)
def test_bad_arguments(keywords, error, match):
    given = {"out": np.full((4, 3), 7, "f4"), **GIVEN, **keywords}
    arrays = [part for part in given.values() if isinstance(part, np.ndarray)]
    with unmodified(*arrays), pytest.raises(error, match=match):
        fm.cluster_norm_vjp(**given)
