"""A search by trials whose cells Ray's workers train, as the loop runs it.

An epoch of the loop is a job that has ended. Jobs that run when the process is killed are lost, and begin again. With
one worker the search takes the decisions of a search without Ray.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from nge_jax.devices import parallel
from nge_jax.devices.distributed import PreemptionNotice
from nge_jax.runtime.loop import EpochEnd, Phase, Task
from nge_jax.trials import record as trial_record
from nge_jax.trials.ledger import NO_JOB, Job
from nge_jax.trials.plan import Trials
from nge_jax.trials.result import write_history
from nge_jax.trials.state import State
from nge_jax.trials.task import Director, as_task
from nge_jax.trials.trainer import rating_of
from nge_jax.trials.workers.cluster import Cluster, Ended


class Search:
    """Hands out jobs, and takes the decisions when one has ended.

    Args:
      director: takes the decisions.
      cluster: trains the cells.
    """

    def __init__(self, director: Director, cluster: Cluster):
        self._director, self._cluster = director, cluster
        self._last: tuple[Job, float, bool] = Job(0, 0, 0), 0.0, False

    def step(self, state: State, batches: Any, key: jax.Array, start: int, stop: int) -> State:
        """Waits until a job has ended, and hands out the next ones; the loop's program."""
        del batches, key, start, stop
        state = self._hand_out(jax.device_get(state))
        while (ended := self._cluster.wait()) is None:
            state = self._hand_out(state)
        state = self._hand_out(self._take(state, ended))
        if not self._cluster.running:
            state = state._replace(ledger=state.ledger._replace(job=NO_JOB))
        self._director.collect(state.ledger, int(state.step))
        return parallel.replicated(state)

    def row(self, state: State) -> tuple[dict[str, Any], list[str]]:
        """Returns the row of the job that ended last, and notes."""
        job, accuracy, diverged = self._last
        halving = self._director.plan.halving
        ledger, trial = jax.device_get((state.ledger, state.trial))
        ledger = ledger._replace(units=np.int32(job.units(halving)))
        row = trial_record.make_row(ledger, job, halving, trial, accuracy)
        return row, [trial_record.diverged_line(job)] * diverged

    def _take(self, state: State, ended: Ended) -> State:
        """Rates a job that has ended."""
        accuracy, diverged = rating_of(ended.trial, ended.accuracy)
        self._last = ended.job, accuracy, diverged
        ledger, searcher = self._director.end_job(
            ended.job, self._director.clock(state.ledger), state.searcher, ended.trial, accuracy
        )
        return State(np.int32(state.step + 1), ended.trial, searcher, ledger)

    def _hand_out(self, state: State) -> State:
        """Begins jobs as long as a worker is idle and a job can begin."""
        ledger, searcher = state.ledger, state.searcher
        while self._cluster.has_idle:
            job, ledger, searcher = self._director.next_job(ledger, searcher, self._cluster.running)
            if job is None:
                break
            goes_on = job.begin(self._director.plan.halving)
            start = self._director.kept(job, state.trial) if goes_on else None
            self._cluster.begin(job, ledger.cells[job.trial], start)
        return state._replace(ledger=ledger, searcher=searcher)


def make_task(plan: Trials, path: Path, ray: ModuleType) -> Task:
    """Makes the task that the loop runs, in the workdir `path`; `ray` is connected to a cluster."""
    director, halving = Director(plan, path), plan.halving
    notice, images = PreemptionNotice(), plan.search.images.data
    cluster = Cluster(ray, plan.search.settings, images, halving.cells, notice.given)
    search = Search(director, cluster)
    # Workers that end out of order let a few more cells go on than one worker does.
    most = halving.cells * len(halving.rungs)
    most += halving.count_on(halving.cells, len(halving.rungs)) * halving.seeds
    seen = halving.epochs(halving.cells) * plan.rating.steps_per_epoch
    seen *= plan.rating.training.batch_size

    def compile_all(state):
        cluster.compile()
        director.compile(state)
        return [search.step]

    def end_epoch(epoch, step, state):
        del epoch, step
        row, notes = search.row(state)
        write_history(plan, jax.device_get(state.ledger), path)
        return EpochEnd(state, row, notes=notes)

    return as_task(
        director,
        phases=(Phase("", search.step, 1),),
        total_steps=most,
        batch_size=max(1, seen // most),
        batches=lambda epoch, name, spans, state: iter([(None, 0, 1)] * len(spans)),
        end_epoch=end_epoch,
        compile=compile_all,
        notice=notice,
    )
