"""Exported ONNX files as networks: the session of a file, its accuracy on the data set of its run, and its time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax import files
from nge_jax.data import spec as dataset_spec
from nge_jax.data.source import Source
from nge_jax.data.spec import MASKS, DatasetSpec
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import InputError
from nge_jax.latency import timing
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import task as train_task
from nge_jax.train.evaluate import Scores

SUFFIX = ".onnx"
PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}
MOST_BYTES = 2**31  # the most that a file in one piece may have, by protobuf


def open_session(model: Path | bytes, threads: int = 0, device: str = "cpu") -> Any:
    """Opens an `onnxruntime.InferenceSession`.

    Args:
      model: a file or its bytes.
      threads: how many compute an operation; 0: as many as there are cores.
      device: one of PROVIDERS.

    Raises:
      InputError: onnxruntime is not installed, has no such device, or refuses the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("onnxruntime is not installed, pip install onnxruntime") from error
    known = onnxruntime.get_available_providers()
    if PROVIDERS[device] not in known:
        raise InputError(f"--device: this onnxruntime has no {device} (found {', '.join(known)})")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    try:
        content = files.read_bytes(model, MOST_BYTES) if isinstance(model, Path) else model
        return onnxruntime.InferenceSession(content, options, providers=[PROVIDERS[device]])
    except OSError as error:
        raise InputError(f"{model}: cannot be read ({files.reason(error)})") from error
    except Exception as error:  # onnxruntime has an exception for each kind of damage
        if isinstance(model, bytes):
            raise
        raise InputError(f"{model}: onnxruntime refuses it ({files.reason(error)})") from error


def logits(session: Any, images: np.ndarray) -> np.ndarray:
    """Computes logits of images [N, H, W, C]."""
    (result,) = session.run(None, {session.get_inputs()[0].name: images})
    return result


def score(session: Any, source: Source, batch_size: int) -> Scores:
    """Scores every image of the test split once."""
    total = None
    for images, labels, mask in source.held_out("test", batch_size):
        found = train_evaluate.score_logits(logits(session, images[mask]), labels[mask])
        total = found if total is None else Scores(*map(np.add, total, found))
    assert total is not None, "a test split has images"
    return total


@in_32_bits
def evaluate(path: Path, source: Source, batch_size: int, threads: int = 1) -> None:
    """Prints the accuracy of an exported file on a test split, and its milliseconds an image.

    Args:
      path: of the file.
      source: the images of the run.
      batch_size: how many images are computed at once for the accuracy; times are of a single image.
      threads: how many compute.

    Raises:
      InputError: the file is refused.
    """
    session = open_session(path, threads)
    print(train_task.describe_test(score(session, source, batch_size)))
    image = np.zeros((1, *source.spec.shape), np.uint8)
    took = timing.measure(lambda: logits(session, image))
    print(f"time an image: {took}, {threads} thread{'s' * (threads > 1)}, onnxruntime")


def compare(forms: Mapping[str, bytes], source: Source, batch_size: int) -> Iterator[str]:
    """Yields lines with the accuracy on a test split and the size of each form of a network.

    Args:
      forms: ONNX files by the names of their numbers.
      source: the images of the run.
      batch_size: how many images are computed at once.
    """
    yield f"test accuracy of {source.examples['test']:,} images:"
    for name, content in forms.items():
        scores = score(open_session(content), source, batch_size)
        accuracy = train_evaluate.means(scores).accuracy
        yield f"  {name:8} {accuracy:8.2%}  {len(content) / 1e6:8.2f} MB"


def read_spec(path: Path) -> DatasetSpec:
    """Reads the spec of the images that a file takes, from dataset.json beside the file.

    Raises:
      InputError: there is no such file or no such record, or the network segments images.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected one that nge export has written")
    spec = dataset_spec.read(path.parent)
    if spec.kind == MASKS:
        raise InputError(f"{path}: found a network that segments, expected one that classifies")
    return spec
