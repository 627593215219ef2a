"""Makes nas_bench_201.npz from the benchmark's official file, NAS-Bench-201-v1_1-096897.pth (D-X-Y/NAS-Bench-201).

  pip install torch
  python experiments/convert_nas_bench_201.py NAS-Bench-201-v1_1-096897.pth nas_bench_201.npz

The official file has 5 GB, and reading it takes much more memory. The result has less than 2 MB and needs no torch.
torch unpickles the file as data alone. Some versions of torch refuse the file's types. --trust makes torch accept
them, but lets the pickle run any code. Use --trust only for a file from the benchmark's authors.

A column is the mean over the benchmark's trainings of a cell, or NaN if there is no training. The 12-epoch trainings
("less" in the file) count after epoch 12, the 200-epoch trainings ("full") after epoch 200.
"""

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax.errors import InputError
from nge_jax.settings.flags import refusals
from nge_jax.space import nas_bench_201

TRAININGS = {12: "less", 200: "full"}
# For each column name without epochs: the data set that was trained on, and the part of it that was tested on. Networks
# that saw half of CIFAR-10's training images are validated. Networks that saw all training images are tested.
PARTS = {
    "c10_val": ("cifar10-valid", "x-valid"),
    "c10_test": ("cifar10", "ori-test"),
    "c100_val": ("cifar100", "x-valid"),
    "c100_test": ("cifar100", "x-test"),
    "in16_val": ("ImageNet16-120", "x-valid"),
    "in16_test": ("ImageNet16-120", "x-test"),
}
COLUMNS = {  # name -> epochs, data set, part
    f"{name}_{epochs}": (epochs, *part) for epochs in TRAININGS for name, part in PARTS.items()
}


def convert(data: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Makes the arrays of the table from the contents of the official file.

    Raises:
        KeyError, TypeError: the file has other contents.
    """
    cells, infos = list(data["meta_archs"]), data["arch2infos"]
    values = np.full((len(cells), len(COLUMNS)), np.nan, np.float32)
    for row in range(len(cells)):
        for column, (epochs, data_set, part) in enumerate(COLUMNS.values()):
            trained = infos[row][TRAININGS[epochs]]
            values[row, column] = accuracy(trained, data_set, f"{part}@{epochs - 1}")
    return {"arch": np.array(cells), "columns": np.array([*COLUMNS]), "values": values}


def accuracy(trained: Mapping[str, Any], data_set: str, key: str) -> float:
    """Averages an accuracy over a cell's trainings on a data set, one for each seed. NaN means no training."""
    results = [
        trained["all_results"][data_set, s] for s in trained["dataset_seed"].get(data_set, ())
    ]
    known = [r["eval_acc1es"][key] for r in results if key in r["eval_acc1es"]]
    return float(np.mean(known)) if known else float("nan")


def read(path: Path, *, trust: bool) -> Mapping[str, Any]:
    """Reads the official file.

    Raises:
        InputError: torch is not installed, or the file is missing or is not the official file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected NAS-Bench-201-v1_1-096897.pth")
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"the package torch is not installed ({error}), which reads {path}"
        ) from None
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read ({reason}); see --trust") from None


def main(options: argparse.Namespace) -> None:
    if options.output.exists():
        raise InputError(f"{options.output}: is there already, expected a new file")
    data = read(options.file, trust=options.trust)
    try:
        arrays = convert(data)
    except (KeyError, TypeError, IndexError) as error:
        expected = "expected meta_archs and arch2infos of NAS-Bench-201"
        raise InputError(f"{options.file}: {expected}, found no {error}") from None
    new = options.output.with_name(options.output.name + ".new.npz")
    np.savez_compressed(new, **arrays)
    nas_bench_201.load(new)  # refuses a file that is no table
    new.replace(options.output)
    print(options.output)


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the command's arguments."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("file", type=Path, help="input: NAS-Bench-201-v1_1-096897.pth")
    flags.add_argument("output", type=Path, help="output: nas_bench_201.npz")
    flags.add_argument("--trust", action="store_true", help="let the pickle run code")
    return flags


if __name__ == "__main__":
    given = parser().parse_args()
    with refusals():
        main(given)
