"""A file that a user names is a file: no pipe, no device, nothing without an end."""

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from nge_jax import files
from nge_jax.data.photographs import pixels
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


@pytest.mark.parametrize("size", [0, 9, 100_000])
def test_a_reader_takes_the_memory_of_the_file_alone(tmp_path, size):
    (tmp_path / "a").write_bytes(b"x" * size)
    tracemalloc.start()
    try:
        assert files.read_bytes(tmp_path / "a", files.IMAGE_BYTES) == b"x" * size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * size + 50_000


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


def archive(compressed=False, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def zipped(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def damaged(data):
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]


def array_alone():
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


NUMBERS = np.random.RandomState(0).randint(0, 256, 5000).astype(np.uint8)


@pytest.mark.parametrize("data, found", [
    (b"", "an empty file"),
    (b"images,labels\n0,1\n", "a text"),
    ("caf\u00e9 ".encode() * 2000, "a text"),
    (b"\x89PNG\r\n\x1a\n\0\xff", "a file of another kind"),
    (array_alone(), "an array alone, as of an .npy file"),
    (archive(a=NUMBERS)[:3000], "an archive that is cut off or damaged"),
    (archive(a=np.array([{}])), "Python objects as the array a"),
    (archive(a=np.array(["x", None], object)), "Python objects as the array a"),
    (damaged(archive(a=NUMBERS)), "the array a damaged"),
    (damaged(archive(compressed=True, a=NUMBERS)), "the array a damaged"),
    (zipped("a.npy", b"no array"), "the array a damaged"),
    (zipped("readme.txt", b"text"), "readme.txt, which is no array"),
    (archive(b=NUMBERS), "no array a"),
])  # fmt: skip
def test_what_is_no_archive_of_arrays_is_told(tmp_path, data, found):
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=f"^{found}$"):
        files.read_arrays(tmp_path / "a.npz", ("a",) if found.startswith("no array") else None)


def test_arrays_are_read(tmp_path):
    (tmp_path / "a.npz").write_bytes(archive(compressed=True, a=NUMBERS, b=np.array(["x"])))
    arrays = files.read_arrays(tmp_path / "a.npz")
    assert [*arrays] == ["a", "b"] and arrays["b"].tolist() == ["x"]
    np.testing.assert_array_equal(arrays["a"], NUMBERS)
    assert [*files.read_arrays(tmp_path / "a.npz", ("b",))] == ["b"]
    for kind in KINDS:
        if kind != "huge":
            (tmp_path / kind).mkdir()
            with pytest.raises(OSError):
                files.read_arrays(make(tmp_path / kind, kind))
