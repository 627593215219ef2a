"""The mistakes of a test of which the network was most confident, with their images, for the report."""

import heapq
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax import files
from nge_jax.data.source import MaskedBatch
from nge_jax.data.spec import DatasetSpec
from nge_jax.networks.network import Network
from nge_jax.train import trained
from nge_jax.train.step import TrainState
from nge_jax.workdir import artifacts

MOST = 12  # pictures in a report
MOST_IMAGES = 10_000  # a larger test split is looked at from its beginning
BATCH = 64  # the batch of `nge predict`, whose program the compilation cache then has


class Mistake(NamedTuple):
    """An image that was taken for another class.

    Attributes:
      probability: the probability of the prediction.
      number: the place of the image in the test split.
      truth, prediction: numbers of classes.
      image: uint8 [H, W, C].
    """

    probability: float
    number: int
    truth: int
    prediction: int
    image: np.ndarray


def find(
    model: Network, spec: DatasetSpec, state: TrainState, batches: Iterable[MaskedBatch]
) -> list[Mistake]:
    """Returns the MOST mistakes with the largest probabilities, the largest first."""
    variables = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
    found: list[Mistake] = []
    seen = 0
    for images, labels, mask in batches:
        rows = np.asarray(trained.probabilities(model, spec, variables, images))
        predictions = rows.argmax(-1)
        wrong = np.flatnonzero(mask & (predictions != labels))
        found += [
            Mistake(
                float(rows[place].max()),
                seen + int(place),
                int(labels[place]),
                int(predictions[place]),
                np.array(images[place]),
            )
            for place in wrong
        ]
        found = heapq.nsmallest(MOST, found, key=lambda one: (-one.probability, one.number))
        seen += int(mask.sum())
        if seen >= MOST_IMAGES:
            break
    return found


def write(workdir: Path, mistakes: list[Mistake]) -> None:
    """Writes the mistakes as mistakes.npz in the workdir, an array for each field."""
    columns: dict[str, Any] = {
        field: np.array([getattr(one, field) for one in mistakes]) for field in Mistake._fields
    }
    content = io.BytesIO()
    np.savez_compressed(content, **columns)
    files.write_atomically(workdir / artifacts.MISTAKES, content.getvalue())
