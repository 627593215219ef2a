"""A trained network, read from its workdir for use, without a data set and without a training.

    network = trained.load("runs/train_cifar10")
    network.predict(["cat.jpg", "dog.png"]).labels

Images are uint8 arrays as in the data set, or files. The network's functions normalize them.
"""

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
from nge_jax.errors import ArgumentError, InputError, prefixed
from nge_jax.networks.network import Network
from nge_jax.optim import weight_numbers
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.space.genotype import Genotype
from nge_jax.train import model as train_model
from nge_jax.train import step as train_step
from nge_jax.train.arguments import make_optimizer
from nge_jax.train.step import TrainState
from nge_jax.workdir import artifacts, recorded
from nge_jax.workdir.artifacts import BEST, NEWEST

Files = Sequence[str | Path]


class Predictions(NamedTuple):
    """A classifier's predictions for N images.

    Attributes:
      probabilities: float32 [N, classes].
      labels: the names of the N most probable classes.
      one_color: for each of N images, whether the network gets an image of a single color.
    """

    probabilities: np.ndarray
    labels: tuple[str, ...]
    one_color: tuple[bool, ...]


class Trained(NamedTuple):
    """A network that a run has trained.

    Attributes:
      config: the run's config, a ConfigDict.
      spec: describes the network's images: shape, mean and std, the names of the classes.
      module: the Flax module, without weights: `module.apply(variables, normalized_images, train=False)`.
      state: the checkpoint, as NumPy arrays. The averages of the weights are the network, where the run made them.
      step: the number of updates before that checkpoint.
      operations: the user's own operations in the network, each with the hash of the file at the training.
    """

    config: Any
    spec: DatasetSpec
    module: Network
    state: TrainState
    step: int
    operations: Sequence[str] = ()

    @property
    def variables(self) -> dict[str, Any]:
        """Weights and batch statistics, as `module.apply` takes them."""
        return {"params": self.state.params, "batch_stats": self.state.batch_stats}

    def predict(self, images: np.ndarray | Files, *, batch_size: int = 64) -> Predictions:
        """Classifies images.

        Args:
          images: uint8 [N, H, W, C] of the shape that the network was trained on, or N JPEG or PNG files. The ImageNet
            network crops a photograph as in its test. Other networks resize the largest square in the middle.
          batch_size: how many images are in memory and computed at once.

        Raises:
          InputError: arrays of another type or shape, a file that is no image, or a network that segments.
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
        """Yields the predictions of `predict` for `batch_size` images at a time. It raises the same errors.

        Args:
          images, batch_size: see `predict`.
          on_damaged: called with the index of a file that is no image and with the error; None: the error is raised.
            The file's probabilities are NaN, and its label is empty.
        """
        if self.spec.kind == MASKS:
            raise InputError("found a network that segments images, expected one that classifies")
        _check_images(images, self.spec.shape)
        variables = jax.device_put(self.variables)
        size = min(batch_size, len(images)) or 1
        # Every batch has the same size, so that the network compiles once.
        batch = np.zeros((size, *self.spec.shape), np.uint8)
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
            rows = np.array(probabilities(self.module, self.spec, variables, batch))[: len(part)]
            labels = [self.spec.labels[best] for best in rows.argmax(-1)]
            flat = pixels.are_one_color(batch[: len(part)])
            for place in damaged:
                rows[place], labels[place], flat[place] = np.nan, "", False
            yield Predictions(rows, tuple(labels), tuple(flat.tolist()))

    def segment(self, images: Sequence[np.ndarray] | Files) -> list[np.ndarray]:
        """Segments images: returns the class number of each pixel, uint8 [H, W] for each image.

        An image is padded as in the test. A larger image is padded to the next size that suits the output stride. The
        network compiles once for each size.

        Args:
          images: uint8 [H, W, 3] arrays of any size, or JPEG or PNG files.

        Raises:
          InputError: arrays of another type or shape, a file that is no image, or a network that classifies.
        """
        if self.spec.kind != MASKS:
            raise InputError("found a network that classifies images, expected one that segments")
        _check_images(images, (None, None, 3))
        return [self._segment(image) for image in images]

    def _segment(self, image):
        pixels = image if isinstance(image, np.ndarray) else image_files.read_whole(Path(image))
        height, width = pixels.shape[:2]
        # The side is a multiple of the output stride plus 1, so that features lie on pixels, see `deeplab.upsample`.
        stride = self.config.network.output_stride
        size = max(self.spec.shape[0], -(-(max(height, width) - 1) // stride) * stride + 1)
        padded = np.tile(padding_color(self.spec.mean), (1, size, size, 1))
        padded[0, :height, :width] = pixels
        classes = _pixel_classes(self.module, self.spec, self.variables, padded)
        return np.asarray(classes)[0, :height, :width]


def logits(
    module: Network, spec: DatasetSpec, variables: dict[str, Any], images: jax.Array
) -> jax.Array:
    """Computes float32 logits of uint8 images [N, H, W, C]: [N, classes], or [N, H, W, classes] of a segmentation."""
    return module.apply(variables, augment.normalize(images, spec.mean, spec.std), train=False)[0]


@in_32_bits
@partial(jax.jit, static_argnums=(0, 1))
def probabilities(
    module: Network, spec: DatasetSpec, variables: dict[str, Any], images: Any
) -> jax.Array:
    """Computes float32 probabilities [N, classes] of uint8 images [N, H, W, C]."""
    return jax.nn.softmax(logits(module, spec, variables, images))


@in_32_bits
@partial(jax.jit, static_argnums=(0, 1))
def _pixel_classes(module, spec, variables, images):
    return logits(module, spec, variables, images).argmax(-1).astype(jnp.uint8)


def _check_images(images, shape):
    """Refuses arrays that are not uint8 of the shape (None: any size), and a single file or image."""
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
def load(path: str | Path, checkpoint: str | int = NEWEST) -> Trained:
    """Reads a workdir's network from the newest checkpoint, the BEST one on held-out training images, or another one.

    Args:
      path: the workdir, a folder that `export.write` made as "npz", or a name in `artifacts.PRETRAINED`.
      checkpoint: NEWEST, BEST or the step of a checkpoint that the run has kept, as a number or its digits.

    Raises:
      InputError: the workdir is not the workdir of a training, or holds no such checkpoint.
    """
    if not artifacts.is_checkpoint(str(checkpoint)):
        expected = f"{NEWEST!r}, {BEST!r} or the number of a step"
        raise ArgumentError("checkpoint", f"found {checkpoint!r}, expected {expected}")
    path = artifacts.find_run(path)
    config = recorded.read_of_network(path)
    spec = dataset_spec.read(path)
    genotype = artifacts.read_genotype(path / artifacts.GENOTYPE)
    operations = recorded.read_operations(path, genotype)
    recorded.warn_of_changes(genotype, operations, f"{path} was trained")
    module = train_model.make_network(config, genotype, spec.kind, len(spec.labels))
    # The rate's value does not matter here. It must be a schedule, because the state then has a counter.
    optimizer = make_optimizer(weight_numbers(config.weights), optax.constant_schedule(0.0))
    waits = config.task == "train" and config.train.patience > 0
    parts = train_step.Parts(averages=config.weights.ema > 0, waiting=waits)
    template = train_step.state_shapes(module, optimizer, spec.shape, parts)
    make = partial(Trained, config, spec, module, operations=operations)
    if artifacts.is_exported(path):
        if checkpoint != NEWEST:
            expected = f"expected the workdir of a run for the checkpoint {checkpoint}"
            raise InputError(f"{path}: found an exported network, {expected}")
        sums = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template.sums)
        weights = _read_weights(path, template) | {"averages": None, "waiting": None}
        state = template._replace(step=np.int32(0), opt_state=(), sums=sums, **weights)
        return make(state, 0)
    folder = path / artifacts.CHECKPOINTS
    state, step = _restore(folder, checkpoint, config.run.keep_checkpoints, template)
    return make(train_step.averaged(state), step)


def _restore(
    folder: Path, checkpoint: str | int, keep: int, template: TrainState
) -> tuple[TrainState, int]:
    """Restores the NEWEST, the BEST or another checkpoint of a folder and returns its step, too.

    Raises:
      InputError: the folder holds no such checkpoint, or the checkpoint has NaN or infinity.
    """
    restored = None
    if folder.is_dir():
        with Checkpoints(folder, keep, read_only=True) as checkpoints:
            if checkpoint in (NEWEST, BEST):
                restore = {NEWEST: checkpoints.restore_latest, BEST: checkpoints.restore_best}
                restored = restore[checkpoint](template)
            else:
                restored = checkpoints.restore_step(int(checkpoint), template)
    if restored is None:
        why = "; only with config.data.validation is there a best one" if checkpoint == BEST else ""
        raise InputError(f"{folder}: found no {checkpoint} checkpoint{why}")
    state, step = restored
    if (name := find_not_finite(state)) is not None:
        raise InputError(
            f"{folder / str(step)}: found NaN or infinity in {name}, expected a network"
        )
    return state, step


def load_beginning(folder: Path, genotype: Genotype, workdir: Path) -> Trained:
    """Reads the network of `config.init_from`, with which a run begins.

    Args:
      folder: the folder that `config.init_from` names.
      genotype: the run's cell; the network must have the same cell.
      workdir: the run's workdir.

    Raises:
      InputError: the folder is the run's workdir, `load` refuses it, or it has another cell.
    """
    if folder.resolve() == workdir.resolve():
        raise InputError(f"config.init_from: found this run's own workdir, {workdir}")
    with prefixed("config.init_from: "):
        network = load(folder)
    if network.module.genotype != genotype:
        raise InputError(
            f"config.init_from: {folder / artifacts.GENOTYPE} is another cell than config.genotype"
        )
    return network


def _read_weights(path: Path, template: TrainState) -> dict[str, Any]:
    """Reads weights and batch statistics from an .npz file, which has none of an auxiliary head."""
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
        shapes = [arrays[name].shape if name in arrays else "nothing" for arrays in (found, wanted)]
        if shapes[0] != shapes[1]:
            raise InputError(f"{file}: {name}: found {shapes[0]}, expected {shapes[1]}")
    return unflatten_dict(found, sep="/")
