"""Mixed cells whose inputs and output are [B, H, W, C] in every layout."""

from nge_jax.supernet import cell
from nge_jax.supernet.schedules.schedule import SCHEDULES


def mixed_cell(params, before, choices, *, layout, **arguments):
    """Computes `cell.mixed_cell` in a layout, from and to [B, H, W, C]."""
    before = tuple(map(layout.to_layout, before))
    return layout.to_nhwc(cell.mixed_cell(params, before, choices, layout=layout, **arguments))


def mixed_cell_by(schedule, params, before, choices, **arguments):
    """Computes `cell.mixed_cell` by a schedule, from and to [B, H, W, C]."""
    mix_edges, layout = SCHEDULES[schedule].mix_edges, SCHEDULES[schedule].layout
    return mixed_cell(params, before, choices, mix_edges=mix_edges, layout=layout, **arguments)
