"""A small VOCdevkit folder: read, refused where it is wrong, prepared by TFDS, batched and augmented."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nge_jax.data import order
from nge_jax.data.photographs.batches import MEAN
from nge_jax.data.voc_segmentation import augment as voc_augment
from nge_jax.data.voc_segmentation import batches as voc
from nge_jax.data.voc_segmentation import devkit
from nge_jax.data.voc_segmentation import masks as voc_masks
from nge_jax.errors import InputError, arguments_as
from tests.helpers.devkits import COLORS, CROP, SEED, epoch_of, remove, write_devkit


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Makes (VOC2012 folder, masks by name, tfds folder with the prepared data set)."""
    parent = tmp_path_factory.mktemp("devkit")
    root, masks = write_devkit(parent)
    voc.load(str(parent / "VOCdevkit"), str(parent / "tfds"))
    return root, masks, str(parent / "tfds")


def test_the_prepared_examples_are_the_folders(small):
    root, masks, tfds_dir = small
    data = voc.load(data_dir=tfds_dir)
    assert (data.train_split, data.train_examples, data.test_examples) == ("train_aug", 7, 3)
    examples = voc._decoded(data.train, data.features, np.arange(7)).as_numpy_iterator()
    found = {example["id"].decode(): example for _, example in examples}
    assert sorted(found) == sorted(masks)[:7]
    for name, example in found.items():
        np.testing.assert_array_equal(example["mask"][..., 0], masks[name])
        assert example["image"].shape == (*masks[name].shape, 3)


def test_without_sbd_it_trains_on_train(tmp_path):
    root, masks = write_devkit(tmp_path)
    (root / "ImageSets/Segmentation/train_aug.txt").unlink()
    found = devkit.examples(devkit.find(tmp_path))
    assert {split: len(examples) for split, examples in found.items()} == {"train": 2, "val": 3}
    assert {example.mask.parent.name for example in found["train"]} == {"SegmentationClass"}
    np.testing.assert_array_equal(voc_masks.read(found["val"][0]), masks["2007_000007"])
    data = voc.load(str(tmp_path), str(tmp_path / "tfds"))
    assert (data.train_split, data.train_examples) == ("train", 2)


