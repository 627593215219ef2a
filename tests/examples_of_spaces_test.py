"""The examples of an operation and of a space, from the search to the export, on the digits."""

import json

import numpy as np
import pytest

import nge_jax as nge
from nge_jax.export import command
from nge_jax.space.parts import loading
from tests.conftest import ROOT

LONGEST = 60  # lines of an example


@pytest.mark.parametrize(
    "example, words, seeds, operations",
    [
        ("operation", "gradient", (), {"skip_connect", "sep_conv_3x3", "examples/operation.py:GROUP_CONV_3X3"}),
        pytest.param(
            "space", "gumbel", (0, 1), {"skip_connect", "max_pool_3x3", "sep_conv_3x3", "conv_1x1", "squeeze_excite"},
            marks=pytest.mark.whole,
        ),
    ],
)  # fmt: skip
def test_an_example_from_the_search_to_the_export(
    example, words, seeds, operations, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    file = f"examples/{example}.py"
    assert len((ROOT / file).read_text().splitlines()) <= LONGEST
    config = nge.load_config("search_digits", f"{words},smoke")
    config.search.space, config.network.cells = f"{file}:SPACE", 1
    config.run.random_cells, config.search.seeds = 1, seeds
    result = nge.search.run(config, tmp_path / "search")
    cell = result.genotype
    assert {name for name, _ in cell.normal + cell.reduce} <= operations
    assert result.probabilities.shape[-1] == len(operations)

    config = nge.load_config("train_digits", "smoke")
    found = tmp_path / "search" / ("seed-0" if seeds else "")
    config.genotype, config.network.cells = str(found), 2
    nge.train.run(config, tmp_path / "train")
    network = nge.load_trained(tmp_path / "train")
    assert network.module.genotype == cell
    images = np.zeros((3, 8, 8, 1), np.uint8)
    assert network.predict(images).probabilities.shape == (3, 10)
    command.write(network, tmp_path / "export", ("stablehlo", "npz"))
    again = nge.load_trained(tmp_path / "export")
    np.testing.assert_array_equal(
        network.predict(images).probabilities, again.predict(images).probabilities
    )


def test_a_space_is_searched_as_a_value(tmp_path, monkeypatch):
    """The config of the run has the space as text. A value of the package needs no module."""
    config = nge.load_config("search_digits", "random,smoke")
    config.network.cells, config.search.epochs, config.run.random_cells = 1, 1, 2
    space = nge.with_operations(nge.DARTS._replace(num_nodes=4), "skip_connect", "conv_1x1")
    result = nge.search.run(config, tmp_path / "run", space=space)
    assert len(result.genotype.normal) == 4 and result.probabilities.shape == (2, 5, 2)
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["search"]["space"]
    assert json.loads(recorded) == {"operations": ["skip_connect", "conv_1x1"], "num_nodes": 4}
    assert loading.loaded_operation("examples/nowhere.py:CONV") is None
