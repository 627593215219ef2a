"""Refuses a search's wrong config in one line that names the key.

`settings.checks.check_complete` has checked each value by itself before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from nge_jax.data import small
from nge_jax.embedding.model import OF_ALPHA, PAPER
from nge_jax.errors import InputError, arguments_as, prefixed
from nge_jax.search import images as search_images
from nge_jax.settings import checks, configs, keys
from nge_jax.space import skips
from nge_jax.space.budget.costs import KINDS
from nge_jax.space.parts import parametric
from nge_jax.space.parts.checks import find_space
from nge_jax.space.parts.reference import short_name
from nge_jax.space.spaces import DARTS
from nge_jax.space.stack import cell_plan
from nge_jax.workdir import artifacts


def check(config: ConfigDict, devices: int | None = None) -> None:
    """Refuses values that are wrong with every data set.

    Args:
      config: a complete config of a search.
      devices: the number of devices that divide a batch; None: no batch is divided.

    Raises:
      InputError: names the key.
    """
    _check_space(config.search, config.get("limits") or {})
    _check_strategy(config)
    _check_relaxation(config)
    if config.search.layer_correlation:
        _check_correlation(config.search, config.network)
    for key in artifacts.AXES:
        if key in config.search and (values := config.search[key]):
            _check_several(key, values, config.search)
    search_images.check_size(config.data.name, config.data.image_size)
    models = tuple(config.search.edge_models) or (config.search.edge_model,)
    _check_embedding(config.embedding, models, config.search.strategy)
    # A space without the key needs no config of a training: a table tells how its cells train.
    if "train_config" in config.search:
        with prefixed("config.search.train_config: "):
            configs.find_config(config.search.train_config)
    draws = config.search.relaxation == "gumbel"
    if "all_scalars" in config.gumbel and config.gumbel.all_scalars and not draws:
        raise InputError(
            "config.gumbel.all_scalars: found True, expected False with config.search.relaxation="
            f"{config.search.relaxation!r}, which draws no operation"
        )
    unread = keys.unread(configs.flatten(config.to_dict()))
    if devices is not None and "search.batch_size" not in unread:
        checks.divides_among("search.batch_size", config.search.batch_size, devices)


def _check_space(search: Mapping[str, Any], limits: Mapping[str, Any]) -> None:
    with prefixed("config.search.space: "):
        space = find_space(search["space"])
    most = max(space.num_kept, DARTS.num_kept)
    for name in ("max_skips", "stop_on_skips"):
        if search[name] > most:
            raise InputError(
                f"config.search.{name}: found {search[name]}, expected at most {most} in the space "
                f"{search['space']!r}"
            )
    for name in ("skip_dropout", "stop_on_skips"):
        if search[name] and skips.SKIP not in space.operations:
            raise InputError(
                f"config.search.{name}: found {search[name]}, expected 0 in the space {search['space']!r}, "
                "which lacks the operation skip_connect"
            )
    if search["edge_mutation"] and not parametric.mask(space).any():
        raise InputError(
            f"config.search.edge_mutation: found {search['edge_mutation']}, expected 0 in the space "
            f"{search['space']!r}, which has no operation with weights"
        )
    priced = {f"search.{name}": search.get(name) for name in ("cost_weight", "cost_weights")}
    limited = {f"limits.{kind.name}": limits.get(kind.name) for kind in KINDS}
    for name, value in {**limited, **priced}.items():
        if value and space != DARTS:
            nothing = "()" if name.endswith("s") and name in priced else "0"
            raise InputError(
                f"config.{name}: found {value}, expected {nothing} in the space {search['space']!r}: costs are counted "
                "for cells of the paper's space alone"
            )
    _check_table(limits)


def _check_table(limits: Mapping[str, Any]) -> None:
    """Refuses a table of latencies without a limit, and a limit without a table."""
    milliseconds, table = limits.get("milliseconds"), limits.get("latency_table")
    if milliseconds and not table:
        raise InputError(
            f"config.limits.latency_table: found none, expected a CSV of latencies with config.limits.milliseconds="
            f"{milliseconds} (nge latency --table makes one)"
        )
    if table and not milliseconds:
        raise InputError(
            f"config.limits.latency_table: found {table!r}, expected none with config.limits.milliseconds=0"
        )


def _check_strategy(config: ConfigDict) -> None:
    strategy, alternation = config.search.strategy, config.search.alternation
    if strategy != "gradient" and alternation != "epoch":
        raise InputError(
            f"config.search.alternation: found {alternation!r}, expected 'epoch' with strategy {strategy!r}"
        )
    has_strategies = "evolution" in config  # the keys of a space without strategies lack the group
    if strategy != "gradient" and not has_strategies:
        raise InputError(
            f"config.search.strategy: found {strategy!r}, expected 'gradient' in the space {config.search.space!r} "
            "(experiments/nas_bench_201.py runs the others on its table)"
        )
    if not has_strategies:
        return
    if config.search.evaluator != "supernet" and strategy == "gradient":
        raise InputError(
            "config.search.strategy: found 'gradient', expected a strategy that asks for cells (reinforce, evolution, "
            f"random) with config.search.evaluator={config.search.evaluator!r}{_word(config.search)}"
        )
    if config.run.ray and config.search.evaluator != "trained":
        raise InputError(
            f"config.run.ray: found {config.run.ray!r}, expected none with config.search.evaluator="
            f"{config.search.evaluator!r}, whose cells share their weights"
        )
    rungs = tuple(config.trained.rungs)
    if list(rungs) != sorted(set(rungs)):
        raise InputError(f"config.trained.rungs: found {rungs}, expected ascending numbers")
    population = config.evolution.population
    if config.evolution.memory < population:
        raise InputError(
            f"config.evolution.memory: found {config.evolution.memory}, expected at least the population, {population}"
        )


def _word(search: Mapping[str, Any]) -> str:
    return checks.gradient_word(search.get("evaluator"))


def _check_relaxation(config: ConfigDict) -> None:
    chosen = config.search.relaxation
    if chosen != "softmax" and config.search.strategy != "gradient":
        raise InputError(
            f"config.search.relaxation: found {chosen!r}, expected 'softmax' with strategy "
            f"{config.search.strategy!r}, which asks for whole cells{_word(config.search)}"
        )
    if config.search.order == 2:
        if config.search.alternation != "batch":
            raise InputError(
                f"config.search.order: found 2, expected 1 with alternation {config.search.alternation!r}: the second "
                "order reads a batch of each half"
            )
        if config.search.warmup:
            raise InputError(
                f"config.search.warmup: found {config.search.warmup}, expected 0 with config.search.order=2"
            )
    by_gradient = ("warmup", "skip_dropout", "stop_on_skips", "cost_weight")
    for name in (*by_gradient, "edge_mutation", "layer_correlation"):
        value = config.search.get(name)
        if value and config.search.strategy != "gradient":
            raise InputError(
                f"config.search.{name}: found {value}, expected 0 with strategy {config.search.strategy!r}"
                f"{_word(config.search)}"
            )
    if chosen == "partial":
        if "partial" not in config:  # the space's supernet has no partial channels
            raise InputError(
                f"config.search.relaxation: found 'partial', expected 'softmax' or 'gumbel' in the space "
                f"{config.search.space!r}"
            )
        parts = 2 * config.partial.share
        if config.network.channels % parts:
            raise InputError(
                f"config.network.channels: found {config.network.channels}, expected a multiple of {parts}, twice "
                f"config.partial.share"
            )


def _check_correlation(search: Mapping[str, Any], network: Mapping[str, Any]) -> None:
    """Refuses searches whose cells have no gradients to compare; both arguments are the config's groups."""
    found = f"config.search.layer_correlation: found {search['layer_correlation']}, expected 0"
    if search["relaxation"] != "softmax":
        raise InputError(
            f"{found} with config.search.relaxation={search['relaxation']!r}: cells are compared under the softmax"
        )
    if network["dtype"] != "float32":
        raise InputError(
            f"{found} with config.network.dtype={network['dtype']!r}, in which a finite difference is lost"
        )
    if search["order"] != 1:
        raise InputError(
            f"{found} with config.search.order={search['order']}: second-order steps look ahead by the loss alone"
        )
    plan = cell_plan(network["cells"], network["channels"])
    normal = [spec for spec in plan if not spec.reduction]
    if len(normal) < 2 and not find_space(search["space"]).is_tabular:
        raise InputError(
            f"{found} with config.network.cells={network['cells']}: the network has no two normal cells to compare "
            "(4 cells have)"
        )


