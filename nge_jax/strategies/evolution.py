"""Regularized evolution (Real et al., AAAI 2019) whose mutations the edge model proposes and screens.

The population is a queue: a child of the best member in a random tournament joins, and the oldest member leaves. The
paper names evolution with "a controller to generate mutations" and gives no details. Here

* A mutation replaces one operation. A kept edge and an operation that the edge does not have are drawn in proportion to
  P_eo.
* Where an inner node keeps only some of its edges, half of the mutations move an edge instead. An edge that can move is
  drawn uniformly and keeps its operation. It gets a predecessor that the node does not have, in proportion to the
  strength of the new edge (see `space.architecture`).
* Several children are proposed. The child with the largest probability under P is evaluated, among the children that
  were not evaluated before. The screen "ridge" takes the child of the largest reward that a regression predicts.
* After each query the edge model is trained towards the survivors. The remembered architecture with rank r (0 is the
  best) survives with weight w ~ exp(-r / rank_scale), and the loss is

      loss = - sum_a w_a log [p(a) / sum_(remembered b) p(b)] - entropy_weight * entropy(P):

  the cross-entropy of the weights and of P's distribution over the remembered architectures, less an entropy bonus.

The first population is drawn uniformly. Three settings together give the classic evolution with uniform mutations: no
training (`train_steps=0`), one proposal, and a uniform P, such as `alpha` at the start.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from nge_jax.embedding.model import EdgeModel, Params
from nge_jax.optim import inverse
from nge_jax.space import architecture
from nge_jax.space.architecture import ABSENT
from nge_jax.space.budget.relative import RelativeCosts, draw_within
from nge_jax.space.spaces import Space
from nge_jax.strategies import ridge
from nge_jax.strategies.base import Strategy


class Settings(NamedTuple):
    """Holds the settings; the paper is silent on all of them.

    Attributes:
        population: number of living members.
        tournament: number of contestants, drawn with replacement.
        proposals: number of children of which one is evaluated.
        memory: number of the latest architectures that count as evaluated and train the edge model; at least the
            population.
        train_steps: steps of the optimizer after each query; 0: the edge model keeps its first parameters.
        rank_scale: scale of the survivors' weights, in ranks.
        entropy_weight: weight of the distribution's entropy in nats.
        screen: "model" chooses among the proposals by P, "ridge" by a regression of the rewards, see `ridge`.
    """

    population: int
    tournament: int
    proposals: int
    memory: int
    train_steps: int
    rank_scale: float
    entropy_weight: float
    screen: str = "model"


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
    """Holds the edge model and a ring of the latest architectures: architecture n is at position n modulo memory.

    Attributes:
        params: parameters of the edge model.
        opt_state: state of the optimizer.
        members: int32 [memory, C, E].
        rewards: float32 [memory], -inf where there is no architecture yet.
        born: int32 scalar, the number of architectures so far.
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
    costs: RelativeCosts | None = None,
) -> Strategy:
    """Makes the strategy, which asks for one architecture at a time; `optimizer` trains the edge model.

    All cells are within the limits of `costs`.

    Raises:
        ValueError: for a memory smaller than the population.
    """
    if settings.memory < settings.population:
        expected = f"at least the population, {settings.population}"
        raise ValueError(f"memory: found {settings.memory}, expected {expected}")
    uniform = architecture.uniform(space)

    def init(key):
        params = edge_model.init(key)
        return _first_state(params, optimizer.init(params), space, settings.memory)

    def probs(state):
        return edge_model.probs(state.params)

    def ask(state, key):
        def child():  # P is computed here, because the first population does not need it
            return _draw_child(key, state, probs(state), space, settings, costs)

        first = functools.partial(_draw_first, key, uniform, space, costs)
        return lax.cond(state.born < settings.population, first, child)[None]

    def tell(state, architectures, rewards):
        state = _remember(state, architectures, rewards)
        return _train(state, architectures, edge_model, space, optimizer, settings)

    predict = functools.partial(_predict, probs, space, settings)
    return Strategy(1, init, ask, tell, probs, "evolution", predict)


def _first_state(params, opt_state, space, memory):
    return State(
        params=params,
        opt_state=opt_state,
        members=jnp.full((memory, *space.shape[:2]), ABSENT, jnp.int32),
        rewards=jnp.full(memory, -jnp.inf),  # marks an empty place
        born=jnp.int32(0),
    )


