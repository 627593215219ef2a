"""A search as the loop runs it (`runtime.loop.Task`), and the result of a search."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax import files
from nge_jax.console import banner
from nge_jax.data import order as data_order
from nge_jax.data import source
from nge_jax.devices import distributed, finite, parallel
from nge_jax.devices.finite import NotFinite
from nge_jax.devices.parallel import Batches
from nge_jax.embedding.model import EdgeModel
from nge_jax.metrics import no_sums
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime.loop import EpochEnd, Phase, Program, Task, Work
from nge_jax.search import edges, random_cells
from nge_jax.search import record as search_record
from nge_jax.search.fronts import history as pareto
from nge_jax.search.plan import Search, count_held_steps
from nge_jax.search.steps import correlation
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.steps.visible_state import visible_state, wrap_program
from nge_jax.space import architecture, sharing, skips
from nge_jax.space.budget import strongest
from nge_jax.space.cell import Cell, derive
from nge_jax.space.genotype import Genotype
from nge_jax.space.mixture import operation_probs, strengths
from nge_jax.space.nas_bench_201 import BenchCell
from nge_jax.strategies.base import History
from nge_jax.workdir import artifacts

# Rates cells, see `strategy_steps.make_score`.
Score = Callable[..., np.ndarray]


class SearchResult(NamedTuple):
    """The result of a search.

    Attributes:
      genotype: the cells found; in NAS-Bench-201 one cell in that benchmark's notation.
      probabilities: P after the last epoch, [C, E, O]: [2, 14, 7] in the paper's space.
      workdir: the folder that holds all other results.
      accuracies: a cell's accuracies in the table of NAS-Bench-201, see `nas_bench_201.accuracies`; else None.
      of_seeds: the results of the searches of `search.seeds`, by seed. The fields above then describe the first
        search, except for `workdir`, the folder of all searches.
      of_models: the results by edge model, then by seed, for a config with `search.edge_models`.
      of_weights: the results by weight, then by seed, for a config with `search.cost_weights`.
    """

    genotype: Cell
    probabilities: np.ndarray
    workdir: Path
    accuracies: dict[str, dict[str, float | None]] | None = None
    of_seeds: Mapping[int, "SearchResult"] = MappingProxyType({})
    of_models: Mapping[str, Mapping[int, "SearchResult"]] = MappingProxyType({})
    of_weights: Mapping[float, Mapping[int, "SearchResult"]] = MappingProxyType({})

    def __repr__(self) -> str:
        parts = [str(self.workdir)]
        for cell_type in self.genotype.space.cell_types:
            counts = self.genotype.operation_counts(cell_type).items()
            parts.append(f"{cell_type}: {', '.join(f'{n} {name}' for name, n in counts if n)}")
        if self.of_models:
            parts.append(f"the first of the edge models {', '.join(self.of_models)}")
        if self.of_weights:
            parts.append(f"the first of the cost weights {', '.join(map(str, self.of_weights))}")
        if self.of_seeds:
            parts.append(f"the first of the seeds {', '.join(map(str, self.of_seeds))}")
        return f"SearchResult({'; '.join(parts)})"


def make_task(search: Search, path: Path) -> Task:
    """Makes the task that the loop runs: epochs of the search's phases, recorded in the workdir `path`."""
    init_key, key = jax.random.split(jax.random.key(search.seed))
    state = gradient_steps.init_state(
        search.net,
        search.edge_model,
        search.optimizer,
        search.epochs,
        init_key,
        search.relaxation.probs,
        no_sums if search.relaxation.correlation is None else correlation.no_sums,
    )
    # A strategy keeps NaN and infinity in place of numbers that it does not know yet. The check leaves these out.
    is_known = jax.tree.map(lambda leaf: np.isfinite(np.asarray(leaf)).all(), state.params)
    state, key = parallel.replicated((state, (key, search.arguments)))
    batches = _make_batches(search)

    def must_be_finite(state):
        known = jax.tree.map(lambda leaf, known: leaf if known else None, state.params, is_known)
        return state._replace(params=known)

    return Task(
        state=state,
        key=key,
        phases=search.phases,
        total_steps=search.epochs * search.steps_per_epoch,
        batch_size=search.batch_size,
        batches=batches,
        end_epoch=functools.partial(_end_epoch, search, path),
        columns=search_record.make_columns(search.strategy, search.relaxation, search.space),
        save_epochs=True,
        compile=functools.partial(compile_ahead, search.phases, batches, key),
        must_be_finite=must_be_finite,
        skipped=functools.partial(_count_skipped, search) if search.skip_nonfinite else None,
        ended=functools.partial(_has_too_many_skips, search) if search.stop_on_skips else None,
        settings=search.settings,
        visible=lambda state: visible_state(state, search.phases[-1].steps),
    )


