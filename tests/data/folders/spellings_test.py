"""One class that two splits spell differently is read as one, with a note, or refused with both names."""

import pytest

from nge_jax.data.photographs import folder
from nge_jax.errors import InputError
from tests.helpers.image_folders import counts, fill

COMPOSED, DECOMPOSED = "caf\xe9", "cafe\u0301"


@pytest.mark.parametrize("name, other", [
    (COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), ("red car", "Red  Car"), ("cat", "Cat"), ("cat", "cat "),
])  # fmt: skip
def test_a_class_has_one_name_over_all_splits(tmp_path, name, other):
    fill(tmp_path, f"train/{name}", "train/zebra", f"val/{other}", "val/zebra", f"test/{other}")
    listing = folder.scan(tmp_path)
    assert listing.names == (name, "zebra")
    assert counts(listing) == {"train": 8, "validation": 8, "test": 4}
    assert listing.splits["validation"].labels.tolist() == [0] * 4 + [1] * 4
    (note,) = (note for note in listing.notes if "taken for one class" in note)
    assert f"{ascii(other)} of {tmp_path}/val and {ascii(name)}" in note and note.isascii()


def test_names_in_one_folder_are_two_classes(tmp_path):
    fill(tmp_path, "train/a", "train/A", "val/a", "val/A", "val/B", "val/b", "train/b", "test/B")
    listing = folder.scan(tmp_path)
    assert listing.names == ("A", "B", "a", "b")
    fill(tmp_path, "test/A ")
    with pytest.raises(
        InputError, match=r"test/A : found the class 'A ', expected 'A' or 'a'"
    ) as error:
        folder.scan(tmp_path)
    assert "\n" not in str(error.value)


def test_two_unicode_forms_in_one_folder_are_refused(tmp_path):
    fill(tmp_path, COMPOSED, DECOMPOSED, "tea")
    with pytest.raises(
        InputError, match=r"found 'cafe\\u0301' and 'caf\\xe9' in .*expected one folder"
    ):
        folder.scan(tmp_path)


def test_a_networks_classes_are_found_however_they_are_spelled(tmp_path):
    fill(tmp_path, f"train/{DECOMPOSED}", "train/Tea", f"val/{DECOMPOSED}", "val/Tea")
    listing = folder.scan(tmp_path, names=("cocoa", "tea", COMPOSED))
    assert listing.names == ("cocoa", "tea", COMPOSED)
    assert sorted({*listing.splits["test"].labels.tolist()}) == [1, 2]
