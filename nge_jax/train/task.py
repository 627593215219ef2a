"""A training as the loop runs it (`runtime.loop.Task`), and the test at its end."""

import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nge_jax import files
from nge_jax.console.waiting import say
from nge_jax.data.source import Source
from nge_jax.devices import distributed, finite, parallel
from nge_jax.networks.transfer import Variables
from nge_jax.report.confusion import over_classes
from nge_jax.runtime import patience
from nge_jax.runtime.loop import EpochEnd, Phase, Task
from nge_jax.runtime.patience import Waiting
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import record as train_record
from nge_jax.train import step as train_step
from nge_jax.train.arguments import ProgramArguments, make_optimizer
from nge_jax.train.evaluate import Evaluation, Scores
from nge_jax.train.plan import Training
from nge_jax.train.step import TrainState
from nge_jax.train.testing import mistakes
from nge_jax.workdir import artifacts, environment


def make_task(training: Training, path: Path, start: Variables | None = None) -> Task:
    """Makes the task that the loop runs: a classifier's training, with an evaluation on held-out images and a test.

    Args:
      training: the plan.
      path: the workdir, to which the test's confusion matrix is written.
      start: weights and batch statistics to begin with; None: random weights.
    """
    model, source, arguments = training.model, training.source, training.arguments
    init_key, key = jax.random.split(jax.random.key(training.seed))
    optimizer = make_optimizer(arguments.weights, arguments.rate)
    state = train_step.init_state(model, optimizer, init_key, source.spec.shape, training.parts)
    if start is not None:
        state = train_step.begin_with(state, start)
    state, key = parallel.replicated((state, (key, arguments)))

    make_phase = parallel.with_arguments(functools.partial(_make_phase, training))
    phase = parallel.on_all_devices(make_phase, source.axes)
    score = train_evaluate.make_score(model, source.spec.mean, source.spec.std)

    return Task(
        state=state,
        key=key,
        phases=(Phase("", phase, arguments.steps_per_epoch),),
        total_steps=training.total_steps,
        batch_size=training.batch_size,
        batches=lambda epoch, phase, spans, state: source.epoch(epoch, spans),
        end_epoch=functools.partial(_end_epoch, training, score),
        columns=train_record.make_columns(validates=source.examples["validation"] > 0),
        test=functools.partial(_run_test, training, score, path),
        skipped=count_skipped if training.skip_nonfinite else None,
        ended=functools.partial(_has_waited, training.patience) if training.patience else None,
        settings=training.settings,
    )


def _run_test(training: Training, score: Callable, path: Path, state: TrainState) -> dict[str, Any]:
    """Tests a state, records what the report shows of the test, and returns the metrics."""
    source, batch_size = training.source, training.eval_batch_size
    state = train_step.averaged(state)
    scores = test(score, state, source, batch_size)
    record_time(path, score, state, source, batch_size)
    if distributed.is_first():
        _write_confusion(path, scores, source.spec.labels)
        _write_mistakes(training, state, scores, path)
    return _metrics("test", train_evaluate.means(scores))


def _make_phase(training: Training, arguments: ProgramArguments) -> Callable:
    optimizer = make_optimizer(arguments.weights, arguments.rate)
    step = train_step.make_train_step(training.model, optimizer, training.recipe, arguments)
    return parallel.make_phase(step, training.source.batch_at)


def _end_epoch(
    training: Training, score: Callable, epoch: int, step: int, state: TrainState
) -> EpochEnd:
    """Returns the epoch's metrics, and evaluates the images that are held out, if there are any."""
    source, rate = training.source, training.arguments.rate
    row = train_record.epoch_metrics(state, float(np.asarray(rate(step - 1))))
    if not source.examples["validation"]:
        return EpochEnd(state, row)
    network = train_step.averaged(state)
    scores = _score(score, network, source, "validation", training.eval_batch_size)
    evaluation = train_evaluate.means(scores)
    row |= _metrics("validation", evaluation)
    if state.waiting is None:
        return EpochEnd(state, row, evaluation.accuracy)
    waiting = patience.wait(jax.device_get(state.waiting), evaluation.accuracy)
    row["epochs_without_gain"] = int(waiting.epochs)
    notes = _describe_early_end(training, waiting, epoch) if step < training.total_steps else ()
    state = state._replace(waiting=parallel.replicated(waiting))
    return EpochEnd(state, row, evaluation.accuracy, notes)


