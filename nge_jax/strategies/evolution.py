"""Regularized evolution (Real et al., AAAI 2019) whose mutations the edge model proposes and screens.

The population is a queue: a child of the best of a random tournament joins, the oldest member leaves.
The paper names evolution with "a controller to generate mutations" and leaves the rest open. Here

    - a mutation replaces one operation: (edge, operation) is drawn in proportion to P_eo over all kept
      edges and the operations they do not have;
    - where an inner node keeps a choice of edges, half of the mutations move one of them instead: an
      edge that can move is drawn uniformly, it keeps its operation and gets a predecessor that the
      node does not have, in proportion to the new edge's strength (see `space.architecture`);
    - of several children so proposed, the one is evaluated that was not evaluated before and that has
      the largest probability under P;
    - after each query the edge model is trained towards the survivors. Of the architectures
      remembered, the one of rank r (the best: 0) survives with weight w ~ exp(-r / rank_scale), and

          loss = - sum_a w_a log [p(a) / sum_(remembered b) p(b)] - entropy_weight * entropy(P):

      the cross-entropy of P's distribution, restricted to what was evaluated, to the weights.

The first population is drawn uniformly. Without training (`train_steps=0`), with one proposal and with
uniform P (`alpha` as it starts), this is the classic evolution with uniform mutations.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from nge_jax.embedding import EdgeModel, Params
from nge_jax.optim import inverse
from nge_jax.space import architecture
from nge_jax.space.architecture import ABSENT
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy


class Settings(NamedTuple):
    """Holds settings; the paper is silent on all of them.

    Attributes:
        population: living members.
        tournament: contestants, drawn with replacement.
        proposals: children of which one is evaluated.
        memory: how many of the latest architectures count as evaluated and train the edge model; at
            least the population.
        train_steps: of the optimizer after each query; 0: the edge model stays as it starts.
        rank_scale: in ranks, see above.
        entropy_weight: of the distribution's entropy in nats.
    """

    population: int
    tournament: int
    proposals: int
    memory: int
    train_steps: int
    rank_scale: float
    entropy_weight: float


def classic(population: int, tournament: int) -> Settings:
    """Makes the settings for an untrained `alpha`: regularized evolution as published."""
    return Settings(
        population=population,
        tournament=tournament,
        proposals=1,
        memory=population,
        train_steps=0,
        rank_scale=1.0,
        entropy_weight=0.0,
    )


class State(NamedTuple):
    """Holds the edge model and the latest architectures, in a ring: the n-th asked for lies at n modulo memory.

    Attributes:
        params: of the edge model.
        opt_state: of its optimizer.
        members: int32 [memory, C, E].
        rewards: float32 [memory], -inf where there is none yet.
        born: how many architectures there have been, int32 scalar.
    """

    params: Params
    opt_state: optax.OptState
    members: jax.Array
    rewards: jax.Array
    born: jax.Array


def evolution(
    edge_model: EdgeModel,
    space: Space,
    optimizer: optax.GradientTransformation,
    settings: Settings,
) -> Strategy:
    """Makes the strategy, which asks for one architecture at a time; `optimizer` trains the edge model.

    Raises:
        ValueError: for a memory smaller than the population.
    """
    if settings.memory < settings.population:
        expected = f"at least the population, {settings.population}"
        raise ValueError(f"memory: found {settings.memory}, expected {expected}")
    uniform = architecture.uniform(space)

    def init(key):
        params = edge_model.init(key)
        return State(
            params=params,
            opt_state=optimizer.init(params),
            members=jnp.full((settings.memory, *space.shape[:2]), ABSENT, jnp.int32),
            rewards=jnp.full(settings.memory, -jnp.inf),
            born=jnp.int32(0),
        )

    def ask(state, key):
        def first():
            return architecture.sample(key, uniform, space)

        def child():
            probs_CxExO = probs(state)
            keys = jax.random.split(key, settings.proposals)
            children = jax.vmap(lambda key: propose(key, state, probs_CxExO))(keys)
            known = (children[:, None] == state.members).all((-2, -1)).any(-1)
            score = jax.vmap(lambda a: architecture.log_prob(probs_CxExO, a, space))(children)
            return children[jnp.where(known, -jnp.inf, score).argmax()]

        return lax.cond(state.born < settings.population, first, child)[None]

    def propose(key, state, probs_CxExO):
        key_tournament, key_mutation = jax.random.split(key)
        age = jax.random.randint(key_tournament, (settings.tournament,), 1, settings.population + 1)
        contestants = (state.born - age) % settings.memory
        winner = contestants[state.rewards[contestants].argmax()]
        return mutate(key_mutation, state.members[winner], probs_CxExO, space)

    def tell(state, architectures, rewards):
        place = state.born % settings.memory
        state = state._replace(
            members=state.members.at[place].set(architectures[0]),
            rewards=state.rewards.at[place].set(rewards[0]),
            born=state.born + 1,
        )
        lives = state.rewards > -jnp.inf
        members = jnp.where(lives[:, None, None], state.members, architectures[0])
        rank = (state.rewards[None] > state.rewards[:, None]).sum(-1)
        weights = jax.nn.softmax(-rank * inverse(settings.rank_scale), where=lives)

        def loss(params):
            probs_CxExO = edge_model.probs(params)
            log_probs = jax.vmap(lambda a: architecture.log_prob(probs_CxExO, a, space))(members)
            cross_entropy = -(weights * jax.nn.log_softmax(log_probs, where=lives)).sum(where=lives)
            bonus = settings.entropy_weight * architecture.entropy(probs_CxExO, space)
            return cross_entropy - bonus

        def train(_, params_and_state):
            params, opt_state = params_and_state
            updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
            return optax.apply_updates(params, updates), opt_state

        params, opt_state = lax.fori_loop(
            0, settings.train_steps, train, (state.params, state.opt_state)
        )
        return state._replace(params=params, opt_state=opt_state)

    def probs(state):
        return edge_model.probs(state.params)

    return Strategy(1, init, ask, tell, probs, name="evolution")


def mutate(key: jax.Array, parent: jax.Array, probs_CxExO: jax.Array, space: Space) -> jax.Array:
    """Draws a child [C, E] that differs from its parent in one operation or in one predecessor."""
    key_kind, key_operation, key_move = jax.random.split(key, 3)
    child = _replace_operation(key_operation, parent, probs_CxExO)
    if all(space.kept(node) == node for node in space.inner_nodes):
        return child
    moved = _move_edge(key_move, parent, probs_CxExO, space)
    return jnp.where(jax.random.bernoulli(key_kind), moved, child)


def _replace_operation(key, parent, probs_CxExO):
    operations = jnp.arange(probs_CxExO.shape[-1])
    kept = (parent != ABSENT)[..., None]
    allowed = kept & (operations != parent[..., None])
    logits = jnp.where(allowed, architecture.finite_log(probs_CxExO), -jnp.inf)
    drawn = jax.random.categorical(key, logits.ravel())
    cell, edge, operation = jnp.unravel_index(drawn, logits.shape)
    return parent.at[cell, edge].set(operation)


def _move_edge(key, parent, probs_CxExO, space):
    key_old, key_new = jax.random.split(key)
    targets = jnp.array([k for _, k in space.edges])
    movable = np.array([space.kept(k) < k for _, k in space.edges])
    kept = parent != ABSENT
    old = jax.random.categorical(key_old, jnp.where(kept & movable, 0.0, -jnp.inf).ravel())
    cell, edge = jnp.unravel_index(old, parent.shape)
    free = ~kept[cell] & (targets == targets[edge])
    strength = architecture.log_strength(probs_CxExO)[cell]
    new = jax.random.categorical(key_new, jnp.where(free, strength, -jnp.inf))
    return parent.at[cell, new].set(parent[cell, edge]).at[cell, edge].set(ABSENT)
