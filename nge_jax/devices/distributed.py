"""Several processes, usually one for each accelerator or host, that run one task together.

Every process runs the same command. Flags, or the environment that Slurm, Open MPI or Kubernetes prepare, say which
processes belong together. Without them a process is alone. All processes print the same lines on stdout, and only the
first process's lines are kept. Warnings and errors on stderr come from every process.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from typing import Self

import jax
import numpy as np
from jax.experimental import multihost_utils

from nge_jax.errors import InputError

# Environment variables that announce several processes; jax reads the rest. These are Slurm's variables of a job step.
# A batch script that runs python without srun sees the variables of a job, but is alone.
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
OPEN_MPI = "OMPI_COMM_WORLD_SIZE"
# The pods of an indexed Job have these variables.
KUBERNETES = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX")
TOLD = b"SIGTERM received: the run stops when the steps or the compilation in progress have ended\n"


def is_alone(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> bool:
    """Tells whether `initialize` with these arguments has no other processes to join; does not start jax."""
    given = coordinator, num_processes, process_id
    if given in ((None, 1, None), (None, 1, 0)):
        return True
    return given == (None, None, None) and not _environment_names_others()


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the run's other processes, if there are any. Call it before jax does anything else.

    Args:
      coordinator: HOST:PORT of process 0; without it the environment decides.
      num_processes, process_id: the number of processes, and the number of this process, from 0.

    Raises:
      InputError: some of the three are missing or they disagree, or the other processes cannot be found.
    """
    if is_alone(coordinator, num_processes, process_id):
        return
    if coordinator is not None and num_processes is not None and process_id is not None:
        if not 0 <= process_id < num_processes:
            raise InputError(
                f"--process_id: found {process_id}, expected 0 to {num_processes - 1} "
                f"(--num_processes={num_processes})"
            )
        if not coordinator.rpartition(":")[2].isdigit():
            raise InputError(f"--coordinator: found {coordinator!r}, expected HOST:PORT")
    elif (coordinator, num_processes, process_id) != (None, None, None):
        raise InputError("--coordinator, --num_processes, --process_id: expected all three or none")
    # Processes on CPUs need a library that sums over them. Accelerators ignore this option.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"--coordinator: the processes of this run did not find each other ({reason}); pass "
            "--coordinator=HOST:PORT --num_processes=N --process_id=I to each"
        ) from error
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (stays open until the process ends)


def is_first() -> bool:
    """Tells whether this is the process that writes the run's files and prints its results."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Waits until every process has reached the point that `where` names."""
    multihost_utils.sync_global_devices(where)


def of_first(value: float) -> np.ndarray:
    """Returns the first process's value as float32, where processes measure different ones."""
    return np.asarray(multihost_utils.broadcast_one_to_all(np.float32(value)))


def _environment_names_others() -> bool:
    """Tells whether the environment announces more processes than this one."""
    slurm = all(os.environ.get(name) for name in SLURM) and _count("SLURM_NTASKS") > 1
    return slurm or _count(OPEN_MPI) > 1 or _is_kubernetes_run()


def _count(name: str) -> int:
    """Reads a number of processes; 1 if the variable is not set or is empty."""
    text = os.environ.get(name, "").strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(
            f"{name}: found {text[:40]!r} in the environment, expected a number of processes"
        )
    return int(text or 1)


def _is_kubernetes_run() -> bool:
    """Tells whether the pods of an indexed Job make one run: a service gives them names, or a coordinator is named.

    The pods of a Job of independent runs have no such names.
    """
    if not all(os.environ.get(name) for name in KUBERNETES):
        return False
    return bool(os.environ.get("JAX_COORDINATOR_ADDRESS")) or ".svc." in f"{socket.getfqdn()}."


class PreemptionNotice:
    """Notices SIGTERM in any process of the run. Use it as a context manager.

    The default action would end the process in the middle of a step. A second signal still does. Python calls the
    handler when the compilation in progress has ended. Therefore a thread tells at once that the signal was received.
    """

    def __init__(self):
        self._here = False
        self._untold = threading.Lock()  # taken by the one that tells
        # The ends of a pipe, into which Python writes the number of each signal at once.
        self._ends: tuple[int, int] | None = None
        # Python allows handlers of signals in the main thread only.
        self._installed = threading.current_thread() is threading.main_thread()
        self._before = None

    def __enter__(self) -> Self:
        if self._installed:
            self._before = signal.signal(signal.SIGTERM, self._note)
            self._listen()
        return self

    def __exit__(self, *_) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)
        if self._ends is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._ends[1])  # ends the thread, which closes the other end
            self._ends = None

    def given(self) -> bool:
        """Tells whether any process got the signal. All processes must call it at the same points of the run."""
        return bool(multihost_utils.process_allgather(np.array(self._here)).any())

    def give(self) -> None:
        """Asks the run to stop, as the signal does."""
        self._here = True

    def _listen(self) -> None:
        """Starts the thread, unless the program around this one listens to signals."""
        before = signal.set_wakeup_fd(-1)
        if before != -1:
            signal.set_wakeup_fd(before)
            return
        self._ends = os.pipe()
        os.set_blocking(self._ends[1], False)
        signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)
        threading.Thread(target=self._tell_at_once, args=self._ends[:1], daemon=True).start()

    def _tell_at_once(self, end: int) -> None:
        while signals := os.read(end, 64):
            if signal.SIGTERM in signals:
                self._tell()
        os.close(end)

    def _tell(self) -> None:
        if self._untold.acquire(blocking=False):
            # A handler may not print, since the stream may be in use. On a terminal a line of progress stands there.
            with contextlib.suppress(OSError):
                os.write(2, b"\n" * os.isatty(2) + TOLD)

    def _note(self, *_):
        self._here = True
        self._tell()
        signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)
