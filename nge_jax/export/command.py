"""Exports a trained network, for use without this program:

  python -m nge_jax.export --workdir=runs/train_cifar10 --output=exported

The command writes these files:

  network.stablehlo      `jax.export.deserialize(...)` makes it a function (weights, images) -> logits, for CPU, CUDA
                         and TPU; images: uint8 [N, H, W, C] of any N (they are normalized inside), logits: float32
                         [N, classes], of a segmentation [N, H, W, classes]
  weights.safetensors    the weights and batch statistics, {name: array}, as that function takes them
  weights.txt            a table of these arrays: names, shapes, sizes, means and deviations
  dataset.json           the images' shape, the labels of the classes

The option --formats asks for these files:

  network.onnx           the same function with its weights, images -> logits, for ONNX runtimes (the package onnx)
  network_float16.onnx   (onnx_float16) the same with weights and activations in float16, half as large
  network_int8.onnx      (onnx_int8) the same in int8, a fourth as large: onnxruntime's static quantization, calibrated
                         on training images; the command prints the accuracy of each ONNX file on the test split
  saved_model/           the same as a TensorFlow SavedModel
  weights.npz            (npz) with config.json and genotype.json beside it: a small folder that this program loads like
                         a workdir; the network in nge_jax/pretrained/digits was made so (see docs/commands.md)
"""

import argparse
import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview
from flax.traverse_util import flatten_dict, unflatten_dict

from nge_jax import files
from nge_jax.console import banner
from nge_jax.data import spec as dataset_spec
from nge_jax.data.place import data_keys
from nge_jax.data.source import Source
from nge_jax.data.spec import MASKS
from nge_jax.devices import host_tf
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import ArgumentError, InputError, arguments_as
from nge_jax.export import onnx_file, onnx_graph, small_numbers
from nge_jax.export.options import (
    DEFAULT,
    FLOAT16,
    FORMATS,
    INPUT,
    INT8,
    ONNX,
    OUTPUT,
    PROGRAM,
    SAVED_MODEL,
    TABLE,
    WEIGHTS,
    add_options,
)
from nge_jax.files import write_atomically
from nge_jax.settings.configs import differ, flatten, to_values
from nge_jax.space import genotype
from nge_jax.train import runner as train_runner
from nge_jax.train import trained
from nge_jax.train.trained import Trained
from nge_jax.workdir import artifacts, recorded

PLATFORMS = ("cpu", "cuda", "tpu")
# The packages that a format needs beside the ones that a training needs.
PACKAGES = {
    "stablehlo": ("safetensors",),
    "onnx": ("onnx",),
    "onnx_float16": ("onnx", "onnxruntime"),
    "onnx_int8": ("onnx", "onnxruntime"),
    "saved_model": ("tensorflow",),
}
# The ONNX files with the names that a line gives to their numbers.
NUMBERS = {ONNX: "float32", FLOAT16: "float16", INT8: "int8"}


def flat_weights(network: Trained) -> dict[str, np.ndarray]:
    """Returns {"params/stem/Conv_0/kernel": array, ...}, without the auxiliary head's arrays."""
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


def onnx_model(network: Trained) -> Any:
    """Makes the `onnx.ModelProto` of `images -> logits`, for any number of images."""
    logits = partial(trained.logits, network.module, network.spec, _without_auxiliary(network))
    return onnx_graph.convert(logits, network.spec.shape, jnp.uint8, names=(INPUT, OUTPUT))


def write_stablehlo(network: Trained, folder: Path) -> None:
    """Writes the program, its weights, and a table of them for whoever looks for an array by its name."""
    from safetensors import numpy as safetensors

    weights = flat_weights(network)
    (folder / PROGRAM).write_bytes(program(network).serialize())
    # Its own writer would make a file that others cannot read.
    (folder / WEIGHTS).write_bytes(safetensors.save(weights))
    (folder / TABLE).write_text(f"{parameter_overview.get_parameter_overview(weights)}\n")


def write_saved_model(network: Trained, folder: Path) -> None:
    """Writes a TensorFlow SavedModel whose signature `serving_default` is `images -> logits`, and reads it again.

    Raises:
      InputError: this TensorFlow cannot read the programs of this jax.
    """
    tf = host_tf.tensorflow()
    from jax.experimental import jax2tf

    logits = partial(trained.logits, network.module, network.spec, _without_auxiliary(network))
    height, width, channels = network.spec.shape
    shapes = [f"(batch, {height}, {width}, {channels})"]
    converted = jax2tf.convert(
        logits, polymorphic_shapes=shapes, native_serialization_platforms=("cpu", "cuda")
    )
    model, images = tf.Module(), tf.TensorSpec((None, *network.spec.shape), tf.uint8, name=INPUT)
    model.function = tf.function(
        lambda images: {OUTPUT: converted(images)}, input_signature=[images], autograph=False
    )
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.function})
    try:
        classify = tf.saved_model.load(str(folder)).signatures["serving_default"]
        classify(tf.zeros((1, *network.spec.shape), tf.uint8))
    except tf.errors.InvalidArgumentError as error:
        # TensorFlow has a separate reader of StableHLO, which may be too old for the programs that jax writes.
        raise InputError(
            f"saved_model: TensorFlow {tf.__version__} cannot read a program of jax {jax.__version__}, expected "
            "versions nearer to each other; the other formats do not need it"
        ) from error


def _without_auxiliary(network):
    return unflatten_dict(flat_weights(network), sep="/")


