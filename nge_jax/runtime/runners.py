"""Names the module that runs a config. No runner is imported before it is asked for, because runners import jax."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from nge_jax.workdir import artifacts

TASKS = {
    "search": "nge_jax.search.runner",
    "train": "nge_jax.train.runner",
    "segment": "nge_jax.segment.runner",
}
# The runner of searches whose cells are rated by trainings (`search.evaluator`).
TRIALS = "nge_jax.trials.runner"
# The runner of studies, whose record is a search's with the group `study`.
STUDY = "nge_jax.study.runner"


def runner_name(values: Mapping[str, Any]) -> str:
    """Returns the module that runs a config of one of TASKS; `values` are the config's, nested."""
    if artifacts.is_study(values):
        return STUDY
    if artifacts.is_by_trainings(values):
        return TRIALS
    return TASKS[values["task"]]


def load(values: Mapping[str, Any]) -> ModuleType:
    """Imports the module that runs a config of one of TASKS; `values` are the config's, nested."""
    return importlib.import_module(runner_name(values))
