"""The search for a cell among cells that are trained, each by itself: one compiled program trains any cell.

Read `ledger` first: which cells are trained, and for how long. `programs` has the programs, and `task` the search as
the loop runs it. `build` makes the plan from a config, `result` writes the files, and `runner` runs an entire search.
"""

from etils import epy as _epy

__all__ = ["TrialsResult", "run", "summary"]

with _epy.lazy_api_imports(globals()):
    from nge_jax.trials.result import TrialsResult as TrialsResult
    from nge_jax.trials.runner import run as run
    from nge_jax.trials.runner import summary as summary
