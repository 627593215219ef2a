"""A file that a user names is a file: no pipe, no device, nothing without an end."""

import os

import pytest

from nge_jax import files
from nge_jax.data import pixels
from nge_jax.errors import InputError
from nge_jax.space import genotype


def make(folder, kind):
    """One path of each kind that is no readable file of a sensible size."""
    path = folder / "x.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "terminal":
        path.symlink_to("/dev/tty")
    elif kind == "folder":
        path.mkdir()
    elif kind == "dead link":
        path.symlink_to(folder / "nothing")
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(2**40)  # takes no room
    return path


KINDS = ("pipe", "device", "terminal", "folder", "dead link", "circle", "huge")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_refused_at_once(tmp_path, kind):
    path = make(tmp_path, kind)
    with pytest.raises(OSError):
        files.read_bytes(path, 1000)
    with pytest.raises(pixels.UNREADABLE):
        pixels.read_bytes(path)
    with pytest.raises(InputError) as refused:
        genotype.load(str(path))
    assert "x.jpg" in str(refused.value) and "\n" not in str(refused.value)


def test_text_is_utf_8_with_or_without_a_mark(tmp_path):
    for start in ("", "\ufeff"):
        (tmp_path / "a").write_text(start + "é", encoding="utf-8")
        assert files.read_text(tmp_path / "a") == "é"
    (tmp_path / "a").write_bytes(b"\xe9")
    with pytest.raises(UnicodeDecodeError):
        files.read_text(tmp_path / "a")
    assert files.read_bytes(tmp_path / "a", 1) == b"\xe9"
    with pytest.raises(OSError, match="found 1 bytes, expected at most 0"):
        files.read_bytes(tmp_path / "a", 0)


def test_why_a_file_cannot_be_read_is_said_in_words(tmp_path):
    (tmp_path / "a").write_bytes(b"\xe9\0")
    for name, reason in (
        ("a", "bytes that are no text in UTF-8"),
        ("b", "No such file or directory"),
    ):
        with pytest.raises((OSError, UnicodeDecodeError)) as refused:
            files.read_text(tmp_path / name)
        assert files.reason(refused.value) == reason
    assert files.reason(ValueError("a\n b")) == "a b"
    assert files.reason(ValueError("what <_io.BytesIO object at 0x7f54d6c81760> holds")) == (
        "what <_io.BytesIO object> holds"
    )
