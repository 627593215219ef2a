"""A refusal gives an argument the name by which the user has set it, and advice that loses nothing."""

import ast

import pytest

from nge_jax.errors import ArgumentError, arguments_as
from tests.conftest import ROOT


def test_only_arguments_that_a_message_mentions_are_renamed():
    error = ArgumentError("name", "set `data_dir`, not `folder`; expected `name`", "data_dir")
    assert str(error) == "name: set `data_dir`, not `folder`; expected `name`"
    keys = {"name": "config.data.name", "data_dir": "config.data.dir", "folder": "config.folder"}
    with pytest.raises(ArgumentError) as refused, arguments_as(**keys):
        raise error
    expected = "config.data.name: set config.data.dir, not `folder`; expected `name`"
    assert str(refused.value) == expected
    with pytest.raises(ArgumentError) as refused, arguments_as(data_dir="--data"), arguments_as():
        raise error
    assert str(refused.value) == "name: set --data, not `folder`; expected `name`"


def test_a_message_never_advises_first_what_removes_a_run():
    """A reader of a refusal takes the first advice: it has to be one that loses nothing."""
    told = 0
    for path in sorted((ROOT / "nge_jax").rglob("*.py")):
        if path.stem in ("cli", "main", "completion"):  # they define or complete the flag
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) else ""
            if isinstance(text, str) and "--overwrite" in text:
                advice, _, consequence = text.partition("--overwrite")
                assert consequence.startswith(" removes the run"), f"{path.name}: {text}"
                assert "choose another --workdir" in advice, f"{path.name}: {text}"
                told += 1
    assert told