def _has_waited(most: int, state: TrainState) -> bool:
    return state.waiting is not None and patience.is_over(state.waiting, most)


def _describe_early_end(training: Training, waiting: Waiting, epoch: int) -> Sequence[str]:
    """Says that the training ends early, after its last epoch; nothing after the other epochs."""
    if not patience.is_over(waiting, training.patience):
        return ()
    epochs = training.total_steps // int(training.arguments.steps_per_epoch)
    return (
        f"stopped after epoch {epoch} of {epochs} by train.patience={training.patience}: the best accuracy was "
        f"{float(waiting.best):.2%} of what is held out; export's --checkpoint=best takes a network that has it",
    )


def count_skipped(state: TrainState) -> int:
    """Counts the steps that have left out their update."""
    return int(state.step) - finite.updates_of_one(state.opt_state)


def test(score: Callable, state: TrainState, source: Source, batch_size: int) -> Scores:
    """Evaluates the test split, which nothing else reads, and prints the result.

    Args:
      score: see `evaluate.make_score`.
      state: a state of the training.
      source: the images.
      batch_size: how many images a device scores at once.
    """
    scores = _score(score, state, source, "test", batch_size)
    say(describe_test(scores))
    return scores


def describe_test(scores: Scores) -> str:
    """Returns the line that tells a test's result."""
    evaluation = train_evaluate.means(scores)
    balanced = f"balanced {over_classes(scores.confusion)}: {evaluation.balanced_accuracy:.2%}"
    details = [balanced, f"loss: {evaluation.loss:.4f}"]
    if evaluation.top5_accuracy is not None:
        details.insert(0, f"among five: {evaluation.top5_accuracy:.2%}")
    return (
        f"test accuracy: {evaluation.accuracy:.2%} of {evaluation.examples:,} images "
        f"({', '.join(details)})"
    )


def _score(
    score: Callable, state: TrainState, source: Source, split: str, batch_size: int
) -> Scores:
    batches = source.held_out(split, batch_size * jax.device_count())
    return train_evaluate.score_all(score, state, batches, source.examples[split])


def record_time(
    path: Path, score: Callable, state: TrainState, source: Source, batch_size: int
) -> None:
    """Records how long the compiled test takes for a batch, as milliseconds an image, in environment.json."""
    batch_size *= jax.device_count()
    batch = train_evaluate.on_devices(next(iter(source.held_out("test", batch_size))))
    began = time.perf_counter()
    jax.block_until_ready(score(state.params, state.batch_stats, *batch))
    seconds = time.perf_counter() - began
    took = {"test_batch": batch_size, "test_milliseconds": 1e3 * seconds / batch_size}
    environment.record(path, **took)


def _write_mistakes(training: Training, state: TrainState, scores: Scores, path: Path) -> None:
    """Writes the most confident mistakes, if there are any."""
    if scores.confusion.trace() == scores.confusion.sum():
        return
    source = training.source
    batches = source.held_out("test", mistakes.BATCH * jax.process_count())
    found = mistakes.find(training.model, source.spec, state, batches)
    if found:
        mistakes.write(path, found)


def _write_confusion(path: Path, scores: Scores, labels: tuple[str, ...]) -> None:
    """Writes the test's confusion matrix and each class's accuracy."""
    accuracies = zip(labels, train_evaluate.recalls(scores.confusion), strict=True)
    values = {
        "labels": list(labels),
        "accuracy": dict(accuracies),
        "confusion": scores.confusion.tolist(),
    }
    text = json.dumps(values, ensure_ascii=False) + "\n"
    files.write_atomically(path / artifacts.CONFUSION, text)


def _metrics(split: str, evaluation: Evaluation) -> dict[str, Any]:
    """Returns an evaluation as metrics of a row, such as "test_accuracy"."""
    values = evaluation._asdict().items()
    return {f"{split}_{name}": value for name, value in values if value is not None}
