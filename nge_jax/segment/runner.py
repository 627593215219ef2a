"""The segmentation runner: the network of a derived cell as DeepLabv3's backbone, on PASCAL VOC 2012.

The workdir begins as that of `train`; what is trained, and how it is tested at the end, differs.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from nge_jax.console import banner
from nge_jax.console.progress import waiting
from nge_jax.console.waiting import say
from nge_jax.cost import model_cost, network_table
from nge_jax.data import spec as dataset_spec
from nge_jax.data.checks import check_complete
from nge_jax.devices import distributed, host_tf, parallel
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import arguments_as
from nge_jax.report.figure import save
from nge_jax.runtime import loop
from nge_jax.runtime.loop import EpochEnd, Phase, Task
from nge_jax.segment import build as segment_build
from nge_jax.segment import evaluate as segment_evaluate
from nge_jax.segment import pictures as segment_pictures
from nge_jax.segment import report as segment_report
from nge_jax.segment import step as segment_step
from nge_jax.segment.build import Segmentation
from nge_jax.segment.evaluate import SegmentationEvaluation
from nge_jax.segment.pictures import SegmentedImage
from nge_jax.settings.configs import loop_settings, to_values
from nge_jax.space import genotype
from nge_jax.train import model as train_model
from nge_jax.train import record as train_record
from nge_jax.train import runner as train_runner
from nge_jax.train import step as train_step
from nge_jax.train import trained
from nge_jax.train import transfer as train_transfer
from nge_jax.train.arguments import Numbers, make_optimizer
from nge_jax.train.step import TrainState
from nge_jax.train.transfer import Variables
from nge_jax.workdir import artifacts, metrics_log
from nge_jax.workdir import folder as workdir
from nge_jax.workdir.artifacts import Size
from nge_jax.workdir.lock import holds_workdir


class SegmentationResult(NamedTuple):
    """What a segmentation's training ends with, on the test split after the last step.

    mean_iou: over the classes that the split has.
    iou: of each of these classes, by its name.
    pixel_accuracy: part of the labeled pixels that are right.
    examples: images tested.
    workdir: holds all else.
    """

    mean_iou: float
    iou: dict[str, float]
    pixel_accuracy: float
    examples: int
    workdir: Path


@in_32_bits
@holds_workdir
def run(config: ConfigDict, path: str | Path, *, overwrite: bool = False) -> SegmentationResult:
    """Trains in the workdir `path`, or goes on where it stopped, tests and reports.

    `config.init_from` is read when the training begins, and not when it goes on.

    Raises:
      InputError, GenotypeError: the config, the data or a workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    check_complete(config, "segment")
    path = Path(path)
    cells = genotype.load(config.genotype)
    segment_build.check(config)
    segment_build.check_devices(config)
    banner.show(banner.device())
    with waiting("reading the data"):
        source = segment_build.open_source(config)
    banner.show_notes(source.notes)
    if not overwrite:
        source = source._replace(
            spec=dataset_spec.agreed(
                path, source.spec, source.examples, source.drawn, source.inventory
            )
        )
    segmentation = segment_build.build(config, cells, source)
    begins = overwrite or not workdir.has_checkpoints(path)
    backbone = _read_backbone(config, segmentation, path) if config.init_from and begins else None
    path = train_runner.begin(config, path, cells, source, overwrite=overwrite)

    steps = config.train.steps, segmentation.numbers.steps_per_epoch
    train_runner.show_plan(config, segmentation.model, source, *steps)
    with waiting("making the network"):
        task = make_task(config, segmentation, path, backbone)
    loop.run(task, path, **loop_settings(config))
    loop.finish(path, report)
    last = artifacts.read_metrics(path / artifacts.METRICS, ())[-1]
    labels = [label for label in source.spec.labels if _iou_name(label) in last]
    return SegmentationResult(
        mean_iou=last["test_mean_iou"],
        iou={label: last[_iou_name(label)] for label in labels},
        pixel_accuracy=last["test_pixel_accuracy"],
        examples=last["test_examples"],
        workdir=path,
    )


def report(path: str | Path) -> Path:
    """Writes the report of the segmentation in the workdir `path`; returns report.html.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a segmentation writes.
    """
    path = Path(path)
    counted = sizes(path)
    artifacts.write_sizes(path, counted)
    page = segment_report.write_segment_report(path, counted)
    metrics_log.show_pictures(path)
    return page


def sizes(path: Path) -> list[Size]:
    """Counts the network that is trained; raises InputError, GenotypeError where a file is missing or is another."""
    config = ConfigDict(artifacts.read_json(path / artifacts.CONFIG, ("genotype", "network")))
    cells = artifacts.read_genotype(path / artifacts.GENOTYPE)
    spec = dataset_spec.read(path)
    model = train_model.make_segmentation_network(config, cells, len(spec.labels))
    parameters, multiply_adds = model_cost(model, spec.shape)
    return [(config.genotype, parameters, multiply_adds)]