def test_what_is_stored_turned_or_is_no_jpeg_is_prepared_upright(tmp_path):
    root, masks = write_devkit(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(root / "JPEGImages/2007_000007.jpg") as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.save(root / "JPEGImages/2007_000007.jpg", exif=exif)
    with Image.open(root / "JPEGImages/2007_000008.jpg") as image:
        image.save(root / "JPEGImages/2007_000008.jpg", "png")
    data = voc.load(str(tmp_path), str(tmp_path / "tfds"))
    voc.check_test_size(data, 40)
    (batch,) = voc.test_batches(data, 3, 40)
    for image, mask, name, (height, width) in zip(*batch, strict=True):
        np.testing.assert_array_equal(mask[:height, :width], masks[name])
        assert np.abs(image[:10, :14] - np.array([200, 0, 0])).max() < 50


def test_an_epoch_is_the_same_wherever_it_starts_and_however_it_is_divided(small):
    data = voc.load(data_dir=small[2])
    images, masks = epoch_of(data, 0, 2)
    assert images.shape == (6, CROP, CROP, 3) and images.dtype == masks.dtype == np.uint8
    assert masks.shape == (6, CROP, CROP)
    for found, expected in zip(epoch_of(data, 0, 2, 1), (images, masks), strict=True):
        np.testing.assert_array_equal(found, expected[2:])
    for process in (0, 1):
        found, _ = epoch_of(data, 0, 2, process_index=process, process_count=2)
        np.testing.assert_array_equal(found, images[process::2])
    again, _ = epoch_of(data, 1, 2)
    assert (again != images).any()


def test_an_image_is_augmented_anew_each_epoch(small):
    data = voc.load(data_dir=small[2])
    orders = [order.epoch_order(SEED, epoch, 7, 7, 1).ravel() for epoch in (0, 1)]
    first, second = (epoch_of(data, epoch, 1)[0][np.argsort(o)] for epoch, o in enumerate(orders))
    assert sum((a != b).any() for a, b in zip(first, second, strict=True)) >= 5


def test_image_and_mask_move_together(small):
    data = voc.load(data_dir=small[2])
    seen = set()
    for epoch in range(3):
        images, masks = epoch_of(data, epoch, 1)
        padding = (images == voc_augment.padding_color(MEAN)).all(-1)
        assert (masks[padding] == 255).all()
        for label, color in COLORS.items():
            # Borders are blurred in the image and not in the mask; most pixels are inside.
            here = (masks == label) & ~padding
            near = np.abs(images[here].astype(int) - color).max(-1) < 60
            assert near.mean() > 0.85
            seen |= {label} if here.any() else set()
        seen |= {"padding"} if padding.any() else set()
    assert seen == {*COLORS, "padding"}


def test_data_taken_away_or_cut_off_while_it_is_read_is_told_in_one_line(small, tmp_path):
    data = voc.load(data_dir=small[2])
    file = Path(data.train.paths[0])
    (tmp_path / "cut").write_bytes(file.read_bytes()[:100])
    for name, message in (("gone", "No such file"), ("cut", "the file is cut off")):
        train = data.train._replace(paths=(str(tmp_path / name),))
        with pytest.raises(InputError, match=f"{name}: {message}.*, expected the data") as error:
            epoch_of(data._replace(train=train), 0, 2)
        assert "\n" not in str(error.value)


def test_scaling_pads_and_flips_by_the_key_alone():
    image = np.random.RandomState(0).randint(0, 256, (40, 30, 3)).astype(np.uint8)
    mask = image[..., :1] % 21
    padded, padded_mask = voc_augment.pad(image, mask, 35, MEAN)
    assert padded.shape == (40, 35, 3)
    np.testing.assert_array_equal(padded[:, :30], image)
    assert (padded[:, 30:] == [124, 116, 104]).all() and (padded_mask[:, 30:] == 255).all()
    crops = [
        voc_augment.augment(image, mask, np.array([7, i]), crop=80, mean=MEAN)[1] for i in range(60)
    ]
    # The whole image is inside at every scale: the part without padding tells scale and flip.
    heights = [(crop != 255).any(1).sum() for crop in crops]
    assert set(heights) == {round(40 * scale) for scale in voc_augment.SCALES}
    flipped = [(crop[:, 0] == 255).all() for crop in crops if (crop == 255).any()]
    assert 0.25 < np.mean(flipped) < 0.75


def test_whole_images_are_padded_for_the_test_and_the_last_batch_filled(small):
    root, masks, tfds_dir = small
    data = voc.load(data_dir=tfds_dir)
    batches = list(voc.test_batches(data, 2, 45))
    assert [batch.images.shape for batch in batches] == [(2, 45, 45, 3)] * 2
    names = [name for batch in batches for name in batch.ids]
    assert sorted(names) == ["", *sorted(masks)[7:]]
    for batch in batches:
        for image, mask, name, size in zip(*batch, strict=True):
            expected = np.full((45, 45), 255, np.uint8)
            if name:
                height, width = masks[name].shape
                expected[:height, :width] = masks[name]
                assert np.abs(image[:10, :14] - np.array([200, 0, 0])).max() < 10
                assert (image[height:] == voc_augment.padding_color(MEAN)).all()
                assert tuple(size) == (height, width)
            np.testing.assert_array_equal(mask, expected)
    divided = [list(voc.test_batches(data, 2, 45, process, 2)) for process in (0, 1)]
    for process, parts in enumerate(divided):
        for part, batch in zip(parts, batches, strict=True):
            assert part.ids == batch.ids[process : process + 1]
            np.testing.assert_array_equal(part.images, batch.images[process : process + 1])
            np.testing.assert_array_equal(part.masks, batch.masks[process : process + 1])
    with pytest.raises(InputError, match="^size: found 30, expected 3. or more for the image"):
        list(voc.test_batches(data, 2, 30))


def save(path, pixels):
    return lambda root: Image.fromarray(np.array(pixels, np.uint8)).save(root / path)


def test_a_name_too_long_for_a_path_is_refused(tmp_path):
    with pytest.raises(InputError, match="x: no VOC2012/JPEGImages in it, expected a VOCdevkit"):
        voc.load("x" * 300, str(tmp_path))


MASK = "SegmentationClassAug/2007_000003.png"


@pytest.mark.parametrize("spoil, message", [
    (remove("JPEGImages"), "no VOC2012/JPEGImages in it, expected a VOCdevkit folder"),
    (remove("ImageSets/Segmentation/val.txt"), "VOC2012: no ImageSets/Segmentation/val.txt"),
    (remove("JPEGImages/2007_000003.jpg"), "2007_000003 is listed, but there is no .*000003.jpg"),
    (remove(MASK), "train_aug.txt: 2007_000003 is listed, but there is no .*Aug/2007_000003.png"),
    (save(MASK, np.zeros((9, 7))), "000003.png: 7x9 pixels, expected 37x27 as .*000003.jpg has"),
    (save(MASK, np.full((27, 37), 21)), "000003.png: unknown label 21, expected 0 to 20 or 255"),
    (save(MASK, np.zeros((27, 37, 3))), "^[^:]*000003.png: a picture of mode RGB, expected a palette"),
    (lambda root: (root / MASK).write_text("none"), r"000003.png cannot be read as an image \(no image was found"),
    (lambda root: (root / "JPEGImages/2007_000003.jpg").write_text(""),
     r"000003.jpg cannot be read as an image \(no image was found"),
    (lambda root: (root / "ImageSets/Segmentation/train.txt").write_text("a\na\n"), "train.txt: found a twice"),
    (lambda root: (root / "ImageSets/Segmentation/val.txt").write_text("\n"),
     r"val.txt: found no name of an image, expected one a line$"),
    (lambda root: (root / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xfe"),
     r"val.txt cannot be read \(bytes that are no text in UTF-8"),
])  # fmt: skip
def test_a_wrong_folder_is_refused_and_nothing_prepared(spoil, message, tmp_path):
    root, _ = write_devkit(tmp_path)
    spoil(root)
    with pytest.raises(InputError, match=message) as error:
        voc.load(str(tmp_path / "VOCdevkit"), str(tmp_path / "tfds"))
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "tfds").glob("**/*.tfrecord*"))


