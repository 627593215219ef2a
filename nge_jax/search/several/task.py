"""Several searches in one: a task of the loop whose parts are the searches of `search.seeds` and `search.edge_models`.

What each search draws, records and ends with is its own task's (`search.task`), given its state out of the common one
(`side_by_side`). So each does what the search of its seed and edge model alone does, and its folder ends up as that
one's workdir.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nge_jax.data import small
from nge_jax.devices import parallel
from nge_jax.devices.finite import NotFinite
from nge_jax.devices.parallel import Batches
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.runtime.loop import EpochEnd, Part, Task, Work
from nge_jax.search import build as search_build
from nge_jax.search import images as search_images
from nge_jax.search import record as search_record
from nge_jax.search import task as search_task
from nge_jax.search.build import Search
from nge_jax.search.several import mapping
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.task import SearchResult
from nge_jax.settings import configs
from nge_jax.space.nas_bench_201 import AccuracyTable
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import Member


class Single(NamedTuple):
    """One of the searches.

    config: that which it would have alone.
    search: its halves are its own, so is of several edge models the one; its phases those of all.
    path: its folder.
    """

    config: ConfigDict
    search: Search
    path: Path


def split(
    config: ConfigDict, search: Search, data: small.SmallDataset, path: Path
) -> dict[Member, Single]:
    """Makes the searches of a config that makes several; `search`, `path`: of all of them."""
    models, singles = search_build.make_edge_models(config), {}
    own_models = {name: mapping.one_of(models, n) for n, name in enumerate(models)}
    for member in artifacts.members(config.search, config.seed):
        own = config.copy_and_resolve_references()
        own.seed, own.search.seeds, own.search.edge_models = member.seed, (), ()
        its = search._replace(halves=search_images.split_halves(own, data))
        if member.edge_model:
            own.search.edge_model = member.edge_model
            its = its._replace(edge_model=own_models[member.edge_model])
        singles[member] = Single(own, its, path / member.folder)
    return singles


def make_task(
    config: ConfigDict, search: Search, data: small.SmallDataset, singles: Mapping[Member, Single]
) -> Task:
    """Makes what the loop runs; of each search `search.task.make_task` does."""
    streams = search_images.streams(config, data)
    if not streams:  # on the devices once for all
        images, labels = parallel.replicated((data.train_images, data.train_labels))
        data = data._replace(train_images=images, train_labels=labels)
    tasks = [search_task.make_task(own, its, data, path) for own, its, path in singles.values()]
    folders = [single.path.name for single in singles.values()]
    keys = jnp.stack([task.key[0] for task in tasks])
    states = mapping.stacked([task.state for task in tasks])
    numbers, models = search.numbers, [*config.search.edge_models]
    if models:
        number = [models.index(member.edge_model) for member in singles]
        numbers = numbers._replace(edge_model=np.array(number, np.int32))
    state, key = parallel.replicated((states, (keys, numbers)))
    tasks = [task._replace(state=None) for task in tasks]

    def states_of(state):
        return [mapping.of_search(state, number) for number in range(len(tasks))]

    def batches(epoch, name, spans, state):
        of_each = zip(tasks, states_of(state), strict=True)
        dispatches = [task.batches(epoch, name, spans, own) for task, own in of_each]
        return (_joined(works, streams) for works in zip(*dispatches, strict=True))

    def end_epoch(epoch, step, state):
        ends = []
        for member, task, own in zip(singles, tasks, states_of(state), strict=True):
            try:
                end = task.end_epoch(epoch, step, own)
            except NotFinite as error:
                raise NotFinite(f"{error} of {member}") from error
            if task.skipped is not None:
                end.row["skipped_updates"] = task.skipped(own)
            ends.append(end)
        history = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[e.state.history for e in ends])
        sums = jax.tree.map(jnp.zeros_like, state.sums)  # as each of them begins the next epoch
        rows = [end.row for end in ends]
        named = dict(zip(singles, rows, strict=True))
        ends_of = zip(singles, ends, strict=True)
        two_epochs = {m: search_record.latest(e.state.history, epoch) for m, e in ends_of}
        return EpochEnd(
            state=state._replace(history=history, sums=sums),
            row=search_record.row_of_several(rows),
            notes=[*search_record.warnings_of_several(named, two_epochs, search.space)],
            parts={f: Part(e.row, e.arrays) for f, e in zip(folders, ends, strict=True)},
        )

    def skipped(state):
        of_each = zip(tasks, states_of(state), strict=True)
        return max(task.skipped(own) for task, own in of_each if task.skipped is not None)

    return tasks[0]._replace(
        state=state,
        key=key,
        batch_size=len(tasks) * config.search.batch_size,
        batches=batches,
        end_epoch=end_epoch,
        columns=search_record.make_columns_of_several(search.relaxation, search.space),
        compile=lambda state: search_task.compile_ahead(search.phases, batches, key, state),
        numbers=lambda state: state,
        skipped=skipped if tasks[0].skipped is not None else None,
        settings=configs.to_values(config),
    )


def first_state(state: SearchState) -> SearchState:
    """Returns the first search's of a state of several."""
    return mapping.of_search(state, 0)


def conclude(
    singles: Mapping[Member, Single],
    data: small.SmallDataset,
    state: SearchState,
    table: AccuracyTable | None,
) -> dict[Member, SearchResult]:
    """Does for each search what `search.task.conclude` does, and saves its last state, as it has it alone."""
    score, results = search_task.make_score(next(iter(singles.values())).search), {}
    for number, (member, (config, search, path)) in enumerate(singles.items()):
        own = mapping.of_search(state, number)
        results[member] = search_task.conclude(
            config, search, data, own, path, score=score, table=table
        )
        own = mapping.alone(own, member.edge_model)
        with Checkpoints(path / artifacts.CHECKPOINTS, config.run.keep_checkpoints) as checkpoints:
            if checkpoints.latest_step() != (step := int(own.step)):
                checkpoints.save(step, own)
    return results


def together(results: Mapping[Member, SearchResult], path: Path) -> SearchResult:
    """Makes one result of those of all searches in the workdir `path`."""
    of_models: dict[str, dict[int, SearchResult]] = {}
    for member, result in results.items():
        of_models.setdefault(member.edge_model, {})[member.seed] = result
    first = next(iter(results.values()))._replace(workdir=path)
    if "" in of_models:
        return first._replace(of_seeds=of_models[""])
    return first._replace(of_models=of_models)


def _joined(works: tuple[Work, ...], streams: bool) -> Work:
    """Makes one dispatch's work of that of each search, which are of the same rows."""
    (_, first, last), *_ = works

    def join(*leaves):
        is_batches = isinstance(leaves[0], Batches)
        return _join_batches(leaves, streams) if is_batches else jnp.stack(leaves)

    each = [work[0] for work in works]
    return jax.tree.map(join, *each, is_leaf=lambda leaf: isinstance(leaf, Batches)), first, last


def _join_batches(parts: Sequence[Batches], streams: bool) -> Batches:
    """Puts the batches of all searches side by side.

    They share the images; where a dispatch's are streamed those of all follow each other, and the indices move up.
    """
    images, labels, _ = parts[0]
    step = 0
    if streams:
        step = len(images)
        images = parallel.replicated(jnp.concatenate([part.images for part in parts]))
        labels = parallel.replicated(jnp.concatenate([part.labels for part in parts]))
    indices = [part.indices + number * step for number, part in enumerate(parts)]
    return Batches(images, labels, np.stack(indices, axis=1))
