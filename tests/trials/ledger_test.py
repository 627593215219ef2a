"""Successive halving: who goes on, in which order, and how long a search is."""

from types import SimpleNamespace

import numpy as np
import pytest

from nge_jax.space import architecture, genotype
from nge_jax.space.spaces import DARTS
from nge_jax.trials import ledger as trial_ledger
from nge_jax.trials.ledger import Halving, Job
from nge_jax.trials.result import pareto_set

HALVING = Halving(cells=9, rungs=(3, 9, 27), finalists=2, seeds=2)


def filled(halving, ratings):
    ledger = trial_ledger.new_ledger(halving)
    for trial, accuracy in enumerate(ratings):
        ledger = trial_ledger.add(ledger, np.full((2, 14), trial), 0.0, 1)
        ledger = trial_ledger.rate(ledger, Job(trial, 0, 0), accuracy)
    return ledger._replace(is_full=np.int32(1))


def run(ledger, halving, accuracy):
    """Runs all jobs; returns them in order, and the ledger at the end."""
    jobs = []
    while (job := trial_ledger.next_job(ledger, halving)) is not None:
        jobs.append(job)
        ledger = trial_ledger.rate(ledger, job, accuracy(job))
    return jobs, ledger


def test_the_best_third_goes_on_and_the_last_few_are_trained_again():
    ratings = [0.1, 0.5, 0.3, 0.9, 0.2, 0.7, 0.4, 0.6, 0.8]
    jobs, ledger = run(filled(HALVING, ratings), HALVING, lambda job: job.trial / 10)
    # Cells 3, 8 and 5 are the best at the first rung, and 8 is the best of them at the second.
    assert jobs[:4] == [Job(3, 1, 0), Job(8, 1, 0), Job(5, 1, 0), Job(8, 2, 0)]
    assert jobs[4:] == [Job(8, 2, 1), Job(8, 2, 2)]
    trials, accuracies = trial_ledger.final_accuracies(ledger, HALVING)
    assert trials == [8]
    np.testing.assert_allclose(accuracies, [[0.8, 0.8, 0.8]])


@pytest.mark.parametrize("cells", [1, 2, 5, 9, 27])
@pytest.mark.parametrize("rungs", [(4,), (3, 9, 27), (2, 6)])
def test_the_length_of_a_search_is_known(cells, rungs):
    halving = Halving(cells, rungs, finalists=2, seeds=1)
    ratings = np.random.default_rng(0).random(cells)
    jobs, _ = run(filled(halving, ratings), halving, lambda job: 0.5)
    epochs = sum(halving.rungs[job.rung] - job.begin(halving) for job in jobs)
    assert halving.epochs(cells) == epochs + cells * rungs[0]
    assert all(
        job.units(halving) * halving.unit == halving.rungs[job.rung] - job.begin(halving)
        for job in jobs
    )
    assert halving.unit == {(4,): 4, (3, 9, 27): 3, (2, 6): 2}[rungs]


def test_free_workers_do_not_wait_for_the_rest_of_a_rung():
    ratings = [0.1, 0.5, 0.3, 0.9, 0.2, 0.7]
    ledger = filled(HALVING, ratings)._replace(count=np.int32(9))  # three cells are not rated
    running = [Job(6, 0, 0), Job(7, 0, 0)]
    # A cell that no worker trains comes first. It was lost with a worker.
    assert trial_ledger.next_job(ledger, HALVING, running) == Job(8, 0, 0)
    running.append(Job(8, 0, 0))
    # The best third of six goes on, and no more, until the others are rated.
    for job in (Job(3, 1, 0), Job(5, 1, 0)):
        assert trial_ledger.next_job(ledger, HALVING, running) == job
        running.append(job)
    assert trial_ledger.next_job(ledger, HALVING, running) is None
    for trial, accuracy in ((6, 0.8), (7, 0.6), (8, 0.0)):
        running.remove(Job(trial, 0, 0))
        ledger = trial_ledger.rate(ledger, Job(trial, 0, 0), accuracy)
    assert trial_ledger.next_job(ledger, HALVING, running) == Job(6, 1, 0)


def test_no_seed_begins_while_a_cell_may_become_a_finalist():
    halving = HALVING._replace(rungs=(3,), cells=3)
    ledger = filled(halving, [0.1, 0.2, 0.3])
    ledger = ledger._replace(ratings=np.array([[0.1], [0.2], [np.nan]], np.float32))
    assert trial_ledger.next_job(ledger, halving, [Job(2, 0, 0)]) is None
    ledger = trial_ledger.rate(ledger, Job(2, 0, 0), 0.3)
    assert trial_ledger.next_job(ledger, halving) == Job(2, 0, 1)
    assert trial_ledger.next_job(ledger, halving, [Job(2, 0, 1)]) == Job(1, 0, 1)


@pytest.mark.parametrize("rungs", [(4,), (3, 9, 27)])
def test_a_training_is_needed_until_its_last_use_and_few_are(rungs):
    halving = Halving(27, rungs, finalists=2, seeds=1)
    random = np.random.default_rng(1)
    ledger, states, uses = trial_ledger.new_ledger(halving), [], []
    for trial in range(27):
        ledger = trial_ledger.add(ledger, np.full((2, 14), trial), 0.0, 1)
        ledger = trial_ledger.rate(ledger, Job(trial, 0, 0), random.random())
        states.append(ledger)
    # Fewer cells may be asked for than planned. The time decides that.
    for count in (20, 27):
        ledger = states[count - 1]._replace(is_full=np.int32(1))
        later = [*states[: count - 1], ledger]
        while (job := trial_ledger.next_job(ledger, halving)) is not None:
            if job.begin(halving):
                uses.append(((job.trial, job.rung - 1), len(later)))
            ledger = trial_ledger.rate(ledger, job, random.random())
            later.append(ledger)
        uses += [
            ((trial, len(rungs) - 1), len(later))
            for trial in trial_ledger.finalists(ledger, halving)
        ]
        needed = [trial_ledger.needed(state, halving) for state in later]
        for (trial, rung), end in uses:
            rated = [not np.isnan(state.ratings[trial, rung]) for state in later[:end]]
            assert all((trial, rung) in needed[n] for n in range(rated.index(True), end))
        uses.clear()
        assert max(map(len, needed)) == trial_ledger.count_needed(halving)
        assert {*needed[-1]} == {
            (t, len(rungs) - 1) for t in trial_ledger.finalists(ledger, halving)
        }


def test_ties_go_to_the_earlier_cell_and_cells_without_a_rating_do_not_count():
    assert trial_ledger.best(np.array([0.5, np.nan, 0.5, 0.6]), 3) == [3, 0, 2]
    assert trial_ledger.best(np.array([np.nan, np.nan]), 2) == []


def test_no_job_begins_as_long_as_cells_are_asked_for():
    ledger = filled(HALVING, [0.1, 0.2])._replace(is_full=np.int32(0))
    assert trial_ledger.next_job(ledger, HALVING) is None


def test_the_front_has_the_cells_of_the_space_that_was_searched():
    space = DARTS._replace(num_nodes=7, operations=DARTS.operations[:3])
    cell = genotype.random_genotype(0, space)
    ledger = trial_ledger.new_ledger(HALVING, space)
    ledger = trial_ledger.add(ledger, architecture.from_genotype(cell, space), 0.0, 1)
    ledger = trial_ledger.rate(ledger, Job(0, 0, 0), 0.5)
    plan = SimpleNamespace(search=SimpleNamespace(space=space), halving=HALVING)
    front = pareto_set(plan, ledger)
    assert front["cell_0"]["genotype"] == cell._asdict()
