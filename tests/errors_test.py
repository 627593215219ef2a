"""A refused argument gets the name by which the user has set it, wherever it is meant and nowhere else."""

import pytest

from nge_jax.errors import ArgumentError, arguments_as


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
