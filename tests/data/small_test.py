"""The data sets that lie in memory whole: real ones, absent ones, damaged ones."""

import io
import urllib.error

import numpy as np
import pytest

from nge_jax.data import prepare, small
from nge_jax.devices import host_tf
from nge_jax.errors import InputError, arguments_as


def test_digits_are_the_real_ones_and_the_halves_are_disjoint():
    (images, labels), (test_images, test_labels) = small.read_digits()
    assert images.shape == (1442, 8, 8, 1) and test_images.shape == (355, 8, 8, 1)
    assert images.dtype == np.uint8 and labels.dtype == np.int32
    assert images.max() == 255  # 16 gray levels spread over a byte
    np.testing.assert_array_equal(np.unique(np.bincount(test_labels)), [34, 35, 36])
    # Both parts together are scikit-learn's file: no image is lost or doubled.
    everything = np.concatenate([images, test_images]).reshape(1797, 64)
    assert len(np.unique(everything, axis=0)) == 1797
    assert np.bincount(np.concatenate([labels, test_labels])).sum() == 1797
    np.testing.assert_allclose((images / 255).mean(), small.DIGITS_MEAN[0], atol=5e-5)
    np.testing.assert_allclose((images / 255).std(), small.DIGITS_STD[0], atol=5e-5)


def test_the_test_split_is_read_only_when_asked_for():
    assert small.load("digits").test_images is None
    assert small.load("digits", test=True).test_labels.shape == (355,)


def test_real_cifar10(tfds_dir):
    data = small.load("cifar10", tfds_dir)
    assert data.train_images.shape == (50000, 32, 32, 3) and data.train_images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(data.train_labels), [5000] * 10)
    assert data.test_images is None and data.num_classes == 10
    pixels = data.train_images[::10] / 255
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), data.mean, atol=0.01)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), data.std, atol=0.01)


def test_real_cifar10_test_split(tfds_dir):
    builder = prepare.builder("cifar10", tfds_dir)
    images, labels = small._split(builder, "test")
    assert images.shape == (10000, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(labels), [1000] * 10)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Stands in for the CIFARs' site: archives of its layout with 30 images a file; returns them as (image, label)."""
    host_tf.tensorflow()
    import tensorflow_datasets as tfds

    random = np.random.RandomState(0)
    layout = {  # folder: (files, label files, bytes of labels before each image)
        "cifar-10-batches-bin": (
            [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"],
            {"batches.meta.txt": 10},
        ),
        "cifar-100-binary": (
            ["train.bin", "test.bin"],
            {"coarse_label_names.txt": 20, "fine_label_names.txt": 100},
        ),
    }
    served = {}
    for folder, (files, label_files) in layout.items():
        (tmp_path / "site" / folder).mkdir(parents=True)
        for name, count in label_files.items():
            names = "\n".join(f"label {i}" for i in range(count))
            (tmp_path / "site" / folder / name).write_text(names)
        for name in files:
            labels = np.stack([random.randint(0, n, 30) for n in label_files.values()], 1)
            images = random.randint(0, 256, (30, 3, 32, 32))
            records = np.concatenate([labels, images.reshape(30, -1)], 1).astype(np.uint8)
            records.tofile(tmp_path / "site" / folder / name)
            served[name] = {
                image.transpose(1, 2, 0).astype(np.uint8).tobytes(): label
                for image, label in zip(images, labels[:, -1], strict=True)
            }
    monkeypatch.setattr(prepare.urllib.request, "urlopen", lambda *_, timeout: io.BytesIO())
    monkeypatch.setattr(
        tfds.download.DownloadManager, "download_and_extract", lambda *_: str(tmp_path / "site")
    )
    return served


def test_cifar100_is_downloaded_once_and_its_fine_labels_read(site, tmp_path, monkeypatch):
    data = small.load("cifar100", str(tmp_path), test=True)
    assert data.train_labels.dtype == np.int32 and data.num_classes == 100
    for images, labels, name in [
        (data.train_images, data.train_labels, "train.bin"),
        (data.test_images, data.test_labels, "test.bin"),
    ]:
        read = {i.tobytes(): label for i, label in zip(images, labels, strict=True)}
        assert read == site[name]
    monkeypatch.delattr(prepare, "_reach")  # the second time, the data is there
    again = small.load("cifar100", str(tmp_path))
    np.testing.assert_array_equal(data.train_images, again.train_images)


def test_an_absent_data_set_is_refused_within_seconds_and_writes_nothing(tmp_path, monkeypatch):
    def unreachable(*_, timeout):
        assert timeout <= 10
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(prepare.urllib.request, "urlopen", unreachable)
    expected = r"^config\.data\.dir: no prepared cifar10 .*no route"
    with (
        pytest.raises(InputError, match=expected) as e,
        arguments_as(data_dir="config.data.dir"),
    ):
        small.load("cifar10", str(tmp_path / "tfds"))
    assert "tfds.builder('cifar10'" in str(e.value) and "\n" not in str(e.value)
    assert "set config.data.dir to DIR, or search the built-in digits" in str(e.value)
    assert not (tmp_path / "tfds").exists()


@pytest.mark.usefixtures("site")
def test_a_damaged_data_set_is_refused(tmp_path):
    assert small.load("cifar10", str(tmp_path)).train_images.shape == (150, 32, 32, 3)
    (record,) = tmp_path.glob("cifar10/*/cifar10-train.tfrecord*")
    record.write_bytes(record.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"^data_dir: cannot read the train split") as e:
        small.load("cifar10", str(tmp_path))
    assert "\n" not in str(e.value)


def test_an_unknown_data_set_is_refused_by_name():
    with pytest.raises(InputError, match=r"^name: .*'cifar11'.*cifar100"):
        small.load("cifar11")


def test_the_digits_lie_in_no_folder_which_would_be_ignored(tmp_path):
    with pytest.raises(InputError, match=r"^data_dir: found /.*, expected none: the digits") as e:
        small.load("digits", str(tmp_path))
    assert f"nge train train_folder --data {tmp_path} (and searched on by search_folder)" in str(
        e.value
    )
    assert len(small.load("digits", "").train_images) == 1442


def test_halved_images_have_the_means_of_squares():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 2)).astype(np.uint8)
    halved = small.halve(images)
    assert halved.shape == (3, 2, 3, 2) and halved.dtype == np.uint8
    for row, column in np.ndindex(2, 3):
        square = images[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(halved[:, row, column], np.floor(square.mean((1, 2)) + 0.5))
    np.testing.assert_array_equal(small.halve(np.full((1, 2, 2, 1), 255, np.uint8)), 255)


def test_both_splits_are_halved(site, tmp_path):
    whole, halved = (
        small.load("cifar10", str(tmp_path), test=True, image_size=size) for size in (32, 16)
    )
    for before, after in (
        (whole.train_images, halved.train_images),
        (whole.test_images, halved.test_images),
    ):
        np.testing.assert_array_equal(after, small.halve(before))
    assert halved.train_images.shape[1:] == small.shape_at("cifar10", 16) == (16, 16, 3)


@pytest.mark.parametrize("name, size", [("cifar10", 24), ("cifar100", 64), ("digits", 8)])
def test_a_size_that_the_images_do_not_have_is_refused(name, size):
    with pytest.raises(InputError, match=rf"^image_size: found {size}, expected 0.* for {name}"):
        small.load(name, image_size=size)
