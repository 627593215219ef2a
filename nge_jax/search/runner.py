"""The search runner: Algorithm 1 of the paper, from a config to a genotype and a report.

    for every epoch:
        P <- edge model (X, Thetas)
        for every batch of the training half:     update w by the gradient of the loss under P, held
        for every batch of the validation half:   update X, Thetas by the gradient of the loss, through P
    the genotype: of every inner node the two strongest edges with their strongest operations

`search.alternation="batch"` updates both for every pair of batches instead, as DARTS does. `search.strategy`, other
than "gradient", keeps this loop and puts other steps into it: see `steps.strategy`. `search.relaxation` says how the
gradient's steps mix operations under P.
"""

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from nge_jax import cost
from nge_jax.console import banner
from nge_jax.console.progress import waiting
from nge_jax.cost import parts_table
from nge_jax.data import small
from nge_jax.data import spec as dataset_spec
from nge_jax.data.checks import check_complete
from nge_jax.data.own import OwnImages
from nge_jax.data.spec import LARGE
from nge_jax.devices import distributed
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import InputError
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.report import search as search_report
from nge_jax.report import seeds as seeds_report
from nge_jax.runtime import loop
from nge_jax.search import checks as search_checks
from nge_jax.search import images as search_images
from nge_jax.search import record as search_record
from nge_jax.search import task as search_task
from nge_jax.search.build import Search, build, make_net
from nge_jax.search.several import task as search_seeds
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.task import SearchResult, make_task
from nge_jax.settings import configs
from nge_jax.space import nas_bench_201
from nge_jax.space.cell import to_json
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import SPACES
from nge_jax.workdir import artifacts, lock, metrics_log
from nge_jax.workdir import folder as workdir
from nge_jax.workdir.artifacts import Member, Size
from nge_jax.workdir.lock import holds_workdir


