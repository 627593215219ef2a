"""References: a file runs once for each content, and another process finds a value by the value's reference."""

import os
import sys

import pytest

from nge_jax.errors import InputError
from nge_jax.space.parts import reference
from tests.helpers.modules import forget_modules

# Each run of the file adds a letter to a file beside it.
MINE = """
from pathlib import Path
with (Path(__file__).parent / "runs").open("a") as file:
    file.write("x")

def conv():
    return 1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here"
    forget_modules(tmp_path)


def load(text):
    return reference.load(text).value


def test_a_file_runs_once_for_each_content(folder, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = folder / "once_mine.py"
    file.write_text(MINE)
    (folder / "once_other.py").write_text("from once_mine import conv as same\n")
    conv = load("once_mine:conv")
    places = "once_mine.py:conv", "./once_mine.py:conv", f"{file}:conv", "once_other:same"
    assert all(load(place) is conv for place in places)
    time = file.stat().st_mtime
    file.write_text(MINE.replace("return 1", "return 2"))
    os.utime(file, (time, time))  # bytecode is found by the second and the size
    edited = load("once_mine:conv")
    assert (conv(), edited()) == (1, 2) and load("once_mine.py:conv") is edited
    file.write_text(MINE)
    assert load("once_mine:conv") is conv and (folder / "runs").read_text() == "xx"


def test_a_value_that_python_gives_is_the_value_that_the_reference_names(folder, monkeypatch):
    (folder / "given_mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(folder)
    import given_mine  # pyright: ignore

    found = reference.find_value(given_mine.conv, given_mine.conv)
    assert found is not None and found.name == "given_mine:conv"
    assert reference.load(found.name) == found and (folder / "runs").read_text() == "x"
    # Python's module is old now, and runs anew.
    (folder / "given_mine.py").write_text(MINE.replace("return 1", "return 2"))
    assert load("given_mine:conv")() == 2 and given_mine.conv() == 1


def test_a_file_takes_no_other_modules_name_and_finds_the_modules_beside_it(folder):
    (folder / "random.py").write_text("from beside_mine import NUMBER\n")
    (folder / "beside_mine.py").write_text("NUMBER = 3")
    before = sys.modules["random"]
    assert load("random.py:NUMBER") == load("random:NUMBER") == 3
    assert sys.modules["random"] is before
    (folder / "ideas_mine").mkdir()
    (folder / "ideas_mine" / "__init__.py").write_text("from .own import NUMBER as AGAIN")
    (folder / "ideas_mine" / "own.py").write_text(MINE + "from .more import NUMBER")
    (folder / "ideas_mine" / "more.py").write_text("NUMBER = 4")
    assert load("ideas_mine.own:NUMBER") == load("ideas_mine:AGAIN") == 4
    (folder / "user_mine.py").write_text("from ideas_mine.own import conv as same")
    assert load("user_mine:same") is load("ideas_mine.own:conv")
    assert (folder / "ideas_mine" / "runs").read_text() == "x"


@pytest.mark.parametrize(
    "file, named, expected",
    [
        ("here/own_mine.py", "own_mine:conv", "own_mine:conv"),
        ("here/sub/own_mine.py", "sub/own_mine.py:conv", "sub/own_mine.py:conv"),
        ("far/own_mine.py", "../far/own_mine.py:conv", "{parent}/far/own_mine.py:conv"),
    ],
)
def test_another_process_finds_a_value_by_its_reference(folder, python, file, named, expected):
    path = folder.parent / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("from near_mine import conv as near\n\n\ndef conv():\n    return near()\n")
    path.with_name("near_mine.py").write_text("def conv():\n    return 1\n")
    conv = load(named)
    names = [
        reference.find_value(value, value).name  # pyright: ignore
        for value in (conv, sys.modules[conv.__module__].near)
    ]
    expected = expected.format(parent=folder.parent)
    assert names == [expected, expected.replace("own_mine", "near_mine")]
    code = (
        "import os, sys; from nge_jax.space.parts.reference import load; os.chdir(sys.argv[1]);"
        "print(*(load(name).value() for name in sys.argv[2:]))"
    )
    for name in names:
        done = python("-c", code, str(folder), name)
        assert done.stdout.split() == ["1"], done.stderr


@pytest.mark.parametrize(
    "content, message",
    [
        ("x = 1\n1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("from nge_jax.errors import InputError\n\nraise InputError('no')", "line 3: no"),
        ("raise SystemExit(3)", "line 1: SystemExit: 3"),
        ("import nowhere_mine", "line 1: ModuleNotFoundError: No module named 'nowhere_mine'"),
    ],
)
def test_a_refusal_names_what_refers_the_file_and_the_line(folder, content, message):
    (folder / "wrong_mine.py").write_text(content)
    with pytest.raises(InputError) as refused:
        reference.load("wrong_mine:conv", "config.search.relaxation: ")
    assert str(refused.value) == (
        f"config.search.relaxation: wrong_mine:conv: wrong_mine.py, {message}"
    )
    assert reference.find_loaded("wrong_mine:conv") is None


def test_rows_without_a_record_are_not_compared():
    rows = ("mine:a sha256:1", "mine:b sha256:2", "__main__:c")
    assert reference.in_common(rows, ("mine:b sha256:3", "__main__:c")) == rows[1:]
    assert reference.in_common(rows, ()) == ()


def test_files_of_one_name_are_compared_together():
    rows = ["mine:conv sha256:a", "mine:conv sha256:b"]
    assert not reference.changed_files(rows, rows[::-1])
    assert reference.changed_files(rows, ["mine:conv sha256:a", "mine:conv sha256:c"])


def test_a_file_with_a_dot_in_its_name_is_a_module_of_its_own(folder):
    file = folder / "my.op.py"
    file.write_text("class Value:\n    pass\nvalue = Value()\n")
    loaded = reference.load(f"{file}:value")
    found = reference.find_value(loaded.value, loaded.value)
    assert found is not None and reference.load(found.name).value is loaded.value
