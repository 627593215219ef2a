"""The curves of the edges in the picture of a cell."""

import numpy as np
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from nge_jax.report.cell_layout import PORT_GAP, Chains, Layout, LayoutItem

CLEARANCE = 0.04  # inches, of an edge that passes a node or a label


def routes(cell: Layout) -> list[CubicHermiteSpline]:
    """Draws a curve y over x for each edge, from its source's far side to its target's near one.

    The curve runs level through its label, and wherever a slope would touch a node or a label that it passes.
    """
    column_of = {item: column for column in cell.columns for item in column}
    starts, ends = _ports(cell.chains, 0), _ports(cell.chains, 1)
    splines = []
    for e, (_, chain) in enumerate(cell.chains):
        level = {item for item in chain if item.kind == "label"}
        while True:
            points = [starts[e]]
            for item in chain[1:-1]:
                sides = (-0.5, 0.5) if item in level else (0,)
                points += [(item.x + side * item.width, item.y) for side in sides]
            spline = _interpolate(np.array([*points, ends[e]]))
            passed = [item for item in chain[1:-1] if item not in level]
            touching = [item for item in passed if _touches(spline, item, column_of[item])]
            if not touching:
                break
            level.update(touching)
        splines.append(spline)
    return splines


def _ports(chains: Chains, side: int) -> dict[int, tuple[float, float]]:
    """Places the points where edges leave (side 0) or enter (side 1) their nodes, in the order of their far ends."""
    ports = {}
    for node in dict.fromkeys(chain[-side] for _, chain in chains):
        edges = [e for e, (_, chain) in enumerate(chains) if chain[-side] is node]
        edges.sort(key=lambda e: chains[e][1][-2 if side else 1].y)
        for n, e in enumerate(edges):
            y = node.y + PORT_GAP * (n - (len(edges) - 1) / 2)
            ports[e] = (node.x + (0.5 - side) * node.width, y)
    return ports


def _interpolate(points: np.ndarray) -> CubicHermiteSpline:
    """Leads a curve through points [n, 2]: never outside of the range of two neighbors, level at both ends."""
    x, y = points.T
    slopes = PchipInterpolator(x, y)(x, 1)
    slopes[[0, -1]] = 0
    return CubicHermiteSpline(x, y, slopes)


def _touches(spline: CubicHermiteSpline, passing: LayoutItem, column: list[LayoutItem]) -> bool:
    """Says whether the curve comes too close to a node or a label while it passes their column."""
    x = passing.x + (passing.width / 2 + CLEARANCE) * np.linspace(-1, 1, 25)
    for item in column:
        beside = abs(x - item.x) < item.width / 2 + CLEARANCE
        within = abs(spline(x) - item.y) < item.height / 2 + CLEARANCE
        if item.kind != "pass" and np.any(beside & within):
            return True
    return False
