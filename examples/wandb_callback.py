"""Weights & Biases shows a run: pip install wandb

    WANDB_MODE=offline nge search search_digits:gradient run.callbacks=wandb_callback.py:watch

Each start of a run is one run there, in a group with the workdir's name.
"""

import wandb

import nge_jax as nge


def begin(workdir, settings):
    """Opens a run with all settings."""
    wandb.finish(exit_code=1)  # a run in this process that was stopped, if there is one
    wandb.init(project="nge_jax", group=workdir.name, dir=workdir.parent, config=dict(settings))


def log(row, state):
    """Logs the numbers of an epoch."""
    wandb.log({name: value for name, value in row.items() if isinstance(value, int | float)})


def end(result):
    """Keeps the result as a text, and closes the run."""
    wandb.summary["result"] = repr(result)
    wandb.finish()


watch = nge.Callback(on_begin=begin, on_epoch=log, on_end=end)
