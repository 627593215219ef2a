"""Describes the images of a data set to a network. A workdir keeps it, and no later use needs the data set."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nge_jax.errors import InputError
from nge_jax.workdir import artifacts
from nge_jax.workdir import folder as workdir
from nge_jax.workdir.names import folded, listed

# The kinds of networks: for CIFAR and the like, for ImageNet, or for such images with a label for each pixel.
SMALL, LARGE, MASKS = "small", "large", "masks"

# A test counts pairs of label and prediction in a table, whose cells 32 bits have to number.
MOST_CLASSES = 46_340
MOST_PIXELS = 10_000  # on a side


class DatasetSpec(NamedTuple):
    """Describes the images that a network takes.

    Attributes:
      kind: SMALL, LARGE or MASKS.
      shape: of an image, [H, W, C].
      mean: per channel, of pixels in 0..1.
      std: per channel, of pixels in 0..1.
      labels: names of the classes.
    """

    kind: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]


class Inventory(NamedTuple):
    """The counts and the checksum of the splits that a run reads, which a later start compares.

    Attributes:
      class_counts: of each split the numbers of images of each class.
      checksum: of each file its path below the folder, its label and its size; of an .npz file the arrays.
    """

    class_counts: dict[str, tuple[int, ...]]
    checksum: str


CLOSE = 1e-3  # mean and deviation may differ so much if another version has computed them


def to_json(
    spec: DatasetSpec,
    counts: Mapping[str, int] | None = None,
    held_out: Sequence[str] = (),
    inventory: Inventory | None = None,
) -> str:
    """Writes a spec as a line of JSON.

    Args:
      spec: what the network knows.
      counts: examples of each split, by which a later start recognizes its data.
      held_out: files that were drawn by a seed to be held out.
      inventory: of a user's own images.
    """
    values = spec._asdict()
    if counts is not None:
        values["counts"] = dict(counts)
    if held_out:
        values["held_out"] = list(held_out)
    if inventory is not None:
        values |= inventory._asdict()
    return json.dumps(values, ensure_ascii=False) + "\n"


def agreed(
    path: Path,
    spec: DatasetSpec,
    counts: Mapping[str, int],
    held_out: Sequence[str] = (),
    inventory: Inventory | None = None,
) -> DatasetSpec:
    """Returns the spec to go on with in a workdir: the recorded one, if it holds a run and the data is the same.

    An earlier version recorded no inventory; then none is compared.

    Raises:
      InputError: the data has other classes, images of another shape, others of them held out, or others in a class.
    """
    file = path / artifacts.DATASET
    if not file.exists() or not workdir.has_checkpoints(path):
        return spec
    recorded, values = read(path), artifacts.read_json(file)
    check_labels(recorded.labels, spec.labels, file)
    differences = [
        f"{name}: workdir has {was}, now {now}"
        for name, was, now in (
            ("shape of the images", list(recorded.shape), list(spec.shape)),
            ("numbers of images", values.get("counts", dict(counts)), dict(counts)),
            ("images held out", *_first_difference(values.get("held_out", []), held_out)),
        )
        if was != now
    ]
    for name in ("mean", "std"):
        was, now = getattr(recorded, name), getattr(spec, name)
        if len(was) == len(now) and any(abs(a - b) > CLOSE for a, b in zip(was, now, strict=True)):
            differences.append(f"{name}: workdir has {list(was)}, now {list(now)}")
    if not differences and inventory is not None:
        differences += _inventory_differences(values, inventory, spec.labels)
    if differences:
        raise InputError(
            f"{file}: the data has changed since this run began ({'; '.join(differences)}); "
            "put the data back as they were to go on, or choose another --workdir for these"
        )
    return recorded


def _inventory_differences(
    values: Mapping[str, Any], inventory: Inventory, labels: Sequence[str]
) -> list[str]:
    """Returns the first class whose number of images differs, or that the checksum does; nothing where all agree."""
    counts = values.get("class_counts")
    for split, now in inventory.class_counts.items():
        was = counts.get(split) if isinstance(counts, dict) else None
        if isinstance(was, list) and len(was) == len(now):
            for label, before, after in zip(labels, was, now, strict=True):
                if before != after:
                    return [f"{split} images of {label}: workdir has {before}, now {after}"]
    was = values.get("checksum", inventory.checksum)
    if was == inventory.checksum:
        return []
    return [
        f"checksum of the files, their classes and sizes: workdir has {was}, now {inventory.checksum}"
    ]


def check_labels(known: Sequence[str], found: Sequence[str], file: Path) -> None:
    """Refuses data whose classes are not those of a network, in their order."""
    if tuple(known) == tuple(found):
        return
    gone, new = (
        [a for a in one if a not in other] for one, other in ((known, found), (found, known))
    )
    # Names that look the same are told apart by their escapes.
    alike = {folded(name) for name in gone} & {folded(name) for name in new}
    if alike:
        gone, new = ([ascii(name) for name in names] for names in (gone, new))
    parts = [f"without {listed(gone, 4)}"] * bool(gone) + [f"with {listed(new, 4)}"] * bool(new)
    if gone and len(gone) == len(new):
        parts = [f"{listed(new, 4)} instead of {listed(gone, 4)}"]
    what = "; ".join(parts) or "in another order"
    raise InputError(
        f"{file}: the data has other classes than this network ({what}); name them as they were, or "
        "train on them in another workdir"
    )


def _first_difference(was, now):
    """Returns a file that one of two lists has alone, for both sides of a message; equal values if there is none."""
    was, now = set(was), set(now)
    gone, new = sorted(was - now), sorted(now - was)
    return (gone[0] if gone else None), (new[0] if new else None)


def read(workdir: Path) -> DatasetSpec:
    """Reads the spec that a training has left in its workdir.

    Raises:
      InputError: the workdir is not one of a training.
    """
    file = workdir / artifacts.DATASET
    values = artifacts.read_json(file, DatasetSpec._fields)
    channels = values["shape"][2:] if isinstance(values["shape"], list) else []
    _check(file, "kind", values, values["kind"] in (SMALL, LARGE, MASKS), "a kind of images")
    _check(file, "shape", values, _are(values["shape"], int, 3, 1, MOST_PIXELS), "three sizes")
    for key in ("mean", "std"):
        good = _are(values[key], int | float, channels[0], -1e9, 1e9)
        _check(file, key, values, good, "a number for each channel")
    labels = values["labels"]
    good = isinstance(labels, list) and labels and all(isinstance(name, str) for name in labels)
    _check(file, "labels", values, good, "names of classes")
    return DatasetSpec(
        kind=values["kind"],
        shape=tuple(values["shape"]),
        mean=tuple(values["mean"]),
        std=tuple(values["std"]),
        labels=tuple(labels),
    )


def _are(values, kind, count, least, most):
    """Whether these are so many numbers within limits (NaN is in none)."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(
            isinstance(v, kind) and not isinstance(v, bool) and least <= v <= most for v in values
        )
    )


def _check(file, key, values, good, expected):
    if not good:
        found = reprlib.repr(values[key])
        raise InputError(f"{file}: found {found} as {key}, expected {expected}")
