"""Writes a run's numbers and pictures for TensorBoard by TensorBoard's record writer, without TensorFlow.

TensorFlow would cost a search half a gigabyte and seconds, only for this. TensorBoard groups tags by their beginnings:
`loss/train`, `accuracy/valid`, `entropy/normal`, `ops_normal/sep_conv_3x3`.
"""

import io
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax.files import half_written, write_atomically
from nge_jax.space.spaces import SPACES
from nge_jax.workdir.names import printable

NAMES = "events.out.tfevents."  # the beginning of the files' names
TIMED = re.compile(re.escape(NAMES) + r"(\d+\.\d{6})\.")
SIDE = 24  # pixels of a value's square in the picture of an array
# The color of 0, and the color of an array's largest value.
SHADES = np.array([[254, 254, 254], [20, 96, 155]], float)
_KINDS = "|".join(kind for space in SPACES.values() for kind in space.cell_types)
_OPERATIONS = "|".join({name: 0 for space in SPACES.values() for name in space.operations})
# Patterns of metrics' names and the tags made from them. The first match counts; without a match the name is the tag.
TAGS = (
    (r"(.+)_sd", r"sd/\1"),
    (rf"({_OPERATIONS})_({_KINDS})", r"ops_\2/\1"),
    (rf"((?:edge_)?entropy|common_share|edge_rank|edge_cosine)_({_KINDS})", r"\1/\2"),
    (r"embedding_rate", r"schedule/\g<0>"),
    (r"expected_(parameters|multiply_adds|milliseconds)", r"expected/\1"),
    (r"test_iou_(.+)", r"iou_test/\1"),
    (r"(?:weight|train)_(.+)", r"\1/train"),
    (r"(?:embedding|validation)_(.+)", r"\1/valid"),
    (r"test_(.+)", r"\1/test"),
    (r"seconds|images_per_second", r"speed/\g<0>"),
    (
        r"learning_rate|temperature|skip_dropout|entropy_weight|edge_mutation|layer_correlation",
        r"schedule/\g<0>",
    ),
    (r"queries|best_reward", r"strategy/\g<0>"),
    (r"epoch|skipped_updates", r"run/\g<0>"),
    (rf"(.+)_({_KINDS})", r"ops_\2/\1"),  # operations of other spaces
)


def tag(name: str) -> str:
    """Returns the tag of a metric, such as "loss/train" for "weight_loss"."""
    name = printable(name)
    for pattern, made in TAGS:
        if match := re.fullmatch(pattern, name):
            return match.expand(made)
    return name


class Events:
    """A file of events in a workdir.

    Args:
      workdir: the run's directory.
      step: the step of the checkpoint from which the run resumes; 0 without a checkpoint. Later steps are removed from
        the files of earlier starts, and a running TensorBoard forgets them.
      settings: the values of the run's config by keys joined by dots, for the table of hyperparameters.
    """

    def __init__(self, workdir: Path, step: int, settings: Mapping[str, Any]):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event = Event
        files = list(workdir.glob(f"{NAMES}*"))
        halves = [file for file in files if file.suffix == half_written(file).suffix]
        # A start that was killed in `_cut` leaves these files, which TensorBoard would read, too.
        for half in halves:
            half.unlink()
        for file in files:
            if file not in halves:
                _cut(file, step)
        now = time.time()
        # TensorBoard reads files in the order of their names: this one follows earlier starts, also after the clock was
        # set back. Fractions of a second give two runs of one process different files.
        earlier = [float(match[1]) for file in files if (match := TIMED.match(file.name))]
        begin = max([now, *(moment + 0.001 for moment in earlier)])
        name = f"{NAMES}{begin:.6f}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((workdir / name).open("wb"))
        self._write(wall_time=now, file_version="brain.Event:2")
        # TensorBoard drops events of this step and of later steps that it has read from earlier files.
        start = SessionLog(status=SessionLog.START)
        self._write(wall_time=now, step=step + 1 if step else 0, session_log=start)
        if settings:
            from tensorboard.plugins.hparams.summary_v2 import hparams_pb

            values = {key: _plain(value) for key, value in settings.items()}
            self._write(wall_time=now, summary=hparams_pb(values, start_time_secs=now))
        self._records.flush()

    def write(
        self,
        step: int,
        numbers: Mapping[str, float],
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Adds a step's numbers by their metrics' names, and arrays [H, W] without negative values.

        TensorBoard can read them when this method returns.
        """
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in numbers.items():
            self._write(wall_time=time.time(), step=step, summary=scalar_pb(tag(name), value))
        for name, array in (arrays or {}).items():
            picture = _image(name, array_picture(array))
            for summary in (picture, histogram_pb(f"{name}/values", array)):
                self._write(wall_time=time.time(), step=step, summary=summary)
        self._records.flush()

    def close(self) -> None:
        """Ends the file."""
        self._records.close()

    def _write(self, **fields: Any) -> None:
        self._records.write(self._event(**fields).SerializeToString())


def _cut(file: Path, step: int) -> None:
    """Removes records of later steps, and everything from the first broken record on, from a file of events.

    A record is the length of the content (8 bytes), a checksum (4), the content, and a checksum (4).
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    content, kept, at = file.read_bytes(), [], 0
    while at + 12 <= len(content):
        end = at + 16 + int.from_bytes(content[at : at + 8], "little")
        record = content[at:end]
        if end > len(content):
            break
        try:
            if Event.FromString(record[12:-4]).step <= step:
                kept.append(record)
        except DecodeError:
            break
        at = end
    if (whole := b"".join(kept)) != content:
        write_atomically(file, whole)


def pictures(step: int, pngs: Mapping[str, bytes]) -> bytes:
    """Returns the bytes of a file of events that shows PNG pictures, by tag, at a step."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.summary.writer.record_writer import RecordWriter

    content, now = io.BytesIO(), time.time()
    records = RecordWriter(content)
    records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
    for name, png in pngs.items():
        event = Event(wall_time=now, step=step, summary=_image(name, png))
        records.write(event.SerializeToString())
    return content.getvalue()


def array_picture(array: np.ndarray) -> bytes:
    """Draws an array [H, W] as a PNG with a square for each value; larger values are darker, and 0 is white."""
    parts = np.asarray(array, float) / (np.max(array) or 1.0)
    pixels = SHADES[0] + parts[..., None] * (SHADES[1] - SHADES[0])
    return encode_png(pixels.repeat(SIDE, 0).repeat(SIDE, 1).round().astype(np.uint8))


def encode_png(pixels: np.ndarray) -> bytes:
    """Encodes pixels, uint8 [H, W, 3], as a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _image(name: str, png: bytes) -> Any:
    """Makes the summary of a picture."""
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.plugins.image import metadata
    from tensorboard.util import tensor_util

    width, height = (str(int.from_bytes(png[at : at + 4], "big")).encode() for at in (16, 20))
    summary = Summary()
    summary.value.add(
        tag=name,
        tensor=tensor_util.make_tensor_proto([width, height, png]),
        metadata=metadata.create_summary_metadata(display_name=None, description=None),
    )
    return summary


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float) else printable(str(value))
