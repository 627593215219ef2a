"""Folders are splits, classes or neither, by their names and by what lies in them."""

import json

import pytest

from nge_jax.data import spec as dataset_spec
from nge_jax.data.folders import split_names
from nge_jax.data.photographs import files, folder
from nge_jax.data.spec import SMALL, DatasetSpec
from nge_jax.errors import InputError
from tests.helpers.image_folders import counts, fill


@pytest.mark.parametrize("name, split", [
    *((name, "train") for name in ("train", "Train", "TRAINING", "seg_train", "training_set", "trainset", "train2017",
                                   "Train_Images", "trainSet", "data-train")),
    *((name, "validation") for name in ("VAL", "Valid", "validation_data", "val2017", "dev")),
    *((name, "test") for name in ("Test", "test1", "seg_test", "Testing", "test_set", "testset", "evaluation")),
    *((name, None) for name in ("bullet_train", "trainers", "contest", "invalid", "set", "images", "fold1")),
])  # fmt: skip
def test_a_split_is_known_by_its_usual_names(name, split):
    assert split_names.split_of(name) == split


@pytest.mark.parametrize("train, test", [
    ("Train", "Test"),
    ("TRAIN", "VAL"),
    ("Training", "Testing"),
    ("training_set", "test_set"),
    ("training_set/training_set", "test_set/test_set"),
    ("seg_train/seg_train", "seg_test/seg_test"),
    ("train", "val2017"),
])  # fmt: skip
def test_splits_are_no_classes_whatever_they_are_called(tmp_path, train, test):
    fill(tmp_path, f"{train}/ant", f"{train}/bee", f"{test}/ant", f"{test}/bee")
    fill(tmp_path, "seg_pred", count=2)
    listing = folder.scan(tmp_path)
    assert listing.names == ("ant", "bee") and counts(listing) == {"train": 8, "test": 8}
    assert f"8 of {test.partition('/')[0]}" in listing.notes[0]
    assert "of 2 classes (ant, bee) in" in listing.notes[0]
    assert listing.notes[0].endswith("; left out: the folder seg_pred")
    assert folder.is_images(tmp_path)


def test_a_written_name_goes_before_its_other_forms(tmp_path):
    fill(tmp_path, "train/ant", "train/bee", "val/ant", "Train/cow", "test1")
    listing = folder.scan(tmp_path)
    assert listing.names == ("ant", "bee") and counts(listing) == {"train": 8, "test": 4}
    assert listing.notes[0].endswith("; left out: the folders Train, test1")


def test_splits_of_each_class_are_read(tmp_path):
    fill(tmp_path, "ant/train", "ant/train/deep", "ant/Test", "bee/train", "bee/test", "cow/train")
    listing = folder.scan(tmp_path)
    assert listing.names == ("ant", "bee", "cow") and counts(listing) == {"train": 16, "test": 8}
    assert listing.splits["test"].labels.tolist() == [0] * 4 + [1] * 4
    (tmp_path / "ant" / "mine.png").touch()
    with pytest.raises(
        InputError, match=r"^name: found .*ant/mine.png beside .*ant/train and .*ant/Test, expected"
    ):
        folder.scan(tmp_path)


@pytest.mark.parametrize("folders, message", [
    (["train", "test1"], r"found pictures and no folder of a class in .*train, expected .*train/CLASS/\*$"),
    (["Train", "Test"], "found pictures and no folder of a class in .*Train,"),
    (["train", "val", "ant"], "found pictures and no folder of a class in .*train,"),
    (["train/ant", "train/bee", "test1"], "found pictures and no folder of a class in .*test1,"),
    (["Train/ant", "Train/bee"], "found the splits Train in .*folder:.*Train holds a part of each out"),
    (["Train/ant", "TRAIN/bee", "Test/ant"], "has (Train and TRAIN|TRAIN and Train), expected one of them"),
    (["seg_test/ant", "seg_test/bee"], "found seg_test in .* without train"),
    (["val", "test"], r"found test, val in .*, names of splits, expected DIR/train/CLASS/\*"),
    (["fold_1/ant", "fold_2/ant"], "found fold_1, fold_2 in .*, names of splits"),
    (["train_cat", "train_dog", "test_cat"], "found test_cat, train_cat, train_dog in .*, names of splits"),
    (["trainA", "trainB", "testA", "testB"], "found testA, testB, trainA, trainB in .*, names of splits"),
    (["images", "masks"], "found images, masks in .*, as of a segmentation or a detection"),
    (["images/train", "images/val", "labels/train"], "found images, labels in .*as of a segmentation"),
    (["train/images", "train/labels", "test/images"], "found images, labels in .*/train, as of a segmentation"),
    (["JPEGImages", "SegmentationClass", "Annotations"], "as of a segmentation"),
    (["photos/train", "photos/test"], r"and no other class in .*, expected folder:.*/photos$"),
    (["ant/train", "ant/test", "bee"], "found .*bee/0.png beside .*ant/train and .*ant/test, expected"),
    (["ant/train", "ant/test", "ant/truth", "bee"], "found .*ant/truth beside .*ant/train and .*ant/test, expected"),
])  # fmt: skip
def test_splits_that_cannot_be_read_are_refused_in_one_line(tmp_path, folders, message):
    fill(tmp_path, *folders)
    with pytest.raises(InputError, match=f"^name: .*{message}") as error:
        folder.scan(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folders", [
    ["bus", "train"], ["practice", "test"], ["bullet_train", "steam_train"], ["valid", "invalid"], ["mask", "no_mask"],
    ["training/2019", "match", "test"], ["ant/2023", "ant/2024", "bee/2023"], ["some/train", "some/bus", "pets"],
])  # fmt: skip
def test_classes_that_are_called_like_splits_stay_classes(tmp_path, folders):
    fill(tmp_path, *folders)
    classes = {name.partition("/")[0] for name in folders}
    assert folder.scan(tmp_path).names == tuple(sorted(classes))


def test_what_this_program_has_written_is_no_data(tmp_path):
    fill(
        tmp_path,
        "ant",
        "bee",
        "ant/runs/one",
        "runs/two",
        "runs/three/seed-0",
        "notes/runs/four",
        count=8,
    )
    environment = json.dumps({"program": "nge_jax"})
    for name in ("ant/runs/one", "runs/two", "runs/three"):
        (tmp_path / name / "environment.json").write_text(environment)
    (tmp_path / "notes" / "runs" / "four" / "run.lock").touch()  # a run that begins now
    fill(tmp_path, "exported", count=1)
    spec = DatasetSpec(SMALL, (8, 8, 1), (0.5,), (0.25,), ("ant", "bee"))
    (tmp_path / "exported" / "dataset.json").write_text(dataset_spec.to_json(spec))
    listing = folder.scan(tmp_path)
    assert listing.names == ("ant", "bee") and counts(listing) == {"train": 12, "test": 4}
    runs = "ant/runs/one, exported, notes/runs/four, runs/three, runs/two"
    assert listing.notes[0].endswith(f"; left out: the runs of nge_jax {runs}")
    paths, left_out = files.find([tmp_path])
    assert len(paths) == 16 and left_out == f"the runs of nge_jax {runs}"
    # Another program may write an environment.json: such a folder is a class.
    (tmp_path / "runs" / "two" / "environment.json").write_text(json.dumps({"program": "conda"}))
    assert folder.scan(tmp_path).names == ("ant", "bee", "runs")
    assert len(files.find([tmp_path / "ant" / "runs" / "one"])[0]) == 8  # the user names it
