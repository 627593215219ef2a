"""The search for a cell: Algorithm 1 of the paper, and the same loop for other strategies.

Read `gradient_steps` first: one update of the weights under fixed P, one of the embedding under fixed weights.
`strategy_steps` replaces both where a strategy searches; `build` makes the parts that a config describes, `checks`
refuses configs, `task` is a search as the loop runs it, `seeds` are several as one, `runner` runs an entire search, and
`record` writes what it found.
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
    from nge_jax.search.runner import SearchResult as SearchResult
    from nge_jax.search.runner import run as run
    from nge_jax.search.runner import summary as summary
