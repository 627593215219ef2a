"""The loop that a search, a training and a segmentation share.

    for every epoch:
        for every phase of it:
            for every dispatch of the phase:    state <- program(state, batches, key, start, stop)
        show and write the epoch's row of metrics, save the state

A task says what is computed (`Task`). The loop does the rest: it goes on from the newest checkpoint, saves the state
every so many steps, shows how far the run is, and saves and ends when the run is asked to stop. Of several processes
each goes through the same loop, and the first one writes.
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
from nge_jax.errors import Preempted
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.workdir import artifacts, environment

# A NamedTuple of arrays, with a `step`; its `sums`, if it has any, tell of NaN in what was computed.
State = Any
Span = tuple[
    int, int
]  # the first of a phase's steps that a dispatch runs, and the one after its last
Work = tuple[Any, int, int]  # batches, and the first row of them to use and the one after the last
Program = Callable[..., State]  # (state, batches, key, start, stop) -> state, on all devices


class Phase(NamedTuple):
    """A part of an epoch, whose dispatches run one program.

    name: shown beside the epoch, "weights" say; empty where an epoch has no parts.
    program: see `Program`; of `parallel.on_all_devices`.
    steps: of the phase in a whole epoch.
    updates: of the state in each of them, as the state's own `step` counts.
    """

    name: str
    program: Program
    steps: int
    updates: int = 1


class MemberEnd(NamedTuple):
    """The end of an epoch for one of several runs in one.

    row, arrays: as in `EpochEnd`, for this run alone.
    """

    row: dict[str, Any]
    arrays: Mapping[str, np.ndarray] = MappingProxyType({})


class EpochEnd(NamedTuple):
    """What a task makes of an epoch that has ended.

    state: what the next epoch begins with.
    row: the epoch's metrics.
    score: of the examples held out, more being better; None where there are none.
    notes: lines to show below the row, unless they stood below the one before.
    arrays: [H, W], of which TensorBoard shows pictures, by tag.
    members: for several runs in one, the ends by folder within the workdir; each run's rows are written there.
    """

    state: State
    row: dict[str, Any]
    score: float | None = None
    notes: Sequence[str] = ()
    arrays: Mapping[str, np.ndarray] = MappingProxyType({})
    members: Mapping[str, MemberEnd] = MappingProxyType({})


class Task(NamedTuple):
    """What a run computes. Steps are updates of the state, unless they are called a phase's.

    state: before the first step, on every device.
    key: what every dispatch is given: of all random choices, or a pair of it and of arguments, see
      `parallel.with_arguments`.
    phases: of an epoch, in their order.
    total_steps: of the whole run; its last epoch ends with the last step, be it whole or not.
    batch_size: images of an update.
    batches: `(epoch, name of a phase, spans, state) -> Work for each span`. What it takes of the state, which the first
      dispatch donates, it takes before it returns; it may read the batches of a dispatch while the one before runs.
    end_epoch: `(epoch, step, state) -> EpochEnd`; epochs count from 1 here. It may raise NotFinite.
    columns: of the table of epochs.
    save_epochs: whether the state is saved after each epoch, be a checkpoint due or not.
    test: `state -> metrics` that the last row has besides, computed after that row is shown.
    compile: `state -> programs` of all phases, where they are to be compiled ahead; the state is kept.
    must_be_finite: `state -> the part that has to be finite`.
    skipped: `state -> how many updates were left out because they were not finite`; None: it leaves out none.
    ended: `state -> whether the run ends here`, at the end of an epoch before the last; None: it never does.
    settings: the run's, a tree of plain values; with the shapes of what the programs see they decide on these.
    visible: `state -> the part that the programs see`.
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
) -> State:
    """Runs what is left of the task and returns the last state.

    Args:
      task: what to compute.
      workdir: holds the checkpoints, the metrics, and is written by this.
      checkpoint_every_steps: a dispatch ends, and the state is saved, where a multiple of this is reached.
      keep_checkpoints: how many of the newest stay.
      steps_per_dispatch: at most so many of a phase's steps run at once.
      skip_nonfinite: how many updates the task may leave out.

    Raises:
      Diverged: a number is not finite, or too many updates were left out; every checkpoint is finite.
      Preempted: a process of the run was asked to stop; the state is saved.
    """
    total_steps, epochs = task.total_steps, -(-task.total_steps // task.steps_per_epoch)
    with (
        Checkpoints(workdir / artifacts.CHECKPOINTS, keep_checkpoints) as checkpoints,
        PreemptionNotice() as notice,
    ):
        state, step = checkpoints.restore_latest(task.state) or (task.state, 0)
        check = _Finite(task, checkpoints, skip_nonfinite)
        check.restored(state, step)
        is_over = step >= total_steps or _has_ended(task, step, state)
        done = total_steps if is_over else step
        images = total_steps * task.batch_size, done * task.batch_size
        programs = None
        with EpochLog(workdir, task.columns, step, *images) as log:
            if step > 0 and not is_over:
                log.resumed(step, total_steps, task.steps_per_epoch)
            while step < total_steps and not _has_ended(task, step, state):
                epoch = step // task.steps_per_epoch + 1
                left = _left_of_epoch(task, step, checkpoint_every_steps, steps_per_dispatch)
                for phase, spans in left:
                    dispatches = task.batches(epoch - 1, phase.name, spans, state)
                    work = next(dispatches)
                    if programs is None:
                        began = time.monotonic()
                        state, programs = _compile(task, state, work, log)
                        environment.record(workdir, compile_seconds=time.monotonic() - began)
                        if notice.given():
                            raise Preempted(f"stopped after step {step} of {total_steps}, as asked")
                    log.begin_epoch(epoch)
                    for first, last in spans:
                        assert work is not None, "there is work for every span"
                        batches, start, stop = work
                        state = programs[phase.name](state, batches, task.key, start, stop)
                        work = next(dispatches, None)  # is read while the devices compute
                        state.step.block_until_ready()
                        done = (last - first) * phase.updates
                        step += done
                        note = f"epoch {epoch}/{epochs}" + (f", {phase.name}" if phase.name else "")
                        log.advance(done * task.batch_size, note)
                        check.sums(state, step, note)

                        due = step % checkpoint_every_steps < done or step == total_steps
                        score = None
                        if step % task.steps_per_epoch == 0 or step == total_steps:
                            check.numbers(state, step, note)
                            state, score = _end_epoch(task, log, epoch, step, state, check)
                            due = due or score is not None or task.save_epochs
                        stops = notice.given() and step < total_steps
                        if due or stops:  # never before the epoch's row
                            check.numbers(state, step, note)
                            checkpoints.save(step, state, score)
                        if stops:
                            raise Preempted(f"stopped after step {step} of {total_steps}, as asked")
    return state


def finish(workdir: Path, report: Callable[[Path], Path]) -> None:
    """Records that the run has done all but its report, has that written, and says where it is; the first process does.

    Args:
      workdir: the run's directory.
      report: `workdir -> path of the page`, which it writes.
    """
    environment.end(workdir)
    if distributed.is_first():
        with waiting("writing the report"):
            page = report(workdir)
        print(f"report: {page}")


def _has_ended(task: Task, step: int, state: State) -> bool:
    """Whether the task ends before its last step; of the state alone, so that a run that has ended goes no further."""
    between_epochs = step > 0 and step % task.steps_per_epoch == 0
    return between_epochs and task.ended is not None and task.ended(state)


def _left_of_epoch(
    task: Task, step: int, every: int, most: int
) -> Iterator[tuple[Phase, list[Span]]]:
    """Yields what is left of the epoch after `step`: each phase that is not over, and the spans of its dispatches."""
    begin = step - step % task.steps_per_epoch
    for phase in task.phases:
        spans = _spans(phase, begin, step, task.total_steps, every, most)
        if spans:
            yield phase, spans
        begin += phase.steps * phase.updates


def _spans(phase: Phase, begin: int, step: int, total: int, every: int, most: int) -> list[Span]:
    """Returns the dispatches of a phase, which begins with step `begin` of the run, after `step`, up to `total`."""
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
    """Compiles all phases before any clock starts; returns the programs by the phases' names."""
    key = program_key(task.settings, (jax.eval_shape(task.visible, state), task.key))
    with log.compiling(len(task.phases), key):
        if task.compile is not None:
            programs = task.compile(state)
        else:
            ((_, program, _, _),) = task.phases
            batches, start, _ = work
            state = program(state, batches, task.key, start, start)  # no step yet
            state.step.block_until_ready()
            programs = [program]
    parallel.give_back_freed_memory()
    return state, {phase.name: p for phase, p in zip(task.phases, programs, strict=True)}


def _end_epoch(
    task: Task, log: EpochLog, epoch: int, step: int, state: State, check: "_Finite"
) -> tuple[State, float | None]:
    """Shows and writes the epoch's row; returns the state to go on with and the epoch's score."""
    began = {"epoch": epoch, "step": step} | log.speed()
    try:
        end = task.end_epoch(epoch, step, state)
    except NotFinite as error:
        raise check.diverged(str(error), step, f"epoch {epoch}") from error
    row = began | end.row | check.skipped(state)
    is_last = step == task.total_steps
    log.show(row, end.notes, last=is_last)
    if is_last and task.test is not None:
        with log.waiting("testing"):
            row |= task.test(end.state)
    for key, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise check.diverged(key, step, f"epoch {epoch}")
    for (
        folder,
        member,
    ) in end.members.items():  # first: a member's rows may be read beside the whole's
        speed = {"images_per_second": began["images_per_second"] / len(end.members)}
        log.write(began | speed | member.row, member.arrays, folder)
    log.write(row, end.arrays)
    return end.state, end.score


class _Finite:
    """Sees to it that a run stops, in one line, before anything that is not finite reaches a checkpoint."""

    def __init__(self, task: Task, checkpoints: Checkpoints, most_skipped: int):
        self._task, self._checkpoints, self._most = task, checkpoints, most_skipped

    def restored(self, state: State, step: int) -> None:
        """Refuses to go on from a checkpoint that some other program has written so."""
        if (name := finite.find_not_finite(self._task.must_be_finite(state))) is not None:
            raise Diverged(
                f"{self._checkpoints.directory / str(step)}: found NaN or infinity in {name}, expected finite "
                "numbers; move this folder out of the workdir, and the run goes on from the checkpoint before it"
            )

    def sums(self, state: State, step: int, where: str) -> None:
        """Looks at what is cheap to look at, after every dispatch."""
        name = finite.find_not_finite(getattr(state, "sums", ()))
        if name is not None:
            raise self.diverged(f"the sums ({name})", step, where)
        if self._task.skipped is not None and (count := self._task.skipped(state)) > self._most:
            raise self.diverged(f"{count} updates, more than run.skip_nonfinite,", step, where)

    def numbers(self, state: State, step: int, where: str) -> None:
        """Looks at all that a checkpoint would hold."""
        if (name := finite.find_not_finite(self._task.must_be_finite(state))) is not None:
            raise self.diverged(name, step, where)

    def skipped(self, state: State) -> dict[str, int]:
        """Returns what the epoch's row says of updates left out."""
        skipped = self._task.skipped
        return {} if skipped is None else {"skipped_updates": skipped(state)}

    def diverged(self, what: str, step: int, where: str) -> Diverged:
        """Makes the one line that tells of it."""
        self._checkpoints.wait()
        last = self._checkpoints.latest_step()
        good = (
            "no checkpoint was saved"
            if last is None
            else f"the last good checkpoint is of step {last}"
        )
        return Diverged(
            f"the run has diverged: NaN or infinity in {what} by step {step} of {self._task.total_steps} ({where}); "
            f"{good}; try a smaller learning rate in another --workdir, or let this run go on without such updates, "
            "up to N of them, by run.skip_nonfinite=N"
        )
