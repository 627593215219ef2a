"""A devkit with classes of its own: names, masks, colors and orientations, and the refusals' words."""

import shutil

import numpy as np
import pytest
from PIL import Image

from nge_jax.data.voc_segmentation import batches as voc
from nge_jax.data.voc_segmentation import class_names, devkit, user_masks
from nge_jax.data.voc_segmentation import masks as voc_masks
from nge_jax.errors import ArgumentError, InputError
from tests.helpers.devkits import epoch_of, write_devkit

NAMES = ("ground", "cell wall", "kern", "nowhere")
MASK = "SegmentationClassAug/2007_000003.png"
VOC_MASK = "SegmentationClass/2007_000007.png"


@pytest.fixture
def written(tmp_path):
    root, masks = write_devkit(tmp_path)
    (root / "labels.txt").write_text("\n".join(NAMES) + "\n")
    return root, masks


def test_it_is_read_from_its_files_and_says_so(written, tmp_path):
    root, masks = written
    (root / "JPEGImages/2007_000003.jpg").rename(root / "JPEGImages/2007_000003.JPEG")
    data = voc.load(str(tmp_path), str(tmp_path / "tfds"))
    assert data.class_names == NAMES and not (tmp_path / "tfds").exists()
    assert (data.train_split, data.train_examples, data.test_examples) == ("train_aug", 7, 3)
    assert data.notes == (
        f"data: 4 classes ({', '.join(NAMES)}) in {root}: 7 of train_aug to train, 3 of val, tested at the end",
        "warning: no pixel of train_aug is of the class nowhere",
        "warning: no pixel of val is of the class nowhere (not tested)",
    )
    (batch,) = voc.test_batches(data, 3, 45)
    assert batch.ids == sorted(masks)[7:]
    for mask, name, (height, width) in zip(batch.masks, batch.ids, batch.sizes, strict=True):
        np.testing.assert_array_equal(mask[:height, :width], masks[name])
    images, found = epoch_of(data, 0, 7)
    assert images.shape == (7, 33, 33, 3) and found.shape == (7, 33, 33)
    assert set(np.unique(found)) == {0, 1, 2, 255}
    with pytest.raises(ArgumentError, match="size: found 30, expected 3. or more for the image"):
        voc.check_test_size(data, 30)


def test_a_networks_classes_are_found_by_their_names(written):
    root, masks = written
    known = ("nowhere", "kern", "sky", "ground", "cell wall")
    data = voc.load(str(root), known=known)
    assert data.class_names == known
    numbers = np.full(256, 255)
    numbers[:4] = [3, 4, 1, 0]
    for index, example in enumerate(data.train.examples):
        found = user_masks.read(data.train, index).mask[..., 0]
        np.testing.assert_array_equal(found, numbers[masks[example.id]])
    with pytest.raises(InputError, match="labels.txt: has the class kern, expected one of ground"):
        voc.load(str(root), known=("ground", "cell wall", "nowhere"))
    (root / "labels.txt").unlink()
    with pytest.raises(InputError, match="found VOC's 21 classes, expected ground, .*labels.txt"):
        voc.load(str(root), known=NAMES)


def test_a_mask_that_was_drawn_anew_changes_what_the_folder_is_recognized_by(written):
    root, _ = written
    before = voc.load(str(root)).inventory
    assert before == voc.load(str(root)).inventory and before is not None
    mask = np.asarray(Image.open(root / MASK)).copy()
    mask[0, 0] = 1 if mask[0, 0] != 1 else 0
    save(root, MASK, mask)
    after = voc.load(str(root)).inventory
    assert after is not None and after.checksum != before.checksum
    assert before.class_counts["train_aug"] == (7, 7, 7, 0)


def test_a_file_that_was_damaged_since_is_named(written):
    root, _ = written
    data = voc.load(str(root))
    (root / "JPEGImages/2007_000008.jpg").write_text("none")
    with pytest.raises(InputError, match="2007_000008.* cannot be read"):
        list(voc.test_batches(data, 1, 45))


@pytest.mark.parametrize("text, names", [
    ("a\nb", ("a", "b")),
    ("\ufeff_background_ \r\nred car\r\n\r\n", ("_background_", "red car")),
    ("__ignore__\n_background_\ncat\n", ("_background_", "cat")),  # labelme's
])  # fmt: skip
@pytest.mark.parametrize("file", class_names.FILES)
def test_names_are_read_line_by_line(tmp_path, file, text, names):
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert class_names.read(tmp_path) == names


@pytest.mark.parametrize("content, message", [
    (b"a\n\nb\n", "labels.txt: found an empty line for class 1, expected a name"),
    (b"a\nb\na\n", "labels.txt: found a once more for class 2, expected a name"),
    (b"a\n", "labels.txt: found 1 names, expected 2 to 255 lines of one"),
    (b"", "labels.txt: found 0 names, expected 2"),
    (b"\n".join(b"%d" % i for i in range(256)), "labels.txt: found 256 names"),
    (b"a\nb\x07\n", r"labels.txt: found 'b\\x07' for class 1"),
    (b"a\n\xff\xfe\n", r"labels.txt cannot be read \(bytes that are no text in UTF-8"),
])  # fmt: skip
def test_wrong_names_are_refused(tmp_path, content, message):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        class_names.read(tmp_path)
    assert "\n" not in str(error.value)


def test_two_files_of_names_must_agree(tmp_path):
    for file in class_names.FILES:
        (tmp_path / file).write_text("a\nb\n")
    assert class_names.read(tmp_path) == ("a", "b")
    (tmp_path / class_names.FILES[1]).write_text("b\na\n")
    with pytest.raises(InputError, match="labels.txt and class_names.txt differ"):
        class_names.read(tmp_path)


