"""The layout of a data set: which folders are splits and which are classes.

    DIR/CLASS/*
    DIR/train/CLASS/*, DIR/test/CLASS/*     the splits by any of their usual names, see `split_names`
    DIR/seg_train/seg_train/CLASS/*         once more by the same name, as archives are unpacked
    DIR/CLASS/train/*, DIR/CLASS/test/*

A folder that names splits in another layout is refused: else a network would learn to tell the splits apart.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from nge_jax.data.folders import entries, split_names
from nge_jax.data.folders.entries import Inside
from nge_jax.data.folders.split_names import SPLITS, TEST, TRAIN, VALIDATION
from nge_jax.errors import ArgumentError
from nge_jax.workdir.names import listed

WRITTEN = sum(SPLITS.values(), ())
Look = Callable[[Path], Inside]  # `entries.look_into`, once for each folder


class Layout(NamedTuple):
    """Where the images of a data set lie.

    Attributes:
      places: of each split, or of TRAIN alone where a part is still to be held out, the folders of its classes by their
        names.
      titles: what the folders of each split are called; none where there are no splits.
      others: numbers of files outside of the classes' folders, by their endings.
      left_out: names of folders that are no split.
      runs: folders that this program has written.
    """

    places: dict[str, dict[str, Path]]
    titles: dict[str, str]
    others: Counter[str]
    left_out: tuple[str, ...]
    runs: tuple[Path, ...]


def find(root: Path) -> Layout:
    """Finds the classes, and the splits if there are any; reads no image.

    Raises:
      ArgumentError: a split that lacks another, or lies there twice, or names of splits that cannot be read as such.
      InputError: a folder cannot be read.
    """
    look: Look = functools.cache(entries.look_into)
    inside = look(root)
    _refuse_masks(root, inside.folders)
    found = split_names.candidates(inside.folders)
    folders = {split: [root / name for name in names] for split, names in found.items()}
    if _has_splits(root, folders, look):
        return _read_splits(root, folders, look)
    if (layout := _read_splits_of_classes(root, look)) is not None:
        return layout
    _refuse_split_names(root, look)
    return _read({TRAIN: root}, {}, (), look)


def _has_splits(root: Path, folders: Mapping[str, Sequence[Path]], look: Look) -> bool:
    """Whether the folders named like splits are splits; a class may have such a name, and then it holds images.

    Raises:
      ArgumentError: they are, and lack folders of classes.
    """
    if TRAIN not in folders:
        _refuse_without_train(root, folders, look)
        return False
    train = folders[TRAIN][0]
    held_out = [folder for split in folders.keys() - {TRAIN} for folder in folders[split]]
    is_written = train.name.casefold() == TRAIN
    if not look(train).folders and look(train).images:
        if (is_written and held_out) or _are_splits(root, look):
            _refuse_pictures(train)
        return False
    divided = bool(look(train).folders) and any(look(folder).folders for folder in held_out)
    return is_written or divided or _are_splits(root, look)


def _read_splits(root: Path, folders: Mapping[str, Sequence[Path]], look: Look) -> Layout:
    """Reads DIR/SPLIT/CLASS/*."""
    train = folders[TRAIN][0]
    if len(folders) == 1:
        raise ArgumentError(
            "name",
            f"found the splits {train.name} in {root}, expected {train.name} and one of "
            f"{', '.join((*SPLITS[VALIDATION], TEST))}, or the classes themselves (folder:{train} holds a part of each "
            "out)",
        )
    # A competition's test split has pictures without classes; another split is then tested on.
    spare = [s for s, (first, *_) in folders.items() if _holds_pictures(first, look)]
    if len(spare) + 1 < len(folders):
        folders = {
            split: names
            for split, names in folders.items()
            if split not in spare or names[0].name in WRITTEN
        }
    for names in folders.values():
        if len(names) > 1:
            both = " and ".join(folder.name for folder in names)
            raise ArgumentError("name", f"{root} has {both}, expected one of them")
    titles = {split: folder.name for split, (folder,) in folders.items()}
    left_out = set(look(root).folders) - set(titles.values())
    places = {split: _descend(folder, split, look) for split, (folder,) in folders.items()}
    for folder in places.values():
        if _holds_pictures(folder, look):
            _refuse_pictures(folder)
        _refuse_masks(folder, look(folder).folders)
    layout = _read(places, titles, sorted(left_out), look)
    return layout._replace(runs=(*look(root).runs, *layout.runs))


def _read_splits_of_classes(root: Path, look: Look) -> Layout | None:
    """Reads DIR/CLASS/SPLIT/*; None where no class has splits."""
    classes = {
        name: split_names.candidates(look(root / name).folders) for name in look(root).folders
    }
    divided = [name for name, splits in classes.items() if TRAIN in splits and len(splits) > 1]
    if not divided:
        return None
    place = root / divided[0]
    some = " and ".join(str(place / names[0]) for names in classes[divided[0]].values())
    if len(classes) == 1:
        raise ArgumentError(
            "name", f"found {some} and no other class in {root}, expected folder:{place}"
        )
    places, titles, others = {}, {}, Counter()
    for name, splits in classes.items():
        if (stray := _find_stray(root / name, splits, look)) is not None:
            raise ArgumentError(
                "name",
                f"found {stray} beside {some}, expected the images of each class in one train, val or test of its own",
            )
        for split, (folder,) in splits.items():
            places.setdefault(split, {})[name] = root / name / folder
            titles.setdefault(split, f"*/{folder}")
        if not splits:  # and no image: a class of the name alone
            places.setdefault(TRAIN, {})[name] = root / name
        others += entries.count_endings(look(root / name).files)
    runs = [
        run for folder in (root, *(root / name for name in classes)) for run in look(folder).runs
    ]
    return Layout(places, titles, others, (), tuple(runs))


