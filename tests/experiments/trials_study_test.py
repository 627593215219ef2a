"""The study of searches by trainings: the order of the searches, the random cells, the statistics."""

import itertools

import jax
import numpy as np
import pytest

import trials_study as study
from nge_jax import cost
from nge_jax.space import genotype


@pytest.fixture
def options(tmp_path):
    return study.parser().parse_args(["--out", str(tmp_path)])


def row(search, seed, name, training_seed, accuracy):
    cell = genotype.random_genotype(seed if name == "found" else 100 + seed)
    return {
        "search": search,
        "seed": seed,
        "name": name,
        "genotype": cell.to_json(),
        "training_seed": training_seed,
        "accuracy": accuracy,
    }


def test_searches_follow_seed_by_seed(options):
    names = [(run.settings["seed"], name) for name, run in study.search_runs(options)]
    first = [*itertools.product(study.DIGITS.seeds, study.DIGITS.searches)]
    later = [(seed, name) for name in study.DIGITS.later for seed in study.DIGITS.seeds]
    assert names == first + later
    assert len({run.workdir for _, run in study.search_runs(options)}) == len(names)
    configs = {name: study.runs.configuration(run) for name, run in study.search_runs(options)}
    assert [
        (c.search.evaluator, c.search.strategy, c.search.edge_model) for c in configs.values()
    ] == [
        ("trained", "evolution", "nge"),
        ("trained", "random", "nge"),
        ("supernet", "gradient", "nge"),
        ("supernet", "gradient", "alpha"),
        ("supernet", "gradient", "alpha"),
        ("supernet", "gradient", "nge"),
    ]


def test_added_searches_follow_all_others_so_that_earlier_cells_keep_their_random_cells(tmp_path):
    options = study.parser().parse_args(["--images=tiny", "--out", str(tmp_path)])
    names = [(name, run.settings["seed"]) for name, run in study.search_runs(options)]
    assert names == [
        *itertools.product(("trained, evolution", *study.TINY.later), study.TINY.seeds)
    ]


@pytest.mark.parametrize("images", [study.PHOTOGRAPHS, study.TINY, study.WIDE, study.AGAIN])
def test_a_new_default_of_the_lengths_changes_no_search_of_a_study(images):
    for words, keys in {**images.searches, **images.later}.values():
        if "trained" in words.split(","):
            assert {"trained.cells", "trained.rungs"} <= keys.keys()
            assert ("evolution.population" in keys) == (words == "trained")


def test_later_studies_share_no_seed_and_no_random_cell_with_earlier_ones():
    for one, other in itertools.combinations((study.TINY, study.WIDE, study.AGAIN), 2):
        assert not {*one.seeds} & {*other.seeds}
        assert not {*one.drawn} & {*other.drawn}


@pytest.mark.whole
def test_random_cells_are_as_large_as_the_networks_that_are_trained(options):
    found = study.Cell("gradient, nge", 0, "found", genotype.load("DARTS_V2"))
    cells = study.make_companions(study.make_training(options, 0), study.DIGITS.drawn)(found)
    assert [cell.name == "found" for cell in cells] == [True, False, False]
    first, *others = (
        cost.cifar_cost(cell.genotype, cells=3, channels=2, image_shape=(8, 8, 1)).parameters
        for cell in cells
    )
    assert all(abs(other - first) <= study.TOLERANCE * first for other in others)


def test_the_table_compares_means_over_training_seeds():
    search = "gradient, nge"
    rows = [
        row(search, seed, name, training_seed, level + 0.01 * seed + 0.03 * training_seed)
        for seed in (0, 1, 2)
        for training_seed in (0, 1, 2)
        for name, level in (("found", 0.90), ("random:7", 0.87))
    ]
    lines = study.summary(rows, {search: [10.0, 20.0]}).splitlines()
    line = next(line for line in lines if line.startswith(f"| {search} |"))
    # The cells lie 0, 1 and 2 points above their level. The training seeds add 3 points on average.
    assert "| 3 | 15 ± 7 | 94.00 ± 1.00 | 91.00 ± 1.00 |" in line
    assert "+3.00 ± 0.82 points, +3.00 sd of random cells" in line
    assert lines[-1].startswith("| random cells, all | 3 |")


@pytest.mark.whole
def test_a_trained_cell_has_learned(options):
    training = study.make_training(options, 0)
    training = training._replace(total_steps=5 * int(training.arguments.steps_per_epoch))
    programs = study.make_programs(training)
    with jax.enable_x64(False):
        accuracy = study.train(genotype.load("DARTS_V2"), training, programs, 0)
    assert np.isfinite(accuracy) and 0.2 < accuracy <= 1  # chance is 0.1
