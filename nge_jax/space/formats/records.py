"""Cells as other programs write them in JSON, or print them as a Python dict or list.

| program | what it writes |
|---|---|
| DARTS, PC-DARTS and others | {"normal": [["sep_conv_3x3", 0], ...], "normal_concat": [2], ...}, or a list of these |
| NNI | {"normal/op_2_0": "sep_conv_3x3", "normal/input_2_0": [0], ...} |
| NASBench-301 (ConfigSpace, YAHPO Gym) | {"NetworkSelectorDatasetInfo:darts:edge_normal_0": "sep_conv_3x3", ...} |
| NASLib | six numbers (op_indices of NAS-Bench-201), or pairs of numbers (the compact form of DARTS's space) |
| AutoDL-Projects | DARTS's, with other names for two of the operations |

NASLib's numbers mean other operations in other programs. They are read only where a key or the user says that they are
NASLib's.
"""

import json
import re
from collections.abc import Mapping, Sequence
from reprlib import repr as brief
from typing import Any

import numpy as np

from nge_jax.errors import GenotypeError
from nge_jax.space import nas_bench_201
from nge_jax.space.formats import literals
from nge_jax.space.formats.literals import FIELDS
from nge_jax.space.spaces import DARTS, NAS_BENCH_201

CONVERT = (
    "expected DARTS's Genotype(normal=[('sep_conv_3x3', 0), ...], ...) or JSON with these fields"
)
NNI_KEY = re.compile(r"(normal|reduce)/(op|input)_(\d{1,2})_(\d)")
# automl/nasbench301, representations.py; YAHPO Gym writes "_COLON_" for ":"
NB301_KEY = re.compile(
    r"NetworkSelectorDatasetInfo(?::|_COLON_)darts(?::|_COLON_)(edge|inputs_node)_(normal|reduce)_(\d{1,2})"
)
NB301_INACTIVE = (None, "#na#")
NB301_RESULT = "optimized_hyperparamater_config"  # spelled as in the files of its trainings
GENOTYPE, CELL, OP_INDICES, COMPACT = "genotype", "cell", "op_indices", "compact"
# automl/NASLib, search_spaces/nasbench201/conversions.py: NASLib counts the operations and the edges in this order.
OP_INDICES_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
OP_INDICES_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
# automl/NASLib since 2021, search_spaces/nasbench301/conversions.py. randomNAS and NASLib before count `none` first.
COMPACT_OPERATIONS = (
    *("max_pool_3x3", "avg_pool_3x3", "skip_connect"),
    *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
)
# DARTS's operations that AutoDL-Projects calls otherwise, in models/cell_operations.py
AUTODL = {
    f"{kind}_{size}": f"{ours}_{size}"
    for kind, ours in (("dua_sepc", "sep_conv"), ("dil_sepc", "dil_conv"))
    for size in ("3x3", "5x5")
}
AUTODL_ALONE = re.compile(r"nor_conv_\dx\d")  # plain convolutions, no operations of DARTS


def is_known(value: Any) -> bool:
    """Tells whether a value is a dict whose keys are those of a cell in one of the formats."""
    if not isinstance(value, Mapping):
        return False
    marks = {GENOTYPE, OP_INDICES, COMPACT, NB301_RESULT}
    return (
        {*FIELDS} <= value.keys()
        or value.keys() == {CELL}
        or any(key in marks or _is_key(NNI_KEY, key) or _is_key(NB301_KEY, key) for key in value)
    )


