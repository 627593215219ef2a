"""Parts from outside: how a config names them, what is refused in one line, and what a workdir records."""

import argparse
import json
import os
from importlib import metadata

import pytest

from nge_jax.commands import COMMANDS
from nge_jax.errors import InputError
from nge_jax.settings import checks, configs
from nge_jax.settings.configs import flatten, load_config, read_config, to_values
from nge_jax.settings.key import Key, Limits
from nge_jax.settings.parts import named
from nge_jax.settings.parts.part import Part, announced, from_value
from nge_jax.shell import completion
from nge_jax.space.parts import loading
from nge_jax.space.parts.reference import load
from nge_jax.workdir import folder as workdir
from tests.helpers.modules import forget_modules

MINE = """
import nge_jax as nge
RATE = nge.Key("mine.rate", 0.1, nge.Limits(float, 0, 1), "", "A rate.", in_program=False)
LAYERS = nge.Key("mine.layers", 2, nge.Limits(int, 1, 9), "", "Layers.")

def make(space, numbers, head=None):
    return None

dirichlet, gat = nge.Part(make, (RATE,)), nge.Part(make, (RATE, LAYERS))
no_part = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with mine.py."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _forgotten(tmp_path):
    yield
    forget_modules(tmp_path)


def settings(*texts):
    return [f"--config.{text}" for text in texts]


@pytest.mark.parametrize("place", ["mine", "mine.py", "./mine.py", "{here}/mine.py"])
def test_a_config_names_a_part_and_has_its_keys_with_their_limits(here, place):
    place = place.format(here=here)
    given = settings(f"search.relaxation={place}:dirichlet", "mine.rate=0.5")
    config = read_config("search_digits:smoke", given)
    assert config.mine.rate == 0.5
    checks.check_complete(config, "search")
    config.mine.rate = 2.0
    with pytest.raises(InputError, match=r"^config\.mine\.rate: found 2\.0, expected at most 1$"):
        checks.check_complete(config, "search")
    with pytest.raises(
        InputError, match=r"config\.mine\.rat: no such key.*did you mean mine\.rate"
    ):
        read_config("search_digits:smoke", [given[0], "--config.mine.rat=0.5"])


def test_a_part_may_stand_among_several_and_in_a_file_or_beside_python(here):
    given = settings("search.edge_models=nge,mine:gat", "mine.layers=3")
    assert read_config("search_digits", given).search.edge_models == ("nge", "mine:gat")
    (here / "own.py").write_text(
        "from nge_jax.settings.compose import make_config\n"
        "SETTINGS = {'task': 'search', 'data.name': 'digits', 'search.edge_model': 'mine:gat', 'mine.layers': 4}\n"
        "def get_config(words=''): return make_config(SETTINGS, words, (), __file__)\n"
    )
    config = load_config("own.py")
    assert (config.mine.layers, config.mine.rate) == (4, 0.1)
    config = load_config("search_digits")
    config.search.edge_model = "mine:gat"  # Python adds no keys until the search runs
    assert configs.complete(config).mine.layers == 2


@pytest.mark.parametrize(
    "reference, message",
    [
        ("mine:dirichle", r"mine:dirichle: \S*mine\.py has no dirichle, did you mean dirichlet\?"),
        ("mine:no_part", "mine:no_part: found int, expected a function or an nge.Part"),
        ("yours:part", r"yours:part: no yours\.py in \S+, and no such module is installed"),
        ("sub/yours.py:part", "sub/yours.py:part: no such file sub/yours.py"),
        ("mine:", r"found 'mine:', expected module:attribute or path/to/file\.py:attribute"),
        (
            "broken:part",
            r"^config\.search\.relaxation: broken:part: broken\.py, line 2: ZeroDivisionError: division by zero$",
        ),
    ],
)
def test_what_is_no_part_is_refused_in_one_line(here, reference, message):
    (here / "broken.py").write_text("\n1 / 0\n")
    with pytest.raises(InputError, match=message) as refused:
        read_config("search_digits", settings(f"search.relaxation={reference}"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "row, message",
    [
        (Key("rate", 0.1, None, "", "."), "found the key 'rate', expected a group of its own"),
        (Key("search.rate", 0.1, None, "", "."), r"'search.rate', .* \(the package has the group search\)$"),
        (Key("mine.rate", 2.0, Limits(float, 0, 1), "", "."), "the default of config.mine.rate: found 2.0"),
        (Key("mine.rate", "a", None, "", ".", in_program=False), "is a number with Limits"),
        ("mine.rate", "found str among the keys, expected nge.Key"),
    ],
)  # fmt: skip
def test_a_wrong_row_of_a_part_is_refused(row, message):
    part = from_value(Part(lambda space, numbers: None, (row,)), "relaxation")
    values = flatten(load_config("search_digits").to_dict()) | {"search.relaxation": part.name}
    with pytest.raises(InputError, match=message):
        named.find(values, {part.name: part})


def test_a_key_has_one_row(here):
    rows = "nge.Key('m.a', 1, None, '', ''), nge.Key('m.a', 2, None, '', '')"
    (here / "mine.py").write_text(MINE + f"twice = nge.Part(make, ({rows}))\n")
    (here / "yours.py").write_text(MINE.replace("0.1", "0.2"))
    twice = settings("search.relaxation=mine:twice")
    line = r"^config\.search\.relaxation: mine:twice: found several rows of the key m\.a, expected one$"
    with pytest.raises(InputError, match=line):
        read_config("search_digits", twice)
    two = settings("search.edge_models=mine:gat,yours:gat")
    line = r"^config\.search\.edge_models: yours:gat: mine\.rate: found another row in mine:gat, expected the same$"
    with pytest.raises(InputError, match=line):
        read_config("search_digits", two)


def test_the_choices_of_a_key_name_parts_as_well():
    with pytest.raises(InputError, match="expected one of softmax, .*, or module:attribute"):
        checks.check_complete(
            read_config("search_digits", settings("search.relaxation=mine")), "search"
        )


def test_a_search_goes_on_with_the_same_file_alone(here):
    def start(path="mine:dirichlet"):
        config = read_config("search_digits:smoke", settings(f"search.relaxation={path}"))
        return to_values(configs.complete(config))

    begun = start()
    (source,) = begun["search"]["sources"]
    assert source.startswith("mine:dirichlet sha256:")
    run = workdir.prepare(here / "run", begun, overwrite=False)
    (run / "metrics.jsonl").write_text("{}\n")
    os.makedirs("elsewhere")
    (here / "elsewhere" / "mine.py").write_text(MINE)
    for path in ("mine:dirichlet", "elsewhere/mine.py:dirichlet"):
        workdir.check(run, start(path), overwrite=False)  # the same content in another place
    (here / "mine.py").write_text(MINE + "# changed\n")
    with pytest.raises(
        InputError,
        match=r"run: search.relaxation: mine.py has changed since.* \(mine:dirichlet\); restore the",
    ):
        workdir.check(run, start(), overwrite=False)
    with pytest.raises(InputError, match=r"search\.relaxation: workdir has 'mine:dirichlet', now"):
        workdir.check(run, start("mine:gat"), overwrite=False)
    (here / "mine.py").write_text(MINE)
    os.rename("mine.py", "yours.py")
    with pytest.raises(InputError, match=r"\(mine.py is named yours.py now \(mine:d") as refused:
        workdir.check(run, start("yours:dirichlet"), overwrite=False)
    assert "sources" not in str(refused.value)


OPERATION = """
import nge_jax as nge
conv = nge.Operation("conv", lambda weights, x, layer: x)
"""
SPACE = """
import nge_jax as nge
from own_operation import conv
SPACE = nge.with_operations(nge.DARTS, "sep_conv_3x3", conv)
"""


def test_a_search_goes_on_with_the_same_files_of_a_space_and_operations_alone(here, monkeypatch):
    def start():
        config = read_config("search_digits:smoke", settings("search.space=own_space.py:SPACE"))
        loading.forget_edited()
        return to_values(configs.complete(config))

    monkeypatch.setattr(loading, "_FOUND", {})
    (here / "own_operation.py").write_text(OPERATION)
    (here / "own_space.py").write_text(SPACE)
    begun = start()
    names = [row.rpartition(" sha256:")[0] for row in begun["search"]["sources"]]
    assert names == ["own_operation:conv", "own_space:SPACE"]
    older = begun | {"search": begun["search"] | {"sources": []}}
    for name, values in {"run": begun, "older": older}.items():
        workdir.prepare(here / name, values, overwrite=False)
        (here / name / "metrics.jsonl").write_text("{}\n")
        workdir.check(here / name, start(), overwrite=False)
    (here / "own_operation.py").write_text(OPERATION + "# changed\n")
    message = r"run: search.space: own_operation.py has changed since the run began \(own_operation:conv\); restore"
    with pytest.raises(InputError, match=message) as refused:
        workdir.check(here / "run", start(), overwrite=False)
    assert "\n" not in str(refused.value)
    workdir.check(here / "older", start(), overwrite=False)
    (here / "own_operation.py").write_text(OPERATION)
    (here / "own_space.py").write_text(SPACE.replace("conv)", 'conv, "noise")'))
    with pytest.raises(
        InputError, match=r"run: search.space: own_space.py has changed .*:SPACE\); re"
    ):
        workdir.check(here / "run", start(), overwrite=False)


def test_the_files_of_a_space_as_json_may_move(here):
    def values(first, place):
        space = json.dumps({"operations": [first, f"{place}:conv"]})
        return {"task": "search", "search": {"space": space}}

    workdir.prepare(here / "run", values("noise", "sub/own.py"), overwrite=False)
    (here / "run" / "metrics.jsonl").write_text("{}\n")
    assert not workdir.list_differences(here / "run", values("noise", "own"))
    assert workdir.list_differences(here / "run", values("none", "own"))


@pytest.mark.parametrize(
    "text", ["own_space:NONE", "{", '{"operations": ["noise", "nowhere:conv"]}', "s1:"]
)
def test_what_is_no_space_is_refused_where_the_files_are_recorded(here, text):
    (here / "own_space.py").write_text("NUMBER = 1")
    config = load_config("search_digits", "smoke")
    config.search.space = text
    with pytest.raises(InputError, match=r"^config\.search\.space: ") as refused:
        configs.complete(config)
    assert "\n" not in str(refused.value)


def given(space, numbers):
    return None


GIVEN = Part(given)


def test_a_value_has_the_reference_of_its_module_or_the_recorded_name():
    found = from_value(GIVEN, "relaxation")
    assert found.name == "tests.settings.parts_test:GIVEN"
    assert load(found.name) == found
    older = from_value(GIVEN, "relaxation", "parts_test:given")
    assert older.name == "parts_test:given" and older.source.startswith("parts_test:given sha256:")


def test_a_config_may_state_the_files_that_it_was_made_for(here):
    config = configs.complete(
        read_config("search_digits", settings("search.relaxation=mine:dirichlet"))
    )
    assert configs.complete(config).search.sources == config.search.sources
    (here / "mine.py").write_text(MINE + "# changed\n")
    with pytest.raises(
        InputError, match="^config.search.sources: found .*, expected .* as the files are"
    ):
        configs.complete(config)


def test_python_gives_the_value_itself():
    def mine(space, numbers):
        return None

    config, parts = configs.with_parts(
        load_config("search_digits", "gradient"), {"relaxation": Part(mine), "strategy": None}
    )
    assert config.search.relaxation == "parts_test:mine" and config.search.strategy == "gradient"
    assert parts["parts_test:mine"].value.make is mine
    assert configs.complete(config, parts).search.sources[0].startswith("parts_test:mine sha256:")
    with pytest.raises(
        InputError, match="^strategy: found int, expected a function or an nge.Part"
    ):
        configs.with_parts(config, {"strategy": 3})


def test_python_sets_the_keys_of_parts(here):
    config, parts = configs.with_parts(
        load_config("search_digits", "gradient"), {"relaxation": load("mine:dirichlet").value}
    )
    given = {"mine.rate": 1, "search.epochs": 3, "search.edge_models": ["nge", "alpha"]}
    found = configs.complete(config, parts, given)
    assert (found.mine.rate, found.search.epochs, config.get("mine")) == (1.0, 3, None)
    assert found.search.edge_models == ("nge", "alpha")
    by_name = {"search.edge_model": "mine:gat", "mine.layers": 4}
    assert configs.complete(config, parts, by_name).mine.layers == 4
    line = r"^settings: mine\.rat: no such key, did you mean mine\.r"
    with pytest.raises(InputError, match=line):
        configs.complete(config, parts, {"mine.rat": 1})
    line = r"^settings: mine\.rate: found 'a', expected a number such as 0\.1$"
    with pytest.raises(InputError, match=line):
        configs.complete(config, parts, {"mine.rate": "a"})


def test_installed_packages_announce_parts(monkeypatch, capsys):
    points = [
        metadata.EntryPoint("dirichlet", "theirs.parts:dirichlet", "nge_jax.relaxations"),
        metadata.EntryPoint("watch", "theirs.parts:watch", "nge_jax.callbacks"),
    ]

    def entry_points(group):
        return [point for point in points if point.group == group]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    assert [*announced()] == [
        ("search.relaxation", "theirs.parts:dirichlet", ""),
        ("run.callbacks", "theirs.parts:watch", ""),
    ]
    COMMANDS["configs"]([])
    found = capsys.readouterr().out
    assert (
        "\n  search.relaxation=theirs.parts:dirichlet\n  run.callbacks=theirs.parts:watch\n"
        in found
    )
    chosen = argparse.Namespace(config="search_digits")
    choices = completion.settings("search.relaxation=", parsed_args=chosen)
    assert choices[-1] == "search.relaxation=theirs.parts:dirichlet"
