"""What a config and a data set make of a search, before any array."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from nge_jax import optim
from nge_jax.data import order, small
from nge_jax.embedding import EdgeModel, edge_model
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime import parallel
from nge_jax.runtime.parallel import BATCHES_AXES
from nge_jax.search import gradient_steps, strategy_steps
from nge_jax.space.spaces import DARTS
from nge_jax.strategies import evolution, reinforce
from nge_jax.strategies.base import Strategy
from nge_jax.strategies.random_search import random_search
from nge_jax.supernet.model import Supernet, make_supernet


class Phase(NamedTuple):
    """A part of an epoch: `run(state, batches, key, start, stop) -> state` over `steps` rows of batches.

    updates: of either group in one row.
    """

    name: str
    run: Callable
    steps: int
    updates: int


class Search(NamedTuple):
    """What the config and the data set make of a search, before any array.

    strategy: None: the gradient's. Another's state is what `edge_model` makes and reads.
    """

    net: Supernet
    edge_model: EdgeModel
    strategy: Strategy | None
    schedule: optax.Schedule
    optimizer: optim.Optimizer
    phases: tuple[Phase, ...]
    inputs: gradient_steps.Inputs
    halves: dict[str, np.ndarray]  # indices of each group's half of the training images

    @property
    def steps_per_epoch(self) -> int:
        return sum(phase.steps * phase.updates for phase in self.phases)


def build(config: ConfigDict, data: small.SmallDataset) -> Search:
    """The supernet, the edge model, their optimiser and the phases of a checked config."""
    halves = order.split(len(data.train_images), config.data.train_fraction, config.seed)
    halves = dict(zip((WEIGHTS, EMBEDDING), halves, strict=True))
    images = {g: config.search.images_per_epoch or len(half) for g, half in halves.items()}
    steps = {group: count // config.search.batch_size for group, count in images.items()}

    net = make_supernet(
        config.network.cells,
        config.network.channels,
        data.num_classes,
        image_channels=data.train_images.shape[-1],
        dtype=jnp.dtype(config.network.dtype),
        remat=config.network.remat,
        schedule="loop" if jax.default_backend() == "cpu" else "together",
    )
    edges, strategy = edge_model(config.search.edge_model, config.search.adjacency), None
    if config.search.strategy == "gradient":
        teacher = optim.adam(
            config.embedding.learning_rate,
            b1=config.embedding.b1,
            b2=config.embedding.b2,
            weight_decay=config.embedding.weight_decay,
        )
    else:
        strategy = make_strategy(config, edges)
        edges = strategy_steps.as_edge_model(strategy, config.search.epochs * steps[EMBEDDING])
        teacher = optax.identity()  # the strategy teaches itself
    by_batch = config.search.alternation == "batch"
    weight_steps = min(steps.values()) if by_batch else steps[WEIGHTS]
    schedule = optax.cosine_decay_schedule(
        config.weights.learning_rate, config.search.epochs * weight_steps
    )
    optimizer = optim.Optimizer(
        {
            WEIGHTS: optim.sgd(
                schedule,
                momentum=config.weights.momentum,
                weight_decay=config.weights.weight_decay,
                clip_norm=config.weights.clip_norm,
            ),
            EMBEDDING: teacher,
        }
    )
    inputs = gradient_steps.Inputs(data.mean, data.std, config.data.pad, config.data.flip)
    if strategy is None:
        weight_step = gradient_steps.make_weight_step(net, optimizer, inputs)
        embedding_step = gradient_steps.make_embedding_step(net, edges, optimizer, inputs)
    else:
        weight_step = strategy_steps.make_weight_step(net, strategy, optimizer, inputs)
        embedding_step = strategy_steps.make_query_step(net, strategy, inputs)
    if by_batch:
        both = gradient_steps.make_alternating_phase(weight_step, embedding_step, edges)
        run_both = parallel.on_all_devices(both, (BATCHES_AXES, BATCHES_AXES))
        phases = (Phase("weights and embedding", run_both, weight_steps, 2),)
    else:
        run_weights = parallel.on_all_devices(
            gradient_steps.make_weight_phase(weight_step), (None, BATCHES_AXES)
        )
        run_embedding = parallel.on_all_devices(parallel.make_phase(embedding_step))
        phases = (
            Phase(WEIGHTS, run_weights, steps[WEIGHTS], 1),
            Phase(EMBEDDING, run_embedding, steps[EMBEDDING], 1),
        )
    return Search(net, edges, strategy, schedule, optimizer, phases, inputs, halves)


def make_strategy(config: ConfigDict, edges: EdgeModel) -> Strategy:
    """The strategy that a checked config names, one cell at a time. Here a new one gets its name."""
    if config.search.strategy == "reinforce":
        settings = reinforce.Settings(
            batch_size=1,
            entropy_weight=config.reinforce.entropy_weight,
            baseline_decay=config.reinforce.baseline_decay,
        )
        optimizer = optax.adam(config.reinforce.learning_rate)
        return reinforce.reinforce(edges, DARTS, optimizer, settings)
    if config.search.strategy == "evolution":
        settings = evolution.Settings(
            population=config.evolution.population,
            tournament=config.evolution.tournament,
            proposals=config.evolution.proposals,
            memory=config.evolution.memory,
            train_steps=config.evolution.train_steps,
            rank_scale=config.evolution.rank_scale,
            entropy_weight=config.evolution.entropy_weight,
        )
        optimizer = optax.adam(config.evolution.learning_rate)
        return evolution.evolution(edges, DARTS, optimizer, settings)
    if config.search.strategy == "random":
        return random_search(DARTS)
    raise ValueError(f"search.strategy: found {config.search.strategy!r}")
