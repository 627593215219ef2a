"""A study: is the cell that a search finds better than random cells of the same cost, trained by the same recipe?

Read `statistics` first: the comparison and its error. `plan` says what is trained, and `candidates` chooses the random
cells. `trainer` trains one network, `trainings` all of them, and `budget` fits them to the time. `runner` does it all.
"""

from etils import epy as _epy

__all__ = ["Settings", "build", "run"]

with _epy.lazy_api_imports(globals()):
    from nge_jax.study.build import build as build
    from nge_jax.study.runner import run as run
    from nge_jax.study.settings import Settings as Settings
