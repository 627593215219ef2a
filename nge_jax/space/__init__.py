"""What a cell is: operations, nodes, edges, and the cells that a search can end with.

A `Space` is data; a `Genotype` is one cell of each type in DARTS's vocabulary; an architecture is the same as an
array, with the distribution over architectures that edge probabilities stand for. Read `spaces` first, then
`genotype`; `cell` has what a search of either space ends with. Accuracies come from a table, `nas_bench_201`, a
surrogate, `nas_bench_301`, or a user's CSV, `measured`. `architecture` and the last two import jax.
"""
