"""A data set is not where it was expected: the message says what lies there, and what to type."""

import json

import pytest

from nge_jax.data import prepare
from nge_jax.errors import ArgumentError


def lay(folder, name="cifar10/3.0.2", info=True):
    (folder / name).mkdir(parents=True)
    if info:
        (folder / name / prepare.INFO).write_text(json.dumps({"name": "cifar10"}))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(prepare.urllib.request, "urlopen", unreachable)


@pytest.mark.parametrize("inside", ["cifar10", "cifar10/3.0.2"])
def test_a_folder_too_deep_is_refused_with_the_right_one(tmp_path, inside):
    lay(tmp_path)
    with pytest.raises(ArgumentError) as refused:
        prepare.builder("cifar10", str(tmp_path / inside))
    assert str(refused.value) == (
        f"data_dir: found the folder of the data set itself, {tmp_path / inside}, expected the one that cifar10/3.0.2 "
        f"lies in: {tmp_path}"
    )


@pytest.mark.parametrize(
    "name, info, message",
    [
        ("cifar10/2.9.9", True, r"\(there is the version 2\.9\.9, expected 3\.0\.2\)"),
        ("cifar10/incomplete.ABC_3.0.2", False, r"\(.*incomplete\.ABC_3\.0\.2 was left half done"),
        ("cifar10/3.0.2", False, r"\(.*cifar10/3\.0\.2 was left half done and may be removed\)"),
    ],
)
def test_another_version_and_half_a_download_are_named(tmp_path, name, info, message):
    lay(tmp_path, name, info)
    with pytest.raises(ArgumentError, match=message + ".*cannot be downloaded"):
        prepare.builder("cifar10", str(tmp_path))


def test_images_of_ones_own_are_no_place_to_prepare_in(tmp_path):
    for place in ("ant/1.jpg", "bee/1.PNG"):
        (tmp_path / "flat" / place).parent.mkdir(parents=True)
        (tmp_path / "flat" / place).touch()
    (tmp_path / "split" / "val").mkdir(parents=True)
    (tmp_path / "flat").rename(tmp_path / "split" / "train")
    for images in (tmp_path / "split" / "train", tmp_path / "split"):
        with pytest.raises(ArgumentError, match=r"data_dir: found images .* train_folder --data"):
            prepare.builder("cifar10", str(images))
    (tmp_path / "split" / "train" / "cifar100").mkdir()  # pictures beside data sets
    with pytest.raises(ArgumentError, match="cannot be downloaded"):
        prepare.builder("cifar10", str(tmp_path / "split" / "train"))
