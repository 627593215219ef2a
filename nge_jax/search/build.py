"""What a config and a data set make of a search, before any array."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from nge_jax import embedding, optim
from nge_jax.data import small
from nge_jax.devices import parallel
from nge_jax.devices.parallel import BATCHES_AXES
from nge_jax.embedding import EdgeModel
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime.loop import Phase
from nge_jax.search import images as search_images
from nge_jax.search.several import mapping
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps import relaxation, second_order
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.search.steps.arguments import Numbers
from nge_jax.search.steps.gradient import Net, Preprocessing
from nge_jax.search.steps.relaxation import Line, Relaxation
from nge_jax.settings import checks
from nge_jax.space import skips
from nge_jax.space.spaces import DARTS, SPACES, Space
from nge_jax.strategies import evolution, reinforce
from nge_jax.strategies.base import Strategy
from nge_jax.strategies.random_search import random_search
from nge_jax.supernet.model import Supernet, make_supernet
from nge_jax.supernet.nas_bench_201 import NasBench201Supernet, SampledNasBench201
from nge_jax.supernet.sampled import SampledSupernet
from nge_jax.workdir import artifacts


class Search(NamedTuple):
    """What the config and the data set make of a search.

    net: the supernet, whose weights are the group WEIGHTS.
    space: of its cells.
    edge_model: of the group EMBEDDING; what a strategy other than the gradient makes and reads as its state.
    strategy: None: the gradient's.
    relaxation: the gradient's; no other strategy uses it.
    numbers: what the phases are given beside the run's key.
    optimizer: of both groups.
    phases: of an epoch; their programs are `(state, batches, (key, numbers), start, stop) -> state`.
    preprocessing: of the images.
    halves: of each group, indices of its half of the training images.
    """

    net: Net
    space: Space
    edge_model: EdgeModel
    strategy: Strategy | None
    relaxation: Relaxation
    numbers: Numbers
    optimizer: optim.Optimizer
    phases: tuple[Phase, ...]
    preprocessing: Preprocessing
    halves: dict[str, np.ndarray]


def build(config: ConfigDict, data: small.SmallDataset) -> Search:
    """Makes the supernet, the edge model, their optimizer and the phases of a checked config.

    With `search.seeds` and `search.edge_models` the phases are those of all searches, and what else there is belongs to
    each of them, but for the halves, which are those of `seed`, and the edge model, which is that of `edge_model`.

    Raises:
      InputError: it has more steps than are counted, or asks for more cells than fit in memory.
    """
    halves = search_images.split_halves(config, data)
    images = {g: int(config.search.images_per_epoch) or len(half) for g, half in halves.items()}
    steps = {group: count // config.search.batch_size for group, count in images.items()}
    if config.search.alternation == "batch":
        fewest = min(steps.values())
        steps = {WEIGHTS: fewest, EMBEDDING: fewest}
    checks.check_steps("search.epochs", config.search.epochs, sum(steps.values()))

    space = SPACES[config.search.space]
    net = make_net(config, data.num_classes, data.train_images.shape[-1])
    numbers = make_numbers(config, steps)
    edge_model = _make_edge_model(config, config.search.edge_model)
    strategy = None
    if config.search.strategy != "gradient":
        strategy = make_strategy(config, edge_model, numbers.embedding)
        queries = config.search.epochs * steps[EMBEDDING]
        each = strategy_steps.QUERY_BYTES * steps[EMBEDDING]
        checks.fits_in_memory("search.epochs", config.search.epochs, each, "the cells asked")
        edge_model = strategy_steps.as_edge_model(strategy, queries)
    search = Search(
        net=net,
        space=space,
        edge_model=edge_model,
        strategy=strategy,
        relaxation=make_relaxation(config, net, numbers),
        numbers=numbers,
        optimizer=_make_optimizer(config, numbers),
        phases=(),
        preprocessing=Preprocessing(data.mean, data.std, config.data.pad, config.data.flip),
        halves=halves,
    )
    return search._replace(phases=_make_phases(config, search, steps))


def _make_phases(config: ConfigDict, search: Search, steps: dict[str, int]) -> tuple[Phase, ...]:
    """Makes the phases of an epoch, in each of which a group has so many steps."""

    models, on_cpu = make_edge_models(config), jax.default_backend() == "cpu"

    def make_steps(search, numbers):
        return _make_steps(config, search, numbers)

    def alternating(search, numbers):
        maker = second_order if config.search.order == 2 else gradient_steps
        return maker.make_alternating_phase(*make_steps(search, numbers), search.edge_model)

    def of_weights(search, numbers):
        return gradient_steps.make_weight_phase(make_steps(search, numbers)[0])

    def of_embedding(search, numbers):
        return parallel.make_phase(make_steps(search, numbers)[1])

    def with_model(make, model):
        return parallel.of_numbers(functools.partial(make, search._replace(edge_model=model)))

    def with_models(make):
        return parallel.of_numbers(
            lambda numbers: make(
                search._replace(edge_model=mapping.one_of(models, numbers.edge_model)), numbers
            )
        )

    def on_all_devices(make, axes, axes_of_several):
        # The weights' steps are given P, and know no edge model.
        chooses = models and make is not of_weights
        phase = with_models(make) if chooses else with_model(make, search.edge_model)
        if chooses and on_cpu:  # to the last bit what the search does alone
            phases = {n: with_model(make, m) for n, m in models.items()}
            phase = mapping.model_by_model(phases, axes_of_several)
        elif artifacts.members(config.search, config.seed):
            # Such as draw operations of their own would, side by side, compute all of each edge: by the compiler's
            # estimate for an H100 (`compile_ahead.py`, 2 cells) 35 ms for four of them, where four steps take 25.
            one_by_one = on_cpu or config.search.relaxation == "gumbel"
            numbers = mapping.NUMBERS_AXES if models else None
            phase = mapping.mapped(phase, axes_of_several, one_by_one=one_by_one, numbers=numbers)
        return parallel.on_all_devices(phase, axes)

    mapped = mapping.BATCHES_AXES
    if config.search.alternation == "batch":
        program = on_all_devices(alternating, (BATCHES_AXES, BATCHES_AXES), (mapped, mapped))
        return (Phase("weights and embedding", program, steps[WEIGHTS], updates=2),)
    weights = on_all_devices(of_weights, (None, BATCHES_AXES), (0, mapped))
    return (
        Phase(WEIGHTS, weights, steps[WEIGHTS]),
        Phase(EMBEDDING, on_all_devices(of_embedding, BATCHES_AXES, mapped), steps[EMBEDDING]),
    )


def _make_steps(config: ConfigDict, search: Search, numbers: Numbers) -> tuple[Callable, Callable]:
    """Makes the steps of the weights and of the embedding, inside a program and of its numbers."""
    preprocessing, options = search.preprocessing, {"skip_nonfinite": config.run.skip_nonfinite > 0}
    optimizer = _make_optimizer(config, numbers)
    if search.strategy is not None:
        net = search.net
        assert isinstance(net, Supernet), "the checks refuse strategies in another space"
        edge_model = _make_edge_model(config, config.search.edge_model)
        strategy = make_strategy(config, edge_model, numbers.embedding)
        return (
            strategy_steps.make_weight_step(net, strategy, optimizer, preprocessing, **options),
            strategy_steps.make_query_step(net, strategy, preprocessing),
        )
    net, mix, _, penalty = make_relaxation(config, search.net, numbers)
    weight_step = gradient_steps.make_weight_step(net, optimizer, preprocessing, mix, **options)
    if config.search.order == 2:
        embedding_step = second_order.make_embedding_step(
            net,
            search.edge_model,
            optimizer,
            numbers.rate,
            preprocessing,
            mix,
            penalty=penalty,
            **options,
        )
    else:
        embedding_step = gradient_steps.make_embedding_step(
            net,
            search.edge_model,
            optimizer,
            preprocessing,
            mix,
            penalty=penalty,
            warmup_steps=numbers.warmup_steps,
            **options,
        )
    return weight_step, embedding_step


def make_numbers(config: ConfigDict, steps: dict[str, int]) -> Numbers:
    """Collects the numbers that the programs of a checked config are given; `steps`: of each group in an epoch."""
    epochs, steps_per_epoch = config.search.epochs, sum(steps.values())
    own = {}  # of the random search there are none
    if config.search.strategy == "gradient":
        own["learning_rate"] = config.embedding.learning_rate
        own["weight_decay"] = config.embedding.weight_decay
    elif config.search.strategy == "reinforce":
        own["learning_rate"] = config.reinforce.learning_rate
    elif config.search.strategy == "evolution":
        own["learning_rate"] = config.evolution.learning_rate
        own["rank_scale"] = config.evolution.rank_scale

    def line(first, last):
        return Line(float(first), float(last), epochs, steps_per_epoch)

    temperatures = skip_rates = entropy_weights = None
    if config.search.relaxation == "gumbel":
        temperatures = line(config.gumbel.first_temperature, config.gumbel.last_temperature)
    if config.search.skip_dropout:
        skip_rates = line(config.search.skip_dropout, 0)
    if config.search.entropy_weight and config.search.strategy == "gradient":
        entropy_weights = line(0, config.search.entropy_weight)
    return Numbers(
        rate=optim.Cosine(float(config.weights.learning_rate), epochs * steps[WEIGHTS]),
        weights=optim.SgdNumbers(
            momentum=float(config.weights.momentum),
            weight_decay=float(config.weights.weight_decay),
            clip_norm=float(config.weights.clip_norm),
        ),
        embedding={key: float(value) for key, value in own.items()},
        warmup_steps=count_warmup_epochs(config) * steps_per_epoch or None,
        temperatures=temperatures,
        skip_rates=skip_rates,
        entropy_weights=entropy_weights,
    )


def count_warmup_epochs(config: ConfigDict) -> int:
    """Counts the first epochs, in which the embedding is held: a part of all, the nearest number."""
    return round(config.search.warmup * config.search.epochs)


def count_held_steps(config: ConfigDict, phases: tuple[Phase, ...], step: int) -> int:
    """Counts the steps before `step` that would have updated the embedding, were it not for the warm-up."""
    per_epoch = sum(phase.steps * phase.updates for phase in phases)
    epochs, left = divmod(step, per_epoch)
    held = count_warmup_epochs(config)
    if epochs >= held:
        epochs, left = held, 0
    if len(phases) == 1:  # every other step
        return (epochs * per_epoch + left + 1) // 2
    weight_steps = phases[0].steps
    return epochs * phases[1].steps + max(left - weight_steps, 0)


def make_net(config: ConfigDict, num_classes: int, image_channels: int) -> Net:
    """Makes the supernet of the space that a checked config names."""
    options = {
        "image_channels": image_channels,
        "dtype": jnp.dtype(config.network.dtype),
        "remat": config.network.remat,
    }
    cells, channels = config.network.cells, config.network.channels
    if config.search.space == "nas_bench_201":
        return NasBench201Supernet(cells, channels, num_classes, **options)
    options["schedule"] = "loop" if jax.default_backend() == "cpu" else "together"
    options["large_stem"] = search_images.has_large_stem(config)
    if config.search.relaxation == "partial":
        options["share"] = config.partial.share
    return make_supernet(cells, channels, num_classes, **options)


def make_relaxation(config: ConfigDict, net: Net, numbers: Numbers) -> Relaxation:
    """Makes the relaxation that a checked config asks for, of `net`."""
    relaxed = _make_relaxation(config, net, numbers)
    if numbers.skip_rates is not None:
        skip = SPACES[config.search.space].operations.index(skips.SKIP)
        relaxed = relaxation.with_skip_dropout(relaxed, numbers.skip_rates, skip)
    if numbers.entropy_weights is not None:
        relaxed = relaxation.with_entropy(relaxed, numbers.entropy_weights)
    return relaxed


def _make_relaxation(config: ConfigDict, net: Net, numbers: Numbers) -> Relaxation:
    """Makes that of the name. Here a new one gets its name, and in `make_numbers` its numbers."""
    if config.search.relaxation == "gumbel":
        assert numbers.temperatures is not None, "a search by gumbel has temperatures"
        if isinstance(net, NasBench201Supernet):
            return relaxation.gumbel(SampledNasBench201(net), numbers.temperatures)
        return relaxation.gumbel(SampledSupernet(net), numbers.temperatures)
    if config.search.relaxation == "partial":
        return relaxation.partial(net)
    return relaxation.softmax(net)


def make_edge_models(config: ConfigDict) -> dict[str, EdgeModel]:
    """Makes the edge models of `search.edge_models` by their names; none where all searches have one."""
    return {name: _make_edge_model(config, name) for name in config.search.edge_models}


def _make_edge_model(config: ConfigDict, name: str) -> EdgeModel:
    return embedding.edge_model(
        name,
        config.search.adjacency,
        SPACES[config.search.space],
        betas=config.search.relaxation == "partial",
    )


def make_strategy(config: ConfigDict, edge_model: EdgeModel, numbers: dict[str, Any]) -> Strategy:
    """Makes the strategy that a checked config names, one cell at a time, of its `Numbers.embedding`.

    Here a new one gets its name, and in `make_numbers` its numbers.
    """
    if config.search.strategy == "reinforce":
        settings = reinforce.Settings(
            batch_size=1,
            entropy_weight=config.reinforce.entropy_weight,
            baseline_decay=config.reinforce.baseline_decay,
        )
        return reinforce.reinforce(
            edge_model, DARTS, optax.adam(numbers["learning_rate"]), settings
        )
    if config.search.strategy == "evolution":
        settings = evolution.Settings(
            population=config.evolution.population,
            tournament=config.evolution.tournament,
            proposals=config.evolution.proposals,
            memory=config.evolution.memory,
            train_steps=config.evolution.train_steps,
            rank_scale=numbers["rank_scale"],
            entropy_weight=config.evolution.entropy_weight,
        )
        return evolution.evolution(
            edge_model, DARTS, optax.adam(numbers["learning_rate"]), settings
        )
    if config.search.strategy == "random":
        return random_search(DARTS)
    raise ValueError(f"search.strategy: found {config.search.strategy!r}")


def _make_optimizer(config: ConfigDict, numbers: Numbers) -> optim.Optimizer:
    """Makes that of both groups; a strategy other than the gradient teaches its embedding itself."""
    embedding_optimizer = optax.identity()
    if config.search.strategy == "gradient":
        embedding_optimizer = optim.adam(
            **numbers.embedding, b1=config.embedding.b1, b2=config.embedding.b2
        )
    weight_optimizer = optim.sgd(numbers.rate, **numbers.weights._asdict())
    return optim.Optimizer({WEIGHTS: weight_optimizer, EMBEDDING: embedding_optimizer})
