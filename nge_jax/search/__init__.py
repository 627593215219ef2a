"""The search for a cell: Algorithm 1 of the paper, and the same loop for other strategies.

Read `steps.gradient` first: one update of the weights under fixed P, one of the embedding under fixed weights.
`steps.strategy` replaces both where a strategy searches. `checks` refuses configs, `build` makes the parts that a
config describes, `task` is a search as the loop runs it, `several` runs several searches as one program, `runner` runs
an entire search, and `record` writes the search's results.
"""

from etils import epy as _epy

__all__ = ["SearchResult", "run", "summary"]

with _epy.lazy_api_imports(globals()):
    from nge_jax.search.runner import SearchResult as SearchResult
    from nge_jax.search.runner import run as run
    from nge_jax.search.runner import summary as summary
