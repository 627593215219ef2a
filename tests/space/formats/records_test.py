"""Cells as other programs record them: read to the pair, or refused by the name of their format."""

import json

import pytest

from nge_jax.errors import GenotypeError
from nge_jax.space import architecture, genotype
from nge_jax.space import cell as space_cell
from nge_jax.space.genotype import Genotype
from nge_jax.space.nas_bench_201 import BenchCell
from nge_jax.space.ratings import nas_bench_301

SMALL = Genotype(
    (("sep_conv_3x3", 0), ("skip_connect", 1)),
    (2,),
    (("max_pool_3x3", 0), ("max_pool_3x3", 1)),
    (2,),
)
PREFIX = "NetworkSelectorDatasetInfo:darts:"


def test_what_nni_exports_is_read():
    exported = {
        "normal/op_2_0": "sep_conv_3x3", "normal/input_2_0": [0],
        "normal/op_2_1": "skip_connect", "normal/input_2_1": [1],
        "reduce/op_2_0": "max_pool_3x3", "reduce/input_2_0": [0],
        "reduce/op_2_1": "max_pool_3x3", "reduce/input_2_1": 1,
    }  # fmt: skip
    assert genotype.from_text(json.dumps(exported)) == SMALL
    del exported["normal/op_2_0"]
    with pytest.raises(GenotypeError, match=r'"normal\[0\]": expected'):
        genotype.from_text(json.dumps(exported))


def test_autodl_projects_names_of_operations_are_read():
    text = str(SMALL).replace("sep_conv_3x3", "dua_sepc_3x3")
    assert genotype.from_text(text) == SMALL
    fields = SMALL._asdict() | {"reduce": [["dil_sepc_5x5", 0], ["none", 1]]}
    assert genotype.from_text(json.dumps(fields)).reduce == (("dil_conv_5x5", 0), ("none", 1))


def nb301(cells, colon=":"):
    """NASBench-301's configuration of a genotype, by the rule of its representations.py: edges counted by target."""
    config = {}
    for field, pairs in (("normal", cells.normal), ("reduce", cells.reduce)):
        first = 0
        for k in range(4):
            ops = sorted(pairs[2 * k : 2 * k + 2], key=lambda pair: pair[1])
            config |= {f"{PREFIX}edge_{field}_{first + i}": operation for operation, i in ops}
            if k:
                config[f"{PREFIX}inputs_node_{field}_{k + 2}"] = "_".join(str(i) for _, i in ops)
            first += k + 2
    return {key.replace(":", colon): value for key, value in config.items()}


@pytest.mark.parametrize("seed", range(5))
def test_configurations_of_nasbench_301_are_read(seed):
    cells = genotype.random_genotype(seed)
    config = nb301(cells)
    unused = {f"{PREFIX}edge_normal_{e}": None for e in range(14)}
    others = {f"{PREFIX}layers": 20, "OptimizerSelector:optimizer": "sgd"}
    for written in (config, unused | config | others, nb301(cells, "_COLON_")):
        assert genotype.from_text(json.dumps(written)) == cells
        assert genotype.from_text(str(written)) == cells
    result = {"final_metric_score": -97.7, "optimized_hyperparamater_config": config}
    assert genotype.from_text(json.dumps(result)) == cells
    assert genotype.from_text(f"Configuration(values={{\n  {str(config)[1:-1]},\n}})\n") == cells
    lines = "\n".join(f"  {key}, Value: {value!r}" for key, value in config.items())
    assert genotype.from_text(f"Configuration:\n{lines}\n\n") == cells


def test_the_surrogates_own_encoding_has_the_same_edges():
    cells = genotype.random_genotype(3)
    config = nb301(cells, "_COLON_")
    keys = {f"{nas_bench_301.PREFIX}edge_{f}_{e}" for f in ("normal", "reduce") for e in range(14)}
    encoding = {key: {config.get(key, "#na#"): 0} for key in keys | config.keys()}
    # A KeyError here is an edge that the two count differently.
    assert not nas_bench_301.encode(architecture.from_genotype(cells), encoding).any()


def test_a_configuration_that_contradicts_itself_is_refused_by_its_node():
    config = nb301(genotype.load("DARTS_V2"))
    with pytest.raises(GenotypeError, match="normal cell has edges into node 3 from 0, 1 .*'1_2'"):
        genotype.from_text(json.dumps(config | {f"{PREFIX}inputs_node_normal_3": "1_2"}))
    del config[f"{PREFIX}edge_reduce_0"]
    with pytest.raises(GenotypeError, match="reduce cell has edges into node 2 from 1 "):
        genotype.from_text(json.dumps(config))


