"""Training on streamed images: the batches are the same, however many steps a dispatch has."""

import jax
import numpy as np
import pytest
from PIL import Image

from nge_jax.data import source
from nge_jax.data.photographs import batches as imagenet
from nge_jax.report import train as train_report
from nge_jax.train import runner as train_runner
from tests.helpers.small_training import make_config, rows, small_config

CLASSES, TRAIN, TEST = 3, 40, 7


EPOCHS = 12  # enough to learn the few images, whatever the rounding


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Makes a folder of small images: each class has a color, with noise."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.RandomState(0)
    for split, count in (("train", TRAIN), ("val", TEST)):
        for label in range(CLASSES):
            folder = root / split / f"class_{label}"
            folder.mkdir(parents=True)
            for index in range(count // CLASSES + (label < count % CLASSES)):
                pixels = rng.randint(0, 100, (40, 44, 3))
                pixels[..., label] += 150
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:02d}.png")
    return root


def photograph_config(folder, photographs, **changes):
    config = make_config("train_imagenet", "smoke")
    config.genotype = small_config(folder).genotype
    config.data.name = f"folder:{photographs}"
    config.data.image_size = 32
    config.train.batch_size = 4
    config.train.images_per_epoch = 0
    config.data.validation = 9
    config.data.jitter = (
        0.4,
        0.4,
        0.4,
        0.0,
    )  # a class is a color: another hue would make it another class
    config.weights.learning_rate = 0.05
    config.run.steps_per_dispatch = 2
    config.run.checkpoint_every_steps = 5
    config.run.eval_batch_size = 4
    config.update_from_flattened_dict(changes)
    return config


def open_photographs(photographs, steps_per_dispatch=3):
    images = imagenet.load(f"folder:{photographs}", "", 32)
    options = {"seed": 5, "validation": 9, "batch_size": 4}
    return images, source.streamed(images, steps_per_dispatch=steps_per_dispatch, **options)


def test_dispatches_of_any_size_bring_the_epochs_batches_in_order(photographs):
    _, opened = open_photographs(photographs)
    whole = [
        row
        for batches, start, stop in opened.epoch(1, [(0, 3), (3, 6), (6, 7)])
        for row in (jax.device_get(batches[1][0, i]) for i in range(start, stop))
    ]
    parts = [
        row
        for batches, start, stop in opened.epoch(1, [(2, 4), (4, 5), (5, 7)])
        for row in (jax.device_get(batches[1][0, i]) for i in range(start, stop))
    ]
    assert len(whole) == 7 == opened.examples["train"] // 4
    np.testing.assert_array_equal(whole[2:], parts)
    other = next(opened.epoch(2, [(0, 3)]))[0][1]
    assert not np.array_equal(np.asarray(other)[0], whole[:3])


def test_held_out_images_are_no_training_images_and_count_once(photographs, monkeypatch):
    images, opened = open_photographs(photographs)
    assert opened.examples == {"train": TRAIN - 9, "validation": 9, "test": TEST}

    def all_of(batches):
        return np.concatenate([pixels[mask] for pixels, _, mask in batches]).reshape(
            -1, 32 * 32 * 3
        )

    everything = all_of(imagenet.test_batches(images, "train", 8))
    held_out = all_of(opened.held_out("validation", 4))
    known = {image.tobytes() for image in everything}
    assert len(known) == TRAIN and len(held_out) == 9
    assert {image.tobytes() for image in held_out} < known
    assert len(all_of(opened.held_out("test", 4))) == TEST
    read = []  # indices of the files that an epoch's training batches are made of

    def train_batches(image_set, *_):
        read.extend(image_set.train.records.file)
        yield np.zeros((4, 32, 32, 3), np.uint8), np.zeros(4, np.int32)

    monkeypatch.setattr(imagenet, "train_batches", train_batches)
    next(opened.epoch(0, [(0, 1)]))
    assert len(read) == TRAIN - 9
    trained_on = {everything[index].tobytes() for index in read}
    assert not trained_on & {image.tobytes() for image in held_out}


@pytest.mark.whole
def test_a_streamed_training_learns(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(train_report, "write_train_report", lambda *_: None)
    whole = photograph_config(tmp_path, photographs, **{"train.epochs": EPOCHS})
    train_runner.run(whole, tmp_path / "whole", overwrite=False)
    record = rows(tmp_path / "whole")
    assert [row["step"] for row in record] == [7 * (n + 1) for n in range(EPOCHS)]
    assert record[-1]["train_loss"] < 0.8 * record[0]["train_loss"]
    assert record[-1]["test_examples"] == TEST and record[-1]["validation_examples"] == 9
    assert record[0]["learning_rate"] == pytest.approx(0.05)  # after an epoch of warm-up
