"""Compares forms of the graph embedding on NAS-Bench-201 without `none`, where the truth about every cell is known.

  taskset -c 1 python experiments/edges_study.py --table=nas_bench_201.npz --data_dir=DIR     hours on a CPU core
  python experiments/edges_study.py --table=nas_bench_201.npz --data_dir=DIR --scale=smoke    does it run?
  python experiments/edges_study.py --table=nas_bench_201.npz --table_only                    the finished searches

The plan, which was written before the first search:

Question. The printed form of the embedding puts one operation on all edges (`experiments/edges_alike.py`). Which form
does not, and does one find better cells than free logits?

Setting. The search is `search_nas_bench_201:no_none` on CIFAR-10 at 16x16 pixels, by softmax, batch by batch. It has 8
channels, a cell a stage, batches of 32, and 25 epochs of 40 updates of either group. All searches of a seed share the
supernet's initial weights, the halves of the images and their order.

Conditions. See CONDITIONS. `alpha` and `nge_printed` have the paper's settings. Each other form of `nge` has a matched
rate, a decoupled decay and a uniform start. Such a search differs from free logits in one way only: how far a step for
one edge moves the others. `alpha_fast` is free logits with steps as long as the printed form's.

Rates. All stages but `tuned` have the paper's rate of 6e-4, from which a matched rate is derived. In `tuned` each
condition of TUNED has the rate of RATES that does best on two seeds that are not reported. The larger mean of the
benchmark's validation accuracy after 12 epochs on CIFAR-10 decides. Of equal rates the lower is chosen.

Order. The stages in the order of STAGES; in a stage the rates are chosen first. Then the conditions follow seed by
seed, so that any beginning of the results is balanced. The stage `ablation` was added after 26 searches of `batch`.
The stage `mutation` was added after all 110 searches of `batch` and `ablation`. It has two conditions of `batch` with
search.edge_mutation=0.1, and compares them with the free logits of `batch`. There the form with a classifier for each
edge and mutation was better than free logits by 0.50 ± 0.11 points (n = 9). Therefore the stage `confirm` was added
before its first search, with new seeds 10 to 19. Its question is whether the two conditions with mutation are better
than free logits on CIFAR-10, with p below 0.05.
The stage `lambda` was added after all searches of `mutation`, and before its first search. It has the conditions of
`mutation` with search.layer_correlation=0.25 in place of mutation, the strength in the authors' script for
NAS-Bench-201, and makes the same comparison.

Statistics. Seeds 0 to 9 are reported, in `confirm` seeds 10 to 19. The table has the test accuracies of the cells
found after 200 epochs on the three data sets, as mean and sample standard deviation. It counts different operations,
and cells with one operation on all edges. The difference from `alpha` of the same seed on CIFAR-10 has a standard
error. A p is the part of the 1,024 sign flips whose mean difference is at least as large. All 4,096 cells without
`none` are the random baseline. No condition is left out.

Each finished search is a line of OUT/results.jsonl. A search that was killed goes on from its last checkpoint.
"""

import argparse
import itertools
import shutil
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nge_jax.data.small import ArrayDataset
from nge_jax.devices.parallel import in_32_bits
from nge_jax.embedding.model import edge_model
from nge_jax.embedding.movement import matched_part
from nge_jax.runtime import loop
from nge_jax.search import checks, task
from nge_jax.search import images as search_images
from nge_jax.search.build import build
from nge_jax.settings.checks import check_complete
from nge_jax.settings.configs import differ, load_config
from nge_jax.settings.flags import refusals
from nge_jax.space import nas_bench_201
from nge_jax.space.cell import derive
from nge_jax.space.nas_bench_201 import TESTS, AccuracyTable, BenchCell, cell_index
from nge_jax.space.sharing import most_common
from nge_jax.space.spaces import NO_NONE
from nge_jax.version import __version__
from nge_jax.workdir import artifacts, json_lines
from paper import tables

