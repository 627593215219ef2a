"""SBD as its authors distribute it, beside a small VOCdevkit: train_aug made of both, refused where it is wrong."""

import shutil

import numpy as np
import pytest
from scipy.io import savemat

from nge_jax.data.voc_segmentation import batches as voc
from nge_jax.data.voc_segmentation import devkit, sbd
from nge_jax.data.voc_segmentation import masks as voc_masks
from nge_jax.errors import InputError
from tests.helpers.devkits import remove, write_devkit

SBD = "VOCdevkit/benchmark_RELEASE/dataset"
MAT = f"{SBD}/cls/2007_000003.mat"


def name_of(number):
    return f"2007_{number:06d}"


def write_mat(path, labels):
    """Writes a mask with the fields of SBD's files."""
    boundaries = np.empty((20, 1), object)
    boundaries[:] = [[np.zeros(labels.shape, np.uint8)]] * 20
    present = np.setdiff1d(labels, [0])[:, None]
    fields = {"Segmentation": labels, "Boundaries": boundaries, "CategoriesPresent": present}
    savemat(path, {"GTcls": fields}, do_compression=True)


def write_folders(parent):
    """Makes an official VOCdevkit (2 images of train, 3 of val), with SBD beside VOC2012. SBD lists some of both.

    Returns VOC2012 and the masks of train and of SBD by name.
    """
    root, masks = write_devkit(parent)
    shutil.rmtree(root / "SegmentationClassAug")
    (root / "ImageSets/Segmentation/train_aug.txt").unlink()
    dataset = parent / SBD
    for folder in ("cls", "img"):
        (dataset / folder).mkdir(parents=True)
    lists = {"train": (6, 7, 2, 1), "val": (8, 5, 3, 4)}  # 0 and 1 are VOC's train, 7 to 9 its val
    for split, numbers in lists.items():
        (dataset / f"{split}.txt").write_text("".join(f"{name_of(n)}\n" for n in numbers))
        for name in map(name_of, numbers):
            labels = np.where(masks[name] == devkit.IGNORE, 0, masks[name])
            write_mat(sbd.mask_path(dataset, name), labels)
            shutil.copy(root / f"JPEGImages/{name}.jpg", dataset / "img")
            if name_of(1) < name < name_of(7):
                masks[name] = labels
    (root / f"JPEGImages/{name_of(6)}.jpg").unlink()
    return root, masks


def test_train_aug_is_sbd_and_train_without_val(tmp_path):
    root, masks = write_folders(tmp_path)
    found = devkit.examples(devkit.find(tmp_path))
    assert {split: len(examples) for split, examples in found.items()} == {
        "train": 2,
        "val": 3,
        "train_aug": 7,
    }
    examples = found["train_aug"]
    assert [example.id for example in examples] == [name_of(n) for n in range(7)]
    masks_of = [example.mask.parent.relative_to(tmp_path) for example in examples]
    assert (
        list(map(str, masks_of)) == ["VOCdevkit/VOC2012/SegmentationClass"] * 2 + [f"{SBD}/cls"] * 5
    )
    images_of = [str(example.image.parent.relative_to(tmp_path)) for example in examples]
    assert images_of == ["VOCdevkit/VOC2012/JPEGImages"] * 6 + [f"{SBD}/img"]
    for example in examples:
        mask = voc_masks.read(example)
        assert mask.dtype == np.uint8 and (devkit.IGNORE in mask) == (example.id < name_of(2))
        np.testing.assert_array_equal(mask, masks[example.id])


def test_it_is_prepared_and_trained_on(tmp_path):
    _, masks = write_folders(tmp_path)
    data = voc.load(str(tmp_path / "VOCdevkit"), str(tmp_path / "tfds"))
    assert (data.train_split, data.train_examples, data.test_examples) == ("train_aug", 7, 3)
    examples = voc._decoded(data.train, data.features, np.arange(7)).as_numpy_iterator()
    found = {example["id"].decode(): example for _, example in examples}
    assert sorted(found) == [name_of(n) for n in range(7)]
    for name, example in found.items():
        np.testing.assert_array_equal(example["mask"][..., 0], masks[name])
        assert example["image"].shape == (*masks[name].shape, 3)


