"""Places the parts of a cell's picture: in columns from left to right, or in rows from top to bottom.

A label is laid out like a node, in the middle of its edge. A long edge keeps a free place in every
column it passes. Labels, nodes and edges therefore never touch, whatever the cell (Sugiyama, Tagawa
and Toda 1981; labels as nodes after Graphviz).

Lengths are inches; x runs along the edges and y across them. In the picture, x and y run to the right
and upwards, or downwards and to the left. Only the parts' sizes depend on the direction, since texts
are never turned. The same cell always gives the same picture.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize

from nge_jax.space.genotype import NUM_INPUTS, Pair

NODE_SIZE = (0.42, 0.36)  # least width and height as a reader sees them
END_WIDTH = 0.6  # the inputs and the output
LABEL_HEIGHT = 0.22
PORT_GAP = 0.13  # between edges where they leave or enter a node
COLUMN_GAP, STEEP_GAP = 0.36, 0.3  # between columns, and more for each inch an edge climbs there
VERTICAL_GAP = 0.13
PASS_HEIGHT = 0.04
STARTS, SWEEPS = 24, 8  # orders tried, and rounds of improvement of each
OUTPUT = "output"


@dataclasses.dataclass(eq=False)
class LayoutItem:
    """Holds a place in a column: of a node, of a label, or where a long edge passes.

    kind: "node", "label" or "pass". name: the node's number or OUTPUT, the label's operation, or "".
    width, height: its sizes along x and y; x, y: its middle.
    """

    kind: str
    name: int | str
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0


Columns = list[list[LayoutItem]]  # from left to right, each from the bottom up
Chains = list[tuple[str | None, list[LayoutItem]]]  # for each edge, below


class Layout(NamedTuple):
    """Holds a cell with all its places; x runs over [0, width], y over [0, height].

    Attributes:
      chains: the edges, each with its operation (None on the way to the output) and its items from the
        source node past labels and free places to the target node, one in every column.
      downwards: whether x runs downwards in the picture and y to the left.
      num_inputs: how many of the nodes are inputs.
    """

    columns: Columns
    chains: Chains
    width: float
    height: float
    downwards: bool
    num_inputs: int


def cell_layout(
    pairs: Sequence[Pair],
    concat: Sequence[int],
    label_width: Callable[[str], float],
    *,
    downwards: bool = False,
) -> Layout:
    """Lays out a cell of any number of inner nodes.

    Args:
      pairs: (operation, predecessor), two for each inner node, as in a Genotype.
      concat: the nodes concatenated in the output.
      label_width: the width in inches of an operation's label as one reads it.
      downwards: whether x runs downwards in the picture and y to the left.
    """
    edges = [(operation, i, NUM_INPUTS + j // 2) for j, (operation, i) in enumerate(pairs)]
    return edges_layout(edges, concat, NUM_INPUTS, label_width, downwards=downwards)


def edges_layout(
    labeled: Sequence[tuple[str, int, int]],
    concat: Sequence[int],
    num_inputs: int,
    label_width: Callable[[str], float],
    *,
    downwards: bool = False,
) -> Layout:
    """Lays out a cell of one or two inputs by its edges (operation, i, k) from i to k, else as `cell_layout`."""
    columns, chains = _build(labeled, concat, num_inputs, label_width, downwards)
    first, *others = columns[0]
    best: _Placed | None = None
    tried = set()
    for start in range(STARTS):
        ordered = _order(columns, chains, start)
        crossings, order = _crossings(ordered, chains), tuple(map(tuple, ordered))
        if order in tried or (best and crossings > best.crossings):
            continue  # before the costly part
        tried.add(order)
        _place_y(ordered, chains)
        heights = {item: item.y for column in ordered for item in column}
        # c_{k-2} above c_{k-1}
        upwards = -1 if others and heights[first] <= heights[others[0]] else 1
        climb = sum((a.y - b.y) ** 2 for a, b in _links(chains))
        climb = round(climb + 0.05 * _disorder(ordered, upwards), 6)
        if best is None or (crossings, climb) < (best.crossings, best.climb):
            best = _Placed(crossings, climb, columns=ordered, heights=heights, upwards=upwards)
    assert best  # the first order is always placed
    columns, heights, upwards = best.columns, best.heights, best.upwards
    bottom = min(upwards * y - item.height / 2 for item, y in heights.items())
    for item, y in heights.items():
        item.y = upwards * y - bottom
    width = _place_x(columns, chains)
    height = max(item.y + item.height / 2 for item in heights)
    return Layout(columns, chains, width, height, downwards, num_inputs)


class _Placed(NamedTuple):
    """Holds an order of the columns, its places and what it costs; `upwards` is -1 where it is to be mirrored."""

    crossings: int
    climb: float
    columns: Columns
    heights: dict[LayoutItem, float]
    upwards: int


def _build(
    labeled: Sequence[tuple[str, int, int]],
    concat: Sequence[int],
    num_inputs: int,
    label_width: Callable[[str], float],
    downwards: bool,
) -> tuple[Columns, Chains]:
    """Puts nodes into even columns by longest path, labels into odd ones, the output into the last."""
    num_nodes = 1 + max(k for _, _, k in labeled)
    edges: list[tuple[str | None, int, int | str]] = [*labeled]
    column_of: dict[int | str, int] = dict.fromkeys(range(num_inputs), 0)
    for _, i, k in edges:
        column_of[k] = max(column_of.get(k, 0), column_of[i] + 2)
    column_of[OUTPUT] = max(column_of.values()) + 1  # its edges carry no label
    edges += [(None, node, OUTPUT) for node in concat]
    nodes = {}
    for node in column_of:
        ports = max(sum(node == i for _, i, _ in edges), sum(node == k for _, _, k in edges))
        is_inner = node in range(num_inputs, num_nodes)
        size = (NODE_SIZE[0] if is_inner else END_WIDTH, NODE_SIZE[1])
        width, height = _turn(size, downwards)
        height = max(height, PORT_GAP * (ports + 1))
        nodes[node] = LayoutItem("node", node, width, height)
    columns = [[nodes[n] for n in nodes if column_of[n] == c] for c in range(column_of[OUTPUT] + 1)]
    spans = [range(column_of[i] + 1, column_of[k]) for _, i, k in edges]

    label_at = _choose_columns(spans[: len(labeled)])
    chains = []
    for e, (operation, i, k) in enumerate(edges):
        passed = []
        for c in spans[e]:
            if operation is not None and c == label_at[e]:
                size = _turn((label_width(operation), LABEL_HEIGHT), downwards)
                passed.append(LayoutItem("label", operation, *size))
            else:
                passed.append(LayoutItem("pass", "", 0.0, PASS_HEIGHT))
            columns[c].append(passed[-1])
        chains.append((operation, [nodes[i], *passed, nodes[k]]))
    return columns, chains


def _choose_columns(spans: Sequence[range]) -> dict[int, int]:
    """Chooses for each labeled edge, by the columns that it spans, the column of its label.

    A long edge is labeled in the column with the fewest labels, among equals nearest to its middle.
    """
    label_at, load = {}, Counter()
    for e in sorted(range(len(spans)), key=lambda e: len(spans[e])):  # short edges have no choice
        middle = (spans[e][0] + spans[e][-1]) / 2
        label_at[e] = min(spans[e][::2], key=lambda c: (load[c], abs(c - middle), -c))
        load[label_at[e]] += 1
    return label_at


def _turn(size: tuple[float, float], downwards: bool) -> tuple[float, float]:
    """Returns the sizes along x and y of something this wide and high in the picture."""
    width, height = size
    return (height, width) if downwards else (width, height)


def _links(chains: Chains) -> list[tuple[LayoutItem, LayoutItem]]:
    """Lists the neighbors along the edges: always in two neighboring columns."""
    return [link for _, chain in chains for link in zip(chain[:-1], chain[1:], strict=True)]


def _crossings(columns: Columns, chains: Chains) -> int:
    """Counts the pairs of links between the same two columns that change sides."""
    place = {item: (c, n) for c, column in enumerate(columns) for n, item in enumerate(column)}
    column, left, right = np.array([(*place[a], place[b][1]) for a, b in _links(chains)]).T
    turned = np.subtract.outer(left, left) * np.subtract.outer(right, right) < 0
    return int(np.sum(turned & np.equal.outer(column, column))) // 2


def _disorder(columns: Columns, upwards: int) -> int:
    """Counts the pairs of nodes in a column where the later one stands above."""
    count = 0
    for column in columns:
        names = [item.name for item in column[::-upwards] if isinstance(item.name, int)]
        count += sum(a > b for n, b in enumerate(names) for a in names[:n])
    return count


def _order(columns: Columns, chains: Chains, start: int) -> Columns:
    """Finds an order with few crossings: sweeps to the neighbors' mean place, then swaps."""
    if start:  # the first order is the given one
        rng = np.random.default_rng(start)
        columns = [[column[n] for n in rng.permutation(len(column))] for column in columns]
    neighbors = {item: ([], []) for column in columns for item in column}
    for a, b in _links(chains):
        neighbors[b][0].append(a)
        neighbors[a][1].append(b)
    orders = [columns]
    # Sweeps alternate: rightwards by the left neighbors, then leftwards by the right neighbors.
    for sweep in range(SWEEPS):
        columns = list(columns)
        place = {item: n / len(column) for column in columns for n, item in enumerate(column)}
        for c in range(len(columns))[:: -1 if sweep % 2 else 1]:
            sides = {item: neighbors[item][sweep % 2] or [item] for item in columns[c]}
            mean = {item: sum(place[n] for n in side) / len(side) for item, side in sides.items()}
            columns[c] = sorted(columns[c], key=mean.__getitem__)
            place |= {item: n / len(columns[c]) for n, item in enumerate(columns[c])}
        orders.append(columns)
    best = min(orders, key=lambda order: _crossings(order, chains))
    count, previous = _crossings(best, chains), None
    while count != previous:
        previous = count
        for c, n in [(c, n) for c, column in enumerate(best) for n in range(len(column) - 1)]:
            column = best[c]
            swapped = [*column[:n], column[n + 1], column[n], *column[n + 2 :]]
            trial = [*best[:c], swapped, *best[c + 1 :]]
            if (fewer := _crossings(trial, chains)) < count:
                count, best = fewer, trial
    return best


