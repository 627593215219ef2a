"""Rates cells, or strategies that search for cells, by the surrogate of NAS-Bench-301, and compares random cells.

  python experiments/nas_bench_301.py --surrogate=DIR --cells=DARTS_V2,runs/search_cifar    cells and 1,000 random
  python experiments/nas_bench_301.py --surrogate=DIR --seeds=16                             strategies and edge models
  python experiments/nas_bench_301.py --surrogate=DIR --scale=smoke                          does it run?

DIR holds YAHPO Gym's nb301.onnx and encoding.json. Reading them needs `pip install 'nge_jax[surrogate]'`. The
strategies and settings come from experiments/nas_bench_201.py and are not tuned for this space. The command writes
table.md to --out.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

import nas_bench_201 as bench_201
from nge_jax.report.document import Document, Section, Text, to_markdown
from nge_jax.settings.flags import refusals
from nge_jax.space import genotype
from nge_jax.space.ratings import nas_bench_301
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.base import run_strategy
from paper import surrogate as paper_surrogate
from paper import tables

SEEDS = {"smoke": 2, "small": 16}


def rate_strategies(surrogate: nas_bench_301.Surrogate, queries: int, seeds: int) -> list[str]:
    """Makes a table of the best cell that each strategy saw: mean and deviation over seeds."""
    evaluate = nas_bench_301.make_evaluator(surrogate)
    skip = DARTS.operations.index("skip_connect")
    lines = [
        f"{queries} queries, mean ± sd over {seeds} seeds; the surrogate's guess of the best cell seen.",
        "",
        "| search | surrogate, % | skips in both cells |",
        "|---|---|---|",
    ]
    for name, row in bench_201.table_rows(queries, DARTS).items():

        def run(seed, strategy=row.strategy):
            key = jax.random.fold_in(jax.random.key(0), seed)
            return run_strategy(strategy, evaluate, queries, key)

        history = jax.jit(lambda seeds, run=run: jax.lax.map(run, seeds))(np.arange(seeds))
        rewards = 100 * np.asarray(history.rewards)
        best = np.asarray(history.architectures)[np.arange(seeds), rewards.argmax(1)]
        skips = (best == skip).sum((1, 2)).tolist()
        found = tables.spread(rewards.max(1).tolist())
        lines.append(f"| {name} | {found} | {tables.spread(skips, '.1f')} of 16 |")
        print(lines[-1], flush=True)
    random = nas_bench_301.random_accuracies(surrogate, paper_surrogate.RANDOM_CELLS)
    spread = tables.spread(random.tolist())
    lines.append(f"| one random cell (n = {len(random):,}), best {random.max():.2f} | {spread} | |")
    return lines


def main(options: argparse.Namespace) -> None:
    surrogate = nas_bench_301.load(options.surrogate)
    if options.cells:
        rows = {name: [genotype.load(name)] for name in options.cells.split(",")}
        table = paper_surrogate.rate(surrogate, rows)
        facts = [("Surrogate", str(options.surrogate))]
        section = Section("Cells", [Text(paper_surrogate.NOTE), table])
        text = to_markdown(Document("NAS-Bench-301", "cells by its surrogate", facts, [section]))
    else:
        queries = options.queries or (20 if options.scale == "smoke" else 100)
        seeds = options.seeds or SEEDS[options.scale]
        text = "\n".join(
            [*rate_strategies(surrogate, queries, seeds), "", paper_surrogate.NOTE, ""]
        )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(text)


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the command's flags."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--surrogate", type=Path, required=True, help="folder of the surrogate")
    flags.add_argument(
        "--cells", help="names, files or runs, joined by commas; rates no strategies"
    )
    flags.add_argument("--scale", choices=SEEDS, default="small", help="how many seeds and queries")
    flags.add_argument("--seeds", type=_positive, help="how many seeds; default: the scale's")
    flags.add_argument(
        "--queries", type=_positive, help="cells a search rates; default: 100, smoke 20"
    )
    flags.add_argument(
        "--out", type=Path, default=Path("runs/nas_bench_301"), help="folder of table.md"
    )
    return flags


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"found {text}, expected 1 or more")
    return number


if __name__ == "__main__":
    given = parser().parse_args()
    with refusals():
        main(given)
