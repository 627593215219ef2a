"""Folders of images: which files are data, which are held out, and the notes for the user."""

import errno
import os

import numpy as np
import pytest
from PIL import Image

from nge_jax.data.photographs import batches as imagenet
from nge_jax.data.photographs import files, folder
from nge_jax.errors import InputError

FORMATS = {".jpg": "JPEG", ".JPEG": "JPEG", ".PNG": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF",
           ".tif": "TIFF", ".tiff": "TIFF"}  # fmt: skip


def picture(level):
    return Image.fromarray(np.full((24, 20, 3), level, np.uint8))


def fill(root, *names, count=4, ending=".jpg", level=100):
    """Writes `count` images into each of the folders."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            form = FORMATS.get(ending, "JPEG")
            picture(level).save(root / name / f"{index}{ending}", form)
    return root


def counts(listing):
    return {split: len(part.paths) for split, part in listing.splits.items()}


def test_hidden_entries_are_no_data_and_are_not_counted(tmp_path):
    fill(tmp_path, "train/ant", "train/bee", "val/ant", "val/bee", "train/.ipynb_checkpoints",
         "train/__MACOSX", "train/ant/.thumbnails", ".git/x")  # fmt: skip
    for name in ("train/ant/._0.jpg", "train/.DS_Store", "train/ant/Thumbs.db", "val/desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
    listing = folder.scan(tmp_path)
    assert listing.names == ("ant", "bee") and counts(listing) == {"train": 8, "test": 8}
    assert "left out" not in "".join(listing.notes)


def test_images_are_found_in_folders_below_their_class_and_by_links(tmp_path):
    fill(
        tmp_path / "all",
        "train/ant",
        "train/ant/2023",
        "train/ant/2024/may",
        "train/bee",
        "val/ant",
    )
    (tmp_path / "all" / "train" / "cow").symlink_to(tmp_path / "all" / "val" / "ant")
    (tmp_path / "all" / "train" / "ant" / "again").symlink_to(tmp_path / "all" / "train" / "ant")
    listing = folder.scan(tmp_path / "all")
    train = listing.splits["train"]
    assert np.bincount(train.labels).tolist() == [12, 4, 4]
    assert list(train.paths[:12]) == sorted(train.paths[:12])


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_read_or_left_out_by_name(tmp_path, ending):
    fill(tmp_path, "train/ant", "train/bee", "val/ant", ending=ending, count=2, level=80)
    (tmp_path / "train" / "ant" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "ant" / "LICENSE").write_text("no image")
    picture(1).save(tmp_path / "train" / "loose.jpg")
    images = imagenet.load(f"folder:{tmp_path}", "", 8)
    assert images.train_examples == 4
    assert images.notes[0] == (
        f"data: 6 images of 2 classes (ant, bee) in {tmp_path}: 4 to train, 2 of val, tested at the end; left out: "
        "1 .jpg outside of the classes' folders, 1 .txt, 1 without an ending"
    )
    ((pixels, labels),) = imagenet.train_batches(images, 0, 0, 4)
    assert np.abs(pixels.astype(int) - 80).max() <= 2 and sorted(labels) == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_chooses_and_test_is_read_once(tmp_path, name):
    fill(tmp_path, "train/ant", "train/bee", f"{name}/ant", "test/bee", count=2)
    listing = folder.scan(tmp_path)
    assert counts(listing) == {"train": 4, "validation": 2, "test": 2}
    assert f"2 of {name} choose the best checkpoint, 2 of test are read once" in listing.notes[0]
    images = imagenet.load(f"folder:{tmp_path}", "", 8)
    assert images.validation is not None
    assert images.validation.labels.tolist() == [0, 0] and images.test.labels.tolist() == [1, 1]


def test_a_flat_folder_holds_a_part_of_each_class_out(tmp_path):
    fill(tmp_path, "ant", "bee", count=10)
    fill(tmp_path, "cow", count=2)
    first, again, other = (folder.scan(tmp_path, seed=seed) for seed in (0, 0, 1))
    for listing in (first, other):
        assert np.bincount(listing.splits["test"].labels).tolist() == [2, 2, 1]
        assert np.bincount(listing.splits["train"].labels).tolist() == [8, 8, 1]
        both = {path for part in listing.splits.values() for path in part.paths}
        assert len(both) == 22
    assert first.held_out == again.held_out != other.held_out
    assert [str(tmp_path / file) for file in first.held_out] == list(first.splits["test"].paths)
    assert "held out by the seed" in first.notes[0]
    more = folder.scan(tmp_path, test_fraction=0.5)
    assert np.bincount(more.splits["test"].labels).tolist() == [5, 5, 1]
    with pytest.raises(InputError, match="^test_fraction: found 1.5, expected more than 0"):
        folder.scan(tmp_path, test_fraction=1.5)


def test_a_class_that_is_called_train_is_a_class(tmp_path):
    fill(tmp_path, "bus", "train", count=5)
    assert folder.scan(tmp_path).names == ("bus", "train")


def test_classes_that_cannot_be_learned_are_named_and_labels_do_not_shift(tmp_path):
    fill(tmp_path, "train/ant", "train/cow", "val/ant", "val/bee")
    fill(tmp_path, "train/dog", count=1)
    (tmp_path / "train" / "eel").mkdir()
    listing = folder.scan(tmp_path)
    assert listing.names == ("ant", "bee", "cow", "dog", "eel")
    assert np.bincount(listing.splits["train"].labels).tolist() == [4, 0, 4, 1]
    assert listing.notes[1:] == (
        "warning: the class bee is only in what is held out",
        "warning: the class eel has no image at all",
        "warning: the class dog has one image to train on",
        "warning: the classes cow, dog are not tested",
    )


def test_labels_are_those_of_known_classes(tmp_path):
    fill(tmp_path, "train/ant", "train/cow", "val/cow")
    listing = folder.scan(tmp_path, names=("ant", "bee", "cow"))
    assert listing.splits["test"].labels.tolist() == [2] * 4
    with pytest.raises(InputError, match="^name: .* has the class cow, expected one of ant, bee$"):
        folder.scan(tmp_path, names=("ant", "bee"))


@pytest.mark.parametrize("folders, message", [
    (["train/ant", "val"], r"^name: found no image in .*val$"),
    (["train", "val/ant"], "^name: found no image in .*train$"),
    ([], "^name: found no folder of a class in .*expected DIR/CLASS/"),
    (["train/ant"], "^name: found the splits train in .*expected train and one of val, valid"),
    (["train/ant", "val/ant", "valid/ant"], "has val and valid, expected one of them"),
    (["val/ant", "val/bee"], "^name: found val in .* without train, expected train beside it, or the classes"),
    (["validation/ant", "test/ant", "readme"], "^name: found validation and test in .* without train"),
])  # fmt: skip
def test_a_folder_without_images_in_a_split_is_refused(tmp_path, folders, message):
    for name in folders:
        if "/" in name:
            fill(tmp_path, name)
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(InputError, match=message) as error:
        folder.scan(tmp_path)
    assert "\n" not in str(error.value)


def test_a_class_that_is_called_test_is_a_class(tmp_path):
    fill(tmp_path, "practice", "test")
    fill(tmp_path, "test/deep", count=1)
    assert folder.scan(tmp_path).names == ("practice", "test")


@pytest.mark.parametrize("closed", [".", "train", "train/bee", "train/bee/deep", "val/ant"])
def test_a_closed_folder_is_refused_by_its_name(tmp_path, monkeypatch, closed):
    fill(tmp_path, "train/ant", "train/bee", "train/bee/deep", "val/ant", "val/bee")
    place = str(tmp_path / closed)

    def closing(real):
        def listed(path):
            if str(path) == place:
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return real(path)

        return listed

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, closing(getattr(os, name)))
    message = rf"^{place}: Permission denied, expected a folder that can be read$"
    with pytest.raises(InputError, match=message):
        folder.scan(tmp_path)
    if closed != ".":
        with pytest.raises(InputError, match=message):
            files.find([tmp_path])
    if closed in ("train", "train/bee"):
        assert not folder.is_images(tmp_path)


def test_no_folder_is_not_the_current_one(tmp_path, monkeypatch):
    fill(tmp_path, "ant", "bee")
    monkeypatch.chdir(tmp_path)
    assert folder.scan(".").names == ("ant", "bee")
    with pytest.raises(
        InputError, match=r"^name: found folder: .*expected folder:DIR .*--data DIR"
    ):
        folder.scan("")


def test_a_split_of_other_files_is_refused_by_name(tmp_path):
    fill(tmp_path, "train/ant", "val/ant", count=2)
    for file in (tmp_path / "val" / "ant").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(InputError, match=r"found no image in .*val \(2 \.heic cannot be read"):
        folder.scan(tmp_path)


def test_a_damaged_image_is_named_or_skipped_and_counted(tmp_path):
    fill(tmp_path, "train/ant", "train/bee", "val/ant", "val/bee")
    damaged = tmp_path / "train" / "bee" / "3.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    images = imagenet.load(f"folder:{tmp_path}", "", 8)
    with pytest.raises(InputError, match=rf"^{damaged} cannot be read .*skip_damaged") as error:
        list(imagenet.train_batches(images, 0, 0, 2))
    assert "\n" not in str(error.value)
    images = imagenet.load(f"folder:{tmp_path}", "", 8, skip_damaged=True)
    assert images.train_examples == 7 and images.test_examples == 8
    assert (
        images.notes[1]
        == f"warning: damaged and skipped: 1 of the 8 images of train, such as {damaged}"
    )
    assert sum(len(labels) for _, labels in imagenet.train_batches(images, 0, 0, 1)) == 7


def test_an_image_that_is_gone_is_named(tmp_path):
    fill(tmp_path, "train/ant", "val/ant")
    images = imagenet.load(f"folder:{tmp_path}", "", 8)
    (tmp_path / "train" / "ant" / "2.jpg").unlink()
    with pytest.raises(InputError, match=r"train/ant/2\.jpg: No such file .*when it is back"):
        list(imagenet.train_batches(images, 0, 0, 2))


def test_the_images_to_predict_are_found_and_the_rest_is_told(tmp_path):
    fill(tmp_path, "a", "b/c", count=1)
    (tmp_path / "b.txt").write_text("no image")
    (tmp_path / "._a.jpg").write_bytes(b"x")
    found, left_out = files.find([tmp_path])
    assert found == {name: tmp_path / name for name in ("a/0.jpg", "b/c/0.jpg")}
    assert left_out == "1 .txt"
