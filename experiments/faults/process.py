"""A run in a separate process: starts the run, sends a signal at a chosen moment, and reads the results."""

import gc
import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from nge_jax import main

SECONDS = 900  # a run that takes longer hangs, even on a busy machine
DISK = "disk"
MOMENTS = ("any", "in a checkpoint", "a rename", "a small file")


class Fault(NamedTuple):
    """The moment of a fault, and the signal or the moved folder.

    Attributes:
      signal: the signal sent to the run; 0 for none.
      moment: one of MOMENTS.
      number: how many such moments pass before the fault.
      delay: seconds after the moment, or after the start if the moment is "any".
      moves: (a folder, the folder's new place); the fault moves the folder instead of sending a signal.
    """

    signal: int
    moment: str
    number: int
    delay: float
    moves: tuple[Path, Path] | None = None


def preload() -> None:
    """Does the work that every run shares, once before the forks: imports and the reading of fonts."""
    import matplotlib.backends.backend_svg  # noqa: F401
    import sklearn.datasets
    from matplotlib.figure import Figure

    from nge_jax.search import runner as search_runner  # noqa: F401
    from nge_jax.segment import runner as segment_runner  # noqa: F401
    from nge_jax.train import runner as train_runner  # noqa: F401

    sklearn.datasets.load_digits()
    axes = Figure().subplots()
    axes.set_title("$2^3$ text")
    for kind in ("svg", "png"):
        axes.figure.savefig(io.BytesIO(), format=kind)
    gc.freeze()  # these objects stay: later collections skip them


def start(config: Any, workdir: Path, fault: Fault | None = None) -> int:
    """Forks a process that runs the command, and returns the process id. The output goes to `log_of(workdir)`."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    code = 1
    try:
        # A shell makes background processes ignore SIGINT, and the fork would inherit this.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(log_of(workdir), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        if fault is not None:
            install(fault, workdir)
        with main.exit_codes():
            main.run_task(config, workdir)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def log_of(workdir: Path) -> Path:
    """Returns the file of a run's output. It is not on the workdir's disk, which a trial may fill."""
    folder = workdir.parent if workdir.parent.name != DISK else workdir.parent.parent
    return folder / f"{workdir.name}.log"


def install(fault: Fault, workdir: Path) -> None:
    """Makes this process send itself the fault's signal. Python's audit events of files tell the moment."""

    def hit():
        if fault.moves is not None:
            os.rename(*fault.moves)
        else:
            os.kill(os.getpid(), fault.signal)

    if fault.moment == "any":
        signal.signal(signal.SIGALRM, lambda *_: hit())
        signal.setitimer(signal.ITIMER_REAL, fault.delay)
        return
    left = [fault.number]
    path = f"{workdir}/"

    def watch(event, arguments):
        if event not in ("open", "os.rename", "os.mkdir"):
            return
        name = arguments[0]
        name = os.fsdecode(name) if isinstance(name, bytes | str | os.PathLike) else ""
        begins = event == "os.mkdir" and "orbax-checkpoint-tmp" in name
        is_file = event == "open" and "checkpoints" not in name and not name.endswith(".log")
        is_it = {
            "in a checkpoint": begins,
            "a rename": event == "os.rename",
            "a small file": is_file,
        }
        if not name.startswith(path) or not is_it[fault.moment]:
            return
        left[0] -= 1
        if left[0] < 0:
            left[0] = sys.maxsize
            if fault.delay:
                time.sleep(fault.delay)
            hit()

    sys.addaudithook(watch)


def wait(process: int) -> int | None:
    """Returns how a process ended: its exit code, minus its signal, or None if it hung and was killed."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def steps(workdir: Path) -> list[int]:
    """Lists the steps of the complete checkpoints."""
    return sorted(int(p.name) for p in workdir.glob("checkpoints/*") if p.name.isdigit())


def outcome(workdir: Path) -> dict[str, Any]:
    """Reads a run's results, without values that depend on time and place."""
    newest = workdir / "checkpoints" / str(steps(workdir)[-1])
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"], row["images_per_second"]
    files = {name: (workdir / name).read_text() for name in ("genotype.json",)}
    found = {"step": int(newest.name), "arrays": (newest / "manifest" / "metadata").read_text()}
    return found | files | {"rows": rows, "report": (workdir / "report.html").exists()}


def last_line(workdir: Path) -> str:
    lines = log_of(workdir).read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
