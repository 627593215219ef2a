"""Several searches in one task of the loop, for `search.seeds`, `search.edge_models` and `search.cost_weights`.

Each search has a task (`search.task`) that draws, records and concludes. It works on the search's part of the common
state (`mapping`). Each search thus does the same as alone, and leaves the same workdir.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.devices import distributed, parallel
from nge_jax.devices.finite import NotFinite
from nge_jax.devices.parallel import Batches
from nge_jax.optim import WEIGHTS
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.runtime.loop import EpochEnd, MemberEnd, Task, Work
from nge_jax.search import record as search_record
from nge_jax.search import task as search_task
from nge_jax.search.fronts import several
from nge_jax.search.plan import Search
from nge_jax.search.several import mapping
from nge_jax.search.several.members import model_names
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.task import SearchResult
from nge_jax.space.spaces import Space
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import Member


def make_task(search: Search, path: Path) -> Task:
    """Makes the task that the loop runs, from a task of each member; `path` is the workdir of all searches."""
    tasks = _make_tasks(search, path)
    states = mapping.stack_states([task.state for task in tasks.values()])
    keys = jnp.stack([task.key[0] for task in tasks.values()])
    state, key = parallel.replicated((states, (keys, _arguments(search))))
    tasks = {member: task._replace(state=None) for member, task in tasks.items()}

    def with_states(state):
        return zip(tasks.values(), _split_state(state, len(tasks)), strict=True)

    def batches(epoch, name, spans, state):
        dispatches = [task.batches(epoch, name, spans, alone) for task, alone in with_states(state)]
        return (
            _join_works(works, search.images.stream > 0) for works in zip(*dispatches, strict=True)
        )

    def skipped(state):
        counts = [task.skipped(alone) for task, alone in with_states(state) if task.skipped]
        return max(counts)

    first = next(iter(tasks.values()))
    return first._replace(
        state=state,
        key=key,
        batch_size=len(tasks) * search.batch_size,
        batches=batches,
        end_epoch=functools.partial(_end_epoch, tasks, search.space),
        columns=search_record.make_mean_columns(search.relaxation, search.space),
        compile=lambda state: search_task.compile_ahead(search.phases, batches, key, state),
        must_be_finite=lambda state: state,
        skipped=skipped if first.skipped is not None else None,
        settings=search.settings,
    )


def _make_tasks(search: Search, path: Path) -> dict[Member, Task]:
    """Makes the task of each search as a search alone has it."""
    shared = search.images
    if not shared.stream:  # all searches share one copy on the devices
        images, labels = parallel.replicated((shared.data.train_images, shared.data.train_labels))
        data = shared.data._replace(train_images=images, train_labels=labels)
        shared = shared._replace(data=data)
    return {
        member: search_task.make_task(plan._replace(images=shared), path / member.folder)
        for member, plan in search.members.items()
    }


def _arguments(search: Search) -> ProgramArguments:
    """Returns the arguments of the programs, with the numbers in which the searches differ."""
    arguments = search.arguments
    weights = [m.cost_weight for m in search.members if m.cost_weight is not None]
    if weights and arguments.price is not None:
        price = arguments.price._replace(weight=np.array(weights, np.float32))
        arguments = arguments._replace(price=price)
    if not (names := model_names(search.members)):
        return arguments
    numbers = [names.index(member.edge_model) for member in search.members]
    return arguments._replace(edge_model=np.array(numbers, np.int32))


def _split_state(state: SearchState, count: int) -> Iterator[SearchState]:
    return (mapping.take_search(state, number) for number in range(count))


def _end_epoch(
    tasks: Mapping[Member, Task], space: Space, epoch: int, step: int, state: SearchState
) -> EpochEnd:
    """Ends the epoch of each search, and merges the ends."""
    ends: dict[Member, EpochEnd] = {}
    states = _split_state(state, len(tasks))
    for (member, task), alone in zip(tasks.items(), states, strict=True):
        try:
            end = task.end_epoch(epoch, step, alone)
        except NotFinite as error:
            raise NotFinite(f"{error} of {member}") from error
        if task.skipped is not None:
            end.row["skipped_updates"] = task.skipped(alone)
        ends[member] = end
    histories = [end.state.history for end in ends.values()]
    history = jax.tree.map(lambda *leaves: jnp.stack(leaves), *histories)
    # Each search begins the next epoch with sums of zero.
    sums = jax.tree.map(jnp.zeros_like, state.sums)
    rows = {member: end.row for member, end in ends.items()}
    two_epochs = {
        member: search_record.latest(end.state.history, epoch) for member, end in ends.items()
    }
    # The notes of single searches do not name them. In a warm-up there are none.
    notes = any(end.notes for end in ends.values())
    return EpochEnd(
        state=state._replace(history=history, sums=sums),
        row=search_record.mean_row([*rows.values()]),
        notes=[*search_record.warnings_of_several(rows, two_epochs, space)] if notes else [],
        members={member.folder: MemberEnd(end.row, end.arrays) for member, end in ends.items()},
    )


def first_state(state: SearchState) -> SearchState:
    """Returns the first search's state from the state of several searches."""
    return mapping.take_search(state, 0)


