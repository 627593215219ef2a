"""Checkpoints of a run: Orbax writes them in the background, and every bit is verified when they are read.

A checkpoint is a tree of arrays and a manifest: type, shape and CRC-32 of each array. Orbax makes a checkpoint appear
whole or not at all, so a killed write leaves nothing behind. The manifest finds files that changed afterwards, because
Orbax reads most flipped bits without complaint.

Several processes share the directory. All processes call every method with the same state. The first process writes,
and each process reads. A checkpoint that one process cannot read counts as damaged for all.
"""

import collections
import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as managers

from nge_jax import files
from nge_jax.devices import distributed
from nge_jax.errors import InputError
from nge_jax.workdir.names import listed

Tree = Any
SCORE = "score"
SHOWN = 20  # steps in a refusal, the newest first


class Checkpoints:
    """Keeps the newest `keep` checkpoints under `directory`, each named by its step; a context manager.

    The checkpoint with the best score stays, too.

    Args:
      directory: a folder for checkpoints only.
      keep: how many of the newest checkpoints stay.
      read_only: writes and removes nothing.
    """

    def __init__(self, directory: str | Path, keep: int, *, read_only: bool = False):
        self.directory = Path(directory).absolute()
        self.read_only = read_only
        if not files.is_text(self.directory):
            raise InputError(f"{self.directory}: found a path that is no text in UTF-8")
        if os.path.lexists(self.directory) and not self.directory.is_dir():
            raise InputError(
                f"{self.directory}: found no folder, expected the folder of the checkpoints"
            )
        if not read_only:
            self._set_aside_at_once()
        best = managers.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False)
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy([managers.LatestN(keep), best]),
                best_fn=_score,
                enable_async_checkpointing=True,
                read_only=read_only,
                create=not read_only,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def save(self, step: int, state: Tree, score: float | None = None) -> None:
        """Writes the arrays, of which none may be empty, in the background.

        The caller may overwrite or donate the arrays at once: Orbax copies NumPy arrays before it returns.

        Args:
          step: the number of updates so far.
          state: the arrays.
          score: rates the state, and the checkpoint with the largest score is the best.
        """
        host = jax.tree.map(np.asarray, state)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(_without_absent(host)),
            manifest=ocp.args.JsonSave(_manifest(host, checksum=True)),
        )
        metrics = None if score is None else {SCORE: score}
        with _uninterrupted():
            written = self._manager.save(step, args=args, metrics=metrics, force=True)
        if not written:
            raise RuntimeError(f"checkpoint {step} was not written to {self.directory}")

    def restore_latest(self, template: Tree) -> tuple[Tree, int] | None:
        """Reads (state, step) of the newest intact checkpoint; returns None if there is no checkpoint.

        The restored arrays are bit-identical to the saved ones. A jax.Array is placed like the template's array, so a
        state from several devices can be restored on any number of devices. Other leaves become NumPy arrays. Newer,
        damaged checkpoints are reported on stderr. They are renamed to `<step>.damaged`, so that later steps can be
        saved under their names.

        Raises:
          InputError: every checkpoint is damaged, or one holds other arrays than the template.
        """
        damaged = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            state, reason = self._try(step, template)
            if reason is None:
                self._set_aside(damaged, step)
                return state, step
            damaged[step] = reason
        if damaged:
            step, reason = next(iter(damaged.items()))
            raise InputError(
                f"{self.directory}: none of the {len(damaged)} checkpoints can be read ({step}: {reason}); "
                "put back a copy of one, or begin a new run in another workdir"
            )
        return None

    def restore_best(self, template: Tree) -> tuple[Tree, int] | None:
        """Reads (state, step) of the checkpoint with the highest score; returns None if none has a score.

        Raises:
          InputError: the checkpoint is damaged, or holds other arrays than the template.
        """
        step = self._manager.best_step()
        return None if step is None else (self._restore_whole(step, template), step)

    def restore_step(self, step: int, template: Tree) -> tuple[Tree, int]:
        """Reads (state, step) of the checkpoint of a step.

        Raises:
          InputError: there is no such checkpoint, the checkpoint is damaged, or holds other arrays than the template.
        """
        kept = sorted(self._manager.all_steps())
        if step not in kept:
            ends = {"newest": self._manager.latest_step(), "best": self._manager.best_step()}
            there = listed([_named(known, ends) for known in reversed(kept)], SHOWN)
            expected = f"expected one of {there}" if there else "and none of another step"
            raise InputError(f"{self.directory}: found no checkpoint of step {step}, {expected}")
        return self._restore_whole(step, template), step

    def latest_step(self) -> int | None:
        """Returns the step of the newest checkpoint, intact or not; None without checkpoints."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Waits until all saved checkpoints are on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes the writes and ends the background thread."""
        with _uninterrupted():
            self._manager.close()

    def _set_aside_at_once(self):
        """Renames entries on which Orbax would fail: files and dead links named by a step, and unreadable scores."""
        for entry in sorted(self.directory.glob("[0-9]*")) if distributed.is_first() else ():
            reason = _stumbling_block(entry) if entry.name.isdigit() else None
            if reason is not None:
                print(f"warning: checkpoint {entry} is damaged ({reason})", file=sys.stderr)
                _move_aside(entry)
        distributed.wait_for_all("checkpoints have been looked through")

    def _try(self, step, template):
        """Reads a checkpoint: returns (state, None) or (None, the reason why it cannot be read).

        All processes agree whether a checkpoint can be read.
        """
        state, reason = None, None
        try:
            state = self._restore(step, template)
        except InputError:
            raise
        except Exception as error:  # a broken file can make Orbax raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if multihost_utils.process_allgather(np.array(reason is not None)).any():
            return None, reason or "another process cannot read it"
        return state, None

    def _restore_whole(self, step, template):
        """Reads a checkpoint that was asked for, and refuses a damaged one."""
        state, reason = self._try(step, template)
        if reason is not None:
            name = ", the best checkpoint," if step == self._manager.best_step() else ""
            raise InputError(f"{self.directory / str(step)}{name} is damaged ({reason})")
        return state

    def _restore(self, step, template):
        manifest = self._manager.restore(
            step, args=ocp.args.Composite(manifest=ocp.args.JsonRestore())
        )["manifest"]
        empty = jax.tree.map(lambda leaf: np.empty(np.shape(leaf), leaf.dtype), template)
        expected = _manifest(empty, checksum=False)
        found = {path: entry[:2] for path, entry in manifest.items()}  # without the CRC-32
        if found != expected:
            different = sorted(
                path
                for path in found.keys() | expected.keys()
                if found.get(path) != expected.get(path)
            )
            path = different[0]
            raise InputError(
                f"{self.directory / str(step)}: {len(different)} arrays differ from what this program keeps, such as "
                f"{path}: found {found.get(path)}, expected {expected.get(path)}; the version "
                "that wrote them reads them (environment.json names it), a new run needs another workdir"
            )
        wanted = ocp.args.StandardRestore(_without_absent(empty))
        read = self._manager.restore(step, args=ocp.args.Composite(state=wanted))["state"]
        host = jax.tree.unflatten(jax.tree.structure(template), jax.tree.leaves(read))
        changed = [
            path
            for path, entry in _manifest(host, checksum=True).items()
            if entry != manifest[path]
        ]
        if changed:
            raise ValueError(
                f"{len(changed)} arrays have changed since they were written, such as {changed[0]}"
            )
        return jax.tree.map(_place, template, host)

    def _set_aside(self, damaged, step):
        for bad, reason in damaged.items() if distributed.is_first() else ():
            print(
                f"warning: checkpoint {self.directory / str(bad)} is damaged ({reason}); going on from step {step}",
                file=sys.stderr,
            )
            if not self.read_only:
                _move_aside(self.directory / str(bad))
        if damaged:
            distributed.wait_for_all("damaged checkpoints are set aside")
            self._manager.reload()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delays the first Ctrl-C to the end of a block. A second Ctrl-C interrupts the block.

    Orbax starts threads in such a block. A thread that was interrupted at its start leaves Orbax waiting for minutes,
    and then an error hides the KeyboardInterrupt.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C interrupts no other thread
        return
    interrupts = []

    def delay(number, frame):
        if interrupts:
            handler(number, frame)
        interrupts.append((number, frame))

    signal.signal(signal.SIGINT, delay)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if interrupts:
            handler(*interrupts[0])


