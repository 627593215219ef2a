"""Plans the paper's tables: the flags, the runs, and the folders of the runs.

All tables of a scale share one folder, because two tables may need the same run:

  OUT/searches/MODEL-SEED     MODEL: nge, nge_predecessors, alpha, plain, rnn; by another strategy: STRATEGY_MODEL
  OUT/TASK/CELL-SEED          TASK: cifar10, cifar10_tiny, cifar10_fast, cifar10_fast_tiny, cifar100, imagenet, voc
                              CELL: nge-0 (of the search nge-0), DARTS_V2, random_0 (the genotype random:0)
  OUT/table1.md, .html, .png  and so on
"""

import argparse
import itertools
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax

from nge_jax.settings import flags as runtime_flags
from nge_jax.workdir import artifacts
from paper import runs
from paper.runs import Run

SCALES = ("smoke", "small", "paper")
MODELS = {  # rows of Table 4: edge model, adjacency
    "nge": ("nge", "printed"),
    "nge_predecessors": ("nge", "predecessors"),
    "alpha": ("alpha", "printed"),
    "plain": ("plain", "printed"),
    "rnn": ("rnn", "printed"),
}
# For each task the config and, for each scale, the words of the variant.
SIZES = dict(zip(SCALES, ("smoke", "small", ""), strict=True))
FAST_SIZES = dict(zip(SCALES, ("fast_smoke", "fast_small", "fast"), strict=True))
TASKS = {
    "searches": ("configs/search_cifar.py", SIZES),
    "cifar10": ("configs/train_cifar10.py", SIZES),
    "cifar10_tiny": ("configs/train_cifar10.py", {"small": "tiny"}),
    "cifar10_fast": ("configs/train_cifar10.py", FAST_SIZES),
    "cifar10_fast_tiny": ("configs/train_cifar10.py", {"small": "fast_tiny"}),
    "cifar100": ("configs/train_cifar100.py", SIZES),
    "imagenet": (
        "configs/train_imagenet.py",
        dict(zip(SCALES, ("imagenette,smoke", "imagenette", ""), strict=True)),
    ),
    "voc": ("configs/segment_voc.py", SIZES),
}
# The task that trains the many cells of a comparison of searches.
COMPARISON = {"smoke": "cifar10", "small": "cifar10_tiny", "paper": "cifar10"}
# The task that trains the same cells with the fast recipe, see configs/train_cifar10.py.
FAST_COMPARISON = {"smoke": "cifar10_fast", "small": "cifar10_fast_tiny", "paper": "cifar10_fast"}
Options = argparse.Namespace
Name = TypeVar("Name")  # name of a table's row


class Cell(NamedTuple):
    """Names a cell to train.

    name: the beginning of the trainings' workdirs.
    genotype: as `config.genotype` takes it.
    """

    name: str
    genotype: str


def parser(description: str) -> argparse.ArgumentParser:
    """Makes a parser of the flags that all tables share."""
    flags = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--seeds", type=_seeds, help="such as 0,1,2; default: the scale's")
    flags.add_argument(
        "--scale",
        choices=SCALES,
        default="small",
        help="smoke: minutes on two cores; small: hours on a CPU; paper: the paper's sizes, for GPUs",
    )
    flags.add_argument("--data_dir", default="", help="tfds folder; default: TFDS's own")
    flags.add_argument(
        "--out", type=Path, help="folder of runs and tables; default: runs/tables-SCALE"
    )
    flags.add_argument(
        "--table_only", action="store_true", help="make the table of the finished runs; run none"
    )
    flags.add_argument(
        "--surrogate", type=Path, help="folder of NAS-Bench-301's surrogate, to rate the cells too"
    )
    flags.add_argument("--jobs", type=int, default=1, help="processes at a time")
    flags.add_argument("--ray", action="store_true", help="run them as tasks of Ray")
    return flags


