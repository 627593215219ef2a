"""A search as the loop runs it (`runtime.loop.Task`), and what it ends with."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nge_jax import files
from nge_jax.data import order as data_order
from nge_jax.data import small, source
from nge_jax.devices import distributed, finite, parallel
from nge_jax.devices.finite import NotFinite
from nge_jax.devices.parallel import Batches
from nge_jax.embedding import EdgeModel
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime.loop import EpochEnd, Phase, Program, Task, Work
from nge_jax.search import build as search_build
from nge_jax.search import images as search_images
from nge_jax.search import random_cells
from nge_jax.search import record as search_record
from nge_jax.search.build import Search
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.search.steps import visible_state
from nge_jax.search.steps.gradient import SearchState
from nge_jax.settings import configs
from nge_jax.space import architecture, nas_bench_201, skips
from nge_jax.space.cell import Cell, derive, operation_counts, space_of, to_json
from nge_jax.space.mixture import operation_probs, strengths
from nge_jax.workdir import artifacts

Score = Callable[..., np.ndarray]  # of `strategy_steps.make_score`


class SearchResult(NamedTuple):
    """What a search ends with.

    genotype: the cells; of NAS-Bench-201 the cell in its notation.
    probabilities: P after the last epoch, [C, E, O]: [2, 14, 7] in the paper's space.
    workdir: holds all else.
    accuracies: of a cell of NAS-Bench-201, from its table, see `nas_bench_201.accuracies`; None without a table.
    of_seeds: of the searches of `search.seeds`, each one's by its seed. The fields above are then those of the first,
      but for the workdir, which is that of all.
    of_models: with `search.edge_models` instead of `of_seeds`: each one's by its edge model, then by its seed.
    """

    genotype: Cell
    probabilities: np.ndarray
    workdir: Path
    accuracies: dict[str, dict[str, float | None]] | None = None
    of_seeds: Mapping[int, "SearchResult"] = MappingProxyType({})
    of_models: Mapping[str, Mapping[int, "SearchResult"]] = MappingProxyType({})

    def __repr__(self) -> str:
        parts = [str(self.workdir)]
        for cell_type in space_of(self.genotype).cell_types:
            counts = operation_counts(self.genotype, cell_type).items()
            parts.append(f"{cell_type}: {', '.join(f'{n} {name}' for name, n in counts if n)}")
        if self.of_models:
            parts.append(f"the first of the edge models {', '.join(self.of_models)}")
        if self.of_seeds:
            parts.append(f"the first of the seeds {', '.join(map(str, self.of_seeds))}")
        return f"SearchResult({'; '.join(parts)})"


def make_task(config: ConfigDict, search: Search, data: small.SmallDataset, path: Path) -> Task:
    """Makes what the loop runs: epochs of the search's phases, whose ends are recorded in the workdir `path`."""
    epochs = config.search.epochs
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = gradient_steps.init_state(
        search.net, search.edge_model, search.optimizer, epochs, init_key
    )
    # With NaN and infinity a strategy begins what it does not know yet.
    is_known = jax.tree.map(lambda leaf: np.isfinite(np.asarray(leaf)).all(), state.params)
    state, key = parallel.replicated((state, (key, search.numbers)))
    train_images, train_labels = data.train_images, data.train_labels
    streams = search_images.streams(config, data)
    if not streams:
        train_images, train_labels = parallel.replicated((train_images, train_labels))
    read_probs = functools.partial(_read_probs, search.edge_model)
    weight_steps = next(p.steps for p in search.phases if p.name != EMBEDDING)

    def draw_batches(group, epoch, steps):
        # Two epochs of the order's stream for one of the search: each half has an order of its own.
        number = 2 * epoch + (group == EMBEDDING)
        order = _order(config, search.halves[group], number, steps)
        return Batches(train_images, train_labels, order)

    def epoch_batches(epoch, name, state):
        if name == EMBEDDING:
            return draw_batches(EMBEDDING, epoch, search.phases[-1].steps)
        weight_batches = draw_batches(WEIGHTS, epoch, weight_steps)
        if name == WEIGHTS:
            # P is held for the epoch; what the embedding learns in it counts from the next one on.
            return read_probs(state), weight_batches
        return weight_batches, draw_batches(EMBEDDING, epoch, weight_steps)

    def batches(epoch, name, spans, state):
        work = epoch_batches(epoch, name, state)
        if streams:
            return ((_gathered(config, work, a, b), 0, b - a) for a, b in spans)
        return ((work, first, last) for first, last in spans)

    def end_epoch(epoch, step, state):
        history = _record_probs(state.history, epoch, read_probs(state))
        state = state._replace(history=history)
        if not all(np.isfinite(np.asarray(leaf)[epoch]).all() for leaf in jax.tree.leaves(history)):
            raise NotFinite("P")
        # The epoch's last step's; the schedule counts steps of the weights alone.
        rate = float(np.asarray(search.numbers.rate(epoch * weight_steps - 1)))
        evaluated = None if search.strategy is None else state.params[EMBEDDING].evaluated()
        row = search_record.epoch_metrics(state, epoch, rate, evaluated, search.space)
        row |= search.relaxation.record(epoch)
        if distributed.is_first():
            so_far = jax.tree.map(lambda leaf: np.asarray(leaf)[: epoch + 1], history)
            artifacts.write_architecture(path, so_far, search.space)
            if evaluated is not None:
                artifacts.write_history(path, *evaluated)
        # The next epoch counts anew.
        state = state._replace(sums=jax.tree.map(jnp.zeros_like, state.sums))
        last = np.asarray(operation_probs(history))[epoch]
        probs = dict(zip(search.space.cell_types, last, strict=True))
        derived_from = search_record.latest(history, epoch) if search.strategy is None else None
        notes = [*search_record.warnings(row, derived_from, search.space)]
        if epoch < epochs and ended(state):
            notes.append(f"stopped after epoch {epoch} of {epochs} by search.stop_on_skips")
        arrays = {f"P/{cell_type}": p for cell_type, p in probs.items()}
        return EpochEnd(state, row, notes=notes, arrays=arrays)

    def ended(state):
        count = skips.count_skips(_leader(search, state), search.space)
        return count >= config.search.stop_on_skips > 0

    def numbers(state):
        known = jax.tree.map(lambda leaf, known: leaf if known else None, state.params, is_known)
        return state._replace(params=known)

    def skipped(state):
        asked = 0 if search.strategy is None else int(state.params[EMBEDDING].asked)
        asked += search_build.count_held_steps(config, search.phases, int(state.step))
        return int(state.step) - asked - finite.updates_made(state.opt_state)

    return Task(
        state=state,
        key=key,
        phases=search.phases,
        total_steps=epochs * sum(phase.steps * phase.updates for phase in search.phases),
        batch_size=config.search.batch_size,
        batches=batches,
        end_epoch=end_epoch,
        columns=search_record.make_columns(search.strategy, search.relaxation, search.space),
        save_epochs=True,
        compile=functools.partial(compile_ahead, search.phases, batches, key),
        numbers=numbers,
        skipped=skipped if config.run.skip_nonfinite else None,
        ended=ended if config.search.stop_on_skips else None,
        settings=configs.to_values(config),
        seen=lambda state: visible_state.seen(state, search.phases[-1].steps),
    )