def _make_batches(search: Search) -> Callable[..., Iterator[Work]]:
    """Makes `(epoch, phase, spans, state) -> the work of each span`, see `Task.batches`."""
    images, labels = search.images.data.train_images, search.images.data.train_labels
    stream = search.images.stream
    if not stream:
        images, labels = parallel.replicated((images, labels))
    read_probs = functools.partial(_read_probs, search.edge_model)
    weight_steps = search.phases[0].steps

    def draw_batches(group, epoch, steps):
        # An epoch of the search uses two epochs of the stream of orders, one for each half.
        number = 2 * epoch + (group == EMBEDDING)
        return Batches(images, labels, _order(search, search.halves[group], number, steps))

    def epoch_batches(epoch, name, state):
        if name == EMBEDDING:
            return draw_batches(EMBEDDING, epoch, search.phases[-1].steps)
        weight_batches = draw_batches(WEIGHTS, epoch, weight_steps)
        if name == WEIGHTS:
            # P is fixed for the epoch (Algorithm 1). The embedding's updates count from the next epoch on.
            return read_probs(state), weight_batches
        return weight_batches, draw_batches(EMBEDDING, epoch, weight_steps)

    def batches(epoch, name, spans, state):
        work = epoch_batches(epoch, name, state)
        if stream:
            return (
                (_gathered(work, first, last, stream), 0, last - first) for first, last in spans
            )
        return ((work, first, last) for first, last in spans)

    return batches


def _end_epoch(search: Search, path: Path, epoch: int, step: int, state: SearchState) -> EpochEnd:
    """Records P and the epoch's row, and warns of known failures; see `Task.end_epoch`."""
    probs = search.relaxation.probs(_read_probs(search.edge_model, state))
    history = _record_probs(state.history, epoch, probs)
    state = state._replace(history=history)
    if not all(np.isfinite(np.asarray(leaf)[epoch]).all() for leaf in jax.tree.leaves(history)):
        raise NotFinite("P")
    evaluated = None if search.strategy is None else state.params[EMBEDDING].evaluated()
    two_epochs = search_record.latest(history, epoch)
    row = _make_row(search, epoch, state, evaluated, two_epochs)
    if distributed.is_first():
        so_far = jax.tree.map(lambda leaf: np.asarray(leaf)[: epoch + 1], history)
        artifacts.write_architecture(path, so_far, search.space)
        if evaluated is not None:
            artifacts.write_history(path, *evaluated)
    # The next epoch sums from zero.
    state = state._replace(sums=jax.tree.map(jnp.zeros_like, state.sums))
    last = np.asarray(operation_probs(history))[epoch]
    pictures = zip(search.space.cell_types, last, strict=True)
    derived_from = two_epochs if search.strategy is None else None
    notes = []
    if epoch > search.warmup_epochs:  # before, P is what it was at the start
        notes += search_record.warnings(row, derived_from, search.space)
    if epoch < search.epochs and search.stop_on_skips and _has_too_many_skips(search, state):
        notes.append(f"stopped after epoch {epoch} of {search.epochs} by search.stop_on_skips")
    arrays = {f"P/{cell_type}": p for cell_type, p in pictures}
    return EpochEnd(state, row, notes=notes, arrays=arrays)


