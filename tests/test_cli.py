"""The ``fastmat`` command, in process: what it prints, writes and returns."""

import itertools

import numpy as np
import pytest

import fastmat
from fastmat import cli
from fastmat.commands import compare, info, warmup
from fastmat.commands.console import Console
from fastmat.comparisons import checks, inputs, libraries, record, report, sparse, timing
from fastmat.comparisons.cases import (
    CASES,
    PARAMETERS,
    Case,
    on_clusters,
    on_groups,
    on_heads,
    select,
)

TINY = (
    Case("products", "matmul", "float32", ((5, 7), (7, 3))),
    Case("products", "matmul", "int32", ((5, 7), (7, 3))),
    Case("copies", "transpose", "float32", ((5, 7),)),
)
HURRIED = timing.Effort(rounds=1, block=1e-4, pause=0.0)


@pytest.fixture
def tiny(monkeypatch):
    """Three tiny cases, timed in no time, against roofs that are not measured."""
    monkeypatch.setattr(
        compare,
        "select",
        lambda quick, ops: [case for case in TINY if not ops or case.op in ops],
    )
    monkeypatch.setattr(timing, "QUICK", HURRIED)
    monkeypatch.setattr(compare.Roofs, "of", lambda self, case: 1e12)


def wrong_matmul(x1, x2, out=None):
    np.matmul(x1, x2, out=out)
    out[-1, -1] += 1
    return out


def test_info_tells_what_it_runs_on(capsys):
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    for name in ("numba", "llvmlite", "numpy", "cpu", "simd", "threading layer", "cache", "gpu"):
        assert f"\n{name} " in printed
    assert np.__version__ in printed


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert fastmat.__version__ in capsys.readouterr().out


def test_warmup_compiles_what_is_asked_for(capsys):
    assert cli.main(["warmup", "--ops", "matmul", "--dtypes", "float32"]) == 0
    printed = capsys.readouterr().out
    assert "compiled" in printed


def test_warmup_knows_a_kernel_for_every_stem_and_dtype():
    stems = {stem for stem, _, _ in warmup.specializations(["float32"])}
    assert {"matmul", "transpose"} <= stems
    for dtype in ("bool", "int8", "uint64", "bfloat16", "complex128"):
        stems = {stem for stem, _, _ in warmup.specializations([dtype])}
        assert {"matmul", "transpose"} <= stems, dtype


def test_warmup_knows_the_semirings_that_a_dtype_has():
    def names(dtype):
        steps = warmup.specializations([dtype])
        return {kernel.__name__ for stem, kernel, stored in steps if stored == dtype}

    assert {"min_plus_tile", "min_plus_dot", "gelu_epilogue"} <= names("float32")
    assert "min_plus_tile" in names("uint8")
    assert "lor_land_dot" in names("bool")
    assert "min_plus_tile" not in names("complex64")


