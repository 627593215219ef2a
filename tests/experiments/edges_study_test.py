"""The study of the embedding's forms: the order of the searches, the chosen rates, the statistics, a kill."""

import json

import numpy as np
import pytest

import edges_alike
import edges_study as study
from nge_jax.space.nas_bench_201 import NUM_CELLS, AccuracyTable
from nge_jax.workdir import json_lines

TABLE = AccuracyTable(
    *(np.full(shape, 50.0) for shape in (NUM_CELLS, (NUM_CELLS, 3), (NUM_CELLS, 3)))
)


def row(job, accuracy=90.0, selection=80.0):
    numbers = dict.fromkeys(("common_share_normal", "entropy_normal", "validation"), 0.5)
    return {
        **job._asdict(),
        **numbers,
        "tests": dict.fromkeys(study.TESTS, accuracy),
        "selection": selection,
        "operations": 3,
        "constant": accuracy < 60,
        "embedding_rate": job.rate,
    }


def test_any_beginning_of_the_searches_is_balanced():
    jobs = study.reported_jobs("batch", {})
    assert [job.condition for job in jobs[:6]] == [*study.FIRST]
    assert [job.seed for job in jobs] == [seed for seed in range(10) for _ in study.FIRST]
    assert not [*study.tuning_jobs("batch")]
    assert {job.seed for job in study.tuning_jobs("tuned")} == {100, 101}
    rates = {job.condition: job.rate for job in jobs}
    assert rates.pop("alpha_fast") == pytest.approx(6e-4 * 36, rel=0.2)
    assert {*rates.values()} == {6e-4}


def test_the_confirmation_has_other_seeds_and_free_logits_with_these_seeds():
    jobs = study.reported_jobs("confirm", {})
    assert not {job.seed for job in jobs} & {*study.SEEDS, *study.TUNING_SEEDS}
    assert [job.condition for job in jobs[:3]] == ["alpha", *study.MUTATIONS]
    old = study.Job("batch", "alpha", 0, 6e-4)
    results = {old: row(old, 10.0)} | {job: row(job, 90.0) for job in jobs}
    assert "+0.00 ± 0.00" in study.summary(results, TABLE).partition("## confirm")[2]


def test_the_rate_that_selects_best_is_taken_and_the_lower_of_equals():
    results = {job: row(job) for job in study.tuning_jobs("tuned")}
    assert study.chosen_rate("tuned", "alpha", results) == min(study.RATES)
    best = study.Job("tuned", "alpha", 101, study.RATES[1])
    results[best] = row(best, selection=85.0, accuracy=10.0)  # the test does not count
    assert study.chosen_rate("tuned", "alpha", results) == study.RATES[1]
    assert study.chosen_rate("tuned", "nge_center", results) == min(study.RATES)


def test_the_table_compares_with_free_logits_of_the_same_seed():
    results = {}
    for seed, accuracy in enumerate((93.0, 94.0, 95.0)):
        for name, worse in (("alpha", 0), ("nge_printed", 1 + seed)):
            job = study.Job("batch", name, seed, 6e-4)
            results[job] = row(job, accuracy - worse)
    unreported = study.Job("batch", "alpha", 100, 6e-4)
    text = study.summary(results | {unreported: row(unreported, 10.0)}, TABLE)
    alpha, printed, random = text.splitlines()[4:7]
    assert alpha.startswith("| alpha | 0.0006 | 3 | 94.00 ± 1.00 | 94.00 ± 1.00 |")
    assert "| 92.00 ± 0.00 |" in printed and "| -2.00 ± 0.58 (p = 0.250) |" in printed
    assert random.startswith("| all cells without `none` | – | 4096 | 50.00 ± 0.00 |")


@pytest.mark.parametrize(
    "stage, key, value", [("mutation", "edge_mutation", 0.1), ("lambda", "layer_correlation", 0.25)]
)
def test_a_key_is_the_only_difference_and_its_searches_compare_with_free_logits_without_it(
    stage, key, value
):
    options = study.parser().parse_args(["--table", "x.npz"])
    jobs = study.reported_jobs(stage, {})
    names = [job.condition for job in jobs[:2]]
    assert names == [f"alpha_{stage}", f"nge_per_edge_{stage}"] and not {*names} & {*study.SECOND}
    for job in jobs[:2]:
        changed = study.make_config(job, options)
        same = job._replace(stage="batch", condition=job.condition.removesuffix(f"_{stage}"))
        plain = study.make_config(same, options)
        assert (changed.search[key], plain.search[key]) == (value, 0)
        plain.search[key] = value
        assert changed.to_dict() == plain.to_dict()
    free = [study.Job("batch", "alpha", seed, 6e-4) for seed in (0, 1)]
    results = {job: row(job, 92.0) for job in free} | {job: row(job, 93.0) for job in jobs[:4:2]}
    table = study.summary(results, TABLE).partition(f"## {stage}")[2]
    assert f"| alpha_{stage} | 0.0006 | 2 | 93.00" in table
    assert "| +1.00 ± 0.00 (p = 0.500) |" in table


def test_flips_of_signs():
    assert study.sign_flips([1.0, 2.0, 3.0]) == 0.25  # all positive, and all negative
    assert study.sign_flips([1.0, -1.0]) == 1


def test_a_line_that_a_kill_has_cut_is_written_anew(tmp_path):
    file, jobs = tmp_path / "results.jsonl", study.reported_jobs("batch", {})[:2]
    json_lines.append(file, row(jobs[0]))
    file.write_text(file.read_text() + json.dumps(row(jobs[1]))[:30])
    assert [*study.read_results(file)] == jobs[:1]
    json_lines.append(file, row(jobs[1]))
    assert [*study.read_results(file)] == jobs


@pytest.mark.parametrize("name", study.CONDITIONS)
def test_the_configs_of_all_conditions_are_accepted(name, tmp_path):
    options = study.parser().parse_args(["--table", "x.npz"])
    stages = ("lambda",) if name in study.LAMBDAS else ("batch", "epoch", "gumbel")
    for stage in stages:
        config = study.make_config(study.Job(stage, name, 3, 1e-3), options)
        assert (config.seed, config.embedding.learning_rate) == (3, 1e-3)
        assert config.search.space == "nas_bench_201_no_none"


def test_a_line_of_the_table_of_edges_that_move_alike():
    line = edges_alike.measure("nas_bench_201", edges_alike.NAS_BENCH_201, "free logits", 1)
    space, model, share, *others = line.cells()
    assert (space, model) == ("nas_bench_201", "free logits")
    assert float(share) == pytest.approx(1 / 6, abs=0.02)
    assert others[:3] == ["6.0", "0.0006", "1"]
