"""Several searches as one program, without the networks and the pictures that take most of the time."""

import contextlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from nge_jax.data import small
from nge_jax.report import seeds as seeds_report
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.search import build as search_build
from nge_jax.search import runner as search_runner
from nge_jax.workdir import artifacts
from tests.helpers.small_search import Killed


class Linear(NamedTuple):
    """Stands for a supernet: seven linear models of the pixels, mixed by the mean of P. It compiles in a second."""

    share: int = 1

    def init(self, key):
        return {"w": jax.random.normal(key, (64, 7, 3)) / 8}

    def apply(self, weights, images, probs):
        logits = jnp.tensordot(images.reshape(len(images), -1), weights["w"], 1)
        return jnp.einsum("bok,o->bk", logits, probs.mean((0, 1))), {}


@contextlib.contextmanager
def stand_ins(dataset):
    """Gives runs the data and `Linear`; without pictures, which take most of the time, and are others' to test."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(small, "load", lambda name, place: dataset)
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
