"""Checks the config of a training, and makes the plan from it, before any array. Nothing later reads a config."""

import jax
import numpy as np
from ml_collections import ConfigDict

from nge_jax.data import small
from nge_jax.data.source import Source
from nge_jax.data.spec import SMALL
from nge_jax.errors import InputError
from nge_jax.optim import Cosine, Linear, SgdNumbers, WarmedUp
from nge_jax.settings import checks, configs
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.train import images as training_images
from nge_jax.train.arguments import DropPath, ProgramArguments
from nge_jax.train.model import make_network
from nge_jax.train.plan import Training
from nge_jax.train.step import Recipe

DECAYS = {"cosine": Cosine, "linear": lambda rate, steps: Linear(rate, 0.0, steps)}


def build(config: ConfigDict, source: Source, cells: Genotype | None = None) -> Training:
    """Makes the plan of a training.

    Args:
      config: a config that `check` accepts.
      source: the images.
      cells: the network's cells; None: the cells that the config names.

    Raises:
      InputError, GenotypeError: the config has more steps than are counted, or names no cell.
    """
    cells = genotype.load(config.genotype) if cells is None else cells
    images = config.train.images_per_epoch or source.examples["train"]
    steps_per_epoch = images // config.train.batch_size
    checks.check_steps("train.epochs", config.train.epochs, steps_per_epoch)
    recipe = Recipe(
        auxiliary_weight=config.train.auxiliary_weight,
        label_smoothing=config.train.label_smoothing,
        flip=config.data.flip,
        mean=source.spec.mean,
        std=source.spec.std,
        accumulate=config.train.accumulate,
        skip_nonfinite=config.run.skip_nonfinite > 0,
        class_weights=_class_weights(config, source),
        **_augmentation(config, source),
    )
    return Training(
        genotype=config.genotype,
        data_name=config.data.name,
        seed=config.seed,
        source=source,
        model=make_network(config, cells, source.spec.kind, len(source.spec.labels)),
        recipe=recipe,
        arguments=make_arguments(config, steps_per_epoch),
        total_steps=config.train.epochs * steps_per_epoch,
        batch_size=config.train.batch_size,
        eval_batch_size=config.run.eval_batch_size,
        skip_nonfinite=config.run.skip_nonfinite,
        init_from=config.init_from,
        settings=configs.to_values(config),
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
        weights=make_sgd_numbers(config),
        steps_per_epoch=steps_per_epoch,
        drop_path=DropPath(drop_path, total_steps) if drop_path else None,
    )


def make_sgd_numbers(config: ConfigDict) -> SgdNumbers:
    """Collects the numbers of the weights' optimizer, except for the rate."""
    return SgdNumbers(
        momentum=float(config.weights.momentum),
        weight_decay=float(config.weights.weight_decay),
        clip_norm=float(config.weights.clip_norm),
    )


def make_rate(
    decay: str, peak: float, total_steps: int, warmup_steps: int
) -> Cosine | Linear | WarmedUp:
    """Makes the learning rate of each step. It rises to `peak` in equal steps, the first above 0, then decays to 0."""
    falling = DECAYS[decay](peak, total_steps - warmup_steps)
    if not warmup_steps:
        return falling
    return WarmedUp(Linear(peak / warmup_steps - peak, peak, warmup_steps - 1), falling)


def _class_weights(config: ConfigDict, source: Source) -> tuple[float, ...] | None:
    """Returns each class's weight in the loss: the inverse of its number of images, scaled so that the mean is 1.

    Returns None if the config asks for no weights.
    """
    if config.train.class_weights == "none":
        return None
    counts = np.bincount(source.train_labels(), minlength=len(source.spec.labels))
    present = counts > 0
    weights = counts.sum() / (present.sum() * np.where(present, counts, 1))
    return tuple(np.where(present, weights, 0.0).tolist())


def check(config: ConfigDict) -> None:
    """Raises InputError if values do not go together with any data set."""
    if config.train.warmup_epochs >= config.train.epochs:
        raise InputError(
            f"config.train.warmup_epochs: found {config.train.warmup_epochs}, "
            f"expected 0 or more and less than the {config.train.epochs} epochs"
        )
    if training_images.alternates(config) and not config.data.flip:
        raise InputError(
            "config.data.alternate_flip: found True, expected False where data.flip is"
        )
    if config.data.name not in small.NUM_CLASSES:
        image_bytes = 3 * config.data.image_size**2
        check_memory(config, image_bytes * config.train.batch_size, image_bytes)


def check_devices(config: ConfigDict) -> None:
    """Raises InputError if this machine's devices and the micro-batches do not divide a batch."""
    checks.divides_among(
        "train.batch_size", config.train.batch_size, jax.device_count(), config.train.accumulate
    )


def check_memory(config: ConfigDict, batch_bytes: int, image_bytes: int) -> None:
    """Refuses more images at once than fit in this machine's memory, for data that is read during the training."""
    steps, count = config.run.steps_per_dispatch, config.run.eval_batch_size
    process_bytes = max(1, batch_bytes // jax.process_count())
    checks.fits_in_memory(
        "run.steps_per_dispatch", steps, process_bytes, "the images of a dispatch"
    )
    checks.fits_in_memory("run.eval_batch_size", count, image_bytes, "the images of a batch")


def _augmentation(config: ConfigDict, source: Source) -> dict:
    if source.spec.kind == SMALL:
        return {
            "pad": config.data.pad,
            "cutout": config.data.cutout,
            "alternate_flip": training_images.alternates(config),
        }
    return {"pad": 0, "cutout": 0, "jitter": tuple(config.data.jitter)}