def _make_row(
    search: Search, epoch: int, state: SearchState, evaluated: History | None, two_epochs: Any
) -> dict[str, Any]:
    """Makes the epoch's row of metrics; the arguments are those of `_end_epoch`."""
    # The learning rate of the epoch's last step. The schedule counts the steps of the weights only.
    rate = float(np.asarray(search.arguments.rate(epoch * search.phases[0].steps - 1)))
    is_distribution = search.relaxation.is_distribution
    row = search_record.epoch_metrics(
        state, epoch, rate, evaluated, search.space, is_distribution=is_distribution
    )
    row |= search.relaxation.record(epoch)
    if search.limits is not None and search.strategy is None and is_distribution:
        row |= search_record.expected_costs(state.history, epoch, search.limits, search.space)
    moved = two_epochs if is_distribution else None
    row |= edges.metrics(search.learner, state, moved, search.space)
    if search.makers.rate_parts:
        part = search.makers.rate_parts[search.settings["search"]["edge_model"]]
        row["embedding_rate"] = search.arguments.embedding["learning_rate"] * part
    return row


def _has_too_many_skips(search: Search, state: SearchState) -> bool:
    return skips.count_skips(_leader(search, state), search.space) >= search.stop_on_skips


def _count_skipped(search: Search, state: SearchState) -> int:
    """Counts the updates that were left out because they were not finite."""
    without_update = 0 if search.strategy is None else int(state.params[EMBEDDING].asked)
    without_update += count_held_steps(search.phases, search.warmup_epochs, int(state.step))
    return int(state.step) - without_update - finite.updates_made(state.opt_state)


def compile_ahead(
    phases: Sequence[Phase], batches: Callable[..., Iterator[Work]], key: Any, state: SearchState
) -> list[Program]:
    """Compiles the programs of all phases.

    Args:
      phases, batches, key: fields of the task, see `Task`.
      state: the state that the programs begin with.
    """
    rows = phases[-1].steps
    arguments = []
    for phase in phases:
        work, *_ = next(batches(0, phase.name, [(0, 1)], state))
        arguments.append((visible_state(state, rows), work, key, 0, 0))
    programs = parallel.compile_ahead([phase.program for phase in phases], arguments)
    return [wrap_program(program, rows) for program in programs]


@functools.partial(jax.jit, static_argnums=0)
def _read_probs(edge_model: EdgeModel, state: SearchState) -> Any:
    return edge_model.probs(state.params[EMBEDDING])


# One jitted function serves all epochs. Otherwise each epoch would compile, and keep, its own.
@jax.jit
def _record_probs(history: Any, epoch: int, probs: Any) -> Any:
    return jax.tree.map(lambda h, p: h.at[epoch].set(p), history, probs)


def make_score(search: Search) -> Score:
    """Makes the function that rates cells in the search's weights, see `strategy_steps.make_score`."""
    return strategy_steps.make_score(search.net.single_cell(), search.images.preprocessing)


def conclude(search: Search, state: SearchState, path: Path, score: Score) -> SearchResult:
    """Chooses the search's cell and writes all results except the report.

    Args:
      search: the plan.
      state: the last state.
      path: the workdir.
      score: see `make_score`.
    """
    # If skip connections have stopped the search, the history's later epochs are zeros.
    history = np.asarray(operation_probs(state.history))[: _epochs_done(search, state) + 1]
    cell, truth = _choose(search, state, path, score), None
    # The rows tell of the leading cell. Limits and a last comparison may choose another cell.
    banner.show(*(f"{path}: {line}" for line in sharing.constant_cells(cell)))
    if search.table is not None and isinstance(cell, BenchCell):
        truth = search_record.true_accuracies(search.table, history, cell)
    if distributed.is_first():
        files.write_atomically(path / artifacts.GENOTYPE, cell.to_json())
        if truth is not None:
            artifacts.write_json(path / artifacts.ACCURACIES, truth)
        if search.limits is not None and isinstance(cell, Genotype):
            search.limits.record_times(cell, _expected_time(search, state), path)
    return SearchResult(cell, history[-1], path, truth and truth["found"])


def _expected_time(search: Search, state: SearchState) -> float | None:
    """Returns the expected milliseconds under the last P; None without a table, or where P is no distribution."""
    is_by_gradient = search.strategy is None and search.relaxation.is_distribution
    if search.limits is None or not is_by_gradient:
        return None
    done = _epochs_done(search, state)
    costs = search_record.expected_costs(state.history, done, search.limits, search.space)
    return costs.get("expected_milliseconds")


