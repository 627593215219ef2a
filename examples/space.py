"""A space as one value: five inner nodes, other operations, and operations that only some edges may have.

nge search search_digits:gradient,smoke search.space=examples/space.py:SPACE --workdir=runs/own
nge train train_digits:smoke genotype=runs/own --workdir=runs/own_trained
nge predict runs/own_trained FILES
nge export runs/own_trained runs/own_exported
"""

import nge_jax as nge

WIDE = nge.with_operations(
    nge.DARTS._replace(num_nodes=7),  # two inputs and five inner nodes
    "skip_connect",
    "max_pool_3x3",
    "sep_conv_3x3",
    "conv_1x1",
    "squeeze_excite",
)


def choices(source: int, target: int) -> tuple[str, ...]:
    """Lists what an edge may have: pools leave the inputs alone, and the last node has no skip connection."""
    names = WIDE.operations
    if source >= WIDE.num_inputs:
        names = tuple(name for name in names if name != "max_pool_3x3")
    return names[1:] if target == WIDE.num_nodes - 1 else names


# Both cell types have the same rule here. The order is the one of `WIDE.edges`.
SPACE = WIDE._replace(allowed=(tuple(choices(*edge) for edge in WIDE.edges),) * 2)