def _find_stray(folder: Path, splits: Mapping[str, Sequence[str]], look: Look) -> Path | None:
    """Finds images of a class that lie in none of its splits, or a split of it that lies there twice."""
    for names in splits.values():
        if len(names) > 1:
            return folder / names[1]
    for name in look(folder).images:
        return folder / name
    of_splits = [name for names in splits.values() for name in names]
    for name in look(folder).folders:
        if name not in of_splits and entries.holds_image(folder / name):
            return folder / name
    return None


def _read(
    folders: Mapping[str, Path], titles: dict[str, str], left_out: Sequence[str], look: Look
) -> Layout:
    """Lists the classes in the folders of the splits."""
    places, others, runs = {}, Counter(), []
    for split, folder in folders.items():
        inside = look(folder)
        places[split] = {name: folder / name for name in inside.folders}
        others += entries.count_endings(set(inside.files) - set(inside.images))
        for ending, count in entries.count_endings(inside.images).items():
            others[f"{ending} outside of the classes' folders"] += count
        runs += inside.runs
    return Layout(places, titles, others, tuple(left_out), tuple(runs))


def _descend(folder: Path, split: str, look: Look) -> Path:
    """Returns the folder in which a split's classes lie: that of the same split in it, if it holds nothing else."""
    while len(look(folder).folders) == 1 and not look(folder).images:
        (name,) = look(folder).folders
        if split_names.split_of(name) != split:
            break
        folder = folder / name
    return folder


def _holds_pictures(folder: Path, look: Look) -> bool:
    return bool(look(folder).images) and not look(folder).folders


def _are_splits(root: Path, look: Look) -> bool:
    """Whether all folders that hold images are named as splits."""
    others = [name for name in look(root).folders if not split_names.is_split(name)]
    return not any(entries.holds_image(root / name) for name in others)


def _refuse_without_train(root: Path, folders: Mapping[str, Sequence[Path]], look: Look) -> None:
    held_out = [folder for of_split in folders.values() for folder in of_split]
    divided = [f.name for f in held_out if look(f).folders and not look(f).images]
    written = [name for name in divided if name.casefold() in WRITTEN]
    if written or (divided and _are_splits(root, look)):
        raise ArgumentError(
            "name",
            f"found {' and '.join(written or divided)} in {root} without train, expected train beside it, or the "
            "classes themselves",
        )


def _refuse_split_names(root: Path, look: Look) -> None:
    """Refuses classes that are none: a network would learn to tell Train from Test."""
    names = look(root).folders
    are_splits = any(map(split_names.is_split, names)) and _are_splits(root, look)
    if are_splits or split_names.are_splits_of_classes(names):
        raise ArgumentError(
            "name",
            f"found {listed(names)} in {root}, names of splits, expected DIR/train/CLASS/* beside DIR/test/CLASS/*, "
            "or DIR/CLASS/*",
        )


def _refuse_pictures(folder: Path) -> NoReturn:
    raise ArgumentError(
        "name", f"found pictures and no folder of a class in {folder}, expected {folder}/CLASS/*"
    )


def _refuse_masks(root: Path, names: Iterable[str]) -> None:
    names = [*names]
    if split_names.are_pictures_and_masks(names):
        raise ArgumentError(
            "name",
            f"found {listed(names)} in {root}, as of a segmentation or a detection, expected DIR/CLASS/* (nge segment "
            "segment_voc takes images with masks, laid out as PASCAL VOC's)",
        )