def test_what_was_prepared_of_another_folder_is_refused(small, tmp_path):
    root, _ = write_devkit(tmp_path)
    path = root / "ImageSets/Segmentation/train_aug.txt"
    path.write_text(path.read_text().replace("2007_000006\n", ""))
    with pytest.raises(InputError, match="was prepared of another VOCdevkit.*'train_aug': 7"):
        voc.load(str(root), small[2])
    keys = {"folder": "config.data.devkit", "data_dir": "config.data.dir"}
    expected = (
        r"^config\.data\.dir: no prepared voc_segmentation in .* or config\.data\.devkit to name"
    )
    with pytest.raises(InputError, match=expected), arguments_as(**keys):
        voc.load("", str(tmp_path / "nothing"))


@pytest.mark.parametrize("module, when", [(devkit, "examples"), (voc_masks, "read")])
def test_processes_that_prepare_one_folder_at_once_end_alike(module, when, tmp_path, monkeypatch):
    """The other process overtakes this one before the preparation begins, or amid it."""
    write_devkit(tmp_path)
    arguments = str(tmp_path), str(tmp_path / "tfds")
    function, faster = getattr(module, when), []

    def overtaken(argument):
        if not faster:
            monkeypatch.setattr(module, when, function)
            faster.append(voc.load(*arguments))
        return function(argument)

    monkeypatch.setattr(module, when, overtaken)
    data = voc.load(*arguments)
    assert (data.train_split, data.train_examples, data.test_examples) == ("train_aug", 7, 3)
    for split in ("train", "test"):
        for found, expected in zip(getattr(data, split), getattr(faster[0], split), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert not list((tmp_path / "tfds").glob("**/*incomplete*"))


def test_the_real_folder():
    if "NGE_DATA_DIR" not in os.environ:
        pytest.skip("NGE_DATA_DIR is not set: no VOCdevkit here")
    found = devkit.examples(devkit.find(Path(os.environ["NGE_DATA_DIR"])))
    assert {split: len(examples) for split, examples in found.items()} == {
        "train_aug": 240,
        "val": 120,
    }
    labels = {int(label) for e in found["val"][:40] for label in np.unique(voc_masks.read(e))}
    assert {0, 255} < labels and len(labels) > 5
