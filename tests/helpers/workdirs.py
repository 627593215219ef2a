"""Workdirs as a run begins them."""

from nge_jax.workdir import folder


def begin(path, values, *, overwrite):
    """Checks a workdir and makes it the run's, as `runtime.task.run` does."""
    folder.check(path, values, overwrite=overwrite)
    return folder.prepare(path, values, overwrite=overwrite)
