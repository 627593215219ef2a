"""The conversion of the benchmark's official file, tested on a small file of the same structure."""

import itertools
import sys
import types

import numpy as np
import pytest

import convert_nas_bench_201 as convert
from nge_jax.errors import InputError
from nge_jax.space import nas_bench_201

CELLS = [nas_bench_201.to_string(cell) for cell in itertools.product(range(5), repeat=6)]


def result(**accuracies):
    """Makes a training from {part: {epoch: accuracy}}, as the official API's `ResultsCount.state_dict`."""
    keys = {f"{part}@{e}": a for part, epochs in accuracies.items() for e, a in epochs.items()}
    return {"eval_acc1es": keys, "net_state_dict": None}


def results(base):
    """Makes a cell's trainings of both lengths, as `ArchResults.state_dict`."""
    valid, test, x = "x-valid", "ori-test", "x-test"
    less = {("cifar10-valid", 777): result(**{valid: {0: 1.0, 11: base}, test: {11: 2.0}})}
    full = {
        ("cifar10-valid", 777): result(**{valid: {11: 3.0, 199: base + 1}}),
        ("cifar10", 777): result(**{test: {199: base + 2}}),
        ("cifar10", 888): result(**{test: {199: base + 4}}),
        ("cifar100", 777): result(**{x: {199: base / 2}}),
        ("ImageNet16-120", 777): result(**{valid: {199: base / 4}, x: {199: base / 5}}),
    }
    states = {}
    for name, all_results in (("less", less), ("full", full)):
        seeds = {}
        for data_set, seed in all_results:
            seeds.setdefault(data_set, []).append(seed)
        states[name] = {"all_results": all_results, "dataset_seed": seeds}
    return states


@pytest.fixture(scope="module")
def official():
    infos = {row: results(10 + row % 50) for row in range(len(CELLS))}
    return {"meta_archs": CELLS, "arch2infos": infos, "evaluated_indexes": []}


def run(monkeypatch, tmp_path, loaded, output="table.npz"):
    """Runs the command with a torch that loads `loaded`. Returns the table's path and the arguments that torch got."""
    asked = []

    def load(path, **options):
        asked.append(options)
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
    (tmp_path / "official.pth").touch()
    paths = [str(tmp_path / "official.pth"), str(tmp_path / output)]
    convert.main(convert.parser().parse_args(paths))
    return tmp_path / output, asked


def test_the_table_has_the_means_of_the_last_epochs(monkeypatch, tmp_path, official):
    path, asked = run(monkeypatch, tmp_path, official)
    assert asked == [{"map_location": "cpu", "weights_only": True}]
    table = nas_bench_201.load(path)
    base = 10 + 77 % 50
    cell = nas_bench_201.BenchCell(CELLS[77])
    row = nas_bench_201.cell_index(cell.operations)
    assert table.selection[row] == base
    assert nas_bench_201.accuracies(table, cell) == {
        "CIFAR-10": {"validation": base + 1, "test": base + 3},
        "CIFAR-100": {"validation": None, "test": base / 2},
        "ImageNet16-120": {"validation": base / 4, "test": base / 5},
    }
    with np.load(path) as arrays:
        assert len(arrays["columns"]) == 12
    with pytest.raises(InputError, match=r"table\.npz: is there already, expected a new file"):
        run(monkeypatch, tmp_path, official)


@pytest.mark.parametrize(
    "loaded, message",
    [
        ({"arch2infos": {}}, "expected meta_archs and arch2infos of NAS-Bench-201, found no"),
        ({"meta_archs": CELLS, "arch2infos": {}}, "expected meta_archs and arch2infos"),
        (RuntimeError("Weights\nonly"), r"cannot be read \(Weights only\); see --trust"),
    ],
)
def test_another_file_is_refused_in_one_line(monkeypatch, tmp_path, loaded, message):
    with pytest.raises(InputError, match=message) as error:
        run(monkeypatch, tmp_path, loaded)
    assert "\n" not in str(error.value) and not (tmp_path / "table.npz").exists()


def test_without_torch_or_file_the_command_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "official.pth"
    with pytest.raises(InputError, match=r"official\.pth: no such file"):
        convert.read(path, trust=False)
    path.touch()
    with pytest.raises(InputError, match="the package torch is not installed"):
        convert.read(path, trust=False)
