"""Bar, lines, table and metrics as a user finds them."""

import io
import itertools
import json
import time

import numpy as np
import pytest
from PIL import Image

from nge_jax.console import progress, waiting
from nge_jax.errors import InputError
from nge_jax.files import half_written
from nge_jax.workdir import tensorboard
from nge_jax.workdir.metrics_log import MetricsLog, show_pictures
from tests.helpers.events import load_events, read_events
from tests.helpers.terminal import Clock, Terminal


def test_without_a_terminal_a_line_every_half_minute():
    stream, clock = io.StringIO(), Clock()
    shown = progress.Progress(100_000, done=20_000, stream=stream, clock=clock)
    clock.now = 1000.0  # compiling takes this long
    shown.begin("epoch 3")
    for second in range(1, 66):  # 400 images a second, then half as many
        clock.now = 1000.0 + second
        shown.advance(400 if second <= 30 else 200, "epoch 3/25, weights")
    shown.close()
    assert stream.getvalue().splitlines() == [
        # First 68,000 images are left at 400 a second, then 62,000 at 200.
        "epoch 3/25, weights: 32.0 % done, 400 images/s, 02:50 left",
        "epoch 3/25, weights: 38.0 % done, 200 images/s, 05:10 left",
    ]


def test_a_finished_run_says_that_nothing_is_left():
    stream = io.StringIO()
    progress.Progress(100, done=100, stream=stream).close()
    assert stream.getvalue() == "nothing left to compute\n"


def test_on_a_terminal_a_bar_that_lines_do_not_break(capsys):
    stream, clock = Terminal(), Clock()
    shown = progress.Progress(1000, done=500, stream=stream)
    shown.begin("epoch 1")
    assert shown._bar is not None
    shown._bar._time, shown._bar.start_t, shown._bar.last_print_t = clock, 0.0, 0.0
    clock.now = 1.0
    shown.advance(250, "epoch 1/2, weights")
    assert stream.getvalue().split("\r")[-1].startswith("epoch 1/2, weights:  75%")
    assert " 250 images/s]" in stream.getvalue().split("\r")[-1]
    shown.print("a row")
    clock.now = 2.0
    shown.advance(250, "epoch 2/2, embedding")
    with shown.waiting("testing"):
        assert stream.getvalue().split("\r")[-1].startswith("testing: 100%")
    shown.close()
    assert capsys.readouterr().out == "a row\n"
    last = stream.getvalue().split("\r")[-1]
    assert "1.00k/1.00k" in last and last.endswith("\n")


def test_on_a_terminal_the_bar_moves_while_a_dispatch_computes(monkeypatch):
    stream, seconds = Terminal(), []

    class Ticker(waiting.Ticker):
        def __init__(self, call, every):
            seconds.append(every)
            super().__init__(call, every / 100)

    monkeypatch.setattr(progress, "Ticker", Ticker)
    shown = progress.Progress(1000, stream=stream)
    shown.begin("epoch 1")
    assert shown._bar is not None
    clock = Clock()
    shown._bar._time, shown._bar.start_t = clock, 0.0
    clock.now = 5.0
    deadline = time.monotonic() + 10
    while "[00:05<" not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    shown.close()
    assert "[00:05<" in stream.getvalue() and seconds == [1]
    assert shown._ticker is not None and not shown._ticker._thread.is_alive()


def test_table_rows_stand_below_their_titles():
    columns = (
        progress.Column("epoch", "{epoch}", 5),
        progress.Column("loss", "{loss:.3f}"),
        progress.Column("validation\nacc.", "{accuracy:.1%}"),
    )
    header = progress.table_header(columns)
    row = progress.table_row(columns, {"epoch": 3, "loss": 1.23456, "accuracy": 0.5, "other": 1})
    assert header.splitlines() == [
        "                 validation",
        "epoch      loss        acc.",
    ]
    assert row == "    3     1.235       50.0%"


def rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_ends_with_the_same_rows(tmp_path):
    written = [{"epoch": e, "step": 10 * e, "loss": 1 / e} for e in (1, 2, 3)]
    metrics = MetricsLog(tmp_path, 0)
    for row in written:
        metrics.write(row)
    metrics.close()
    assert rows(tmp_path) == written
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "st')  # a kill left half a line
    metrics = MetricsLog(tmp_path, 20)  # the last checkpoint was of step 20
    assert rows(tmp_path) == written[:2]
    metrics.write(written[2])
    metrics.close()
    assert rows(tmp_path) == written
    MetricsLog(tmp_path, 0).close()  # there was no checkpoint
    assert rows(tmp_path) == []


