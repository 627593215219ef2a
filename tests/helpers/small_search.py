"""Searches that take seconds, most of them to compile; killed where a test asks; and what a search leaves."""

import contextlib
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.data import small
from nge_jax.report import seeds as seeds_report
from nge_jax.runtime import loop
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.search import build as search_build
from nge_jax.search import runner as search_runner
from nge_jax.search.steps import relaxation
from nge_jax.settings.configs import load_config
from nge_jax.space.budget import strongest
from nge_jax.space.spaces import DARTS, Space
from nge_jax.workdir import artifacts

EPOCHS, STEPS, BATCH = 2, 3, 8


def make_config(strategy, **search_keys):
    """One reduction cell, the least that has both kinds of edges; dispatches and checkpoints of one step."""
    config = load_config("search_digits", f"{strategy},smoke")
    config.network.cells = 1
    config.search.images_per_epoch = STEPS * BATCH
    config.search.update(search_keys)
    config.evolution.population = 2
    config.evolution.tournament = 2
    config.evolution.proposals = 2
    config.evolution.memory = 3
    config.run.steps_per_dispatch = 1
    config.run.checkpoint_every_steps = 1
    config.run.random_cells = 2
    return config


class Killed(Exception):
    """Stands for SIGKILL, in the process of the test."""


def leaves(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def run(config, data, path, monkeypatch, kill_after=()):
    """Runs the search in the workdir, killed after the checkpoints of the steps `kill_after`, each time resumed."""
    monkeypatch.setattr(small, "load", lambda name, folder, **size: data)
    states = []

    def run_loop(*args, run_loop=loop.run, **settings):
        states.append(run_loop(*args, **settings))
        return states[-1]

    def save(self, step, *args, save=Checkpoints.save):
        save(self, step, *args)
        if step in left:
            left.remove(step)
            self.wait()
            raise Killed

    left = list(kill_after)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "run", run_loop)
        patched.setattr(Checkpoints, "save", save)
        while True:
            try:
                search_runner.run(config, path, overwrite=False)
            except Killed:
                continue
            break
    assert not left
    return states[-1]


class Result(NamedTuple):
    """The end of a search; `arrays`: types, shapes and checksums in the newest checkpoint."""

    step: int
    arrays: dict
    rows: list
    genotype: str
    probs: list


def result(workdir):
    """Reads the result that a workdir holds by now, but for the values that time decides."""
    steps = [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()]
    newest = workdir / "checkpoints" / str(max(steps))
    rows, cells, probs = (
        workdir / n for n in ("metrics.jsonl", "genotype.json", "architecture.npz")
    )
    rows = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    timeless = ("seconds", "images_per_second")
    return Result(
        step=max(steps),
        arrays=json.loads((newest / "manifest" / "metadata").read_text()),
        rows=[{k: v for k, v in row.items() if k not in timeless} for row in rows],
        genotype=cells.read_text() if cells.exists() else "",
        probs=np.load(probs)["probs"].tolist() if probs.exists() else [],
    )


class Linear(NamedTuple):
    """Stands for a supernet: seven linear models of the pixels, mixed by the mean of P. It compiles in a second."""

    space: Space = DARTS

    def init(self, key):
        return {"w": jax.random.normal(key, (64, 7, 3)) / 8}

    def apply(self, weights, images, probs):
        logits = jnp.tensordot(images.reshape(len(images), -1), weights["w"], 1)
        return jnp.einsum("bok,o->bk", logits, probs.mean((0, 1))), {}

    @property
    def layer_types(self):
        return 0, 1, 0, 0

    def apply_layers(self, weights, images, probs):
        """Each layer sees a quarter of the pixels. The sum for equal parts of `probs` is the result of `apply`."""
        pixels = jnp.split(images.reshape(len(images), -1), 4, -1)
        layers = zip(pixels, jnp.split(weights["w"], 4), probs, strict=True)
        return sum(jnp.einsum("bi,iok,o->bk", x, w, p.mean(0)) for x, w, p in layers), {}

    def single_cell(self):
        return self

    def choices(self, cell):
        return jax.nn.one_hot(strongest.as_architecture(cell, self.space), 7)


@contextlib.contextmanager
def stand_ins(dataset):
    """Gives runs the data and `Linear`; without pictures, which take most of the time, and are others' to test."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(small, "load", lambda name, place, **size: dataset)
        patched.setattr(search_build, "make_net", lambda *_: Linear())
        kind = search_runner.KIND._replace(report=lambda path: path / artifacts.REPORT)
        patched.setattr(search_runner, "KIND", kind)
        patched.setattr(seeds_report, "to_text", lambda path: "")
        yield patched


def dying(left):
    """Returns what saves checkpoints as `Checkpoints.save`, and dies after each of the steps `left`, once."""
    save = Checkpoints.save

    def save_and_die(self, step, *args):
        save(self, step, *args)
        if step in left:
            left.remove(step)
            self.wait()
            raise Killed

    return save_and_die


LINE = relaxation.Line(10.0, 0.1, 50, 100)
RELAXATIONS = {
    "softmax": relaxation.softmax(None),
    "gumbel": relaxation.gumbel(None, LINE),
    "partial": relaxation.partial(None),
}
# A long search on a fast device: each value as long as it becomes.
ROW = {
    "epoch": 1000,
    "weight_loss": 6.90775,
    "weight_accuracy": 1.0,
    "embedding_loss": 6.90775,
    "embedding_accuracy": 1.0,
    "entropy_normal": 1.945910,
    "entropy_reduction": 1.945910,
    "skip_connect_normal": 8,
    "skip_connect_reduction": 8,
    "images_per_second": 123_456.78,
    "seconds": 9999.9,
    "best_reward": 1.0,
    "temperature": 10.0,
    "skip_dropout": 1.0,
}
