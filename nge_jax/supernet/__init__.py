"""The weight-sharing network of the search: (weights, images, probabilities P) -> logits (paper Eq. 11).

Read `reference` first: the mixed cell as the paper writes it. `model` is the network around its cells, `cell` one
cell, `looped` (CPUs) and `grouped` (GPUs, TPUs) the fast schedules of the same sums, `edge` and `norm` the
arithmetic that these share, `trees` their containers. `sampled` computes the operations of one architecture alone,
`partial` lets most channels pass the operations by.
"""