def start(
    main: Callable[[Options], None],
    flags: argparse.ArgumentParser,
    seeds: Mapping[str, Sequence[int]],
    arguments: Sequence[str] | None = None,
) -> None:
    """Calls `main` with the flags' values; bad input ends in one line and exit code 2.

    Args:
        main: makes the table.
        flags: the flags of `parser` and of the table.
        seeds: the default seeds of each scale.
        arguments: the command line; None for this process's.
    """
    options = flags.parse_args(arguments)
    options.seeds = options.seeds or list(seeds[options.scale])
    options.out = options.out or Path("runs") / f"tables-{options.scale}"
    if options.jobs < 1:
        flags.error(f"argument --jobs: found {options.jobs}, expected 1 or more")
    with runtime_flags.refusals():
        if options.ray:
            runs.load_ray()
        # This process only counts parameters, and leaves the accelerators to the runs.
        jax.config.update("jax_platforms", "cpu")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the exit also stops the runs
        main(options)


def search(options: Options, model: str, seed: int, strategy: str = "gradient") -> Run:
    """Plans a search with the edge model and adjacency of `MODELS[model]`."""
    edge_model, adjacency = MODELS[model]
    config, words = TASKS["searches"]
    prefix = "" if strategy == "gradient" else strategy
    variant = ",".join(filter(None, (prefix, edge_model, words[options.scale])))
    settings = {"seed": seed} | adjacency_setting(adjacency) | data(options)
    name = "_".join(filter(None, (prefix, model)))
    return Run(options.out / "searches" / f"{name}-{seed}", f"{config}:{variant}", settings)


def adjacency_setting(adjacency: str) -> dict[str, str]:
    """Sets another adjacency than the default, since a search refuses the key for an edge model without a graph."""
    return {} if adjacency == "printed" else {"search.adjacency": adjacency}


def derived_cell(search: Run) -> Cell:
    """Names the cell that a search ends with."""
    return Cell(search.workdir.name, runs.path_argument(search.workdir / artifacts.GENOTYPE))


def named_cell(name: str) -> Cell:
    """Names a published cell, or the random one of "random:SEED"."""
    return Cell(name.replace(":", "_"), name)


def training(
    options: Options, task: str, cell: Cell, seed: int, rate: float | None = None, **settings: str
) -> Run:
    """Plans the training of a cell.

    Args:
        options: values of the table's flags.
        task: one of `TASKS`.
        cell: the cell to train.
        seed: seed of the training.
        rate: a learning rate to replace the config's.
        settings: values of other keys of the config.
    """
    config, words = TASKS[task]
    config = ":".join(filter(None, (config, words[options.scale])))
    settings = {"seed": seed, "genotype": cell.genotype} | settings | data(options)
    run = Run(options.out / task / f"{cell.name}-{seed}", config, settings)
    if rate in (None, runs.configuration(run).weights.learning_rate):
        return run
    path = run.workdir.with_name(f"{cell.name}_lr{rate}-{seed}")
    return Run(path, config, settings | {"weights.learning_rate": rate})


def trainings(options: Options, task: str, cells: Mapping[str, Cell]) -> dict[str, list[Run]]:
    """Plans a table's trainings: each row's cell with every seed."""
    return {
        name: [training(options, task, cell, seed) for seed in options.seeds]
        for name, cell in cells.items()
    }


def comparison(options: Options, cells: Mapping[Name, Sequence[Cell]]) -> dict[Name, list[Run]]:
    """Plans the trainings of a comparison of searches. A row has a cell for each seed, trained with the same seed."""
    return {
        name: [
            training(options, COMPARISON[options.scale], cell, seed)
            for cell, seed in zip(row_cells, options.seeds, strict=True)
        ]
        for name, row_cells in cells.items()
    }


def complete(options: Options, *groups: Iterable[Run]) -> None:
    """Runs the missing runs of all groups, unless --table_only is set."""
    if not options.table_only:
        wanted = itertools.chain.from_iterable(groups)
        runs.complete(wanted, jobs=options.jobs, by_ray=options.ray)


def some_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Makes the argparse type of a flag that takes some of `names`, joined by commas."""

    def read(text: str) -> list[str]:
        words = text.split(",")
        if not set(words) <= set(names) or len(set(words)) < len(words):
            raise argparse.ArgumentTypeError(f"found {text!r}, expected some of {','.join(names)}")
        return words

    return read


def data(options: Options) -> dict[str, str]:
    """Returns the setting of the data folder as an absolute path, because runs start in another folder."""
    return {"data.dir": str(Path(options.data_dir).absolute())} if options.data_dir else {}


def _seeds(text: str) -> list[int]:
    seeds = [int(number) for number in text.split(",")]
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"found {text}, expected different numbers such as 0,1,2")
    return seeds
