"""Searches that pay differently for parameters as one program: each does the same as alone, and the front of all."""

import json

import numpy as np
import pytest

from nge_jax.report import seeds as seeds_report
from nge_jax.report.document import Beside, Section
from nge_jax.search import runner as search_runner
from nge_jax.search.fronts import several as fronts
from nge_jax.search.limits.network import read_limits
from nge_jax.search.several import mapping
from nge_jax.space import genotype
from nge_jax.workdir import artifacts
from nge_jax.workdir import folder as workdir
from tests.helpers.small_search import make_config, result, stand_ins

WEIGHTS = (0, 0.5, 1000)
FOLDERS = ["cost-0-seed-3", "cost-0.5-seed-3", "cost-1000-seed-3"]


def config_of(**keys):
    config = make_config("gradient", **keys)
    config.search.edge_model = "alpha"
    config.embedding.learning_rate = 0.3  # six steps decide
    config.seed = 3
    return config


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """Workdirs by name: of all in turn, and mapped; of one alone, and its folder gone on with."""
    folder = tmp_path_factory.mktemp("searched")
    mapped = mapping.map_phase
    alone = config_of(cost_weight=0.5)
    alone.run.random_cells = 0

    def mapped_at_once(phase, batches, **options):
        return mapped(phase, batches, **options | {"one_by_one": False})

    with stand_ins(data) as patched:
        search_runner.run(alone, folder / "alone")
        several = search_runner.run(config_of(cost_weights=WEIGHTS), folder / "in turn")
        with patched.context() as other:
            other.setattr(mapping, "map_phase", mapped_at_once)
            search_runner.run(config_of(cost_weights=WEIGHTS), folder / "mapped")
    found = [single.workdir.name for by in several.of_weights.values() for single in by.values()]
    assert found == FOLDERS and [*several.of_weights] == [*map(float, WEIGHTS)]
    return folder


@pytest.mark.parametrize("how", ["in turn", "mapped"])
def test_each_ends_as_its_search_alone(searched, how):
    mine, alone = searched / how / FOLDERS[1], searched / "alone"
    assert result(mine).genotype == result(alone).genotype != ""
    for one, other in zip(result(mine).rows, result(alone).rows, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    np.testing.assert_allclose(result(mine).probs, result(alone).probs, rtol=1e-5)
    config = json.loads((mine / artifacts.CONFIG).read_text())
    assert config["search"]["cost_weight"] == 0.5 and config["search"]["cost_weights"] == []
    workdir.check(mine, json.loads((alone / artifacts.CONFIG).read_text()), overwrite=False)


def test_a_larger_weight_leads_to_fewer_parameters(searched):
    last = [result(searched / "in turn" / folder).rows[-1] for folder in FOLDERS]
    expected = [row["expected_parameters"] for row in last]
    assert expected[2] < 0.9 * expected[0] and expected[2] < expected[1]


def test_the_front_has_the_cells_found_and_random_ones_of_all_sizes(searched):
    front = artifacts.read_json(searched / "in turn" / artifacts.FRONT)
    assert [*front["found"]] == FOLDERS and len(front["random"]) == 2 * 3
    network, words = read_limits(searched / "in turn" / FOLDERS[0])
    assert not words
    for folder, cell in front["found"].items():
        found = genotype.load(str(searched / "in turn" / folder))
        assert cell["parameters"] == network.cost(found).parameters
    for name, cell in front["random"].items():
        assert cell["parameters"] == network.cost(genotype.load(name)).parameters
    sizes = [cell["parameters"] for cell in front["random"].values()]
    assert sizes == sorted(sizes) and sizes[-1] > 2 * sizes[0]
    assert all(0 <= cell["accuracy"] <= 1 for part in front.values() for cell in part.values())


def test_the_report_draws_the_front_with_a_command_for_each_cell(searched, monkeypatch):
    whole = searched / "in turn"
    # Other tests are about these drawings.
    monkeypatch.setattr(seeds_report.compare, "cell_pictures", lambda *_: Beside([]))
    monkeypatch.setattr(seeds_report, "_curves_section", lambda *_: Section("Curves", []))
    assert search_runner.report(whole) == whole / artifacts.REPORT
    text = (whole / artifacts.REPORT_MARKDOWN).read_text()
    for folder in FOLDERS:
        assert f"genotype={whole / folder / artifacts.GENOTYPE}" in text
    assert "± " not in text, "a weight beside an accuracy would read as a second number"
    assert "| Cost weights | 0, 0.5, 1000 |" in text and (whole / "front.svg").exists()
    groups = artifacts.read_json(whole / artifacts.SEEDS, ("cost_weights",))["cost_weights"]
    assert [*groups] == ["0", "0.5", "1000"]
    shown = seeds_report.to_text(whole).splitlines()
    assert [line.split("  ")[0] for line in shown[:4]] == ["Weight", *groups]
    assert max(map(len, shown)) <= 80


def test_every_cell_is_rated_in_the_same_way():
    class Net:
        space = genotype.load("DARTS_V2").space

        def choices(self, cell):
            return cell

    class Limits:
        class budget:
            class costs:
                @staticmethod
                def count(cell):
                    return np.array([(np.asarray(cell) > 2).sum(), 0])

        def of_training(self, counted):
            return {"parameters": counted[0]}

    class Search:
        net, space, limits = Net(), Net.space, Limits()

    found = {"a": genotype.load("DARTS_V2")}
    compared = fronts.compare(Search, found, lambda cells: np.arange(len(cells)) / 10, 4)
    accuracies = [c["accuracy"] for part in compared.values() for c in part.values()]
    assert accuracies == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert len({*compared["random"]}) == 4
