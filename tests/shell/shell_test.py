"""Help at the prompt: `nge init` writes a config that works, and a shell completes what may follow."""

import os
import re
import subprocess
import sys

import pytest

from nge_jax import cli
from nge_jax.settings.configs import flatten, load_config, shipped_configs
from tests.conftest import ROOT


@pytest.mark.parametrize("base", shipped_configs())
def test_a_config_of_ones_own_begins_as_a_shipped_one_and_takes_its_words(
    base, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    cli.run(["init", "mine", "--like", base])
    for words in ("", "smoke"):
        own, shipped = load_config("mine.py", words), load_config(base, words)
        assert flatten(own.to_dict()) == flatten(shipped.to_dict())
    text = (tmp_path / "mine.py").read_text()
    if base == "search_digits":  # each line may be taken into use
        text = re.sub(r'^    # ("search\.epochs"): 30,', r"    \1: 7,", text, flags=re.MULTILINE)
        text = re.sub(r'^    # ("network\.channels"): 2,', r"    \1: 6,", text, flags=re.MULTILINE)
        (tmp_path / "mine.py").write_text(text)
        for words, channels in (("", 6), ("trained", 6), ("gradient", 6), ("smoke", 2)):
            own = load_config("mine.py", words)
            assert own.network.channels == channels and own.search.epochs in (7, 2)
    assert max(map(len, text.splitlines())) <= 100


def test_its_data_lie_beside_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    cli.run(["init", "mine.py", "--data", "photos"])
    assert capsys.readouterr().out == "mine.py\n"
    monkeypatch.chdir("/")
    assert load_config(tmp_path / "mine.py").data.name == f"folder:{tmp_path.resolve()}/photos"
    cli.run(["configs", str(tmp_path / "mine.py")])
    assert "\n  nge search mine.py:smoke      does it run?\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["mine", "--like", "search_digit"], "--like: no config 'search_digit', did you mean search_digits"),
        (["mine", "--data", "nowhere"], "--data: found no nowhere"),
        (["mine", "--data", ".", "--like", "train_cifar10"], "--data: train_cifar10 takes no images of one's own"),
        (["there"], "NAME: there.py exists and is not overwritten"),
    ],
)  # fmt: skip
def test_what_it_cannot_write_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "there.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        cli.run(["init", *arguments])
    assert message in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["there.py"]


@pytest.mark.parametrize(
    "line, expected",
    [
        ("nge se", {"search ", "segment "}),
        ("nge search search_dig", {"search_digits "}),
        ("nge search search_digits:gum", {"search_digits:gumbel "}),
        ("nge search mine.py:smo", {"mine.py:smoke "}),
        ("nge search search_digits:gumbel,smo", {"search_digits:gumbel,smoke "}),
        ("nge train train_digits train.lab", {"train.label_smoothing="}),
        ("nge search search_digits search.edge_model=al", {"search.edge_model=alpha "}),
        ("nge report ru", {"runs/a "}),
        ("nge show DARTS_V", {"DARTS_V1 ", "DARTS_V2 "}),
        ("nge train train_digits genotype=ru", {"genotype=runs/a "}),
        ("nge study search_digits study.trai", {"study.training_seeds="}),
    ],
)
def test_a_shell_completes(tmp_path, line, expected):
    pytest.importorskip("argcomplete", reason="argcomplete is not installed")
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "environment.json").write_text("{}")
    cli.run(["init", str(tmp_path / "mine.py")])
    env = os.environ | {
        "PYTHONPATH": str(ROOT), "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "out"),
    }  # fmt: skip
    subprocess.run([sys.executable, "-m", "nge_jax"], cwd=tmp_path, env=env, timeout=60)
    found = (tmp_path / "out").read_text().split("\013")
    assert {word.strip() for word in found} == {word.strip() for word in expected}
