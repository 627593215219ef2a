"""Genotypes as other programs write them: DARTS's printed form, in files, logs and Python, and other JSON.

    Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=[2, 3, 4, 5])

is what DARTS, PC-DARTS, P-DARTS and others print. It is taken apart by Python's parser and never evaluated. Of a log
the last one counts. Formats that say less than a genotype does are refused by their name, and so are AutoDL-Projects'
operations that are not among DARTS's under another name. No jax.
"""

import ast
import json
import re
from typing import Any

from nge_jax.errors import GenotypeError

FIELDS: tuple[str, ...] = ("normal", "normal_concat", "reduce", "reduce_concat")
LONGEST = 20_000  # characters of one printed genotype
BEGIN = re.compile(r"(?:\b(\w+)\s*(?:=|:)\s*)?\bGenotype\s*\(")
RANGE = re.compile(r"range\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)")
NNI_KEY = re.compile(r"(normal|reduce)/(op|input)_(\d{1,2})_(\d)")
CONVERT = (
    "expected DARTS's Genotype(normal=[('sep_conv_3x3', 0), ...], ...) or JSON with these fields"
)
# AutoDL-Projects' names (its models/cell_operations.py) of operations of DARTS
AUTODL = {
    f"{kind}_{size}": f"{ours}_{size}"
    for kind, ours in (("dua_sepc", "sep_conv"), ("dil_sepc", "dil_conv"))
    for size in ("3x3", "5x5")
}
AUTODL_ALONE = re.compile(r"nor_conv_\dx\d")  # its plain convolutions


def read_fields(text: str, name: str = "") -> dict[str, Any]:
    """Reads the four fields of a genotype, still to be validated.

    Args:
      text: of a file, a log, or the genotype alone.
      name: of the variable, where a Python file has several.

    Raises:
      GenotypeError: there is none, or it is of a format that is no genotype.
    """
    fields = _read_any(text.removeprefix("\ufeff").strip(), name)
    for cell in ("normal", "reduce"):
        pairs = fields.get(cell)
        if isinstance(pairs, list | tuple):
            fields[cell] = tuple(_of_darts(f"{cell}[{j}]", pair) for j, pair in enumerate(pairs))
    return fields


def _of_darts(place, pair):
    """Returns the pair with DARTS's name of its operation, where it has another."""
    if not isinstance(pair, list | tuple) or not pair or not isinstance(pair[0], str):
        return pair
    if AUTODL_ALONE.fullmatch(pair[0]):
        raise GenotypeError(
            f"genotype field {json.dumps(place)}: found {pair[0]}, a plain convolution of AutoDL-Projects and "
            "NAS-Bench-201, which is no operation of DARTS; expected one of these in its place, such as sep_conv_3x3"
        )
    return (AUTODL.get(pair[0], pair[0]), *pair[1:])


def _read_any(text, name):
    found = [(match[1] or "", match.end() - 1) for match in BEGIN.finditer(text)]
    if found:
        return _read_printed(text, found, name)
    if text.startswith(("{", "[")):
        return _read_json(text)
    if re.fullmatch(r"(\+?\|([\w~]+\|)+)+", text):
        raise GenotypeError(
            f"genotype: found a cell of NAS-Bench-201, {text[:40]}..., whose space has other operations; {CONVERT}"
        )
    raise GenotypeError(f"genotype: found no Genotype(...) and no JSON object, {CONVERT}")


def _read_printed(text, found, name):
    names = sorted({known for known, _ in found if known})
    if name:
        found = [entry for entry in found if entry[0] == name]
        if not found:
            raise GenotypeError(f"genotype: found no {name}, expected one of {', '.join(names)}")
    elif len(names) > 1 and names != ["genotype"]:
        raise GenotypeError(
            f"genotype: found {len(names)} of them, {', '.join(names[:8])}; name one: FILE:{names[0]}"
        )
    _, begin = found[-1]
    call = _parse(_balanced(text, begin))
    fields = dict(zip(FIELDS, map(_literal, call.args), strict=False))
    for keyword in call.keywords:
        fields[str(keyword.arg)] = _literal(keyword.value)
    return {
        key: _flat(value) if key in ("normal", "reduce") else value for key, value in fields.items()
    }


