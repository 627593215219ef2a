"""The result of a search by gradient: P, and with edge normalization the weight of each edge.

PC-DARTS (Xu et al., ICLR 2020) weights the edges into a node by a softmax over these edges,

    node_k = sum_i beta_ik sum_o p_iko o(node_i).

Where a search learns no betas, a plain array P [C, E, O] takes the place of a `Mixture`.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from nge_jax.space.spaces import Space

if TYPE_CHECKING:
    import jax


class Mixture(NamedTuple):
    """Holds the probabilities of operations and the weights of edges.

    Attributes:
        probs: P [..., C, E, O]. The probabilities on an edge sum to 1.
        betas: [..., C, E]. The weights of the edges into a node sum to 1.
    """

    probs: Any
    betas: Any


def operation_probs(mixture: Any) -> Any:
    """Returns P [..., C, E, O]: the mixture's probabilities, or the argument itself where it is P."""
    return mixture.probs if isinstance(mixture, Mixture) else mixture


def strengths(mixture: Any) -> Any:
    """Computes the strengths [..., C, E, O] that a cell is derived from: beta P (PC-DARTS), or P without betas."""
    if not isinstance(mixture, Mixture):
        return mixture
    return mixture.betas[..., None] * mixture.probs


def normalized_edges(logits_CxE: "jax.Array", space: Space) -> "jax.Array":
    """Computes betas [C, E]: for each inner node, the softmax over the edges into the node."""
    import jax  # here alone: a workdir is read without jax
    import jax.numpy as jnp

    # Edges are sorted by target, so that a node's edges are a slice, and the nodes' groups join to the whole.
    incoming = map(space.incoming, space.inner_nodes)
    groups = (logits_CxE[:, edges[0] : edges[-1] + 1] for edges in incoming)
    return jnp.concatenate([jax.nn.softmax(group) for group in groups], axis=-1)
