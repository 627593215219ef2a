"""Makes tables from finished runs: statistics over seeds, the plot and the files."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

from nge_jax.report.document import Document, Section, to_html, to_markdown
from nge_jax.report.figure import LINES, SOFT, STYLE, new_figure, save
from nge_jax.workdir import artifacts
from paper import runs
from paper.plan import Options
from paper.runs import Run

ABSENT = "–"
PAPER = "the paper's figure"


def results(wanted: Iterable[Run], key: str) -> list[float]:
    """Reads a metric of each finished run at the last epoch. Only the last epoch has test metrics."""
    paths = [run.workdir / artifacts.METRICS for run in wanted if runs.is_finished(run)]
    return [artifacts.read_metrics(path, ())[-1][key] for path in paths]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Formats mean ± sample standard deviation, or the value alone if there is only one."""
    if not values:
        return ABSENT
    mean = format(statistics.mean(values), form)
    return f"{mean} ± {statistics.stdev(values):{form}}" if len(values) > 1 else mean


def percent(values: Iterable[float]) -> list[float]:
    """Converts fractions to percent."""
    return [100 * value for value in values]


def errors(accuracies: Iterable[float]) -> list[float]:
    """Converts accuracies to errors in percent."""
    return [100 * (1 - accuracy) for accuracy in accuracies]


def spread_figure(
    label: str, rows: Mapping[str, Sequence[float]], paper: Mapping[str, float]
) -> Figure:
    """Draws each row's values, their mean and standard deviation, and the paper's figure if there is one."""
    with rc_context(STYLE):
        figure = new_figure(6.4, 1.0 + 0.32 * len(rows))
        axes = figure.subplots()
        (ours, _), (theirs, _) = LINES
        for y, (name, values) in enumerate(rows.items()):
            axes.plot(values, [y] * len(values), ".", color=SOFT)
            if values:
                deviation = statistics.stdev(values) if len(values) > 1 else None
                axes.errorbar(
                    statistics.mean(values), y, xerr=deviation, fmt="D", ms=4, capsize=3, color=ours
                )
            if name in paper:
                axes.plot(paper[name], y, "*", ms=9, color=theirs)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"{label}: runs (dots), mean ± sd" + (f"; ★ {PAPER}" if paper else ""))
        figure.tight_layout(pad=0.6)
        figure.draw_without_rendering()
    return figure


def write(
    options: Options,
    name: str,
    title: tuple[str, str],
    sections: Sequence[Section],
    **figures: Figure,
) -> None:
    """Writes OUT/NAME.md, NAME.html and the pictures NAME_KEY of `figures`. Also prints the Markdown."""
    options.out.mkdir(parents=True, exist_ok=True)
    for key, figure in figures.items():
        save(figure, options.out / f"{name}_{key}")
    facts = [("Scale", options.scale), ("Seeds", ", ".join(map(str, options.seeds)))]
    if options.scale != "paper":
        facts.append(("Beside the paper", "scaled down: its figures are of other recipes"))
    document = Document(*title, facts, sections)
    text = to_markdown(document)
    (options.out / f"{name}.md").write_text(text, encoding="utf-8")
    (options.out / f"{name}.html").write_text(to_html(document, options.out), encoding="utf-8")
    print(text)
