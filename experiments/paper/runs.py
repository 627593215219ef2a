"""Finds the finished runs, and makes the missing ones, each in a separate process.

A run is `python -m nge_jax.main` with a config, some keys and a workdir. The output goes to WORKDIR.log. The report and
the config in a workdir show that a run is finished. A stopped run resumes when made again.
"""

import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ml_collections import ConfigDict

from nge_jax.errors import InputError
from nge_jax.settings import checks, configs, keys
from nge_jax.space import genotype
from nge_jax.workdir import artifacts, folder

ROOT = Path(__file__).resolve().parents[2]  # working directory of every run
MAIN = (sys.executable, "-m", "nge_jax.main")
POLL_SECONDS = 0.2
RAY_RETRIES = 3  # tries again after the loss of a worker or machine


class Run(NamedTuple):
    """A run of the tool.

    workdir: the workdir of the run.
    config: "configs/FILE.py:VARIANT".
    settings: values of config keys; the parts of a key are joined by dots.
    """

    workdir: Path
    config: str
    settings: dict[str, int | float | str]

    @property
    def name(self) -> str:
        return f"{self.workdir.parent.name}/{self.workdir.name}"

    @property
    def log(self) -> Path:
        return self.workdir.with_name(f"{self.workdir.name}.log")


def path_argument(path: Path) -> str:
    """Spells a path for a run's command line: relative to ROOT if it lies in ROOT, otherwise absolute.

    A workdir refuses a config that differs by a letter, so a cell must always have the same spelling.
    """
    path = Path(os.path.abspath(path))
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def command(run: Run) -> list[str]:
    """Spells the command line of a run."""
    settings = [f"--config.{key}={value}" for key, value in run.settings.items()]
    return [*MAIN, f"--config={run.config}", *settings, f"--workdir={path_argument(run.workdir)}"]


def configuration(run: Run) -> ConfigDict:
    """Reads the config of a run as `nge_jax.main` would."""
    file, _, variant = run.config.partition(":")
    config = runpy.run_path(str(ROOT / file))["get_config"](variant)
    config.update_from_flattened_dict(run.settings)
    return config


def is_finished(run: Run) -> bool:
    """Tells whether the workdir holds this run, finished. It only reads files.

    Finished runs may be moved, so cells are compared and not their paths. Only the keys in the workdir's config are
    compared: the default of a newer key changes nothing. Values that the config leaves to the images are not compared.

    Raises:
        InputError: the workdir holds the run of another config, or of another cell.
    """
    if not (run.workdir / artifacts.REPORT).exists():
        return False
    given = configs.flatten(json.loads(configuration(run).to_json()))
    recorded = configs.flatten(artifacts.read_json(run.workdir / artifacts.CONFIG))
    left_open = keys.left_open(given)
    differences = [
        f"{key}: workdir has {recorded[key]!r}, now {value!r}"
        for key, value in given.items()
        if key in recorded and recorded[key] != value
        if key not in ("genotype", "init_from", *left_open)
        if keys.changes_result(given["task"], key)
    ]
    if "genotype" in given:
        path = ROOT / given["genotype"]  # unless the value names a cell
        wanted = genotype.load(str(path) if path.exists() else given["genotype"])
        if wanted != artifacts.read_genotype(run.workdir / artifacts.GENOTYPE):
            differences.append(f"genotype: workdir trained another cell than {given['genotype']}")
    if differences:
        raise InputError(
            f"{run.workdir}: expected a run of {run.config}, found another ({'; '.join(differences)}); "
            "choose another --out, or move it away"
        )
    return True


def first_finished(runs: Iterable[Run]) -> Run | None:
    """Finds a finished run. The caller reads from it values that all runs share."""
    return next(filter(is_finished, runs), None)


def complete(runs: Iterable[Run], *, jobs: int = 1, by_ray: bool = False) -> None:
    """Makes the unfinished runs, `jobs` processes at a time or as Ray's tasks.

    If a run fails, the program ends with the run's exit code and stops the other runs. Local runs save a checkpoint
    first; Ray kills the tasks.

    Raises:
        InputError: a search does not read one of its keys. No run has begun then.
    """
    runs = {run.workdir: run for run in runs}.values()
    missing = [run for run in runs if not is_finished(run)]
    for run in missing:
        values = configs.flatten(configs.to_values(configuration(run)))
        checks.check_read(values, run.settings, folder.recorded_values(run.workdir))
    if missing:
        print(f"{len(missing)} of {len(runs)} runs to do", flush=True)
        _by_ray(missing) if by_ray else _here(missing, jobs)


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    """Starts a process whose output is added to the file `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        return subprocess.Popen(
            arguments, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )


def execute(arguments: list[str], log: Path) -> int:
    """Starts a process, waits, and returns the exit code. Ray runs this function as a task."""
    return start(arguments, log).wait()


def load_ray() -> ModuleType:
    """Imports the optional package ray.

    Raises:
        InputError: ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(f"--ray: the package ray is not installed ({error})") from None
    return ray


def _here(runs, jobs):
    """Makes runs on this machine, `jobs` at a time."""
    waiting, running = list(runs), {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                print(f"{run.name} runs, see {run.log}", flush=True)
                running[run.workdir] = run, start(command(run), run.log)
            ended = [path for path, (_, process) in running.items() if process.poll() is not None]
            for path in ended:
                run, process = running.pop(path)
                _end(run, process.returncode)
            if not ended:
                time.sleep(POLL_SECONDS)
    finally:  # a training saves a checkpoint first
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()


def _by_ray(runs):
    """Makes runs as Ray's tasks, each with a GPU if there is any. RAY_ADDRESS names a cluster; the default is local.

    All machines need the same checkout, data and --out at the same paths. If a worker is lost, Ray also kills the
    run's process. Ray then starts the run again, and the run resumes from the last checkpoint.
    """
    ray = load_ray()
    try:
        ray.init(ignore_reinit_error=True)
    except (ConnectionError, ValueError) as error:
        raise InputError(f"--ray: expected a cluster at RAY_ADDRESS, found {error}") from None
    gpus = min(1, ray.cluster_resources().get("GPU", 0))
    task = ray.remote(num_gpus=gpus, max_retries=RAY_RETRIES)(execute)
    started = {task.remote(command(run), run.log.absolute()): run for run in runs}
    while started:
        (ended, *_), _ = ray.wait(list(started), num_returns=1)
        run = started.pop(ended)
        try:
            code = ray.get(ended)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
            sys.exit(f"error: {run.name} lost its worker {1 + RAY_RETRIES} times; see {run.log}")
        _end(run, code)


def _end(run, code):
    """Prints that a run is done. If the run failed, ends the program with an error."""
    if code:
        lines = run.log.read_text().split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "no output")
        print(
            f"error: {run.name} ended with exit code {code}: {last}; see {run.log}", file=sys.stderr
        )
        sys.exit(code if code > 0 else 1)  # a negative code is a signal
    print(f"{run.name} is done", flush=True)
