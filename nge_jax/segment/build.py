"""Checks the config of a segmentation, and makes the plan from it, before any array. Nothing later reads a config."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from nge_jax.data.source import Source, segmented
from nge_jax.data.voc_segmentation import batches as voc
from nge_jax.data.voc_segmentation import devkit
from nge_jax.errors import InputError, arguments_as
from nge_jax.networks.parts import check as operations
from nge_jax.optim import Linear, weight_numbers
from nge_jax.segment.plan import Segmentation
from nge_jax.settings import checks, configs
from nge_jax.space.genotype import Genotype
from nge_jax.train import build as train_build
from nge_jax.train.arguments import ProgramArguments
from nge_jax.train.model import make_network


def open_source(config: ConfigDict, labels: Sequence[str] | None = None) -> Source:
    """Opens the data set of a checked config, and prepares it first if necessary.

    Args:
      config: the segmentation's config.
      labels: the network's classes; a devkit may list a part of them, in any order.

    Raises:
      InputError: the data set is not prepared and has no devkit to prepare it from, or does not suit the config.
    """
    with arguments_as(folder="config.data.devkit", data_dir="config.data.dir"):
        data = voc.load(config.data.devkit, config.data.dir, labels)
    if config.train.batch_size > data.train_examples:
        raise InputError(
            f"config.train.batch_size: found {config.train.batch_size}, expected no more than the "
            f"{data.train_examples} images to train on"
        )
    with arguments_as(size="config.data.test_size"):
        voc.check_test_size(data, config.data.test_size)
    return segmented(
        data,
        seed=config.seed,
        batch_size=config.train.batch_size,
        steps_per_dispatch=config.run.steps_per_dispatch,
        crop=config.data.crop,
        test_size=config.data.test_size,
    )


def count_classes(folder: str) -> int:
    """Counts the classes that the devkit in a folder lists; VOC's 21 if there is no devkit, or if it lists none.

    Raises:
      InputError: the file with the classes' names is refused.
    """
    root = devkit.look_for(folder) if folder else None
    names = devkit.own_classes(root) if root is not None else None
    return len(devkit.CLASSES if names is None else names)


def build(config: ConfigDict, source: Source, cells: Genotype) -> Segmentation:
    """Makes the plan of a segmentation's training.

    Args:
      config: a config that `check` accepts.
      source: the images.
      cells: the backbone's cells.

    Raises:
      InputError: an operation from outside is wrong.
    """
    model = make_network(config, cells, source.spec.kind, len(source.spec.labels))
    operations.check_cells(cells, model.plan)
    arguments = ProgramArguments(
        rate=Linear(float(config.weights.learning_rate), 0.0, config.train.steps),
        weights=weight_numbers(config.weights),
        steps_per_epoch=source.examples["train"] // config.train.batch_size,
        averaging=float(config.weights.ema) or None,
    )
    return Segmentation(
        genotype=config.genotype,
        data_name="PASCAL VOC",
        seed=config.seed,
        source=source,
        model=model,
        arguments=arguments,
        power=config.weights.power,
        accumulate=config.train.accumulate,
        total_steps=config.train.steps,
        batch_size=config.train.batch_size,
        eval_batch_size=config.run.eval_batch_size,
        pictures=config.run.pictures,
        skip_nonfinite=config.run.skip_nonfinite,
        init_from=config.init_from,
        settings=configs.to_values(config),
    )


def check(config: ConfigDict, devices: int | None = None) -> None:
    """Refuses values that are wrong with every data set.

    Args:
      config: a complete config of a segmentation.
      devices: the number of devices that divide a batch; None: no batch is divided.

    Raises:
      InputError: names the key.
    """
    stride, rates = config.network.output_stride, tuple(config.network.rates)
    if len(set(rates)) < len(rates):
        raise InputError(f"config.network.rates: found {rates}, expected different numbers")
    _check_size("data.crop", config.data.crop, stride)
    _check_size("data.test_size", config.data.test_size, stride)
    # A pixel has three bytes of colors and one of the mask.
    train_build.check_memory(
        config.run.steps_per_dispatch,
        config.run.eval_batch_size,
        batch_bytes=4 * config.data.crop**2 * config.train.batch_size,
        image_bytes=4 * config.data.test_size**2,
    )
    if devices is not None:
        batch_size, micro_batches = config.train.batch_size, config.train.accumulate
        checks.divides_among("train.batch_size", batch_size, devices, micro_batches)
        if config.network.image_pooling:
            parts = micro_batches * (1 if config.train.sync_batch_norm else devices)
            _check_pooling(batch_size, micro_batches, parts)


def _check_size(key, size, stride):
    """Refuses sizes that would shift the features against the pixels, see `deeplab.upsample`."""
    if size <= stride or (size - 1) % stride:
        raise InputError(
            f"config.{key}: found {size}, expected a multiple of the output stride {stride}, plus 1 "
            f"(such as {max(1, round((size - 1) / stride)) * stride + 1})"
        )


def _check_pooling(batch_size: int, micro_batches: int, parts: int) -> None:
    """Refuses a batch whose `parts`, each normalized by itself, have one image.

    An image's mean is a single pixel. Normalized by the statistics of that image alone, it would be 0.
    """
    together = batch_size // parts
    if together < 2:
        key = "train.accumulate" if micro_batches > 1 else "train.batch_size"
        raise InputError(
            f"config.{key}: found {micro_batches if micro_batches > 1 else batch_size}, expected 2 or more images "
            f"to be normalized together for config.network.image_pooling, here it is {together}"
        )