def _remember(state, architectures, rewards):
    """Puts an architecture [1, C, E] and its reward [1] in the place of the oldest ones."""
    place = state.born % len(state.rewards)
    return state._replace(
        members=state.members.at[place].set(architectures[0]),
        rewards=state.rewards.at[place].set(rewards[0]),
        born=state.born + 1,
    )


def _draw_first(key, uniform, space, costs):
    """Draws a cell of the first population, within the limits."""

    def draw(key):
        return architecture.sample(key, uniform, space)

    return draw_within(draw, key, costs, space)


def _draw_child(key, state, probs_CxExO, space, settings, costs):
    """Proposes several children and returns the most promising one [C, E] that is not remembered."""
    keys = jax.random.split(key, settings.proposals)
    children = jax.vmap(lambda key: _propose(key, state, probs_CxExO, space, settings, costs))(keys)
    known = (children[:, None] == state.members).all((-2, -1)).any(-1)
    score = jax.vmap(_scorer(state, probs_CxExO, space, settings))(children)
    return children[jnp.where(known, -jnp.inf, score).argmax()]


def _predict(probs, space, settings, state, cell):
    return _scorer(state, probs(state), space, settings)(cell)


def _scorer(state, probs_CxExO, space, settings):
    """Makes a function that scores an architecture [C, E]: by P, or by a regression on the remembered cells."""
    if settings.screen == "model":
        return lambda cell: architecture.log_prob(probs_CxExO, cell, space)
    fitted = ridge.fit(state.members, state.rewards, state.rewards > -jnp.inf, space)
    return lambda cell: ridge.predict(fitted, cell, space)


def _propose(key, state, probs_CxExO, space, settings, costs):
    """Mutates the winner of a tournament, within the limits."""
    key_tournament, key_mutation = jax.random.split(key)
    age = jax.random.randint(key_tournament, (settings.tournament,), 1, settings.population + 1)
    contestants = (state.born - age) % settings.memory
    winner = contestants[state.rewards[contestants].argmax()]
    parent = state.members[winner]
    return draw_within(
        lambda key: mutate(key, parent, probs_CxExO, space), key_mutation, costs, space
    )


def _train(state, latest, edge_model, space, optimizer, settings):
    """Trains the edge model towards the survivors; `latest` [1, C, E] stands in empty places of the ring."""
    remembered = state.rewards > -jnp.inf
    members = jnp.where(remembered[:, None, None], state.members, latest[0])
    rank = (state.rewards[None] > state.rewards[:, None]).sum(-1)
    weights = jax.nn.softmax(-rank * inverse(settings.rank_scale), where=remembered)

    def loss(params):
        probs_CxExO = edge_model.probs(params)
        log_probs = jax.vmap(lambda a: architecture.log_prob(probs_CxExO, a, space))(members)
        log_shares = jax.nn.log_softmax(log_probs, where=remembered)
        cross_entropy = -(weights * log_shares).sum(where=remembered)
        bonus = settings.entropy_weight * architecture.entropy(probs_CxExO, space)
        return cross_entropy - bonus

    def step(_, params_and_state):
        params, opt_state = params_and_state
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    params, opt_state = lax.fori_loop(
        0, settings.train_steps, step, (state.params, state.opt_state)
    )
    return state._replace(params=params, opt_state=opt_state)


def mutate(key: jax.Array, parent: jax.Array, probs_CxExO: jax.Array, space: Space) -> jax.Array:
    """Draws a child [C, E] that differs from its parent in one operation or in one predecessor."""
    key_kind, key_operation, key_move = jax.random.split(key, 3)
    child = _replace_operation(key_operation, parent, probs_CxExO, space)
    if all(space.kept(node) == node for node in space.inner_nodes):
        return child
    moved = _move_edge(key_move, parent, probs_CxExO, space)
    return jnp.where(jax.random.bernoulli(key_kind), moved, child)


def _replace_operation(key, parent, probs_CxExO, space):
    operations = jnp.arange(probs_CxExO.shape[-1])
    kept = (parent != ABSENT)[..., None]
    allowed = kept & (operations != parent[..., None])
    log_probs = architecture.only_allowed(architecture.finite_log(probs_CxExO), space)
    logits = jnp.where(allowed, log_probs, -jnp.inf)
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
    operation = parent[cell, edge]
    if space.allowed:  # the other edge may lack the operation
        best = probs_CxExO[cell, new].argmax()
        operation = jnp.where(jnp.array(space.mask)[cell, new, operation], operation, best)
    return parent.at[cell, new].set(operation).at[cell, edge].set(ABSENT)
