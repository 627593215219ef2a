"""The search runner: Algorithm 1 of the paper, from a config to a genotype and a report.

    for every epoch:
        P <- edge model (X, Thetas)
        for every batch of the training half:     update w by the gradient of the loss under fixed P
        for every batch of the validation half:   update X, Thetas by the gradient of the loss, through P
    the genotype: every inner node keeps its two strongest edges, each with the edge's strongest operation

`search.alternation="batch"` alternates the two updates batch by batch, as DARTS does. A `search.strategy` other than
"gradient" keeps this loop and replaces the steps: see `steps.strategy`. `search.relaxation` says how the gradient's
steps mix operations under P.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from nge_jax import cost
from nge_jax.console import banner
from nge_jax.console.progress import waiting
from nge_jax.cost import parts_table
from nge_jax.data import small
from nge_jax.data import spec as dataset_spec
from nge_jax.data.spec import LARGE
from nge_jax.data.user_images import UserImages
from nge_jax.devices import distributed
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.report import search as search_report
from nge_jax.report import seeds as seeds_report
from nge_jax.runtime import runners
from nge_jax.runtime import task as run_task
from nge_jax.runtime.loop import Task
from nge_jax.search import checks as search_checks
from nge_jax.search import images as search_images
from nge_jax.search import makers
from nge_jax.search import record as search_record
from nge_jax.search import task as search_task
from nge_jax.search.build import build, plan_network
from nge_jax.search.limits.network import read_limits
from nge_jax.search.plan import Search
from nge_jax.search.several import task as several_task
from nge_jax.search.several.members import settings_of_members
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.task import SearchResult
from nge_jax.settings import configs
from nge_jax.settings.checks import check_complete, check_read
from nge_jax.space.genotype import Genotype
from nge_jax.space.parts import checks as space_checks
from nge_jax.space.parts.loading import loaded_operation
from nge_jax.space.spaces import Space
from nge_jax.supernet.net import Net
from nge_jax.workdir import artifacts, metrics_log
from nge_jax.workdir import folder as workdir
from nge_jax.workdir.artifacts import Size


def run(
    config: ConfigDict,
    path: str | Path,
    *,
    overwrite: bool = False,
    space: Space | None = None,
    relaxation: Any = None,
    edge_model: Any = None,
    strategy: Any = None,
    callbacks: Sequence[Any] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """Searches a cell in the workdir `path`, or resumes the search there, and writes the report.

    Args:
      config, path: a config of a search, and the workdir.
      overwrite: removes the results of an earlier run.
      space, relaxation, edge_model, strategy: in place of the config's: a space; a function that makes the part, an
        `nge.Part` of the function and its keys, or a name. docs/extending.md describes the functions.
      callbacks: each an `nge.Callback`, beside those of `run.callbacks`.
      settings: values by whole names of keys that the search reads, also keys of the parts: {"mine.rate": 0.5}.

    Returns:
      A `SearchResult`; a `trials.TrialsResult` if trainings rate the cells (`search.evaluator=trained`).

    Raises:
      InputError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    if space is not None:
        config = config.copy_and_resolve_references()
        config.search.space = space_checks.to_text(space)
    values = {"relaxation": relaxation, "edge_model": edge_model, "strategy": strategy}
    config, parts = configs.with_parts(config, values, begun := workdir.recorded_values(path))
    config = configs.complete(config, parts, settings)
    check_complete(config, KIND.name, parts)
    check_read(configs.flatten(configs.to_values(config)), settings, {} if overwrite else begun)
    kind = runners.load(config.to_dict()).KIND
    given = run_task.Given(parts, callbacks)
    return run_task.run(kind, config, path, overwrite=overwrite, given=given)


def _open(config: ConfigDict, images: UserImages | None) -> small.ArrayDataset:
    data = search_images.load_data(config, images)
    search_checks.check_data(config, data)
    return data


def _recognize(config: ConfigDict, data: small.ArrayDataset, path: Path) -> small.ArrayDataset:
    """Checks that a user's own images are the images that the workdir's run began with, and takes its mean and std."""
    if not configs.has_user_images(config):
        return data
    spec = search_images.make_spec(data, search_images.has_large_stem(config))
    spec = dataset_spec.agreed(path, spec, *_known_by(data))
    return data._replace(mean=spec.mean, std=spec.std)


def _known_by(data: small.ArrayDataset) -> tuple:
    """Returns the facts, besides the spec, by which later starts recognize a user's own images."""
    return {"train": len(data.train_labels)}, data.held_out, data.inventory


