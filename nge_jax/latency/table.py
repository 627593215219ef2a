"""The CSV of a device's latencies, a row for each part of a network. Any program or person may write one."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.latency.parts import Part
from nge_jax.latency.timing import Timing

COMMENT = "#"
TIME = "milliseconds"
LONGEST = 1e9  # milliseconds of a part: eleven days, whose nanoseconds are exact
COLUMNS = (*Part._fields, TIME, "low", "high")


def to_csv(timings: Mapping[Part, Timing], remarks: Iterable[str] = ()) -> str:
    """Writes a table; `remarks` are lines that say on which device and how it was measured."""
    file = io.StringIO()
    for remark in remarks:
        file.write(f"{COMMENT} {remark}\n")
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for part, timing in timings.items():
        times = (timing.median, timing.low, timing.high)
        rows.writerow([*part, *(f"{value:.6g}" for value in times)])
    return file.getvalue()


def read(path: Path) -> dict[Part, float]:
    """Reads the milliseconds of each part. Lines that begin with # and further columns do not count.

    Raises:
      InputError: the file cannot be read, or a row is no part with its time.
    """
    try:
        text = files.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({files.reason(error)})") from error
    lines = [line for line in text.splitlines() if not line.startswith(COMMENT)]
    rows, times = csv.DictReader(lines), {}
    needed = (*Part._fields, TIME)
    if lacking := [name for name in needed if name not in (rows.fieldnames or ())]:
        raise InputError(f"{path}: found no column {lacking[0]}, expected {', '.join(needed)}")
    for number, row in enumerate(rows, 1):
        try:
            name, *numbers = (row[field] for field in Part._fields)
            part, value = Part(name, *map(int, numbers)), float(row[TIME])
        except (TypeError, ValueError):
            found = ",".join(str(value) for value in row.values())
            raise InputError(f"{path}, row {number}: found {found}, expected numbers") from None
        if not 0 <= value <= LONGEST:
            expected = f"0 or more and at most {LONGEST:g}"
            raise InputError(f"{path}, row {number}: found {value} ms, expected {expected}")
        if part in times:
            raise InputError(
                f"{path}, row {number}: found {name} a second time, expected a row for each part"
            )
        times[part] = value
    if not times:
        raise InputError(f"{path}: found no rows, expected one for each part")
    return times
