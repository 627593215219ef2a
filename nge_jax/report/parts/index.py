"""The page on a folder of runs: kind, data, state and result of each, with a link to its report."""

from collections.abc import Callable, Iterator
from pathlib import Path

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.report.document import GENERATOR, Document, Section, Table, to_html
from nge_jax.report.parts.results import ABSENT
from nge_jax.settings.configs import flatten
from nge_jax.workdir import artifacts
from nge_jax.workdir.names import printable

INDEX = "index.html"
DEEPEST = 4  # folders below the given one
KINDS = {"search": "search", "train": "training", "segment": "segmentation"}
# The results of each kind of run: keys of the last row, and how the number is written.
RESULTS = (
    ("test_accuracy", "{:.2%} test accuracy"),
    ("test_mean_iou", "{:.2%} mean IoU"),
    ("validation_accuracy", "{:.2%} validation accuracy"),
    ("embedding_accuracy", "{:.2%} in the supernet"),
    ("train_accuracy", "{:.2%} training accuracy"),
)


def write_index(folder: Path, is_running: Callable[[Path], bool]) -> Path:
    """Writes index.html of all runs in a folder; returns its path.

    Args:
      folder: holds the runs, in folders of any depth to DEEPEST.
      is_running: tells whether a process works in a workdir.

    Raises:
      InputError: the folder holds no run, or another program's index.html.
    """
    runs = [*find_runs(folder)]
    if not runs:
        artifacts.check_for_this_program(folder)
        raise InputError(f"{folder}: found no run, expected a run's workdir or a folder of runs")
    path = folder / INDEX
    if path.exists() and GENERATOR not in files.read_text(path):
        raise InputError(f"{path}: found a page of another program, expected none or an own one")
    rows, links = [], []
    for run in runs:
        rows.append((printable(str(run.relative_to(folder))), *describe(run, is_running)))
        page = run / artifacts.REPORT
        links.append(page.relative_to(folder).as_posix() if page.exists() else "")
    table = Table(("Run", "Kind", "Data", "State", "Result", "Parameters", "Ended"), rows, links)
    states = [row[3] for row in rows]
    facts = [("Runs", str(len(runs)))]
    facts += [(name.capitalize(), str(states.count(name))) for name in ("ended", "running")]
    document = Document(folder.resolve().name, "Runs", facts, [Section("Runs", [table])])
    files.write_atomically(path, to_html(document, folder))
    return path


def find_runs(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Yields the workdirs in a folder, by name. A run's members and networks belong to the run."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.is_symlink() or path.name.startswith("."):
            continue
        if (path / artifacts.CONFIG).is_file() and (path / artifacts.ENVIRONMENT).is_file():
            yield path
        elif depth > 1:
            yield from find_runs(path, depth - 1)


def describe(run: Path, is_running: Callable[[Path], bool]) -> tuple[str, ...]:
    """Returns a run's cells of the table behind its name. A record that cannot be read is said as its state."""
    try:
        values = artifacts.read_json(run / artifacts.CONFIG, ("task",))
        settings = flatten(values)
        kind = KINDS.get(str(settings["task"]), str(settings["task"]))
        data = str(settings.get("data.name", settings.get("data.devkit")) or ABSENT)
        read = _read_run
        if artifacts.is_study(values):
            kind, read = "study", _read_study
        progress, result, parameters = read(run)
        has_ended = (run / artifacts.REPORT).exists()
        state = "ended" if has_ended else "running" if is_running(run) else "stopped"
        if not has_ended and progress:
            state += f", {progress}"
        return kind, data, state, result, parameters, _ended(run)
    except InputError as error:
        return ABSENT, ABSENT, f"damaged: {error}", ABSENT, ABSENT, ABSENT


def _read_run(run: Path) -> tuple[str, str, str]:
    """Returns the last epoch, the result and the parameters of a run of one task."""
    metrics = run / artifacts.METRICS
    last = artifacts.read_metrics(metrics, ())[-1] if metrics.exists() else {}
    found = (form.format(last[key]) for key, form in RESULTS if isinstance(last.get(key), float))
    sizes = artifacts.read_sizes(run)
    parameters = f"{sizes[0][1]:,}" if sizes else ABSENT
    return f"epoch {last['epoch']}" if last else "", next(found, ABSENT), parameters


def _read_study(run: Path) -> tuple[str, str, str]:
    """Returns the finished trainings of a study, the result, and the mean parameters of the cells found."""
    file = run / artifacts.TRAININGS
    try:
        done = files.read_text(file).count("\n") if file.exists() else 0
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read, {files.reason(error)}") from None
    progress = f"{done} training{'s' * (done > 1)}" if done else ""
    path = run / artifacts.STUDY
    if not path.exists():
        return progress, ABSENT, ABSENT
    record = artifacts.read_json(path, ("rows", "difference"))
    try:
        found, difference = record["rows"][0], record["difference"]
        result = (
            f"{found['accuracy']:.2f}% test accuracy, {difference['points']:+.2f} ± {difference['error']:.2f} points "
            "against random cells"
        )
        return progress, result, f"{found['parameters']:,.0f}"
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected the result of a study, found {error!r}") from None


def _ended(run: Path) -> str:
    starts = artifacts.read_json(run / artifacts.ENVIRONMENT)
    resumed = starts.get("resumed")
    if isinstance(resumed, dict) and resumed:
        starts = [*resumed.values()][-1]
    return str(starts.get("ended", ABSENT))[:16].replace("T", " ")
