"""The weight-sharing network of the search: (weights, images, probabilities P) -> logits (paper Eq. 11).

Read `schedules.reference` first: the mixed cell as the paper writes it.

* `model` is the network around its cells, and `cell` is one cell.
* `schedules` computes the sums in a cell, in forms that are fast on CPUs and on accelerators.
* `layouts` says where the channels of an image lie in memory.
* `edge` and `norm` are the arithmetic that the schedules share, and `trees` holds their parameters.
* `sampled` computes the operations of one architecture alone.
* `partial` sends a part of the channels past the operations (PC-DARTS).
* `nas_bench_201` is the supernet of another search space, and `nas_bench_201_cell` is one of its cells.
* `net` is what every supernet answers, and `makers` makes the supernet of a space.
"""