def save(root, path, labels, palette=None, mode=None):
    picture = Image.fromarray(np.asarray(labels))
    if palette is not None:
        picture.putpalette(palette)
    (picture if mode is None else picture.convert(mode)).save(root / path)


def example_of(root, number):
    listed = devkit.examples(root)
    return next(e for e in listed["train_aug"] + listed["val"] if e.id.endswith(str(number)))


def test_colors_are_free_with_own_classes_and_vocs_without(written):
    root, masks = written
    labels = masks["2007_000003"]
    for palette in (
        None,
        [*range(256)] * 3,
        np.repeat(np.arange(256), 3).tolist(),
        [9, 9, 9] * 256,
    ):
        save(root, MASK, labels, palette)
        np.testing.assert_array_equal(voc_masks.read(example_of(root, 3), NAMES), labels)
        if palette is not None and palette[3:6] != [1, 1, 1]:
            with pytest.raises(InputError, match="palette's color of 0 is .*VOC's of background"):
                voc_masks.read(example_of(root, 3))
        else:
            np.testing.assert_array_equal(voc_masks.read(example_of(root, 3)), labels)
    save(root, MASK, labels == 1, mode="1")
    np.testing.assert_array_equal(voc_masks.read(example_of(root, 3), NAMES), labels == 1)
    with pytest.raises(InputError, match="000003.png: a picture of mode 1, expected a palette"):
        voc_masks.read(example_of(root, 3))
    save(root, MASK, np.full_like(labels, 4))
    with pytest.raises(InputError, match="000003.png: unknown label 4, expected 0 to 3 or 255$"):
        voc.load(str(root))


@pytest.mark.parametrize("label, found", [(0, r"no label but 0 \(ground\)"), (255, "no label")])
def test_fewer_than_two_classes_are_refused(written, label, found):
    root, masks = written
    for name in sorted(masks)[:7]:
        labels = np.where(masks[name] == 255, 255, label).astype(np.uint8)
        save(root, f"SegmentationClassAug/{name}.png", labels)
    with pytest.raises(InputError, match=f"the masks of train_aug have {found}, .*two cl"):
        voc.load(str(root))


def test_fewer_than_two_of_vocs_classes_are_refused_too(tmp_path):
    root, masks = write_devkit(tmp_path)
    for name in sorted(masks)[:7]:
        save(root, f"SegmentationClassAug/{name}.png", np.zeros_like(masks[name]))
    with pytest.raises(InputError, match=r"train_aug have no label but 0 \(background\)"):
        voc.load(str(root), str(tmp_path / "tfds"))


@pytest.mark.parametrize("own", [True, False])
def test_masks_to_test_on_without_a_label_are_refused(written, tmp_path, own):
    root, masks = written
    if not own:
        (root / "labels.txt").unlink()
    for name in sorted(masks)[7:]:
        save(root, f"SegmentationClass/{name}.png", np.full_like(masks[name], 255))
    with pytest.raises(InputError, match="the masks of val have no label, expected pixels of"):
        voc.load(str(root), str(tmp_path / "tfds"))


def test_classes_that_are_not_tested_are_named_and_images_in_both_lists_counted(written, tmp_path):
    root, masks = written
    for name in sorted(masks)[7:]:
        save(root, f"SegmentationClass/{name}.png", np.minimum(masks[name], 1))
    shutil.copy(root / "JPEGImages/2007_000001.jpg", root / "JPEGImages/2007_000008.jpg")
    save(root, "SegmentationClass/2007_000008.png", np.minimum(masks["2007_000001"], 1))
    notes = voc.load(str(root)).notes
    assert "warning: no pixel of val is of the class kern, nowhere (not tested)" in notes
    assert "1 image of val is in train_aug too, the same by the bytes" in notes[-1]
    (root / "labels.txt").unlink()
    (note,) = voc.load(str(root), str(tmp_path / "tfds")).notes
    assert note.startswith("warning: no pixel of val is of the class bicycle, bird, boat, bottle,")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_that_is_stored_turned_agrees_with_its_mask(written, orientation):
    """A mask may fit the shown or the stored image, if the mask's size tells which."""
    root, masks = written
    shown = masks["2007_000007"]
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Each orientation undoes itself, except for the two quarter turns, which undo each other.
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    turns = [None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
             Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE,
             Image.Transpose.ROTATE_90]  # fmt: skip
    turn = turns[undo - 1]
    assert turn is not None
    with Image.open(root / "JPEGImages/2007_000007.jpg") as image:
        image.transpose(turn).save(root / "JPEGImages/2007_000007.jpg", quality=100, exif=exif)
    stored = np.asarray(Image.fromarray(shown).transpose(turn))
    for drawn_on in (shown, stored):
        save(root, VOC_MASK, drawn_on)
        if orientation < 5:  # both have one size
            with pytest.raises(InputError, match=f"EXIF orientation {orientation}.*as it is shown"):
                voc_masks.read(example_of(root, 7), NAMES)
            continue
        np.testing.assert_array_equal(voc_masks.read(example_of(root, 7), NAMES), shown)
    if orientation < 5:
        save(root, VOC_MASK, np.zeros_like(shown))  # the same whichever way
        np.testing.assert_array_equal(voc_masks.read(example_of(root, 7)), np.zeros_like(shown))
        return
    data = voc.load(str(root))
    _, _, image, labels = user_masks.read(data.test, 0)
    np.testing.assert_array_equal(labels[..., 0], shown)
    assert image.shape[:2] == shown.shape and (image[:10, :14] - [200, 0, 0]).max() < 10
    save(root, VOC_MASK, np.zeros((9, 7), np.uint8))
    with pytest.raises(InputError, match="000007.png: 7x9 pixels, expected 33x31 as"):
        voc.load(str(root))
