"""A segmentation's training as the loop runs it (`runtime.loop.Task`), and the test at its end."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nge_jax.console.waiting import say
from nge_jax.devices import distributed, parallel
from nge_jax.files import write_atomically
from nge_jax.networks import transfer as network_transfer
from nge_jax.networks.transfer import Variables
from nge_jax.report.figure import save
from nge_jax.runtime.loop import EpochEnd, Phase, Task
from nge_jax.segment import evaluate as segment_evaluate
from nge_jax.segment import pictures as segment_pictures
from nge_jax.segment import step as segment_step
from nge_jax.segment.evaluate import SegmentationEvaluation
from nge_jax.segment.pictures import SegmentedImage
from nge_jax.segment.plan import Segmentation, make_rate, make_weight_optimizer
from nge_jax.train import record as train_record
from nge_jax.train import step as train_step
from nge_jax.train.arguments import ProgramArguments
from nge_jax.train.step import TrainState
from nge_jax.train.task import count_skipped
from nge_jax.workdir import artifacts, tensorboard


def make_task(segmentation: Segmentation, path: Path, backbone: Variables | None) -> Task:
    """Makes the task that the loop runs: a training that begins with `backbone`, if any, with a test at the end.

    The test writes pictures to the workdir `path`.
    """
    source, arguments = segmentation.source, segmentation.arguments
    init_key, key = jax.random.split(jax.random.key(segmentation.seed))
    optimizer = make_weight_optimizer(segmentation, arguments)
    state = train_step.init_state(
        segmentation.model, optimizer, init_key, source.spec.shape, segmentation.parts
    )
    if backbone is not None:
        variables, transfer = network_transfer.restore_backbone(
            train_step.variables_of(state), backbone, segmentation.init_from
        )
        state = train_step.begin_with(state, variables)
        say(f"{segmentation.init_from}: {transfer}")
    state, key = parallel.replicated((state, (key, arguments)))
    make_phase = parallel.with_arguments(functools.partial(_make_phase, segmentation))
    phase = parallel.on_all_devices(make_phase, source.axes)

    def end_epoch(epoch, step, state):
        rate = float(np.asarray(make_rate(segmentation, arguments)(step - 1)))
        return EpochEnd(state, train_record.epoch_metrics(state, rate))

    return Task(
        state=state,
        key=key,
        phases=(Phase("", phase, arguments.steps_per_epoch),),
        total_steps=segmentation.total_steps,
        batch_size=segmentation.batch_size,
        batches=lambda epoch, phase, spans, state: source.epoch(epoch, spans),
        end_epoch=end_epoch,
        columns=train_record.make_columns(validates=False),
        test=functools.partial(_run_test, segmentation, path),
        skipped=count_skipped if segmentation.skip_nonfinite else None,
        settings=segmentation.settings,
    )


def _make_phase(segmentation: Segmentation, arguments: ProgramArguments) -> Callable:
    step = segment_step.make_segment_step(
        segmentation.model,
        make_weight_optimizer(segmentation, arguments),
        segmentation.source.spec,
        accumulate=segmentation.accumulate,
        steps_per_epoch=arguments.steps_per_epoch,
        skip_nonfinite=segmentation.skip_nonfinite > 0,
        averaging=arguments.averaging,
    )
    return parallel.make_phase(step, segmentation.source.batch_at)


def _run_test(segmentation: Segmentation, path: Path, state: TrainState) -> dict[str, Any]:
    """Returns the test's metrics, and writes its pictures to the workdir `path`."""
    labels, evaluation = segmentation.source.spec.labels, test(segmentation, state)
    if distributed.is_first() and evaluation.shown:
        figure = segment_pictures.examples_figure(evaluation.shown, labels)
        save(figure, path / artifacts.EXAMPLES)
        _show_examples(path, int(state.step), evaluation.shown)
    return _metrics(evaluation, labels)


def test(segmentation: Segmentation, state: TrainState) -> SegmentationEvaluation:
    """Evaluates the test split, which nothing else reads, and prints the result."""
    source = segmentation.source
    evaluation = segment_evaluate.evaluate(
        segment_evaluate.make_score(segmentation.model, source.spec),
        train_step.averaged(state),
        source.held_out("test", segmentation.eval_batch_size * jax.device_count()),
        source.examples["test"],
        segmentation.pictures,
    )
    present = sum(iou is not None for iou in evaluation.iou.per_class)
    say(
        f"mean IoU: {evaluation.iou.mean:.2%} of {evaluation.examples:,} images, over {present} of "
        f"{len(source.spec.labels)} classes (pixel accuracy: {evaluation.iou.accuracy:.2%})"
    )
    return evaluation


def iou_name(label: str) -> str:
    """Returns the name of a class's metric."""
    return f"test_iou_{label}"


def _show_examples(path: Path, step: int, shown: list[SegmentedImage]) -> None:
    """Writes the pictures for TensorBoard, in a file of their own."""
    pngs = {
        f"{artifacts.EXAMPLES}/{e.name}": tensorboard.encode_png(segment_pictures.side_by_side(e))
        for e in shown
    }
    write_atomically(path / artifacts.EVENT_EXAMPLES, tensorboard.pictures(step, pngs))


def _metrics(evaluation: SegmentationEvaluation, labels: tuple[str, ...]) -> dict[str, Any]:
    """Returns the test's metrics of a row; a class that no image has is left out."""
    per_class = zip(labels, evaluation.iou.per_class, strict=True)
    return {
        "test_mean_iou": evaluation.iou.mean,
        "test_pixel_accuracy": evaluation.iou.accuracy,
        "test_examples": evaluation.examples,
    } | {iou_name(label): iou for label, iou in per_class if iou is not None}