def _balanced(text, begin):
    """Returns Genotype(...) whose parenthesis opens at `begin`."""
    depth = 0
    for at in range(begin, min(len(text), begin + LONGEST)):
        depth += (text[at] in "([") - (text[at] in ")]")
        if depth == 0:
            return f"Genotype{text[begin : at + 1]}"
    raise GenotypeError("genotype: found a Genotype( that does not end")


def _parse(expression):
    try:
        call = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GenotypeError(
            f"genotype: found {expression[:60]}... ({type(error).__name__}), {CONVERT}"
        ) from None
    assert isinstance(call, ast.Call), "it begins with Genotype("
    return call


def _literal(node):
    """Returns what a list, a tuple, a constant or a range is; other code is not run."""
    match node:
        case ast.Constant(value=str() | int() | float() as value):
            return value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return tuple(map(_literal, parts))
        case ast.Call(
            func=ast.Name(id="range"),
            args=[ast.Constant(value=int(first)), ast.Constant(value=int(last))],
            keywords=[],
        ) if 0 <= first <= last < 100:
            return tuple(range(first, last))
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[inner], keywords=[]):
            return _literal(inner)
    raise GenotypeError(f"genotype: found {ast.unparse(node)[:60]}, expected pairs and numbers")


def _flat(pairs):
    """Makes one list of pairs of nodes that have their pairs apart; a third entry, a weight, is left out."""
    flat = []
    for item in pairs if isinstance(pairs, tuple) else ():
        nested = isinstance(item, tuple) and item and isinstance(item[0], tuple)
        flat += [
            part[:2] if isinstance(part, tuple) else part for part in (item if nested else [item])
        ]
    return tuple(flat) if isinstance(pairs, tuple) else pairs


def _read_json(text):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenotypeError(f"genotype: not JSON, {error}") from None
    if isinstance(value, list):
        if len(value) == len(FIELDS):  # a NamedTuple becomes a list
            return dict(zip(FIELDS, value, strict=True))
        if len(value) == 2 and all(_is_compact(cell) for cell in value):
            raise GenotypeError(
                "genotype: found NASLib's compact form, numbers whose operations depend on its version; print it by "
                "NASLib's convert_compact_to_genotype and give that"
            )
        raise GenotypeError(f"genotype: found a list of {len(value)}, {CONVERT}")
    if any(NNI_KEY.fullmatch(key) for key in value):
        return _read_nni(value)
    for key in ("normal_concat", "reduce_concat"):
        if isinstance(value.get(key), str) and (match := RANGE.fullmatch(value[key].strip())):
            value[key] = list(range(int(match[1]), int(match[2])))
    return value


def _is_compact(cell):
    return isinstance(cell, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, int) for n in pair)
        for pair in cell
    )


def _read_nni(value):
    """Reads what NNI exports: of each inner node k the operation and the input of its edges 0 and 1."""
    pairs: dict[str, dict[tuple[int, int], dict[str, Any]]] = {"normal": {}, "reduce": {}}
    for key, entry in value.items():
        if match := NNI_KEY.fullmatch(key):
            cell, kind, node, place = match[1], match[2], int(match[3]), int(match[4])
            pairs[cell].setdefault((node, place), {})[kind] = entry
    fields = {}
    for cell, edges in pairs.items():
        fields[cell] = tuple(
            (edge.get("op"), *_one(edge.get("input"))) for _, edge in sorted(edges.items())
        )
        fields[f"{cell}_concat"] = tuple(sorted({node for node, _ in edges}))
    return fields


def _one(inputs):
    return inputs if isinstance(inputs, list) else [inputs]
