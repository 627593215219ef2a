"""A user's CSV of cells and accuracies as an evaluator."""

import jax
import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.space import architecture, genotype, nas_bench_201
from nge_jax.space.ratings import measured
from nge_jax.space.spaces import NAS_BENCH_201
from nge_jax.strategies.base import run_strategy
from nge_jax.strategies.random_search import random_search

CELL = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
DARTS_V2 = genotype.load("DARTS_V2")
PARTIAL = DARTS_V2._replace(reduce_concat=(4, 5))


def write(path, *lines, header="genotype,accuracy,note"):
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_cells_by_name_file_and_json_are_rewarded(tmp_path):
    (tmp_path / "mine.json").write_text(genotype.to_json(genotype.random_genotype(5)))
    text = genotype.to_json(genotype.random_genotype(6)).replace("\n", " ").replace('"', '""')
    lines = ("DARTS_V2,97.0,a", "mine.json,90,", f'"{text}",80.5,', "random:7,70,", "random:7,72,")
    table = measured.load(write(tmp_path / "cells.csv", *lines))
    names = ["DARTS_V2", "random:5", "random:6", "random:7"]
    cells = np.stack([architecture.from_genotype(genotype.load(name)) for name in names])
    np.testing.assert_array_equal(table.architectures, cells)
    np.testing.assert_allclose(table.accuracies, [97.0, 90.0, 80.5, 71.0])
    unknown = architecture.from_genotype(genotype.random_genotype(8))
    asked = np.concatenate([cells[::-1], unknown[None]])
    evaluate = jax.jit(measured.make_evaluator(table, absent=0.1))
    np.testing.assert_allclose(evaluate(asked), [0.71, 0.805, 0.9, 0.97, 0.1], rtol=1e-6)


def test_a_cell_is_read_in_any_form_and_from_the_folder_of_the_csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "tables"
    table.mkdir()
    (table / "cells.py").write_text(f"BEST = {DARTS_V2}\nWORST = {genotype.load('random:1')}\n")
    (tmp_path / "here.txt").write_text(str(genotype.load("random:2")))
    printed = str(DARTS_V2)
    assert len(printed) > 255  # no name of a file is longer
    lines = ("cells.py:WORST,50,", "here.txt,60,", f'"{printed}",70,', "cells.py:BEST,80,")
    found = measured.load(write(table / "cells.csv", *lines, "random:3,0,"))
    cells = [genotype.load(name) for name in ("random:1", "random:2", "DARTS_V2", "random:3")]
    np.testing.assert_array_equal(found.architectures, [*map(architecture.from_genotype, cells)])
    np.testing.assert_allclose(found.accuracies, [50, 60, 75, 0])
    with pytest.raises(InputError, match="line 2: expected a cell of NAS-Bench-201, found a geno"):
        measured.load(table / "cells.csv", NAS_BENCH_201)


def test_a_strategy_finds_the_best_cell_of_another_space(tmp_path):
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 5, (500, 6))
    lines = [f"{nas_bench_201.to_string(cell)},{50 + n / 100}" for n, cell in enumerate(cells)]
    path = write(tmp_path / "cells.csv", f"{CELL},99", *lines)
    table = measured.load(path, NAS_BENCH_201)
    np.testing.assert_array_equal(table.architectures[0, 0], nas_bench_201.parse(CELL))
    evaluate = measured.make_evaluator(table)
    strategy = random_search(NAS_BENCH_201)
    history = jax.jit(lambda key: run_strategy(strategy, evaluate, 300, key))(jax.random.key(0))
    known = {tuple(cell) for cell in table.architectures[:, 0].tolist()}
    asked = [tuple(cell) in known for cell in np.asarray(history.architectures)[:, 0].tolist()]
    np.testing.assert_array_equal(np.asarray(history.rewards) > 0, asked)
    assert any(asked) and not all(asked)


@pytest.mark.parametrize(
    "header, line, message",
    [
        (
            "cell,accuracy",
            "DARTS_V2,97",
            "cells.csv: expected a column genotype, found cell, accuracy",
        ),
        (
            "genotype,accuracy",
            "DARTS_V3,97",
            'cells.csv, line 2: genotype "DARTS_V3": no such file',
        ),
        (
            "genotype,accuracy",
            "DARTS_V2,good",
            "line 2: expected an accuracy from 0 to 100 percent",
        ),
        ("genotype,accuracy", "DARTS_V2,nan", "line 2: expected an accuracy from 0 to 100 percent"),
        ("genotype,accuracy", "DARTS_V2", "line 2: expected an accuracy from 0 to 100 percent"),
        ("genotype,accuracy", "ENASNet,97", "line 2: .*found 5 inner nodes"),
        ("genotype,accuracy", "{},97", "line 2: .*missing, expected normal"),
        ("genotype,accuracy", ",97", 'line 2: genotype "": no such file'),
        (
            "genotype,accuracy",
            "DARTS_V2,0.9724",
            "line 2: .*in percent, .*found '0.9724', a fraction",
        ),
        ("genotype,accuracy", "DARTS_V2,1", "line 2: .*in percent, .*found '1', a fraction"),
        ("genotype,accuracy", "random:0,96\nDARTS_V2,0.97", "line 3: .*found '0.97', a fraction"),
        (
            "genotype,accuracy",
            f"{CELL},97",
            "line 2: expected a genotype, found a cell of NAS-Bench",
        ),
        (
            "genotype,accuracy",
            f'"{PARTIAL}",97',
            'line 2: .*"reduce_concat": expected all .*found 4, 5',
        ),
        ("genotype,accuracy", "", "cells.csv: expected a line for each cell, found none"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(tmp_path, header, line, message):
    with pytest.raises(InputError, match=message) as error:
        measured.load(write(tmp_path / "cells.csv", line, header=header))
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="none.csv: expected a CSV file, found"):
        measured.load(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        InputError, match="bytes.csv: expected a CSV file, found bytes that are no text"
    ):
        measured.load(tmp_path / "bytes.csv")
