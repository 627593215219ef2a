"""Checks the config of a training, and makes the plan from it, before any array. Nothing later reads a config."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from nge_jax import optim
from nge_jax.data import small
from nge_jax.data.source import Source
from nge_jax.data.spec import SMALL
from nge_jax.errors import InputError
from nge_jax.networks.network import Network
from nge_jax.networks.parts import check as operations
from nge_jax.optim import Cosine, Linear, WarmedUp
from nge_jax.settings import checks, configs
from nge_jax.space.genotype import Genotype
from nge_jax.train import images as training_images
from nge_jax.train.arguments import DropPath, ProgramArguments
from nge_jax.train.model import check_limits, make_network
from nge_jax.train.plan import Training
from nge_jax.train.step import Recipe

DECAYS = {"cosine": Cosine, "linear": lambda rate, steps: Linear(rate, 0.0, steps)}


def build(config: ConfigDict, source: Source, cells: Genotype) -> Training:
    """Makes the plan of a training.

    Args:
      config: a config that `check` accepts.
      source: the images.
      cells: the network's cells.

    Raises:
      InputError: the config has more steps than are counted, the network is beyond a limit, or an operation from
        outside is wrong.
    """
    images = config.train.images_per_epoch or source.examples["train"]
    steps_per_epoch = images // config.train.batch_size
    checks.check_steps("train.epochs", config.train.epochs, steps_per_epoch)
    model = make_network(config, cells, source.spec.kind, len(source.spec.labels))
    held_out = source.examples["validation"]
    check_plan(config.to_dict(), model, source.spec.shape, held_out)
    return Training(
        genotype=config.genotype,
        data_name=config.data.name,
        seed=config.seed,
        source=source,
        model=model,
        recipe=make_recipe(config, source),
        arguments=make_arguments(config, steps_per_epoch),
        total_steps=config.train.epochs * steps_per_epoch,
        batch_size=config.train.batch_size,
        eval_batch_size=config.run.eval_batch_size,
        skip_nonfinite=config.run.skip_nonfinite,
        patience=config.train.patience,
        init_from=config.init_from,
        settings=configs.to_values(config),
    )


def make_recipe(config: ConfigDict, source: Source) -> Recipe:
    """Collects the constants of the program."""
    recipe = Recipe(
        auxiliary_weight=config.train.auxiliary_weight,
        label_smoothing=config.train.label_smoothing,
        pad=0,
        flip=config.data.flip,
        cutout=0,
        mean=source.spec.mean,
        std=source.spec.std,
        accumulate=config.train.accumulate,
        skip_nonfinite=config.run.skip_nonfinite > 0,
        class_weights=_class_weights(source) if config.train.class_weights != "none" else None,
        trivial_augment=config.data.trivial_augment,
        mixup=float(config.train.mixup),
        cutmix=float(config.train.cutmix),
    )
    if source.spec.kind != SMALL:
        return recipe._replace(jitter=tuple(config.data.jitter))
    return recipe._replace(
        pad=config.data.pad,
        cutout=config.data.cutout,
        alternate_flip=training_images.read_settings(config).alternate_flip,
    )


def make_arguments(config: ConfigDict, steps_per_epoch: int) -> ProgramArguments:
    """Collects the arguments of the program."""
    total_steps = config.train.epochs * steps_per_epoch
    rate = make_rate(
        config.train.decay,
        float(config.weights.learning_rate),
        total_steps,
        config.train.warmup_epochs * steps_per_epoch,
    )
    drop_path = float(config.train.drop_path)
    return ProgramArguments(
        rate=rate,
        weights=optim.weight_numbers(config.weights),
        steps_per_epoch=steps_per_epoch,
        drop_path=DropPath(drop_path, total_steps) if drop_path else None,
        averaging=float(config.weights.ema) or None,
    )


def make_rate(
    decay: str, peak: float, total_steps: int, warmup_steps: int
) -> Cosine | Linear | WarmedUp:
    """Makes the learning rate of each step. It rises to `peak` in equal steps, the first above 0, then decays to 0."""
    falling = DECAYS[decay](peak, total_steps - warmup_steps)
    if not warmup_steps:
        return falling
    return WarmedUp(Linear(peak / warmup_steps - peak, peak, warmup_steps - 1), falling)


def _class_weights(source: Source) -> tuple[float, ...]:
    """Returns each class's weight in the loss: the inverse of its number of images, scaled so that the mean is 1."""
    counts = np.bincount(source.train_labels(), minlength=len(source.spec.labels))
    present = counts > 0
    weights = counts.sum() / (present.sum() * np.where(present, counts, 1))
    return tuple(np.where(present, weights, 0.0).tolist())


def check_plan(
    settings: Mapping[str, Any], model: Network, shape: tuple[int, int, int], held_out: int | None
) -> None:
    """Refuses what is wrong with a training's network, and patience without held-out images.

    Args:
      settings: the values of a training's config, nested.
      model: the network.
      shape: of an image, [H, W, C].
      held_out: the number of images that validate; None: unknown.

    Raises:
      InputError: the network is beyond a limit, an operation from outside is wrong, or the patience is.
    """
    operations.check_cells(model.genotype, model.plan)
    check_limits("genotype", model, shape, settings["limits"])
    patience = settings["train"]["patience"]
    if patience and held_out == 0:
        raise InputError(
            f"config.train.patience: found {patience}, expected 0 without held-out images; config.data.validation "
            "holds some out"
        )


def check(config: ConfigDict, devices: int | None = None) -> None:
    """Refuses values that are wrong with every data set.

    Args:
      config: a complete config of a training.
      devices: the number of devices that divide a batch; None: no batch is divided.

    Raises:
      InputError: names the key.
    """
    if config.train.warmup_epochs >= config.train.epochs:
        raise InputError(
            f"config.train.warmup_epochs: found {config.train.warmup_epochs}, "
            f"expected 0 or more and less than the {config.train.epochs} epochs"
        )
    if training_images.read_settings(config).alternate_flip and not config.data.flip:
        raise InputError(
            "config.data.alternate_flip: found True, expected False where data.flip is"
        )
    if config.data.name not in small.NUM_CLASSES:
        image_bytes = 3 * config.data.image_size**2
        check_memory(
            config.run.steps_per_dispatch,
            config.run.eval_batch_size,
            batch_bytes=image_bytes * config.train.batch_size,
            image_bytes=image_bytes,
        )
    if devices is not None:
        batch_size, micro_batches = config.train.batch_size, config.train.accumulate
        checks.divides_among("train.batch_size", batch_size, devices, micro_batches)


def check_memory(
    steps_per_dispatch: int, eval_batch_size: int, *, batch_bytes: int, image_bytes: int
) -> None:
    """Refuses more images at once than fit in this machine's memory, for data that is read during the training.

    Args:
      steps_per_dispatch, eval_batch_size: the keys of the group `run`.
      batch_bytes: the bytes of a batch of the training, over all processes.
      image_bytes: the bytes of an image of the test.

    Raises:
      InputError: names the key.
    """
    process_bytes = max(1, batch_bytes // jax.process_count())
    for key, value, bytes_each, what in (
        ("steps_per_dispatch", steps_per_dispatch, process_bytes, "the images of a dispatch"),
        ("eval_batch_size", eval_batch_size, image_bytes, "the images of a batch"),
    ):
        checks.fits_in_memory(f"run.{key}", value, bytes_each, what)
