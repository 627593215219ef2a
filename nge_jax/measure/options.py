"""The flags of `nge latency`, and the names of devices and runtimes. This module imports no jax."""

import argparse
from pathlib import Path

DEFAULT_CONFIG = "train_cifar10"
JAX, ONNXRUNTIME = "jax", "onnxruntime"
RUNTIMES = (JAX, ONNXRUNTIME)
DEVICES = ("cpu", "gpu")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds all flags of the command."""
    parser.add_argument(
        "--config",
        metavar="NAME",
        help="config of a training that makes the network of a cell; default: the one that the search names, else "
        f"{DEFAULT_CONFIG}",
    )
    parser.add_argument(
        "--table",
        metavar="CSV",
        type=Path,
        help="latencies of a network's parts: without RUN or CELL the file is made, else its sum is told",
    )
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of a CPU; default: 1")
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        help=f"default: {JAX}; of an ONNX file {ONNXRUNTIME}",
    )
