"""Photographs: the examples, the order and the crops of an epoch's batches, against plain references."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nge_jax.data import prepare
from nge_jax.data.photographs import batches as imagenet
from nge_jax.data.photographs import record_index
from nge_jax.devices import host_tf
from nge_jax.errors import InputError

TRAIN, TEST = 37, 11  # numbers of examples that no batch below divides
SIZE = 16  # the crops' side


def picture(identity, height=40, width=30):
    """Makes a picture: red tells its number, green and blue the pixel. JPEG changes both by a level or two."""
    y, x = np.mgrid[:height, :width]
    channels = [np.full_like(y, identity * 5), y * 255 // height, x * 255 // width]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def encode(image, form="JPEG"):
    file = io.BytesIO()
    image.save(file, form, **({"quality": 97, "subsampling": 0} if form == "JPEG" else {}))
    return file.getvalue()


def form(i):
    return "PNG" if i % 4 == 3 else "JPEG"


def identities(images):
    return np.round(images[..., 0].mean((1, 2)) / 5).astype(int)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Writes JPEGs and PNGs of three classes, picture i with label i % 3. Returns the set's name in a config."""
    root = tmp_path_factory.mktemp("folder")
    for split, count in (("train", TRAIN), ("val", TEST)):
        for i in range(count):
            path = root / split / f"class {i % 3}" / f"{i}.{form(i)}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(picture(i), form(i)))
    (root / "train" / "class 0" / "notes.txt").write_text("no image")
    return f"folder:{root}", ""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The same pictures as a prepared set of TFDS, three files a split."""
    host_tf.tensorflow()
    import tensorflow_datasets as tfds

    class Pictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(),
                "label": tfds.features.ClassLabel(num_classes=3),
                "other": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, _):
            return {"train": self._generate_examples(TRAIN), "test": self._generate_examples(TEST)}

        def _generate_examples(self, count):
            for i in range(count):
                image = io.BytesIO(encode(picture(i), form(i)))
                yield i, {"image": image, "label": i % 3, "other": f"picture {i}"}

    root = str(tmp_path_factory.mktemp("tfds"))
    config = tfds.download.DownloadConfig(num_shards=3)
    Pictures(data_dir=root).download_and_prepare(download_config=config)
    return "pictures", root


@pytest.fixture(params=["folder", "prepared"])
def image_set(request):
    return imagenet.load(*request.getfixturevalue(request.param), SIZE)


def epoch(image_set, number=0, batch_size=4, seed=0, **part):
    return list(imagenet.train_batches(image_set, seed, number, batch_size, **part))


def assert_equal_batches(got, expected):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_set_is_described_and_no_image_read(image_set, monkeypatch):
    monkeypatch.delattr(record_index, "read")
    assert image_set.train_examples == TRAIN and image_set.test_examples == TEST
    assert image_set.num_classes == len(image_set.class_names) == 3
    assert image_set.mean == imagenet.MEAN and image_set.image_size == SIZE


def test_an_epoch_holds_each_image_once_with_its_label_in_an_order_of_its_own(image_set):
    orders = []
    for number in range(3):
        batches = epoch(image_set, number)
        assert len(batches) == TRAIN // 4
        for images, labels in batches:
            assert images.shape == (4, SIZE, SIZE, 3) and images.dtype == np.uint8
            assert labels.shape == (4,) and labels.dtype == np.int32
        seen = identities(np.concatenate([images for images, _ in batches]))
        assert len(set(seen)) == 36 and set(seen) <= set(range(TRAIN))
        np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), seen % 3)
        orders.append(tuple(seen))
    assert len(set(orders)) == 3
    assert len({(set(range(TRAIN)) - set(order)).pop() for order in orders}) > 1  # left out


@pytest.mark.parametrize("step", [1, 5])
def test_resuming_at_a_step_gives_the_rest_of_the_epoch_to_the_byte(image_set, step):
    assert_equal_batches(epoch(image_set, 3, start_step=step), epoch(image_set, 3)[step:])


def test_processes_share_the_batches_of_one(image_set):
    count = 2
    parts = [
        epoch(image_set, 2, 8, process_index=i, process_count=count, start_step=1)
        for i in range(count)
    ]
    joined = [
        tuple(np.concatenate(arrays) for arrays in zip(*batch, strict=True))
        for batch in zip(*parts, strict=True)
    ]
    assert_equal_batches(joined, epoch(image_set, 2, 8, start_step=1))


def test_a_crop_follows_seed_epoch_and_image(image_set):
    def crops(**options):
        images = np.concatenate([images for images, _ in epoch(image_set, **options)])
        return {i: image.tobytes() for i, image in zip(identities(images), images, strict=True)}

    def equal(one, other):
        return np.mean([one[i] == other[i] for i in one.keys() & other.keys()])

    first = crops(number=0, seed=0)
    # Green and blue tell where in the picture a crop lies.
    pixels = [np.frombuffer(image, np.uint8).reshape(-1, 3) for image in first.values()]
    assert len({tuple(np.round(p[:, 1:].mean(0) / 4)) for p in pixels}) > 24
    assert equal(first, crops(number=1, seed=0)) < 0.1  # two crops may be the same by chance
    assert equal(first, crops(number=0, seed=1)) < 0.1
    assert equal(first, crops(number=0, seed=0, batch_size=9)) == 1


@pytest.mark.parametrize(
    ("split", "examples", "batch_size", "count"),
    [("test", TEST, 1, 1), ("test", TEST, 4, 2), ("train", TRAIN, 5, 1), ("test", TEST, 64, 2)],
)
def test_evaluation_counts_each_example_once(image_set, split, examples, batch_size, count):
    parts = [
        list(imagenet.test_batches(image_set, split, batch_size, i, count)) for i in range(count)
    ]
    assert {len(part) for part in parts} == {-(-examples // batch_size)}
    seen = []
    for images, labels, mask in itertools.chain.from_iterable(parts):
        assert images.shape == (batch_size // count, SIZE, SIZE, 3) and images.dtype == np.uint8
        assert labels.shape == mask.shape == (batch_size // count,) and labels.dtype == np.int32
        np.testing.assert_array_equal(labels[mask], identities(images[mask]) % 3)
        assert not images[~mask].any() and not labels[~mask].any()
        seen += list(identities(images[mask]))
    assert sorted(seen) == list(range(examples))


def test_a_damaged_image_is_refused_in_one_line(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "1.jpg").write_bytes(encode(picture(1)))
    (tmp_path / "train" / "a" / "2.jpg").write_bytes(encode(picture(2))[:100])
    damaged = imagenet.load(f"folder:{tmp_path}", "", SIZE)
    with pytest.raises(InputError, match=r"train/a/2\.jpg cannot be read as an image") as error:
        epoch(damaged, batch_size=2)
    assert "\n" not in str(error.value)


def test_a_damaged_file_of_records_is_refused(prepared, tmp_path):
    data = Path(imagenet.load(*prepared, SIZE).test.records.paths[0]).read_bytes()
    for name, part in (("cut", data[:-3]), ("header", data + data[:5]), ("more", data + data)):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(InputError, match=rf"^paths: .*{name} is damaged, expected 4"):
            record_index.tfrecords([str(tmp_path / name)], [4])
    with pytest.raises(InputError, match=r"cannot read .*absent \(No such file"):
        record_index.tfrecords([str(tmp_path / "absent")], [4])


def test_data_taken_away_while_it_is_read_is_told_in_one_line(image_set, tmp_path, capfd):
    paths = image_set.train.records.paths
    away = tuple(str(tmp_path / Path(path).relative_to("/")) for path in paths)
    records = image_set.train.records._replace(paths=away)
    gone = image_set._replace(train=image_set.train._replace(records=records))
    with pytest.raises(InputError, match=r"No such file or directory, expected the data") as error:
        epoch(gone)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    assert "goes on from the newest checkpoint" in str(error.value)
    assert "Traceback" not in capfd.readouterr().err  # TensorFlow logs none either


def test_records_are_those_that_tensorflow_reads(prepared):
    tf = host_tf.tensorflow()
    found = imagenet.load(*prepared, SIZE).train.records
    assert len(found.paths) == 3
    expected = list(tf.data.TFRecordDataset(list(found.paths)).as_numpy_iterator())
    order = np.random.RandomState(0).permutation(TRAIN)
    assert record_index.read(found, order) == [expected[i] for i in order]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet2012", r"^data_dir: no prepared imagenet2012 in .*archives need an account"),
        ("no_such_set", r"^name: tfds has no 'no_such_set'"),
        ("imagenette/no_such", r"^name: tfds has no 'imagenette/no_such'"),
        ("folder:/no/such", r"^name: found no folder /no/such, expected folder:DIR"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(name, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        imagenet.load(name, str(tmp_path / "tfds"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "tfds").exists()


def test_a_folder_without_a_held_out_split_is_refused(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "1.jpg").write_bytes(encode(picture(1)))
    with pytest.raises(
        InputError, match=r"^name: found the splits train in .*expected train and one of"
    ):
        imagenet.load(f"folder:{tmp_path}")


def test_an_unreachable_set_is_refused_and_writes_nothing(tmp_path, monkeypatch):
    def unreachable(*_, timeout):
        assert timeout <= 10
        raise OSError("no route to host")

    monkeypatch.setattr(prepare.urllib.request, "urlopen", unreachable)
    with pytest.raises(InputError, match=r"^data_dir: no prepared imagenette.*no route") as e:
        imagenet.load("imagenette/320px-v2", str(tmp_path / "tfds"))
    assert "\n" not in str(e.value) and not (tmp_path / "tfds").exists()


@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [("imagenet2012", 500, 100, 1000), ("imagenette/320px-v2", 400, 200, 10)],
)
def test_real_photographs(tfds_dir, name, train, test, classes):
    image_set = imagenet.load(name, tfds_dir, 64)
    assert (image_set.train_examples, image_set.test_examples) == (train, test)
    assert image_set.num_classes == classes
    images, labels = next(imagenet.train_batches(image_set, 0, 0, 32, start_step=1))
    assert images.shape == (32, 64, 64, 3) and labels.min() >= 0 and labels.max() < classes
    np.testing.assert_allclose((images / 255).mean((0, 1, 2)), image_set.mean, atol=0.12)
    np.testing.assert_allclose((images / 255).std((0, 1, 2)), image_set.std, atol=0.08)
