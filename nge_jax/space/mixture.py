"""What a search by gradient learns of a cell's edges: P, and with edge normalization how much each edge counts.

PC-DARTS (Xu et al., ICLR 2020) weights the edges into a node by a softmax of their own,

    node_k = sum_i beta_ik sum_o p_iko o(node_i).

Where a search learns no betas, a plain array P [C, E, O] stands in the place of a `Mixture`.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from nge_jax.space.spaces import Space

if TYPE_CHECKING:
    import jax


class Mixture(NamedTuple):
    """Holds both.

    Attributes:
        probs: P [..., C, E, O]; those of an edge sum to 1.
        betas: [..., C, E]; those of the edges into a node sum to 1.
    """

    probs: Any
    betas: Any


def operation_probs(mixture: Any) -> Any:
    """Takes P [..., C, E, O] of a mixture, or of P itself."""
    return mixture.probs if isinstance(mixture, Mixture) else mixture


def strengths(mixture: Any) -> Any:
    """Computes what a cell is derived from [..., C, E, O]: beta P (PC-DARTS), or P itself where there are no betas."""
    if not isinstance(mixture, Mixture):
        return mixture
    return mixture.betas[..., None] * mixture.probs


def normalized_edges(logits_CxE: "jax.Array", space: Space) -> "jax.Array":
    """Computes betas [C, E]: for each inner node the softmax over the edges into it."""
    import jax  # here alone: what a workdir holds is read without it
    import jax.numpy as jnp

    groups = (logits_CxE[:, list(space.incoming(node))] for node in space.inner_nodes)
    # Edges stand by their targets, so that the groups follow one another.
    return jnp.concatenate([jax.nn.softmax(group) for group in groups], axis=-1)
