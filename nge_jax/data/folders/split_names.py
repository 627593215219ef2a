"""Names of splits in their usual forms: Train, TRAINING, seg_train, training_set, train2017, test1."""

import re
from collections.abc import Collection, Iterable

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# The folders' names as they are written in the documents; another form counts where none of these is there.
SPLITS = {TRAIN: (TRAIN,), VALIDATION: ("val", "valid", VALIDATION), TEST: (TEST,)}
WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), VALIDATION),
    **dict.fromkeys(("test", "tests", "testing", "eval", "evaluation", "holdout"), TEST),
}
# Parts of a cross validation are splits, too, but none of the three above.
FOLDS = {"fold", "folds", "kfold", "cv"}
# Words that a split's name may have besides, and that say nothing more.
FILLINGS = {
    "set", "sets", "data", "dataset", "datasets", "split", "splits", "part", "seg", "cls", "classification", "folder",
    "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos",
}  # fmt: skip
GLUED = ("set", "data")  # trainset
PICTURES = {"image", "images", "img", "imgs", "jpegimages"}
MASKS = {
    "mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentations", "imagesets",
    "segmentationclass", "segmentationobject", "groundtruth", "ground_truth", "gt",
}  # fmt: skip


def split_of(name: str) -> str | None:
    """Returns the split that a folder of this name is; None where the name says more, or something else."""
    split, rest = _divide(name)
    return split if not rest else None


def is_split(name: str) -> bool:
    """Whether a name is that of a split, or of a fold of a cross validation, and says no more."""
    says = set(_words(name)) - FILLINGS
    return split_of(name) is not None or bool(says and says <= FOLDS)


def candidates(names: Collection[str]) -> dict[str, list[str]]:
    """Returns for each split the folders that it may be: one of SPLITS if it is there, else those of another form."""
    found = {}
    for split, written in SPLITS.items():
        exact = [name for name in written if name in names]
        if chosen := exact or [name for name in names if split_of(name) == split]:
            found[split] = chosen
    return found


def are_splits_of_classes(names: Iterable[str]) -> bool:
    """Whether names are made of a split and a class each, as train_cat, train_dog, test_cat, or trainA, testA."""
    classes = {}
    for name in names:
        split, rest = _divide(name)
        if split is None or not rest:
            return False
        classes.setdefault(split, set()).add(rest)
    return TRAIN in classes and any(
        classes[TRAIN] & others for split, others in classes.items() if split != TRAIN
    )


def are_pictures_and_masks(names: Collection[str]) -> bool:
    """Whether folders of these names are those of a segmentation, or of a detection."""
    folded = {name.casefold() for name in names}
    return folded <= PICTURES | MASKS and bool(folded & PICTURES) and bool(folded & MASKS)


def _divide(name):
    """Divides a name: (the split that it names, all else that it says)."""
    words = [word for word in _words(name) if word not in FILLINGS]
    splits = [word for word in words if word in WORDS]
    if len(splits) != 1:
        return None, tuple(words)
    return WORDS[splits[0]], tuple(word for word in words if word not in WORDS)


def _words(name):
    """Returns the words of a name in small letters, without numbers: "trainSet_2017" has train and set."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[^\W\d_]+", apart.casefold())
    for ending in GLUED:
        words = [w.removesuffix(ending) if w.removesuffix(ending) in WORDS else w for w in words]
    return words