def _files(search: Search) -> dict[str, str]:
    """Returns the files by which later starts recognize a user's own images, and the record of the limits."""
    images, texts = search.images, {}
    if images.spec is not None:
        texts[artifacts.DATASET] = dataset_spec.to_json(images.spec, *_known_by(images.data))
    if search.limits is not None:
        texts[artifacts.LIMITS] = search.limits.to_json()
    return texts


def _begin(search: Search, path: Path, goes_on: bool) -> None:
    """Refuses another table of latencies than the one by which the search began."""
    if goes_on and search.limits is not None:
        search.limits.check_begun(path)


def _describe(search: Search) -> list[str]:
    """Returns lines that name the data and the length of the search.

    A user's own images have been described before, when they were read.
    """
    data, lines = search.images.data, []
    if search.images.spec is None:
        halves = {WEIGHTS: "for the weights", EMBEDDING: "for P"}
        counts = {purpose: len(search.halves[group]) for group, purpose in halves.items()}
        shape = data.train_images.shape[1:]
        lines.append(banner.data(search.images.name, data.labels, shape, counts))
    steps = " + ".join(f"{phase.steps * phase.updates:,}" for phase in search.phases)
    seeds = dict.fromkeys(member.seed for member in search.members) or (search.seed,)
    models = dict.fromkeys(member.edge_model for member in search.members if member.edge_model)
    line = banner.steps(search.epochs, steps, search.batch_size, *seeds)
    line += f", each with the edge models {', '.join(models)}" if models else ""
    weights = dict.fromkeys(m.cost_weight for m in search.members if m.cost_weight is not None)
    line += (
        f", each with the cost weights {', '.join(map('{:g}'.format, weights))}" if weights else ""
    )
    rate = search.arguments.embedding.get("learning_rate", 0.0)
    limits = [] if search.limits is None else search.limits.describe()
    return [*lines, line, *makers.describe_rates(search.makers.rate_parts, rate), *limits]


def _make_task(search: Search, path: Path, start: None) -> Task:
    del start  # a search begins with random weights
    if search.members:
        return several_task.make_task(search, path)
    return search_task.make_task(search, path)


def _describe_state(search: Search, state: SearchState) -> list[str]:
    first = several_task.first_state(state) if search.members else state
    parameters = sum(leaf.size for leaf in jax.tree.leaves(first.params[WEIGHTS]))
    network = search.settings["network"]
    return [
        f"network: {parameters:,} parameters of {network['cells']} cells that begin with {network['channels']} channels"
    ]


def _conclude(search: Search, state: SearchState, path: Path) -> SearchResult:
    if not search.members:
        with waiting("choosing the cell"):
            score = search_task.make_score(search)
            result = search_task.conclude(search, state, path, score)
        if distributed.is_first():
            print(result.genotype.to_json(), flush=True)
        return result
    with waiting("choosing the cells"):
        results = several_task.conclude(search, state, path)
    return several_task.merge_results(results, path)


def _tell(search: Search, result: SearchResult, path: Path) -> list[str]:
    """Returns the lines after the report: the command that trains the cell, or the cell's accuracies in a table."""
    if search.members:
        lines = [seeds_report.to_text(path)]
        if search.train_config:
            first = path / next(iter(search.members)).folder
            lines.append(f"to train a cell: {train_command(search.settings, first)}")
        return lines
    if search.train_config:
        return [f"to train this cell: {train_command(search.settings, path)}"]
    return [search_record.accuracy_line(result.accuracies)] if result.accuracies is not None else []


def report(path: str | Path) -> Path:
    """Writes the report of the search that has ended in the workdir `path`; returns the path of report.html.

    Several searches have one report of all searches in `path`, and a report of each search in the search's folder.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    path = Path(path)
    if artifacts.read_members(path):
        page = seeds_report.write_seeds_report(path, _commands(path))
        metrics_log.show_pictures(path)
        return page
    network_sizes, command = sizes(path), None
    if network_sizes:
        artifacts.write_sizes(path, network_sizes)
        command = train_command(_recorded(path), path)
    page = search_report.write_search_report(path, network_sizes, command)
    metrics_log.show_pictures(path)
    return page


def _commands(path: Path) -> dict[str, str]:
    """Returns the commands that train the cells of searches that pay for parameters, by the searches' folders."""
    if not (path / artifacts.FRONT).exists():
        return {}
    settings, folders = _recorded(path), [m.folder for m in artifacts.read_members(path)]
    return {folder: train_command(settings, path / folder) for folder in folders}


