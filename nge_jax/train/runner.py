"""The training runner: the network of a derived cell on a data set of images, tested once, at the end.

Paper Sec. 4.2 gives the recipe, DARTS what the paper leaves open. Chosen here: the learning rate and the
drop-path rate move with every step, in DARTS with every epoch; the images of an epoch that do not fill a
batch are left out, others each time.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from nge_jax import files
from nge_jax.console import banner
from nge_jax.console.progress import waiting
from nge_jax.console.waiting import say
from nge_jax.cost import model_cost, network_table
from nge_jax.data import spec as dataset_spec
from nge_jax.data.checks import check_complete
from nge_jax.data.own import OwnImages
from nge_jax.data.source import Source
from nge_jax.devices import distributed, finite, parallel
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import InputError, arguments_as
from nge_jax.report import train as train_report
from nge_jax.report.confusion import over_classes
from nge_jax.runtime import loop
from nge_jax.runtime.loop import EpochEnd, Phase, Task
from nge_jax.settings.configs import loop_settings, to_values
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.train import build as train_build
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import images as training_images
from nge_jax.train import model as train_model
from nge_jax.train import record as train_record
from nge_jax.train import step as train_step
from nge_jax.train import trained
from nge_jax.train import transfer as train_transfer
from nge_jax.train.arguments import make_optimizer
from nge_jax.train.build import Training
from nge_jax.train.evaluate import Evaluation, Scores
from nge_jax.train.step import TrainState
from nge_jax.train.transfer import Variables
from nge_jax.workdir import artifacts, metrics_log
from nge_jax.workdir import folder as workdir
from nge_jax.workdir.artifacts import Size
from nge_jax.workdir.lock import holds_workdir


class TrainResult(NamedTuple):
    """What a training ends with.

    evaluation: of the test split, after the last step.
    workdir: holds all else.
    """

    evaluation: Evaluation
    workdir: Path


@in_32_bits
@holds_workdir
def run(
    config: ConfigDict,
    path: str | Path,
    *,
    overwrite: bool = False,
    images: OwnImages | None = None,
) -> TrainResult:
    """Trains `config.genotype` in the workdir `path`, or goes on where it stopped, tests and reports.

    Args:
      config: of a training.
      path: the workdir.
      overwrite: removes the results of an earlier run.
      images: of `images.open_own`, where a user's own are open by now.

    Raises:
      InputError, GenotypeError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    check_complete(config, "train")
    if images is None and training_images.leaves_open(config):
        images = training_images.open_own(config)
    path = Path(path)
    config = training_images.resolve(config, images, None if overwrite else path)
    cells = genotype.load(config.genotype)
    train_build.check(config)
    train_build.check_devices(config)
    banner.show(banner.device())
    with waiting("reading the data"):
        source = training_images.open_source(config, opened=images)
    banner.show_notes(source.notes)
    if not overwrite:
        spec = dataset_spec.agreed(
            path, source.spec, source.examples, source.drawn, source.inventory
        )
        source = source._replace(spec=spec)
    training = train_build.build(config, cells, source)
    begins_with = None
    if config.init_from and (overwrite or not workdir.has_checkpoints(path)):
        begins_with = _read_beginning(config, training, path)
    path = begin(config, path, cells, source, overwrite=overwrite)

    steps = training.total_steps, training.numbers.steps_per_epoch
    show_plan(config, training.model, source, *steps)
    with waiting("making the network"):
        task = make_task(config, training, path, begins_with)
    loop.run(task, path, **loop_settings(config))
    loop.finish(path, report)
    last = artifacts.read_metrics(path / artifacts.METRICS, ())[-1]
    found: dict[str, Any] = {name: last.get(f"test_{name}") for name in Evaluation._fields}
    evaluation = Evaluation(**found)
    return TrainResult(evaluation, path)


def report(path: str | Path) -> Path:
    """Writes the report of the training in the workdir `path`; returns report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a training writes.
    """
    path = Path(path)
    counted = sizes(path)
    artifacts.write_sizes(path, counted)
    page = train_report.write_train_report(path, counted)
    metrics_log.show_pictures(path)
    return page


def sizes(path: Path) -> list[Size]:
    """Counts the network that is trained; raises InputError, GenotypeError where a file is missing or is another."""
    config = ConfigDict(artifacts.read_json(path / artifacts.CONFIG, ("genotype", "network")))
    spec = dataset_spec.read(path)
    cells = artifacts.read_genotype(path / artifacts.GENOTYPE)
    model = train_model.make_network(config, cells, spec.kind, len(spec.labels))
    parameters, multiply_adds = model_cost(model, spec.shape)
    return [(config.genotype, parameters, multiply_adds)]


