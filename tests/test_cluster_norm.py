"""`cluster_norm` by given labels, from Python. k-means is in `test_kmeans.py`."""

import hypothesis.strategies as st
import numba
import numpy as np
import pytest
from clusterings import check, labels_for, parameters
from hypothesis import given
from layouts import LAYOUTS, WRITABLE, makers_for, outside, unmodified
from normals import values
from oracles import BFLOAT16, FLOATS, name
from products import bits

import fastmat as fm
from fastmat.cpu.blocking_reductions import BLOCK_LINES, FUSED_LINES, LANES

# One, primes, a block of features and its neighbours, tall, wide; and the number of clusters.
SHAPES = [
    (1, 1, 1),
    (2, 3, 1),
    (7, 5, 3),
    (63, 64, 2),
    (64, 65, 5),
    (101, 63, 101),
    (97, 131, 13),
    (5, 1009, 2),
    (3001, 1, 4),
    (4 * FUSED_LINES, 3, 2),
    (2 * FUSED_LINES + 3, LANES + 1, 3),
    (2000, 2, 1500),
]


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_dtypes(dtype, shape):
    n, d, clusters = shape
    x, labels = values((n, d), dtype), labels_for(n, clusters)
    check(x, labels)
    check(x, labels, **parameters(d, dtype))


@pytest.mark.parametrize("rows", [BLOCK_LINES, FUSED_LINES], ids=str)
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_clusters_around_the_sizes_of_blocks(rows, more):
    """One cluster of just so many rows, between two others, in random order."""
    labels = np.repeat([0, 1, 2], [5, rows + more, 2])
    np.random.default_rng(0).shuffle(labels)
    check(values((len(labels), 9), "f4"), labels, **parameters(9, "f4"))


@pytest.mark.parametrize("dtype", ["bool", "i1", "u1", "i4", "u8"])
def test_integers_count_as_float64(dtype):
    x = values((50, 6), dtype)
    check(x, labels_for(50, 3), **parameters(6, "f8"))
    assert fm.cluster_norm(x.tolist(), [0] * 50).dtype == np.float64


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4"])
def test_labels_of_any_integers(dtype):
    check(values((40, 5), "f4"), labels_for(40, 7, dtype=dtype))


def test_labels_and_parameters_of_any_layout():
    x, labels, both = values((40, 5), "f4"), labels_for(40, 7), parameters(5, "f4")
    for layout, maker in LAYOUTS.items():
        if not layout.startswith("broadcast"):
            check(x, maker(labels), **{key: maker(part) for key, part in both.items()})
    check(x, np.broadcast_to(np.array([2]), 40))
    for other in (*FLOATS, np.dtype("i4"), np.dtype(bool)):
        check(x, labels, **parameters(5, other))
    for key, part in both.items():
        check(x, labels, **{key: part})
    check(x, labels, eps=0.5)


@pytest.mark.parametrize("dtype", [np.dtype("f4"), BFLOAT16], ids=name)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(dtype, layout):
    makers = makers_for(dtype)
    if layout not in makers:
        return
    for shape in [(70, 67), (1300, 3)]:
        x = makers[layout](values(shape, dtype))
        found = check(x, labels_for(len(x), 2), **parameters(shape[1], dtype))
        plain = fm.cluster_norm(np.array(x), labels_for(len(x), 2), **parameters(shape[1], dtype))
        assert bits(found.result) == bits(plain)


@pytest.mark.parametrize("layout", WRITABLE)
def test_out_of_any_layout(layout):
    x, labels = values((1300, 5), "f4"), labels_for(1300, 2)
    out = WRITABLE[layout](np.full(x.shape, 7, "f4"))
    around = outside(out)
    check(x, labels, out=out)
    assert outside(out) == around
    inside = WRITABLE[layout](x)
    assert bits(fm.cluster_norm(inside, labels, out=inside)) == bits(out)


def test_out_of_another_dtype():
    x, labels = values((30, 5), "f4"), labels_for(30, 2)
    for dtype in ("f8", "c8", "f2"):
        out = np.zeros(x.shape, dtype)
        assert fm.cluster_norm(x, labels, out=out) is out
        assert bits(out) == bits(fm.cluster_norm(x, labels).astype(dtype))


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_out_overlaps_x(step):
    memory = values((1302, 5), "f8")
    x, out = memory[1:-1], memory[1 + step : 1301 + step]
    labels = labels_for(1300, 2)
    expected = bits(fm.cluster_norm(x.copy(), labels))
    fm.cluster_norm(x, labels, out=out)
    assert bits(out) == expected


def test_out_overlaps_labels_and_parameters():
    """The labels that are returned are those from before."""
    memory = np.zeros((40, 8))
    x, labels = values((40, 8), "f8"), labels_for(8 * 5, 3)
    memory.view(np.int64).reshape(-1)[40:80] = labels
    weight, bias = memory[30], memory[31]
    weight[:], bias[:] = values((2, 8), "f8", 3)
    both = {"weight": weight.copy(), "bias": bias.copy()}
    expected = bits(fm.cluster_norm(x, labels, **both))
    shared = memory.view(np.int64).reshape(-1)[40:80]
    found = fm.cluster_norm(x, shared, weight, bias, out=memory, return_stats=True)
    assert bits(memory) == expected
    np.testing.assert_array_equal(found.labels, labels)


