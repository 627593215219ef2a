"""Exports a trained network, for use without this program:

  python -m nge_jax.export --workdir=runs/train_cifar10 --output=exported

writes
  network.stablehlo      `jax.export.deserialize(...)` makes it a function (weights, images) -> logits, for CPU, CUDA
                         and TPU; images: uint8 [N, H, W, C] of any N (they are normalized inside), logits: float32
                         [N, classes], of a segmentation [N, H, W, classes]
  weights.safetensors    the weights and batch statistics, {name: array}, as that function takes them
  dataset.json           the images' shape, the labels of the classes
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from nge_jax.data import spec as dataset_spec
from nge_jax.errors import ArgumentError, InputError, arguments_as
from nge_jax.runtime import artifacts, flags
from nge_jax.runtime.artifacts import write_atomically
from nge_jax.train import trained
from nge_jax.train.trained import Trained

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM, WEIGHTS = "network.stablehlo", "weights.safetensors"


def flat_weights(network: Trained) -> dict[str, np.ndarray]:
    """Returns {"params/stem/Conv_0/kernel": array, ...}, without those of the auxiliary head."""
    flat: dict[str, Any] = flatten_dict(network.variables, sep="/")
    return {name: array for name, array in flat.items() if name.split("/")[1] != "auxiliary"}


def program(network: Trained) -> jax.export.Exported:
    """Makes `(weights, images) -> logits` for any number of images, for all of PLATFORMS."""

    def logits(weights: dict[str, jax.Array], images: jax.Array) -> jax.Array:
        variables = unflatten_dict(weights, sep="/")
        return trained.logits(network.module, network.spec, variables, images)

    shapes = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in flat_weights(network).items()}
    batch = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((*batch, *network.spec.shape), jnp.uint8)
    return jax.export.export(jax.jit(logits), platforms=PLATFORMS)(shapes, images)


def write(network: Trained, output: Path) -> None:
    """Writes the three files into the folder `output`, which may exist but hold none of them.

    Raises:
      InputError: one of the files is there or cannot be written, or safetensors is not installed.
    """
    try:
        from safetensors.numpy import save_file
    except ImportError:
        raise InputError("safetensors is not installed, pip install safetensors") from None
    for name in (PROGRAM, WEIGHTS, artifacts.DATASET):
        if (output / name).exists():
            raise ArgumentError("output", f"{output / name} exists, expected a folder without it")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError("output", f"{output} cannot be made ({error.strerror})") from error
    serialized = program(network).serialize()
    (output / PROGRAM).write_bytes(serialized)
    save_file(flat_weights(network), output / WEIGHTS)
    write_atomically(output / artifacts.DATASET, dataset_spec.to_json(network.spec))


def main(arguments: list[str] | None = None) -> None:
    """Runs the command.

    Raises:
      InputError: a flag or the workdir is refused.
    """
    parser = argparse.ArgumentParser(
        prog="python -m nge_jax.export", description="Exports a trained network."
    )
    trained.add_arguments(parser)
    parser.add_argument("--output", required=True, type=Path, help="folder for the three files")
    given: Any = parser.parse_args(arguments)
    network = trained.load(given.workdir, given.checkpoint)
    with arguments_as(output="--output"):
        write(network, given.output)
    print(f"{given.output}: the network of step {network.step} as {PROGRAM} and {WEIGHTS}")


if __name__ == "__main__":
    with flags.refusals():
        main()
