"""The names among which a config chooses the parts of a run.

This module imports nothing, so that a config file and the check of a name need no jax, which takes seconds to import.
"""

DTYPES = ("float32", "bfloat16")

# The paper's (Sec. 3.3) and its ablation's (Table 4), see `embedding`.
EDGE_MODELS = ("nge", "alpha", "plain", "rnn")
ADJACENCIES = ("printed", "predecessors")
# The updates of a search: all of one group and then all of the other (Algorithm 1), or both for each pair of batches.
ALTERNATIONS = ("epoch", "batch")
# How a search by gradient mixes operations, see `search.relaxation`.
RELAXATIONS = ("softmax", "gumbel", "partial")
# The paper's gradient, which needs no strategy, and the strategies that ask for cells.
STRATEGIES = ("gradient", "reinforce", "evolution", "random")

STEMS = ("auto", "small", "large")  # how a network begins
DECAYS = ("cosine", "linear")  # the learning rate of a training falls so
CLASS_WEIGHTS = ("none", "balanced")
