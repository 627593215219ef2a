"""Search strategies with ask, tell and probs for a search without gradients (the paper names two of them).

Read `base` first: what a strategy is and the loop that runs one. `reinforce` and `evolution` let the edge model
propose architectures; `random_search` is the baseline that learns nothing.
"""

# What `search.strategy` of a config may name: the paper's gradient, which needs no strategy, and the others.
STRATEGIES = ("gradient", "reinforce", "evolution", "random")
