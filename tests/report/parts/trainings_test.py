"""The trainings of a search's cell, which lie beside the search."""

import pytest

from nge_jax.report.parts import trainings
from tests.helpers.recorded_runs import write_run


@pytest.fixture
def search(tmp_path):
    return write_run(tmp_path / "runs" / "search", accuracy=0.5, task="search")


def train(search, name, **options):
    options = {"accuracy": 0.75, "genotype": "runs/search/genotype.json", **options}
    return write_run(search.parent / name, **options)


def names(search):
    return [path.name for path, _ in trainings.find(search)]


def test_a_search_without_trainings_says_nothing(search):
    train(search, "another", genotype="DARTS_V2")
    assert trainings.sections(search) == ([], {})


def test_trainings_that_name_the_search_are_told_and_linked(search):
    train(search, "one")
    train(search, "two", accuracy=0.875, genotype=str(search), report=False)
    (section,), facts = trainings.sections(search)
    _, table = section.blocks
    assert [row[0] for row in table.rows] == ["one", "two"]
    assert [row[3] for row in table.rows] == ["75.00%", "87.50%"]
    assert table.links == ["../one/report.html", ""]
    assert facts == {"Trained": "87.50%, the best of 2"}


def test_a_training_of_another_cell_or_search_is_none(search):
    train(search, "former", cell="DARTS_V1")  # the search was overwritten since
    train(search, "other", genotype="runs/another/genotype.json")
    train(search, "segmented", task="segment")
    begun = train(search, "begun")
    (begun / "metrics.jsonl").unlink()
    assert names(search) == []


def test_one_of_several_searches_finds_trainings_beside_their_folder(search):
    member = write_run(search / "seed-0", accuracy=0.5, task="search")
    train(search, "trained", genotype="runs/search/seed-0/genotype.json")
    assert names(member) == ["trained"] and names(search) == []
