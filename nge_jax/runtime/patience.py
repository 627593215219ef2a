"""The early end of a run whose score on held-out images grows no more (Prechelt, Early Stopping - But When?, 1998)."""

from typing import Any, NamedTuple

import numpy as np


class Waiting(NamedTuple):
    """A run's wait for a better score, as a part of its state.

    Attributes:
      best: float32, the best score so far; -1 before the first score.
      epochs: int32, the number of epochs since the best score.
    """

    best: Any
    epochs: Any


def begin() -> Waiting:
    """Makes the wait of a run without a score; scores are 0 or more."""
    return Waiting(np.float32(-1), np.int32(0))


def wait(waiting: Waiting, score: float) -> Waiting:
    """Returns the wait after an epoch with this score; an equal score is no better one."""
    if np.float32(score) > waiting.best:
        return Waiting(np.float32(score), np.int32(0))
    return Waiting(np.float32(waiting.best), np.int32(waiting.epochs + 1))


def is_over(waiting: Waiting, patience: int) -> bool:
    """Tells whether the run has waited for as many epochs as it may."""
    return int(waiting.epochs) >= patience