def make_task(
    config: ConfigDict, segmentation: Segmentation, path: Path, backbone: Variables | None
) -> Task:
    """Makes what the loop runs: a training that begins with `backbone`, if any, tested at the end.

    The pictures of the test go into the workdir `path`.
    """
    model, source, numbers = segmentation.model, segmentation.source, segmentation.numbers
    init_key, key = jax.random.split(jax.random.key(config.seed))
    state = train_step.init_state(
        model, _make_optimizer(segmentation, numbers), init_key, source.spec.shape
    )
    if backbone is not None:
        variables, transfer = train_transfer.restore_backbone(
            _variables(state), backbone, config.init_from
        )
        state = state._replace(**variables)
        say(f"{config.init_from}: {transfer}")
    state, key = parallel.replicated((state, (key, numbers)))

    def make_phase(numbers):
        step = segment_step.make_segment_step(
            model,
            _make_optimizer(segmentation, numbers),
            source.spec,
            accumulate=config.train.accumulate,
            steps_per_epoch=numbers.steps_per_epoch,
            skip_nonfinite=config.run.skip_nonfinite > 0,
        )
        return parallel.make_phase(step, source.batch_at)

    phase = parallel.on_all_devices(parallel.of_numbers(make_phase), source.axes)

    def end_epoch(epoch, step, state):
        rate = float(np.asarray(_make_rate(segmentation, numbers)(step - 1)))
        return EpochEnd(state, train_record.epoch_metrics(state, rate))

    def test(state):
        evaluation = _test(config, segmentation, state)
        if distributed.is_first() and evaluation.shown:
            figure = segment_pictures.examples_figure(evaluation.shown, source.spec.labels)
            save(figure, path / artifacts.EXAMPLES)
            _write_events(path, int(state.step), evaluation.shown)
        return _metrics(evaluation, source.spec.labels)

    return Task(
        state=state,
        key=key,
        phases=(Phase("", phase, numbers.steps_per_epoch),),
        total_steps=config.train.steps,
        batch_size=config.train.batch_size,
        batches=lambda epoch, phase, spans, state: source.epoch(epoch, spans),
        end_epoch=end_epoch,
        columns=train_record.make_columns(validates=False),
        test=test,
        skipped=train_runner.skipped_updates if config.run.skip_nonfinite else None,
        settings=to_values(config),
    )


def _make_rate(segmentation: Segmentation, numbers: Numbers) -> optax.Schedule:
    """Makes the rate of numbers on the host or in a program."""
    return functools.partial(numbers.rate, power=segmentation.power)


def _make_optimizer(segmentation: Segmentation, numbers: Numbers) -> optax.GradientTransformation:
    """Makes that of the network's weights, of numbers on the host or in a program."""
    return make_optimizer(numbers.weights, _make_rate(segmentation, numbers))


@in_32_bits
def evaluate_only(config: ConfigDict, path: str | Path) -> SegmentationEvaluation:
    """Tests the network of the newest checkpoint and prints the result; writes nothing.

    Raises:
      InputError: there is no checkpoint, or what `run` raises it for.
    """
    check_complete(config, "segment")
    segment_build.check(config)
    network = trained.load(path)
    source = segment_build.open_source(config, network.spec.labels)
    banner.show_notes(source.notes)
    segmentation = segment_build.build(config, network.module.genotype, source)
    print(f"step {network.step}")
    return _test(config, segmentation, parallel.replicated(network.state))


def _test(
    config: ConfigDict, segmentation: Segmentation, state: TrainState
) -> SegmentationEvaluation:
    """Evaluates the test split, which nothing else reads, and prints the result."""
    source = segmentation.source
    evaluation = segment_evaluate.evaluate(
        segment_evaluate.make_score(segmentation.model, source.spec),
        state,
        source.held_out("test", config.run.eval_batch_size * jax.device_count()),
        source.examples["test"],
        config.run.pictures,
    )
    present = sum(iou is not None for iou in evaluation.iou.per_class)
    say(
        f"mean IoU: {evaluation.iou.mean:.2%} of {evaluation.examples:,} images, over {present} of "
        f"{len(source.spec.labels)} classes (pixel accuracy: {evaluation.iou.accuracy:.2%})"
    )
    return evaluation


def _write_events(path: Path, step: int, shown: list[SegmentedImage]) -> None:
    """Writes the pictures for TensorBoard in a file of their own, by TensorFlow, which has read them."""
    host_tf.tensorflow()
    from clu import metric_writers

    writer = metric_writers.SummaryWriter(str(path))
    pictures = {
        f"{artifacts.EXAMPLES}/{e.name}": segment_pictures.side_by_side(e)[None] for e in shown
    }
    writer.write_images(step, pictures)
    writer.close()


def _metrics(evaluation: SegmentationEvaluation, labels: tuple[str, ...]) -> dict[str, Any]:
    """Returns the test's metrics of a row; a class that no image has is left out."""
    per_class = zip(labels, evaluation.iou.per_class, strict=True)
    return {
        "test_mean_iou": evaluation.iou.mean,
        "test_pixel_accuracy": evaluation.iou.accuracy,
        "test_examples": evaluation.examples,
    } | {_iou_name(label): iou for label, iou in per_class if iou is not None}


def _iou_name(label: str) -> str:
    return f"test_iou_{label}"


def _read_backbone(config: ConfigDict, segmentation: Segmentation, path: Path) -> Variables:
    """Reads what the run `config.init_from` has trained, if this network can begin with it."""
    source = Path(config.init_from)
    network = trained.load_beginning(source, segmentation.model.genotype, path)
    optimizer = _make_optimizer(segmentation, segmentation.numbers)
    shapes = train_step.state_shapes(segmentation.model, optimizer, segmentation.source.spec.shape)
    saved = _variables(network.state)
    with arguments_as(saved="config.init_from"):
        train_transfer.restore_backbone(_variables(shapes), saved, source)
    return saved


def _variables(state: TrainState) -> Variables:
    return {"params": state.params, "batch_stats": state.batch_stats}


def summary(config: ConfigDict) -> str:
    """Returns a table of the network that a segmentation config trains, on an image of its test's size.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    check_complete(config, "segment")
    segment_build.check(config)
    cells, classes = genotype.load(config.genotype), segment_build.count_classes(config)
    model = train_model.make_segmentation_network(config, cells, classes)
    shape = (config.data.test_size, config.data.test_size, 3)
    return network_table(f"{config.genotype} as DeepLabv3's backbone", model, shape)
