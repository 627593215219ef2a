"""Search strategies for a search without gradients; the paper names two of them.

Read `base` first: the interface of a strategy (ask, tell and probs) and the loop that runs one. In `reinforce` and
`evolution` the edge model proposes architectures. `random_search` is the baseline that learns nothing.
"""
