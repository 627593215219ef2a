"""One update of a search. Read `gradient` first: it has a step of the weights and a step of the embedding.

`strategy` has the steps of strategies that ask for whole cells. `relaxation` says how operations are mixed under P.
"""