@pytest.mark.parametrize(
    "arguments",
    [
        ["warmup", "--ops", "nothing"],
        ["warmup", "--dtypes", "str"],
        ["compare", "--ops", "nothing"],
    ],
)
def test_unknown_names_are_refused(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "not one of" in capsys.readouterr().out


def test_compare_reports_every_case(tiny, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert cli.main(["compare", "--quick", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "3 results right, 0 wrong" in printed
    for case in TINY:
        assert case.title in printed
    rows = record.read(file).rows
    assert [row.title for row in rows] == [case.title for case in TINY]
    assert all(row.status == "right" and row.ratio > 0 for row in rows)


def test_compare_restricts_operations(tiny, capsys):
    assert cli.main(["compare", "--quick", "--ops", "transpose"]) == 0
    assert "1 results right" in capsys.readouterr().out


def test_compare_on_a_gpu_says_what_is_missing(tmp_path, capsys):
    from fastmat.comparisons.gpu.run import missing

    if missing() is None:
        pytest.skip("nothing is missing")
    file = tmp_path / "figures.json"
    assert cli.main(["compare", "--device", "cuda", "--json", str(file)]) == 2
    assert "--device cuda: " in capsys.readouterr().out
    assert not file.exists()


def test_compare_on_a_gpu_knows_its_operations(capsys):
    assert cli.main(["compare", "--device", "cuda", "--ops", "cholesky"]) == 2
    assert "cholesky: not one of matmul, linear" in capsys.readouterr().out


def test_a_wrong_result_fails_but_the_rest_goes_on(tiny, monkeypatch, capsys):
    monkeypatch.setattr(fastmat, "matmul", wrong_matmul)
    assert cli.main(["compare", "--quick"]) == 1
    printed = capsys.readouterr().out
    assert "WRONG" in printed
    assert "1 results right, 2 wrong" in printed


def test_an_exception_is_a_wrong_result(tiny, monkeypatch, capsys):
    def broken(*args):
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(fastmat, "transpose", broken)
    assert cli.main(["compare", "--quick"]) == 1
    assert "ZeroDivisionError: no luck" in capsys.readouterr().out


def test_quick_covers_every_group():
    assert {case.group for case in select(True, None)} == {case.group for case in CASES}


def test_rows_are_told_apart_by_what_is_printed():
    names = [(case.group, case.dtype, case.title) for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", select(True, None), ids=lambda case: f"{case.dtype} {case.title}")
def test_numpy_passes_its_own_check(case):
    try:
        arrays = inputs.operands(case)
    except inputs.Unavailable as reason:
        pytest.skip(str(reason))
    if not (sparse.has(case) or case.op == "randomized_svd_vjp"):  # made of such a matrix
        assert tuple(array.shape for array in arrays) == case.shapes
    expected, again = libraries.output(case, arrays), libraries.output(case, arrays)
    libraries.numpy_call(case, arrays, expected)()
    checks.poison(again)
    assert checks.error(case, arrays, again, expected) > 1
    libraries.numpy_call(case, arrays, again)()
    assert checks.error(case, arrays, again, expected) == 0


def test_the_check_allows_rounding_and_nothing_more():
    case = Case("", "matmul", "float32", ((50, 60), (60, 40)))
    arrays = inputs.operands(case)
    expected = np.matmul(*arrays)
    other_order = np.matmul(arrays[0][:, ::-1].copy(), arrays[1][::-1].copy())
    assert 0 < checks.error(case, arrays, other_order, expected) <= 1
    lower_precision = (arrays[0].astype(np.float16) @ arrays[1].astype(np.float16)).astype("f4")
    assert checks.error(case, arrays, lower_precision, expected) > 1
    assert checks.error(case, arrays, np.full_like(expected, np.nan), expected) > 1


def small_case_of(op, dtype, layout="C"):
    if op.startswith("cluster_norm"):
        return on_clusters("", op, dtype, (60, 7), 5)
    if op.startswith("scaled_dot_product_attention"):
        return on_heads("", op, dtype, (2, 3, 6, 5), layout=layout)
    options = {
        "rms_norm": (("eps", 1e-6),),
        "group_norm": (("num_groups", 2),),
        "group_norm_vjp": (("num_groups", 2),),
        "batch_norm": (("training", True),),
        "batch_norm_vjp": (("training", True),),
    }
    return on_groups("", op, dtype, (5, 6, 7, 4), options.get(op, ()), layout=layout)


def agree(case, arrays):
    """Hold fastmat and PyTorch to NumPy."""
    expected, result = libraries.output(case, arrays), libraries.output(case, arrays)
    libraries.numpy_call(case, arrays, expected)()
    checks.poison(result)
    assert checks.error(case, arrays, result, expected) > 1
    libraries.fastmat_call(case, arrays, result)()
    assert checks.error(case, arrays, result, expected) <= 1
    torch = libraries.torch_call(case, arrays, np.full_like(result, np.nan))
    if torch is not None:
        assert checks.error(case, arrays, torch().numpy(), expected) <= 1


@pytest.mark.parametrize("layout", ["C", "channels-last"])
@pytest.mark.parametrize("op", PARAMETERS)
def test_libraries_agree_on_what_is_computed_of_groups(op, layout):
    case = small_case_of(op, "float32", layout)
    arrays = inputs.operands(case)
    layout = "C" if case.clusters else layout
    assert arrays[0].flags.c_contiguous == (layout == "C")
    agree(case, arrays)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", [None, "gelu"])
def test_libraries_agree_on_what_is_fused(activation, residual):
    options = (("activation", activation),) if activation else ()
    for op, others in (("layer_norm", options), ("rms_norm", (("eps", 1e-6),))):
        case = on_groups("", op, "float32", (50, 12), others, residual=residual)
        agree(case, inputs.operands(case))


def test_libraries_agree_on_gradients_of_given_statistics():
    options = (("training", False),)
    case = on_groups("", "batch_norm_vjp", "float32", (5, 6, 7, 4), options)
    agree(case, inputs.operands(case))


def test_gradients_are_given_what_the_forward_operation_returns():
    for op, options in (("layer_norm", (("normalized_shape", (4,)),)), ("instance_norm", ())):
        case = small_case_of(f"{op}_vjp", "float32")
        _, x, mean, rstd, _ = inputs.operands(case)
        stats = getattr(fastmat, op)(x, **dict(options), return_stats=True)
        np.testing.assert_allclose(mean, stats.mean, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(rstd, stats.rstd, rtol=1e-6)
    for op in ("softmax", "log_softmax"):
        _, result = inputs.operands(small_case_of(f"{op}_vjp", "float32"))
        total = np.sum(result if op == "softmax" else np.exp(result), -1)
        np.testing.assert_allclose(total, 1, rtol=1e-6)


@pytest.mark.parametrize("op", PARAMETERS)
def test_the_check_of_groups_sees_the_last_bits(op):
    case = small_case_of(op, "float32")
    arrays = inputs.operands(case)
    expected = libraries.output(case, arrays)
    libraries.numpy_call(case, arrays, expected)()
    if expected.dtype.kind == "i":
        assert checks.error(case, arrays, expected + 1, expected) > 1
        return
    lower_precision = expected.astype(np.float16).astype(np.float32)
    assert checks.error(case, arrays, lower_precision, expected) > 1
    off = expected.copy()
    off.flat[3] += 1e-4 * max(abs(off.flat[3]), 0.1)
    assert checks.error(case, arrays, off, expected) > 1


def test_losses_are_told():
    row = record.Row("g", "t", "matmul", "float32", 2, "right", rate=1e9, roof=2e9)
    loss = record.Row(**{**vars(row), "seconds": {"fastmat": 2e-3, "numpy": 1e-3}})
    win = record.Row(**{**vars(row), "seconds": {"fastmat": 1e-3, "numpy": 2e-3}})
    assert report.line(loss)[1] == "red"
    assert report.line(win)[1] == "green"
    assert "0.50 ×" in report.line(loss)[0]
    text = "\n".join(line for line, _ in report.summary([loss, win]))
    assert "1 rows faster than NumPy, 1 slower" in text
    assert "0.50 ×  slower" in text
    assert "1.00 ×  geometric mean" in text


def test_blocks_alternate():
    order = []
    calls = {"fastmat": lambda: order.append("fastmat"), "numpy": lambda: order.append("numpy")}
    times = timing.medians(calls, timing.Effort(rounds=3, block=1e-5, pause=0.0))
    assert set(times) == {"fastmat", "numpy"}
    switches = sum(x != y for x, y in itertools.pairwise(order))
    assert switches == 5


def test_chart(tmp_path):
    pytest.importorskip("matplotlib")
    from fastmat.comparisons import plot

    rows = [
        record.Row(
            "g", f"t{i}", "matmul", "float32", n, "right", seconds={"fastmat": 1, "numpy": r}
        )
        for i, r in enumerate((0.5, 1.0, 40.0))
        for n in (1, 2)
    ]
    file = tmp_path / "chart.png"
    plot.draw(record.Run(info.machine(), {}, rows), file)
    assert file.stat().st_size > 10_000


def test_console_without_rich(monkeypatch, capsys):
    monkeypatch.setattr("fastmat.commands.console._rich", lambda: False)
    console = Console()
    with console.progress(2) as advance:
        advance("first")
        console.line("a line", "red")
        advance("second")
    assert capsys.readouterr().out == "a line\n"
