"""Images are recognized by the numbers of each class, and by a checksum that any exchange changes."""

import shutil

import numpy as np
import pytest

from nge_jax.data import npz
from nge_jax.data.folders import inventory
from nge_jax.data.photographs import batches as imagenet


@pytest.fixture
def photos(tmp_path):
    """Files of different sizes, images by their names alone: their content is not read."""
    for number, name in enumerate(
        f"{split}/{kind}" for split in ("train", "val") for kind in ("ant", "bee")
    ):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(4):
            (folder / f"{index}.png").write_bytes(b"x" * (10 * number + index))
    return tmp_path / "photos"


def taken(root):
    images = imagenet.load(f"folder:{root}")
    return inventory.take(images.root, images.splits, images.class_names)


def test_a_folder_that_has_moved_is_recognized(photos, tmp_path, monkeypatch):
    before = taken(photos)
    assert before.class_counts == {"train": (4, 4), "test": (4, 4)}
    shutil.copytree(photos, tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert taken(tmp_path / "moved") == taken(".") == taken("../moved/") == before


def exchange(photos):
    one, other = (photos / "train" / name / "1.png" for name in ("ant", "bee"))
    texts = one.read_bytes(), other.read_bytes()
    one.write_bytes(texts[1])
    other.write_bytes(texts[0])


@pytest.mark.parametrize("change", [
    exchange,
    lambda photos: (photos / "val/bee/0.png").write_bytes(b"another"),
    lambda photos: (photos / "val/bee/0.png").rename(photos / "val/bee/9.png"),
])  # fmt: skip
def test_an_exchange_that_keeps_all_numbers_changes_the_checksum(photos, change):
    before = taken(photos)
    change(photos)
    after = taken(photos)
    assert after.class_counts == before.class_counts and after.checksum != before.checksum


def test_arrays_are_recognized_by_what_they_hold(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (20, 4, 4), np.uint8)
    sums = []
    for change in (None, None, "image", "labels"):
        labels = np.arange(20) % 2
        if change == "image":
            images[3, 0, 0] ^= 1
        if change == "labels":
            labels[[0, 1]] = 1, 0
        np.savez(tmp_path / "a.npz", images=images, labels=labels)
        found = npz.read(tmp_path / "a.npz", 0, 0.2)
        sums.append(inventory.take("", found.parts, found.names).checksum)
    assert sums[0] == sums[1] and len({*sums}) == 3
