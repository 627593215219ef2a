"""What tests of mixed cells share."""

from nge_jax.supernet import cell
from nge_jax.supernet.model import LAYOUTS, SCHEDULES


def mixed_cell(params, before, choices, *, layout, **arguments):
    """`cell.mixed_cell` in a layout, where inputs and output are [B, H, W, C] all the same."""
    before = tuple(map(layout.laid, before))
    return layout.images_first(cell.mixed_cell(params, before, choices, layout=layout, **arguments))


def mixed_cell_by(schedule, params, before, choices, **arguments):
    """The same by a schedule, in its own layout."""
    by = {"mix_edges": SCHEDULES[schedule], "layout": LAYOUTS[schedule]}
    return mixed_cell(params, before, choices, **by, **arguments)