def test_tensorboard_gets_the_numbers_in_groups_and_json_plain_ones(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 3, "data": {"mean": [0.5], "flip": true}}')
    metrics = MetricsLog(tmp_path, 0)
    row = {"step": np.int64(7), "weight_loss": np.float32(0.5), "cell": "text", "count": 2}
    metrics.write(row | {"sep_conv_3x3_normal": 4}, {"P/normal": np.array([[0.25, 1.0]])})
    metrics.close()
    plain = {"step": 7, "weight_loss": 0.5, "cell": "text", "count": 2, "sep_conv_3x3_normal": 4}
    assert rows(tmp_path) == [plain]
    shown = read_events(tmp_path)
    (_, (width, height, png)), *_ = shown.pop("P/normal")
    (_, buckets), *_ = shown.pop("P/normal/values")
    shown.pop("_hparams_/session_start_info")
    assert shown == {"loss/train": [(7, 0.5)], "count": [(7, 2.0)], "ops_normal/sep_conv_3x3": [(7, 4.0)]}  # fmt: skip
    assert buckets[:, 2].sum() == 2
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (int(width), int(height)) == (2 * tensorboard.SIDE, tensorboard.SIDE)
        light, dark = (picture.getpixel((x, 5)) for x in (5, tensorboard.SIDE + 5))
    assert dark == (20, 96, 155) and light == (196, 214, 229)  # a quarter of the way from white


def test_tensorboard_knows_the_settings(tmp_path):
    from tensorboard.plugins.hparams import metadata

    data = {"mean": [0.5], "flip": True, "name": "folder:caf\udce9"}  # the name is not UTF-8
    (tmp_path / "config.json").write_text(json.dumps({"seed": 3, "data": data}))
    MetricsLog(tmp_path, 0).close()
    events = load_events(tmp_path)
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["seed"].number_value == 3 and settings["data.flip"].bool_value
    assert settings["data.mean"].string_value == "[0.5]"
    assert settings["data.name"].string_value == r"folder:caf\xe9"


@pytest.mark.parametrize("clock", [1.0, -3600.0], ids=["goes on", "is set back"])
def test_a_resumed_run_shows_each_step_once(tmp_path, monkeypatch, clock):
    moments = itertools.count(1.7e9, clock)
    monkeypatch.setattr(tensorboard.time, "time", lambda: next(moments))
    for step, written in ((0, (10, 20, 30)), (20, (30, 40)), (40, ())):
        before = {*tmp_path.glob("events.*")}
        metrics = MetricsLog(tmp_path, step)
        for at in written:
            metrics.write({"step": at, "train_loss": at + step})
        metrics.close()
        (newest,) = {*tmp_path.glob("events.*")} - before
        with newest.open("ab") as file:  # a kill left half a record
            file.write((100).to_bytes(8, "little") + b"half")
        # Another kill came while a start cut an earlier file.
        half_written(newest).write_bytes(newest.read_bytes())
    MetricsLog(tmp_path, 40).close()
    assert not [*tmp_path.glob("*.new")]
    assert read_events(tmp_path)["loss/train"] == [(10, 10), (20, 20), (30, 50), (40, 60)]


@pytest.mark.parametrize(
    "name, tag",
    [
        ("weight_accuracy", "accuracy/train"),
        ("train_loss", "loss/train"),
        ("embedding_loss", "loss/valid"),
        ("validation_top5_accuracy", "top5_accuracy/valid"),
        ("test_accuracy", "accuracy/test"),
        ("test_iou_dining table", "iou_test/dining table"),
        ("entropy_reduction", "entropy/reduction"),
        ("edge_entropy_normal", "edge_entropy/normal"),
        ("nor_conv_3x3_normal", "ops_normal/nor_conv_3x3"),
        ("images_per_second", "speed/images_per_second"),
        ("something_new", "something_new"),
    ],
)
def test_tags_stand_in_groups(name, tag):
    assert tensorboard.tag(name) == tag


def test_the_pictures_of_the_end_are_shown_and_replaced(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "step": 5}\n')
    for shade in (0, 255):
        png = tensorboard.encode_png(np.full([2, 3, 3], shade, np.uint8))
        (tmp_path / "cell_normal.png").write_bytes(png)
        show_pictures(tmp_path)
        ((step, (width, height, shown)),) = read_events(tmp_path)["cell/normal"]
        assert (step, width, height, shown) == (5, b"3", b"2", png)


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf")])
def test_a_value_that_is_no_number_stops_the_run(tmp_path, value):
    metrics = MetricsLog(tmp_path, 0)
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) at step 3"):
        metrics.write({"step": 3, "loss": value})
    metrics.close()
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("line", ["{}", "[1]", "step 1", '{"step": 1'])
def test_a_broken_line_is_refused_and_kept(tmp_path, line):
    text = f'{{"step": 1}}\n{line}\n{{"step": 3}}\n'
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2: expected a JSON object"):
        MetricsLog(tmp_path, 1)
    assert (tmp_path / "metrics.jsonl").read_text() == text


def test_a_note_is_shown_once_while_it_lasts_and_below_the_last_row(tmp_path, capsys):
    columns = (progress.Column("epoch", "{epoch}", 5),)
    notes = [["a"], ["a", "b"], ["b"], ["a", "b"], ["a", "b"]]
    with progress.EpochLog(tmp_path, columns, step=0, images=5, done=0) as log:
        for epoch, epoch_notes in enumerate(notes, 1):
            log.show({"epoch": epoch}, epoch_notes, last=epoch == len(notes))
    shown = capsys.readouterr().out.split()
    assert shown == ["1", "a", "2", "b", "3", "4", "a", "5", "a", "b"]
