"""A workdir knows its data: what may change between two starts, and what is refused."""

import json

import pytest

from nge_jax.data import spec as dataset_spec
from nge_jax.data.spec import SMALL, DatasetSpec, Inventory
from nge_jax.errors import InputError

SPEC = DatasetSpec(SMALL, (8, 8, 1), (0.5,), (0.25,), ("ant", "bee"))
COUNTS = {"train": 8, "validation": 0, "test": 2}
HELD_OUT = ("ant/1.jpg", "bee/2.jpg")


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "dataset.json").write_text(dataset_spec.to_json(SPEC, COUNTS, HELD_OUT))
    (tmp_path / "checkpoints" / "10").mkdir(parents=True)
    return tmp_path


def test_the_same_data_goes_on_with_what_was_recorded(workdir):
    close = SPEC._replace(mean=(0.5003,), std=(0.2499,))
    assert dataset_spec.agreed(workdir, close, COUNTS, HELD_OUT) == SPEC
    assert dataset_spec.read(workdir) == SPEC


def test_a_run_without_a_checkpoint_has_nothing_to_go_on_with(workdir, tmp_path):
    other = SPEC._replace(labels=("cow",))
    (workdir / "checkpoints" / "10").rmdir()
    assert dataset_spec.agreed(workdir, other, COUNTS) == other
    assert dataset_spec.agreed(tmp_path / "new", other, COUNTS) == other


def test_what_an_older_version_recorded_is_enough(workdir):
    (workdir / "dataset.json").write_text(json.dumps(SPEC._asdict()))
    assert dataset_spec.agreed(workdir, SPEC, COUNTS) == SPEC


@pytest.mark.parametrize("changes, message", [
    ({"labels": ("ant", "wasp")}, r"other classes than this network \(wasp instead of bee\)"),
    ({"labels": ("ant", "Bee")}, r"\('Bee' instead of 'bee'\)"),
    ({"labels": ("ant", "bee", "cow")}, r"\(with cow\)"),
    ({"labels": ("bee",)}, r"\(without ant\)"),
    ({"labels": ("bee", "ant")}, r"\(in another order\)"),
    ({"shape": (9, 8, 1)}, r"shape of the images: workdir has \[8, 8, 1\], now \[9, 8, 1\]"),
    ({"mean": (0.52,)}, r"mean: workdir has \[0.5\], now \[0.52\]"),
    ({"counts": COUNTS | {"train": 9}}, "numbers of images: workdir has .*'train': 8.*'train': 9"),
    ({"held_out": ("ant/1.jpg", "bee/3.jpg")}, "images held out: workdir has bee/2.jpg, now bee/3.jpg"),
])  # fmt: skip
def test_other_data_is_refused_in_one_line_and_nothing_is_written(workdir, changes, message):
    before = (workdir / "dataset.json").read_bytes()
    counts, held_out = changes.pop("counts", COUNTS), changes.pop("held_out", HELD_OUT)
    with pytest.raises(InputError, match=message) as error:
        dataset_spec.agreed(workdir, SPEC._replace(**changes), counts, held_out)
    assert "\n" not in str(error.value) and str(workdir / "dataset.json") in str(error.value)
    assert (workdir / "dataset.json").read_bytes() == before


INVENTORY = Inventory({"train": (4, 4), "test": (1, 1)}, "0" * 32)


@pytest.mark.parametrize("changes, message", [
    ({"class_counts": {"train": (5, 3), "test": (1, 1)}}, "train images of ant: workdir has 4, now 5"),
    ({"class_counts": {"train": (4, 4), "test": (2, 0)}}, "test images of ant: workdir has 1, now 2"),
    ({"checksum": "1" * 32}, "checksum of the files, their classes and sizes: workdir has 000.*, now 111"),
])  # fmt: skip
def test_images_of_another_class_or_others_are_refused(workdir, changes, message):
    text = dataset_spec.to_json(SPEC, COUNTS, HELD_OUT, INVENTORY)
    (workdir / "dataset.json").write_text(text)
    known_by = SPEC, COUNTS, HELD_OUT
    assert dataset_spec.agreed(workdir, *known_by, INVENTORY) == SPEC
    with pytest.raises(InputError, match=message) as error:
        dataset_spec.agreed(workdir, *known_by, INVENTORY._replace(**changes))
    assert "\n" not in str(error.value) and str(workdir / "dataset.json") in str(error.value)


def test_what_a_version_without_an_inventory_recorded_is_enough(workdir):
    assert dataset_spec.agreed(workdir, SPEC, COUNTS, HELD_OUT, INVENTORY) == SPEC
