"""The networks that no smaller or equal network beats, and the picture of accuracy against size."""

import json

import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.report import compare
from nge_jax.report.pareto import cells as cells_by_size
from nge_jax.report.pareto.front import Network, size_figure, undominated
from nge_jax.report.parts import read
from nge_jax.space import genotype
from nge_jax.workdir import artifacts


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_network_beats(seed):
    rng = np.random.default_rng(seed)
    sizes, accuracies = rng.integers(1, 8, 12), rng.integers(0, 8, 12) / 8

    def beats(m, n):
        no_worse = sizes[m] <= sizes[n] and accuracies[m] >= accuracies[n]
        return no_worse and (sizes[m], accuracies[m]) != (sizes[n], accuracies[n])

    expected = {
        (sizes[n], accuracies[n]) for n in range(12) if not any(beats(m, n) for m in range(12))
    }
    front = undominated(sizes, accuracies)
    assert {(sizes[n], accuracies[n]) for n in front} == expected
    assert len(front) == len(expected)
    assert list(sizes[front]) == sorted(sizes[front])


def test_the_picture_has_every_network_and_the_front():
    networks = [
        Network("small", 10, 0.5), Network("worse", 20, 0.4), Network("large", 30, 0.9, {"color": "red"}),
    ]  # fmt: skip
    drawing = size_figure(networks, "accuracy", 3.9)
    (axes,) = drawing.axes
    line, *points = axes.lines
    assert line.get_xydata().tolist() == [[10, 0.5], [30, 0.9]]
    assert [point.get_xydata().tolist() for point in points] == [
        [[n.parameters, n.accuracy]] for n in networks
    ]
    (legend,) = drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == ["large"]


@pytest.mark.parametrize("width", [3.9, 6.8])
@pytest.mark.parametrize("count", [0, 4, 9])
def test_names_stand_below_the_axes_and_large_numbers_have_commas(width, count):
    networks = [
        Network(f"random, cost {n}" if n else "found", 130_000 + 2500 * n, n / 10, {"color": "red"})
        for n in range(count)
    ]
    quiet = [Network("quiet", 137_500, 0.5)]
    drawing = size_figure([*networks, *quiet], "accuracy", width)
    (axes,) = drawing.axes
    assert len(drawing.legends) == (count > 0)
    renderer = drawing.canvas.get_renderer()
    for legend in drawing.legends:
        names, picture = legend.get_window_extent(renderer), drawing.bbox
        assert names.y1 <= axes.get_tightbbox(renderer).y0
        assert picture.x0 <= names.x0 and names.x1 <= picture.x1 and picture.y0 <= names.y0
    assert axes.get_window_extent(renderer).height > 1.9 * drawing.dpi
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert all("," in tick for tick in ticks) and len(ticks) <= 7


def write_run(path, accuracy, parameters):
    path.mkdir()
    config = {"task": "train", "seed": 0, "genotype": "DARTS_V2", "data": {"name": "digits"}}
    (path / artifacts.CONFIG).write_text(json.dumps(config))
    row = {"epoch": 1, "train_loss": 1.0, "test_accuracy": accuracy}
    (path / artifacts.METRICS).write_text(json.dumps(row) + "\n")
    (path / artifacts.GENOTYPE).write_text(genotype.load("DARTS_V2").to_json())
    if parameters:
        artifacts.write_sizes(path, [("network", parameters, 1)])
    return path


def test_a_comparison_draws_accuracy_against_size_where_two_runs_have_both(tmp_path):
    runs = [write_run(tmp_path / "a", 0.5, 100), write_run(tmp_path / "b", 0.75, 2000)]
    page = compare.page(read.read_runs(runs))
    assert "Accuracy against size" in page
    assert "b: 75.00%, 2,000 parameters" in page
    unsized = write_run(tmp_path / "c", 0.75, 0)
    assert "Accuracy against size" not in compare.page(read.read_runs([runs[0], unsized]))


def test_the_cells_of_a_history_have_commands(tmp_path):
    cells = {
        "cell_3": {"parameters": 10, "accuracy": 0.5},
        "policy": {"parameters": 30, "accuracy": 0.75},
    }
    artifacts.write_json(tmp_path / artifacts.PARETO, cells)
    assert not [*cells_by_size.of_history(tmp_path, None)]
    (section,) = cells_by_size.of_history(tmp_path, "nge train x genotype=run/genotype.json")
    assert (tmp_path / "pareto.svg").exists()
    assert [list(row) for row in section.blocks[1].rows] == [
        ["cell 3", "10", "50.00%", "nge train x genotype=run/pareto.json:cell_3"],
        ["policy", "30", "75.00%", "nge train x genotype=run/pareto.json:policy"],
    ]
    artifacts.write_json(tmp_path / artifacts.PARETO, {"cell_3": {"parameters": 10}})
    with pytest.raises(InputError, match="expected cells with their accuracies"):
        [*cells_by_size.of_history(tmp_path, "")]


def test_searches_that_pay_for_parameters_stand_before_random_cells(tmp_path):
    found = {
        name: {"parameters": n, "accuracy": a} for name, n, a in (("b", 20, 0.6), ("a", 5, 0.3))
    }
    random = {f"random:{n}": {"parameters": 10 + n, "accuracy": 0.7} for n in (0, 1)}
    artifacts.write_json(tmp_path / artifacts.FRONT, {"found": found, "random": random})
    (section,) = cells_by_size.of_searches(tmp_path, {"a": "train a", "b": "train b"})
    assert [list(row) for row in section.blocks[2].rows] == [
        ["b", "20", "60.00%", "no", "train b"],
        ["a", "5", "30.00%", "yes", "train a"],
    ]
    assert "2 random cells" in section.blocks[0].caption
    artifacts.write_json(tmp_path / artifacts.FRONT, {"found": found, "random": {}})
    (section,) = cells_by_size.of_searches(tmp_path, {})
    assert "random" not in section.blocks[0].caption
