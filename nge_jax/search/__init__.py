"""The search for a cell: Algorithm 1 of the paper, and the same loop for other strategies.

Read `steps.gradient` first: one update of the weights under fixed P, one update of the embedding under fixed weights.
`steps.strategy` replaces both updates where a strategy searches. `checks` refuses configs. `build` makes the plan of a
search from a config, and `makers` makes parts of the plan again inside programs. `task` is a search as the loop runs
it, and `several` runs several searches as one program. `runner` runs an entire search, and `record` makes the rows and
warnings of an epoch.
"""

from etils import epy as _epy

__all__ = ["SearchResult", "run", "summary"]

with _epy.lazy_api_imports(globals()):
    from nge_jax.search.runner import SearchResult as SearchResult
    from nge_jax.search.runner import run as run
    from nge_jax.search.runner import summary as summary
