"""Several searches in one task of the loop, for the keys `search.seeds` and `search.edge_models`.

Each search has a task (`search.task`) that draws, records and concludes. It works on the search's part of the common
state (`mapping`). Each search thus does the same as alone, and leaves the same workdir.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.devices import parallel
from nge_jax.devices.finite import NotFinite
from nge_jax.devices.parallel import Batches
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.runtime.loop import EpochEnd, MemberEnd, Task, Work
from nge_jax.search import record as search_record
from nge_jax.search import task as search_task
from nge_jax.search.plan import Search
from nge_jax.search.several import mapping
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.task import SearchResult
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import Member


class SingleSearch(NamedTuple):
    """One of several searches.

    Attributes:
      search: the plan of this search, whose phases run all searches.
      path: the folder of this search.
    """

    search: Search
    path: Path


def split(search: Search, path: Path) -> dict[Member, SingleSearch]:
    """Makes the single searches of a plan of several; `path` is the workdir of all searches."""
    names = _model_names(search.members)
    models = {name: search.makers.edge_model(name) for name in names}
    slots = {name: mapping.choose_model(models, number) for number, name in enumerate(models)}
    singles = {}
    for member in search.members:
        single = search._replace(
            seed=member.seed,
            members=(),
            halves=search.divide(member.seed),
            settings=_settings_alone(search.settings, member),
        )
        if member.edge_model:
            single = single._replace(edge_model=slots[member.edge_model])
        singles[member] = SingleSearch(single, path / member.folder)
    return singles


def _model_names(members: Sequence[Member]) -> list[str]:
    return [*dict.fromkeys(member.edge_model for member in members if member.edge_model)]


def settings_of_members(settings: Mapping[str, Any], path: Path) -> dict[Path, dict[str, Any]]:
    """Returns each search's settings by the search's folder in the workdir `path`; empty for a single search."""
    members = artifacts.members(settings["search"], settings["seed"])
    return {path / member.folder: _settings_alone(settings, member) for member in members}


def _settings_alone(settings: Mapping[str, Any], member: Member) -> dict[str, Any]:
    """Returns the settings of one of several searches, as a search alone would have them."""
    alone = copy.deepcopy(dict(settings))
    alone["seed"] = member.seed
    alone["search"] |= {"seeds": [], "edge_models": []}
    if member.edge_model:
        alone["search"]["edge_model"] = member.edge_model
    return alone


def make_task(search: Search, singles: Mapping[Member, SingleSearch]) -> Task:
    """Makes the task that the loop runs, from a task of each search (`search.task.make_task`)."""
    data = search.data
    if not search.stream:  # all searches share one copy on the devices
        images, labels = parallel.replicated((data.train_images, data.train_labels))
        data = data._replace(train_images=images, train_labels=labels)
    tasks = [
        search_task.make_task(single.search._replace(data=data), single.path)
        for single in singles.values()
    ]
    keys = jnp.stack([task.key[0] for task in tasks])
    states = mapping.stack_states([task.state for task in tasks])
    arguments, names = search.arguments, _model_names([*singles])
    if names:
        numbers = [names.index(member.edge_model) for member in singles]
        arguments = arguments._replace(edge_model=np.array(numbers, np.int32))
    state, key = parallel.replicated((states, (keys, arguments)))
    tasks = [task._replace(state=None) for task in tasks]

    def with_states(state):
        return zip(tasks, _split_state(state, len(tasks)), strict=True)

    def batches(epoch, name, spans, state):
        dispatches = [task.batches(epoch, name, spans, alone) for task, alone in with_states(state)]
        return (_join_works(works, search.stream > 0) for works in zip(*dispatches, strict=True))

    def end_epoch(epoch, step, state):
        return _end_epoch(search, singles, tasks, epoch, step, state)

    def skipped(state):
        counts = [task.skipped(alone) for task, alone in with_states(state) if task.skipped]
        return max(counts)

    return tasks[0]._replace(
        state=state,
        key=key,
        batch_size=len(tasks) * search.batch_size,
        batches=batches,
        end_epoch=end_epoch,
        columns=search_record.make_mean_columns(search.relaxation, search.space),
        compile=lambda state: search_task.compile_ahead(search.phases, batches, key, state),
        must_be_finite=lambda state: state,
        skipped=skipped if tasks[0].skipped is not None else None,
        settings=search.settings,
    )


def _split_state(state: SearchState, count: int) -> Iterator[SearchState]:
    return (mapping.take_search(state, number) for number in range(count))


def _end_epoch(
    search: Search,
    singles: Mapping[Member, SingleSearch],
    tasks: Sequence[Task],
    epoch: int,
    step: int,
    state: SearchState,
) -> EpochEnd:
    """Ends the epoch of each search, and merges the ends."""
    ends = []
    states = _split_state(state, len(tasks))
    for member, task, alone in zip(singles, tasks, states, strict=True):
        try:
            end = task.end_epoch(epoch, step, alone)
        except NotFinite as error:
            raise NotFinite(f"{error} of {member}") from error
        if task.skipped is not None:
            end.row["skipped_updates"] = task.skipped(alone)
        ends.append(end)
    history = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[e.state.history for e in ends])
    # Each search begins the next epoch with sums of zero.
    sums = jax.tree.map(jnp.zeros_like, state.sums)
    ends_by_member = dict(zip(singles, ends, strict=True))
    rows = {member: end.row for member, end in ends_by_member.items()}
    two_epochs = {
        member: search_record.latest(end.state.history, epoch)
        for member, end in ends_by_member.items()
    }
    return EpochEnd(
        state=state._replace(history=history, sums=sums),
        row=search_record.mean_row([*rows.values()]),
        notes=[*search_record.warnings_of_several(rows, two_epochs, search.space)],
        members={
            singles[member].path.name: MemberEnd(end.row, end.arrays)
            for member, end in ends_by_member.items()
        },
    )


def first_state(state: SearchState) -> SearchState:
    """Returns the first search's state from the state of several searches."""
    return mapping.take_search(state, 0)


def conclude(
    singles: Mapping[Member, SingleSearch], state: SearchState, keep_checkpoints: int
) -> dict[Member, SearchResult]:
    """Concludes each search (`search.task.conclude`), and saves the last state as a search alone would."""
    score, results = search_task.make_score(next(iter(singles.values())).search), {}
    for number, (member, (search, path)) in enumerate(singles.items()):
        alone = mapping.take_search(state, number)
        results[member] = search_task.conclude(search, alone, path, score)
        alone = mapping.select_model(alone, member.edge_model)
        with Checkpoints(path / artifacts.CHECKPOINTS, keep_checkpoints) as checkpoints:
            if checkpoints.latest_step() != (step := int(alone.step)):
                checkpoints.save(step, alone)
    return results


def merge_results(results: Mapping[Member, SearchResult], path: Path) -> SearchResult:
    """Makes one result from the results of all searches in the workdir `path`."""
    by_model: dict[str, dict[int, SearchResult]] = {}
    for member, result in results.items():
        by_model.setdefault(member.edge_model, {})[member.seed] = result
    first = next(iter(results.values()))._replace(workdir=path)
    if "" in by_model:
        return first._replace(of_seeds=by_model[""])
    return first._replace(of_models=by_model)


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
