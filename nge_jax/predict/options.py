"""The flags of `nge predict`, and the flag that several commands have. This module imports no jax."""

import argparse
from pathlib import Path

from nge_jax.workdir.artifacts import BEST, NEWEST, is_checkpoint

JSON_LINES, CSV = "jsonl", "csv"


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds the flag --checkpoint, which chooses one of a workdir's networks."""
    parser.add_argument(
        "--checkpoint",
        metavar=f"{NEWEST}|{BEST}|STEP",
        type=_checkpoint,
        default=NEWEST,
        help=f"{BEST}: on the training images set aside by data.validation; STEP: one that the run has kept "
        f"(run.keep_checkpoints); default: {NEWEST}",
    )


def _checkpoint(text: str) -> str:
    if not is_checkpoint(text):
        expected = f"{NEWEST}, {BEST} or the number of a step"
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}")
    return text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds all flags but the workdir and the images."""
    add_checkpoint(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="new file for the lines, instead of stdout; of a segmentation the folder for the pictures",
    )
    parser.add_argument(
        "--format", choices=(JSON_LINES, CSV), help="of the lines; default: what --output ends with"
    )
    parser.add_argument(
        "--batch_size",
        metavar="N",
        type=int,
        default=64,
        help="images computed at once; default: 64",
    )
    parser.add_argument(
        "--skip_damaged",
        action="store_true",
        help="go on after an image that cannot be read, with the error in its line",
    )