def _derive(search: Search, state: SearchState, path: Path) -> Cell:
    """Derives the search's cell from the last P, or from an earlier one if the last P has spoiled the supernet.

    A line says where the supernet has fallen, whichever P decides.
    """
    last = _leader(search, state)
    limit, kept = search.choice.keep_best_below, None
    if limit or distributed.is_first():
        rows = artifacts.read_metrics(path / artifacts.METRICS, ("embedding_accuracy",))
        kept = sharing.fallen(rows, last, limit)
        told = sharing.not_kept(rows, last, limit) if kept is None else sharing.tell_fallen(*kept)
        if told is not None:
            banner.show(f"{path}: {told}")
    return _leader(search, state, search.choice.max_skips, kept and kept[0]["epoch"])


def _choose(search: Search, state: SearchState, path: Path, score: Score) -> Cell:
    """Returns the search's cell, and records in history.npz and random_cells.json the cells it was compared with."""
    batches = functools.cache(lambda: final_batches(search))
    choice = search.choice
    if search.strategy is None:
        cell = _derive(search, state, path)
    else:
        cells, accuracies = strategy_steps.choose(
            score,
            state,
            batches(),
            count=choice.candidates,
            policy=choice.by_policy,
            budget=search.budget,
            space=search.space,
        )
        if distributed.is_first():
            history = state.params[EMBEDDING].evaluated()
            final = {"candidates": cells, "accuracies": accuracies}
            artifacts.write_history(path, *history, space=search.space, **final)
        pareto.record(
            search,
            path,
            state.params[EMBEDDING].evaluated(),
            (cells, accuracies),
            lambda more: score(state.params[WEIGHTS], batches(), more),
        )
        cell = architecture.to_genotype(cells[accuracies.argmax()], search.space)
    record = path / artifacts.RANDOM_CELLS
    # The file exists if the search had ended before. Every process looks before the first process writes.
    if choice.random_cells and not record.exists():
        accuracies = random_cells.compare(
            search.net, score, state.params[WEIGHTS], batches(), cell, choice.random_cells
        )
        if distributed.is_first():
            artifacts.write_json(record, accuracies)
    return cell


def final_batches(search: Search) -> Batches:
    """Draws the batches of the validation half on which cells are compared when the search has ended."""
    # The first epoch of the stream of orders that the search has not used.
    number, steps = 2 * search.epochs, search.choice.batches
    order = _order(search, search.halves[EMBEDDING], number, steps)
    data = search.images.data
    batches = Batches(data.train_images, data.train_labels, order)
    if search.images.stream:
        return source.gathered(batches, 0, steps, steps)
    images, labels = parallel.replicated((batches.images, batches.labels))
    return Batches(images, labels, order)


def _gathered(work: Any, first: int, last: int, rows: int) -> Any:
    """Puts the images that a dispatch's steps use on the devices, for a data set on the host."""
    return jax.tree.map(
        lambda leaf: (
            source.gathered(leaf, first, last, rows) if isinstance(leaf, Batches) else leaf
        ),
        work,
        is_leaf=lambda leaf: isinstance(leaf, Batches),
    )


def _epochs_done(search: Search, state: SearchState) -> int:
    return int(state.step) // search.steps_per_epoch


def _leader(
    search: Search, state: SearchState, max_skips: int | None = None, epoch: int | None = None
) -> Cell:
    """Derives the cell that P favors after an epoch, with at most `max_skips` skip connections and within the limits.

    Without `max_skips` no limit counts.

    Without `epoch` it is the last whole epoch.
    """
    done = _epochs_done(search, state) if epoch is None else epoch
    last = strengths(jax.tree.map(lambda leaf: np.asarray(leaf)[done], state.history))
    if max_skips is None:
        return derive(last, search.space)
    return strongest.derive(last, search.space, max_skips, search.budget)


def _order(search: Search, half: np.ndarray, number: int, steps: int) -> np.ndarray:
    """Returns this process's part of an epoch's order of a half: indices of images, see `Batches`."""
    order = data_order.epoch_order(search.seed, number, len(half), steps, search.batch_size)
    return parallel.by_device(half[order])