def compile_ahead(
    phases: Sequence[Phase], batches: Callable[..., Iterator[Work]], key: Any, state: SearchState
) -> list[Program]:
    """Returns the programs of all phases; the others are of the task, see `Task`."""
    rows = phases[-1].steps
    arguments = []
    for phase in phases:
        work, *_ = next(batches(0, phase.name, [(0, 1)], state))
        arguments.append((visible_state.seen(state, rows), work, key, 0, 0))
    programs = parallel.compile_ahead([phase.program for phase in phases], arguments)
    return [visible_state.of_whole(program, rows) for program in programs]


@functools.partial(jax.jit, static_argnums=0)
def _read_probs(edge_model: EdgeModel, state: SearchState) -> Any:
    return edge_model.probs(state.params[EMBEDDING])


@jax.jit  # one program for all epochs; each would else compile, and keep, one of its own
def _record_probs(history: Any, epoch: int, probs: Any) -> Any:
    return jax.tree.map(lambda h, p: h.at[epoch].set(p), history, probs)


def make_score(search: Search) -> Score:
    """Makes what tells how cells do in the search's weights."""
    return strategy_steps.make_score(random_cells.of_one_cell(search.net), search.preprocessing)


def conclude(
    config: ConfigDict,
    search: Search,
    data: small.SmallDataset,
    state: SearchState,
    path: Path,
    *,
    score: Score,
    table: nas_bench_201.AccuracyTable | None = None,
) -> SearchResult:
    """Derives what the search ends with of its last state; writes all of it but the report.

    Args:
      config, search, data, path: as of `make_task`.
      state: that the search ends with.
      score: of `make_score`.
      table: tells how a cell of NAS-Bench-201 trains.
    """
    # A search that its skip connections have stopped leaves the epochs behind as zeros.
    history = np.asarray(operation_probs(state.history))[: _epochs_done(search, state) + 1]
    truth = None if table is None else search_record.true_accuracies(table, history)
    cell = _choose(config, search, data, state, path, score)
    if distributed.is_first():
        files.write_atomically(path / artifacts.GENOTYPE, to_json(cell))
        if truth is not None:
            artifacts.write_json(path / artifacts.ACCURACIES, truth)
    return SearchResult(cell, history[-1], path, truth and truth["found"])


