"""The record of a network's own operations: an edited file is refused by a training, and told where it is used."""

import contextlib
import json
import shutil

import pytest

import nge_jax as nge
from nge_jax.errors import InputError
from nge_jax.space import genotype
from nge_jax.space.parts import loading
from nge_jax.train import runner as train_runner
from nge_jax.train import trained
from nge_jax.train.plan import Inputs
from nge_jax.workdir import artifacts, recorded
from tests.helpers.modules import forget_modules

MINE = """
import nge_jax as nge
conv = nge.Operation("conv", lambda weights, x, layer: x)
"""
PAIRS = (("mine:conv", 0), ("skip_connect", 1))
CELLS = nge.Genotype(PAIRS, (2,), PAIRS, (2,))


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A folder with the record of an operation whose file is edited later."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_FOUND", {})
    (tmp_path / "mine.py").write_text(MINE)
    shutil.copytree(artifacts.PRETRAINED["digits:pretrained"], tmp_path / "run")
    (tmp_path / "run" / artifacts.GENOTYPE).write_text(genotype.to_json(CELLS))
    recorded.write_operations(tmp_path / "run", recorded.current_operations(CELLS))
    (tmp_path / "mine.py").write_text(MINE.replace("layer: x", "layer: 2 * x"))
    loading.forget_edited()
    yield tmp_path / "run"
    forget_modules(tmp_path)


def test_a_training_that_has_begun_refuses_an_edited_operation(edited):
    config = nge.load_config("train_digits", "smoke")
    inputs = Inputs(None, CELLS)  # pyright: ignore
    with pytest.raises(AttributeError):  # nothing is lost yet, and the images are asked for
        train_runner.recognize(config, inputs, edited)
    (edited / "checkpoints" / "4").mkdir(parents=True)
    message = (
        r"run: config.genotype: mine.py has changed since the run began \(mine:conv\); restore"
    )
    with pytest.raises(InputError, match=message) as refused:
        train_runner.recognize(config, inputs, edited)
    assert "\n" not in str(refused.value)


def test_a_network_that_is_used_warns_of_an_edited_operation(edited, capsys):
    with contextlib.suppress(InputError):  # the weights are of another cell
        trained.load(edited)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: mine.py has changed since {edited} was trained (mine:conv)")


def test_an_exported_network_keeps_the_record_of_the_training(edited, tmp_path):
    rows = recorded.read_operations(edited, CELLS)
    assert rows != recorded.current_operations(CELLS)
    recorded.write_operations(tmp_path, rows)
    assert recorded.read_operations(tmp_path, CELLS) == rows


def test_the_packages_operations_leave_no_record(tmp_path):
    pairs = (("sep_conv_3x3", 0), ("skip_connect", 1))
    recorded.write_operations(
        tmp_path, recorded.current_operations(nge.Genotype(pairs, (2,), pairs, (2,)))
    )
    assert not any(tmp_path.iterdir())


def test_a_training_warns_of_an_operation_that_was_edited_since_the_search(edited, capsys):
    row = recorded.read_operations(edited, CELLS)[0]
    (edited / artifacts.CONFIG).write_text(json.dumps({"search": {"sources": [row]}}))
    recorded.warn_of_changed_operations(str(edited), CELLS)
    assert f"mine.py has changed since {edited} was searched (mine:conv)" in capsys.readouterr().err
    recorded.warn_of_changed_operations("DARTS_V2", CELLS)
    recorded.warn_of_changed_operations(genotype.to_json(CELLS) * 100, CELLS)
    assert not capsys.readouterr().err