def _check_several(key: str, values: Sequence[Any], search: Mapping[str, Any]) -> None:
    strategy, stop_on_skips = search["strategy"], search["stop_on_skips"]
    names = {f"{v:.12g}" if key == "cost_weights" else short_name(str(v)) for v in values}
    if len(names) < len(values):
        one = {"seeds": "seed", "edge_models": "edge model", "cost_weights": "weight"}[key]
        raise InputError(f"config.search.{key}: found {tuple(values)}, expected each {one} once")
    if strategy != "gradient":
        raise InputError(
            f"config.search.strategy: found {strategy!r}, expected 'gradient' with config.search.{key}{_word(search)}"
        )
    if stop_on_skips:
        raise InputError(
            f"config.search.stop_on_skips: found {stop_on_skips}, expected 0 with config.search.{key}, whose searches "
            "end together"
        )
    if key == "cost_weights" and search["edge_models"]:
        raise InputError(
            f"config.search.cost_weights: found {tuple(values)}, expected none with config.search.edge_models"
        )


def _check_embedding(embedding: Mapping[str, Any], models: Sequence[str], strategy: str) -> None:
    """Refuses forms of the embedding that no edge model of the search has; `embedding`: the config's group."""
    for field, paper in PAPER._asdict().items():
        if embedding[field] != paper and field not in OF_ALPHA and set(models) == {"alpha"}:
            raise InputError(
                f"config.embedding.{field}: found {embedding[field]!r}, expected {paper!r} with the edge model 'alpha'"
                ", whose logits are free"
            )
    if strategy != "gradient" and embedding["decay"] != "coupled":
        raise InputError(
            f"config.embedding.decay: found {embedding['decay']!r}, expected 'coupled' with strategy {strategy!r}, "
            "which has no decay"
        )