def conclude(search: Search, state: SearchState, path: Path) -> dict[Member, SearchResult]:
    """Concludes each search (`search.task.conclude`), and saves the last state as a search alone would."""
    score, results = search_task.make_score(search), {}
    keep_checkpoints = search.settings["run"]["keep_checkpoints"]
    for number, (member, plan) in enumerate(search.members.items()):
        alone, folder = mapping.take_search(state, number), path / member.folder
        results[member] = search_task.conclude(plan, alone, folder, score)
        alone = mapping.select_model(alone, member.edge_model)
        with Checkpoints(folder / artifacts.CHECKPOINTS, keep_checkpoints) as checkpoints:
            if checkpoints.latest_step() != (step := int(alone.step)):
                checkpoints.save(step, alone)
    if any(member.cost_weight is not None for member in search.members):
        _compare_costs(search, state, results, score, path)
    return results


def _compare_costs(
    search: Search,
    state: SearchState,
    results: Mapping[Member, SearchResult],
    score: search_task.Score,
    path: Path,
) -> None:
    """Records in front.json the sizes and accuracies of the cells found and of random cells, see `fronts.several`."""
    record = path / artifacts.FRONT
    if record.exists():
        return

    def rate(cells: Sequence[Any]) -> np.ndarray:
        each = []
        for number, plan in enumerate(search.members.values()):
            weights = mapping.take_search(state, number).params[WEIGHTS]
            each.append(score(weights, search_task.final_batches(plan), cells))
        return np.mean(each, axis=0)

    found = {member.folder: result.genotype for member, result in results.items()}
    compared = several.compare(search, found, rate, search.choice.random_cells * len(found))
    if distributed.is_first():
        artifacts.write_json(record, compared)


def merge_results(results: Mapping[Member, SearchResult], path: Path) -> SearchResult:
    """Makes one result from the results of all searches in the workdir `path`."""
    groups: dict[Any, dict[int, SearchResult]] = {}
    for member, result in results.items():
        differs = member.edge_model if member.cost_weight is None else member.cost_weight
        groups.setdefault(differs, {})[member.seed] = result
    first = next(iter(results.values()))._replace(workdir=path)
    if "" in groups:
        return first._replace(of_seeds=groups[""])
    if any(member.edge_model for member in results):
        return first._replace(of_models=groups)
    return first._replace(of_weights=groups)


def _join_works(works: tuple[Work, ...], streams: bool) -> Work:
    """Makes one dispatch's work from the work of each search on the same rows."""
    (_, first, last), *_ = works

    def join(*leaves):
        is_batches = isinstance(leaves[0], Batches)
        return _join_batches(leaves, streams) if is_batches else jnp.stack(leaves)

    each = [work[0] for work in works]
    return jax.tree.map(join, *each, is_leaf=lambda leaf: isinstance(leaf, Batches)), first, last


def _join_batches(parts: Sequence[Batches], streams: bool) -> Batches:
    """Stacks the indices of all searches' batches.

    The searches share the images. If images are streamed, this function concatenates the images of all searches, and
    shifts the indices to match.
    """
    images, labels, _ = parts[0]
    step = 0
    if streams:
        step = len(images)
        images = parallel.replicated(jnp.concatenate([part.images for part in parts]))
        labels = parallel.replicated(jnp.concatenate([part.labels for part in parts]))
    indices = [part.indices + number * step for number, part in enumerate(parts)]
    return Batches(images, labels, np.stack(indices, axis=1))
