"""Images that two splits have in common are counted, whatever they are called."""

import numpy as np
import pytest

from nge_jax.data import npz
from nge_jax.data.folders import copies
from nge_jax.data.photographs import batches as imagenet


@pytest.fixture
def photos(tmp_path):
    """Two files of val are copies of training files, and one has the size of one but other bytes."""
    contents = {
        "train": ["one", "two", "three"],
        "val": ["two", "one", "owt"],
        "test": ["four+", "two", "2"],
    }
    for split, texts in contents.items():
        for index, text in enumerate(texts):
            folder = tmp_path / split / "ab"[index % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{split}{index}.png").write_text(text)
    return tmp_path


def warnings_of(root):
    images = imagenet.load(f"folder:{root}")
    return [*copies.warnings(images.splits, images.titles)]


def test_files_in_two_splits_are_counted_by_their_bytes(photos):
    too = "too, the same by the bytes, such as"
    assert warnings_of(photos) == [
        f"warning: 1 image of test is in train {too} {photos}/test/b/test1.png and {photos}/train/b/train1.png",
        f"warning: 2 images of val are in train {too} {photos}/val/a/val0.png and {photos}/train/b/train1.png",
        f"warning: 1 image of test is in val {too} {photos}/test/b/test1.png and {photos}/val/a/val0.png",
    ]


def test_too_many_files_are_compared_in_part(photos, monkeypatch):
    for index in range(64):
        for split in ("train", "val"):
            (photos / split / "a" / f"same{index}.png").write_text(f"x{index:05}")
    (photos / "test").rename(photos.with_name("elsewhere"))
    assert "66 images of val" in warnings_of(photos)[0]
    monkeypatch.setattr(copies, "MOST_FILES", 80)
    (line,) = warnings_of(photos)
    assert 1 <= int(line.split()[1]) <= 17
    monkeypatch.setattr(copies, "MOST_BYTES", 1)
    assert warnings_of(photos) == []


def test_arrays_in_two_splits_are_counted(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (8, 4, 4), np.uint8)
    arrays = {
        "train_images": images,
        "test_images": images[5:][::-1],
        "train_labels": np.arange(8) % 2,
    }
    np.savez(tmp_path / "a.npz", test_labels=np.zeros(3, int), **arrays)
    found = npz.read(tmp_path / "a.npz", 0, 0.2)
    assert [*copies.warnings(found.parts)] == [
        "warning: 3 images of test are in train too, the same by the bytes, such as image 0 and image 7"
    ]
