"""A trained network, read back from its workdir for use: no data set, no training.

    network = trained.load("runs/train_cifar10")
    network.predict(["cat.jpg", "dog.png"]).labels

Images are uint8 arrays as the data set has them, or files; they are normalized inside.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from nge_jax import files
from nge_jax.data import augment
from nge_jax.data import spec as dataset_spec
from nge_jax.data.photographs import files as image_files
from nge_jax.data.photographs import pixels
from nge_jax.data.spec import MASKS, DatasetSpec
from nge_jax.data.voc_segmentation.augment import padding_color
from nge_jax.devices.finite import find_not_finite
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import ArgumentError, InputError
from nge_jax.networks.network import Network
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.space.genotype import Genotype
from nge_jax.train import build as train_build
from nge_jax.train import model as train_model
from nge_jax.train import step as train_step
from nge_jax.train.arguments import make_optimizer
from nge_jax.train.step import TrainState
from nge_jax.workdir import artifacts, recorded

NEWEST, BEST = "newest", "best"

Files = Sequence[str | Path]


class Predictions(NamedTuple):
    """What a classifier says of N images.

    Attributes:
      probabilities: float32 [N, classes].
      labels: N names, each of the likeliest class.
      one_color: N times whether the image shows one color and nothing else, as the network is given it.
    """

    probabilities: np.ndarray
    labels: tuple[str, ...]
    one_color: tuple[bool, ...]


class Trained(NamedTuple):
    """A network that some run has trained.

    Attributes:
      config: of the run, a ConfigDict.
      spec: what the network knows of its images: their shape, mean and deviation, the names of the classes.
      module: the Flax module, without its weights: `module.apply(variables, normalized_images, train=False)`.
      state: the checkpoint; its arrays are numpy's.
      step: number of updates of that checkpoint.
    """

    config: Any
    spec: DatasetSpec
    module: Network
    state: TrainState
    step: int

    @property
    def variables(self) -> dict[str, Any]:
        """Weights and batch statistics, as `module.apply` takes them."""
        return {"params": self.state.params, "batch_stats": self.state.batch_stats}

    def predict(self, images: np.ndarray | Files, *, batch_size: int = 64) -> Predictions:
        """Classifies images.

        Args:
          images: uint8 [N, H, W, C] of the shape that the network was trained on, or N files, JPEG or PNG: a photograph
            for the ImageNet network is cropped as in its test, for the others the largest part in the middle resized.
          batch_size: how many are in memory and computed at once.

        Raises:
          InputError: other arrays than these, a file that is no image, or a network that segments.
        """
        batches = list(self.predict_in_batches(images, batch_size=batch_size))
        empty = np.zeros((0, len(self.spec.labels)), np.float32)
        return Predictions(
            np.concatenate([empty, *(batch.probabilities for batch in batches)]),
            tuple(label for batch in batches for label in batch.labels),
            tuple(flat for batch in batches for flat in batch.one_color),
        )

    def predict_in_batches(
        self,
        images: np.ndarray | Files,
        *,
        batch_size: int = 64,
        on_damaged: Callable[[int, ArgumentError], None] | None = None,
    ) -> Iterator[Predictions]:
        """Yields what `predict` returns, `batch_size` images at a time; arguments and errors as of `predict`.

        Args:
          images: of `predict`.
          batch_size: of `predict`.
          on_damaged: called with the index of a file that is no image and with its refusal, which is raised otherwise.
            The file's probabilities are NaN, its label is empty.
        """
        if self.spec.kind == MASKS:
            raise InputError("found a network that segments images, expected one that classifies")
        _check_images(images, self.spec.shape)
        variables = jax.device_put(self.variables)
        size = min(batch_size, len(images)) or 1
        batch = np.zeros((size, *self.spec.shape), np.uint8)  # always full: compiles once
        for start in range(0, len(images), size):
            part, damaged = images[start : start + size], []
            for place, image in enumerate(part):
                if isinstance(image, np.ndarray):
                    batch[place] = image
                    continue
                try:
                    batch[place] = image_files.read_fitted(Path(image), self.spec)
                except ArgumentError as error:
                    if on_damaged is None:
                        raise
                    on_damaged(start + place, error)
                    damaged.append(place)
            rows = np.array(_probabilities(self.module, self.spec, variables, batch))[: len(part)]
            labels = [self.spec.labels[best] for best in rows.argmax(-1)]
            flat = pixels.are_one_color(batch[: len(part)])
            for place in damaged:
                rows[place], labels[place], flat[place] = np.nan, "", False
            yield Predictions(rows, tuple(labels), tuple(flat.tolist()))

    def segment(self, images: Sequence[np.ndarray] | Files) -> list[np.ndarray]:
        """Segments images: for each the class numbers of its pixels, uint8 [H, W].

        An image is padded as in the test, a larger one to the next size that suits the output stride; for each size
        the network is compiled.

        Args:
          images: uint8 [H, W, 3] each, of any size, or files, JPEG or PNG.

        Raises:
          InputError: other arrays than these, a file that is no image, or a network that classifies.
        """
        if self.spec.kind != MASKS:
            raise InputError("found a network that classifies images, expected one that segments")
        _check_images(images, (None, None, 3))
        return [self._segment(image) for image in images]

    def _segment(self, image):
        pixels = image if isinstance(image, np.ndarray) else image_files.read_whole(Path(image))
        height, width = pixels.shape[:2]
        # Features stay on the pixels of a multiple of the output stride and 1, see `deeplab.upsample`.
        stride = self.config.network.output_stride
        size = max(self.spec.shape[0], -(-(max(height, width) - 1) // stride) * stride + 1)
        padded = np.tile(padding_color(self.spec.mean), (1, size, size, 1))
        padded[0, :height, :width] = pixels
        classes = _pixel_classes(self.module, self.spec, self.variables, padded)
        return np.asarray(classes)[0, :height, :width]


def logits(
    module: Network, spec: DatasetSpec, variables: dict[str, Any], images: jax.Array
) -> jax.Array:
    """Computes float32 [N, classes], of a segmentation [N, H, W, classes], of uint8 images [N, H, W, C]."""
    return module.apply(variables, augment.normalize(images, spec.mean, spec.std), train=False)[0]


@in_32_bits
@partial(jax.jit, static_argnums=(0, 1))
def _probabilities(module, spec, variables, images):
    return jax.nn.softmax(logits(module, spec, variables, images))


@in_32_bits
@partial(jax.jit, static_argnums=(0, 1))
def _pixel_classes(module, spec, variables, images):
    return logits(module, spec, variables, images).argmax(-1).astype(jnp.uint8)


def _check_images(images, shape):
    """Refuses arrays that are not uint8 of the shape (None: any), and a single file or image."""
    expected = "a list of files, or uint8 [N, {}]".format(", ".join(str(n or "any") for n in shape))
    if isinstance(images, str | Path):
        raise ArgumentError("images", f"found {str(images)!r}, expected {expected}")
    for image in images:
        if isinstance(image, str | Path):
            continue
        fits = isinstance(image, np.ndarray) and len(image.shape) == len(shape)
        if not fits or any(n not in (None, m) for n, m in zip(shape, image.shape, strict=True)):
            found = f"an image of shape {list(np.shape(image))}"
        elif image.dtype != np.uint8:
            found = f"an image of {image.dtype}"
        else:
            continue
        raise ArgumentError("images", f"found {found}, expected {expected}")


@in_32_bits
def load(path: str | Path, checkpoint: str = NEWEST) -> Trained:
    """Reads the network of the newest checkpoint of a workdir, or of the BEST on held-out training images.

    Args:
      path: the workdir; or a folder that `export.write` made as "npz"; or a name in `artifacts.PRETRAINED`.
      checkpoint: NEWEST or BEST.

    Raises:
      InputError: the workdir is not that of a training, or holds no such checkpoint.
    """
    if checkpoint not in (NEWEST, BEST):
        raise ArgumentError("checkpoint", f"found {checkpoint!r}, expected {NEWEST!r} or {BEST!r}")
    path = artifacts.find_run(path)
    config = recorded.read(path)
    if config.task not in ("train", "segment"):
        raise InputError(f"{path}: found the workdir of a {config.task}, expected of a training")
    recorded.check_network_keys(config, path)
    spec = dataset_spec.read(path)
    genotype = artifacts.read_genotype(path / artifacts.GENOTYPE)
    if spec.kind == MASKS:
        module = train_model.make_segmentation_network(config, genotype, len(spec.labels))
    else:
        module = train_model.make_network(config, genotype, spec.kind, len(spec.labels))
    # The rate does not matter here, but that it is a schedule does: it makes the state a counter.
    weights = train_build.make_sgd_numbers(config)
    optimizer = make_optimizer(weights, optax.constant_schedule(0.0))
    template = train_step.state_shapes(module, optimizer, spec.shape)
    folder = path / artifacts.CHECKPOINTS
    if checkpoint == NEWEST and artifacts.is_exported(path):
        sums = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template.sums)
        state = template._replace(
            step=np.int32(0), opt_state=(), sums=sums, **_read_weights(path, template)
        )
        return Trained(config=config, spec=spec, module=module, state=state, step=0)
    restored = None
    if folder.is_dir():
        with Checkpoints(folder, config.run.keep_checkpoints, read_only=True) as checkpoints:
            restore = {NEWEST: checkpoints.restore_latest, BEST: checkpoints.restore_best}
            restored = restore[checkpoint](template)
    if restored is None:
        why = "; only with config.data.validation is there a best one" if checkpoint == BEST else ""
        raise InputError(f"{folder}: found no {checkpoint} checkpoint{why}")
    state, step = restored
    if (name := find_not_finite(state)) is not None:
        raise InputError(
            f"{folder / str(step)}: found NaN or infinity in {name}, expected a network"
        )
    return Trained(config=config, spec=spec, module=module, state=state, step=step)


def load_beginning(folder: Path, genotype: Genotype, workdir: Path) -> Trained:
    """Reads the network of `config.init_from`, with which a run begins.

    Args:
      folder: what `config.init_from` names.
      genotype: the run's cell, which has to be the network's too.
      workdir: the run's own.

    Raises:
      InputError: it is the run's own workdir, `load` refuses it, or it has another cell.
    """
    if folder.resolve() == workdir.resolve():
        raise InputError(f"config.init_from: found this run's own workdir, {workdir}")
    try:
        network = load(folder)
    except InputError as error:
        raise InputError(f"config.init_from: {error}") from error
    if network.module.genotype != genotype:
        raise InputError(
            f"config.init_from: {folder / artifacts.GENOTYPE} is another cell than config.genotype"
        )
    return network


def _read_weights(path: Path, template: TrainState) -> dict[str, Any]:
    """Reads weights and batch statistics from an .npz file; those of an auxiliary head are not in it."""
    file = path / artifacts.WEIGHTS
    tree = {"params": template.params, "batch_stats": template.batch_stats}
    wanted: dict[str, Any] = flatten_dict(tree, sep="/")
    wanted = {name: leaf for name, leaf in wanted.items() if name.split("/")[1] != "auxiliary"}
    try:
        found = files.read_arrays(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({files.reason(error)})") from error
    except ValueError as error:
        raise InputError(f"{file}: cannot be read (found {error})") from error
    for name in wanted.keys() | found.keys():
        shapes = [of[name].shape if name in of else "nothing" for of in (found, wanted)]
        if shapes[0] != shapes[1]:
            raise InputError(f"{file}: {name}: found {shapes[0]}, expected {shapes[1]}")
    return unflatten_dict(found, sep="/")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that says which network of a workdir, --checkpoint."""
    parser.add_argument(
        "--checkpoint",
        choices=(NEWEST, BEST),
        default=NEWEST,
        help=f"{BEST}: on the training images set aside by config.data.validation",
    )
