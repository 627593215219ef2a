"""Makes the plan of a search from a checked config and a data set, before any array. Nothing later reads a config."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nge_jax import optim
from nge_jax.data.small import ArrayDataset
from nge_jax.embedding.model import EdgeModel, Form
from nge_jax.errors import prefixed
from nge_jax.networks.parts import check as operations
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search import images as search_images
from nge_jax.search import makers as search_makers
from nge_jax.search import phases, random_cells
from nge_jax.search.limits.limits import SearchLimits, find_limits
from nge_jax.search.parts import outside as outside_parts
from nge_jax.search.parts.check import check_outside
from nge_jax.search.parts.numbers import PartNumbers, read_parts
from nge_jax.search.plan import Choice, Makers, Search, TrialLimits
from nge_jax.search.several import programs
from nge_jax.search.several.members import model_names, split
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.relaxation import Line
from nge_jax.settings import checks, configs
from nge_jax.settings.parts.named import Parts
from nge_jax.settings.parts.part import NONE
from nge_jax.space import nas_bench_201
from nge_jax.space.budget.relative import relative_costs
from nge_jax.space.nas_bench_201 import AccuracyTable
from nge_jax.space.parts.checks import find_space
from nge_jax.space.skips import most_skips
from nge_jax.space.spaces import Space
from nge_jax.space.stack import cell_plan
from nge_jax.strategies.base import Strategy
from nge_jax.supernet.makers import Options
from nge_jax.supernet.makers import make_net as make_supernet
from nge_jax.supernet.net import Net
from nge_jax.workdir import artifacts

# The strategies whose edge model learns.
LEARNING = ("gradient", "reinforce", "evolution")


def build(config: ConfigDict, data: ArrayDataset, given: Parts = NONE) -> Search:
    """Makes the plan of a search.

    With `search.seeds`, `search.edge_models` or `search.cost_weights` the phases run all searches at once.
    `Search.members` then has a plan of each search.

    Args:
      config: a config that `checks.check` accepts.
      data: the images.
      given: parts from outside that Python gave as values.

    Raises:
      InputError: there are more steps than are counted, or more cells than fit in memory; a limit or a part from
        outside, or an operation of the space, is wrong; or the table of accuracies cannot be read.
    """
    images = search_images.plan_images(config, data)
    halves, alternates = images.divide(config.seed), config.search.alternation == "batch"
    steps = _count_steps(halves, config.search, alternates=alternates)
    checks.check_steps("search.epochs", config.search.epochs, sum(steps.values()))
    net, limits = plan_network(config, data.train_images.shape[1:], data.num_classes)
    parts, numbers = read_parts(configs.flatten(config.to_dict()), given)
    arguments = make_arguments(config, steps, numbers, limits)
    makers = _make_makers(config, net, parts, numbers)
    check_outside(parts, config.search, makers, arguments, net.space)
    edge_model, strategy = makers.edge_model(config.search.edge_model), None
    learner = _find_learner(edge_model, config.search.strategy)
    if makers.strategy is not None:
        strategy = makers.strategy(arguments)
        edge_model = _as_edge_model(strategy, net.space, config.search.epochs, steps[EMBEDDING])
    search = Search(
        seed=config.seed,
        members={},
        images=images,
        halves=halves,
        net=net,
        edge_model=edge_model,
        learner=learner,
        strategy=strategy,
        relaxation=makers.relaxation(arguments),
        makers=makers,
        arguments=arguments,
        optimizer=makers.optimizer(arguments, edge_model.name),
        order=config.search.order,
        alternates=alternates,
        epochs=config.search.epochs,
        batch_size=config.search.batch_size,
        phases=(),
        warmup_epochs=count_warmup_epochs(config.search.warmup, config.search.epochs),
        stop_on_skips=config.search.stop_on_skips,
        skip_nonfinite=config.run.skip_nonfinite,
        choice=_make_choice(config, halves, net.space),
        limits=limits,
        table=_load_table(config.data.get("table", "")),
        train_config=config.search.get("train_config", ""),
        settings=configs.to_values(config),
    )
    return _with_phases(search, steps)


def plan_network(
    config: ConfigDict, shape: tuple[int, ...], classes: int
) -> tuple[Net, SearchLimits | None]:
    """Makes the supernet and the limits of a search, for which the sizes of its images are enough.

    Args:
      config: a config that `checks.check` accepts.
      shape: of an image, [H, W, C].
      classes: the number of classes.

    Raises:
      InputError: a limit, the table of latencies or an operation of the space is wrong.
    """
    net = make_net(config, classes, shape[-1])
    limits = find_limits(config.to_dict(), shape, classes, search_images.has_large_stem(config))
    _check_operations(net.space, config.network, _share(config.search, config.get("partial")))
    return net, limits


def _find_learner(edge_model: EdgeModel, strategy: str) -> EdgeModel | None:
    """Returns the edge model if it learns and has logits, by which its edges are watched."""
    return edge_model if strategy in LEARNING and edge_model.logits is not None else None


def _load_table(path: str) -> AccuracyTable | None:
    """Reads the table of NAS-Bench-201; None if the config names none."""
    if not path:
        return None
    with prefixed("config.data.table: "):
        return nas_bench_201.load(Path(path).expanduser())


def _as_edge_model(
    strategy: Strategy, space: Space, epochs: int, steps_per_epoch: int
) -> EdgeModel:
    """Makes what stands for the edge model of a strategy, which asks for a cell in each step.

    Raises:
      InputError: the strategy asks for more cells than fit in memory.
    """
    epoch_bytes = strategy_steps.query_bytes(space) * steps_per_epoch
    checks.fits_in_memory("search.epochs", epochs, epoch_bytes, "the cells asked")
    return strategy_steps.as_edge_model(strategy, epochs * steps_per_epoch, space)


def _count_steps(
    halves: dict[str, np.ndarray], search: Mapping[str, Any], *, alternates: bool
) -> dict[str, int]:
    """Counts the steps of each group in an epoch; `search` is the config's group."""
    images, size = int(search["images_per_epoch"]), search["batch_size"]  # 0: all images of a half
    steps = {group: (images or len(half)) // size for group, half in halves.items()}
    if alternates:
        fewest = min(steps.values())
        steps = {WEIGHTS: fewest, EMBEDDING: fewest}
    return steps


def _with_phases(search: Search, steps: dict[str, int]) -> Search:
    """Completes the plan of a search, or of several searches, by its phases and members, which the rest decides."""
    members = artifacts.members(search.settings["search"], search.seed)
    if not members:
        return search._replace(phases=phases.make_phases(search, steps))
    models = {name: search.makers.edge_model(name) for name in model_names(members)}
    # Steps that draw one operation an edge would compute all operations when they are batched over searches. The
    # compiler's estimate for an H100 (`compile_ahead.py`, 2 cells): 35 ms for four searches at once, 25 ms one by one.
    draws, on_cpu = search.arguments.temperatures is not None, jax.default_backend() == "cpu"
    phases_of_all = programs.make_phases(
        search,
        steps,
        models,
        weights=members[0].cost_weight is not None,
        one_by_one=on_cpu or draws,
        model_by_model=on_cpu,
    )
    search = search._replace(phases=phases_of_all)
    return search._replace(members=split(search, members))


def _make_choice(config: ConfigDict, halves: dict[str, np.ndarray], space: Space) -> Choice:
    trials = None
    if config.search.strategy == "gradient":
        batches = min(random_cells.BATCHES, len(halves[EMBEDDING]) // config.search.batch_size)
        candidates = 0
    else:
        batches, candidates = config.final.batches, config.final.candidates
        if config.search.evaluator == "trained":
            trials = TrialLimits(
                cells=config.trained.cells,
                minutes=config.trained.minutes,
                rungs=tuple(config.trained.rungs),
                seeds=config.trained.seeds,
            )
    return Choice(
        max_skips=most_skips(config.search.max_skips, space),
        keep_best_below=config.search.keep_best_below,
        candidates=candidates,
        batches=batches,
        by_policy=config.search.strategy == "reinforce",
        random_cells=config.run.random_cells,
        trials=trials,
    )


def make_arguments(
    config: ConfigDict,
    steps: dict[str, int],
    numbers: PartNumbers,
    limits: SearchLimits | None,
) -> ProgramArguments:
    """Collects the arguments of the programs.

    Args:
      config: a config of a search.
      steps: the steps of each group in an epoch.
      numbers: the numbers by which the search learns and mixes.
      limits: the limits on the network of the cell found.
    """
    epochs, steps_per_epoch = config.search.epochs, sum(steps.values())
    warmup_epochs = count_warmup_epochs(config.search.warmup, epochs)

    def line(first, last):  # a feature whose number stays 0 is not computed
        return Line(float(first), float(last), epochs, steps_per_epoch) if first or last else None

    temperatures = entropy_weights = None
    if config.search.relaxation == "gumbel":
        temperatures = line(config.gumbel.first_temperature, config.gumbel.last_temperature)
    if config.search.strategy == "gradient":
        entropy_weights = line(0, config.search.entropy_weight)
    return ProgramArguments(
        rate=optim.Cosine(float(config.weights.learning_rate), epochs * steps[WEIGHTS]),
        weights=optim.sgd_numbers(config.weights),
        embedding=numbers.learning.arguments,
        warmup_steps=warmup_epochs * steps_per_epoch or None,
        temperatures=temperatures,
        skip_rates=line(config.search.skip_dropout, 0),
        entropy_weights=entropy_weights,
        costs=relative_costs(limits.budget) if limits is not None and limits.is_limited else None,
        relaxation=None if numbers.mixing is None else numbers.mixing.arguments,
        progress=None if numbers.mixing is None else line(0, 1),
        price=None if limits is None else limits.price(config.search.cost_weight),
        mutation_rates=line(0, config.search.edge_mutation),
        correlation=line(0, config.search.layer_correlation),
    )


def count_warmup_epochs(warmup: float, epochs: int) -> int:
    """Counts the first epochs, which leave the embedding as it is: a fraction of all epochs, rounded."""
    return round(warmup * epochs)


def _check_operations(space: Space, network: Mapping[str, Any], share: int) -> None:
    """Tries the user's own operations at their places in the supernet; `network` is the config's group."""
    plan = cell_plan(network["cells"], network["channels"] // share)
    with prefixed("config.search.space: "):
        operations.check_space(space, plan)


def _share(search: Mapping[str, Any], partial: Mapping[str, Any] | None) -> int:
    """Returns `share` of `supernet.model.Supernet`; both arguments are the config's groups."""
    return partial["share"] if partial and search["relaxation"] == "partial" else 1


def make_net(config: ConfigDict, num_classes: int, image_channels: int) -> Net:
    """Makes the supernet of the space that a checked config names."""
    options = Options(
        cells=config.network.cells,
        channels=config.network.channels,
        num_classes=num_classes,
        image_channels=image_channels,
        dtype=jnp.dtype(config.network.dtype),
        remat=config.network.remat,
        schedule="loop" if jax.default_backend() == "cpu" else "together",
        large_stem=search_images.has_large_stem(config),
        share=_share(config.search, config.get("partial")),
        all_scalars="all_scalars" in config.gumbel and config.gumbel.all_scalars,
    )
    return make_supernet(find_space(config.search.space), options)


def _make_makers(config: ConfigDict, net: Net, parts: Parts, numbers: PartNumbers) -> Makers:
    name, relaxed = config.search.strategy, config.search.relaxation
    several = tuple(config.search.edge_models)
    form = Form(**{field: config.embedding[field] for field in Form._fields})
    rate_parts: search_makers.Parts = {}
    make_edge_model = outside_parts.find_edge_models(
        parts, numbers.edge_models, config.search.adjacency, net.space, several
    )
    if config.embedding.rate == "matched":
        names = several or (config.search.edge_model,)
        rate_parts = search_makers.match_rates(names, make_edge_model, form, several)
    make_edge_model = functools.partial(make_edge_model, relaxed == "partial", form)
    make_part_of = functools.partial(search_makers.make_part_of, rate_parts, form)
    terms = search_makers.find_terms(configs.flatten(config.to_dict()))
    rule = strategy = None
    if numbers.mixing is not None:
        make_edge_model = functools.partial(
            outside_parts.make_logits_model, make_edge_model, several
        )
        make = outside_parts.find_rule(relaxed, parts)
        rule = functools.partial(make, net.space, numbers.mixing.constants)
    if name != "gradient":
        make = search_makers.STRATEGIES.get(name) or outside_parts.find_strategy(name, parts)
        edge_model = make_edge_model(config.search.edge_model)
        strategy = functools.partial(
            make, edge_model, numbers.learning.constants, make_part_of(edge_model.name), net.space
        )
    return Makers(
        edge_model=make_edge_model,
        rate_parts=rate_parts,
        relaxation=functools.partial(search_makers.make_relaxation, relaxed, net, rule, terms),
        optimizer=functools.partial(
            search_makers.make_optimizer,
            numbers.learning.constants if strategy is None else None,
            make_part_of,
        ),
        strategy=strategy,
    )
