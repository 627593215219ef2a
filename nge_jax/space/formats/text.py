"""The cell in a text: of a file, of a log, or given itself, in any format of this folder.

    Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=[2, 3, 4, 5])

is what DARTS, PC-DARTS, P-DARTS and others print. A Python file is read by its syntax tree. In a log the last cell
counts. Nothing is run.
"""

import json
import re
from typing import Any

from nge_jax.errors import GenotypeError
from nge_jax.space.formats import literals, python_source, records
from nge_jax.space.formats.records import CONVERT

LONGEST = 20_000  # characters of one printed genotype
PRINTED = re.compile(r"(?:\b(\w+)\s*(?:=|:)\s*)?\bGenotype\s*\(")
# AutoDL-Projects prints a cell of NAS-Bench-201 in this form.
STRUCTURE = re.compile(r"\bStructure\(\d+ nodes with (\|[^()]*\|)\)")
# ConfigSpace 0.4, which NASBench-301 needs, prints a line for each key.
CONFIGURATION = re.compile(r"^ *([\w:]+), Value: '?([^'\n]*)'?$", re.MULTILINE)


def read(text: str, name: str = "", is_python: bool = False) -> dict[str, Any] | str:
    """Reads the cell in a text.

    Args:
      text: the text of a file or a log, or the cell alone.
      name: the variable in a Python file with several cells, or the entry in a JSON object; "" for the only cell.
      is_python: whether the text has to be read as a Python file.

    Returns:
      The four fields of a genotype, still to be validated, or the notation of a cell of NAS-Bench-201.

    Raises:
      GenotypeError: there is no cell, or its format cannot be read.
    """
    text = text.removeprefix("\ufeff")
    try:
        if is_python:
            return records.read(python_source.read(text, name))
        return _read(text.strip(), name)
    except RecursionError:
        raise GenotypeError(
            f"genotype: found more nested brackets than a cell has, {CONVERT}"
        ) from None


def _read(text: str, name: str) -> dict[str, Any] | str:
    has_printed, structures = bool(PRINTED.search(text)), STRUCTURE.findall(text)
    if text.startswith(("{", "[", "(")):
        value = _read_value(text, is_log=has_printed or bool(structures))
        if value is not None and (records.is_known(value) or not has_printed):
            return _read_entry(value, name)
    if text.startswith("|") and not has_printed:
        return text
    if name or has_printed or text.startswith("Configuration("):
        value = python_source.find(text, name)
        if value is not None:
            return records.read(value)
    if has_printed:
        return records.read(_last_printed(text, name))
    if structures:
        return structures[-1]
    if text.startswith("Configuration:"):
        return records.read(dict(CONFIGURATION.findall(text)))
    raise GenotypeError(f"genotype: found no Genotype(...) and no JSON object, {CONVERT}")


def _read_value(text: str, is_log: bool) -> Any:
    """Reads JSON, or what Python prints of a dict, a list or a tuple; None for a log that begins with a bracket."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        not_json = error
    if (node := literals.expression(text)) is not None:
        return literals.evaluate(node)
    if is_log or text.startswith("("):
        return None
    raise GenotypeError(f"genotype: not JSON, {not_json}")


def _read_entry(value: Any, name: str) -> dict[str, Any] | str:
    """Reads a value, or the entry of it that the user or the key "genotype" names."""
    if name:
        value = records.entry(value, name)
    elif isinstance(value, dict) and records.GENOTYPE in value:
        value = value[records.GENOTYPE]
    else:
        return records.read(value)
    if isinstance(value, str):
        return _read(value.strip(), "")
    return _read_entry(value, "") if isinstance(value, dict) else records.read(value)


def _last_printed(text: str, name: str) -> Any:
    """Reads the last Genotype(...) in a text that is no Python, or the last one of this name."""
    found = [(match[1] or "", match.end() - 1) for match in PRINTED.finditer(text)]
    names = sorted({known for known, _ in found if known})
    if name:
        found = [entry for entry in found if entry[0] == name]
        if not found:
            expected = f", expected one of {', '.join(names[:20])}" if names else ""
            raise GenotypeError(f"genotype: found no {name}{expected}")
    elif len(names) > 1:
        raise GenotypeError(
            f"genotype: found {len(names)} cells, {', '.join(names[:8])}; name one: FILE:{names[0]}"
        )
    _, begin = found[-1]
    return literals.read(_balanced(text, begin))


def _balanced(text: str, begin: int) -> str:
    """Returns Genotype(...) whose parenthesis opens at `begin`."""
    depth = 0
    for at in range(begin, min(len(text), begin + LONGEST)):
        depth += (text[at] in "([") - (text[at] in ")]")
        if depth == 0:
            return f"Genotype{text[begin : at + 1]}"
    raise GenotypeError("genotype: found a Genotype( that does not end")