def _named(step, ends):
    """Writes a step with its names: "8 (newest, best)"."""
    names = ", ".join(name for name, end in ends.items() if end == step)
    return f"{step} ({names})" if names else str(step)


def _move_aside(entry):
    aside = entry.with_name(f"{entry.name}.damaged")
    # This removes the damaged checkpoint of an earlier resume: the newest is enough to investigate.
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
    entry.rename(aside)


def _stumbling_block(entry):
    """Returns why Orbax cannot list an entry that is named by a step; None if Orbax can."""
    if not entry.is_dir():
        return "it is no folder"
    file = entry / "metrics" / "metrics"
    if not file.parent.is_dir():  # the checkpoint has no score
        return None
    try:
        score = json.loads(files.read_text(file))[SCORE]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"its score cannot be read: {type(error).__name__}"
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    return None if is_number else f"its score is {score!r}"


def _without_absent(tree):
    """Leaves out fields that are None, by default, of NamedTuples within tuples and dicts; the leaves stay in order.

    Orbax writes None as a part of the tree. Without it, a state has the form of a version that lacked the field.
    """
    if type(tree) is dict:  # jax sorts its names, and those of no other mapping
        return {name: _without_absent(value) for name, value in tree.items()}
    if not isinstance(tree, tuple):
        return tree
    values = tuple(map(_without_absent, tree))
    fields, defaults = getattr(tree, "_fields", ()), getattr(tree, "_field_defaults", {})
    kept = {
        name: value
        for name, value in zip(fields, values, strict=False)
        if value is not None or defaults.get(name, ...) is not None
    }
    if len(kept) == len(fields):
        return type(tree)(*values) if hasattr(tree, "_fields") else values
    return collections.namedtuple(type(tree).__name__, kept)(**kept)


def _manifest(tree, *, checksum):
    """Returns {path in the tree: [type, shape]}, ready for JSON; with `checksum`, the entries also have a CRC-32."""
    entries = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        entry = [leaf.dtype.name, list(leaf.shape)]
        entries[jax.tree_util.keystr(path)] = (
            [*entry, zlib.crc32(leaf.tobytes())] if checksum else entry
        )
    return entries


def _place(like, value):
    """Puts a restored array on the devices of its template.

    The result is no alias of other memory, because a step that donates its state may overwrite it.
    """
    if isinstance(like, jax.Array):
        return jax.device_put(value, like.sharding, may_alias=False)
    return value


def _score(metrics):
    return metrics[SCORE]
