"""Folders of files that are images by their names alone, and how many each split lists."""


def fill(root, *folders, count=4):
    """Makes files that are images by their names: which are data is decided before any is read."""
    for name in folders:
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            (root / name / f"{index}.png").touch()
    return root


def counts(listing):
    return {split: len(part.paths) for split, part in listing.splits.items()}
