"""One class that is spelled in two ways: a file system, an archive or a hand has changed the name's form.

Two names in one folder are two classes, for example a and A. A name that only one split has is looked for
in another split. Its Unicode form is compared first, then the name without regard to capital letters and blanks.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nge_jax.data.folders.split_names import TRAIN
from nge_jax.errors import ArgumentError
from nge_jax.workdir.names import SHOWN, composed, folded

Places = dict[str, dict[str, Path]]


def unify(places: Places, known: Sequence[str] | None = None) -> tuple[Places, list[str]]:
    """Gives the folders of a class one name over all splits: (the same with these names, lines for the user).

    Args:
      places: of each split the folders of its classes by their names.
      known: names that the classes have elsewhere; None: those of the training images.

    Raises:
      ArgumentError: two folders of a split whose names look the same, or a name that may be either of two.
    """
    for folders in places.values():
        _refuse_alike(folders)
    classes = [*(places[TRAIN] if known is None else known)]
    unified, notes = {}, []
    for split in sorted(places, key=lambda split: split != TRAIN):
        unified[split] = {}
        for name, folder in places[split].items():
            chosen = find(name, classes, folder, besides=places[split])
            if chosen is None:
                classes.append(chosen := name)
            if chosen != name:
                notes.append(f"{ascii(name)} of {folder.parent} and {ascii(chosen)}")
            if chosen in unified[split]:
                raise ArgumentError(
                    "name", f"found {folder} and {unified[split][chosen]}, expected one folder of the class {chosen}"
                )  # fmt: skip
            unified[split][chosen] = folder
    more = f" and {len(notes) - SHOWN} more" if len(notes) > SHOWN else ""
    line = f"data: taken for one class: {'; '.join(notes[:SHOWN])}{more}"
    return {split: unified[split] for split in places}, [line] if notes else []


def find(
    name: str, classes: Collection[str], where: object, besides: Collection[str] = ()
) -> str | None:
    """Finds the class of this name, however it is spelled; None where there is none.

    Args:
      name: as it is written.
      classes: the names that are known.
      where: the name is written, for the message.
      besides: other names of the same place, which are classes of their own.

    Raises:
      ArgumentError: the name may be either of two.
    """
    if name in classes:
        return name
    for form in (composed, folded):
        alike = [c for c in classes if form(c) == form(name) and c not in besides]
        if len(alike) > 1:
            both = " or ".join(map(ascii, alike[:2]))
            raise ArgumentError("name", f"{where}: found the class {ascii(name)}, expected {both}")
        if alike:
            return alike[0]
    return None


def _refuse_alike(folders: Mapping[str, Path]) -> None:
    seen = {}
    for name, folder in folders.items():
        other = seen.setdefault(composed(name), name)
        if other != name:
            raise ArgumentError(
                "name",
                f"found {ascii(other)} and {ascii(name)} in {folder.parent}, one name in two Unicode forms, expected "
                "one folder of this class",
            )