@in_32_bits
def write(
    network: Trained,
    output: Path,
    formats: Sequence[str] = DEFAULT,
    calibration: np.ndarray | None = None,
) -> None:
    """Writes the files of some of FORMATS into the folder `output`, all or none; it may exist but hold none of them.

    Args:
      network: the network.
      output: the folder.
      formats: some of FORMATS.
      calibration: training images, uint8 [N, H, W, C], which "onnx_int8" needs.

    Raises:
      InputError: one of the files is there or cannot be written, or a package is not installed, or TensorFlow cannot
        read what it has written.
    """
    check(network, output, formats)
    if "onnx_int8" in formats and calibration is None:
        raise ArgumentError("calibration", "found none, expected training images for onnx_int8")
    with files.whole_output(output) as new:
        new.mkdir()
        _write_formats(network, new, formats, calibration)


def check(network: Trained, output: Path, formats: Sequence[str]) -> None:
    """Refuses formats whose package is missing or that the network has not, and a folder that has a file of theirs.

    Raises:
      InputError: names the format, or the file that is there.
    """
    for form in formats:
        for package in PACKAGES.get(form, ()):
            if importlib.util.find_spec(package) is None:
                raise InputError(f"{package} is not installed, pip install {package}")
    if "onnx_int8" in formats and network.spec.kind == MASKS:
        raise InputError("onnx_int8: found a network that segments, expected one that classifies")
    for name in (*_names(formats), artifacts.DATASET):
        if (output / name).exists():
            raise ArgumentError("output", f"{output / name} exists, expected a folder without it")


def _names(formats: Sequence[str]) -> list[str]:
    """Lists the files of formats, each once."""
    return [*dict.fromkeys(name for form in formats for name in FORMATS[form])]


def _write_formats(network, folder, formats, calibration):
    if "stablehlo" in formats:
        write_stablehlo(network, folder)
    if any(form.startswith("onnx") for form in formats):
        _write_onnx(network, folder, formats, calibration)
    if "npz" in formats:
        with (folder / artifacts.WEIGHTS).open("wb") as file:
            arrays: Any = flat_weights(network)
            np.savez_compressed(file, **arrays)
        text = genotype.to_json(network.module.genotype)
        files.write_atomically(folder / artifacts.GENOTYPE, text)
        recorded.write_operations(folder, network.operations)
    if artifacts.CONFIG in _names(formats):
        artifacts.write_json(folder / artifacts.CONFIG, to_values(network.config))
    write_atomically(folder / artifacts.DATASET, dataset_spec.to_json(network.spec))
    if "saved_model" in formats:
        write_saved_model(network, folder / SAVED_MODEL)


def _write_onnx(network, folder, formats, calibration):
    model = onnx_model(network)
    if "onnx" in formats:
        (folder / ONNX).write_bytes(model.SerializeToString())
    if "onnx_int8" in formats:
        quantized = small_numbers.to_int8(model, calibration, INPUT)
        (folder / INT8).write_bytes(quantized.SerializeToString())
    if "onnx_float16" in formats:  # the last, since it may change the graph in place
        (folder / FLOAT16).write_bytes(small_numbers.to_float16(model).SerializeToString())


def main(arguments: list[str] | None = None) -> None:
    """Runs the command.

    Raises:
      InputError: a flag or the workdir is refused.
    """
    parser = argparse.ArgumentParser(
        prog="python -m nge_jax.export", description="Exports a trained network."
    )
    parser.add_argument("--workdir", required=True, type=Path, help="that of the training")
    parser.add_argument("--output", required=True, type=Path, help="folder for the files")
    add_options(parser)
    run(parser.parse_args(arguments))


def run(given: argparse.Namespace, argument: str = "--output") -> None:
    """Exports a network.

    Args:
      given: workdir, output, and the options of `add_options`.
      argument: the argument by which the user gives the output.

    Raises:
      InputError: a flag or the workdir is refused.
    """
    formats = given.formats.split(",")
    for form in formats:
        if form not in FORMATS:
            raise InputError(f"--formats: found {form!r}, expected some of {', '.join(FORMATS)}")
    network = trained.load(given.workdir, given.checkpoint)
    output = given.output.expanduser()
    source = calibration = None
    with arguments_as(output=argument):
        check(network, output, formats)
        if "onnx_int8" in formats:
            source = _open_images(network, given)
            calibration = source.train_sample(small_numbers.CALIBRATION_IMAGES)
        write(network, output, formats, calibration)
    banner.show(f"{output}: {_describe(network)} as {', '.join(_names(formats))}")
    if source is None:
        return
    paths = {numbers: output / name for name, numbers in NUMBERS.items()}
    forms = {"float32": onnx_model(network).SerializeToString()}
    forms |= {numbers: path.read_bytes() for numbers, path in paths.items() if path.exists()}
    for line in onnx_file.compare(forms, source, network.config.run.eval_batch_size):
        print(line, flush=True)


def _describe(network: Trained) -> str:
    """Names the network with the parameters that its files have, and the step of its checkpoint if it has one."""
    counts = [a.size for name, a in flat_weights(network).items() if name.startswith("params/")]
    step = f" of step {network.step}" if network.step else ""
    return f"the network{step}, {sum(counts):,} parameters,"


def _open_images(network: Trained, given: argparse.Namespace) -> Source:
    """Opens the data set of the network's run."""
    if given.data is not None:
        differ(network.config, data_keys(flatten(network.config.to_dict()), given.data))
    return train_runner.reopen(network.config, network.spec, artifacts.find_run(given.workdir))