@in_32_bits
@holds_workdir
def run(
    config: ConfigDict,
    path: str | Path,
    *,
    overwrite: bool = False,
    images: OwnImages | None = None,
) -> SearchResult:
    """Searches a cell in the workdir `path`, or goes on where it stopped, and reports.

    Args:
      config: of a search.
      path: the workdir.
      overwrite: removes the results of an earlier run.
      images: of `images.open_own`, where a user's own are open by now.

    Raises:
      InputError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    check_complete(config, "search")
    if images is None and search_images.leaves_open(config):
        images = search_images.open_own(config)
    path = Path(path)
    config = search_images.resolve(config, images, None if overwrite else path)
    search_checks.check(config)
    banner.show(banner.device())
    with waiting("reading the data"):
        data = search_images.load_data(config, images)
    files = {}
    if search_images.is_own(config):
        data, files = _recognize(config, data, path, overwrite=overwrite)
    search_checks.check_data(config, data)
    table = _load_table(config)
    search = build(config, data)
    if artifacts.members(config.search, config.seed):
        return _run_several(config, search, data, path, table, files, overwrite=overwrite)
    path = workdir.begin(path, configs.to_values(config), overwrite=overwrite, files=files)

    _show_plan(config, search, data)
    with waiting("making the supernet"):
        task = make_task(config, search, data, path)
    banner.show(_describe_net(config, task.state))
    state = loop.run(task, path, **configs.loop_settings(config))
    del task  # and with it the images on the devices, where choosing the cell may put them anew
    with waiting("choosing the cell"):
        score = search_task.make_score(search)
        result = search_task.conclude(config, search, data, state, path, score=score, table=table)
    if distributed.is_first():
        print(to_json(result.genotype), flush=True)
        loop.finish(path, report)
        if isinstance(result.genotype, Genotype):
            print(f"to train this cell: {_train_command(config, path)}")
        elif result.accuracies is not None:
            print(search_record.accuracy_line(result.accuracies))
    return result


def _run_several(
    config: ConfigDict,
    search: Search,
    data: small.SmallDataset,
    path: Path,
    table: nas_bench_201.AccuracyTable | None,
    files: Mapping[str, str],
    *,
    overwrite: bool,
) -> SearchResult:
    """Does what `run` does for several searches, as one program and each in a folder of its own."""
    singles = search_seeds.split(config, search, data, path)
    with contextlib.ExitStack() as held:
        _begin_several(config, singles, path, files, held, overwrite=overwrite)
        _show_plan(config, search, data)
        with waiting("making the supernets"):
            task = search_seeds.make_task(config, search, data, singles)
        banner.show(_describe_net(config, search_seeds.first_state(task.state)))
        state = loop.run(task, path, **configs.loop_settings(config))
        del task
        with waiting("choosing the cells"):
            results = search_seeds.conclude(singles, data, state, table)
        if distributed.is_first():
            for single in singles.values():
                loop.finish(single.path, report)
            loop.finish(path, report)
            print(seeds_report.to_text(path), flush=True)
            if config.search.space == "darts":
                first = next(iter(singles.values()))
                print(f"to train a cell: {_train_command(config, first.path)}")
    return search_seeds.together(results, path)


def _begin_several(
    config: ConfigDict,
    singles: Mapping[Member, search_seeds.Single],
    path: Path,
    files: Mapping[str, str],
    held: contextlib.ExitStack,
    *,
    overwrite: bool,
) -> None:
    """Makes the workdir and the folder of each search in it, once all of them are checked; `held` holds the folders.

    With `overwrite` the folders of an earlier run's other searches go.
    """
    begin = {single.path: configs.to_values(single.config) for single in singles.values()}
    old = {path / member.folder for member in _recorded_members(path)} if overwrite else set()
    for folder, values in begin.items():
        workdir.check(folder, values, overwrite=overwrite)
    for folder in old - begin.keys():
        lock.check_free(folder)
    workdir.begin(path, configs.to_values(config), overwrite=overwrite, files=files)
    if distributed.is_first():
        for folder in old - begin.keys():
            workdir.remove(folder)
    for folder, values in begin.items():
        held.enter_context(lock.held(folder))
        workdir.begin(folder, values, overwrite=overwrite, files=files)


def _recorded_members(path: Path) -> list[Member]:
    """Returns the searches that a workdir holds; none where it holds none, or is damaged."""
    try:
        return artifacts.read_members(path)
    except InputError:
        return []


def _show_plan(config: ConfigDict, search: Search, data: small.SmallDataset) -> None:
    """Shows what is searched on and for how long; what of a user's own images is used has been said by then."""
    if not search_images.is_own(config):
        half = {WEIGHTS: "for the weights", EMBEDDING: "for P"}
        counts = {what: len(search.halves[group]) for group, what in half.items()}
        shape = data.train_images.shape[1:]
        banner.show(banner.data(config.data.name, data.labels, shape, counts))
    steps = " + ".join(f"{phase.steps * phase.updates:,}" for phase in search.phases)
    seeds = config.search.seeds or (config.seed,)
    plan = config.search.epochs, steps, config.search.batch_size, *seeds
    models = ", ".join(config.search.edge_models)
    line = banner.steps(*plan) + (f", each with the edge models {models}" if models else "")
    banner.show(line, banner.TO_STOP)


def _describe_net(config: ConfigDict, state: SearchState) -> str:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params[WEIGHTS]))
    cells, channels = config.network.cells, config.network.channels
    return (
        f"network: {parameters:,} parameters of {cells} cells that begin with {channels} channels"
    )


def _recognize(
    config: ConfigDict, data: small.SmallDataset, path: Path, *, overwrite: bool
) -> tuple[small.SmallDataset, dict[str, str]]:
    """Compares own images with those that the workdir knows, if it holds a run.

    Returns:
      The data with the mean and the deviation to go on with, and the files by which later starts recognize it.
    """
    banner.show_notes(data.notes)
    spec, counts = search_images.make_spec(config, data), {"train": len(data.train_labels)}
    known_by = counts, data.held_out, data.inventory
    if not overwrite:
        spec = dataset_spec.agreed(path, spec, *known_by)
    files = {artifacts.DATASET: dataset_spec.to_json(spec, *known_by)}
    return data._replace(mean=spec.mean, std=spec.std), files


