"""The stack of cells in a network: which cells reduce, and how many channels each cell has. No jax."""

from typing import NamedTuple


class CellSpec(NamedTuple):
    """Holds what a cell's place in the network decides.

    Attributes:
        channels: channels of each operation.
        reduction: whether operations on the two inputs have stride 2.
        reduction_prev: whether the first input has twice the resolution of the second.
        spacing: pixels between neighbors in the first input, the second, the output (see `networks.layers`).
    """

    channels: int
    reduction: bool
    reduction_prev: bool
    spacing: tuple[int, int, int] = (1, 1, 1)


def cell_plan(
    cells: int, channels: int, *, reduction_prev: bool = False, halvings: int = 2
) -> tuple[CellSpec, ...]:
    """Plans the cells of a network, first to last: reductions at 1/3 and 2/3, each doubling the channels.

    Args:
        cells: number of cells. Where there are fewer than 3, the first is a reduction (DARTS's integer division).
        channels: channels of each operation in the first cells. A cell's output has as many for each node that it
            concatenates.
        reduction_prev: whether the first cell's two inputs differ in resolution (ImageNet's stem).
        halvings: how many reductions halve the array, from the first on. The other reductions keep the array's size
            and double the spacing of the cells after them.
    """
    if cells < 1 or channels < 1:
        raise ValueError(f"cells={cells}, channels={channels}: expected positive numbers")
    plan, spacing = [], (1, 1, 1)
    for index in range(cells):
        reduction = index in (cells // 3, 2 * cells // 3)
        channels *= 1 + reduction
        atrous = reduction and sum(spec.reduction for spec in plan) >= halvings
        spacing = *spacing[1:], spacing[2] * (1 + atrous)
        plan.append(CellSpec(channels, reduction, reduction_prev, spacing))
        reduction_prev = reduction
    return tuple(plan)
