"""Table 4 on NAS-Bench-201: the searches that it starts, and the figures that it makes of the cells found.

A small program stands in for `nge_jax.main`.
"""

import itertools
import sys

import numpy as np
import pytest

import table4_nas_bench_201 as table4
from nge_jax.space import nas_bench_201
from nge_jax.space.spaces import NAS_BENCH_201
from paper import plan, runs
from tests.conftest import ROOT
from tests.helpers.paper_tables import options_of, row_of

# Writes the files of a search. Seed 0 finds the cell of 3x3 convolutions, other seeds find the cell of skips.
PROGRAM = """
import json, pathlib, sys

flags = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
seed, path = int(flags["config.seed"]), pathlib.Path(flags["workdir"])
path.mkdir(parents=True)
with open(path.parents[1] / "started", "a") as file:
    file.write(path.name + "\\n")
operation = "skip_connect" if seed else "nor_conv_3x3"
cell = "+".join("|" + "".join(f"{operation}~{i}|" for i in range(k)) for k in (1, 2, 3))
metrics = {"epoch": 1, "embedding_accuracy": 0.4 + 0.1 * seed, "entropy_normal": 1.5 - 0.5 * seed}
for name, value in {
    "config.json": {"seed": seed},
    "genotype.json": {"cell": cell},
    "metrics.jsonl": metrics,
}.items():
    (path / name).write_text(json.dumps(value) + "\\n")
here = pathlib.Path(__file__).parent
(path / "architecture.npz").write_bytes((here / f"architecture{seed}.npz").read_bytes())
(path / "report.html").write_text("done")
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Writes a table and the stand-in. A cell's CIFAR-10 test accuracy is 60, plus 5 for each 3x3 convolution."""
    cells = np.array(list(itertools.product(range(5), repeat=6)))
    accuracy = 60 + 5 * (cells == 3).sum(1)
    columns = [nas_bench_201.SELECTION, *nas_bench_201.TESTS.values()]
    values = np.stack([accuracy, accuracy, accuracy - 20, np.full(len(cells), np.nan)], 1)
    names = np.array([nas_bench_201.to_string(cell) for cell in cells])
    path = tmp_path / "table.npz"
    np.savez(path, arch=names, columns=np.array(columns), values=values.astype(np.float32))

    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    for seed, operation in ((0, 3), (1, 1)):
        probs = np.full((2, 1, 6, 5), 0.2, np.float32)
        probs[..., operation] = 0.3
        np.savez(
            tmp_path / f"architecture{seed}.npz",
            probs=probs,
            operations=np.array(NAS_BENCH_201.operations),
            edges=np.array(NAS_BENCH_201.edges),
        )
    monkeypatch.setattr(runs, "MAIN", (sys.executable, "-S", "-I", str(program)))
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.02)
    return path


def make(out, table, *arguments):
    given = [f"--out={out}", f"--table={table}", "--scale=smoke", "--seeds=0,1", "--jobs=3"]
    started = out / "started"
    started.unlink(missing_ok=True)
    plan.start(table4.main, table4.parser(), {}, [*given, *arguments])
    text = (out / "table4_nas_bench_201.md").read_text()
    return text, sorted(started.read_text().split()) if started.exists() else []


def test_the_true_accuracies_of_each_model_stand_beside_random_cells(tmp_path, table):
    out = tmp_path / "out"
    text, started = make(out, table, "--models=nge,alpha", "--alternations=epoch,batch")
    names = ["nge", "nge_batch", "alpha", "alpha_batch"]
    assert started == sorted(f"{name}-{seed}" for name in names for seed in (0, 1))
    found = ["75.00 ± 21.21", "55.00 ± 21.21", "–", "2", "1.250 ± 0.354"]
    assert row_of(text, "nge")[1:] == found and row_of(text, r"alpha\_batch")[1:] == found
    assert row_of(text, "random cells of the table")[1] == "66.00 ± 4.90"
    assert row_of(text, "best of the table")[1:4] == ["90.00", "70.00", "–"]
    assert row_of(text, "nge-1")[1:6] == ["50.00", "–", "60.00", "6", "0"]
    # Finished runs are kept and read again. Only a missing run is made.
    assert make(out, table, "--models=nge,alpha", "--alternations=epoch,batch") == (text, [])
    (out / "nas_bench_201" / "nge-1" / "report.html").unlink()
    one, started = make(out, table, "--models=nge", "--table_only")
    assert started == [] and row_of(one, "nge")[1:3] == ["90.00", "70.00"]


@pytest.mark.parametrize("scale", plan.SCALES)
def test_every_search_names_a_config_that_has_its_keys(tmp_path, scale):
    options = options_of(ROOT / "runs" / "x", scale, data_dir=str(tmp_path), table=tmp_path / "t")
    for model, relaxation, alternation in itertools.product(
        plan.MODELS, table4.relaxations(), table4.ALTERNATIONS
    ):
        run = table4.search(options, table4.Row(model, relaxation, alternation), 3)
        config = runs.configuration(run)
        assert (config.seed, config.search.alternation) == (3, alternation)
        assert (config.search.edge_model, config.search.adjacency) == plan.MODELS[model]
        assert config.data.table == str(tmp_path / "t")


def test_a_table_that_is_none_is_refused_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as refusal:
        make(tmp_path, tmp_path / "none.npz")
    assert refusal.value.code == 2
    assert "none.npz: no such file" in capsys.readouterr().err
