"""Results of long studies: a file of JSON, a finished result a line, which a kill cannot damage. No jax."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nge_jax.errors import InputError


def read(file: Path) -> list[dict[str, Any]]:
    """Reads the finished results. A line that a killed process left half-written is not read.

    Raises:
      InputError: names a line that is no JSON.
    """
    text = file.read_text() if file.exists() else ""
    results = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            results.append(json.loads(line))
        except ValueError as error:
            raise InputError(f"{file}, line {number}: not JSON, {error}") from None
    return results


def append(file: Path, result: Mapping[str, Any]) -> None:
    """Appends a line, after the last whole one, and leaves it on the disk."""
    text = file.read_text() if file.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    new = file.with_suffix(".new")
    with new.open("w") as out:
        out.write(f"{whole}{json.dumps(result)}\n")
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
