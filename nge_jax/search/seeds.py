"""Several searches in one: a task of the loop whose parts are the searches of `search.seeds`, each in its folder.

What each search draws, records and ends with is its own task's (`search.task`), given its state out of the common one
(`side_by_side`). So each does what the search of its seed alone does, and its folder ends up as that one's workdir.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nge_jax.data import small
from nge_jax.runtime import artifacts, parallel
from nge_jax.runtime import config as config_checks
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.runtime.finite import NotFinite
from nge_jax.runtime.loop import EpochEnd, Part, Task, Work
from nge_jax.runtime.parallel import Batches
from nge_jax.search import images as search_images
from nge_jax.search import record as search_record
from nge_jax.search import side_by_side
from nge_jax.search import task as search_task
from nge_jax.search.build import Search
from nge_jax.search.gradient_steps import SearchState
from nge_jax.search.task import SearchResult
from nge_jax.space.nas_bench_201 import AccuracyTable


class Single(NamedTuple):
    """The search of one seed.

    config: that which it would have alone.
    search: its halves are its own; its phases those of all.
    path: its folder.
    """

    config: ConfigDict
    search: Search
    path: Path


def split(
    config: ConfigDict, search: Search, data: small.SmallDataset, path: Path
) -> dict[int, Single]:
    """Makes the searches of a config's seeds, by their seeds; `search`, `path`: of all of them."""
    singles = {}
    for seed in config.search.seeds:
        own = config.copy_and_resolve_references()
        own.seed, own.search.seeds = int(seed), ()
        halves = search_images.split_halves(own, data)
        folder = path / artifacts.of_seed(seed)
        singles[int(seed)] = Single(own, search._replace(halves=halves), folder)
    return singles


def make_task(
    config: ConfigDict, search: Search, data: small.SmallDataset, singles: Mapping[int, Single]
) -> Task:
    """Makes what the loop runs; of each search `search.task.make_task` does."""
    streams = search_images.streams(config, data)
    if not streams:  # on the devices once for all
        images, labels = parallel.replicated((data.train_images, data.train_labels))
        data = data._replace(train_images=images, train_labels=labels)
    tasks = [search_task.make_task(own, its, data, path) for own, its, path in singles.values()]
    folders = [single.path.name for single in singles.values()]
    keys = jnp.stack([task.key[0] for task in tasks])
    states = side_by_side.stacked([task.state for task in tasks])
    state, key = parallel.replicated((states, (keys, search.numbers)))
    tasks = [task._replace(state=None) for task in tasks]

    def states_of(state):
        return [side_by_side.of_seed(state, number) for number in range(len(tasks))]

    def batches(epoch, name, spans, state):
        of_seeds = zip(tasks, states_of(state), strict=True)
        dispatches = [task.batches(epoch, name, spans, own) for task, own in of_seeds]
        return (_joined(works, streams) for works in zip(*dispatches, strict=True))

    def end_epoch(epoch, step, state):
        ends = []
        for seed, task, own in zip(singles, tasks, states_of(state), strict=True):
            try:
                end = task.end_epoch(epoch, step, own)
            except NotFinite as error:
                raise NotFinite(f"{error} of seed {seed}") from error
            if task.skipped is not None:
                end.row["skipped_updates"] = task.skipped(own)
            ends.append(end)
        history = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[e.state.history for e in ends])
        sums = jax.tree.map(jnp.zeros_like, state.sums)  # as each of them begins the next epoch
        rows = [end.row for end in ends]
        named = dict(zip(singles, rows, strict=True))
        return EpochEnd(
            state=state._replace(history=history, sums=sums),
            row=search_record.row_of_seeds(rows),
            notes=[*search_record.skip_warnings_of_seeds(named, search.space)],
            parts={f: Part(e.row, e.arrays) for f, e in zip(folders, ends, strict=True)},
        )

    def skipped(state):
        of_seeds = zip(tasks, states_of(state), strict=True)
        return max(task.skipped(own) for task, own in of_seeds if task.skipped is not None)

    return tasks[0]._replace(
        state=state,
        key=key,
        batch_size=len(tasks) * config.search.batch_size,
        batches=batches,
        end_epoch=end_epoch,
        columns=search_record.make_columns_of_seeds(search.relaxation, search.space),
        compile=lambda state: search_task.compile_ahead(search.phases, batches, key, state),
        numbers=lambda state: state,
        skipped=skipped if tasks[0].skipped is not None else None,
        settings=config_checks.to_values(config),
    )


def first_state(state: SearchState) -> SearchState:
    """Returns the first search's of a state of several."""
    return side_by_side.of_seed(state, 0)


def conclude(
    singles: Mapping[int, Single],
    data: small.SmallDataset,
    state: SearchState,
    table: AccuracyTable | None,
) -> dict[int, SearchResult]:
    """Does for each search, by its seed, what `search.task.conclude` does, and saves its last state in its folder."""
    score, results = search_task.make_score(next(iter(singles.values())).search), {}
    for number, (seed, (config, search, path)) in enumerate(singles.items()):
        own = side_by_side.of_seed(state, number)
        results[seed] = search_task.conclude(
            config, search, data, own, path, score=score, table=table
        )
        with Checkpoints(path / artifacts.CHECKPOINTS, config.run.keep_checkpoints) as checkpoints:
            if checkpoints.latest_step() != (step := int(own.step)):
                checkpoints.save(step, own)
    return results


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
