"""The command `nge`: what it runs, what it prints, and how it refuses."""

import itertools
import json
import re
import shutil
from pathlib import Path

import pytest

import cell_sizes
from nge_jax import cli, commands, main
from nge_jax.settings.configs import flatten, load_config, shipped_configs, to_values
from nge_jax.settings.help import describe_config
from nge_jax.space.genotype import KNOWN, from_json, random_genotype, to_json


@pytest.fixture
def calls(monkeypatch):
    """Lists the calls of the engine; a stand-in runs nothing."""
    calls = []
    monkeypatch.setattr(main, "run_task", lambda *args, **kwargs: calls.append((*args, kwargs)))
    return calls


def test_help_fits_a_screen_and_names_every_command(capsys):
    cli.run(["--help"])
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 80
    for command in (*cli.TASKS, *cli.COMMANDS):
        assert re.search(rf"^  nge {command}\b", text, re.MULTILINE)
    with pytest.raises(SystemExit, match="2"):
        cli.run([])
    assert capsys.readouterr().err == text


def test_help_and_mistakes_do_not_wait_for_jax(python):
    code = "import sys; from nge_jax import cli; {}; print('loaded', *sys.modules)"
    heavy = {"jax", "tensorflow", "ml_collections", "matplotlib", "numpy"}
    loaded = python("-c", code.format("cli.run(['--help'])")).stdout.split("loaded")[1].split()
    assert not heavy & set(loaded)
    helps = (
        "exec('for c in cli.COMMANDS:\\n try: cli.run([c, \"--help\"])\\n except SystemExit: pass')"
    )
    loaded = python("-c", code.format(helps)).stdout.split("loaded")[-1].split()
    assert not {"jax", "tensorflow", "flax", "matplotlib"} & set(loaded)
    refused = "exec('try: cli.run([\"serach\"])\\nexcept SystemExit: pass')"
    loaded = python("-c", code.format(refused)).stdout.split("loaded")[1].split()
    assert not {"jax", "tensorflow"} & set(loaded)


def test_the_module_is_the_command(python):
    done = python("-m", "nge_jax", "serach", "search_cifar")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: 'serach' is no command, did you mean search?\n"
    assert python("-m", "nge_jax", "--version").stdout.startswith("nge_jax ")
    done = python(
        "-m", "nge_jax", "--config=configs/search_cifar.py:foo"
    )  # the flags of nge_jax.main
    assert done.returncode == 2 and "unknown variant 'foo'" in done.stderr


