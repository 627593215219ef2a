"""Segments images with a trained network: for each a PNG of class numbers in VOC's colours."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from nge_jax.data import augment
from nge_jax.data.imagenet import files as image_files
from nge_jax.data.voc_segmentation import augment as voc_augment
from nge_jax.errors import InputError
from nge_jax.segment import pictures
from nge_jax.train.trained import Trained


def write(network: Trained, folder: Path, output: Path) -> int:
    """Writes `output`/NAME.png for each NAME.jpg or .png under `folder`; returns how many.

    An image is padded as in the test, a larger one to the next size that suits the output stride.

    Raises:
      InputError: there is no image, one cannot be read, or a file to be written exists or would be
        that of two images.
    """
    paths = image_files.find(folder)
    targets = {}
    for path in paths:
        target = output / path.relative_to(folder).with_suffix(".png")
        if target in targets:
            raise InputError(f"--images: {targets[target]} and {path} would both become {target}")
        if target.exists():
            raise InputError(f"--output: {target} exists, expected a folder without it")
        targets[target] = path
    segment = _compiled(network)
    for target, path in targets.items():
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
        except OSError as error:
            raise image_files.unreadable(path, error) from error
        height, width = pixels.shape[:2]
        size = _padded_size(network, max(height, width))
        padded = np.tile(voc_augment.colour(network.spec.mean), (1, size, size, 1))
        padded[0, :height, :width] = pixels
        target.parent.mkdir(parents=True, exist_ok=True)
        pictures.write_png(target, segment(padded)[:height, :width])
    return len(paths)


def _compiled(network: Trained) -> Callable:
    """uint8 [1, size, size, 3] -> uint8 [size, size]; compiles for each size."""
    spec = network.spec
    variables = {"params": network.state.params, "batch_stats": network.state.batch_stats}

    @jax.jit
    def segment(variables, images):
        x = augment.normalize(images, spec.mean, spec.std)
        logits, _ = network.model.apply(variables, x, train=False)
        return logits[0].argmax(-1).astype(jnp.uint8)

    return lambda images: np.asarray(segment(variables, images))


def _padded_size(network: Trained, size: int) -> int:
    """Features stay on the pixels of a multiple of the output stride and 1, see `deeplab.upsample`."""
    stride = network.config.network.output_stride
    return max(network.spec.shape[0], -(-(size - 1) // stride) * stride + 1)
