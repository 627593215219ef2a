"""The search runner: Algorithm 1 of the paper, from a config to a genotype and a report.

    for every epoch:
        P <- edge model (X, Thetas)
        for every batch of the training half:     update w by the gradient of the loss under P, held
        for every batch of the validation half:   update X, Thetas by the gradient of the loss, through P
    the genotype: of every inner node the two strongest edges with their strongest operations

`search.alternation="batch"` updates both for every pair of batches instead, as DARTS does. `search.strategy`, other
than "gradient", keeps this loop and puts other steps into it: see `supernet_search`.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nge_jax import cost
from nge_jax.cost import parts_table
from nge_jax.data import order as data_order
from nge_jax.data import small
from nge_jax.errors import arguments_as
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.report import run as report_run
from nge_jax.report.run import Size
from nge_jax.runtime import artifacts, parallel, workdir
from nge_jax.runtime import config as config_checks
from nge_jax.runtime.artifacts import MetricsLog
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.runtime.parallel import Batches
from nge_jax.runtime.progress import Progress, table_header, table_row
from nge_jax.search import checks as search_checks
from nge_jax.search import gradient_steps, strategy_steps
from nge_jax.search import record as search_record
from nge_jax.search.build import Phase, Search, build
from nge_jax.search.gradient_steps import SearchState
from nge_jax.space import genotype
from nge_jax.space.genotype import CELL_TYPES, EDGES, OPERATIONS, Genotype
from nge_jax.supernet.model import make_supernet


def run(config: ConfigDict, path: str | Path, *, overwrite: bool) -> None:
    """Searches a cell in the workdir `path`, or goes on where it stopped, and reports.

    Raises:
      InputError: the config, the data or the workdir is refused, before any compute.
    """
    search_checks.check(config)
    with arguments_as(name="config.data.name", data_dir="config.data.dir"):
        data = small.load(config.data.name, config.data.dir)
    search_checks.check_data(config, data)
    search = build(config, data)
    path = workdir.prepare(path, config, overwrite=overwrite)
    state = fit(config, search, data, path)

    found = choose(config, search, data, state, path)
    text = genotype.to_json(found)
    artifacts.write_atomically(path / artifacts.GENOTYPE, text)
    print(text)
    print(f"report: {report(path)}")
    print(f"to train this cell: {_train_command(config, path)}")


def fit(config: ConfigDict, search: Search, data: small.SmallDataset, path: Path) -> SearchState:
    """The loop: epochs of phases of dispatches, checkpoints between; returns the last state."""
    epochs, batch_size = config.search.epochs, config.search.batch_size
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = gradient_steps.init_state(
        search.net, search.edge_model, search.optimizer, epochs, init_key
    )
    state, key, images, labels = parallel.replicated(
        (state, key, data.train_images, data.train_labels)
    )
    total_steps = epochs * search.steps_per_epoch
    probs = jax.jit(lambda state: search.edge_model.probs(state.params[EMBEDDING]))

    with Checkpoints(path / artifacts.CHECKPOINTS, config.run.keep_checkpoints) as checkpoints:
        state, step = checkpoints.restore_latest(state) or (state, 0)
        metrics = MetricsLog(path, step)
        progress = Progress(total_steps * batch_size, step * batch_size)
        if step < total_steps:  # before the clocks below start
            batches = _batches(config, search, 0, images, labels, probs(state))
            search = _compiled(search, [(state, batches[p.name], key, 0, 0) for p in search.phases])
        columns = search_record.columns(search.strategy)
        progress.print(table_header(columns))
        for epoch in range(step // search.steps_per_epoch, epochs):
            # Held for the epoch; what the embedding learns in it counts from the next one on.
            batches = _batches(config, search, epoch, images, labels, probs(state))
            began, begin = time.monotonic(), step
            for phase, first, last in _dispatches(config, search, step):
                state = phase.run(state, batches[phase.name], key, first, last)
                state.step.block_until_ready()
                done = (last - first) * phase.updates
                step += done
                progress.advance(done * batch_size, f"epoch {epoch + 1}/{epochs}, {phase.name}")
                if step % search.steps_per_epoch and _is_due(config, step, done):
                    checkpoints.save(step, state)
            state = _end_epoch(state, epoch + 1, probs(state))
            row = {"epoch": epoch + 1, "step": step, "seconds": time.monotonic() - began}
            row["images_per_second"] = (step - begin) * batch_size / row["seconds"]
            # The epoch's last step's; the schedule counts steps of the weights alone.
            weight_steps = sum(p.steps for p in search.phases if p.name != EMBEDDING)
            rate = float(search.schedule((epoch + 1) * weight_steps - 1))
            told = None if search.strategy is None else state.params[EMBEDDING].told()
            row |= search_record.epoch_metrics(state, epoch + 1, rate, told)
            progress.print(table_row(columns, row))
            for warning in search_record.skip_warnings(row):
                progress.print(warning)
            artifacts.write_architecture(path, np.asarray(state.history[: epoch + 2]))
            if told is not None:
                artifacts.write_history(path, *told)
            metrics.write({k: v for k, v in row.items() if k != "skips"})
            state = _without_sums(state)
            checkpoints.save(step, state)  # never before the row
        progress.close()
        metrics.close()
    return state


def choose(
    config: ConfigDict, search: Search, data: small.SmallDataset, state: SearchState, path: Path
) -> genotype.Genotype:
    """The genotype that the search ends with; of a strategy that asks for cells also the candidates' record."""
    if search.strategy is None:
        return genotype.derive(np.asarray(state.history[-1]))
    half, steps = search.halves[EMBEDDING], config.final.batches
    # The first number of the order's stream that no epoch has used.
    order = data_order.epoch_order(
        config.seed, 2 * config.search.epochs, len(half), steps, config.search.batch_size
    )
    images, labels = parallel.replicated((data.train_images, data.train_labels))
    return strategy_steps.choose(
        config,
        search.net,
        state,
        Batches(images, labels, parallel.by_device(half[order])),
        search.inputs,
        path,
    )


