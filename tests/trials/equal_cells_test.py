"""Cells that differ by the order of their inner nodes have one form; other cells have other forms."""

from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.trials.equal_cells import canonical_form

INNER = (2, 3, 4, 5)
PAIRS = (
    ("sep_conv_3x3", 0), ("skip_connect", 1), ("max_pool_3x3", 0), ("dil_conv_3x3", 1),
    ("sep_conv_5x5", 2), ("avg_pool_3x3", 3), ("skip_connect", 0), ("skip_connect", 4),
)  # fmt: skip
# Nodes 2 and 3 in the other order, and the pairs of node 4.
EXCHANGED = (*PAIRS[2:4], *PAIRS[:2], ("avg_pool_3x3", 2), ("sep_conv_5x5", 3), *PAIRS[6:])


def cell(normal, reduce=PAIRS):
    return Genotype(tuple(normal), INNER, tuple(reduce), INNER)


def test_the_order_of_inner_nodes_and_of_a_nodes_pairs_does_not_count():
    assert canonical_form(cell(PAIRS)) == canonical_form(cell(EXCHANGED))
    assert canonical_form(cell(PAIRS)) == canonical_form(cell(PAIRS, EXCHANGED))
    turned = [pair for j in range(0, 8, 2) for pair in (PAIRS[j + 1], PAIRS[j])]
    assert canonical_form(cell(PAIRS)) == canonical_form(cell(turned))


def test_other_cells_have_other_forms():
    other = (("sep_conv_3x3", 1), ("skip_connect", 0), *PAIRS[2:])  # the inputs are not alike
    assert canonical_form(cell(PAIRS)) != canonical_form(cell(other))
    assert canonical_form(cell(PAIRS, other)) != canonical_form(cell(other, PAIRS))
    forms = {canonical_form(genotype.random_genotype(seed)) for seed in range(100)}
    assert len(forms) == 100