def check_data(config: ConfigDict, data: small.ArrayDataset) -> None:
    """Refuses values that this data set makes wrong.

    Raises:
      InputError: names the key.
    """
    with arguments_as(train_fraction="config.data.train_fraction"):
        halves = search_images.make_divide(config, data.train_labels)(config.seed).values()
    unread = keys.unread(configs.flatten(config.to_dict()))
    if "data.pad" not in unread:
        checks.check_padding(config.data.pad, data.train_images.shape[1:])
    smallest = min(len(half) for half in halves)
    size = 1 if "search.batch_size" in unread else config.search.batch_size
    if size > smallest:
        raise InputError(
            f"config.search.batch_size: found {size}, expected at most the {smallest} images of "
            "the smaller half"
        )
    images = config.search.images_per_epoch or smallest
    if not size <= images <= smallest:
        raise InputError(
            f"config.search.images_per_epoch: found {config.search.images_per_epoch}, expected 0 (for all) or "
            f"from {f'a batch of {size}' if size > 1 else 1} to the {smallest} images of the smaller half"
        )
    batches = smallest // size
    # Cells that are trained are compared by other seeds, on all images.
    by_batches = config.search.strategy != "gradient" and config.search.evaluator == "supernet"
    if by_batches and config.final.batches > batches:
        raise InputError(
            f"config.final.batches: found {config.final.batches}, expected at most the {batches} of the smaller half"
        )
