"""`nge latency`: networks of runs, cells and files, and tables of parts."""

import json
import re

import numpy as np
import pytest

from nge_jax import cli
from nge_jax.cost import model_cost
from nge_jax.latency import table
from nge_jax.measure import command, options, parts, runtimes
from nge_jax.networks.network import cifar_network
from nge_jax.settings import configs
from nge_jax.space import genotype
from nge_jax.workdir import artifacts

TIME = r"time an image: [\d.,]+ ms \(p10 [\d.,]+, p90 [\d.,]+\), \d+ calls"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(command, "PART_SECONDS", 0.001)
    monkeypatch.setenv("NPROC", "1")  # the command sets it for its process


def test_drawn_weights_give_finite_logits():
    """NaN would be computed in another time on some devices; a run of equal cells has stacked variances."""
    network = cifar_network(genotype.load("DARTS_V2"), cells=8, channels=4)
    x = np.ones((1, 8, 8, 3), np.float32)
    variables = runtimes.draw_variables(network, x, train=False)
    logits, _ = network.apply(variables, x, train=False)
    assert np.isfinite(logits).all() and np.abs(logits).max() > 0


@pytest.mark.parametrize("runtime", options.RUNTIMES)
def test_a_trained_network_is_timed(runtime, capsys):
    cli.run(["latency", "digits:pretrained", f"--runtime={runtime}"])
    first, device, took = capsys.readouterr().out.splitlines()
    assert first == ("network: digits:pretrained, 7,802 parameters, 241,920 multiply-adds")
    assert f", 1 thread, {runtime} " in device
    assert re.fullmatch(TIME, took)


def test_a_table_is_made_and_summed(tmp_path, capsys, monkeypatch):
    made = []
    apart = parts.measure_part

    def measure_part(part, runtime, seconds):
        made.append(part)
        # Compiling every part takes a minute, and three show that they can be computed.
        return apart(part, runtime, seconds) if len(made) < 4 else made_up

    made_up = command.timing.Timing(0.5, 0.4, 0.6, 30)
    monkeypatch.setattr(parts, "measure_part", measure_part)
    config, file = ["--config=train_digits:smoke"], tmp_path / "table.csv"
    cli.run(["latency", *config, f"--table={file}", "--runtime=onnxruntime"])
    lines = capsys.readouterr().out.splitlines()
    times = table.read(file)
    assert f"table: {file}, {len(times)} parts" in lines and len(set(made)) == len(times)
    summed = r"summed: [\d.,]+ ms, [+-][\d.]+% of the time measured"
    assert re.fullmatch(summed, lines[-1])
    # The same table serves another cell of the same network, and is not measured again.
    made.clear()
    cli.run(["latency", "random:0", *config, f"--table={file}", "--runtime=onnxruntime"])
    assert not made and re.fullmatch(summed, capsys.readouterr().out.splitlines()[-1])
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["latency", *config, f"--table={file}"])
    assert "--table: " in capsys.readouterr().err


def test_the_time_of_a_searchs_cell_is_recorded_for_its_report(tmp_path, capsys):
    """A search of whom no more is left than what names its cell."""
    config = configs.to_values(configs.load_config("search_digits", "gradient,smoke"))
    config["search"]["train_config"] = "configs/train_digits.py"
    artifacts.write_json(tmp_path / artifacts.CONFIG, config)
    cell = genotype.load("random:0")
    (tmp_path / artifacts.GENOTYPE).write_text(cell.to_json())
    for _ in range(2):
        cli.run(["latency", str(tmp_path)])
    assert f"nge report {tmp_path} shows it" in capsys.readouterr().out
    (row,) = artifacts.read_json(tmp_path / artifacts.LATENCY)["measured"]
    network = cifar_network(cell, cells=3, channels=16)
    counted = row["parameters"], row["multiply_adds"]
    assert counted == model_cost(network, (8, 8, 1)) and row["low"] <= row["median"] <= row["high"]
    assert row["network"] == "3 cells, 16 channels, images of 8x8x1" and "1 thread" in row["device"]


@pytest.mark.parametrize(
    "given, message",
    [
        ("latency", "expected a RUN, a CELL or --table"),
        ("latency DARTS_V3", "DARTS_V2"),
        ("latency DARTS_V2 --threads=0", "--threads: found 0, expected 1 to"),
        ("latency DARTS_V2 --device=gpu", "--device: found no gpu on this machine"),
        ("latency DARTS_V2 --config=search_digits", "config.task: found 'search'"),
        ("latency digits:pretrained --config=train_digits", "--config: found train_digits"),
        ("latency DARTS_V2 --table=nowhere.csv", "nowhere.csv: cannot be read"),
        ("latency nowhere.onnx", "nowhere.onnx: cannot be read"),
        ("latency net.onnx --runtime=jax", "--runtime: found jax, expected onnxruntime"),
    ],
)
def test_mistakes_are_refused_in_a_line(capsys, given, message):
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(given.split())
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_commands_for_one_run_name_those_of_a_study(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"task": "search", "study": {}}))
    folders = [tmp_path / name for name in ("network", "search-2", "search-10")]
    for folder in folders:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "genotype.json").write_text(genotype.load("DARTS_V2").to_json())
    network, *searches = map(str, folders)
    for name, told in (
        ("latency", f"found the workdir of a study, expected of a training; {network} has a network"),
        ("show", f"found a study, expected the network or a search in it: {', '.join(map(str, folders))}"),
        ("compare", f"found the workdir of a study, expected of a search or a training: {', '.join(searches)}"),
    ):  # fmt: skip
        with pytest.raises(SystemExit, match="^2$"):
            cli.run([name, str(tmp_path)])
        error = capsys.readouterr().err
        assert error.endswith(f"{told}\n") and error.count("\n") == 1