def sizes(path: Path) -> list[Size]:
    """Counts the sizes of networks of the cells found; the first is the network that the printed command trains.

    The list is empty for a cell of NAS-Bench-201, and for a user's own operations whose module is not loaded.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    if artifacts.read_cell(path / artifacts.GENOTYPE).space.is_tabular:
        return []
    cells = artifacts.read_genotype(path / artifacts.GENOTYPE)
    # A module of a user's is a program. Reports do not run a program because a record names it.
    if any(loaded_operation(name) is None for name, _ in cells.normal + cells.reduce):
        return []
    settings = _recorded(path)
    name, train_config = settings["data"]["name"], settings["search"]["train_config"]
    return [*_sizes(cells, name, train_config, path)]


def _recorded(path: Path) -> dict[str, Any]:
    return artifacts.read_json(path / artifacts.CONFIG, ("data", "search"))


def train_command(settings: Mapping[str, Any], path: Path) -> str:
    """Returns the command that trains the cell in the workdir `path` of a search with these settings."""
    name, words = settings["data"]["name"], {}
    if name not in small.NUM_CLASSES:
        words["data.name"] = name
    if (limited := read_limits(path)) is not None:
        words |= limited[1]
    command = configs.train_command(settings["search"]["train_config"], path / artifacts.GENOTYPE)
    return " ".join([command, *(shlex.quote(f"{key}={value}") for key, value in words.items())])


def _sizes(cells: Genotype, name: str, train_config: str, path: Path) -> Iterator[Size]:
    """Yields rows of the report's table of sizes, the first for the network that the printed command trains.

    Args:
      cells: the cells found.
      name: the data set that was searched on.
      train_config: the config that trains the cells.
      path: the workdir, which describes a user's own images.
    """
    count_cost, data_set = cost.cifar_cost, name
    if name in small.SHAPES:
        classes, shape = small.NUM_CLASSES[name], small.SHAPES[name]
    else:
        spec = dataset_spec.read(path)
        classes, shape, data_set = len(spec.labels), spec.shape, "these images"
        count_cost = cost.imagenet_cost if spec.kind == LARGE else cost.cifar_cost
    networks = {(20, 36): ""}
    limited = read_limits(path)
    if limited is not None:
        network, words = limited
        limits = " ".join(f"{key}={n}" for key, n in words.items() if key.startswith("limits."))
        size = f"{network.cells} cells, {network.channels} channels, {data_set}, as the command trains it"
        parameters, multiply_adds = network.cost(cells)
        yield f"{size}, {limits}" if limits else size, parameters, multiply_adds
    # A user's own config is a program. Reports do not run a program because a record names it.
    elif (shipped := configs.shipped_name(train_config)) is not None:
        network = configs.load_config(shipped).network
        networks = {(network.cells, network.channels): ", as the command trains it", **networks}
    for (depth, channels), remark in networks.items():
        parameters, multiply_adds = count_cost(
            cells, cells=depth, channels=channels, classes=classes, image_shape=shape
        )
        yield f"{depth} cells, {channels} channels, {data_set}{remark}", parameters, multiply_adds
    parameters, multiply_adds = cost.imagenet_cost(cells)
    yield "14 cells, 48 channels, ImageNet", parameters, multiply_adds


def summary(config: ConfigDict) -> str:
    """Returns a table of the network that a search config trains.

    The network is the supernet with all operations on every edge. It is the network of a random cell if trainings rate
    the cells (`search.evaluator=trained`). All is checked that needs no more than the sizes of the images.

    Raises:
      InputError: the config or the data is refused.
    """
    config = configs.complete(config)
    check_complete(config, "search")
    config, images = search_images.resolve(config, only_sizes=True)
    search_checks.check(config)
    shape, classes = search_images.describe(config, images)
    net, _ = plan_network(config, shape, classes)
    return runners.load(config.to_dict()).sizes_table(config.to_dict(), net, shape, classes)


def sizes_table(
    settings: Mapping[str, Any], net: Net, shape: tuple[int, int, int], classes: int
) -> str:
    """Returns a table of the supernet.

    Args:
      settings: the values of a search's config, nested.
      net: the supernet.
      shape: of an image, [H, W, C].
      classes: the number of classes.
    """
    del classes  # the supernet has them
    parts = cost.supernet_part_costs(net, shape)
    _, endpoints = jax.eval_shape(
        lambda: net.apply(net.init(jax.random.key(0)), jnp.zeros((1, *shape)), net.example_probs())
    )
    title = f"the supernet on {settings['data']['name']}"
    return parts_table(title, parts, {part: endpoints.get(part) for part in parts})


KIND = run_task.Kind(
    name="search",
    resolve=search_images.resolve,
    check=search_checks.check,
    members=settings_of_members,
    open=_open,
    recognize=_recognize,
    build=build,
    begin=_begin,
    files=_files,
    describe=_describe,
    parts="the supernet",
    make_task=_make_task,
    describe_state=_describe_state,
    conclude=_conclude,
    report=report,
    tell=_tell,
)
