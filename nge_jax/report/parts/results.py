"""The results of runs as a table: a row for each run, and a mean for runs that differ by their seed alone."""

import csv
import io
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from nge_jax.report.document import Table
from nge_jax.report.parts.read import Run, first_known
from nge_jax.settings import keys
from nge_jax.text.digits import three_digits

DIGITS = "three digits"  # the form of numbers of any size, see `three_digits`
# Metrics of the last row: a name, the keys that different tasks have for it, the format.
RESULTS = (
    ("Epochs", ("epoch",), ".0f"),
    ("Training loss", ("train_loss", "weight_loss"), ".4f"),
    ("Training accuracy", ("train_accuracy", "weight_accuracy"), ".2%"),
    ("Validation accuracy", ("validation_accuracy", "embedding_accuracy"), ".2%"),
    ("Test accuracy", ("test_accuracy",), ".2%"),
    ("Mean IoU", ("test_mean_iou",), ".2%"),
    ("Seconds", ("seconds",), DIGITS),
)
# Results that come in pairs: the field of `Run`, the two titles, the format.
PAIRS = (
    ("beside", ("Cell in its weights", "Random cells"), ".2%"),
    ("sizes", ("Parameters", "Multiply-adds"), ",d"),
)
ABSENT = "–"


class Column(NamedTuple):
    """A column of results.

    Attributes:
      title: the title of the column.
      form: the format of a number; empty for texts.
      values: a text or a number for each run; None: the run has none.
    """

    title: str
    form: str
    values: Sequence[Any]

    def show(self, value: Any) -> str:
        return ABSENT if value is None else _write(value, self.form)


def columns(runs: Sequence[Run]) -> list[Column]:
    """Collects tasks, data, results and sizes; a column that no run has is left out."""
    found = [Column("Run", "", [run.name for run in runs])]
    for name, key in (("Task", "task"), ("Data", "data.name")):
        found.append(Column(name, "", [str(run.settings.get(key, ABSENT)) for run in runs]))
    for name, metrics, form in RESULTS:
        found.append(Column(name, form, [_result(run, metrics) for run in runs]))
    for field, titles, form in PAIRS:
        pairs = [getattr(run, field) for run in runs]
        for n, title in enumerate(titles):
            found.append(Column(title, form, [None if p is None else p[n] for p in pairs]))
    return [column for column in found if any(value is not None for value in column.values)]


def results_table(runs: Sequence[Run]) -> Table:
    """Makes a row for each run, and below them a mean ± standard deviation of runs that differ by their seed alone."""
    found = columns(runs)
    rows = [[c.show(value) for c, value in zip(found, row, strict=True)] for row in _rows(found)]
    for group in same_but_seed(runs):
        rows.append([_mean(column, [column.values[n] for n in group]) for column in found])
    return Table([column.title for column in found], rows)


def same_but_seed(runs: Sequence[Run]) -> list[list[int]]:
    """Groups runs of one config that have two seeds or more; returns the numbers of the runs."""
    groups: dict[str, dict[int, Any]] = {}
    for number, run in enumerate(runs):
        task = str(run.settings.get("task"))
        rest = {
            name: value
            for name, value in run.settings.items()
            if name != "seed" and keys.changes_result(task, name)
        }
        groups.setdefault(repr(sorted(rest.items())), {})[number] = run.settings.get("seed")
    return [[*seeds] for seeds in groups.values() if len(set(seeds.values())) == len(seeds) > 1]


def to_csv(runs: Sequence[Run]) -> str:
    """Writes the results with all their digits: a row for each run, two for each group, its mean and its deviation."""
    found, file = columns(runs), io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(column.title for column in found)
    rows.writerows(_rows(found))
    for group in same_but_seed(runs):
        for title, statistic in (("mean", statistics.fmean), ("sd", statistics.stdev)):
            rows.writerow(
                _summary(column, [column.values[n] for n in group], title, statistic)
                for column in found
            )
    return file.getvalue()


def _rows(found: Sequence[Column]) -> list[tuple]:
    return [*zip(*(column.values for column in found), strict=True)]


def _mean(column: Column, values: Sequence[Any]) -> str:
    """Writes a mean and its standard deviation, of n - 1, as numbers of the column are written."""
    mean, deviation = (
        _summary(column, values, "mean", statistic)
        for statistic in (statistics.fmean, statistics.stdev)
    )
    if isinstance(mean, str):
        return mean
    if mean is None:
        return ABSENT
    form = ",.0f" if column.form == ",d" else column.form
    return f"{_write(mean, form)} ± {_write(deviation, form)}"


def _write(value: Any, form: str) -> str:
    return three_digits(value) if form == DIGITS else format(value, form)


def _summary(column: Column, values: Sequence[Any], title: str, statistic: Any) -> Any:
    """Returns the statistic of numbers, or the text that all have; None if one of them is absent."""
    if column.title == "Run":
        return f"{title} of {len(values)} seeds"
    if any(value is None for value in values):
        return None
    return values[0] if isinstance(values[0], str) else statistic(map(float, values))


def _result(run, keys):
    """Returns the value of a run's last epoch; for seconds, the sum over the epochs."""
    if keys == ("seconds",):
        return sum(row.get("seconds", 0.0) for row in run.epochs)
    return first_known(run.epochs[-1], keys)
