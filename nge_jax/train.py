"""The training runner: the network of a derived cell on CIFAR or digits, tested once, at the end.

Paper Sec. 4.2 gives the recipe, DARTS what the paper leaves open. Chosen here: the learning rate (cosine
to 0) and the drop-path rate (linear from 0) move with every step, in DARTS with every epoch; the images
of an epoch that do not fill a batch are left out, others each time.
"""

import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from nge_jax import genotype, optim, parallel, report, train_step, workdir
from nge_jax.checkpoint import Checkpoints
from nge_jax.cost import model_cost
from nge_jax.data import cifar
from nge_jax.errors import InputError
from nge_jax.genotype import Genotype
from nge_jax.network import Network, cifar_network
from nge_jax.parallel import Batches
from nge_jax.progress import Metrics, Progress, table_header, table_row
from nge_jax.train_step import Recipe, TrainState

AUXILIARY_SIZE = 32  # images at least: two reductions leave the head 8x8
COLUMNS = {
    "epoch": ("epoch", "d"),
    "train_loss": ("loss", ".4f"),
    "train_accuracy": ("accuracy", ".2%"),
    "learning_rate": ("rate", ".3g"),
    "images_per_second": ("images/s", ".1f"),
    "seconds": ("seconds", ".1f"),
}


class Training(NamedTuple):
    """What the config and the data set make of a training, before any array."""

    model: Network
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    recipe: Recipe


def run(config: ConfigDict, path: str | Path, *, overwrite: bool) -> None:
    """Trains `config.genotype` in the workdir `path`, or goes on where it stopped, tests and reports.

    Raises:
      InputError, GenotypeError: the config, the data or the workdir is refused, before any compute.
    """
    found = genotype.load(config.genotype)
    _check_numbers(config)
    data = cifar.load(config.data.name, config.data.dir, test=True)
    _check_data(config, data)
    if not overwrite:
        _check_cell(Path(path), config, found)
    path = workdir.prepare(path, config, overwrite=overwrite)
    workdir.write_atomically(path / "genotype.json", genotype.to_json(found))

    training = build(config, found, data)
    cost = model_cost(training.model, data.train_images.shape[1:])
    print(
        f"{config.genotype} on {config.data.name}: {cost.parameters:,} parameters, "
        f"{cost.multiply_adds:,} multiply-adds an image",
        flush=True,
    )
    fit(config, training, data, path)
    print(f"report: {report.write_train_report(path, [(config.genotype, *cost)])}")


def build(config: ConfigDict, found: Genotype, data: cifar.Dataset) -> Training:
    """The network, its optimiser and the recipe of a checked config."""
    images = config.train.images_per_epoch or len(data.train_images)
    steps_per_epoch = images // config.train.batch_size
    total_steps = config.train.epochs * steps_per_epoch
    model = cifar_network(
        found,
        cells=config.network.cells,
        channels=config.network.channels,
        classes=data.num_classes,
        auxiliary=config.train.auxiliary_weight > 0,
        dtype=jnp.dtype(config.network.dtype),
    )
    schedule = optax.cosine_decay_schedule(config.weights.learning_rate, total_steps)
    optimizer = optim.sgd(
        schedule,
        momentum=config.weights.momentum,
        weight_decay=config.weights.weight_decay,
        clip_norm=config.weights.clip_norm,
    )
    recipe = Recipe(
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        drop_path=config.train.drop_path,
        auxiliary_weight=config.train.auxiliary_weight,
        label_smoothing=config.train.label_smoothing,
        pad=config.data.pad,
        flip=config.data.flip,
        cutout=config.data.cutout,
        mean=data.mean,
        std=data.std,
    )
    return Training(model, schedule, optimizer, recipe)


