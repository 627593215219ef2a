"""The flags of `nge export`, and the files of the formats. This module imports no jax."""

import argparse

from nge_jax.predict.options import add_checkpoint
from nge_jax.workdir import artifacts

PROGRAM, WEIGHTS, TABLE = "network.stablehlo", "weights.safetensors", "weights.txt"
ONNX, SAVED_MODEL = "network.onnx", "saved_model"
FLOAT16, INT8 = "network_float16.onnx", "network_int8.onnx"
INPUT, OUTPUT = "images", "logits"  # names in the graph
# The files of each format, beside dataset.json.
FORMATS = {
    "stablehlo": (PROGRAM, WEIGHTS, TABLE),
    "onnx": (ONNX, artifacts.CONFIG),
    "onnx_float16": (FLOAT16, artifacts.CONFIG),
    "onnx_int8": (INT8, artifacts.CONFIG),
    "saved_model": (SAVED_MODEL,),
    "npz": (artifacts.WEIGHTS, artifacts.CONFIG, artifacts.GENOTYPE),
}
DEFAULT = ("stablehlo",)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds all flags but the workdir and the output."""
    add_checkpoint(parser)
    parser.add_argument(
        "--formats",
        metavar="FORMATS",
        default=",".join(DEFAULT),
        help=f"of {', '.join(FORMATS)}, joined by commas; default: {','.join(DEFAULT)}",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="folder of the data sets, if it has moved; for onnx_int8"
    )
