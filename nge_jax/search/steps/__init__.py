"""One update of a search. Read `gradient` first: one step of the weights, one of the embedding.

`strategy` has the steps of the strategies that ask for cells; `relaxation` says how operations are mixed under P.
"""