def read(value: Any) -> dict[str, Any] | str:
    """Reads a cell from a value of JSON, or from a value that `literals.evaluate` returns.

    Returns:
      The four fields of a genotype, still to be validated, or the notation of a cell of NAS-Bench-201.

    Raises:
      GenotypeError: the value has another format; the message names the format where it is a known one.
    """
    if isinstance(value, Mapping):
        return _read_mapping(value)
    if isinstance(value, str) and value.startswith("|"):
        return value
    if not isinstance(value, list | tuple):
        raise GenotypeError(f"genotype: found {brief(value)}, {CONVERT}")
    if len(value) == len(FIELDS):  # a NamedTuple becomes a list
        return _to_fields(dict(zip(FIELDS, value, strict=True)))
    if _is_compact(value):
        raise GenotypeError(
            "genotype: found numbers as NASLib's compact form has them, which other programs count otherwise; "
            f"if NASLib of 2021 or later wrote them, give FILE:{COMPACT}"
        )
    if _is_op_indices(value):
        raise GenotypeError(
            "genotype: found six numbers as NASLib's op_indices has them, which other programs count otherwise; "
            f"if NASLib wrote them, give FILE:{OP_INDICES}, or the cell itself: {_read_op_indices(value)}"
        )
    raise GenotypeError(f"genotype: found a list of {len(value)}, {CONVERT}")


def entry(value: Any, name: str) -> Any:
    """Returns what a name in FILE:NAME stands for: an entry of a dict, or a list in the format of this name.

    Raises:
      GenotypeError: there is none.
    """
    if isinstance(value, Mapping) and name in value:
        return {name: value[name]} if name in (OP_INDICES, COMPACT) else value[name]
    if isinstance(value, list | tuple) and name in (OP_INDICES, COMPACT):
        return {name: value}
    keys = [*map(str, value)][:20] if isinstance(value, Mapping) else [OP_INDICES, COMPACT]
    raise GenotypeError(f"genotype: found no {name[:60]}, expected one of {', '.join(keys)[:300]}")


def _read_mapping(value: Mapping[str, Any]) -> dict[str, Any] | str:
    if value.keys() == {CELL}:
        return str(value[CELL])
    if {*FIELDS} <= value.keys():
        return _to_fields(value)
    if any(_is_key(NNI_KEY, key) for key in value):
        return _to_fields(_read_nni(value))
    if any(_is_key(NB301_KEY, key) for key in value):
        return _read_nb301(value)
    if isinstance(value.get(NB301_RESULT), Mapping):
        return _read_mapping(value[NB301_RESULT])
    if OP_INDICES in value:
        return _read_op_indices(value[OP_INDICES])
    if COMPACT in value:
        return _to_fields(_read_compact(value[COMPACT]))
    return _to_fields(value)


def _is_key(pattern: re.Pattern[str], key: Any) -> bool:
    return isinstance(key, str) and bool(pattern.fullmatch(key))


def _to_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with DARTS's names of operations, pairs in one list, and ranges written out."""
    fields = dict(value)
    for cell in ("normal", "reduce"):
        if isinstance(fields.get(cell), list | tuple):
            pairs = enumerate(_flat(fields[cell]))
            fields[cell] = tuple(_to_darts(f"{cell}[{j}]", pair) for j, pair in pairs)
        concat = fields.get(f"{cell}_concat")
        if isinstance(concat, str) and concat.strip().startswith("range("):
            fields[f"{cell}_concat"] = literals.read(concat)
    return fields


def _flat(pairs: Sequence[Any]) -> list[Any]:
    """Makes one list of pairs that are grouped by node; a third entry, the weight of the edge, is left out."""
    flat = []
    for item in pairs:
        grouped = isinstance(item, list | tuple) and item and isinstance(item[0], list | tuple)
        flat += item if grouped else [item]
    return [pair[:2] if _has_weight(pair) else pair for pair in flat]


