"""The runner of a search whose cells are rated by trainings, from a config to a genotype and a report.

One program trains every cell, because a cell is an argument (`networks.any_cell`). A strategy asks for the cells, and
`ledger` decides how long each is trained. All but the rating is a search like another: see `search.runner`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
from ml_collections import ConfigDict

from nge_jax.console import banner
from nge_jax.cost import network_table
from nge_jax.data.spec import LARGE, SMALL
from nge_jax.devices import distributed
from nge_jax.errors import InputError
from nge_jax.report import trials as trials_report
from nge_jax.runtime.loop import Task
from nge_jax.search import build as search_build
from nge_jax.search import images as search_images
from nge_jax.search import runner as search_runner
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten
from nge_jax.settings.key import COUNT
from nge_jax.space import genotype, sharing
from nge_jax.supernet.net import Net
from nge_jax.text.digits import plain_digits
from nge_jax.train.model import make_network
from nge_jax.trials import ledger as trial_ledger
from nge_jax.trials import task as trials_task
from nge_jax.trials.build import build, make_recipe
from nge_jax.trials.plan import Trials
from nge_jax.trials.result import TrialsResult, conclude
from nge_jax.trials.state import State
from nge_jax.trials.workers import cluster
from nge_jax.trials.workers import task as workers_task
from nge_jax.workdir import artifacts, metrics_log


def _files(plan: Trials) -> dict[str, str]:
    """Returns the files with which a workdir begins: the training's values, and facts that recognize the images."""
    return {
        artifacts.RECIPE: json.dumps(plan.rating.recipe, indent=2) + "\n",
        **search_runner.KIND.files(plan.search),
    }


def _begin(plan: Trials, path: Path, goes_on: bool) -> ModuleType | None:
    """Connects to the cluster that trains the cells, if one does; returns the package ray."""
    if goes_on:
        _check_begun(plan, path)
    if not plan.ray:
        return None
    if jax.process_count() > 1:
        raise InputError(
            f"config.run.ray: found {plan.ray!r}, expected none with several processes (--num_processes)"
        )
    if plan.search.images.stream:
        raise InputError(
            f"config.run.ray: found {plan.ray!r}, expected none with images beyond config.data.device_budget_gb"
        )
    return cluster.connect(plan.ray)


def _check_begun(plan: Trials, path: Path) -> None:
    """Refuses a training or times that have changed since the search began, and jobs that are counted otherwise."""
    began_by = artifacts.read_json(path / artifacts.CONFIG, ("run",))["run"].get("ray", "")
    if bool(began_by) != bool(plan.ray):
        expected = "'auto' or an address" if began_by else "none"
        raise InputError(
            f"config.run.ray: found {plan.ray!r}, expected {expected}, as this search began; choose another --workdir "
            "for another search"
        )
    if plan.search.limits is not None:
        plan.search.limits.check_begun(path)
    before = flatten(artifacts.read_json(path / artifacts.RECIPE))
    before = keys.younger(before) | before  # an older version's recipe lacks younger keys
    now = flatten(plan.rating.recipe)
    changed = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]
    if changed:
        raise InputError(
            f"config.search.train_config: {plan.search.train_config} differs from {path / artifacts.RECIPE}, by which "
            f"this search began, in {', '.join(sorted(changed))}; choose another --workdir for it"
        )


def _describe(plan: Trials) -> list[str]:
    """Returns lines that name the data, the network, and the length of the search."""
    training, halving, lines = plan.rating.training, plan.halving, []
    source = training.source
    if plan.search.images.spec is None:
        counts = {"to train": source.examples["train"], "to rate": source.examples["validation"]}
        lines.append(
            banner.data(
                plan.search.images.name, plan.search.images.data.labels, source.spec.shape, counts
            )
        )
    rungs = ", then ".join(map(str, halving.rungs))
    epochs = halving.epochs(halving.cells)
    minutes = f", in {plain_digits(plan.minutes)} minutes" if plan.minutes else ""
    network = plan.search.settings["network"]
    return [
        *lines,
        f"network: {network['cells']} cells that begin with {network['channels']} channels, trained as by "
        f"{plan.search.train_config}",
        *([] if plan.search.limits is None else plan.search.limits.describe()),
        f"run: at most {halving.cells} cells for {rungs} epochs{minutes}, {epochs:,} epochs in all of "
        f"{plan.rating.steps_per_epoch:,} steps of {training.batch_size:,} images, seed {plan.search.seed}",
    ]


def _make_task(plan: Trials, path: Path, ray: ModuleType | None) -> Task:
    if ray is not None:
        return workers_task.make_task(plan, path, ray)
    return trials_task.make_task(plan, path)


def _describe_state(plan: Trials, state: State) -> list[str]:
    """Returns the line that names the disk space of the trainings that may go on."""
    megabytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state.trial)) / 1e6
    count = trial_ledger.count_needed(plan.halving)
    return [
        f"kept trainings: about {count} of {megabytes:.1f} MB at a time, in {artifacts.TRIALS}/ of the workdir"
    ]


def _conclude(plan: Trials, state: State, path: Path) -> TrialsResult:
    result = conclude(plan, state, path)
    banner.show(*(f"{path}: {line}" for line in sharing.constant_cells(result.genotype)))
    if distributed.is_first():
        print(result.genotype.to_json(), flush=True)
    return result


def _tell(plan: Trials, result: TrialsResult, path: Path) -> list[str]:
    mean = sum(result.accuracies) / len(result.accuracies)
    images = plan.rating.training.source.examples["validation"]
    return [
        f"the cell found: {mean:.2%} of {images:,} images, the mean of {len(result.accuracies)} trainings",
        f"its network, as trained here: {path / artifacts.NETWORK}",
        f"to train this cell: {search_runner.train_command(plan.search.settings, path)}",
    ]


def report(path: str | Path) -> Path:
    """Writes the report of the search that has ended in the workdir `path`; returns the path of report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.
    """
    path = Path(path)
    sizes = search_runner.sizes(path)
    artifacts.write_sizes(path, sizes)
    settings = artifacts.read_json(path / artifacts.CONFIG, ("data", "search"))
    command = search_runner.train_command(settings, path)
    page = trials_report.write_trials_report(path, sizes, command)
    metrics_log.show_pictures(path)
    return page


def sizes_table(
    settings: Mapping[str, Any], net: Net, shape: tuple[int, int, int], classes: int
) -> str:
    """Returns a table of the network of a random cell, which stands for the network that trains each cell.

    Args:
      settings: the values of a search's config, nested.
      net: the supernet of the cells' space.
      shape: of an image, [H, W, C].
      classes: the number of classes.

    Raises:
      InputError: the training's config is refused.
    """
    recipe = make_recipe(settings, COUNT, settings["trained"]["rungs"][-1])
    kind = LARGE if search_images.has_large_stem(ConfigDict(settings)) else SMALL
    ((name, cell),) = genotype.draw(1, net.space).items()
    model = make_network(recipe, cell, kind, classes)
    return network_table(f"{name} on {settings['data']['name']}", model, shape)


KIND = search_runner.KIND._replace(
    build=lambda config, data, parts: build(search_build.build(config, data, parts)),
    begin=_begin,
    files=_files,
    describe=_describe,
    parts="the network",
    make_task=_make_task,
    describe_state=_describe_state,
    conclude=_conclude,
    report=report,
    tell=_tell,
)
sizes = search_runner.sizes
# Both find this module by the evaluator.
run, summary = search_runner.run, search_runner.summary
