"""The search runner: Algorithm 1 of the paper, from a config to a genotype and a report.

    for every epoch:
        P <- edge model (X, Thetas)
        for every batch of the training half:     update w by the gradient of the loss under P, held
        for every batch of the validation half:   update X, Thetas by the gradient of the loss, through P
    the genotype: of every inner node the two strongest edges with their strongest operations

`search.alternation="batch"` updates both for every pair of batches instead, as DARTS does. `search.strategy`, other
than "gradient", keeps this loop and puts other steps into it: see `strategy_steps`. `search.relaxation` says how the
gradient's steps mix operations under P.
"""

import functools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nge_jax import cost
from nge_jax.cost import parts_table
from nge_jax.data import order as data_order
from nge_jax.data import small, source
from nge_jax.data import spec as dataset_spec
from nge_jax.data.checks import check_complete
from nge_jax.data.own import OwnImages
from nge_jax.data.spec import LARGE
from nge_jax.errors import InputError
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.report import search as search_report
from nge_jax.runtime import (
    artifacts,
    banner,
    distributed,
    finite,
    loop,
    metrics_log,
    parallel,
    workdir,
)
from nge_jax.runtime import config as config_checks
from nge_jax.runtime.artifacts import Size
from nge_jax.runtime.finite import NotFinite
from nge_jax.runtime.lock import holds_workdir
from nge_jax.runtime.loop import EpochEnd, Task
from nge_jax.runtime.parallel import Batches
from nge_jax.runtime.progress import waiting
from nge_jax.search import build as search_build
from nge_jax.search import checks as search_checks
from nge_jax.search import gradient_steps, parts, random_cells, strategy_steps
from nge_jax.search import record as search_record
from nge_jax.search.build import Search, build, make_net
from nge_jax.search.gradient_steps import SearchState
from nge_jax.space import architecture, found, nas_bench_201, skips
from nge_jax.space.found import Found
from nge_jax.space.genotype import Genotype
from nge_jax.space.mixture import operation_probs, strengths
from nge_jax.space.spaces import SPACES


class SearchResult(NamedTuple):
    """What a search ends with.

    genotype: the cells; of NAS-Bench-201 the cell in its notation.
    probabilities: P after the last epoch, [C, E, O]: [2, 14, 7] in the paper's space.
    workdir: holds all else.
    accuracies: of a cell of NAS-Bench-201, from its table, see `nas_bench_201.accuracies`; None without a table.
    """

    genotype: Found
    probabilities: np.ndarray
    workdir: Path
    accuracies: dict[str, dict[str, float | None]] | None = None


@holds_workdir
def run(
    config: ConfigDict,
    path: str | Path,
    *,
    overwrite: bool = False,
    images: OwnImages | None = None,
) -> SearchResult:
    """Searches a cell in the workdir `path`, or goes on where it stopped, and reports.

    Args:
      config: of a search.
      path: the workdir.
      overwrite: removes the results of an earlier run.
      images: of `build.open_own`, where a user's own are open by now.

    Raises:
      InputError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    check_complete(config, "search")
    if images is None and search_build.leaves_open(config):
        images = search_build.open_own(config)
    config = search_build.resolve(config, images)
    search_checks.check(config)
    path = Path(path)
    banner.show(banner.device())
    with waiting("reading the data"):
        data = search_build.load_data(config, images)
    files = {}
    if search_build.is_own(config):
        data, files = _recognize(config, data, path, overwrite=overwrite)
    search_checks.check_data(config, data)
    table = _load_table(config)
    search = build(config, data)
    path = workdir.begin(path, config_checks.to_values(config), overwrite=overwrite, files=files)

    _show_plan(config, search, data)
    with waiting("making the supernet"):
        task = make_task(config, search, data, path)
    banner.show(_describe_net(config, task.state))
    state = loop.run(
        task,
        path,
        checkpoint_every_steps=config.run.checkpoint_every_steps,
        keep_checkpoints=config.run.keep_checkpoints,
        steps_per_dispatch=config.run.steps_per_dispatch,
        skip_nonfinite=config.run.skip_nonfinite,
    )
    del task  # and with it the images on the devices, where choosing the cell may put them anew
    # A search that its skip connections have stopped leaves the epochs behind as zeros.
    history = np.asarray(operation_probs(state.history))[: _epochs_done(search, state) + 1]
    truth = None if table is None else search_record.true_accuracies(table, history)
    with waiting("choosing the cell"):
        genotype = choose(config, search, data, state, path)
    result = SearchResult(
        genotype=genotype,
        probabilities=history[-1],
        workdir=path,
        accuracies=truth and truth["found"],
    )
    if distributed.is_first():
        text = found.to_json(result.genotype)
        artifacts.write_atomically(path / artifacts.GENOTYPE, text)
        if truth is not None:
            artifacts.write_json(path / artifacts.ACCURACIES, truth)
        print(text, flush=True)
        loop.finish(path, report)
        if isinstance(result.genotype, Genotype):
            print(f"to train this cell: {_train_command(config, path)}")
        elif truth is not None:
            print(search_record.accuracy_line(truth["found"]))
    return result


def _show_plan(config: ConfigDict, search: Search, data: small.SmallDataset) -> None:
    """Shows what is searched on and for how long; what of a user's own images is used has been said by then."""
    if not search_build.is_own(config):
        half = {WEIGHTS: "for the weights", EMBEDDING: "for P"}
        counts = {what: len(search.halves[group]) for group, what in half.items()}
        shape = data.train_images.shape[1:]
        banner.show(banner.data(config.data.name, data.num_classes, shape, counts))
    steps = " + ".join(f"{phase.steps * phase.updates:,}" for phase in search.phases)
    plan = config.search.epochs, steps, config.search.batch_size, config.seed
    banner.show(banner.steps(*plan), banner.TO_STOP)


