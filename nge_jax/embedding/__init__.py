"""Neural graph embedding: from node vectors to the probabilities of operations (paper Eq. 5-10).

Read `model` first: the equations and the four edge models. `nodes` has the embeddings of nodes, and `movement` says how
far a step for one edge moves the others.
"""
