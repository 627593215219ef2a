"""The loop that a search, a training and a segmentation share.

    for every epoch:
        for every phase of the epoch:
            for every dispatch of the phase:    state <- program(state, batches, key, start, stop)
        show and write the epoch's row of metrics, save the state

A `Task` says what is computed. The loop does the rest. It resumes from the newest checkpoint, saves the state at
regular steps and shows the progress. When the run is asked to stop, it saves and ends. All processes of a run go
through the same loop, and the first one writes.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax.console.progress import Columns, EpochLog, waiting
from nge_jax.devices import distributed, finite, parallel
from nge_jax.devices.compile_times import program_key
from nge_jax.devices.distributed import PreemptionNotice
from nge_jax.devices.finite import Diverged, NotFinite
from nge_jax.errors import InputError, Preempted
from nge_jax.runtime.callbacks import NO_CALLBACKS, Callbacks
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.workdir import artifacts, environment

# A NamedTuple of arrays with a `step`. If it has `sums`, they show NaN in the computed numbers.
State = Any
# The steps start..stop-1 of a phase, which one dispatch runs.
Span = tuple[int, int]
# Batches, and their rows start..stop-1, which one dispatch uses.
Work = tuple[Any, int, int]
# (state, batches, key, start, stop) -> state, on all devices.
Program = Callable[..., State]


class Phase(NamedTuple):
    """A part of an epoch. All dispatches of a phase run the same program.

    Attributes:
      name: shown beside the epoch, such as "weights"; empty if an epoch has one phase only.
      program: see `Program`; the result of `parallel.on_all_devices`.
      steps: the steps of the phase in a whole epoch.
      updates: the updates of the state in a step, which the state's `step` counts.
    """

    name: str
    program: Program
    steps: int
    updates: int = 1


class MemberEnd(NamedTuple):
    """The end of an epoch for one of several runs that a task computes.

    Attributes:
      row, arrays: see `EpochEnd`; for this run only.
    """

    row: dict[str, Any]
    arrays: Mapping[str, np.ndarray] = MappingProxyType({})


class EpochEnd(NamedTuple):
    """The results of an epoch that has ended.

    Attributes:
      state: the state with which the next epoch begins.
      row: the epoch's metrics.
      score: rates the state on held-out examples, larger is better; None without such examples.
      notes: lines to show below the row, except lines that stood below the row before.
      arrays: arrays [H, W] by tag, which TensorBoard shows as pictures.
      members: the ends of several runs by folder within the workdir; each run's rows are written to its folder.
    """

    state: State
    row: dict[str, Any]
    score: float | None = None
    notes: Sequence[str] = ()
    arrays: Mapping[str, np.ndarray] = MappingProxyType({})
    members: Mapping[str, MemberEnd] = MappingProxyType({})


class Task(NamedTuple):
    """Describes what a run computes. A step is an update of the state, except for the steps of a phase.

    Attributes:
      state: the state before the first step, on every device.
      key: given to every dispatch: the key of all random choices, or a pair of this key and the programs' arguments,
        see `parallel.with_arguments`.
      phases: the phases of an epoch, in order.
      total_steps: the steps of the whole run. The last epoch ends with the last step, even within the epoch.
      batch_size: the images of an update.
      batches: `(epoch, name of a phase, spans, state) -> the Work of each span`. It must read what it needs from
        `state` before it returns, because the first dispatch donates `state`. It may load the next batches while the
        devices compute.
      end_epoch: `(epoch, step, state) -> EpochEnd`; epochs count from 1 here. It may raise NotFinite.
      columns: the columns of the table of epochs.
      save_epochs: whether the state is saved after each epoch, even if no checkpoint is due.
      test: `state -> metrics`, which are added to the last row after that row is shown, also if the run ends early.
      compile: `state -> programs` of all phases, compiles ahead and leaves the state as it is; None: the loop compiles
        the only phase by a dispatch of no steps.
      must_be_finite: `state -> the part that has to be finite`.
      skipped: `state -> number of updates left out because they were not finite`; None: no update is left out.
      ended: `state -> whether the run ends here`, asked after each epoch; None: the run ends with the last step.
      settings: the run's settings, a tree of plain values. They and the shapes of the programs' inputs decide the
        programs.
      visible: `state -> the part that the programs see`.
      notice: asks the run to stop; None: the loop makes one. A program that waits looks at it. The program raises
        Preempted where the state has been saved.
    """

    state: State
    key: jax.Array
    phases: tuple[Phase, ...]
    total_steps: int
    batch_size: int
    batches: Callable[[int, str, Sequence[Span], State], Iterator[Work]]
    end_epoch: Callable[[int, int, State], EpochEnd]
    columns: Columns
    save_epochs: bool = False
    test: Callable[[State], dict[str, Any]] | None = None
    compile: Callable[[State], Sequence[Program]] | None = None
    must_be_finite: Callable[[State], Any] = lambda state: state
    skipped: Callable[[State], int] | None = None
    ended: Callable[[State], bool] | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    visible: Callable[[State], Any] = lambda state: state
    notice: PreemptionNotice | None = None

    @property
    def steps_per_epoch(self) -> int:
        return sum(phase.steps * phase.updates for phase in self.phases)


def run(
    task: Task,
    workdir: Path,
    *,
    checkpoint_every_steps: int,
    keep_checkpoints: int,
    steps_per_dispatch: int,
    skip_nonfinite: int = 0,
    watch: Callbacks = NO_CALLBACKS,
) -> State:
    """Runs the task from the newest checkpoint on and returns the last state.

    Args:
      task: what to compute.
      workdir: the folder of the checkpoints and the metrics.
      checkpoint_every_steps: the state is saved at every multiple of this number; a dispatch ends there.
      keep_checkpoints: how many of the newest checkpoints stay.
      steps_per_dispatch: how many steps of a phase one dispatch runs at most.
      skip_nonfinite: how many updates the task may leave out.
      watch: callbacks. The error of a callback, an InputError, is raised once the state is saved.

    Raises:
      Diverged: a number is not finite, or too many updates were left out; every checkpoint is finite.
      Preempted: a process of the run or a callback asked to stop; the state is saved.
    """
    total_steps = task.total_steps
    with (
        Checkpoints(workdir / artifacts.CHECKPOINTS, keep_checkpoints) as checkpoints,
        task.notice or PreemptionNotice() as notice,
    ):
        state, step = checkpoints.restore_latest(task.state) or (task.state, 0)
        check = _Finite(task, checkpoints, skip_nonfinite)
        check.restored(state, step)
        is_over = step >= total_steps or _has_ended(task, step, state)
        done = total_steps if is_over else step
        images = total_steps * task.batch_size, done * task.batch_size
        programs = None
        with EpochLog(workdir, task.columns, step, *images) as log:
            running = _Running(task, checkpoints, notice, log, check, watch, checkpoint_every_steps)
            if step > 0 and not is_over:
                log.resumed(step, total_steps, task.steps_per_epoch)
            while step < total_steps and not _has_ended(task, step, state):
                epoch = step // task.steps_per_epoch + 1
                left = _left_of_epoch(task, step, checkpoint_every_steps, steps_per_dispatch)
                for phase, spans in left:
                    dispatches = task.batches(epoch - 1, phase.name, spans, state)
                    work = next(dispatches)
                    if programs is None:
                        state, programs = running.compile(workdir, state, step, work)
                    log.begin_epoch(epoch)
                    for first, last in spans:
                        assert work is not None, "there is work for every span"
                        batches, start, stop = work
                        state = programs[phase.name](state, batches, task.key, start, stop)
                        work = next(dispatches, None)  # loads batches while the devices compute
                        state.step.block_until_ready()
                        updates = (last - first) * phase.updates
                        step += updates
                        state = running.end_dispatch(state, step, updates, epoch, phase.name)
    return state


class _Running(NamedTuple):
    """The parts of a run that stay open while the devices compute."""

    task: Task
    checkpoints: Checkpoints
    notice: PreemptionNotice
    log: EpochLog
    check: "_Finite"
    watch: Callbacks
    checkpoint_every_steps: int

    def end_dispatch(self, state: State, step: int, updates: int, epoch: int, phase: str) -> State:
        """Shows the progress after `updates` up to `step`, ends the epoch, and saves the state if that is due.

        Returns:
          The state to continue with.

        Raises:
          Diverged: a number is not finite, or too many updates were left out.
          Preempted: the run was asked to stop; the state is saved.
          InputError: a callback raised; the state is saved.
        """
        task, check = self.task, self.check
        epochs = -(-task.total_steps // task.steps_per_epoch)
        note = f"epoch {epoch}/{epochs}" + (f", {phase}" if phase else "")
        self.log.advance(updates * task.batch_size, note)
        check.sums(state, step, note)

        is_last = step == task.total_steps
        due, score = step % self.checkpoint_every_steps < updates or is_last, None
        failure = None
        if step % task.steps_per_epoch == 0 or is_last:
            check.numbers(state, step, note)
            state, score, row = _end_epoch(task, self.log, epoch, step, state, check)
            failure = self.tell(row, state)
            is_last = is_last or _has_ended(task, step, state)
            due = due or is_last or score is not None or task.save_epochs or failure is not None
        stops = self.notice.given() and not is_last
        # The epoch's row is written before the checkpoint, so that a resumed run lacks no row.
        if due or stops:
            check.numbers(state, step, note)
            self.checkpoints.save(step, state, score)
        if failure is not None:
            raise failure
        if stops:
            raise self._preempted(step)
        return state

    def tell(self, row: dict[str, Any], state: State) -> InputError | None:
        """Tells the callbacks of an epoch; returns the error of a callback, which may end the run once all is saved."""
        try:
            if self.watch.on_epoch(row, state):
                self.notice.give()
        except InputError as error:
            return error
        return None

    def compile(
        self, workdir: Path, state: State, step: int, work: Work
    ) -> tuple[State, dict[str, Program]]:
        """Compiles as `_compile` does, and records how long that took.

        Raises:
          Preempted: the run was asked to stop; nothing is saved.
        """
        began = time.monotonic()
        state, programs = _compile(self.task, state, work, self.log)
        environment.record(workdir, compile_seconds=time.monotonic() - began)
        if self.notice.given():
            raise self._preempted(step)
        return state, programs

    def _preempted(self, step: int) -> Preempted:
        asking = self.watch.asking
        by = f" by the callback {', '.join(asking)}" if asking else ""
        return Preempted(f"stopped after step {step} of {self.task.total_steps}, as asked{by}")


def finish(workdir: Path, report: Callable[[Path], Path]) -> None:
    """Records the end of the run, writes its report and prints the report's path; only the first process writes.

    Args:
      workdir: the run's directory.
      report: `workdir -> path of the page`, writes the report.
    """
    environment.end(workdir)
    if distributed.is_first():
        with waiting("writing the report"):
            page = report(workdir)
        print(f"report: {page}")


def _has_ended(task: Task, step: int, state: State) -> bool:
    """Tells whether the task ends before its last step.

    The state alone decides this, so that a run that has ended does not continue when it is started again.
    """
    between_epochs = step > 0 and step % task.steps_per_epoch == 0
    return between_epochs and task.ended is not None and task.ended(state)


def _left_of_epoch(
    task: Task, step: int, every: int, most: int
) -> Iterator[tuple[Phase, list[Span]]]:
    """Yields the phases of the epoch that are not over after `step`, and the spans of their dispatches."""
    begin = step - step % task.steps_per_epoch
    for phase in task.phases:
        spans = _spans(phase, begin, step, task.total_steps, every, most)
        if spans:
            yield phase, spans
        begin += phase.steps * phase.updates


def _spans(phase: Phase, begin: int, step: int, total: int, every: int, most: int) -> list[Span]:
    """Lists the spans of a phase's dispatches.

    Args:
      phase: the phase.
      begin: the run's step with which the phase begins.
      step: the run's steps so far.
      total: the run's last step.
      every: a dispatch ends at each multiple of this number of the run's steps, for a checkpoint.
      most: a dispatch runs at most this number of the phase's steps.
    """
    first, spans = max(step - begin, 0) // phase.updates, []
    stop = min(phase.steps, -(-(total - begin) // phase.updates))
    while first < stop:
        to_checkpoint = every - (begin + first * phase.updates) % every
        last = min(first + min(most, -(-to_checkpoint // phase.updates)), stop)
        spans.append((first, last))
        first = last
    return spans


def _compile(
    task: Task, state: State, work: Work, log: EpochLog
) -> tuple[State, dict[str, Program]]:
    """Compiles all phases before the clock of an epoch starts.

    Returns:
      The state, and the programs by the phases' names.
    """
    key = program_key(task.settings, (jax.eval_shape(task.visible, state), task.key))
    with log.compiling(len(task.phases), key):
        if task.compile is not None:
            programs = task.compile(state)
        else:
            ((_, program, _, _),) = task.phases
            batches, start, _ = work
            state = program(state, batches, task.key, start, start)  # compiles, and runs no step
            state.step.block_until_ready()
            programs = [program]
    parallel.give_back_freed_memory()
    return state, {phase.name: p for phase, p in zip(task.phases, programs, strict=True)}


def _end_epoch(
    task: Task, log: EpochLog, epoch: int, step: int, state: State, check: "_Finite"
) -> tuple[State, float | None, dict[str, Any]]:
    """Shows and writes the epoch's row; returns the state to continue with, the epoch's score and the row."""
    common = {"epoch": epoch, "step": step} | log.speed()
    try:
        end = task.end_epoch(epoch, step, state)
    except NotFinite as error:
        raise check.diverged(str(error), step, f"epoch {epoch}") from error
    row = common | end.row | check.skipped(state)
    is_last = step == task.total_steps or _has_ended(task, step, end.state)
    log.show(row, end.notes, last=is_last)
    if is_last and task.test is not None:
        with log.waiting("testing"):
            row |= task.test(end.state)
    for key, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise check.diverged(key, step, f"epoch {epoch}")
    # Members' rows come first: a program that reads the common row finds the members' rows.
    for folder, member in end.members.items():
        speed = {"images_per_second": common["images_per_second"] / len(end.members)}
        log.write(common | speed | member.row, member.arrays, folder)
    log.write(row, end.arrays)
    return end.state, end.score, row


class _Finite:
    """Checks that numbers are finite, and stops a run before others reach a checkpoint."""

    def __init__(self, task: Task, checkpoints: Checkpoints, most_skipped: int):
        self._task, self._checkpoints, self._most = task, checkpoints, most_skipped

    def restored(self, state: State, step: int) -> None:
        """Refuses a restored checkpoint that is not finite, which only another program can have written."""
        if (name := finite.find_not_finite(self._task.must_be_finite(state))) is not None:
            raise Diverged(
                f"{self._checkpoints.directory / str(step)}: found NaN or infinity in {name}, expected finite "
                "numbers; move this folder out of the workdir, and the run goes on from the checkpoint before it"
            )

    def sums(self, state: State, step: int, where: str) -> None:
        """Checks the state's sums and the number of updates left out, which is cheap enough for every dispatch."""
        name = finite.find_not_finite(getattr(state, "sums", ()))
        if name is not None:
            raise self.diverged(f"the sums ({name})", step, where)
        if self._task.skipped is not None and (count := self._task.skipped(state)) > self._most:
            raise self.diverged(f"{count} updates, more than run.skip_nonfinite,", step, where)

    def numbers(self, state: State, step: int, where: str) -> None:
        """Checks all numbers that a checkpoint would hold."""
        if (name := finite.find_not_finite(self._task.must_be_finite(state))) is not None:
            raise self.diverged(name, step, where)

    def skipped(self, state: State) -> dict[str, int]:
        """Returns the number of updates left out, as a metric of the epoch's row; empty if none may be left out."""
        skipped = self._task.skipped
        return {} if skipped is None else {"skipped_updates": skipped(state)}

    def diverged(self, name: str, step: int, where: str) -> Diverged:
        """Makes the error of a run with NaN or infinity in `name`; its message has one line."""
        self._checkpoints.wait()
        last = self._checkpoints.latest_step()
        good = (
            "no checkpoint was saved"
            if last is None
            else f"the last good checkpoint is of step {last}"
        )
        return Diverged(
            f"the run has diverged: NaN or infinity in {name} by step {step} of {self._task.total_steps} ({where}); "
            f"{good}; try a smaller learning rate in another --workdir, or let this run go on without such updates, "
            "up to N of them, by run.skip_nonfinite=N"
        )
