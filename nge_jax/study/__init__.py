"""A study: is the cell that a search finds better than random cells of the same cost, trained by the same recipe?

Read `statistics` first: the comparison and its error. `plan` says what is trained, `cells` chooses the random cells,
`trainer` trains one network, `budget` fits the trainings to the time, and `runner` does it all.
"""

from etils import epy as _epy

__all__ = ["run"]

with _epy.lazy_api_imports(globals()):
    from nge_jax.study.runner import run as run