@pytest.mark.parametrize("wrap", [
    lambda cell: {"genotype": cell, "val_acc": 97.1},
    lambda cell: {"genotype": str(Genotype(**cell)), "best": "Genotype(normal=[])"},
    lambda cell: {"genotype": {"genotype": cell}},
])  # fmt: skip
def test_the_entry_genotype_is_read(wrap):
    assert genotype.from_text(json.dumps(wrap(SMALL._asdict()))) == SMALL


def test_an_entry_of_another_name_is_read_where_it_is_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"best": SMALL._asdict(), "last": None}))
    assert genotype.load(f"{tmp_path / 'a.json'}:best") == SMALL
    with pytest.raises(GenotypeError, match="found no first, expected one of best, last"):
        genotype.load(f"{tmp_path / 'a.json'}:first")


CELL = BenchCell(
    "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"
)
# NASLib: 0 skip_connect, 1 none, 2 nor_conv_3x3, 3 nor_conv_1x1, 4 avg_pool_3x3; edges 01 02 03 12 13 23.
NUMBERS = [2, 1, 4, 0, 3, 0]


@pytest.mark.parametrize("text", [
    f"Structure(4 nodes with {CELL.cell})",
    f"[epoch 1] Structure(4 nodes with |none~0|+|none~0|none~1|+|none~0|none~1|none~2|)\n"
    f"[epoch 2] genotype : Structure(4 nodes with {CELL.cell})\n",
    json.dumps({"genotype": CELL.cell, "accuracy": 91.2}),
    json.dumps({"genotype": f"Structure(4 nodes with {CELL.cell})"}),
    json.dumps({"op_indices": NUMBERS}),
    str({"op_indices": tuple(NUMBERS)}),
])  # fmt: skip
def test_cells_of_nas_bench_201_are_read(tmp_path, text):
    (tmp_path / "cell.txt").write_text(text)
    assert space_cell.load(str(tmp_path / "cell.txt")) == space_cell.load(text) == CELL
    with pytest.raises(GenotypeError, match="a cell of NAS-Bench-201"):
        genotype.load(text)


def test_numbers_of_naslib_are_read_only_where_they_are_called_so(tmp_path):
    (tmp_path / "cell.json").write_text(json.dumps(NUMBERS))
    with pytest.raises(GenotypeError, match="NASLib's op_indices .* FILE:op_indices") as error:
        space_cell.load(str(tmp_path / "cell.json"))
    assert CELL.cell in str(error.value)
    assert space_cell.load(f"{tmp_path / 'cell.json'}:op_indices") == CELL
    # (input, operation): 3 is sep_conv_3x3, 2 skip_connect, 0 max_pool_3x3
    compact = [[[0, 3], [1, 2]], [[0, 0], [1, 0]]]
    for text in (json.dumps(compact), str((tuple(map(tuple, compact[0])), compact[1]))):
        (tmp_path / "cell.json").write_text(text)
        with pytest.raises(GenotypeError, match="NASLib's compact form .* FILE:compact"):
            genotype.load(str(tmp_path / "cell.json"))
        assert genotype.load(f"{tmp_path / 'cell.json'}:compact") == SMALL
    assert genotype.from_text(json.dumps({"compact": compact})) == SMALL


@pytest.mark.parametrize("record, message", [
    ({"op_indices": [0, 1, 2, 3, 4, 5]}, "as NASLib's op_indices, expected six numbers from 0 to 4"),
    ({"op_indices": [0, 1]}, "as NASLib's op_indices, expected six numbers from 0 to 4"),
    ({"compact": [[[0, 7], [1, 2]], [[0, 0], [1, 1]]]}, "as NASLib's compact form, expected"),
    ({"compact": [[[0, 3], [2, 3]], [[0, 0], [1, 1]]]}, "predecessor 2 is out of range"),
    ({"cell": {"normal": 1}}, "found .*normal.*, expected DARTS's Genotype"),
])  # fmt: skip
def test_wrong_numbers_are_refused(record, message):
    with pytest.raises(GenotypeError, match=message):
        genotype.from_text(json.dumps(record))
