"""Search spaces as data: what the cells of a space are made of, and which of their edges they keep.

A cell is a DAG: the inputs come first, the inner nodes follow, every pair i < k of nodes with k an
inner node is an edge i -> k, and a kept edge carries one operation. This module imports no jax.
"""

from typing import NamedTuple


class Space(NamedTuple):
    """Describes the cells among which a search chooses.

    Attributes:
        operations: names, in the order of every array's last axis.
        cell_types: names of the cells that make an architecture; each has edges of its own.
        num_inputs, num_nodes: of a cell; nodes are counted from 0, the inputs first.
        kept_edges: how many edges into each inner node an architecture keeps, each from another
            node; a node with fewer, and None, keeps all.
    """

    operations: tuple[str, ...]
    cell_types: tuple[str, ...]
    num_inputs: int
    num_nodes: int
    kept_edges: int | None

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
        """Counts how many of those an architecture keeps."""
        return node if self.kept_edges is None else min(self.kept_edges, node)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Gives the shape of probabilities: [cell type, edge, operation]."""
        return len(self.cell_types), len(self.edges), len(self.operations)


# The paper's, after DARTS (Liu et al., ICLR 2019) but without `none`.
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
# Of these the convolutions, with the sizes of their kernels. A separable one is applied twice.
SEPARABLE = {"sep_conv_3x3": 3, "sep_conv_5x5": 5}
DILATED = {"dil_conv_3x3": 3, "dil_conv_5x5": 5}

# Dong and Yang, ICLR 2020: one searched cell, every edge with an operation, 5^6 = 15,625 cells.
NAS_BENCH_201 = Space(
    operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    cell_types=("normal",),
    num_inputs=1,
    num_nodes=4,
    kept_edges=None,
)
SPACES = {
    "darts": DARTS,
    "nas_bench_201": NAS_BENCH_201,
}  # that have a supernet, by their names in configs