def show_plan(
    config: ConfigDict, model: nn.Module, source: Source, steps: int, per_epoch: int
) -> None:
    """Shows what is trained, on what and for how long.

    Args:
      config: of a training or a segmentation.
      model: the network.
      source: what it learns from, which may have notes that say so themselves.
      steps: of the whole run.
      per_epoch: those of an epoch.
    """
    shape = source.spec.shape
    if not any(note.startswith("data: ") for note in source.notes):
        to_do = {"train": "to train", "validation": "to validate", "test": "to test"}
        counts = {what: source.examples[split] for split, what in to_do.items()}
        name = config.data.get("name", "PASCAL VOC")
        banner.show(banner.data(name, source.spec.labels, shape, counts))
    cost = model_cost(model, shape)
    banner.show(
        f"network: {config.genotype}, {cost.parameters:,} parameters, {cost.multiply_adds:,} multiply-adds",
        banner.steps(-(-steps // per_epoch), per_epoch, config.train.batch_size, config.seed),
        banner.TO_STOP,
    )


def begin(
    config: ConfigDict, path: str | Path, cells: Genotype, source: Source, *, overwrite: bool
) -> Path:
    """Makes `path` the workdir of a training of these cells, once every process has checked all else.

    Raises:
      InputError: the workdir is refused.
    """
    path = Path(path)
    if not overwrite:
        _check_cells(path, config, cells)
    files = {
        artifacts.GENOTYPE: genotype.to_json(cells),
        artifacts.DATASET: dataset_spec.to_json(
            source.spec, source.examples, source.drawn, source.inventory
        ),
    }
    return workdir.begin(path, to_values(config), overwrite=overwrite, files=files)


def make_task(
    config: ConfigDict, training: Training, path: Path, begins_with: Variables | None = None
) -> Task:
    """Makes what the loop runs: a classifier's training, evaluated on images held out, if any, and at the end.

    Args:
      config: of the training.
      training: of `build`.
      path: the workdir, which gets the test's confusions.
      begins_with: weights and batch statistics in the place of random ones.
    """
    model, source, numbers = training.model, training.source, training.numbers
    init_key, key = jax.random.split(jax.random.key(config.seed))
    optimizer = make_optimizer(numbers.weights, numbers.rate)
    state = train_step.init_state(model, optimizer, init_key, source.spec.shape)
    if begins_with is not None:
        state = state._replace(**begins_with)
    state, key = parallel.replicated((state, (key, numbers)))

    def make_phase(numbers):
        optimizer = make_optimizer(numbers.weights, numbers.rate)
        step = train_step.make_train_step(model, optimizer, training.recipe, numbers)
        return parallel.make_phase(step, source.batch_at)

    phase = parallel.on_all_devices(parallel.of_numbers(make_phase), source.axes)
    score = train_evaluate.make_score(model, source.spec.mean, source.spec.std)
    validates = source.examples["validation"] > 0

    def end_epoch(epoch, step, state):
        row = train_record.epoch_metrics(state, float(np.asarray(numbers.rate(step - 1))))
        if not validates:
            return EpochEnd(state, row)
        evaluation = train_evaluate.means(_score(config, score, state, source, "validation"))
        return EpochEnd(state, row | _metrics("validation", evaluation), evaluation.accuracy)

    def test(state):
        scores = _test(config, score, state, source)
        if distributed.is_first():
            _write_confusion(path, scores, source.spec.labels)
        return _metrics("test", train_evaluate.means(scores))

    return Task(
        state=state,
        key=key,
        phases=(Phase("", phase, numbers.steps_per_epoch),),
        total_steps=training.total_steps,
        batch_size=config.train.batch_size,
        batches=lambda epoch, phase, spans, state: source.epoch(epoch, spans),
        end_epoch=end_epoch,
        columns=train_record.make_columns(validates=validates),
        test=test,
        skipped=skipped_updates if config.run.skip_nonfinite else None,
        settings=to_values(config),
    )


def _read_beginning(config: ConfigDict, training: Training, path: Path) -> Variables:
    """Reads the network that `config.init_from` has trained, as this one begins; says what of it is taken.

    Of one with the same classes everything is taken, its head too, and with other classes the backbone.
    """
    folder, spec = Path(config.init_from).expanduser(), training.source.spec
    network = trained.load_beginning(folder, training.model.genotype, path)
    key, _ = jax.random.split(jax.random.key(config.seed))
    numbers = training.numbers
    optimizer = make_optimizer(numbers.weights, numbers.rate)
    state = train_step.init_state(training.model, optimizer, key, spec.shape)
    fresh = {"params": state.params, "batch_stats": state.batch_stats}
    with arguments_as(saved="config.init_from"):
        variables, transfer = train_transfer.restore_backbone(
            fresh, network.variables, folder, heads=network.spec.labels == spec.labels
        )
    if distributed.is_first():
        print(f"{config.init_from}: {transfer}", flush=True)
    return variables


def skipped_updates(state: TrainState) -> int:
    """Returns how many of the steps have left out their update."""
    return int(state.step) - finite.updates_made(state.opt_state)


@in_32_bits
def evaluate_only(config: ConfigDict, path: str | Path) -> Evaluation:
    """Tests the network of the newest checkpoint and prints the result; writes nothing.

    Raises:
      InputError: there is no checkpoint, or what `run` raises it for.
    """
    check_complete(config, "train")
    train_build.check(config)
    network = trained.load(path)
    labels = network.spec.labels
    source = training_images.open_source(config, labels)
    banner.show_notes(source.notes)
    dataset_spec.check_labels(labels, source.spec.labels, Path(path) / artifacts.DATASET)
    # The network's own mean and deviation, not those of data that may have changed.
    score = train_evaluate.make_score(network.module, network.spec.mean, network.spec.std)
    print(f"step {network.step}")
    return train_evaluate.means(_test(config, score, parallel.replicated(network.state), source))


def _test(config: ConfigDict, score: Callable, state: TrainState, source: Source) -> Scores:
    """Evaluates the test split, which nothing else reads, and prints the result."""
    scores = _score(config, score, state, source, "test")
    evaluation = train_evaluate.means(scores)
    over = over_classes(scores.confusion)
    balanced = f"balanced {over}: {evaluation.balanced_accuracy:.2%}"
    others = [balanced, f"loss: {evaluation.loss:.4f}"]
    if evaluation.top5_accuracy is not None:
        others.insert(0, f"among five: {evaluation.top5_accuracy:.2%}")
    say(
        f"test accuracy: {evaluation.accuracy:.2%} of {evaluation.examples:,} images "
        f"({', '.join(others)})"
    )
    return scores


def _score(
    config: ConfigDict, score: Callable, state: TrainState, source: Source, split: str
) -> Scores:
    batches = source.held_out(split, config.run.eval_batch_size * jax.device_count())
    return train_evaluate.score_all(score, state, batches, source.examples[split])


def _write_confusion(path: Path, scores: Scores, labels: tuple[str, ...]) -> None:
    """Writes what the test took for what, and each class's accuracy, beside the report."""
    accuracies = zip(labels, train_evaluate.recalls(scores.confusion), strict=True)
    values = {
        "labels": list(labels),
        "accuracy": dict(accuracies),
        "confusion": scores.confusion.tolist(),
    }
    text = json.dumps(values, ensure_ascii=False) + "\n"
    files.write_atomically(path / artifacts.CONFUSION, text)


def _metrics(split: str, evaluation: Evaluation) -> dict[str, Any]:
    """Returns an evaluation as metrics of a row: "test_accuracy", say."""
    values = evaluation._asdict().items()
    return {f"{split}_{name}": value for name, value in values if value is not None}


def _check_cells(path: Path, config: ConfigDict, cells: Genotype) -> None:
    """Refuses other cells than the workdir's: the file behind `config.genotype` may have changed since it began."""
    recorded = path / artifacts.GENOTYPE
    if recorded.exists() and genotype.load(str(recorded)) != cells:
        raise InputError(
            f"config.genotype: {config.genotype} differs from the cell that this workdir trains ({recorded}); "
            "choose another --workdir for it"
        )


def summary(config: ConfigDict) -> str:
    """Returns a table of the network that a training config trains.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    check_complete(config, "train")
    opened = training_images.open_own(config) if training_images.leaves_open(config) else None
    config = training_images.resolve(config, opened)
    train_build.check(config)
    kind, shape, classes = training_images.describe(config, opened)
    model = train_model.make_network(config, genotype.load(config.genotype), kind, classes)
    return network_table(f"{config.genotype} on {config.data.name}", model, shape)