PAPERS_RATE = 6e-4
RATES = (PAPERS_RATE / 4, PAPERS_RATE, 4 * PAPERS_RATE)
TUNING_SEEDS, SEEDS, CONFIRMING_SEEDS = (100, 101), tuple(range(10)), tuple(range(10, 20))
SETTING = {
    "data.image_size": 16,
    "data.pad": 2,
    "network.channels": 8,
    "network.cells": 1,
    "search.alternation": "batch",
    "search.batch_size": 32,
    "search.epochs": 25,
    "search.images_per_epoch": 40 * 32,
    "run.steps_per_dispatch": 40,
    "run.checkpoint_every_steps": 400,
    "run.random_cells": 0,
}
SMOKE = {
    "network.channels": 2,
    "search.batch_size": 8,
    "search.epochs": 2,
    "search.images_per_epoch": 16,
}
MATCHED = {
    "embedding.rate": "matched",
    "embedding.decay": "decoupled",
    "embedding.start": "uniform",
}
ALPHA = {"search.edge_model": "alpha"}
MUTATION = {"search.edge_mutation": 0.1}
LAMBDA = {"search.layer_correlation": 0.25}
# The keys in which conditions differ from the paper's search.
CONDITIONS = {
    "alpha": ALPHA,
    "nge_printed": {},
    "nge_per_edge": MATCHED | {"embedding.classifier": "per_edge"},
    "nge_center": MATCHED | {"embedding.norm": "center"},
    "nge_matched": MATCHED,
    "alpha_fast": ALPHA,
    "nge_free": MATCHED | {"embedding.residual": "free"},
    "nge_pairnorm": MATCHED | {"embedding.norm": "pairnorm"},
    "nge_pairnorm_per_edge": MATCHED
    | {"embedding.norm": "pairnorm", "embedding.classifier": "per_edge"},
    "nge_pairnorm_center": MATCHED | {"embedding.norm": "pairnorm_center"},
    "nge_predecessors": {"search.adjacency": "predecessors"},
    "plain": {"search.edge_model": "plain"},
    "rnn": {"search.edge_model": "rnn"},
    "rnn_per_edge": MATCHED | {"search.edge_model": "rnn", "embedding.classifier": "per_edge"},
    "plain_matched": MATCHED | {"search.edge_model": "plain"},
    "rnn_matched": MATCHED | {"search.edge_model": "rnn"},
    "alpha_mutation": ALPHA | MUTATION,
    "nge_per_edge_mutation": MATCHED | {"embedding.classifier": "per_edge"} | MUTATION,
    "alpha_lambda": ALPHA | LAMBDA,
    "nge_per_edge_lambda": MATCHED | {"embedding.classifier": "per_edge"} | LAMBDA,
}
FIRST = ("alpha", "nge_printed", "nge_per_edge", "nge_center", "nge_matched", "alpha_fast")
# The paper's Table 4 at the printed rate and at a matched rate; `alpha` and two forms of `nge` are in FIRST.
ABLATION = ("plain", "plain_matched", "rnn", "rnn_matched", "nge_predecessors")
MUTATIONS = ("alpha_mutation", "nge_per_edge_mutation")
LAMBDAS = ("alpha_lambda", "nge_per_edge_lambda")
SECOND = tuple(n for n in CONDITIONS if n not in FIRST + ABLATION + MUTATIONS + LAMBDAS)
TUNED = ("alpha", "nge_printed", "nge_per_edge", "nge_center", "nge_matched")
# Stages by name: the conditions, and keys in which the stage differs from SETTING.
STAGES = {
    "batch": (FIRST, {}),
    "ablation": (ABLATION, {}),
    "mutation": (MUTATIONS, {}),
    "confirm": (("alpha", *MUTATIONS), {}),
    "tuned": (TUNED, {}),
    "lambda": (LAMBDAS, {}),
    "more": (SECOND, {}),
    "epoch": (FIRST, {"search.alternation": "epoch"}),
    "gumbel": (FIRST, {"search.relaxation": "gumbel"}),
}


class Job(NamedTuple):
    """A search of the study: its stage, its condition, its seed and its rate."""

    stage: str
    condition: str
    seed: int
    rate: float

    @property
    def folder(self) -> str:
        """The name of the search's folder."""
        return f"{self.stage}-{self.condition}-{self.seed}-{self.rate:.3g}"


def make_config(job: Job, options: argparse.Namespace) -> ConfigDict:
    """Makes the config of a search."""
    config = load_config("search_nas_bench_201", "no_none")
    size = SETTING | (SMOKE if options.scale == "smoke" else {})
    data = {"data.name": options.data, "data.dir": options.data_dir or ""}
    if options.data == "digits":
        data |= {"data.image_size": 0, "data.pad": 1}
    keys = size | data | STAGES[job.stage][1] | CONDITIONS[job.condition]
    differ(config, keys | {"embedding.learning_rate": job.rate, "seed": job.seed})
    check_complete(config, "search")
    checks.check(config)
    return config


