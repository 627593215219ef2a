"""Bar, lines, table and metrics as a user finds them."""

import io
import json

import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.runtime import artifacts, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_without_a_terminal_a_line_every_half_minute():
    stream, clock = io.StringIO(), Clock()
    shown = progress.Progress(100_000, done=20_000, stream=stream, clock=clock)
    clock.now = 1000.0  # compiling
    shown.advance(400, "epoch 3/25, weights")
    for second in range(1, 66):  # 400 images a second, then half as many
        clock.now = 1000.0 + second
        shown.advance(400 if second <= 30 else 200, "epoch 3/25, weights")
    shown.close()
    assert stream.getvalue().splitlines() == [
        "compiling",
        # 67,600 are left at 400 a second, then 61,600 at 200.
        "epoch 3/25, weights: 32.4 % done, 400 images/s, 02:49 left",
        "epoch 3/25, weights: 38.4 % done, 200 images/s, 05:08 left",
    ]


def test_a_finished_run_does_not_claim_to_compile():
    stream = io.StringIO()
    progress.Progress(100, done=100, stream=stream).close()
    assert stream.getvalue() == "nothing left to compute\n"


def test_on_a_terminal_a_bar_that_lines_do_not_break(capsys):
    clock = Clock()
    stream = Terminal()
    shown = progress.Progress(1000, done=400, stream=stream)
    shown._bar._time = clock
    shown._bar.start_t = shown._bar.last_print_t = 0
    clock.now = 100.0  # compiling
    shown.advance(100, "epoch 1/2, weights")
    clock.now = 101.0
    shown.advance(250, "epoch 1/2, weights")
    assert stream.getvalue().split("\r")[-1].startswith("epoch 1/2, weights:  75%")
    assert " 250 images/s]" in stream.getvalue().split("\r")[-1]
    shown.print("a row")
    clock.now = 102.0
    shown.advance(250, "epoch 2/2, embedding")
    shown.close()
    assert capsys.readouterr().out == "a row\n"
    last = stream.getvalue().split("\r")[-1]
    assert last.startswith("epoch 2/2, embedding: 100%") and "1.00k/1.00k" in last
    assert "compiling" in stream.getvalue() and last.endswith("\n")


def test_table_rows_stand_below_their_titles():
    columns = (
        ("epoch", "{epoch}"),
        ("loss", "{loss:.3f}"),
        ("validation acc.", "{accuracy:.1%}"),
    )
    header = progress.table_header(columns)
    row = progress.table_row(columns, {"epoch": 3, "loss": 1.23456, "accuracy": 0.5, "other": 1})
    assert header == "   epoch      loss  validation acc."
    assert row == "       3     1.235            50.0%"


def rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_ends_with_the_same_rows(tmp_path):
    written = [{"epoch": e, "step": 10 * e, "loss": 1 / e} for e in (1, 2, 3)]
    metrics = artifacts.MetricsLog(tmp_path, 0)
    for row in written:
        metrics.write(row)
    metrics.close()
    assert rows(tmp_path) == written
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "st')  # killed here
    metrics = artifacts.MetricsLog(tmp_path, 20)  # the checkpoint of step 20 was the last
    assert rows(tmp_path) == written[:2]
    metrics.write(written[2])
    metrics.close()
    assert rows(tmp_path) == written
    artifacts.MetricsLog(tmp_path, 0).close()  # no checkpoint at all
    assert rows(tmp_path) == []


def test_tensorboard_gets_the_numbers_and_json_plain_ones(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    metrics = artifacts.MetricsLog(tmp_path, 0)
    metrics.write({"step": np.int64(7), "loss": np.float32(0.5), "cell": "text", "count": 2})
    metrics.close()
    assert rows(tmp_path) == [{"step": 7, "loss": 0.5, "cell": "text", "count": 2}]
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    assert sorted(events.Tags()["tensors"]) == ["count", "loss"]
    (event,) = events.Tensors("loss")
    assert event.step == 7
    assert make_ndarray(event.tensor_proto) == 0.5


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf")])
def test_a_value_that_is_no_number_stops_the_run(tmp_path, value):
    metrics = artifacts.MetricsLog(tmp_path, 0)
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) at step 3"):
        metrics.write({"step": 3, "loss": value})
    metrics.close()
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("line", ["{}", "[1]", "step 1", '{"step": 1'])
def test_a_broken_line_is_refused_and_kept(tmp_path, line):
    text = f'{{"step": 1}}\n{line}\n{{"step": 3}}\n'
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2: expected a JSON object"):
        artifacts.MetricsLog(tmp_path, 1)
    assert (tmp_path / "metrics.jsonl").read_text() == text
