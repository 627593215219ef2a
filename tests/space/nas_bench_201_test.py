"""The table: its notation, its refusals, what a search may read of it, and its known figures."""

import itertools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.embedding.model import edge_model
from nge_jax.errors import InputError
from nge_jax.space import nas_bench_201
from nge_jax.space.spaces import NAS_BENCH_201
from nge_jax.strategies import evolution, random_search
from nge_jax.strategies.base import run_strategy

COLUMNS = ("c100_test_200", "c10_test_200", "in16_test_200", "params_M", "c10_val_12")
CELL = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"


@pytest.fixture(scope="module")
def arrays():
    """A table of random accuracies, its cells in no order."""
    rng = np.random.default_rng(0)
    cells = [nas_bench_201.to_string(cell) for cell in itertools.product(range(5), repeat=6)]
    values = rng.uniform(10, 95, (15_625, len(COLUMNS))).astype(np.float32)
    return {
        "arch": np.array(cells)[rng.permutation(15_625)],
        "columns": np.array(COLUMNS),
        "values": values,
    }


def write(path, arrays, **changes):
    np.savez(path, **(arrays | changes))
    return path


def test_a_cells_notation_and_its_operations():
    operations = nas_bench_201.parse(CELL)
    np.testing.assert_array_equal(operations, [0, 1, 2, 3, 4, 0])
    assert nas_bench_201.to_string(operations) == CELL
    assert nas_bench_201.cell_index(operations) == 1 * 625 + 2 * 125 + 3 * 25 + 4 * 5


@pytest.mark.parametrize(
    "cell",
    [
        "",
        CELL.replace("none", "sep_conv_3x3"),
        CELL.replace("~2", "~1"),
        CELL + "+|none~0|",
        CELL.removeprefix("|none~0|+"),
    ],
)
def test_another_notation_is_refused(cell):
    with pytest.raises(ValueError, match="expected a cell such as .none~0.*, found"):
        nas_bench_201.parse(cell)


def test_every_cell_is_found_in_its_row(arrays, tmp_path):
    table = nas_bench_201.load(write(tmp_path / "t.npz", arrays))
    evaluate = jax.jit(nas_bench_201.make_evaluator(table))
    for row in (0, 77, 15_624):
        cell = nas_bench_201.parse(str(arrays["arch"][row]))[None, None]
        values = dict(zip(COLUMNS, arrays["values"][row], strict=True))
        assert evaluate(jnp.asarray(cell))[0] == pytest.approx(values["c10_val_12"] / 100)
        tests = [values[f"{name}_test_200"] for name in ("c10", "c100", "in16")]
        np.testing.assert_allclose(nas_bench_201.test_accuracies(table, cell)[0], tests)


def test_a_search_reads_validation_after_12_epochs_alone(arrays, tmp_path):
    values = arrays["values"].copy()
    values[:, :-1] = np.nan
    path = write(tmp_path / "t.npz", arrays, values=values)
    full = nas_bench_201.load(write(tmp_path / "full.npz", arrays))
    table = nas_bench_201.load(path)
    strategy = random_search.random_search(NAS_BENCH_201)

    def history(table):
        evaluate = nas_bench_201.make_evaluator(table)
        return run_strategy(strategy, evaluate, 10, jax.random.key(0))

    jax.tree.map(np.testing.assert_array_equal, history(table), history(full))
    absent = nas_bench_201.test_accuracies(table, history(table).architectures)
    assert absent.shape == (10, 3) and np.isnan(absent).all()