def search(
    job: Job, options: argparse.Namespace, data: ArrayDataset, table: AccuracyTable
) -> dict[str, Any]:
    """Runs a search, or continues it, and returns its line of the results."""
    started, path = time.time(), options.out / "runs" / job.folder
    path.mkdir(parents=True, exist_ok=True)
    config = make_config(job, options)
    plan = build(config, data)
    work = task.make_task(plan, path)._replace(save_epochs=False)
    state = loop.run(
        work,
        path,
        checkpoint_every_steps=config.run.checkpoint_every_steps,
        keep_checkpoints=config.run.keep_checkpoints,
        steps_per_dispatch=config.run.steps_per_dispatch,
    )
    probs = np.asarray(state.history)[-1]
    cell = derive(probs, NO_NONE)
    assert isinstance(cell, BenchCell)
    counts = cell.operation_counts("normal")
    last = artifacts.read_metrics(path / artifacts.METRICS, ("edge_rank_normal",))[-1]
    kept = ("common_share_normal", "edge_rank_normal", "edge_cosine_normal", "entropy_normal")
    accuracies = nas_bench_201.accuracies(table, cell)
    shutil.rmtree(path / artifacts.CHECKPOINTS)
    jax.clear_caches()  # the programs of many searches would fill the memory
    return {
        **job._asdict(),
        "cell": cell.cell,
        "tests": {name: parts["test"] for name, parts in accuracies.items()},
        "selection": float(table.selection[cell_index(cell.operations)]),
        "operations": sum(count > 0 for count in counts.values()),
        "constant": most_common(counts)[1] == 1,
        "validation": last["embedding_accuracy"],
        **{key: last[key] for key in kept},
        "embedding_rate": last.get("embedding_rate", job.rate),
        "seconds": round(time.time() - started, 1),
        "versions": f"nge_jax {__version__}, jax {jax.__version__}",
    }


def read_results(file: Path) -> dict[Job, dict[str, Any]]:
    """Reads the finished searches."""
    return {Job(*(row[field] for field in Job._fields)): row for row in json_lines.read(file)}


def tuning_jobs(stage: str) -> Iterator[Job]:
    """Lists the searches that choose the rates of a stage; only one stage has chosen rates."""
    names = TUNED if stage == "tuned" else ()
    for seed, name, rate in itertools.product(TUNING_SEEDS, names, RATES):
        yield Job(stage, name, seed, rate)


def chosen_rate(stage: str, name: str, results: Mapping[Job, Mapping[str, Any]]) -> float:
    """Returns a condition's rate, by the finished searches that choose it."""
    if name == "alpha_fast":
        return float(f"{PAPERS_RATE / matched_part(edge_model('nge', space=NO_NONE)):.3g}")
    if stage != "tuned":
        return PAPERS_RATE
    means = {
        rate: statistics.fmean(
            results[Job(stage, name, seed, rate)]["selection"] for seed in TUNING_SEEDS
        )
        for rate in RATES
    }
    return max(RATES, key=lambda rate: (means[rate], -rate))


def reported_seeds(stage: str) -> tuple[int, ...]:
    """Lists the seeds of a stage that are reported."""
    return CONFIRMING_SEEDS if stage == "confirm" else SEEDS


def reported_jobs(stage: str, results: Mapping[Job, Mapping[str, Any]]) -> list[Job]:
    """Lists the searches of a stage that are reported, seed by seed."""
    names = STAGES[stage][0]
    rates = {name: chosen_rate(stage, name, results) for name in names}
    return [Job(stage, name, seed, rates[name]) for seed in reported_seeds(stage) for name in names]


def complete(options: argparse.Namespace, table: AccuracyTable) -> None:
    """Runs the missing searches in the planned order."""
    file, first = options.out / "results.jsonl", Job("batch", "alpha", 0, PAPERS_RATE)
    data = search_images.load_data(make_config(first, options))

    def run_all(jobs: Iterable[Job]) -> dict[Job, dict[str, Any]]:
        for job in jobs:
            if job not in read_results(file):
                print(job, flush=True)
                json_lines.append(file, search(job, options, data, table))
        return read_results(file)

    for stage in options.stages:
        run_all(reported_jobs(stage, run_all(tuning_jobs(stage))))


