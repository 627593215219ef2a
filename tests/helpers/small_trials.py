"""Searches by trials that take seconds, killed where a test asks."""

import pytest

from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.settings.configs import load_config
from nge_jax.trials import runner as trials_runner
from tests.helpers.small_search import Killed, dying


def make_config(**changes):
    """One reduction cell; a dispatch is a step."""
    config = load_config("search_digits", "trained,smoke")
    config.network.cells = 1
    config.search.images_per_epoch = 128
    config.run.steps_per_dispatch = 1
    config.run.checkpoint_every_steps = 1
    config.trained.rungs = (2, 4)
    config.update_from_flattened_dict(changes)
    return config


def run(path, killed_after=(), **changes):
    """Runs a search, killed after the checkpoints of these steps and resumed each time; returns its result."""
    left = list(killed_after)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Checkpoints, "save", dying(left))
        while True:
            try:
                found = trials_runner.run(make_config(**changes), path)
            except Killed:
                continue
            break
    assert not left
    return found