def _describe_net(config: ConfigDict, state: SearchState) -> str:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params[WEIGHTS]))
    cells, channels = config.network.cells, config.network.channels
    return (
        f"network: {parameters:,} parameters of {cells} cells that begin with {channels} channels"
    )


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
    streams = search_build.streams(config, data)
    if not streams:
        train_images, train_labels = parallel.replicated((train_images, train_labels))
    read_probs = jax.jit(lambda state: search.edge_model.probs(state.params[EMBEDDING]))
    # Jitted, it is one program for all epochs; each would else compile, and keep, one of its own.
    record_probs = jax.jit(
        lambda history, epoch, probs: jax.tree.map(lambda h, p: h.at[epoch].set(p), history, probs)
    )
    weight_steps = next(p.steps for p in search.phases if p.name != EMBEDDING)
    rows = search.phases[-1].steps

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

    def compile_ahead(state):
        work = [epoch_batches(0, phase.name, state) for phase in search.phases]
        if streams:
            work = [_gathered(config, batches, 0, 1) for batches in work]
        arguments = [(parts.seen(state, rows), batches, key, 0, 0) for batches in work]
        programs = parallel.compile_ahead([phase.program for phase in search.phases], arguments)
        return [parts.of_whole(program, rows) for program in programs]

    def end_epoch(epoch, step, state):
        history = record_probs(state.history, epoch, read_probs(state))
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
        notes = [*search_record.skip_warnings(row, search.space)]
        if epoch < epochs and ended(state):
            notes.append(f"stopped after epoch {epoch} of {epochs} by search.stop_on_skips")
        last = np.asarray(operation_probs(history))[epoch]
        arrays = {f"P/{k}": p for k, p in zip(search.space.cell_types, last, strict=True)}
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
        compile=compile_ahead,
        numbers=numbers,
        skipped=skipped if config.run.skip_nonfinite else None,
        ended=ended if config.search.stop_on_skips else None,
        settings=config_checks.to_values(config),
        seen=lambda state: parts.seen(state, rows),
    )


def choose(
    config: ConfigDict, search: Search, data: small.SmallDataset, state: SearchState, path: Path
) -> Found:
    """Returns what the search ends with; history.npz and random_cells.json tell who competed."""
    score = strategy_steps.make_score(random_cells.of_one_cell(search.net), search.preprocessing)
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
    if search_build.streams(config, data):
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


def _recognize(
    config: ConfigDict, data: small.SmallDataset, path: Path, *, overwrite: bool
) -> tuple[small.SmallDataset, dict[str, str]]:
    """Compares own images with those that the workdir knows, if it holds a run.

    Returns:
      The data with the mean and the deviation to go on with, and the files by which later starts recognize it.
    """
    banner.show_notes(data.notes)
    spec, counts = search_build.make_spec(config, data), {"train": len(data.train_labels)}
    if not overwrite:
        spec = dataset_spec.agreed(path, spec, counts, data.held_out)
    files = {artifacts.DATASET: dataset_spec.to_json(spec, counts, data.held_out)}
    return data._replace(mean=spec.mean, std=spec.std), files


def _epochs_done(search: Search, state: SearchState) -> int:
    return int(state.step) // sum(phase.steps * phase.updates for phase in search.phases)


