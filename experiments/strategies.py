"""Compares gradient, reinforcement learning, evolution and random search over the same edge models and supernet.

  python experiments/strategies.py --data_dir=DIR                       scaled down, two seeds, hours on a CPU
  python experiments/strategies.py --data_dir=DIR --scale=smoke         does it run?
  python experiments/strategies.py --data_dir=DIR --models=nge,rnn      other edge models
  python experiments/strategies.py --table_only                         only the runs finished so far

The recipe of Table 4 trains each search's cell with the search's seed. Random search reads no edge model and has one
row. The command runs the missing runs, and continues when started again. It writes OUT/strategies.md, .html and
pictures.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.report.figure import STYLE, new_figure
from nge_jax.workdir import artifacts
from paper import plan, runs, surrogate, tables
from paper.runs import Run

SEEDS = {"smoke": [0], "small": [0, 1], "paper": [0, 1, 2, 3]}
MODELS = {"smoke": ["nge"], "small": ["nge", "alpha"], "paper": list(plan.MODELS)}
LEARNING, RANDOM = ("gradient", "reinforce", "evolution"), "random"

Row = tuple[str, str]  # strategy, edge model


def rewards(searches: Sequence[Run]) -> list[np.ndarray]:
    """Reads the rewards [queries] of each finished search that has evaluated cells, in order."""
    histories = []
    for run in searches:
        path = run.workdir / artifacts.HISTORY
        if runs.is_finished(run) and path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                histories.append(arrays["rewards"])
    return histories


def curves(histories: Mapping[Row, Sequence[np.ndarray]]) -> Figure:
    """Draws the best reward so far, mean and a band of one sd. Random search is in the panel of every strategy."""
    kinds = [k for k in LEARNING if any(h for (kind, _), h in histories.items() if kind == k)]
    with rc_context(STYLE):
        figure = new_figure(3.6 * max(1, len(kinds)), 3.0)
        panels = figure.subplots(1, max(1, len(kinds)), sharey=True, squeeze=False)[0]
        for axes, kind in zip(panels, kinds or [RANDOM], strict=True):
            for (strategy, model), rewards_of_seeds in histories.items():
                if strategy not in (kind, RANDOM) or not rewards_of_seeds:
                    continue
                length = min(map(len, rewards_of_seeds))
                best = [100 * np.maximum.accumulate(seed[:length]) for seed in rewards_of_seeds]
                mean, deviation = np.mean(best, 0), np.std(best, 0, ddof=len(best) > 1)
                queries = np.arange(1, length + 1)
                name = RANDOM if strategy == RANDOM else model
                dashes = "dotted" if strategy == RANDOM else "solid"
                (line,) = axes.plot(queries, mean, label=name, linestyle=dashes)
                band = {"color": line.get_color(), "alpha": 0.1, "lw": 0}
                axes.fill_between(queries, mean - deviation, mean + deviation, **band)
            axes.set_title(kind)
            axes.set_xlabel("cells evaluated")
            if axes.lines:
                axes.legend(loc="lower right")
        panels[0].set_ylabel("best reward so far, %")
        figure.tight_layout(pad=0.6)
        figure.draw_without_rendering()
    return figure


def main(options: plan.Options) -> None:
    models = options.models or MODELS[options.scale]
    rows = [(strategy, model) for strategy in LEARNING for model in models] + [(RANDOM, "nge")]
    searches = {
        (strategy, model): [plan.search(options, model, s, strategy) for s in options.seeds]
        for strategy, model in rows
    }
    plan.complete(options, *searches.values())
    cells = {row: list(map(plan.derived_cell, row_runs)) for row, row_runs in searches.items()}
    trainings = plan.comparison(options, cells)
    plan.complete(options, *trainings.values())

    histories = {row: rewards(row_runs) for row, row_runs in searches.items()}
    lines, tests = [], {}
    for (strategy, model), row_runs in trainings.items():
        accuracies = tables.percent(tables.results(row_runs, "test_accuracy"))
        best = tables.percent(float(values.max()) for values in histories[strategy, model])
        queries = sorted({len(values) for values in histories[strategy, model]})
        model = tables.ABSENT if strategy == RANDOM else model
        tests[strategy if strategy == RANDOM else f"{strategy}, {model}"] = accuracies
        evaluated = ", ".join(map(str, queries)) or tables.ABSENT
        spreads = tables.spread(best), tables.spread(accuracies)
        lines.append((strategy, model, evaluated, *spreads, str(len(accuracies))))
    label = "test accuracy of the derived cell, %"
    header = ("strategy", "edge model", "cells evaluated", "best reward, %", label, "trainings")
    note = (
        "Mean ± sd over seeds. A reward is the accuracy of a cell in the search's own supernet on a batch of "
        "validation images: rewards of two searches are of two supernets. The paper has no figures of these."
    )
    sections = [
        Section(
            "Strategies",
            [
                Text(note),
                Table(header, lines),
                Picture("strategies_tests", label, f"{label}."),
                Picture(
                    "strategies_curves", "Best reward so far", "Best reward so far, mean ± sd."
                ),
            ],
        ),
        *surrogate.sections(options, {", ".join(row): found for row, found in cells.items()}),
    ]
    tests = tables.spread_figure(label, tests, {})
    title = "Strategies", "gradient, reinforcement learning, evolution and random search"
    tables.write(options, "strategies", title, sections, tests=tests, curves=curves(histories))


if __name__ == "__main__":
    flags = plan.parser(__doc__)
    flags.add_argument(
        "--models",
        type=plan.some_of(plan.MODELS),
        help=f"some of {','.join(plan.MODELS)}; default: the scale's",
    )
    plan.start(main, flags, SEEDS)
