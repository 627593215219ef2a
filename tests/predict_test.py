"""`nge predict`: what becomes of its output, of damaged images and of names, where several images are given."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nge_jax import cli, files
from nge_jax.data.photographs import files as image_files
from nge_jax.errors import ArgumentError, InputError
from nge_jax.predict import command as predict
from nge_jax.train import trained

NETWORK = "digits:pretrained"


def draw(path, level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(path)


@pytest.fixture
def damaged(tmp_path):
    """A folder of five images, of which the third is cut off."""
    folder = tmp_path / "images"
    for index in range(5):
        draw(folder / f"{index}.png", 50 * index)
    third = folder / "2.png"
    third.write_bytes(third.read_bytes()[:40])
    return folder


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_damaged_image_leaves_no_output_and_the_next_start_is_answered(damaged, tmp_path, capsys):
    output = tmp_path / "lines.jsonl"
    for _ in range(2):
        with pytest.raises(SystemExit, match="^2$"):
            cli.run(["predict", NETWORK, str(damaged), "--output", str(output)])
        expected = r"error: IMAGES: .*2\.png cannot be read .*; --skip_damaged goes on .*\n"
        assert re.fullmatch(expected, capsys.readouterr().err)
        assert os.listdir(tmp_path) == ["images"]
    draw(damaged / "2.png")
    cli.run(["predict", NETWORK, str(damaged), "--output", str(output)])
    assert [line["file"] for line in lines_of(output)] == [f"{i}.png" for i in range(5)]
    before = output.read_bytes()
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["predict", NETWORK, str(damaged), "--output", str(output)])
    assert "lines.jsonl exists and is not overwritten" in capsys.readouterr().err
    assert output.read_bytes() == before


def test_images_that_show_one_color_are_flagged(tmp_path, capsys):
    ink = np.full((16, 16, 4), 255, np.uint8)
    ink[..., 3] = np.arange(16) * 17  # white on transparent, which is read on white
    for name, red in (("white", 255), ("pink", 200)):
        ink[..., 0] = red
        Image.fromarray(ink).save(tmp_path / f"{name}.png")
    cli.run(["predict", NETWORK, str(tmp_path)])
    printed = capsys.readouterr()
    pink, white = map(json.loads, printed.out.splitlines())
    assert white["one_color"] is True and "one_color" not in pink
    assert printed.err == "warning: 1 of 2 images is one color once read, such as white.png\n"


def test_the_other_images_of_a_batch_are_answered(damaged, capsys):
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["predict", NETWORK, str(damaged), "--batch_size=4"])
    printed = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["file"] for line in printed] == ["0.png", "1.png", "3.png"]


def test_skipping_damaged_images_writes_their_errors(damaged, tmp_path, capsys):
    arguments = ["predict", NETWORK, str(damaged), "--skip_damaged", "--batch_size=2", "--output"]
    cli.run([*arguments, str(tmp_path / "lines.jsonl")])
    assert capsys.readouterr().err.endswith(
        "warning: 1 of 5 images cannot be read and were skipped\n"
    )
    lines = lines_of(tmp_path / "lines.jsonl")
    assert list(lines[2]) == ["file", "error"] and lines[2]["file"] == "2.png"
    assert "2.png cannot be read as an image" in lines[2]["error"]
    cli.run([*arguments, str(tmp_path / "rows.csv")])
    rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert [row["error"] for row in rows] == ["", "", lines[2]["error"], "", ""]
    assert rows[2]["label"] == rows[2]["probability"] == ""
    # The others are answered as without the damaged one beside them.
    (damaged / "2.png").unlink()
    cli.run([*arguments, str(tmp_path / "others.jsonl")])
    assert lines_of(tmp_path / "others.jsonl") == [line for line in lines if "error" not in line]


def test_in_python_a_damaged_image_is_told_by_its_index(damaged):
    paths, told = sorted(damaged.iterdir()), {}
    network = trained.load(NETWORK)
    batches = network.predict_in_batches(paths, batch_size=2, on_damaged=told.__setitem__)
    probabilities = np.concatenate([batch.probabilities for batch in batches])
    assert [*told] == [2] and "2.png" in told[2].reason
    assert np.isnan(probabilities).all(-1).tolist() == [False, False, True, False, False]


def test_several_images_and_folders_are_named_from_what_they_have_in_common(tmp_path, capsys):
    names = ["a/1.png", "a/deep/2.png", "b/1.png", "b/2.png"]
    for name in names:
        draw(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    folder, file = tmp_path / "a", tmp_path / "b" / "1.png"
    for places, expected in (
        ([folder], ["1.png", "deep/2.png"]),
        ([file], ["1.png"]),
        ([folder, file], ["a/1.png", "a/deep/2.png", "b/1.png"]),
        ([file, folder, file, tmp_path / "b"], ["b/1.png", "a/1.png", "a/deep/2.png", "b/2.png"]),
    ):
        found, left_out = image_files.find(places)
        assert [*found] == expected and left_out == ("1 .txt" if folder in places else "")
        assert all(path.name == Path(name).name for name, path in found.items())
    cli.run(["predict", NETWORK, str(folder), "--format=csv", str(file)])
    assert capsys.readouterr().out.splitlines()[3].startswith("b/1.png,")
    with pytest.raises(ArgumentError, match="places: found no file or folder .*nowhere"):
        image_files.find([folder, tmp_path / "nowhere"])


def test_names_that_are_no_text_are_escaped_in_every_form(tmp_path):
    draw(Path(os.fsdecode(os.fsencode(tmp_path) + b"/images/caf\xe9.png")))
    draw(tmp_path / "images" / "käse.png")
    for name in ("rows.csv", "lines.jsonl"):
        cli.run(["predict", NETWORK, str(tmp_path / "images"), "--output", str(tmp_path / name)])
    rows = list(csv.reader((tmp_path / "rows.csv").open(encoding="utf-8")))
    assert {row[0] for row in rows[1:]} == {"caf\\xe9.png", "käse.png"}
    lines = [*map(json.loads, (tmp_path / "lines.jsonl").read_text("utf-8").splitlines())]
    assert {os.fsencode(line["file"]) for line in lines} == {b"caf\xe9.png", "käse.png".encode()}


@pytest.mark.parametrize("form, expected", [("csv", "k\\xe4se.png,"), ("jsonl", r"k\u00e4se.png")])
def test_a_stream_of_few_characters_gets_escapes(tmp_path, form, expected):
    with (tmp_path / "ascii").open("w", encoding="ascii") as stream:
        predict._writer(stream, form, False)({"file": "käse.png", "label": "1"})
    assert expected in (tmp_path / "ascii").read_text()


class TestWholeOutput:
    def test_a_folder_appears_whole_and_beside_what_was_there(self, tmp_path):
        output = tmp_path / "new" / "folder"
        for name in ("a", "b"):
            with files.whole_output(output) as new:
                (new / "below").mkdir(parents=True)
                (new / "below" / name).write_text(name)
                assert not (output / "below" / name).exists()
        assert sorted(p.name for p in output.rglob("*")) == ["a", "b", "below"]
        assert os.listdir(tmp_path) == ["new"] and os.listdir(output) == ["below"]
        assert (output / "below").stat().st_mode == tmp_path.joinpath("new").stat().st_mode

    def test_after_an_error_nothing_stays(self, tmp_path):
        (tmp_path / "there").mkdir()
        for output in (tmp_path / "x", tmp_path / "there", tmp_path / "none" / "x"):
            with pytest.raises(KeyboardInterrupt), files.whole_output(output) as new:
                new.mkdir()
                (new / "half").write_text("half")
                raise KeyboardInterrupt
        assert [path.name for path in tmp_path.rglob("*")] == ["there"]

    def test_a_full_disk_is_one_line(self, tmp_path):
        expected = r"^output: .*x cannot be made \(No space left"
        with pytest.raises(InputError, match=expected), files.whole_output(tmp_path / "x"):
            raise OSError(28, "No space left on device")
        assert os.listdir(tmp_path) == []

    def test_only_an_empty_file_is_taken_for_a_new_one(self, tmp_path):
        (tmp_path / "empty").touch()
        with files.whole_output(tmp_path / "empty") as new:
            new.write_text("full")
        assert (tmp_path / "empty").read_text() == "full"
        (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
        for path in (tmp_path / "empty", tmp_path / "dead", Path(os.devnull)):
            with pytest.raises(ArgumentError, match="exists and is not overwritten"):
                files.check_new(path)
