"""Search strategies with ask, tell and probs for a search without gradients (the paper names two of them).

Read `base` first: what a strategy is and the loop that runs one. `reinforce` and `evolution` let the edge model
propose architectures; `random_search` is the baseline that learns nothing.
"""
