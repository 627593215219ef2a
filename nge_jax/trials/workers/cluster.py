"""A Ray cluster that trains cells. Ray is an optional package, and this module alone imports it."""

import contextlib
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax.data.small import ArrayDataset
from nge_jax.errors import InputError, Preempted
from nge_jax.train.step import TrainState
from nge_jax.trials.ledger import Job
from nge_jax.trials.workers.worker import Worker

AUTO = "auto"  # in place of an address
KEY = "config.run.ray"
POLL_SECONDS = 1.0  # so often a wait looks whether the search is asked to stop
CONNECT_SECONDS = 5.0


class Ended(NamedTuple):
    """A job that a worker has ended.

    Attributes:
      job: the job.
      trial: the training at the end of the job.
      accuracy: the accuracy on the validation half.
    """

    job: Job
    trial: TrainState
    accuracy: float


def connect(address: str, key: str = KEY) -> ModuleType:
    """Connects this process to a cluster, and returns the package ray.

    Args:
      address: HOST:PORT of a cluster. "auto": the cluster that RAY_ADDRESS names or that runs on this machine, or else
        one that is started here and ends with this process.
      key: the key or flag that has the address.

    Raises:
      InputError: ray is not installed, or no cluster answers.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            f"{key}: found {address!r}, expected the package ray, pip install 'nge_jax[ray]' ({error})"
        ) from None
    if ray.is_initialized():
        return ray
    _knock(os.environ.get("RAY_ADDRESS", "") if address == AUTO else address, key)
    try:
        with warnings.catch_warnings(), _same_action():
            # A cluster that starts here is a new program, and no fork that shares jax's threads.
            warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)
            ray.init(address=None if address == AUTO else address, log_to_driver=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{key}: found {address!r}, expected a cluster that answers ({reason})"
        ) from None
    return ray


@contextlib.contextmanager
def _same_action() -> Iterator[None]:
    """Leaves the action on SIGTERM as it was. Ray's action aborts the process with a trace of the stack."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _knock(address: str, key: str) -> None:
    """Refuses an address where nobody listens. Ray itself would try for minutes."""
    if not address or address in (AUTO, "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"{key}: found {address!r}, expected {AUTO!r} or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"{key}: found {address!r}, expected a cluster that answers ({error})"
        ) from None


class Cluster:
    """The workers of a search, each on a core or on a GPU. Ray starts a lost worker and its job again.

    Args:
      ray: the package, connected to a cluster.
      settings: the values of the search's config.
      data: the images of the search.
      most: the most workers.
      stops: tells whether the search is asked to stop.
    """

    def __init__(
        self,
        ray: ModuleType,
        settings: Mapping[str, Any],
        data: ArrayDataset,
        most: int,
        stops: Callable[[], bool],
    ):
        self._ray, self._stops = ray, stops
        resources = ray.cluster_resources()
        on_gpus = jax.default_backend() == "gpu" and resources.get("GPU", 0) >= 1
        kind = "GPU" if on_gpus else "CPU"
        remote = ray.remote(
            num_cpus=1, num_gpus=int(on_gpus), max_restarts=-1, max_task_retries=-1
        )(Worker)
        # Each call brings the images, because a worker that is started again needs them again.
        self._images = ray.put(data)
        count = max(1, min(most, int(resources.get(kind, 1))))
        self._workers = [remote.remote(settings) for _ in range(count)]
        # The worker and the job by what Ray will give. A worker that compiles has no job.
        self._pending: dict[Any, tuple[Any, Job | None]] = {}
        self._idle: list[Any] = []

    def __len__(self) -> int:
        return len(self._workers)

    def compile(self) -> None:
        """Has all workers compile, and waits for the first. Others join the search when they are ready."""
        self._pending |= {
            worker.compile.remote(self._images): (worker, None) for worker in self._workers
        }
        self.wait()

    @property
    def has_idle(self) -> bool:
        """Whether a worker could begin a job."""
        return bool(self._idle)

    @property
    def running(self) -> list[Job]:
        """The jobs that workers train now."""
        return [job for _, job in self._pending.values() if job is not None]

    def begin(self, job: Job, cell: np.ndarray, start: TrainState | None) -> None:
        """Hands a job to an idle worker; arguments as of `Worker.train`."""
        worker = self._idle.pop(0)
        self._pending[worker.train.remote(self._images, job, cell, start)] = worker, job

    def wait(self) -> Ended | None:
        """Waits until a worker has ended its job, which is returned, or has become ready.

        Raises:
          RayError: the worker's process raised an error.
          Preempted: the search is asked to stop, and no worker is done. Jobs that run begin again when it goes on.
        """
        ready: list[Any] = []
        while not ready:
            ready, _ = self._ray.wait([*self._pending], timeout=POLL_SECONDS)
            # A job may take minutes, and a process that is asked to stop has seconds.
            if not ready and self._stops():
                count = len(self.running)
                doing = f"{count} job{'s' * (count > 1)} ran" if count else "the workers compiled"
                raise Preempted(f"stopped while {doing}, as asked")
        worker, job = self._pending.pop(ready[0])
        result = self._ray.get(ready[0])
        self._idle.append(worker)
        return None if job is None else Ended(job, *result)
