"""Search spaces as data: the operations of a space, the nodes of its cells, and how many edges a cell keeps.

A cell is a DAG. The inputs come first, and the inner nodes follow. Every pair of nodes i < k is an edge i -> k where k
is an inner node. A kept edge carries one operation. This module imports no jax.
"""

from collections.abc import Iterable
from typing import NamedTuple

# The operations that each edge of each cell type may have: [cell type][edge] -> names.
Allowed = tuple[tuple[tuple[str, ...], ...], ...]


class Space(NamedTuple):
    """Describes the cells among which a search chooses.

    Attributes:
        operations: names, in the order of every array's last axis.
        cell_types: names of the cells that make an architecture. Each cell type has edges of its own.
        num_inputs, num_nodes: counts for one cell. Nodes are counted from 0, the inputs first.
        kept_edges: how many edges into each inner node an architecture keeps, each from another node. A node with
            fewer edges keeps all; None keeps all edges of every node.
        is_tabular: whether a table has the accuracies of all cells, so that a search's cell needs no training.
        allowed: the operations that each edge of each cell type may have; (): each edge may have each operation.
    """

    operations: tuple[str, ...]
    cell_types: tuple[str, ...]
    num_inputs: int
    num_nodes: int
    kept_edges: int | None
    is_tabular: bool = False
    allowed: Allowed = ()

    @property
    def inner_nodes(self) -> range:
        """Lists the nodes behind the inputs."""
        return range(self.num_inputs, self.num_nodes)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Lists (i, k) for every edge i -> k: by k, then by i, the order of DARTS and NAS-Bench-201."""
        return tuple((i, k) for k in self.inner_nodes for i in range(k))

    def incoming(self, node: int) -> tuple[int, ...]:
        """Lists the numbers of the edges into an inner node."""
        return tuple(e for e, (_, target) in enumerate(self.edges) if target == node)

    def kept(self, node: int) -> int:
        """Counts the edges into an inner node that an architecture keeps."""
        return node if self.kept_edges is None else min(self.kept_edges, node)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Gives the shape of probabilities: [cell type, edge, operation]."""
        return len(self.cell_types), len(self.edges), len(self.operations)

    @property
    def num_kept(self) -> int:
        """Counts the edges that a cell keeps."""
        return sum(map(self.kept, self.inner_nodes))

    def choices(self, cell_type: int, edge: int) -> tuple[str, ...]:
        """Lists the operations that an edge of a cell type, both by number, may have."""
        return self.allowed[cell_type][edge] if self.allowed else self.operations

    @property
    def mask(self) -> tuple[tuple[tuple[bool, ...], ...], ...]:
        """Tells for each cell type, edge and operation whether the edge may have the operation."""
        cells, edges, _ = self.shape
        return tuple(
            tuple(tuple(o in self.choices(c, e) for o in self.operations) for e in range(edges))
            for c in range(cells)
        )


class KeptEdge(NamedTuple):
    """Holds an edge i -> k that a cell keeps, and its operation."""

    operation: str
    source: int
    target: int


def count_operations(edges: Iterable[KeptEdge], space: Space) -> dict[str, int]:
    """Counts how often each of a space's operations stands on the edges."""
    names = [edge.operation for edge in edges]
    return {operation: names.count(operation) for operation in space.operations}


# The paper's space is the one of DARTS (Liu et al., ICLR 2019) without `none`.
DARTS = Space(
    operations=(
        "skip_connect",
        "max_pool_3x3",
        "avg_pool_3x3",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    ),
    cell_types=("normal", "reduction"),
    num_inputs=2,
    num_nodes=6,
    kept_edges=2,
)
# Convolutions and the sizes of their kernels. A separable convolution is applied twice.
SEPARABLE = {"sep_conv_3x3": 3, "sep_conv_5x5": 5}
DILATED = {"dil_conv_3x3": 3, "dil_conv_5x5": 5}

# NAS-Bench-201 (Dong and Yang, ICLR 2020) has one searched cell and 5^6 = 15,625 cells: every edge has an operation.
NAS_BENCH_201 = Space(
    operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    cell_types=("normal",),
    num_inputs=1,
    num_nodes=4,
    kept_edges=None,
    is_tabular=True,
)
BENCH_CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")
# The same cells without `none`, as in the paper's space: 4^6 = 4,096 of the benchmark's cells.
NO_NONE = NAS_BENCH_201._replace(operations=NAS_BENCH_201.operations[1:])

# RobustDARTS (Zela et al., ICLR 2020) has four smaller spaces in which DARTS's search fails: S1 to S4. In S1 each edge
# has two operations of its own. The first letters of these pairs, in the order of the edges:
_INITIALS = {
    "k": "skip_connect",
    "m": "max_pool_3x3",
    "a": "avg_pool_3x3",
    "s": "sep_conv_3x3",
    "d": "dil_conv_3x3",
    "D": "dil_conv_5x5",
}
_S1 = (
    "kd kD kD ks kd mk ks ks kd ks mk kd dD dD",
    "ma md ma ma kD ma ms kd kD ma ma kD kD kD",
)
S1 = DARTS._replace(
    operations=tuple(_INITIALS.values()),
    allowed=tuple(
        tuple(tuple(_INITIALS[letter] for letter in pair) for pair in pairs.split())
        for pairs in _S1
    ),
)
S2 = DARTS._replace(operations=("skip_connect", "sep_conv_3x3"))
S3 = DARTS._replace(operations=("none", "skip_connect", "sep_conv_3x3"))
S4 = DARTS._replace(operations=("noise", "sep_conv_3x3"))
# The paper's operations without skip connections, as a set of operations of confopt (Jha et al., AutoML 2025).
NO_SKIP = DARTS._replace(operations=DARTS.operations[1:])
# Another set of confopt, `all_skip` of its benchmark suite (arXiv 2507.16533). In the supernet and in the derived
# network a skip connection lies beside every operation. Where rows of P sum to 1, an edge has one skip in all.
ALL_SKIP = DARTS._replace(operations=tuple(f"{name}_and_skip" for name in DARTS.operations))

# The spaces with a supernet, by their names in configs.
SPACES = {
    "darts": DARTS,
    "nas_bench_201": NAS_BENCH_201,
    "nas_bench_201_no_none": NO_NONE,
    "s1": S1,
    "s2": S2,
    "s3": S3,
    "s4": S4,
    "no_skip": NO_SKIP,
    "all_skip": ALL_SKIP,
}


def family(name: str) -> str:
    """Returns the space whose keys a config with the space `name` has: darts for all but NAS-Bench-201's spaces."""
    return name if name in SPACES and SPACES[name].is_tabular else "darts"