def _place_y(columns: Columns, chains: Chains) -> None:
    """Sets y so that the links are as level as possible, in this order and at a distance.

    Least squares over the base of each column and the free gaps (>= 0) above it.
    """
    items = [item for column in columns for item in column]
    index = {item: n for n, item in enumerate(items)}
    size = len(items)
    sums, fixed, lower = np.zeros([size, size]), np.zeros([size]), np.zeros([size])
    for column in columns:
        base = index[column[0]]
        lower[base] = -np.inf
        for n, item in enumerate(column):
            sums[base + n, base : base + n + 1] = 1
            if n:
                distance = (column[n - 1].height + item.height) / 2 + VERTICAL_GAP
                fixed[base + n] = fixed[base + n - 1] + distance
    pulls = [np.full([size], 1e-3)]  # weakly to 0: the links leave the height of the whole free
    for a, b in _links(chains):
        pulls.append(np.zeros([size]))
        weight = 1 + (a.kind != "node") + (b.kind != "node")  # long edges bend less
        pulls[-1][[index[a], index[b]]] = weight, -weight
    pulls = np.stack(pulls)
    free = optimize.lsq_linear(pulls @ sums, -pulls @ fixed, (lower, np.inf), method="bvls").x
    for item, y in zip(items, sums @ free + fixed, strict=True):
        item.y = float(y)


def _place_x(columns: Columns, chains: Chains) -> float:
    """Sets x, with wider gaps where edges climb; returns the width of the whole."""
    climb = dict.fromkeys(range(len(columns)), 0.0)
    column_of = {item: c for c, column in enumerate(columns) for item in column}
    for a, b in _links(chains):
        climb[column_of[b]] = max(climb[column_of[b]], abs(a.y - b.y))
    right = -COLUMN_GAP
    for c, column in enumerate(columns):
        width = max(item.width for item in column)
        right += COLUMN_GAP + STEEP_GAP * max(0.0, climb[c] - 0.3) + width
        for item in column:
            item.x = right - width / 2
            if item.kind == "pass":
                item.width = width
    return right
