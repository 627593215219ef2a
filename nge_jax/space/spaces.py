"""Search spaces as data: the operations of a space, the nodes of its cells, and how many edges a cell keeps.

A cell is a DAG. The inputs come first, and the inner nodes follow. Every pair of nodes i < k is an edge i -> k where k
is an inner node. A kept edge carries one operation. This module imports no jax.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Space(NamedTuple):
    """Describes the cells among which a search chooses.

    Attributes:
        operations: names, in the order of every array's last axis.
        cell_types: names of the cells that make an architecture. Each cell type has edges of its own.
        num_inputs, num_nodes: counts for one cell. Nodes are counted from 0, the inputs first.
        kept_edges: how many edges into each inner node an architecture keeps, each from another node. A node with
            fewer edges keeps all; None keeps all edges of every node.
        is_tabular: whether a table has the accuracies of all cells, so that a search's cell needs no training.
    """

    operations: tuple[str, ...]
    cell_types: tuple[str, ...]
    num_inputs: int
    num_nodes: int
    kept_edges: int | None
    is_tabular: bool = False

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
# The same cells without `none`, as in the paper's space: 4^6 = 4,096 of the benchmark's cells.
NO_NONE = NAS_BENCH_201._replace(operations=NAS_BENCH_201.operations[1:])
# The spaces with a supernet, by their names in configs.
SPACES = {"darts": DARTS, "nas_bench_201": NAS_BENCH_201, "nas_bench_201_no_none": NO_NONE}
