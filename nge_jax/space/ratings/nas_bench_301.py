"""NAS-Bench-301 (Zela et al., ICLR 2022) by a surrogate, which guesses how any cell of the paper's space trains.

The surrogate comes from YAHPO Gym (Pfisterer et al., AutoML 2022): a folder with `nb301.onnx` and `encoding.json`. It
was fitted to trained cells. It guesses the validation accuracy on CIFAR-10 after 98 epochs, the most that it knows.

The surrogate does not punish skip collapse: a cell of skip connections alone gets more than most cells. It is therefore
no witness on skip collapse. Differences under 0.3 percentage points say little. Show random cells beside every guess.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.space import architecture, genotype
from nge_jax.space.architecture import ABSENT
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS

MODEL, ENCODING = "nb301.onnx", "encoding.json"
EPOCHS = 98.0
PREFIX = "NetworkSelectorDatasetInfo_COLON_darts_COLON_"  # every key of the encoding begins so
FIELDS = ("normal", "reduce")  # the keys' names of DARTS.cell_types
INACTIVE = "#na#"


class Surrogate(NamedTuple):
    """Guesses accuracies.

    Attributes:
        session: a session of ONNX Runtime.
        encoding: the number of each value, by key, with the keys in the order of the input's numbers.
    """

    session: Any
    encoding: Mapping[str, Mapping[str, int]]

    def accuracies(self, architectures: np.ndarray) -> np.ndarray:
        """Guesses the validation accuracies, float32 [...] in percent, of architectures [..., 2, 14].

        A guess takes a millisecond.

        Raises:
            ValueError: an architecture does not keep two edges into every inner node, or is of another space.
        """
        architectures = np.asarray(architectures)
        if architectures.shape[-2:] != DARTS.shape[:2]:
            raise InputError(
                f"architectures: found the shape {architectures.shape}, expected [..., 2, 14]: the surrogate knows the "
                "cells of the paper's space alone"
            )
        cells = architectures.reshape(-1, *DARTS.shape[:2])
        epochs = np.full((1, 1), EPOCHS, np.float32)
        guesses = [
            self.session.run(None, {"x_cat": encode(cell, self.encoding)[None], "x_cont": epochs})
            for cell in cells
        ]
        found = np.array([accuracy_and_time[0][0, 0] for accuracy_and_time in guesses], np.float32)
        return found.reshape(architectures.shape[:-2])


def load(folder: str | Path) -> Surrogate:
    """Reads the surrogate.

    Raises:
        InputError: onnxruntime is not installed, or a file is missing or wrong; the message names the file.
    """
    folder = Path(folder).expanduser()
    for name in (MODEL, ENCODING):
        if not os.path.isfile(folder / name):
            raise InputError(f"{folder / name}: no such file, expected the surrogate's")
    try:
        encoding = json.loads((folder / ENCODING).read_text(encoding="utf-8"))
        random = architecture.from_genotype(genotype.random_genotype(0))
        numbers = encode(random, encoding)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        expected = f"expected the encoding of the cells that {MODEL} reads"
        raise InputError(f"{folder / ENCODING}: {expected}, found {files.reason(error)}") from None
    session = _session(folder / MODEL)
    shapes = {entry.name: entry.shape for entry in session.get_inputs()}
    expected = {"x_cat": [1, len(numbers)], "x_cont": [1, 1]}
    if shapes != expected:
        raise InputError(f"{folder / MODEL}: expected inputs {expected}, found {shapes}")
    return Surrogate(session, encoding)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"{path}: the package onnxruntime is not installed ({error}), expected pip install 'nge_jax[surrogate]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the model is small
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the errors of ONNX Runtime have no common class
        reason = files.reason(error)
        raise InputError(f"{path}: expected an ONNX model, found {reason}") from None


def encode(cell: np.ndarray, encoding: Mapping[str, Mapping[str, int]]) -> np.ndarray:
    """Writes an architecture [2, 14] as the surrogate's numbers, int32 [34].

    Raises:
        ValueError: the architecture does not keep two edges into every inner node.
        KeyError: the encoding belongs to other cells.
    """
    values = {}
    for field, operations in zip(FIELDS, np.asarray(cell), strict=True):
        for edge, operation in enumerate(operations):
            name = INACTIVE if operation == ABSENT else DARTS.operations[operation]
            values[f"{PREFIX}edge_{field}_{edge}"] = name
        for node in DARTS.inner_nodes:
            kept = [DARTS.edges[e][0] for e in DARTS.incoming(node) if operations[e] != ABSENT]
            if len(kept) != DARTS.kept_edges:
                expected = f"expected {DARTS.kept_edges} edges into node {node}"
                raise ValueError(f"architecture: {expected} of the {field} cell, found {len(kept)}")
            if node > DARTS.num_inputs:  # the first inner node has no choice
                values[f"{PREFIX}inputs_node_{field}_{node}"] = "_".join(map(str, kept))
    if missing := values.keys() - encoding.keys():
        raise KeyError(min(missing))
    return np.array([encoding[key][values[key]] for key in encoding], np.int32)


def make_evaluator(surrogate: Surrogate) -> Callable[[jax.Array], jax.Array]:
    """Makes a function from architectures [B, 2, 14] to rewards [B], the guesses as fractions. It may be jitted."""

    def on_host(architectures):
        return surrogate.accuracies(architectures) / np.float32(100)

    def evaluate(architectures: jax.Array) -> jax.Array:
        rewards = jax.ShapeDtypeStruct(architectures.shape[:1], np.float32)
        return jax.pure_callback(on_host, rewards, architectures, vmap_method="broadcast_all")

    return evaluate


def of_genotypes(surrogate: Surrogate, cells: Sequence[Genotype]) -> np.ndarray:
    """Guesses the accuracies [n] in percent of cells with four inner nodes and this project's operations.

    Raises:
        GenotypeError: a cell belongs to another space, as ENASNet (five inner nodes) and SNAS_aggressive (`none`) do,
            or not all inner nodes are in its output.
    """
    architectures = [architecture.from_genotype(cell) for cell in cells]
    return surrogate.accuracies(np.array(architectures).reshape(-1, *DARTS.shape[:2]))


def random_accuracies(surrogate: Surrogate, count: int) -> np.ndarray:
    """Guesses the accuracies [count] in percent of random:0, random:1, ..., to be shown beside any other cell."""
    return of_genotypes(surrogate, [genotype.random_genotype(seed) for seed in range(count)])