def report(path: str | Path) -> Path:
    """Writes the report of the search that has ended in the workdir `path`; returns report.html.

    Of several searches it is that of all of them, each folder has its own.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    path = Path(path)
    if artifacts.read_members(path):
        page = seeds_report.write_seeds_report(path)
        metrics_log.show_pictures(path)
        return page
    counted, command = sizes(path), None
    if counted:
        artifacts.write_sizes(path, counted)
        command = _train_command(_recorded(path), path)
    page = search_report.write_search_report(path, counted, command)
    metrics_log.show_pictures(path)
    return page


def sizes(path: Path) -> list[Size]:
    """Counts networks of the cells found, the first that which the printed command trains; none of NAS-Bench-201.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    cells = artifacts.read_cell(path / artifacts.GENOTYPE)
    return [*_sizes(_recorded(path), cells, path)] if isinstance(cells, Genotype) else []


def _recorded(path: Path) -> ConfigDict:
    return ConfigDict(artifacts.read_json(path / artifacts.CONFIG, ("data", "search")))


def _load_table(config: ConfigDict) -> nas_bench_201.AccuracyTable | None:
    """Reads the table that a config of NAS-Bench-201 names; None where it names none, or searches another space."""
    if config.search.space != "nas_bench_201" or not config.data.table:
        return None
    try:
        return nas_bench_201.load(Path(config.data.table).expanduser())
    except InputError as error:
        raise InputError(f"config.data.table: {error}") from None


def _train_command(config: ConfigDict, path: Path) -> str:
    command = configs.train_command(config.search.train_config, path / artifacts.GENOTYPE)
    if search_images.is_own(config):
        command += f" {shlex.quote(f'data.name={config.data.name}')}"
    return command


def _sizes(config: ConfigDict, cells: Genotype, path: Path) -> Iterator[Size]:
    """Yields rows of the report's table of sizes, the first for the network that the printed command trains."""
    name = config.data.name
    of_data_set, data_set = cost.cifar_cost, name
    if name in small.SHAPES:
        classes, shape = small.NUM_CLASSES[name], small.SHAPES[name]
    else:
        spec = dataset_spec.read(path)
        classes, shape, data_set = len(spec.labels), spec.shape, "these images"
        of_data_set = cost.imagenet_cost if spec.kind == LARGE else cost.cifar_cost
    networks = {(20, 36): ""}
    # A user's own is a program, and a record that names it is no reason to run it.
    if (shipped := configs.shipped_name(config.search.train_config)) is not None:
        network = configs.load_config(shipped).network
        networks = {(network.cells, network.channels): ", as the command trains it", **networks}
    for (depth, channels), what in networks.items():
        parameters, multiply_adds = of_data_set(
            cells, cells=depth, channels=channels, classes=classes, image_shape=shape
        )
        yield f"{depth} cells, {channels} channels, {data_set}{what}", parameters, multiply_adds
    parameters, multiply_adds = cost.imagenet_cost(cells)
    yield "14 cells, 48 channels, ImageNet", parameters, multiply_adds


def summary(config: ConfigDict) -> str:
    """Returns a table of the supernet that a search config trains, with all operations on every edge.

    Raises:
      InputError: the config or the data is refused.
    """
    check_complete(config, "search")
    opened = search_images.open_own(config) if search_images.leaves_open(config) else None
    config = search_images.resolve(config, opened)
    search_checks.check(config)
    shape, classes = search_images.describe(config, opened)
    space = SPACES[config.search.space]
    net = make_net(config, classes, shape[-1])
    parts = cost.supernet_part_costs(net, shape, space)
    _, endpoints = jax.eval_shape(
        lambda: net.apply(
            net.init(jax.random.key(0)), jnp.zeros((1, *shape)), cost.some_choices(net, space)
        )
    )
    return parts_table(
        f"the supernet on {config.data.name}", parts, {part: endpoints.get(part) for part in parts}
    )
