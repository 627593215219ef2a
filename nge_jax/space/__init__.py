"""Cells: the operations, nodes and edges of a cell, and the cells that a search can end with.

A `Space` is data. A `Genotype` is one cell of each type in DARTS's vocabulary. An architecture is the same cells as an
array; edge probabilities stand for a distribution over architectures. Read `spaces` first, then `genotype`. `cell`
covers both spaces. `formats` reads the cells that other programs write.

Accuracies come from a table (`nas_bench_201`), a surrogate (`nas_bench_301`) or a user's CSV (`measured`).
`architecture`, `nas_bench_301` and `measured` import jax.
"""