def fit(config: ConfigDict, training: Training, data: cifar.Dataset, path: Path) -> TrainState:
    """The loop: dispatches of steps, checkpoints, a row of metrics an epoch; returns the last state."""
    model, schedule, optimizer, recipe = training
    batch_size, total_steps = config.train.batch_size, recipe.total_steps
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = train_step.init_state(model, optimizer, init_key, data.train_images.shape[1:])
    state, key, images, labels = parallel.replicated(
        (state, key, data.train_images, data.train_labels)
    )
    step_fn = train_step.make_train_step(model, optimizer, recipe)
    phase = parallel.on_all_devices(parallel.make_phase(step_fn))

    def batches(epoch):
        sizes = len(images), recipe.steps_per_epoch, batch_size
        order = parallel.epoch_order(config.seed, epoch, *sizes)
        return Batches(images, labels, parallel.by_device(order))

    with Checkpoints(path / workdir.CHECKPOINTS, config.run.keep_checkpoints) as checkpoints:
        state, step = checkpoints.restore_latest(state) or (state, 0)
        metrics = Metrics(path, step)
        progress = Progress(total_steps * batch_size, step * batch_size)
        if step < total_steps:  # no step yet: compiles, so that the clocks below start fair
            state = phase(state, batches(0), key, 0, 0)
        progress.print(table_header(COLUMNS))
        for epoch in range(step // recipe.steps_per_epoch, config.train.epochs):
            epoch_batches = batches(epoch)
            began, begin = time.monotonic(), step
            while step < (epoch + 1) * recipe.steps_per_epoch:
                first, last = _dispatch(config, step, recipe.steps_per_epoch)
                state = phase(state, epoch_batches, key, first, last)
                state.step.block_until_ready()
                step += last - first
                note = f"epoch {epoch + 1}/{config.train.epochs}"
                progress.advance((last - first) * batch_size, note)
                if last == recipe.steps_per_epoch:
                    seconds = time.monotonic() - began
                    row = {
                        "epoch": epoch + 1,
                        "step": step,
                        "seconds": seconds,
                        "images_per_second": (step - begin) * batch_size / seconds,
                        "train_loss": float(state.sums.loss / state.sums.count),
                        "train_accuracy": float(state.sums.correct / state.sums.count),
                        "learning_rate": float(schedule(step - 1)),  # of the epoch's last step
                    }
                    progress.print(table_row(COLUMNS, row))
                    if step == total_steps:
                        row |= final_test(config, training, state, data)
                    metrics.write(row)
                if step % config.run.checkpoint_every_steps == 0 or step == total_steps:
                    checkpoints.save(step, state)
        progress.close()
        metrics.close()
    return state


def final_test(
    config: ConfigDict, training: Training, state: TrainState, data: cifar.Dataset
) -> dict:
    """Metrics of the test split, which nothing else reads."""
    result = train_step.evaluate(
        training.model,
        state,
        data.test_images,
        data.test_labels,
        mean=data.mean,
        std=data.std,
        batch_size=config.run.eval_batch_size,
    )
    print(f"test accuracy: {result.accuracy:.2%} of {result.examples:,} images", flush=True)
    return {f"test_{name}": value for name, value in result._asdict().items()}


def _dispatch(config: ConfigDict, step: int, steps_per_epoch: int) -> tuple[int, int]:
    """The steps of the epoch that the next dispatch runs: up to its end or a checkpoint's step."""
    first = step % steps_per_epoch
    every = config.run.checkpoint_every_steps
    to_checkpoint = every - step % every
    return first, min(first + min(config.run.steps_per_dispatch, to_checkpoint), steps_per_epoch)


def _check_numbers(config: ConfigDict) -> None:
    for key, value in {
        "network.cells": config.network.cells,
        "network.channels": config.network.channels,
        "train.epochs": config.train.epochs,
        "train.batch_size": config.train.batch_size,
        "run.steps_per_dispatch": config.run.steps_per_dispatch,
        "run.checkpoint_every_steps": config.run.checkpoint_every_steps,
        "run.keep_checkpoints": config.run.keep_checkpoints,
        "run.eval_batch_size": config.run.eval_batch_size,
    }.items():
        if value < 1:
            raise InputError(f"config.{key}: found {value}, expected 1 or more")
    for key, value in {
        "train.drop_path": config.train.drop_path,
        "train.label_smoothing": config.train.label_smoothing,
    }.items():
        if not 0 <= value < 1:
            raise InputError(f"config.{key}: found {value}, expected 0 or more and less than 1")
    if config.network.dtype not in ("float32", "bfloat16"):
        found = config.network.dtype
        raise InputError(f"config.network.dtype: found {found!r}, expected float32 or bfloat16")
    devices, batch_size = jax.local_device_count(), config.train.batch_size
    if batch_size % devices:
        raise InputError(
            f"config.train.batch_size: found {batch_size}, expected a multiple of the {devices} devices"
        )


def _check_data(config: ConfigDict, data: cifar.Dataset) -> None:
    count, size = len(data.train_images), data.train_images.shape[1:3]
    images = config.train.images_per_epoch or count
    if not config.train.batch_size <= images <= count:
        raise InputError(
            f"config.train.images_per_epoch: found {config.train.images_per_epoch}, expected 0 (for all) "
            f"or from a batch of {config.train.batch_size} to the {count} images of {config.data.name}"
        )
    if config.train.auxiliary_weight > 0 and min(size) < AUXILIARY_SIZE:
        raise InputError(
            f"config.train.auxiliary_weight: found {config.train.auxiliary_weight}, expected 0 for images "
            f"under {AUXILIARY_SIZE}x{AUXILIARY_SIZE} ({config.data.name} has {size[0]}x{size[1]})"
        )


def _check_cell(path: Path, config: ConfigDict, found: Genotype) -> None:
    """The file behind `config.genotype` may have changed since the run began."""
    recorded = path / "genotype.json"
    if recorded.exists() and genotype.load(str(recorded)) != found:
        raise InputError(
            f"config.genotype: {config.genotype} differs from the cell that this workdir trains ({recorded}); "
            "choose another --workdir, or pass --overwrite to start afresh"
        )