@pytest.mark.parametrize("beside", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_it_lies_in_or_beside_the_devkits_folders(beside, tmp_path, monkeypatch):
    root, _ = write_folders(tmp_path)
    if beside != "VOCdevkit":
        (tmp_path / "VOCdevkit/benchmark_RELEASE").rename(tmp_path / beside / "benchmark_RELEASE")
    for given in (tmp_path, root.parent, root):
        assert len(devkit.examples(devkit.find(given))["train_aug"]) == 7
    monkeypatch.chdir(root)
    assert len(devkit.examples(devkit.find("."))["train_aug"]) == 7
    monkeypatch.chdir(root / "JPEGImages")
    assert len(devkit.examples(devkit.find(".."))["train_aug"]) == 7


def test_a_list_of_the_devkits_own_goes_before_it(tmp_path):
    root, _ = write_devkit(tmp_path / "alone")
    expected = devkit.examples(root)
    write_folders(tmp_path / "official")
    shutil.copytree(tmp_path / "official" / SBD, tmp_path / "alone" / SBD)
    assert devkit.examples(root) == expected
    shutil.rmtree(root / "SegmentationClassAug")
    with pytest.raises(InputError, match="train_aug.txt without SegmentationClassAug, expected"):
        devkit.examples(root)


def mat(labels):
    return lambda parent: write_mat(parent / MAT, labels)


def save(content):
    return lambda parent: savemat(parent / MAT, content)


def cut(size):
    return lambda parent: (parent / MAT).write_bytes((parent / MAT).read_bytes()[:size])


def write(path, text):
    return lambda parent: (parent / path).write_text(text)


LABELS = np.zeros((27, 37), np.uint8)


@pytest.mark.parametrize("spoil, message", [
    (write(MAT, "none"), "000003.mat cannot be read as a MATLAB file"),
    (cut(0), "000003.mat cannot be read as a MATLAB file"),
    (cut(200), "000003.mat cannot be read as a MATLAB file"),
    (save({"other": LABELS}), "000003.mat: no GTcls.Segmentation"),
    (save({"GTcls": LABELS}), "000003.mat: no GTcls.Segmentation"),
    (save({"GTcls": {"Boundaries": LABELS}}), "000003.mat: no GTcls.Segmentation"),
    (save({"GTcls": {"Segmentation": LABELS.astype(object)}}), "GTcls.Segmentation is no matrix"),
    (save({"GTcls": {"Segmentation": LABELS[..., None, None] + [0, 1]}}), "is no matrix"),
    (mat(LABELS.T), "000003.mat: 27x37 pixels, expected 37x27 as .*000003.jpg has"),
    (mat(LABELS + 21), "000003.mat: unknown label 21, expected 0 to 20 or 255"),
    (mat(LABELS + 1.5), "000003.mat: unknown label 1.5, expected 0 to 20 or 255"),
    (remove(MAT), "val.txt: 2007_000003 is listed, but there is no .*cls/2007_000003.mat"),
    (remove(f"{SBD}/img/2007_000006.jpg"), "no .*VOC2012/.*000006.jpg nor .*img/2007_000006.jpg"),
    (remove(f"{SBD}/val.txt"), "val.txt cannot be read"),
    (write(f"{SBD}/val.txt", "2007_000003\n" * 2), "val.txt: found 2007_000003 twice, expected each name once"),
])  # fmt: skip
def test_a_wrong_folder_is_refused_and_nothing_prepared(spoil, message, tmp_path):
    write_folders(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        voc.load(str(tmp_path / "VOCdevkit"), str(tmp_path / "tfds"))
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "tfds").glob("**/*.tfrecord*"))


def test_an_image_that_is_no_picture_is_refused(tmp_path):
    root, _ = write_folders(tmp_path)
    (root / f"JPEGImages/{name_of(3)}.jpg").write_text("none")
    example = devkit.examples(root)["train_aug"][3]
    with pytest.raises(InputError, match=r"000003.jpg cannot be read as an image \(no image"):
        voc_masks.read(example)