def _has_weight(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 3 and isinstance(pair[2], float)


def _to_darts(place: str, pair: Any) -> Any:
    """Returns a pair with DARTS's name of its operation, where AutoDL-Projects has another."""
    if not isinstance(pair, list | tuple) or not pair or not isinstance(pair[0], str):
        return pair
    if AUTODL_ALONE.fullmatch(pair[0]):
        raise GenotypeError(
            f"genotype field {json.dumps(place)}: found {pair[0]}, a plain convolution of AutoDL-Projects and "
            "NAS-Bench-201, which is no operation of DARTS; expected one of these in its place, such as sep_conv_3x3"
        )
    return (AUTODL.get(pair[0], pair[0]), *pair[1:])


def _read_nni(value: Mapping[str, Any]) -> dict[str, Any]:
    """Reads NNI's export: for each inner node k, the operation and the input of the edges 0 and 1 into k."""
    pairs: dict[str, dict[tuple[int, int], dict[str, Any]]] = {"normal": {}, "reduce": {}}
    for key, given in value.items():
        if match := NNI_KEY.fullmatch(key):
            cell, kind, node, place = match[1], match[2], int(match[3]), int(match[4])
            pairs[cell].setdefault((node, place), {})[kind] = given
    fields = {}
    for cell, edges in pairs.items():
        fields[cell] = tuple(
            (edge.get("op"), *_listed(edge.get("input"))) for _, edge in sorted(edges.items())
        )
        fields[f"{cell}_concat"] = tuple(sorted({node for node, _ in edges}))
    return fields


def _listed(inputs: Any) -> Any:
    return inputs if isinstance(inputs, list | tuple) else [inputs]


def _read_nb301(value: Mapping[str, Any]) -> dict[str, Any]:
    """Reads NASBench-301's configuration: the operation of each kept edge, and the inputs of each node.

    Edges are counted as in `Space.edges`. Every inner node stands in the output.
    """
    known = {
        match.groups(): given
        for key, given in value.items()
        if given not in NB301_INACTIVE and (match := NB301_KEY.fullmatch(key))
    }
    fields: dict[str, Any] = {}
    for cell in ("normal", "reduce"):
        pairs = []
        for node in DARTS.inner_nodes:
            edges = {DARTS.edges[e][0]: ("edge", cell, str(e)) for e in DARTS.incoming(node)}
            kept = {source: known[key] for source, key in edges.items() if key in known}
            inputs = known.get(("inputs_node", cell, str(node)), "_".join(map(str, kept)))
            if inputs != "_".join(map(str, kept)) or len(kept) != DARTS.kept_edges:
                raise GenotypeError(
                    f"genotype: found NASBench-301's configuration, whose {cell} cell has edges into node {node} from "
                    f"{', '.join(map(str, kept)) or 'none'} and inputs_node_{cell}_{node} {brief(inputs)}, "
                    "expected two edges from these inputs"
                )
            pairs += [(operation, source) for source, operation in kept.items()]
        fields |= {cell: tuple(pairs), f"{cell}_concat": tuple(DARTS.inner_nodes)}
    return fields


def _is_op_indices(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == len(OP_INDICES_EDGES)
        and all(type(n) is int and 0 <= n < len(OP_INDICES_OPERATIONS) for n in value)
    )


def _read_op_indices(value: Any) -> str:
    if not _is_op_indices(value):
        raise GenotypeError(
            f"genotype: found {brief(value)} as NASLib's op_indices, expected six numbers from 0 to 4"
        )
    names = dict(zip(OP_INDICES_EDGES, (OP_INDICES_OPERATIONS[n] for n in value), strict=True))
    operations = [NAS_BENCH_201.operations.index(names[edge]) for edge in NAS_BENCH_201.edges]
    return nas_bench_201.to_string(np.array(operations))


def _is_compact(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(cell, list | tuple) and all(map(_is_pair, cell)) for cell in value)
    )


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and type(pair[0]) is int
        and type(pair[1]) is int
        and 0 <= pair[1] < len(COMPACT_OPERATIONS)
    )


def _read_compact(value: Any) -> dict[str, Any]:
    if not _is_compact(value):
        raise GenotypeError(
            f"genotype: found {brief(value)} as NASLib's compact form, expected two lists of pairs "
            "[input, operation], with numbers of operations from 0 to 6"
        )
    fields: dict[str, Any] = {}
    for cell, pairs in zip(("normal", "reduce"), value, strict=True):
        inner = range(DARTS.num_inputs, DARTS.num_inputs + len(pairs) // 2)
        named = tuple((COMPACT_OPERATIONS[operation], source) for source, operation in pairs)
        fields |= {cell: named, f"{cell}_concat": tuple(inner)}
    return fields
