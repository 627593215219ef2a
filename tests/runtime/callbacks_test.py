"""Callbacks by name and as values: which are accepted, and what is refused in one line."""

import pytest

from nge_jax.errors import InputError
from nge_jax.runtime import callbacks
from nge_jax.runtime.callbacks import Callback

MINE = """
import nge_jax as nge
def tell(result):
    print("the end:", result)
def fail(row, state):
    raise ValueError(f"no {row}")
class Watch:
    def on_epoch(self, row, state):
        print("epoch", row)
        return True
class Typo(Watch):
    def on_epochs(self, row, state):
        return True
typo, few, none = Typo(), nge.Callback(on_epoch=lambda row: None), nge.Callback(on_end=3)
watch, end, broken, number = Watch(), nge.Callback(on_end=tell), nge.Callback(on_epoch=fail), 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)


def test_callbacks_are_called_in_turn_and_one_of_them_may_ask_to_stop(tmp_path, capsys):
    began = []
    given = Callback(on_begin=lambda path, settings: began.append((path, settings)))
    watch = callbacks.load(("mine:watch", "mine:end"), [given])
    watch.on_begin(tmp_path, {"seed": 0})
    assert began == [(tmp_path, {"seed": 0})]
    assert watch.on_epoch({"epoch": 1}, None) and watch.asking == ("mine:watch",)
    watch.on_end("a cell")
    assert capsys.readouterr().out == "epoch {'epoch': 1}\nthe end: a cell\n"


@pytest.mark.parametrize("result", [None, False, 1, "stop"])
def test_true_alone_asks_to_stop(result):
    watch = callbacks.load((), [Callback(on_epoch=lambda row, state: result)])
    assert not watch.on_epoch({}, None)


@pytest.mark.parametrize(
    "reference, message",
    [
        ("mine:number", "config.run.callbacks: mine:number: found int, expected an nge.Callback, or an object"),
        ("mine:watches", "has no watches, did you mean watch"),
        ("mine:typo", "config.run.callbacks: mine:typo: found on_epochs, did you mean on_epoch"),
        ("mine:Watch", "mine:Watch: found a class, expected an object, such as Watch()"),
        ("mine:few", "mine:few: on_epoch: mine.py, line 14: found the arguments (row), expected (row, state)"),
        ("mine:none", "mine:none: on_end: found int, expected a function (result)"),
        ("mine", "config.run.callbacks: found 'mine', expected module:attribute"),
    ],
)  # fmt: skip
def test_what_is_no_callback_is_refused_in_one_line(reference, message):
    with pytest.raises(InputError) as refused:
        callbacks.load((reference,))
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_an_exception_names_the_callback_and_its_line():
    with pytest.raises(InputError) as refused:
        callbacks.load(("mine:broken",)).on_epoch("row", None)
    assert (
        str(refused.value)
        == "run.callbacks: mine:broken: on_epoch: mine.py, line 6: ValueError: no row"
    )
