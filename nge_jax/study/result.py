"""The result of a study, read from its finished trainings. No jax."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nge_jax.errors import InputError
from nge_jax.study.plan import FOUND, PLAIN, PUBLISHED, RANDOM
from nge_jax.study.statistics import Difference, compare, spread
from nge_jax.workdir import artifacts, json_lines

TITLES = {
    FOUND: "cells found",
    RANDOM: "random, same cost",
    PUBLISHED: "",  # the cell's name
    PLAIN: "plain network",
}


class Trained(NamedTuple):
    """A network with its finished trainings.

    Attributes:
      kind, name, search: see `plan.Candidate`.
      parameters, multiply_adds: the cost of the network.
      accuracies: the test accuracy after each training, in percent.
      seconds: the seconds of each training.
      right: whether each test image is classified right, bool [trainings, images].
      diverged: the trainings that ended with NaN or infinity.
    """

    kind: str
    name: str
    search: int | None
    parameters: int
    multiply_adds: int
    accuracies: tuple[float, ...]
    seconds: tuple[float, ...]
    right: np.ndarray
    diverged: int


class Row(NamedTuple):
    """A row of the table: networks of one kind.

    Attributes:
      title: the name of the row.
      networks, trainings: how many networks there are, and how many trainings of each.
      accuracy: the mean test accuracy in percent.
      deviation: the sample standard deviation over the networks, or over the trainings of a single network; None: of a
        single training.
      parameters, multiply_adds: the means of the networks' costs.
      seconds: the mean seconds of a training.
    """

    title: str
    networks: int
    trainings: int
    accuracy: float
    deviation: float | None
    parameters: float
    multiply_adds: float
    seconds: float


class StudyResult(NamedTuple):
    """The result of a study.

    Attributes:
      difference: the comparison of the cells found with the random cells.
      rows: the rows of the table.
      networks: all networks.
      search_seconds: the seconds of each search's epochs, by seed.
      workdir: the folder that holds all files.
    """

    difference: Difference
    rows: tuple[Row, ...]
    networks: tuple[Trained, ...]
    search_seconds: Mapping[int, float]
    workdir: Path

    def to_json(self) -> dict[str, Any]:
        """Returns the result as study.json has it; the answers to single images are in trainings.jsonl."""
        networks = [
            {k: v for k, v in network._asdict().items() if k != "right"}
            for network in self.networks
        ]
        return {
            "sentence": self.difference.sentence(),
            "difference": self.difference._asdict() | {"smallest": self.difference.smallest},
            "rows": [row._asdict() for row in self.rows],
            "networks": networks,
            "search_seconds": {str(seed): s for seed, s in self.search_seconds.items()},
        }


def read_result(path: Path) -> StudyResult:
    """Reads the result of the study that has ended in the workdir `path`.

    Raises:
      InputError: trainings are missing, or a file is damaged.
    """
    file = path / artifacts.TRAININGS
    networks = _networks(json_lines.read(file), file)
    found, random = (
        [network.right for network in networks if network.kind == kind] for kind in (FOUND, RANDOM)
    )
    if not found or len(random) < 2:
        raise InputError(
            f"{file}: expected the trainings of a study, found {len(found)} cells found and {len(random)} random cells"
        )
    return StudyResult(
        compare(found, random),
        tuple(_rows(networks)),
        tuple(networks),
        search_seconds(path),
        path,
    )


def _networks(lines: Iterable[Mapping[str, Any]], file: Path) -> list[Trained]:
    """Gathers the trainings of each network, in the order of their first trainings."""
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    try:
        for line in lines:
            groups.setdefault((line["kind"], line["name"], line["search"]), []).append(line)
        return [
            Trained(
                *key,
                parameters=trainings[0]["parameters"],
                multiply_adds=trainings[0]["multiply_adds"],
                accuracies=tuple(100 * line["accuracy"] for line in trainings),
                seconds=tuple(line["seconds"] for line in trainings),
                right=np.stack([unpack(t["right"], t["images"]) for t in trainings]),
                diverged=sum(line["diverged"] for line in trainings),
            )
            for key, trainings in groups.items()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: expected trainings of a study, found {error!r}") from None


def _rows(networks: Sequence[Trained]) -> Iterable[Row]:
    for kind, title in TITLES.items():
        group = [network for network in networks if network.kind == kind]
        if not group:
            continue
        values = [float(np.mean(network.accuracies)) for network in group]
        mean, deviation = spread(values if len(group) > 1 else group[0].accuracies)
        yield Row(
            title=title or group[0].name,
            networks=len(group),
            trainings=max(len(network.accuracies) for network in group),
            accuracy=mean,
            deviation=deviation,
            parameters=float(np.mean([network.parameters for network in group])),
            multiply_adds=float(np.mean([network.multiply_adds for network in group])),
            seconds=float(np.mean(np.concatenate([network.seconds for network in group]))),
        )


def search_seconds(path: Path) -> dict[int, float]:
    """Returns the seconds of the epochs of each search in the study's workdir, by seed."""
    seconds = {}
    for metrics in path.glob(f"{artifacts.SEARCHES}/{artifacts.METRICS}"):
        seed = int(metrics.parent.name.rpartition("-")[2])
        rows = artifacts.read_metrics(metrics, ("seconds",))
        seconds[seed] = float(sum(row["seconds"] for row in rows))
    return dict(sorted(seconds.items()))


def pack(right: np.ndarray) -> str:
    """Writes whether each image is right, bool [images], as hexadecimal digits."""
    return np.packbits(right).tobytes().hex()


def unpack(digits: str, images: int) -> np.ndarray:
    """Reads what `pack` wrote, bool [images]."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=images).astype(bool)
