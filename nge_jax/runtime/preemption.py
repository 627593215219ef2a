"""A cluster takes its machine back: SIGTERM becomes a checkpoint and an exit code of its own."""

import signal
import threading

import numpy as np
from jax.experimental import multihost_utils

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: not done, the same command goes on


class Preempted(Exception):
    """The run has saved its state and stops, because it was asked to; the message says where."""


class Notice:
    """Whether SIGTERM has come to any process of the run. Use as a context manager.

    The default action would end the process in the middle of a step. A second signal still does.
    """

    def __init__(self):
        self._here = False
        self._installed = threading.current_thread() is threading.main_thread()  # where it may be
        self._before = None

    def __enter__(self) -> "Notice":
        if self._installed:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)

    def given(self) -> bool:
        """The same answer in every process: all of them must call it, at the same points of the run."""
        return bool(multihost_utils.process_allgather(np.array(self._here)).any())

    def _note(self, *_):
        self._here = True
        signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)