def _batches(config, search, epoch, images, labels, probs):
    """The epoch's batches of each phase, by its name; orders follow from (seed, epoch, group)."""

    def of(group, steps):
        half = search.halves[group]
        # Two epochs of the order's stream for one of the search: each half has an order of its own.
        number = 2 * epoch + (group == EMBEDDING)
        order = data_order.epoch_order(
            config.seed, number, len(half), steps, config.search.batch_size
        )
        return Batches(images, labels, parallel.by_device(half[order]))

    if len(search.phases) == 1:
        (both,) = search.phases
        return {both.name: (of(WEIGHTS, both.steps), of(EMBEDDING, both.steps))}
    weights, embedding = search.phases
    return {
        weights.name: (probs, of(WEIGHTS, weights.steps)),
        embedding.name: of(EMBEDDING, embedding.steps),
    }


def _compiled(search, arguments):
    runs = parallel.compile_side_by_side([phase.run for phase in search.phases], arguments)
    phases = [phase._replace(run=run) for phase, run in zip(search.phases, runs, strict=True)]
    return search._replace(phases=tuple(phases))


def _dispatches(config, search, step) -> Iterator[tuple[Phase, int, int]]:
    """What is left of the epoch after `step`: (phase, first row, row after the last) of each dispatch."""
    done = step % search.steps_per_epoch
    for phase in search.phases:
        first = min(done // phase.updates, phase.steps)
        done -= first * phase.updates
        while first < phase.steps:
            last = min(first + config.run.steps_per_dispatch, phase.steps)
            yield phase, first, last
            first = last


def _is_due(config, step, done):
    """Whether a multiple of checkpoint_every_steps lies in the `done` steps before `step`."""
    every = config.run.checkpoint_every_steps
    return step // every > (step - done) // every


def _end_epoch(state, epoch, probs):
    return state._replace(history=state.history.at[epoch].set(probs))


def _without_sums(state):
    return state._replace(sums=jax.tree.map(jnp.zeros_like, state.sums))


def report(path: str | Path) -> Path:
    """Writes the report of the search that has ended in the workdir `path`; returns report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    path = Path(path)
    config = ConfigDict(artifacts.read_json(path / artifacts.CONFIG, ("data", "search")))
    sizes = _sizes(artifacts.read_genotype(path / artifacts.GENOTYPE), config.data.name)
    return report_run.write_search_report(path, sizes, _train_command(config, path))


def _train_command(config: ConfigDict, path: Path) -> str:
    return config_checks.train_command(config.search.train_config, path / artifacts.GENOTYPE)


def _sizes(found: Genotype, data_name: str) -> Iterator[Size]:
    """Yields rows of the report's table of sizes."""
    size = {"classes": small.NUM_CLASSES[data_name], "image_shape": SHAPES[data_name]}
    yield "20 cells, 36 channels, this data set", *cost.cifar_cost(found, **size)
    yield "14 cells, 48 channels, ImageNet", *cost.imagenet_cost(found)


SHAPES = {"digits": (8, 8, 1), "cifar10": (32, 32, 3), "cifar100": (32, 32, 3)}


def summary(config: ConfigDict) -> str:
    """The supernet that a search config trains, with all operations on every edge.

    Raises:
      InputError: the config names no data set of a search.
    """
    name = config.data.name
    config_checks.one_of("data.name", name, SHAPES)
    net = make_supernet(
        config.network.cells,
        config.network.channels,
        small.NUM_CLASSES[name],
        image_channels=SHAPES[name][-1],
    )
    parts = cost.supernet_part_costs(net, SHAPES[name])
    shapes = (len(CELL_TYPES), len(EDGES), len(OPERATIONS))
    _, endpoints = jax.eval_shape(
        lambda: net.apply(
            net.init(jax.random.key(0)), jnp.zeros((1, *SHAPES[name])), jnp.zeros(shapes)
        )
    )
    return parts_table(
        f"the supernet on {name}", parts, {part: endpoints.get(part) for part in parts}
    )
