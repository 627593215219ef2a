"""Architectures as arrays, and the distribution over architectures that edge probabilities stand for.

An architecture is int32 [C, E]: the operation of each edge of each cell type, or ABSENT where the edge is not kept.
P [C, E, O] draws the inner nodes independently: for each a set of kept edges, then an operation on each kept edge:

    s_e = max_o P_eo / (1 - max_o P_eo)                 an edge's strength, the odds of its best operation
    edges      drawn one after another without replacement, each time in proportion to s (Plackett-Luce);
               the order of the draws does not count
    operation  of a kept edge e: P_e

The probability sums over all orders (e_1, ..., e_n) in which a node's edges can have been drawn:

    log p = sum_nodes [log sum_orders prod_j s_(e_j) / (sum_(not yet drawn) s_e) + sum_j log P_(e_j, o_j)].

The most probable architecture is the one that `genotype.derive` gives, because `derive` also ranks edges by max_o P.
The paper says that actions come from edge embeddings, and is silent on how two edges are chosen. The odds let a search
become as certain as it likes; max_o P itself would not. Where a space keeps all edges, only operations are drawn.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import logsumexp

from nge_jax.errors import GenotypeError
from nge_jax.space.genotype import Genotype, derive
from nge_jax.space.spaces import DARTS, Space

ABSENT = -1  # the edge is not kept
LOWEST = -1e9  # the logit of an operation that an edge may not have
SMALLEST = 1e-6  # a smaller probability counts as this one: float32 tells 1 - 1e-7 from 1, no more


def one_hot(architecture: jax.Array, space: Space) -> jax.Array:
    """Turns architectures [..., C, E] into probabilities [..., C, E, O]; an absent edge has zeros."""
    return jax.nn.one_hot(architecture, len(space.operations))


def from_genotype(genotype: Genotype, space: Space = DARTS) -> np.ndarray:
    """Makes the architecture, int32 [2, E], of a genotype: [2, 14] in the paper's space.

    Raises:
        GenotypeError: a cell has other operations (SNAS_aggressive: none), another number of inner nodes (ENASNet), or
            an output that is not all inner nodes. An architecture cannot say these.
    """
    inner, whose = space.inner_nodes, "the paper's space" if space == DARTS else "this space"
    architecture = np.full(space.shape[:2], ABSENT, np.int32)
    for c, (field, pairs, concat) in enumerate(
        (
            ("normal", genotype.normal, genotype.normal_concat),
            ("reduce", genotype.reduce, genotype.reduce_concat),
        )
    ):
        unknown = {operation for operation, _ in pairs} - {*space.operations}
        if unknown or len(pairs) != 2 * len(inner):
            found = ", ".join(sorted(unknown)) or f"{len(pairs) // 2} inner nodes"
            raise GenotypeError(
                f'genotype field "{field}": expected a cell of {whose}, found {found}'
            )
        if {*concat} != {*inner}:
            raise GenotypeError(
                f'genotype field "{field}_concat": expected all inner nodes, {inner[0]}..{inner[-1]}, as every cell of '
                f"{whose} has them, found {', '.join(map(str, concat))}"
            )
        for j, (operation, source) in enumerate(pairs):
            edge = space.edges.index((source, space.num_inputs + j // 2))
            if operation not in space.choices(c, edge):
                expected = ", ".join(space.choices(c, edge))
                raise GenotypeError(
                    f'genotype field "{field}[{j}]": found {operation}, expected {expected} on this edge of {whose}'
                )
            architecture[c, edge] = space.operations.index(operation)
    return architecture


def to_genotype(architecture: np.ndarray, space: Space = DARTS) -> Genotype:
    """Makes the genotype of an architecture [2, E]."""
    chosen = np.asarray(architecture)[..., None] == np.arange(len(space.operations))
    return derive(chosen, space)


def uniform(space: Space) -> jax.Array:
    """Makes P [C, E, O] of equal probabilities, where all operations of an edge are equally probable."""
    if not space.allowed:
        return jnp.full(space.shape, 1 / len(space.operations))
    mask = np.array(space.mask)
    return jnp.asarray(mask / mask.sum(-1, keepdims=True), jnp.float32)


def only_allowed(logits: jax.Array, space: Space) -> jax.Array:
    """Lowers the logits [..., C, E, O] of operations that their edge may not have: their probability is 0."""
    return jnp.where(np.array(space.mask), logits, LOWEST) if space.allowed else logits


def sample(key: jax.Array, probs_CxExO: jax.Array, space: Space) -> jax.Array:
    """Draws an architecture [C, E] from the distribution above."""
    logits = only_allowed(finite_log(probs_CxExO), space)
    operations = jax.random.categorical(jax.random.fold_in(key, 0), logits).astype(jnp.int32)
    kept = []
    for node, (sets_SxI, log_probs_CxS) in _edge_sets(probs_CxExO, space).items():
        drawn_C = jax.random.categorical(jax.random.fold_in(key, node), log_probs_CxS)
        kept.append(jnp.asarray(sets_SxI)[drawn_C])
    return jnp.where(jnp.concatenate(kept, axis=-1), operations, ABSENT)


def log_prob(probs_CxExO: jax.Array, architecture: jax.Array, space: Space) -> jax.Array:
    """Computes log p of an architecture [C, E] exactly; -inf where the space does not allow the kept edges."""
    kept = architecture != ABSENT
    logits = finite_log(probs_CxExO)
    total = (logits * one_hot(architecture, space)).sum()
    for node, (sets_SxI, log_probs_CxS) in _edge_sets(probs_CxExO, space).items():
        same_CxS = (kept[:, None, list(space.incoming(node))] == sets_SxI).all(-1)
        total += jnp.where(same_CxS, log_probs_CxS, -jnp.inf).max(-1).sum()
    return total


def entropy(probs_CxExO: jax.Array, space: Space) -> jax.Array:
    """Computes the entropy in nats exactly, over the sets of edges and the operations on the edges."""
    edge_entropy_CxE = -(probs_CxExO * finite_log(probs_CxExO)).sum(-1)
    total = jnp.zeros(())
    for node, (sets_SxI, log_probs_CxS) in _edge_sets(probs_CxExO, space).items():
        operations_CxI = edge_entropy_CxE[:, list(space.incoming(node))]
        operations_CxS = operations_CxI @ sets_SxI.T.astype(np.float32)
        total += (jnp.exp(log_probs_CxS) * (operations_CxS - log_probs_CxS)).sum()
    return total


def log_strength(probs_CxExO: jax.Array) -> jax.Array:
    """Computes log s [C, E]."""
    best = probs_CxExO.max(-1)
    return finite_log(best) - finite_log(1 - best)


def finite_log(probs: jax.Array) -> jax.Array:
    """Computes log P with finite values and derivatives everywhere."""
    return jnp.log(jnp.maximum(probs, SMALLEST))


def _edge_sets(probs_CxExO, space) -> dict[int, tuple[np.ndarray, jax.Array]]:
    """Lists for each inner node the sets of edges that it may keep.

    Returns:
        For each node bool [S, I], the kept ones of its I edges in each set, and the sets' log p [C, S].
    """
    log_s_CxE = log_strength(probs_CxExO)
    sets = {}
    for node in space.inner_nodes:
        if space.kept(node) == node:  # node k has k edges
            sets[node] = np.ones((1, node), bool), jnp.zeros((len(log_s_CxE), 1))
            continue
        orders_SxRxK, left_SxRxKxI = _orders(node, space.kept(node))
        log_s_CxI = log_s_CxE[:, list(space.incoming(node))]
        all_left = logsumexp(log_s_CxI[:, None, None, None], axis=-1, where=left_SxRxKxI)
        draws_CxSxRxK = log_s_CxI[:, orders_SxRxK] - all_left
        sets_SxI = np.eye(node, dtype=bool)[orders_SxRxK[:, 0]].any(1)
        sets[node] = sets_SxI, logsumexp(draws_CxSxRxK.sum(-1), axis=-1)
    return sets


def _orders(edges: int, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists the R orders in which each of S sets is drawn, [S, R, kept], and the edges left before each draw."""
    sets = itertools.combinations(range(edges), kept)
    orders = np.array([list(itertools.permutations(drawn)) for drawn in sets])
    drawn = np.eye(edges, dtype=int)[orders]
    return orders, drawn.cumsum(2) - drawn == 0
