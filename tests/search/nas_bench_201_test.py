"""The search of NAS-Bench-201's supernet, from the command to the accuracies of the found cell in the table."""

import itertools
import json

import numpy as np
import pytest

from nge_jax.space import nas_bench_201
from nge_jax.space.cell import derive
from nge_jax.space.spaces import NAS_BENCH_201
from nge_jax.workdir import artifacts

SMOKE = (
    "-m",
    "nge_jax.main",
    "--config=configs/search_nas_bench_201.py:smoke",
    "--config.data.name=digits",
    "--config.data.pad=1",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of random accuracies; CIFAR-100's validation is absent."""
    rng = np.random.default_rng(0)
    columns = [
        nas_bench_201.SELECTION,
        *nas_bench_201.TESTS.values(),
        "c10_val_200",
        "in16_val_200",
    ]
    cells = [nas_bench_201.to_string(cell) for cell in itertools.product(range(5), repeat=6)]
    values = rng.uniform(10, 95, (15_625, len(columns))).astype(np.float32)
    path = tmp_path_factory.mktemp("table") / "table.npz"
    np.savez(path, arch=np.array(cells), columns=np.array(columns), values=values)
    return path


@pytest.mark.whole
def test_a_search_on_four_devices_ends_with_the_tables_accuracies(python, tmp_path, table):
    workdir = tmp_path / "run"
    done = python(*SMOKE, f"--workdir={workdir}", devices=4, timeout=600)
    assert done.returncode == 0, done.stderr
    probs, space = artifacts.read_architecture(workdir / "architecture.npz")
    assert space == NAS_BENCH_201 and probs.shape == (3, 1, 6, 5)
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)
    assert not np.array_equal(probs[0], probs[2]), "P has not moved"
    cell = artifacts.read_cell(workdir / "genotype.json")
    assert cell == derive(probs[-1], NAS_BENCH_201)
    last = artifacts.read_metrics(workdir / "metrics.jsonl", ("entropy_normal",))[-1]
    assert sum(last[f"{name}_normal"] for name in NAS_BENCH_201.operations) == 6
    assert "set data.table" in (workdir / "report.md").read_text()
    assert not (workdir / "accuracies.json").exists()

    assert (workdir / "cell_normal.png").stat().st_size > 5_000
    assert not (workdir / "cell_reduction.png").exists()

    # The same command reads a table that was added later, and evaluates random cells that were not asked for before.
    later = f"--config.data.table={table}", "--config.run.random_cells=2"
    done = python(*SMOKE, *later, f"--workdir={workdir}", devices=4)
    assert done.returncode == 0, done.stderr
    accuracies = json.loads((workdir / "random_cells.json").read_text())
    assert all(len(nas_bench_201.parse(name)) == 6 for name in accuracies["random"])
    assert len(accuracies["random"]) == 2 and 0 <= accuracies["found"] <= 1
    truth = json.loads((workdir / "accuracies.json").read_text())
    accuracies = nas_bench_201.load(table)
    assert truth["found"] == nas_bench_201.accuracies(accuracies, cell)
    tests = nas_bench_201.test_accuracies(accuracies, cell.operations[None])
    assert truth["found"]["CIFAR-10"]["test"] == pytest.approx(tests[0], abs=1e-3)
    assert truth["found"]["CIFAR-100"]["validation"] is None
    for epoch, p in zip(truth["epochs"], probs, strict=True):
        assert epoch["cell"] == derive(p, NAS_BENCH_201).cell
    report = (workdir / "report.md").read_text()
    assert f"{tests[0]:.2f}%" in report and "absent" in report
    assert f"CIFAR-10 test {tests[0]:.2f} %" in done.stdout