def test_out_overlaps_itself_through_x():
    """The transpose of out: every number is read after another was written."""
    memory, labels = values((60, 60), "f4"), labels_for(60, 4)
    expected = bits(fm.cluster_norm(memory.T.copy(), labels))
    fm.cluster_norm(memory.T, labels, out=memory)
    assert bits(memory) == expected


def test_empty():
    for shape in [(0, 4), (0, 0)]:
        found = fm.cluster_norm(np.empty(shape, "f4"), np.empty(0, int), return_stats=True)
        assert found.result.shape == shape
        assert found.result.dtype == np.float32
        assert found.mean.shape == found.rstd.shape == (0, shape[1])
        assert found.labels.shape == (0,)
    found = fm.cluster_norm(np.empty((3, 0)), [0, 2, 0], return_stats=True)
    assert found.result.shape == (3, 0)
    assert found.mean.shape == (3, 0)


def test_a_cluster_of_one_row_becomes_bias():
    x, both = values((5, 4), "f4"), parameters(4, "f4")
    found = check(x, [0, 1, 0, 2, 0], **both)
    for row in (1, 3):
        np.testing.assert_array_equal(found.result[row], both["bias"])
    np.testing.assert_array_equal(found.rstd[1], 1 / np.sqrt(1e-5))
    assert np.isnan(fm.cluster_norm(x, range(5), eps=0)).all()  # 0 / 0


def test_a_cluster_without_rows_touches_nothing():
    x = values((6, 4), "f8")
    few = check(x, [0, 0, 1, 1, 1, 0])
    many = check(x, [7, 7, 4001, 4001, 4001, 7])
    assert bits(few.result) == bits(many.result)
    assert bits(few.mean) == bits(many.mean[[7, 4001]])


def test_a_cluster_does_not_see_the_others():
    """Its rows have the bits that they have alone, whatever its number."""
    x, labels = values((6000, 70), "f4"), labels_for(6000, 7)
    labels[:2500] = 3
    result = fm.cluster_norm(x, labels, **parameters(70, "f4"))
    for c in range(7):
        rows = labels == c
        alone = fm.cluster_norm(x[rows], np.zeros(rows.sum(), int), **parameters(70, "f4"))
        assert bits(result[rows]) == bits(alone)


def test_agrees_with_batch_norm():
    x, both = values((500, 8), "f4"), parameters(8, "f4")
    one = fm.cluster_norm(x, np.zeros(500, int), **both)
    np.testing.assert_allclose(one, fm.batch_norm(x, training=True, **both), 1e-6, 1e-6)


def test_nan_and_infinities_stay_in_their_feature_of_their_cluster():
    x, labels = values((3000, 5), "f4"), labels_for(3000, 3)
    labels[1000:] = 1
    clean = fm.cluster_norm(x, labels)
    x[1500, 2], x[np.argmax(labels == 0), 3] = np.nan, np.inf
    found = check(x, labels)
    touched = np.zeros(x.shape, bool)
    touched[labels == 1, 2] = touched[labels == 0, 3] = True
    assert np.isnan(found.result[touched]).all()
    assert bits(found.result[~touched]) == bits(clean[~touched])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_large_means(dtype):
    """Features that vary by a ten-thousandth of their mean."""
    labels = labels_for(5000, 3)
    labels[:2000] = 0
    check(values((5000, 6), dtype) + np.asarray(1e4, dtype), labels, **parameters(6, dtype))


@pytest.mark.parametrize("scale", [1e30, 1e38, 1e-30, 1e-40])
def test_extreme_magnitudes_of_float32(scale):
    x = np.clip(values((3000, 5), "f8") / 10, -1, 1).astype("f8")
    x, labels = (x * scale).astype("f4"), labels_for(3000, 4)
    labels[:1500] = 2
    for eps in (1e-5, 0.0):
        check(x, labels, eps=eps, **parameters(5, "f4"))


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_at_any_number_of_threads(threads):
    x, labels, both = values((7000, 70), "f4"), labels_for(7000, 40), parameters(70, "f4")
    labels[1000:5000] = 7
    expected = fm.cluster_norm(x, labels, **both, return_stats=True)
    numba.set_num_threads(threads)
    found = fm.cluster_norm(x, labels, **both, return_stats=True)
    assert [bits(part) for part in found] == [bits(part) for part in expected]
    assert bits(fm.cluster_norm(x, labels, **both)) == bits(expected.result)


