"""A run from the config to the report. A search, a training and a segmentation go through the same twelve steps."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from nge_jax.console import banner
from nge_jax.console.progress import waiting
from nge_jax.devices import distributed
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import InputError
from nge_jax.runtime import callbacks, loop
from nge_jax.runtime.callbacks import Callbacks
from nge_jax.runtime.loop import State, Task
from nge_jax.settings import configs
from nge_jax.settings.checks import check_complete
from nge_jax.settings.parts.named import Parts
from nge_jax.settings.parts.part import NONE
from nge_jax.space.parts import loading as operations
from nge_jax.workdir import artifacts, earlier, environment, lock
from nge_jax.workdir import folder as workdir

# The result of `Kind.build`. Its `settings` are the config's values as the workdir records them.
Plan = Any
# The result of `Kind.open`. Its `notes` are lines for the user.
Data = Any
# The values of a config, nested.
Values = Mapping[str, Any]


class Kind(NamedTuple):
    """The functions in which kinds of tasks differ. `run` calls them in this order.

    A function that refuses input raises InputError or GenotypeError, before any compute.

    Attributes:
      name: "search", "train" or "segment", as in config.task.
      resolve: `(config, path) -> (config, images)`, chooses the values that the config leaves open. The run in the
        workdir `path` decides them, or else the data. `images` are a user's own, if they had to be opened.
      check: `(config, devices) -> None`, refuses values that are wrong with every data set, and a batch that so many
        devices do not divide; None: no batch is divided.
      members: `(values, path) -> {folder: values}` of several runs in one workdir; empty for a single run.
      open: `(config, images) -> data`, reads the data set.
      recognize: `(config, data, path) -> data`, checks that the data are the data of the workdir's run.
      build: `(config, data, parts) -> plan`; parts: the parts from outside that Python gave as values. Nothing later
        reads a config.
      begin: `(plan, path, goes_on) -> start`, reads the variables that a new run begins with.
      files: `plan -> {name: text}`, the files with which a workdir begins.
      describe: `plan -> lines` for the user.
      parts: the noun in "making ..." while the task is made, such as "the supernet".
      make_task: `(plan, path, start) -> Task`.
      describe_state: `(plan, state) -> lines` for the user.
      conclude: `(plan, state, path) -> result`, writes all results except the report.
      report: `path -> path of the page`, writes the report.
      tell: `(plan, result, path) -> lines` for the user at the end.
    """

    name: str
    resolve: Callable[[ConfigDict, Path | None], tuple[ConfigDict, Any]]
    check: Callable[[ConfigDict, int | None], None]
    members: Callable[[Values, Path], Mapping[Path, Values]]
    open: Callable[[ConfigDict, Any], Data]
    recognize: Callable[[ConfigDict, Data, Path], Data]
    build: Callable[[ConfigDict, Data, Parts], Plan]
    begin: Callable[[Plan, Path, bool], Any]
    files: Callable[[Plan], dict[str, str]]
    describe: Callable[[Plan], Sequence[str]]
    parts: str
    make_task: Callable[[Plan, Path, Any], Task]
    describe_state: Callable[[Plan, State], Sequence[str]]
    conclude: Callable[[Plan, State, Path], Any]
    report: Callable[[Path], Path]
    tell: Callable[[Plan, Any, Path], Sequence[str]]


class Given(NamedTuple):
    """Holds what Python gave to a run as values.

    Attributes:
      parts: parts from outside, by the names that the config has.
      callbacks: see `callbacks.Callback`.
    """

    parts: Parts = NONE
    callbacks: Sequence[Any] = ()


NOTHING = Given()


@in_32_bits
def run(
    kind: Kind,
    config: ConfigDict,
    path: str | Path,
    *,
    overwrite: bool = False,
    given: Given = NOTHING,
) -> Any:
    """Runs a task in the workdir `path`, resumes it there, or with `overwrite` begins anew; returns the result.

    Raises:
      InputError, GenotypeError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    _take_edited_operations()
    config = configs.complete(config, given.parts)
    check_complete(config, kind.name, given.parts)
    watch = callbacks.load(config.run.callbacks, given.callbacks)
    with lock.held(path := workdir.expand(path)):
        config, images = kind.resolve(config, None if overwrite else path)
        kind.check(config, jax.device_count())
        values = configs.to_values(config)
        folders = {path: values, **kind.members(values, path)}
        with _all_held(folders, path, overwrite=overwrite):
            banner.show(banner.device())
            with waiting("reading the data"):
                data = kind.open(config, images)
            banner.show_notes(data.notes)
            if not overwrite:
                data = kind.recognize(config, data, path)
            compute = functools.partial(
                loop.run,
                checkpoint_every_steps=config.run.checkpoint_every_steps,
                keep_checkpoints=config.run.keep_checkpoints,
                steps_per_dispatch=config.run.steps_per_dispatch,
                skip_nonfinite=config.run.skip_nonfinite,
                watch=watch,
            )
            plan = kind.build(config, data, given.parts)
            return _run(kind, plan, compute, watch, path, folders, overwrite=overwrite)


