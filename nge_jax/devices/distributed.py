"""Several processes, usually one for each accelerator or host, that run one task together.

Every process runs the same command. Who the others are is told by flags or by the environment that Slurm,
Open MPI or Kubernetes prepare; with neither, a process is alone. What they print on stdout is the same, so
that only the first one's is kept; warnings and errors, on stderr, are everyone's.
"""

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

# What tells that there are several processes: jax asks these for the rest. Of Slurm the step's variables,
# because a batch script that runs python without srun sees the job's and yet is alone.
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
OPEN_MPI = "OMPI_COMM_WORLD_SIZE"
KUBERNETES = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX")  # of an indexed Job


def is_alone(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> bool:
    """Tells whether `initialize` of the same will find no other processes to join; asks nothing of jax."""
    given = coordinator, num_processes, process_id
    if given in ((None, 1, None), (None, 1, 0)):
        return True
    return given == (None, None, None) and not _told_of_others()


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the run's other processes, if there are any; before anything else of jax runs.

    Args:
      coordinator: HOST:PORT of process 0; without it the environment decides.
      num_processes, process_id: how many there are, and which of them this is, from 0.

    Raises:
      InputError: the three are given in part or disagree, or the others cannot be found.
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
    # The processes of a CPU run need somebody to carry their sums; others ignore it.
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
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (as long as the process lives)


def is_first() -> bool:
    """Tells whether this is the process that writes the run's files and prints its results."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Returns once every process is `where`."""
    multihost_utils.sync_global_devices(where)


def _told_of_others() -> bool:
    """Finds out whether the environment tells of more processes than this one."""
    slurm = all(os.environ.get(name) for name in SLURM) and _count("SLURM_NTASKS") > 1
    return slurm or _count(OPEN_MPI) > 1 or _is_kubernetes_run()


def _count(name: str) -> int:
    """Reads a number of processes; one where the variable is not set, or is empty."""
    text = os.environ.get(name, "").strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(
            f"{name}: found {text[:40]!r} in the environment, expected a number of processes"
        )
    return int(text or 1)


def _is_kubernetes_run() -> bool:
    """Whether the pods of an indexed Job make one run: a service gives them names, or a coordinator is named.

    The pods of a Job of independent runs have no names for each other.
    """
    if not all(os.environ.get(name) for name in KUBERNETES):
        return False
    return bool(os.environ.get("JAX_COORDINATOR_ADDRESS")) or ".svc." in f"{socket.getfqdn()}."


class PreemptionNotice:
    """Whether SIGTERM has come to any process of the run. Use as a context manager.

    The default action would end the process in the middle of a step. A second signal still does.
    """

    def __init__(self):
        self._here = False
        self._installed = threading.current_thread() is threading.main_thread()  # where it may be
        self._before = None

    def __enter__(self) -> Self:
        if self._installed:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_) -> None:
        if self._installed:
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)

    def given(self) -> bool:
        """Tells whether the signal has come, each process the same: all must call it, at the same points of the run."""
        return bool(multihost_utils.process_allgather(np.array(self._here)).any())

    def _note(self, *_):
        self._here = True
        signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)