def _leader(search: Search, state: SearchState, max_skips: int | None = None) -> Found:
    """Derives the cell that the last whole epoch's P favors, with no more skip connections than asked for."""
    done = _epochs_done(search, state)
    last = strengths(jax.tree.map(lambda leaf: np.asarray(leaf)[done], state.history))
    if max_skips is None:
        return found.derive(last, search.space)
    return skips.derive(last, search.space, max_skips)


def _order(config: ConfigDict, half: np.ndarray, number: int, steps: int) -> np.ndarray:
    """Returns this process's part of an epoch's order of a half: indices of images, see `Batches`."""
    batch_size = config.search.batch_size
    order = data_order.epoch_order(config.seed, number, len(half), steps, batch_size)
    return parallel.by_device(half[order])


def report(path: str | Path) -> Path:
    """Writes the report of the search that has ended in the workdir `path`; returns report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    path = Path(path)
    counted, command = sizes(path), None
    if counted:
        artifacts.write_sizes(path, counted)
        command = _train_command(_recorded(path), path)
    page = search_report.write_search_report(path, counted, command)
    metrics_log.show_pictures(path)
    return page


def sizes(path: Path) -> list[Size]:
    """Counts networks of the cells found, the first that which the printed command trains; none of NAS-Bench-201.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    cells = artifacts.read_found(path / artifacts.GENOTYPE)
    return [*_sizes(_recorded(path), cells, path)] if isinstance(cells, Genotype) else []


def _recorded(path: Path) -> ConfigDict:
    return ConfigDict(artifacts.read_json(path / artifacts.CONFIG, ("data", "search")))


def _load_table(config: ConfigDict) -> nas_bench_201.AccuracyTable | None:
    """Reads the table that a config of NAS-Bench-201 names; None where it names none, or searches another space."""
    if config.search.space != "nas_bench_201" or not config.data.table:
        return None
    try:
        return nas_bench_201.load(Path(config.data.table).expanduser())
    except InputError as error:
        raise InputError(f"config.data.table: {error}") from None


def _train_command(config: ConfigDict, path: Path) -> str:
    command = config_checks.train_command(config.search.train_config, path / artifacts.GENOTYPE)
    if search_build.is_own(config):
        command += f" {shlex.quote(f'data.name={config.data.name}')}"
    return command


def _sizes(config: ConfigDict, cells: Genotype, path: Path) -> Iterator[Size]:
    """Yields rows of the report's table of sizes, the first for the network that the printed command trains."""
    name = config.data.name
    of_data_set, data_set = cost.cifar_cost, name
    if name in small.SHAPES:
        classes, shape = small.NUM_CLASSES[name], small.SHAPES[name]
    else:
        spec = dataset_spec.read(path)
        classes, shape, data_set = len(spec.labels), spec.shape, "these images"
        of_data_set = cost.imagenet_cost if spec.kind == LARGE else cost.cifar_cost
    networks = {(20, 36): ""}
    # A user's own is a program, and a record that names it is no reason to run it.
    if (shipped := config_checks.shipped_name(config.search.train_config)) is not None:
        network = config_checks.load_config(shipped).network
        networks = {(network.cells, network.channels): ", as the command trains it", **networks}
    for (depth, channels), what in networks.items():
        parameters, multiply_adds = of_data_set(
            cells, cells=depth, channels=channels, classes=classes, image_shape=shape
        )
        yield f"{depth} cells, {channels} channels, {data_set}{what}", parameters, multiply_adds
    parameters, multiply_adds = cost.imagenet_cost(cells)
    yield "14 cells, 48 channels, ImageNet", parameters, multiply_adds


def summary(config: ConfigDict) -> str:
    """Returns a table of the supernet that a search config trains, with all operations on every edge.

    Raises:
      InputError: the config names no data set of a search.
    """
    check_complete(config, "search")
    name = config.data.name
    opened = search_build.open_own(config) if search_build.leaves_open(config) else None
    config = search_build.resolve(config, opened)
    if search_build.is_own(config):
        images = opened or search_build.open_own(config)
        classes = len(images.names)
        shape = (config.data.image_size, config.data.image_size, images.channels)
    else:
        classes, shape = small.NUM_CLASSES[name], small.SHAPES[name]
    space = SPACES[config.search.space]
    net = make_net(config, classes, shape[-1])
    parts = cost.supernet_part_costs(net, shape, space)
    _, endpoints = jax.eval_shape(
        lambda: net.apply(
            net.init(jax.random.key(0)), jnp.zeros((1, *shape)), cost.some_choices(net, space)
        )
    )
    return parts_table(
        f"the supernet on {name}", parts, {part: endpoints.get(part) for part in parts}
    )