def _choose(
    config: ConfigDict,
    search: Search,
    data: small.SmallDataset,
    state: SearchState,
    path: Path,
    score: Score,
) -> Cell:
    """Returns the cell that a search ends with; history.npz and random_cells.json tell who competed."""
    drawn = functools.cache(lambda: _final_batches(config, search, data))
    if search.strategy is None:
        cell = _leader(search, state, config.search.max_skips)
    else:
        cells, accuracies = strategy_steps.choose(
            score,
            state,
            drawn(),
            count=config.final.candidates,
            policy=config.search.strategy == "reinforce",
        )
        if distributed.is_first():
            history = state.params[EMBEDDING].evaluated()
            artifacts.write_history(path, *history, candidates=cells, accuracies=accuracies)
        cell = architecture.to_genotype(cells[accuracies.argmax()])
    count, record = config.run.random_cells, path / artifacts.RANDOM_CELLS
    # A search that had ended before has it; every process looks before the first one writes.
    if count and not record.exists():
        weights = state.params[WEIGHTS]
        beside = random_cells.compare(search.net, score, weights, drawn(), cell, count)
        if distributed.is_first():
            artifacts.write_json(record, beside)
    return cell


def _final_batches(config: ConfigDict, search: Search, data: small.SmallDataset) -> Batches:
    """Draws the batches of the validation half on which cells are compared when the search has ended."""
    # The first number of the order's stream that no epoch has used.
    number, half = 2 * config.search.epochs, search.halves[EMBEDDING]
    steps = min(random_cells.BATCHES, len(half) // config.search.batch_size)
    if search.strategy is not None:
        steps = config.final.batches
    order = _order(config, half, number, steps)
    batches = Batches(data.train_images, data.train_labels, order)
    if search_images.streams(config, data):
        return source.gathered(batches, 0, steps, steps)
    images, labels = parallel.replicated((data.train_images, data.train_labels))
    return Batches(images, labels, order)


def _gathered(config: ConfigDict, work: Any, first: int, last: int) -> Any:
    """Puts on the devices what a dispatch's steps use of the images that are on the host."""
    return jax.tree.map(
        lambda leaf: (
            source.gathered(leaf, first, last, config.run.steps_per_dispatch)
            if isinstance(leaf, Batches)
            else leaf
        ),
        work,
        is_leaf=lambda leaf: isinstance(leaf, Batches),
    )


def _epochs_done(search: Search, state: SearchState) -> int:
    return int(state.step) // sum(phase.steps * phase.updates for phase in search.phases)


def _leader(search: Search, state: SearchState, max_skips: int | None = None) -> Cell:
    """Derives the cell that the last whole epoch's P favors, with no more skip connections than asked for."""
    done = _epochs_done(search, state)
    last = strengths(jax.tree.map(lambda leaf: np.asarray(leaf)[done], state.history))
    if max_skips is None:
        return derive(last, search.space)
    return skips.derive(last, search.space, max_skips)


def _order(config: ConfigDict, half: np.ndarray, number: int, steps: int) -> np.ndarray:
    """Returns this process's part of an epoch's order of a half: indices of images, see `Batches`."""
    batch_size = config.search.batch_size
    order = data_order.epoch_order(config.seed, number, len(half), steps, batch_size)
    return parallel.by_device(half[order])