@st.composite
def calls(draw):
    """Rows in any layout, and labels with gaps."""
    n, d = (draw(st.sampled_from([1, 2, 3, 5, 17, 64, 100])) for _ in range(2))
    dtype = draw(st.sampled_from(FLOATS))
    layout = draw(st.sampled_from(sorted(makers_for(dtype))))
    x = values((n, d), dtype, draw(st.integers(0, 5)))
    x = x + np.asarray(draw(st.sampled_from([0, 0, 3, 100])), dtype)
    step = draw(st.sampled_from([1, 1, 3]))
    return makers_for(dtype)[layout](x), step * labels_for(n, draw(st.integers(1, n)))


@given(calls(), st.booleans(), st.booleans(), st.sampled_from([None, *sorted(WRITABLE)]))
def test_random_calls(call, weighted, biased, layout):
    x, labels = call
    both = parameters(x.shape[1], np.asarray(x).dtype.newbyteorder("="))
    chosen = {key: both[key] for key, use in (("weight", weighted), ("bias", biased)) if use}
    maker = makers_for(x.dtype, WRITABLE).get(layout)
    out = None if maker is None else maker(np.zeros(x.shape, x.dtype.newbyteorder("=")))
    check(x, labels, out=out, **chosen)


X, LABELS = np.ones((4, 3), "f4"), [0, 1, 0, 1]
READ_ONLY = np.ones((4, 3), "f4")
READ_ONLY.flags.writeable = False
ERRORS = [
    ((np.ones(4), LABELS), {}, ValueError, r"x has shape \(4,\); it must have \(n, d\)"),
    ((np.ones((2, 2, 2)), LABELS), {}, ValueError, "x has shape"),
    ((X.astype("c8"), LABELS), {}, TypeError, "x has dtype complex64; it must be real"),
    ((X.astype("M8[s]"), LABELS), {}, TypeError, "x has dtype datetime64"),
    ((X, [0.0, 1, 0, 1]), {}, TypeError, "clusters has dtype float64; it must be integers"),
    ((X, np.ones(4, bool)), {}, TypeError, "clusters has dtype bool"),
    ((X, [0, 1, 0]), {}, ValueError, r"clusters has shape \(3,\); it must have \(4,\)"),
    ((X, [[0, 1, 0, 1]]), {}, ValueError, "clusters has shape"),
    ((X, [0, -1, 0, 1]), {}, ValueError, "clusters has the label -1"),
    ((X, [0, 65536, 0, 1]), {}, ValueError, r"the label 65536; .* np.unique\(labels, return_inv"),
    ((X, np.array([0, 2**64 - 1, 0, 1], "u8")), {}, ValueError, "the label 18446744073709551615"),
    ((X, 0), {}, ValueError, "clusters is 0; it must be from 1 to 4"),
    ((X, 5), {}, ValueError, "clusters is 5; it must be from 1 to 4"),
    ((X[:0], 1), {}, ValueError, "clusters is 1; it must be from 1 to 0"),
    ((X, 2.0), {}, TypeError, "clusters is 2.0; it must be an integer, or one for each row"),
    ((X, "2"), {}, TypeError, "clusters is '2'"),
    ((X, None), {}, TypeError, "clusters is None"),
    ((X * np.nan, 2), {}, ValueError, "x has NaN or infinities"),
    ((X, 2), {"rng": -1}, ValueError, "rng is -1"),
    ((X, 2), {"rng": 2**64}, ValueError, "rng is"),
    ((X, 2), {"rng": 0.5}, TypeError, "rng is 0.5"),
    ((X, LABELS), {"weight": np.ones(4)}, ValueError, r"weight has shape \(4,\); .* \(3,\)"),
    ((X, LABELS), {"bias": np.ones((1, 3))}, ValueError, "bias has shape"),
    ((X, LABELS), {"weight": np.ones(3, "c8")}, TypeError, "weight has dtype complex64"),
    ((X, LABELS), {"eps": "1"}, TypeError, "eps is '1'"),
    ((X, LABELS), {"out": np.ones((3, 4))}, ValueError, "out has shape"),
    ((X, LABELS), {"out": np.ones((4, 3), int)}, TypeError, "out has dtype int64"),
    ((X, LABELS), {"out": READ_ONLY}, ValueError, "out is read-only"),
    ((X, LABELS), {"out": [[1.0]]}, TypeError, "out is of type list"),
]


@pytest.mark.parametrize(("args", "keywords", "error", "match"), ERRORS)
def test_bad_arguments(args, keywords, error, match):
    out = np.full(args[0].shape, 7, "f4")
    arrays = [part for part in keywords.values() if isinstance(part, np.ndarray)]
    with unmodified(*arrays), pytest.raises(error, match=match):
        fm.cluster_norm(*args, **{"out": out, **keywords})
    assert (out == 7).all()


def test_arrays_of_other_libraries():
    torch = pytest.importorskip("torch")
    x, labels = values((30, 5), "f4"), labels_for(30, 3)
    result = fm.cluster_norm(torch.from_numpy(x), torch.from_numpy(labels))
    assert isinstance(result, torch.Tensor)
    assert bits(result.numpy()) == bits(fm.cluster_norm(x, labels))
    assert fm.cluster_norm(torch.from_numpy(x), torch.tensor(2), rng=0).shape == x.shape