def test_a_task_gets_its_config_and_its_workdir(calls, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    cli.run(
        ["search", "search_cifar:rnn,small", "seed=3", "--data", "~/tfds", "data.flip=false"]
        + ["--overwrite", "network.cells=6"]
    )
    ((config, path, options),) = calls
    changed = {"seed": 3, "data.dir": f"{tmp_path}/tfds", "data.flip": False, "network.cells": 6}
    expected = flatten(load_config("search_cifar", "rnn,small").to_dict()) | changed
    assert flatten(config.to_dict()) == expected
    assert path == Path("runs/search_cifar-rnn-small")
    assert options["overwrite"] and not options["summary"]
    cli.run(["train", "train_digits", "--workdir", "w", "--num_processes=2", "--summary"])
    config, path, options = calls[1]
    assert config.task == "train" and path == "w" and options["summary"]
    assert options["processes"] == {"coordinator": None, "num_processes": 2, "process_id": None}


def test_eval_takes_the_config_that_the_run_recorded(calls, tmp_path):
    config = load_config("train_digits", "smoke")
    (tmp_path / "config.json").write_text(config.to_json())
    cli.run(["eval", str(tmp_path), "--data=moved"])
    ((given, path, options),) = calls
    assert flatten(given.to_dict()) == flatten(to_values(config)) | {"data.dir": "moved"}
    assert path == tmp_path and options == {"eval_only": True, "checkpoint": "newest"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("search", "required: CONFIG"),
        ("search search_cifr", "did you mean search_cifar"),
        ("search search_cifar:smal", "unknown variant 'smal', did you mean small?"),
        ("search search_cifar serch.epochs=1", r"config\.serch\.epochs: .*did you mean search\."),
        ("train train_digits limits.milliseconds=3", "train_digits.py, a key of searches alone"),
        (
            "train train_digits search.epochs=3",
            r"a key of searches alone, did you mean train\.epochs\?",
        ),
        ("segment segment_voc data.flip=0", "a key of searches and trainings alone"),
        (
            "train train_imagenet data.cutout=3",
            "of trainings with small images or user images alone",
        ),
        (
            "search search_nas_bench_201 trained.cells=3",
            "of searches in spaces such as darts alone",
        ),
        ("search search_cifar epochs", "unexpected argument 'epochs', expected KEY=VALUE"),
        ("search search_cifar search.epochs=x", "search.epochs: found 'x', expected an integer"),
        ("search train_digits", "the config of a training, run it by: nge train train_digits"),
        ("search search_cifar --wrkdir=w", "unknown option --wrkdir, did you mean --workdir?"),
        ("train train_folder --data=", "--data: found nothing, expected a folder or a file"),
        ("search search_cifar --data=", "--data: found nothing, expected a folder or a file"),
        ("eval nowhere", "nowhere: no such folder, expected the workdir of a run"),
        ("predict run", r"required: IMAGES \(see nge predict --help\)"),
        ("show DARTS_V3", "DARTS_V3.*DARTS_V2"),
        ("show DARTS_V2 -o cell.gif", "found cell.gif, expected a name in .svg, .png, .pdf"),
        ("show DARTS_V2 -o nowhere/cell.svg", "nowhere/cell.svg cannot be written"),
        ("show |nor_conv_7x7~0|", r"field \"cell\": expected a cell such as \|none~0\|"),
        ("configs search_cifr", "did you mean search_cifar"),
        ("report nowhere", "nowhere: no such folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(capsys, command, message):
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(command.split())
    printed = capsys.readouterr()
    assert printed.out == "" and re.fullmatch(f"error: .*{message}.*\n", printed.err)


@pytest.mark.parametrize(
    ("exported", "advice"),
    [
        ("network.stablehlo", ""),
        ("network.onnx", "; nge eval and nge latency take {}/network.onnx"),
        ("saved_model", ""),
    ],
)
def test_an_export_for_other_programs_is_told_from_a_run(capsys, tmp_path, exported, advice):
    folder, photos = tmp_path / "out", tmp_path / "photos"
    for file in (folder / exported, folder / "dataset.json", photos / "1.png"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    if advice:  # such an export has the config of the run
        (folder / "config.json").write_text(load_config("train_digits", "smoke").to_json())
    message = f"{folder}: found {exported}, a network for other programs, expected a run's workdir or an export with "
    message += f"--formats=npz{advice.format(folder)}"
    for command in (
        "predict {} " + str(photos),
        "latency {}",
        "report {}",
        "eval {}",
        "compare {}",
        "export {} o",
    ):
        with pytest.raises(SystemExit, match="^2$"):
            cli.run(command.format(folder).split())
        assert capsys.readouterr().err == f"error: {message}\n", command


def test_predict_and_export_are_those_modules(monkeypatch):
    from nge_jax.export import command as export
    from nge_jax.predict import command as predict

    given = []
    for module in (predict, export):
        monkeypatch.setattr(module, "run", lambda found, *_: given.append(vars(found)))
    cli.run(["predict", "runs/a", "photos", "--output=o", "more"])
    cli.run(["export", "runs/a", "there", "--checkpoint", "best"])
    predict.main(["--workdir=runs/a", "--images", "photos", "--output=o", "--images=more"])
    export.main(["--workdir=runs/a", "--output=there", "--checkpoint=best"])
    assert given[:2] == given[2:]
    assert given[0]["images"] == [Path("photos"), Path("more")]


def test_an_export_into_a_used_folder_names_the_argument_as_it_was_given(capsys, tmp_path):
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["export", "digits:pretrained", str(tmp_path), "--formats=npz"])
    assert capsys.readouterr().err.startswith(f"error: OUTPUT: {tmp_path}/dataset.json exists")


def test_show_prints_a_cell_that_is_read_again(capsys, tmp_path):
    cli.run(["show", "random:3"])
    text = capsys.readouterr().out
    assert from_json(text) == random_genotype(3)
    (tmp_path / "genotype.json").write_text(text)
    for cell in (tmp_path, tmp_path / "genotype.json"):
        cli.run(["show", str(cell)])
        assert capsys.readouterr().out == to_json(random_genotype(3))


def test_show_reads_and_draws_a_cell_of_nas_bench_201(capsys, tmp_path):
    notation = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    cli.run(["show", notation])
    text = capsys.readouterr().out
    assert json.loads(text) == {"cell": notation}
    (tmp_path / "genotype.json").write_text(text)
    for cell in (text, str(tmp_path / "genotype.json"), str(tmp_path)):
        cli.run(["show", cell])
        assert capsys.readouterr().out == text
    path = tmp_path / "cell.svg"
    cli.run(["show", notation, "-o", str(path)])
    labels = re.findall(r">(nor_conv_\dx\d|none|skip_connect)</text>", path.read_text())
    assert sorted(labels) == sorted(re.findall(r"(\w+)~", notation))


@pytest.mark.parametrize("suffix", commands.PICTURES)
def test_show_draws_a_cell(tmp_path, suffix):
    path = tmp_path / f"cell{suffix}"
    cli.run(["show", "DARTS_V2", "-o", str(path)])
    begin = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(begin)


def test_every_published_cell_has_its_sizes(capsys):
    assert list(commands.CELL_SIZES) == list(KNOWN)
    cli.run(["cells"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(KNOWN)
    assert lines[1].split()[1] == "3,349,342"


def test_a_cells_sizes_are_counted():
    assert commands.CELL_SIZES["DARTS_V2"] == cell_sizes.cell_sizes("DARTS_V2")


@pytest.mark.whole
def test_the_table_of_sizes_is_what_its_script_writes():
    source = cell_sizes.COMMANDS.read_text()
    without = cell_sizes.TABLE.sub("CELL_SIZES = {\n}", source)
    assert without != source and cell_sizes.with_table(without) == source


def test_configs_are_listed_with_what_their_files_say(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    cli.run(["configs"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    begun = [line for line in lines if not line.startswith(" ")]
    assert [line.split()[0] for line in begun] == list(shipped_configs())
    assert all(len(line.split()) > 5 for line in begun)


@pytest.mark.parametrize("name", shipped_configs())
def test_a_config_is_described_key_by_key(name):
    lines = describe_config(name).splitlines()
    for key, value in flatten(load_config(name).to_dict()).items():
        *_, line = (line for line in lines if line.startswith(f"{key}="))
        assert line.split("  ")[0] == f"{key}={value}".replace(", ", ",")


def test_a_description_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = describe_config("search_cifar")
    wide = [line for line in text.splitlines() if len(line) > 80]
    # A command or a value cannot be broken.
    assert all(line.startswith("  nge ") or "=" in line for line in wide), wide
    about = re.search(r"^#.*\n#.*\nreinforce.learning_rate", text, re.MULTILINE)
    assert about, "each line of what is said about a group begins with #"
    assert re.search(r"^search\.stop_on_skips=0 +Skip connections in", text, re.MULTILINE)


def test_a_description_has_the_sentences_of_the_rows_and_the_sources_of_values(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = " ".join(describe_config("train_cifar100:small").split())
    decay = "weights.weight_decay=0.0005 Weight decay, as a part of the gradient; with adamw"
    decay = f"{decay} as a part of the step, times the rate."
    assert f"{decay} (paper Sec. 4.2; 3e-4 on CIFAR-10)" in text  # the config states it
    assert "train.decay=cosine The curve" in text
    assert "One of cosine, linear. (paper Sec. 4.2)" in text
    cutout = "data.cutout=0 Side, in pixels, of the square that is cut out. 0: none."
    assert f"{cutout} (default 16, paper Sec. 4.2)" in text  # a word changes it
    assert ":lr0.025 weights.learning_rate=0.025" in text


@pytest.mark.parametrize("name", shipped_configs())
def test_a_description_has_the_keys_of_a_group_together(name):
    _, _, listed = describe_config(name).partition("\ntask=")
    groups = re.findall(r"^(\w+)\.\w+=", listed, re.MULTILINE)
    assert [group for group, _ in itertools.groupby(groups)] == [*dict.fromkeys(groups)]
    assert groups[0] == "data" and groups[-1] == "run"


@pytest.mark.whole
def test_a_report_is_written_again(tmp_path, capsys):
    run = tmp_path / "run"
    cli.run(["train", "train_digits:smoke", "--workdir", str(run)])
    report = (run / "report.html").read_text()
    written = [*run.glob("report.*"), *run.glob("*.svg"), *run.glob("*.png")]
    kept = {file.name: file.read_bytes() for file in written}
    for file in written:
        file.unlink()
    moved = tmp_path / "moved" / "run"
    shutil.move(run, moved)
    cli.run(["report", str(moved)])
    assert capsys.readouterr().out.endswith(f"report: {moved / 'report.html'}\n")
    assert (moved / "report.html").read_text() == report
    assert {name: (moved / name).read_bytes() for name in kept} == kept
    cli.run(["eval", str(moved)])
    rows = [json.loads(line) for line in (moved / "metrics.jsonl").read_text().splitlines()]
    assert f"{rows[-1]['test_accuracy']:.2%}" in capsys.readouterr().out
