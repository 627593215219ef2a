"""Prose that is read once: no sentence above 25 words, no docstring or comment that opens without a subject."""

import pytest

from tests.conftest import ROOT
from tests.helpers import language

CHECKED = ["README.md", "CONTRIBUTING.md", "configs", "docs", "experiments", "nge_jax", "tests"]

FILES = [file for name in CHECKED for file in language.files(ROOT / name)]


def violations(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    return [(found.line, found.rule) for found in language.check(file)]


def test_prose_is_read_once():
    found = [str(one) for file in FILES for one in language.check(file)]
    assert not found, "\n".join(found)


def test_a_sentence_has_at_most_25_words(tmp_path):
    words = ["word"] * 25
    assert not violations(tmp_path, "a.md", " ".join(words) + ".")
    assert violations(tmp_path, "a.md", " ".join([*words, "more."])) == [(1, "26 words")]
    assert violations(tmp_path, "a.md", f"Short.\n\n{' '.join(words)}: more.") == [(3, "26 words")]


@pytest.mark.parametrize("end", [". ", " 10. ", "; ", "? ", '." ', ".\n\n", "\n- ", "\n\n# "])
def test_a_sentence_ends(tmp_path, end):
    half = " ".join(["word"] * 20)
    assert not violations(tmp_path, "a.md", f"{half}{end}{half}")


@pytest.mark.parametrize("joint", [": ", ", ", " e.g. ", " Eq. ", "\n", "... "])
def test_a_sentence_goes_on(tmp_path, joint):
    half = " ".join(["word"] * 20)
    assert violations(tmp_path, "a.md", f"{half}{joint}{half}")


@pytest.mark.parametrize(
    "text",
    [
        "`{}`",
        "[text]({})",
        "```\n{}\n```",
        "| {} |",
        ">>> {}",
        "Text.\n\n    {}\nMore.",
        "Text.\n\nArgs:\n    name: {}",
    ],
)
def test_code_tables_and_arguments_are_no_sentences(tmp_path, text):
    many = " ".join(["word"] * 30)
    assert not violations(tmp_path, "a.py", f'"""{text.format(many)}"""')
    assert violations(tmp_path, "a.py", f'"""{many}"""')


def test_what_a_section_returns_is_a_sentence(tmp_path):
    many = " ".join(["word"] * 30)
    assert violations(tmp_path, "a.py", f'"""Text.\n\nReturns:\n    {many}"""') == [(4, "30 words")]


@pytest.mark.parametrize("opening", sorted(language.OPENINGS))
def test_a_docstring_and_a_comment_open_with_a_subject(tmp_path, opening):
    first = f"{opening.capitalize()} a module."
    source = f'"""{first}"""\n\n# {first}\nx = 1  # {first}\n# A comment.\n# {first}\n'
    assert violations(tmp_path, "a.py", source) == [(n, "opening") for n in (1, 3, 4)]


def test_the_command_lists_violations(tmp_path, capsys):
    (tmp_path / "a.py").write_text("# Of a module.\n")
    assert language.main([str(tmp_path)]) == 1
    assert f"{tmp_path}/a.py:1: opening: Of a module." in capsys.readouterr().out