def sign_flips(differences: Sequence[float]) -> float:
    """Computes the part of all sign flips whose mean is at least as far from 0 as the mean of the differences."""
    signs = np.array([*itertools.product((1, -1), repeat=len(differences))])
    means = np.abs(signs @ np.array(differences)) / len(differences)
    return float((means >= abs(statistics.fmean(differences)) - 1e-9).mean())


def line(name: str, rows: Mapping[int, Mapping[str, Any]], free: Mapping[int, Any]) -> str:
    """Writes a condition's line of a table; `rows` and `free` (of alpha) by seed."""
    tests = [tables.spread([row["tests"][data] for row in rows.values()]) for data in TESTS]
    both = [
        rows[seed]["tests"]["CIFAR-10"] - free[seed]["tests"]["CIFAR-10"]
        for seed in rows
        if seed in free
    ]
    difference = "–"
    if name != "alpha" and len(both) > 1:
        error = statistics.stdev(both) / len(both) ** 0.5
        difference = f"{statistics.fmean(both):+.2f} ± {error:.2f} (p = {sign_flips(both):.3f})"
    values = [*rows.values()]
    cells = [
        name,
        f"{values[0]['embedding_rate']:.2g}",
        str(len(rows)),
        *tests,
        difference,
        tables.spread([row["operations"] for row in values], ".1f"),
        str(sum(row["constant"] for row in values)),
        f"{statistics.fmean(row['common_share_normal'] for row in values):.2f}",
        tables.spread([row["entropy_normal"] for row in values], ".3f"),
        tables.spread([100 * row["validation"] for row in values], ".1f"),
    ]
    return f"| {' | '.join(cells)} |"


def reported_rows(
    stage: str, name: str, results: Mapping[Job, Mapping[str, Any]]
) -> dict[int, Mapping[str, Any]]:
    """Returns a condition's lines of the results by seed, without the seeds that choose its rate."""
    return {
        job.seed: row
        for job, row in results.items()
        if (job.stage, job.condition) == (stage, name) and job.seed in reported_seeds(stage)
    }


def summary(results: Mapping[Job, Mapping[str, Any]], table: AccuracyTable) -> str:
    """Writes a table for each stage that has reported searches."""
    heads = ["condition", "rate", "n", *(f"{name}, %" for name in TESTS), "CIFAR-10 − alpha"]
    heads += ["operations", "constant cells", "common share", "entropy of P", "supernet, %"]
    cells = np.array([*itertools.product(range(1, 5), repeat=6)])
    known = table.tests[cell_index(cells)]
    drawn = " | ".join(tables.spread(column[np.isfinite(column)].tolist()) for column in known.T)
    reported = {
        stage: {name: reported_rows(stage, name, results) for name in names}
        for stage, (names, _) in STAGES.items()
    }
    texts = []
    for stage, rows in reported.items():
        free = rows.get("alpha", reported["batch"]["alpha"])
        lines = [line(name, rows[name], free) for name in rows if rows[name]]
        if lines:
            lines += [f"| all cells without `none` | – | 4096 | {drawn} |" + " – |" * 6]
            head = f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"
            texts.append("\n".join([f"## {stage}\n", head, *lines]))
    return "\n\n".join(texts) + "\n"


@in_32_bits
def main(options: argparse.Namespace) -> None:
    table = nas_bench_201.load(options.table)
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.table_only:
        complete(options, table)
    text = summary(read_results(options.out / "results.jsonl"), table)
    (options.out / "table.md").write_text(text)
    print(text)


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the study's flags."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--table", type=Path, required=True, help="table of NAS-Bench-201, an .npz")
    flags.add_argument("--data_dir", help="TFDS's folder with CIFAR-10")
    flags.add_argument("--data", default="cifar10", help="cifar10, cifar100 or digits")
    flags.add_argument("--scale", choices=("smoke", "small"), default="small")
    flags.add_argument("--out", type=Path, default=Path("runs/edges_study"), help="results")
    flags.add_argument("--stages", nargs="+", choices=[*STAGES], default=[*STAGES])
    flags.add_argument("--table_only", action="store_true", help="only the finished searches")
    return flags


if __name__ == "__main__":
    with refusals():
        main(parser().parse_args())
