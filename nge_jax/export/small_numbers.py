"""ONNX graphs in smaller numbers: float16, and int8 by onnxruntime's static quantization.

An int8 graph has 8 bits for weights and activations: `x = scale * (n - zero)`. Each channel of a weight has its scale.
The scales of activations come from their least and largest values on training images.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax.errors import InputError

CALIBRATION_IMAGES = 256
BATCH = 32
QUANTIZED = ["Conv", "MatMul"]  # nearly all multiply-adds; pools and sums stay float32
PROVIDER = "CPUExecutionProvider"


def to_float16(model: Any) -> Any:
    """Returns the `onnx.ModelProto` with weights and activations in float16; the logits stay float32."""
    from onnxruntime.transformers import float16

    return float16.convert_float_to_float16(model, keep_io_types=True)


def to_int8(model: Any, images: np.ndarray, name: str) -> Any:
    """Returns the `onnx.ModelProto` with weights and activations in int8, and quantizers between them.

    Args:
      model: a graph of images -> logits.
      images: training images, uint8 [N, H, W, C], on which the activations' ranges are taken.
      name: of the graph's input.

    Raises:
      InputError: logits are not finite, so that activations have no range.
    """
    import onnx
    import onnxruntime
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared, quantized = (Path(folder) / f"{stage}.onnx" for stage in ("prepared", "int8"))
        # Basic optimizations keep the operations of ONNX: scales join the convolutions before them.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(prepared)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, [PROVIDER])
        (logits,) = session.run(None, {name: images[:BATCH]})
        if not np.isfinite(np.asarray(logits)).all():
            raise InputError("onnx_int8: found NaN or infinity as logits of training images")
        reader: Any = _Reader(name, images)
        quantization.quantize_static(
            prepared,
            quantized,
            reader,
            op_types_to_quantize=QUANTIZED,
            per_channel=True,
        )
        return onnx.load(quantized)


class _Reader:
    """Hands batches of images to onnxruntime's calibration, one at a call, then None."""

    def __init__(self, name, images):
        self._batches = iter(
            {name: images[start : start + BATCH]} for start in range(0, len(images), BATCH)
        )

    def get_next(self):
        return next(self._batches, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the root logger, by which onnxruntime advises what is done already."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
