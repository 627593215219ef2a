"""Makes the plan of a search from a checked config and a data set, before any array. Nothing later reads a config."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from nge_jax import embedding, optim
from nge_jax.data.small import ArrayDataset
from nge_jax.embedding import EdgeModel
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search import images as search_images
from nge_jax.search import phases, random_cells
from nge_jax.search.plan import Choice, Makers, Search
from nge_jax.search.several import programs
from nge_jax.search.steps import relaxation
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.gradient import Net, Preprocessing
from nge_jax.search.steps.relaxation import Line, Relaxation
from nge_jax.settings import checks, configs
from nge_jax.space import skips
from nge_jax.space.nas_bench_201 import AccuracyTable
from nge_jax.space.spaces import DARTS, SPACES, Space
from nge_jax.strategies import evolution, reinforce
from nge_jax.strategies.base import Strategy
from nge_jax.strategies.random_search import random_search
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.nas_bench_201 import NasBench201Supernet, SampledNasBench201
from nge_jax.supernet.sampled import SampledSupernet
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import Member


def build(config: ConfigDict, data: ArrayDataset, table: AccuracyTable | None = None) -> Search:
    """Makes the plan of a search.

    With `search.seeds` or `search.edge_models` the phases run all searches at once. The searches share the plan, except
    for `seed`, `halves` and `edge_model` (see `several.task.split`).

    Args:
      config: a config that `checks.check` accepts.
      data: the images.
      table: the accuracies of NAS-Bench-201's cells; None without a table.

    Raises:
      InputError: the config has more steps than are counted, or asks for more cells than fit in memory.
    """
    labels, fraction = data.train_labels, config.data.train_fraction
    divide = functools.partial(
        search_images.divide, labels, fraction, by_class=search_images.divides_by_class(config)
    )
    halves = divide(config.seed)
    steps = _count_steps(config, halves)
    checks.check_steps("search.epochs", config.search.epochs, sum(steps.values()))

    space = SPACES[config.search.space]
    net = make_net(config, data.num_classes, data.train_images.shape[-1])
    arguments = make_arguments(config, steps)
    makers = _make_makers(config, net, space)
    strategy, edge_model = _make_searcher(config, makers, arguments, steps[EMBEDDING])
    # The phases are made from the rest of the plan, so the plan is complete only at the end.
    search = Search(
        seed=config.seed,
        members=_list_members(config),
        data_name=config.data.name,
        data=data,
        spec=search_images.make_spec(config, data) if configs.has_user_images(config) else None,
        halves=halves,
        divide=divide,
        stream=config.run.steps_per_dispatch if search_images.streams(config, data) else 0,
        preprocessing=Preprocessing(data.mean, data.std, config.data.pad, config.data.flip),
        space=space,
        net=net,
        edge_model=edge_model,
        strategy=strategy,
        relaxation=makers.relaxation(arguments),
        makers=makers,
        arguments=arguments,
        optimizer=makers.optimizer(arguments),
        order=config.search.order,
        alternates=config.search.alternation == "batch",
        epochs=config.search.epochs,
        batch_size=config.search.batch_size,
        phases=(),
        warmup_epochs=count_warmup_epochs(config),
        stop_on_skips=config.search.stop_on_skips,
        skip_nonfinite=config.run.skip_nonfinite,
        choice=_make_choice(config, halves),
        table=table,
        train_config=config.search.train_config if config.search.space == "darts" else "",
        settings=configs.to_values(config),
    )
    return search._replace(phases=_make_phases(config, search, steps))


def _make_searcher(
    config: ConfigDict, makers: Makers, arguments: ProgramArguments, steps_per_epoch: int
) -> tuple[Strategy | None, EdgeModel]:
    """Makes the strategy, None where the gradient searches, and the edge model or what stands for it.

    Args:
      config: a config of a search.
      makers: make the strategy and the edge model.
      arguments: the arguments of the programs.
      steps_per_epoch: the steps in an epoch that update the embedding or ask the strategy for a cell.

    Raises:
      InputError: the strategy asks for more cells than fit in memory.
    """
    if makers.strategy is None:
        return None, makers.edge_model(config.search.edge_model)
    strategy = makers.strategy(arguments)
    epoch_bytes = strategy_steps.QUERY_BYTES * steps_per_epoch
    checks.fits_in_memory("search.epochs", config.search.epochs, epoch_bytes, "the cells asked")
    queries = config.search.epochs * steps_per_epoch
    return strategy, strategy_steps.as_edge_model(strategy, queries)


def _list_members(config: ConfigDict) -> tuple[Member, ...]:
    """Lists the searches that a config makes in one workdir; the list is empty for a single search."""
    several = {"seeds": config.search.seeds, "edge_models": config.search.edge_models}
    return tuple(artifacts.members(several, config.seed))


def _count_steps(config: ConfigDict, halves: dict[str, np.ndarray]) -> dict[str, int]:
    """Counts the steps of each group in an epoch."""
    images = {g: int(config.search.images_per_epoch) or len(half) for g, half in halves.items()}
    steps = {group: count // config.search.batch_size for group, count in images.items()}
    if config.search.alternation == "batch":
        fewest = min(steps.values())
        steps = {WEIGHTS: fewest, EMBEDDING: fewest}
    return steps


def _make_phases(config: ConfigDict, search: Search, steps: dict[str, int]) -> tuple:
    if not search.members:
        return phases.make_phases(search, steps)
    models = {name: search.makers.edge_model(name) for name in config.search.edge_models}
    # Steps that draw one operation an edge would compute all operations when they are batched over searches. The
    # compiler's estimate for an H100 (`compile_ahead.py`, 2 cells): 35 ms for four searches at once, 25 ms one by one.
    on_cpu = jax.default_backend() == "cpu"
    one_by_one = on_cpu or config.search.relaxation == "gumbel"
    return programs.make_phases(search, steps, models, one_by_one=one_by_one, model_by_model=on_cpu)


def _make_choice(config: ConfigDict, halves: dict[str, np.ndarray]) -> Choice:
    if config.search.strategy == "gradient":
        batches = min(random_cells.BATCHES, len(halves[EMBEDDING]) // config.search.batch_size)
        candidates = 0
    else:
        batches, candidates = config.final.batches, config.final.candidates
    return Choice(
        max_skips=config.search.max_skips,
        candidates=candidates,
        batches=batches,
        by_policy=config.search.strategy == "reinforce",
        random_cells=config.run.random_cells,
    )


def make_arguments(config: ConfigDict, steps: dict[str, int]) -> ProgramArguments:
    """Collects the arguments of the programs; `steps`: the steps of each group in an epoch."""
    epochs, steps_per_epoch = config.search.epochs, sum(steps.values())

    def line(first, last):
        return Line(float(first), float(last), epochs, steps_per_epoch)

    temperatures = skip_rates = entropy_weights = None
    if config.search.relaxation == "gumbel":
        temperatures = line(config.gumbel.first_temperature, config.gumbel.last_temperature)
    if config.search.skip_dropout:
        skip_rates = line(config.search.skip_dropout, 0)
    if config.search.entropy_weight and config.search.strategy == "gradient":
        entropy_weights = line(0, config.search.entropy_weight)
    return ProgramArguments(
        rate=optim.Cosine(float(config.weights.learning_rate), epochs * steps[WEIGHTS]),
        weights=optim.SgdNumbers(
            momentum=float(config.weights.momentum),
            weight_decay=float(config.weights.weight_decay),
            clip_norm=float(config.weights.clip_norm),
        ),
        embedding={key: float(value) for key, value in _searcher_arguments(config).items()},
        warmup_steps=count_warmup_epochs(config) * steps_per_epoch or None,
        temperatures=temperatures,
        skip_rates=skip_rates,
        entropy_weights=entropy_weights,
    )


def _searcher_arguments(config: ConfigDict) -> dict[str, float]:
    """Collects the numbers by which the embedding or the strategy learns; the random search learns nothing."""
    if config.search.strategy == "gradient":
        return {
            "learning_rate": config.embedding.learning_rate,
            "weight_decay": config.embedding.weight_decay,
        }
    if config.search.strategy == "reinforce":
        return {"learning_rate": config.reinforce.learning_rate}
    if config.search.strategy == "evolution":
        return {
            "learning_rate": config.evolution.learning_rate,
            "rank_scale": config.evolution.rank_scale,
        }
    return {}


def count_warmup_epochs(config: ConfigDict) -> int:
    """Counts the first epochs, which leave the embedding as it is: a fraction of all epochs, rounded."""
    return round(config.search.warmup * config.search.epochs)


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


def _make_makers(config: ConfigDict, net: Net, space: Space) -> Makers:
    make_edge_model = functools.partial(
        embedding.edge_model,
        adjacency=config.search.adjacency,
        space=space,
        betas=config.search.relaxation == "partial",
    )
    adam = None
    if config.search.strategy == "gradient":
        adam = {"b1": config.embedding.b1, "b2": config.embedding.b2}
    return Makers(
        edge_model=make_edge_model,
        relaxation=functools.partial(make_relaxation, config.search.relaxation, net, space),
        optimizer=functools.partial(_make_optimizer, adam),
        strategy=make_strategy(config, make_edge_model(config.search.edge_model)),
    )


def make_relaxation(name: str, net: Net, space: Space, arguments: ProgramArguments) -> Relaxation:
    """Makes a relaxation of `net`. To add one, give it a name here and its numbers in `make_arguments`."""
    if name == "gumbel":
        assert arguments.temperatures is not None, "the relaxation gumbel has temperatures"
        is_bench = isinstance(net, NasBench201Supernet)
        sampled = SampledNasBench201(net) if is_bench else SampledSupernet(net)
        relaxed = relaxation.gumbel(sampled, arguments.temperatures)
    elif name == "partial":
        relaxed = relaxation.partial(net)
    else:
        relaxed = relaxation.softmax(net)
    if arguments.skip_rates is not None:
        skip = space.operations.index(skips.SKIP)
        relaxed = relaxation.with_skip_dropout(relaxed, arguments.skip_rates, skip)
    if arguments.entropy_weights is not None:
        relaxed = relaxation.with_entropy(relaxed, arguments.entropy_weights)
    return relaxed


def make_strategy(
    config: ConfigDict, edge_model: EdgeModel
) -> Callable[[ProgramArguments], Strategy] | None:
    """Makes `ProgramArguments -> Strategy`; None where the gradient searches. The strategy asks for one cell a step.

    To add a strategy, give it a name here and its numbers in `make_arguments`.
    """
    if config.search.strategy == "reinforce":
        settings = reinforce.Settings(
            batch_size=1,
            entropy_weight=config.reinforce.entropy_weight,
            baseline_decay=config.reinforce.baseline_decay,
        )
        return functools.partial(_make_reinforce, edge_model, settings)
    if config.search.strategy == "evolution":
        constants = {
            "population": config.evolution.population,
            "tournament": config.evolution.tournament,
            "proposals": config.evolution.proposals,
            "memory": config.evolution.memory,
            "train_steps": config.evolution.train_steps,
            "entropy_weight": config.evolution.entropy_weight,
        }
        return functools.partial(_make_evolution, edge_model, constants)
    if config.search.strategy == "random":
        return lambda arguments: random_search(DARTS)
    return None


def _make_reinforce(
    edge_model: EdgeModel, settings: reinforce.Settings, arguments: ProgramArguments
) -> Strategy:
    optimizer = optax.adam(arguments.embedding["learning_rate"])
    return reinforce.reinforce(edge_model, DARTS, optimizer, settings)


def _make_evolution(
    edge_model: EdgeModel, constants: dict[str, Any], arguments: ProgramArguments
) -> Strategy:
    optimizer = optax.adam(arguments.embedding["learning_rate"])
    settings = evolution.Settings(rank_scale=arguments.embedding["rank_scale"], **constants)
    return evolution.evolution(edge_model, DARTS, optimizer, settings)


def _make_optimizer(adam: dict[str, float] | None, arguments: ProgramArguments) -> optim.Optimizer:
    """Makes the optimizer of both groups; `adam` is None for a strategy, which trains its embedding itself."""
    embedding_optimizer = optax.identity()
    if adam is not None:
        embedding_optimizer = optim.adam(**arguments.embedding, **adam)
    weight_optimizer = optim.sgd(arguments.rate, **arguments.weights._asdict())
    return optim.Optimizer({WEIGHTS: weight_optimizer, EMBEDDING: embedding_optimizer})