def _take_edited_operations() -> None:
    """Makes this run compute with operations as their files are now."""
    if operations.forget_edited():
        jax.clear_caches()  # traces know an operation by the name alone


def check_for_test(kind: Kind, config: ConfigDict, path: Path) -> ConfigDict:
    """Checks the config and the workdir of a run whose network is to be tested again; returns the resolved config.

    Raises:
      InputError: the config is refused, or the workdir holds a run of another config.
    """
    check_complete(config, kind.name)
    config, _ = kind.resolve(config, path)
    kind.check(config, None)
    if not artifacts.is_exported(path):
        workdir.check(path, configs.to_values(config), overwrite=False)
    return config


def _run(
    kind: Kind,
    plan: Plan,
    compute: Callable[[Task, Path], State],
    watch: Callbacks,
    path: Path,
    folders: Mapping[Path, Values],
    *,
    overwrite: bool,
) -> Any:
    """Runs a plan in a workdir that this process holds, from the first file to the report; `compute` is the loop."""
    start = kind.begin(plan, path, not overwrite and workdir.has_checkpoints(path))
    _begin_folders(folders, path, kind.files(plan), overwrite=overwrite)

    banner.show(*kind.describe(plan), banner.TO_STOP)
    with waiting(f"making {kind.parts}"):
        task = kind.make_task(plan, path, start)
    banner.show(*kind.describe_state(plan, task.state), *_estimates(task, path))
    watch.on_begin(path, folders[path])
    state = compute(task, path)
    # This frees the images on the devices. Choosing a cell may put them there again.
    del task, start
    result = kind.conclude(plan, state, path)
    if distributed.is_first():
        # The workdir's report reads the members' folders, and comes last.
        for folder in (*[f for f in folders if f != path], path):
            loop.finish(folder, kind.report)
        for line in kind.tell(plan, result, path):
            print(line, flush=True)
    watch.on_end(result)
    return result


def _estimates(task: Task, path: Path) -> Sequence[str]:
    """Says what the run will take: time and memory by an earlier run of the same programs, disk by its state."""
    if not distributed.is_first():
        return ()
    found = earlier.find(path, task.settings, environment.environment())
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(task.state))
    keep = task.settings.get("run", {}).get("keep_checkpoints", 1)
    return *banner.estimate(found, task.total_steps), *banner.disk(state_bytes, keep, path)


@contextlib.contextmanager
def _all_held(folders: Mapping[Path, Values], path: Path, *, overwrite: bool) -> Iterator[None]:
    """Holds the members' folders after a check that the workdir and all folders may be used; `path` is held already.

    Raises:
      InputError: a folder holds a run of other values, or is in use.
    """
    for folder, values in folders.items():
        workdir.check(folder, values, overwrite=overwrite)
    for folder in _earlier_members(path, overwrite=overwrite) - folders.keys():
        lock.check_free(folder)
    with contextlib.ExitStack() as held:
        for folder in folders:  # the order is the same in every process
            if folder != path:
                held.enter_context(lock.held(folder))
        yield


def _begin_folders(
    folders: Mapping[Path, Values], path: Path, files: Mapping[str, str], *, overwrite: bool
) -> None:
    """Makes the workdir and the members' folders after every process of the run has passed all checks.

    With `overwrite`, folders of an earlier run's other members are removed.
    """
    distributed.wait_for_all("all is checked")
    if distributed.is_first():
        unused = _earlier_members(path, overwrite=overwrite) - folders.keys()
        for folder, values in folders.items():
            workdir.prepare(folder, values, overwrite=overwrite, texts=files)
        for folder in unused:
            workdir.remove(folder)
    distributed.wait_for_all("the workdir is prepared")


def _earlier_members(path: Path, *, overwrite: bool) -> set[Path]:
    """Returns the members' folders that `overwrite` would remove; empty if the workdir has none or is damaged."""
    if not overwrite:
        return set()
    try:
        return {path / member.folder for member in artifacts.read_members(path)}
    except InputError:
        return set()