def test_accuracies_of_a_cell_for_a_report(arrays, tmp_path):
    columns = np.array([*COLUMNS[:-2], "c10_val_200", "c10_val_12"])
    table = nas_bench_201.load(write(tmp_path / "t.npz", arrays, columns=columns))
    cell = nas_bench_201.BenchCell(str(arrays["arch"][77]))
    values = dict(zip(columns, arrays["values"][77], strict=True))
    found = nas_bench_201.accuracies(table, cell)
    assert list(found) == ["CIFAR-10", "CIFAR-100", "ImageNet16-120"]
    assert found["CIFAR-10"]["validation"] == pytest.approx(values["c10_val_200"], abs=1e-4)
    assert found["ImageNet16-120"]["test"] == pytest.approx(values["in16_test_200"], abs=1e-4)
    assert found["CIFAR-100"]["validation"] is None  # the table has no such column


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: {"arch": a["arch"][1:]}, "expected arch and values of shape"),
        (lambda a: {"values": a["values"][:, 1:]}, "expected arch and values of shape"),
        (
            lambda a: {"columns": np.array([*COLUMNS[:-1], "c10_val_200"])},
            "expected a column c10_val_12, found c100_test_200, ",
        ),
        (lambda a: {"arch": np.full(15_625, CELL)}, "expected each cell once, found some twice"),
        (lambda a: {"arch": np.full(15_625, "cell")}, "expected a cell such as "),
        (
            lambda a: {"values": np.full_like(a["values"], np.nan)},
            "column c10_val_12: expected no NaN",
        ),
        (
            lambda a: {"arch": np.array([None] * 15_625)},
            "without pickles, found Python objects as the array arch",
        ),
    ],
)
def test_a_wrong_table_is_refused_by_name(arrays, tmp_path, change, message):
    path = write(tmp_path / "t.npz", arrays, **change(arrays))
    with pytest.raises(InputError) as error:
        nas_bench_201.load(path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        nas_bench_201.load(tmp_path / "none.npz")
    text = tmp_path / "text.npz"
    text.write_text("accuracies")
    with pytest.raises(InputError, match="text.npz: expected an .npz of arch, columns and values"):
        nas_bench_201.load(text)
    np.savez(tmp_path / "other.npz", arch=np.zeros(3))
    with pytest.raises(InputError, match="other.npz: expected an .npz of arch"):
        nas_bench_201.load(tmp_path / "other.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(InputError, match="array.npy: expected an .npz of arch"):
        nas_bench_201.load(tmp_path / "array.npy")


@pytest.fixture(scope="module")
def real():
    if "NGE_DATA_DIR" not in os.environ:
        pytest.skip("NGE_DATA_DIR is not set: no table of NAS-Bench-201 here")
    return nas_bench_201.load(Path(os.environ["NGE_DATA_DIR"]) / "nas_bench_201.npz")


def test_known_figures(real):
    np.testing.assert_allclose(np.nanmax(real.tests, 0), [94.37, 73.51, 47.31], atol=0.005)
    all_skip = np.full((1, 6), NAS_BENCH_201.operations.index("skip_connect"))
    assert nas_bench_201.test_accuracies(real, all_skip)[0] == pytest.approx(54.30, abs=0.005)


@pytest.mark.parametrize("name, mean, sd", [("random", 93.72, 0.37), ("evolution", 93.93, 0.42)])
def test_published_baselines_come_out(real, name, mean, sd):
    """100 queries, mean and deviation over 1000 seeds."""
    untrained = edge_model("alpha", "printed", NAS_BENCH_201), NAS_BENCH_201, optax.identity()
    strategy = {
        "random": random_search.random_search(NAS_BENCH_201),
        "evolution": evolution.evolution(*untrained, evolution.classic(10, 3)),
    }[name]
    evaluate = nas_bench_201.make_evaluator(real)
    keys = jax.random.split(jax.random.key(0), 1000)
    history = jax.jit(jax.vmap(lambda key: run_strategy(strategy, evaluate, 100, key)))(keys)
    chosen = np.asarray(history.architectures)[np.arange(1000), history.rewards.argmax(-1)]
    found = nas_bench_201.test_accuracies(real, chosen)[:, 0]
    assert found.mean() == pytest.approx(mean, abs=0.05)
    assert found.std() == pytest.approx(sd, abs=0.05)
