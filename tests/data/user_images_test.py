"""A user's images in memory: a folder, a TFDS set and an .npz file are read, and settings fit them."""

import errno
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nge_jax.data import resized, small, source, spec, user_images
from nge_jax.data.photographs.split import read_labels
from nge_jax.devices.parallel import Batches
from nge_jax.errors import InputError
from nge_jax.search import images as search_images
from nge_jax.settings.configs import load_config
from nge_jax.train import images as training_images


def noise(count, *shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, *shape)).astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Ten images each of two classes, higher than wide: dark and bright ones."""
    for label, name in enumerate(("dark", "bright")):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index, pixels in enumerate(noise(10, 30, 22, 3, seed=label) // 2 + 120 * label):
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "photos"


def test_a_folder_is_read_once_and_resized(photos):
    opened = user_images.open_images(f"folder:{photos}")
    assert opened.names == ("bright", "dark") and (opened.side, opened.channels) == (22, 3)
    assert (opened.count("train"), opened.count("test")) == (16, 4)
    data = resized.load(opened, 24, test=True)
    assert data.train_images.shape == (16, 24, 24, 3) and data.test_images.shape == (4, 24, 24, 3)
    bright = data.train_images[data.train_labels == 0].mean()
    assert bright > 100 + data.train_images[data.train_labels == 1].mean()
    expected = data.train_images / 255
    np.testing.assert_allclose(data.mean, expected.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(data.std, expected.std((0, 1, 2)), atol=1e-4)
    assert data.labels == opened.names and len(data.held_out) == 4
    assert resized.load(opened, 24).test_images is None
    given = resized.load(opened, 24, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 0.5))
    assert given.mean == (0.1, 0.2, 0.3) and given.std == (1.0, 1.0, 0.5)
    with pytest.raises(InputError, match=r"^mean: found \(0.1,\), expected 3 numbers"):
        resized.load(opened, 24, mean=(0.1,))


def test_images_beyond_the_budget_stay_in_a_file_and_are_the_same(photos):
    opened = user_images.open_images(f"folder:{photos}")
    kept, filed = resized.load(opened, 24), resized.load(opened, 24, budget_gb=1e-6)
    assert isinstance(filed.train_images, np.memmap)
    assert not isinstance(kept.train_images, np.memmap)
    np.testing.assert_array_equal(filed.train_images, kept.train_images)


def test_a_disk_without_room_for_the_file_is_refused(photos, monkeypatch):
    opened = user_images.open_images(f"folder:{photos}")
    monkeypatch.setattr(resized.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"found 0.0 GB free, expected 0.0 GB for .*TMPDIR"):
        resized.load(opened, 24, budget_gb=1e-6)
    resized.load(opened, 24)


def test_a_dispatch_gets_the_images_of_its_steps():
    images, labels = noise(9, 2, 2, 1), np.arange(9, dtype=np.int32)
    indices = np.random.RandomState(1).randint(0, 9, (1, 5, 3)).astype(np.int32)
    part = source.gathered(Batches(images, labels, indices), 1, 4, 4)
    assert part.images.shape == (12, 2, 2, 1)
    assert part.indices.shape == (1, 4, 3)  # always the shape of a whole dispatch
    for row in range(3):
        chosen, expected = part.indices[0, row], indices[0, 1 + row]
        np.testing.assert_array_equal(np.asarray(part.images)[chosen], images[expected])
        np.testing.assert_array_equal(np.asarray(part.labels)[chosen], labels[expected])


def test_streamed_batches_are_those_of_resident_images():
    images, labels = noise(12, 4, 4, 1), np.arange(12, dtype=np.int32)
    data = small.ArrayDataset(images, labels, images[:2], labels[:2], 12, (0.5,), (0.5,))
    options = {"seed": 3, "validation": 2, "batch_size": 2}
    spans = [(0, 2), (2, 4), (4, 5)]
    seen = []
    for stream in (0, 2):
        opened = source.resident(data, ("a",) * 12, stream=stream, **options)
        rows = []
        for batches, start, stop in opened.epoch(1, spans):
            for i in range(start, stop):
                chosen = np.asarray(batches.indices)[0, i]
                rows.append(
                    (np.asarray(batches.images)[chosen], np.asarray(batches.labels)[chosen])
                )
        seen.append(rows)
    assert len(seen[0]) == 5
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("shape", [(8, 10), (8, 10, 1), (8, 10, 3)])
def test_an_npz_file_is_a_data_set(tmp_path, shape):
    images, labels = noise(20, *shape), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", images=images, labels=labels[:, None], names=np.array(["a", "b"]))
    opened = user_images.open_images(f"npz:{tmp_path / 'a.npz'}")
    assert opened.names == ("a", "b") and opened.side == 8
    assert opened.channels == (1 if shape != (8, 10, 3) else 3)
    assert np.bincount(opened.parts["test"].labels).tolist() == [2, 2]
    data = resized.load(opened, 12, test=True)
    assert data.train_images.shape == (16, 12, 12, opened.channels)
    assert data.notes == (
        f"data: 2 classes (a, b) in {tmp_path / 'a.npz'}: 16 train, 4 test",
        f"data: read as 12x12 pixels, {'gray' if opened.channels == 1 else '3 channels'}",
    )


def test_classes_of_an_npz_file_are_found_by_their_names(tmp_path):
    images, labels = noise(20, 8, 8), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", images=images, labels=labels, names=np.array(["a", "b"]))
    opened = user_images.open_images(f"npz:{tmp_path / 'a.npz'}", class_names=("b", "c", "a"))
    assert opened.names == ("b", "c", "a")
    given = user_images.open_images(f"npz:{tmp_path / 'a.npz'}")
    numbers = np.array([2, 0])
    for part, arrays in given.parts.items():
        np.testing.assert_array_equal(opened.parts[part].labels, numbers[arrays.labels])
    with pytest.raises(InputError, match="has the class b, expected one of a, c"):
        user_images.open_images(f"npz:{tmp_path / 'a.npz'}", class_names=("a", "c"))


def test_a_part_of_each_class_is_drawn_and_divided(photos, tmp_path):
    whole = user_images.open_images(f"folder:{photos}")
    drawn = user_images.open_images(f"folder:{photos}", class_fraction=0.5)
    assert np.bincount(drawn.parts["train"].labels).tolist() == [4, 4]
    assert drawn.notes[-1].endswith("8 of the 16 images to train on are used, 0.5 of each class")
    assert set(files_of(drawn)) < set(files_of(whole)) and files_of(drawn) == files_of(
        user_images.open_images(f"folder:{photos}", class_fraction=0.5)
    )
    assert drawn.parts["test"] is not None and drawn.count("test") == 4
    labels = np.repeat(np.arange(3), (40, 20, 1))
    np.savez(tmp_path / "a.npz", train_images=noise(61, 8, 8), train_labels=labels,
             test_images=noise(3, 8, 8), test_labels=np.arange(3))  # fmt: skip
    drawn = user_images.open_images(f"npz:{tmp_path / 'a.npz'}", class_fraction=0.25)
    labels = drawn.parts["train"].labels
    assert np.bincount(labels).tolist() == [10, 5, 1]
    config = load_config("search_imagenet")
    first, second = search_images.make_divide(config, labels)(0).values()
    assert np.bincount(labels[first]).tolist() == [8, 4, 1]
    assert np.bincount(labels[second]).tolist() == [2, 1]
    assert sorted([*first, *second]) == [*range(16)] and first.dtype == np.int32


def files_of(images):
    return [images.parts["train"].records.paths[i] for i in images.parts["train"].records.file]


def test_an_npz_file_may_have_its_own_splits(tmp_path):
    arrays = {}
    for name, count in (("train", 6), ("val", 3), ("test", 4)):
        arrays |= {
            f"{name}_images": noise(count, 8, 8),
            f"{name}_labels": np.zeros((count, 1), int),
        }
    arrays["train_labels"][0] = 1
    np.savez(tmp_path / "a.npz", **arrays)
    opened = user_images.open_images(f"npz:{tmp_path / 'a.npz'}")
    assert [opened.count(part) for part in ("train", "validation", "test")] == [6, 3, 4]
    data = resized.load(opened, 8, test=True)
    np.testing.assert_array_equal(data.train_images[..., 0], arrays["train_images"])
    np.testing.assert_array_equal(data.validation_images[..., 0], arrays["val_images"])
    assert opened.names == ("0", "1") and data.held_out == ()


def test_an_npz_file_may_be_kerass(tmp_path):
    arrays = {
        f"x_{part}": noise(6, 8, 8, seed=n) for n, part in enumerate(("train", "val", "test"))
    }
    arrays |= {f"y_{part}": np.arange(6)[:, None] % 2 for part in ("train", "val", "test")}
    np.savez(tmp_path / "a.npz", **arrays)
    opened = user_images.open_images(f"npz:{tmp_path / 'a.npz'}")
    assert [opened.count(part) for part in ("train", "validation", "test")] == [6, 6, 6]
    np.testing.assert_array_equal(opened.parts["test"].images[..., 0], arrays["x_test"])


def test_names_of_classes_may_be_bytes(tmp_path):
    names = np.array(["cat", "caf\xe9"])
    for given in (names, np.char.encode(names, "utf-8"), names[:, None]):
        np.savez(tmp_path / "a.npz", images=noise(8, 8, 8), labels=np.arange(8) % 2, names=given)
        assert user_images.open_images(f"npz:{tmp_path / 'a.npz'}").names == ("cat", "caf\xe9")


@pytest.mark.parametrize("arrays, message", [
    ({"x": np.zeros(3)}, "holds x; expected `images` and `labels`"),
    ({"images": noise(3, 4, 4), "labels": np.zeros(2, int)}, r"labels is int64 \[2\], expected integers \[3\]"),
    ({"images": np.zeros((3, 4, 4)), "labels": np.zeros(3, int)}, "images is float64"),
    ({"images": noise(3, 4, 4, 4), "labels": np.zeros(3, int)}, r"\[3, 4, 4, 4\], expected uint8"),
    ({"images": noise(3, 4, 4), "labels": np.array([0, -1, 0])}, "labels has -1"),
    ({"images": noise(3, 4, 4), "labels": np.array([0.5, 1, 0])}, "labels is float64"),
    ({"images": noise(4, 4, 4), "labels": np.arange(4) // 2, "names": np.array(["a"])}, "has 1 names"),
    ({"images": np.array([{}]), "labels": np.zeros(1, int)},
     r"cannot read .* as an .npz file \(found Python objects as the array images\), expected `images` and"),
    ({"images": noise(2, 4, 4), "labels": np.array([0, 1_000_000])}, "labels has 1000000, expected at most 46339"),
    ({"images": noise(2, 4, 4), "labels": np.array([0, 2**32], np.uint64)}, "labels has 4294967296, expected at"),
    ({"images": noise(4, 4, 4), "labels": np.array([0, 0, 5, 5])},
     "the labels are 2 of the numbers 0 to 5, expected no gaps, or `names` of all 6 classes"),
    ({"images": noise(4, 4, 4), "labels": np.arange(4) // 2, "names": np.zeros(50_000, "U1")},
     "has 50000 names, expected at most 46340"),
    ({"images": noise(4, 4, 4), "labels": np.arange(4) // 2, "names": np.array(["a", "b", "a"])},
     "found 'a' as the name of the classes 0 and 2, expected each name once"),
    ({"images": noise(4, 4, 4), "labels": np.arange(4) // 2, "names": np.array(["caf\xe9", "cafe\u0301"])},
     r"found 'cafe\\u0301' as the name of the classes 0 and 1"),
    ({"images": noise(4, 4, 4), "labels": np.arange(4) // 2, "names": np.array([b"a", b"caf\xe9"])},
     r"found the name b'caf\\xe9', expected UTF-8"),
    ({"images": noise(4, 4, 4), "labels": np.arange(4) // 2, "names": np.array([["a", "b"], ["c", "d"]])},
     r"names is \[2, 2\], expected \[2\]"),
])  # fmt: skip
def test_another_npz_file_is_refused_in_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=rf"^name: .*{message}") as error:
        user_images.open_images(f"npz:{tmp_path / 'a.npz'}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    for name, reason in (("a.npz", "found a text"), ("b.npz", "No such file or directory")):
        with pytest.raises(InputError) as error:
            user_images.open_images(f"npz:{tmp_path / name}")
        assert str(error.value) == (
            f"name: cannot read {tmp_path / name} as an .npz file ({reason}), expected `images` and `labels`, or "
            "train_images, train_labels, test_images, test_labels, or x_train, y_train, x_test, y_test"
        )


def test_classes_of_an_npz_file_without_images_are_named(tmp_path):
    images, labels = noise(12, 8, 8), np.repeat([1, 2, 4], 4)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    opened = user_images.open_images(f"npz:{tmp_path / 'a.npz'}")
    assert opened.names == ("0", "1", "2", "3", "4")
    assert opened.notes[1:] == ("warning: the classes 0, 3 have no image at all",)
    names = np.array([*"abcdefghi"])
    np.savez(tmp_path / "a.npz", images=images[:4], labels=np.array([0, 0, 8, 8]), names=names)
    assert user_images.open_images(f"npz:{tmp_path / 'a.npz'}").names == (*names,)
    np.savez(tmp_path / "a.npz", images=images[:4], labels=np.array([0, 0, 8, 8]))
    opened = user_images.open_images(f"npz:{tmp_path / 'a.npz'}", class_names=tuple("0123456789"))
    assert len(opened.names) == 10


def test_a_tests_table_counts_the_most_classes():
    assert spec.MOST_CLASSES**2 <= np.iinfo(np.int32).max < (spec.MOST_CLASSES + 1) ** 2


def test_the_arrays_of_an_npz_file_are_no_arguments(tmp_path):
    np.savez(tmp_path / "a.npz", images=noise(3, 4, 4))
    config = load_config("train_folder")
    config.data.name = f"npz:{tmp_path / 'a.npz'}"
    with pytest.raises(InputError) as error:
        training_images.open_user_images(training_images.read_settings(config))
    assert str(error.value) == (
        f"config.data.name: {tmp_path / 'a.npz'} holds images; expected `images` and `labels`, or train_images, "
        "train_labels, test_images, test_labels, or x_train, y_train, x_test, y_test"
    )


def test_no_file_is_none():
    with pytest.raises(
        InputError, match=r"^name: found npz: .*expected npz:FILE .*--data FILE\.npz"
    ):
        user_images.open_images("npz:")


def test_a_damaged_image_is_named_with_the_key_that_skips_it(photos):
    damaged = photos / "dark" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    opened = user_images.open_images(f"folder:{photos}", test_fraction=0.1)
    with pytest.raises(InputError, match=rf"{damaged} cannot be read .*skip_damaged=True"):
        resized.load(opened, 8, test=True)
    opened = user_images.open_images(f"folder:{photos}", skip_damaged=True)
    assert opened.count("train") + opened.count("test") == 19


def closed(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


@pytest.mark.parametrize("kind, reason", [
    ("dead link", "No such file or directory"),
    ("pipe", "found a pipe, a device or a folder, expected a file"),
    ("closed", "Permission denied"),
])  # fmt: skip
def test_the_file_that_cannot_be_opened_is_named_among_others(photos, monkeypatch, kind, reason):
    path = photos / "dark" / "x.jpg"
    if kind == "dead link":
        path.symlink_to(photos / "nothing")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        real = resized.pixels.read_bytes
        monkeypatch.setattr(
            resized.pixels, "read_bytes", lambda p: (closed if str(p) == str(path) else real)(p)
        )
    opened = user_images.open_images(f"folder:{photos}", test_fraction=0.1)
    with pytest.raises(InputError) as error:
        resized.load(opened, 8, test=True)
    assert str(error.value) == (
        f"images: {path} cannot be read as an image ({reason}); config.data.skip_damaged=True leaves such images out"
    )


@pytest.mark.parametrize(
    "side, size", [(8, 8), (3, 8), (22, 24), (28, 28), (64, 64), (65, 128), (999, 128)]
)
def test_a_size_is_chosen(side, size):
    assert user_images.image_size(side) == size


@pytest.mark.parametrize(
    "count, micro_batches, size", [(1, 1, 1), (8, 1, 2), (250, 1, 32), (99999, 1, 64), (8, 3, 3)]
)
def test_a_batch_is_chosen(count, micro_batches, size):
    assert user_images.batch_size(count, micro_batches) == size


@pytest.fixture
def gray(tmp_path):
    """A hundred gray images each of two classes, more than a sample."""
    for name in ("a", "b"):
        (tmp_path / "gray" / name).mkdir(parents=True)
        for index, pixels in enumerate(noise(100, 9, 9)):
            Image.fromarray(pixels).save(tmp_path / "gray" / name / f"{index:03}.png")
    return tmp_path / "gray"


def test_images_are_gray_only_if_each_of_them_is(gray):
    assert user_images.open_images(f"folder:{gray}").channels == 1
    Image.fromarray(noise(1, 9, 9, 3)[0]).save(gray / "b" / "057.png")
    assert user_images.open_images(f"folder:{gray}").channels == 3
    for channels in (1, 3):
        opened = user_images.open_images(f"folder:{gray}", channels=channels)
        assert resized.load(opened, 8).train_images.shape[1:] == (8, 8, channels)
    with pytest.raises(InputError, match="^channels: found 2, expected 1 .gray., 3, or 0"):
        user_images.open_images(f"folder:{gray}", channels=2)


def test_images_that_show_nothing_are_counted(tmp_path):
    ink = np.full((20, 20, 4), 255, np.uint8)
    ink[..., 3] = 0
    ink[4:9, 4:9, 3] = 255  # white ink on transparent, which is read on white
    dark = ink.copy()
    dark[..., :3] = 0
    for name, pixels in (("dark", dark), ("white", ink)):
        (tmp_path / name).mkdir()
        for index in range(5):
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    opened = user_images.open_images(f"folder:{tmp_path}")
    line = resized.load(opened, 16, test=True).notes[-1]
    assert line == (
        "data: read as 16x16 pixels, 3 channels; 5 of 10 images are one color then, such as "
        f"{opened.parts['train'].records.paths[4]}"
    )
    assert "white" in line
    assert (
        resized.load(opened, 16)
        .notes[-1]
        .startswith("data: read as 16x16 pixels, 3 channels; 4 of 8")
    )
    config = load_config("train_folder")
    config.data.name, config.data.image_size = f"folder:{tmp_path}", 96
    config, _ = training_images.resolve(config)
    notes = training_images.open_source(training_images.read_settings(config)).notes
    assert any("; 4 of 8 images are one color then, such as" in note for note in notes)


def test_channels_are_chosen_by_the_data_and_the_network(gray):
    config = load_config("train_folder")
    config.data.name = f"folder:{gray}"
    assert training_images.resolve(config)[0].data.channels == 1
    search = load_config("search_folder")
    search.data.name = config.data.name
    assert search_images.resolve(search)[0].data.channels == 1
    config.data.image_size = user_images.LARGE_FROM  # ImageNet's network
    assert training_images.resolve(config)[0].data.channels == 3
    config.data.channels = 1
    with pytest.raises(InputError, match=r"^config\.data\.channels: found 1, expected 3"):
        config, _ = training_images.resolve(config)
        training_images.open_source(training_images.read_settings(config))


def test_a_set_of_tfds_is_read(tfds_dir):
    data = resized.load(user_images.open_images("imagenette/320px-v2", tfds_dir), 16)
    assert data.train_images.shape == (400, 16, 16, 3)
    assert np.bincount(data.train_labels).tolist() == [40] * 10 and len(data.labels) == 10
    part = user_images.open_images("imagenette/320px-v2", tfds_dir, class_fraction=0.1)
    assert np.bincount(read_labels(part.parts["train"])).tolist() == [4] * 10
    np.testing.assert_allclose(data.mean, (0.46, 0.45, 0.42), atol=0.02)
