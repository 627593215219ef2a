"""Genotypes: their JSON and its refusals, the published cells, derivation, random cells."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from nge_jax import errors
from nge_jax.space import genotype as space_genotype
from nge_jax.space.parts import package
from nge_jax.workdir.artifacts import Member

DARTS_V2 = space_genotype.Genotype(
    normal=(
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 0),
        ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1),
        ("skip_connect", 0),
        ("skip_connect", 0),
        ("dil_conv_3x3", 2),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        ("max_pool_3x3", 0),
        ("max_pool_3x3", 1),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
        ("max_pool_3x3", 0),
        ("skip_connect", 2),
        ("skip_connect", 2),
        ("max_pool_3x3", 1),
    ),
    reduce_concat=(2, 3, 4, 5),
)


def edited(*path_and_value):
    """JSON of DARTS_V2 with one entry replaced."""
    *path, last, value = path_and_value
    fields = target = json.loads(space_genotype.to_json(DARTS_V2))
    for key in path:
        target = target[key]
    target[last] = value
    return json.dumps(fields)


def without(field):
    fields = json.loads(space_genotype.to_json(DARTS_V2))
    del fields[field]
    return json.dumps(fields)


def test_the_module_needs_no_jax():
    check = "import sys, nge_jax.space.genotype; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_edges_in_the_order_of_darts():
    assert len(space_genotype.EDGES) == 14
    assert space_genotype.EDGES[:6] == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (0, 4))
    assert space_genotype.EDGES[-1] == (4, 5)


def test_known_cells_are_the_published_ones():
    # The digest is of the cells in their authors' files; it tells when one is altered by accident.
    digest = hashlib.sha256(json.dumps(space_genotype.KNOWN).encode()).hexdigest()
    assert digest == "d5ebc91f8d54a38de98687337cbb834a7950b141dbc070bf2e0b132e864d93ff"
    assert space_genotype.KNOWN["DARTS_V2"] == DARTS_V2
    assert set(space_genotype.KNOWN) == {
        *(
            "DARTS_V1",
            "DARTS_V2",
            "PC_DARTS_cifar",
            "PC_DARTS_image",
            "PDARTS",
            "ENASNet",
            "MdeNAS",
        ),
        *("SNAS_mild", "SNAS_moderate", "SNAS_aggressive", "GDAS_V1"),
        *("DrNAS_cifar10", "DrNAS_imagenet"),
    }
    enas = space_genotype.KNOWN["ENASNet"]
    assert enas.normal[:2] == (("sep_conv_3x3", 1), ("skip_connect", 1))
    assert enas.reduce[-2:] == (("sep_conv_3x3", 5), ("sep_conv_5x5", 0))
    assert enas.normal_concat == enas.reduce_concat == (2, 3, 4, 5, 6)
    assert space_genotype.KNOWN["SNAS_aggressive"].reduce.count(("none", 1)) == 4


@pytest.mark.parametrize("name", space_genotype.KNOWN)
def test_json_round_trip(name):
    genotype = space_genotype.KNOWN[name]
    assert space_genotype.from_json(space_genotype.to_json(genotype)) == genotype
    assert space_genotype.validate(genotype) == genotype


def test_json_is_readable():
    text = space_genotype.to_json(DARTS_V2)
    assert text.startswith('{\n  "normal": [\n    ["sep_conv_3x3", 0],\n    ["sep_conv_3x3", 1],\n')
    assert '\n  "normal_concat": [2, 3, 4, 5],\n' in text
    assert text.endswith("\n}\n")
    assert space_genotype.from_json(text) == DARTS_V2


OPERATIONS = f"{', '.join(package.OPERATIONS)} or module:attribute"
FIELDS = "normal, normal_concat, reduce, reduce_concat"
PAIRS = [["sep_conv_3x3", 0], ["sep_conv_3x3", 1]]


@pytest.mark.parametrize(
    "text, message",
    [
        ("[1, 2]", f"genotype: expected an object with {FIELDS}, found [1, 2]"),
        (without("reduce"), f'genotype field "reduce": missing, expected {FIELDS}'),
        (edited("extra", 1), f'genotype field "extra": unknown, expected {FIELDS}'),
        (edited("a\nb", 1), f'genotype field "a\\nb": unknown, expected {FIELDS}'),
        (
            edited("normal", 2, 0, "conv_2x2"),
            f"genotype field \"normal[2]\": unknown operation 'conv_2x2', expected {OPERATIONS}",
        ),
        (
            edited("reduce", 7, 0, ""),
            f"genotype field \"reduce[7]\": unknown operation '', expected {OPERATIONS}",
        ),
        (
            edited("normal", 3, 1, 5),
            'genotype field "normal[3]": predecessor 5 is out of range, node 3 accepts 0..2',
        ),
        (
            edited("normal", 3, 1, 3),  # a node cannot hear itself
            'genotype field "normal[3]": predecessor 3 is out of range, node 3 accepts 0..2',
        ),
        (
            edited("reduce", 0, 1, -1),
            'genotype field "reduce[0]": predecessor -1 is out of range, node 2 accepts 0..1',
        ),
        (
            edited("reduce", 4, 1, 2),
            'genotype field "reduce[5]": predecessor 2 is repeated, node 4 needs two distinct ones',
        ),
        (
            edited("normal", PAIRS * 3 + PAIRS[:1]),
            'genotype field "normal": expected pairs, two for each inner node, found 7 items',
        ),
        (
            edited("normal", []),
            'genotype field "normal": expected pairs, two for each inner node, found 0 items',
        ),
        (
            edited("normal", None),
            'genotype field "normal": expected pairs, two for each inner node, found None',
        ),
        (
            edited("normal", PAIRS * 3),  # three inner nodes only, but the output names a fourth
            'genotype field "normal_concat[3]": expected inner nodes, of 2..4, found 5',
        ),
        (
            edited("normal_concat", 0, 1),  # an input
            'genotype field "normal_concat[0]": expected inner nodes, of 2..5, found 1',
        ),
        (
            edited("reduce_concat", 3, 6),
            'genotype field "reduce_concat[3]": expected inner nodes, of 2..5, found 6',
        ),
        (
            edited("reduce_concat", 3, 5.0),
            'genotype field "reduce_concat[3]": expected inner nodes, of 2..5, found 5.0',
        ),
        (edited("reduce_concat", 1, 2), 'genotype field "reduce_concat[1]": node 2 is repeated'),
        (
            edited("normal_concat", []),
            'genotype field "normal_concat": expected inner nodes, of 2..5, found []',
        ),
        (
            edited("normal_concat", 4),
            'genotype field "normal_concat": expected inner nodes, of 2..5, found 4',
        ),
    ],
)
def test_json_refusals_name_the_field(text, message):
    with pytest.raises(errors.GenotypeError) as error:
        space_genotype.from_json(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "pair",
    [
        *("skip_connect", 1, [], ["skip_connect"], ["skip_connect", 0, 1], {"skip_connect": 1}),
        *(["skip_connect", True], ["skip_connect", 1.0], ["skip_connect", None], [[], 1]),
    ],
)
def test_a_malformed_pair_is_refused(pair):
    with pytest.raises(errors.GenotypeError) as error:
        space_genotype.from_json(edited("normal", 1, pair))
    expected = 'genotype field "normal[1]": expected ["operation", predecessor], found '
    assert str(error.value) == expected + repr(pair)


@pytest.mark.parametrize("text", ["", "{", "Genotype(normal=[])", "[" * 100_000])
def test_what_is_not_json_is_refused_in_one_line(text):
    with pytest.raises(errors.GenotypeError, match=r"^genotype: not JSON, ") as error:
        space_genotype.from_json(text)
    assert "\n" not in str(error.value)


def test_writing_refuses_what_reading_would():
    with pytest.raises(errors.GenotypeError, match=r'"normal_concat\[0\]"'):
        space_genotype.to_json(DARTS_V2._replace(normal_concat=(0,)))


def test_only_a_published_cell_may_repeat_a_predecessor():
    enas = space_genotype.KNOWN["ENASNet"]
    altered = enas._replace(reduce_concat=(2, 3, 4, 5))
    with pytest.raises(errors.GenotypeError, match=r'"normal\[1\]": predecessor 1 is repeated'):
        space_genotype.validate(altered)
    # Every other published cell keeps the rule.
    for name, genotype in space_genotype.KNOWN.items():
        for pairs in (genotype.normal, genotype.reduce):
            sources = np.array([i for _, i in pairs]).reshape(-1, 2)
            assert name == "ENASNet" or (sources[:, 0] != sources[:, 1]).all()
            assert (sources.max(1) < 2 + np.arange(len(sources))).all()


def test_load_by_name_file_and_folder(tmp_path):
    file = tmp_path / "genotype.json"
    file.write_text(space_genotype.to_json(DARTS_V2))
    assert (
        space_genotype.load("DARTS_V2")
        == space_genotype.load(str(file))
        == space_genotype.load(str(tmp_path))
        == DARTS_V2
    )
    assert space_genotype.load("random:3") == space_genotype.random_genotype(3)


@pytest.mark.parametrize("name", ["DARTS", "random:", "random:-1", "random:x", "", "no/such.json"])
def test_load_refuses_an_unknown_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.GenotypeError) as error:
        space_genotype.load(name)
    message = str(error.value)
    assert message.startswith(
        f'genotype "{name}": no such file or known cell, expected random:SEED'
    )
    assert all(known in message for known in space_genotype.KNOWN) and "\n" not in message


@pytest.mark.parametrize("name, near", [
    ("darts_v2", "DARTS_V2 or DARTS_V1"), ("PCDARTS_cifar", "PC_DARTS_cifar"), ("PDART", "PDARTS"), ("x", ""),
])  # fmt: skip
def test_load_suggests_the_name_that_is_near(name, near):
    with pytest.raises(errors.GenotypeError) as error:
        space_genotype.load(name)
    _, _, suggested = str(error.value).partition("; did you mean ")
    assert suggested.startswith(near) and bool(suggested) == bool(near)


def test_load_reads_a_text_that_is_too_long_for_a_path():
    assert space_genotype.load(space_genotype.to_json(DARTS_V2)) == DARTS_V2
    with pytest.raises(errors.GenotypeError, match="no such file or known cell"):
        space_genotype.load("x" * 5000)


def test_load_names_the_seeds_of_which_one_is_meant(tmp_path):
    for seed in (10, 2, 3):
        (tmp_path / f"seed-{seed}").mkdir()
        if seed != 3:  # seed 3 has not ended
            (tmp_path / f"seed-{seed}/genotype.json").write_text(space_genotype.to_json(DARTS_V2))
    with pytest.raises(errors.GenotypeError) as error:
        space_genotype.load(str(tmp_path))
    assert str(error.value) == (
        f'genotype "{tmp_path}": found searches of several seeds, expected one: {tmp_path}/seed-2, {tmp_path}/seed-10'
    )


@pytest.mark.parametrize(
    "differ, groups",
    [
        ("edge models", [{"edge_model": "alpha"}, {"edge_model": "nge"}]),
        ("cost weights", [{"cost_weight": weight} for weight in (0.0, 1e-5, 2.5, 10.0)]),
    ],
)
def test_load_names_the_searches_of_which_one_is_meant(tmp_path, differ, groups):
    folders = [Member(seed, **group).folder for group in groups for seed in (2, 10)]
    for folder in folders:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "genotype.json").write_text(space_genotype.to_json(DARTS_V2))
    with pytest.raises(errors.GenotypeError) as error:
        space_genotype.load(str(tmp_path))
    listed = ", ".join(f"{tmp_path}/{folder}" for folder in folders)
    expected = f"found searches of several {differ}, expected one: {listed}"
    assert str(error.value) == f'genotype "{tmp_path}": {expected}'


def test_load_names_the_file_that_is_wrong(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(edited("normal", 3, 1, 5))
    with pytest.raises(errors.GenotypeError) as error:
        space_genotype.load(str(file))
    assert str(error.value) == (
        f'{file}: genotype field "normal[3]": predecessor 5 is out of range, node 3 accepts 0..2'
    )
    file.write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(
        errors.GenotypeError,
        match=r"mine\.json cannot be read \(bytes .*, expected JSON",
    ):
        space_genotype.load(str(file))
    with pytest.raises(errors.GenotypeError, match=r"genotype\.json\": no such file"):
        space_genotype.load(str(tmp_path))


def hand_written_probs():
    """Uniform, so that everything is a tie, except for the edges named in the tests."""
    return np.full((2, 14, 7), 1 / 7, np.float32)


def favor(probs, cell, edge, operation, value):
    row = np.full(7, (1 - value) / 6)
    row[space_genotype.OPERATIONS.index(operation)] = value
    probs[cell, space_genotype.EDGES.index(edge)] = row


def test_derive_keeps_the_two_strongest_edges_of_each_node():
    probs = hand_written_probs()
    favor(probs, 0, (0, 2), "max_pool_3x3", 0.2)
    favor(probs, 0, (1, 2), "sep_conv_5x5", 0.3)
    favor(probs, 0, (0, 3), "dil_conv_3x3", 0.5)
    favor(probs, 0, (1, 3), "avg_pool_3x3", 0.3)
    favor(probs, 0, (2, 3), "sep_conv_3x3", 0.4)
    favor(probs, 0, (1, 4), "skip_connect", 0.9)
    favor(probs, 0, (3, 4), "dil_conv_5x5", 0.8)
    favor(probs, 0, (4, 5), "sep_conv_3x3", 0.2)
    favor(probs, 0, (2, 5), "sep_conv_5x5", 0.4)
    favor(probs, 1, (3, 5), "avg_pool_3x3", 0.4)
    genotype = space_genotype.derive(probs)
    assert genotype.normal == (
        ("max_pool_3x3", 0),
        ("sep_conv_5x5", 1),
        ("dil_conv_3x3", 0),  # predecessors ascend, whichever is the stronger
        ("sep_conv_3x3", 2),
        ("skip_connect", 1),
        ("dil_conv_5x5", 3),
        ("sep_conv_5x5", 2),
        ("sep_conv_3x3", 4),
    )
    assert genotype.reduce[6:] == (("skip_connect", 0), ("avg_pool_3x3", 3))
    assert genotype.normal_concat == genotype.reduce_concat == (2, 3, 4, 5)
    assert space_genotype.from_json(space_genotype.to_json(genotype)) == genotype


def test_derive_breaks_ties_by_the_lower_index():
    first = (("skip_connect", 0), ("skip_connect", 1))
    assert space_genotype.derive(hand_written_probs())[::2] == (first * 4, first * 4)
    probs = hand_written_probs()
    for source in (1, 2, 4):  # three edges of node 5, equally strong, with two equal operations
        probs[0, space_genotype.EDGES.index((source, 5))] = [0, 0, 0.4, 0, 0.4, 0.2, 0]
    assert space_genotype.derive(probs).normal[6:] == (("avg_pool_3x3", 1), ("avg_pool_3x3", 2))


def test_derive_inverts_a_genotypes_one_hot_probabilities():
    for seed in range(20):
        genotype = space_genotype.random_genotype(seed)
        probs = np.full((2, 14, 7), 0.1)
        for cell, cell_type in enumerate(space_genotype.CELL_TYPES):
            for j, (operation, source) in enumerate(genotype.cell(cell_type)[0]):
                edge = space_genotype.EDGES.index((source, 2 + j // 2))
                probs[cell, edge, space_genotype.OPERATIONS.index(operation)] = 0.4
        assert space_genotype.derive(probs) == genotype


def test_derive_refuses_bad_probabilities():
    with pytest.raises(ValueError, match=r"probs: expected shape \(2, 14, 7\), found \(14, 7\)"):
        space_genotype.derive(np.zeros((14, 7)))
    for bad in (np.nan, np.inf):
        probs = hand_written_probs()
        probs[1, 3, 2] = bad
        with pytest.raises(ValueError, match="probs: expected finite values"):
            space_genotype.derive(probs)


def test_random_genotypes_are_valid_and_follow_their_seed():
    drawn = [space_genotype.random_genotype(seed) for seed in range(300)]
    assert all(
        space_genotype.from_json(space_genotype.to_json(genotype)) == genotype for genotype in drawn
    )
    assert space_genotype.random_genotype(7) == drawn[7]
    assert len(set(drawn)) == 300
    pairs = [pair for genotype in drawn for pair in genotype.normal + genotype.reduce]
    share = {
        name: sum(op == name for op, _ in pairs) / len(pairs) for name in space_genotype.OPERATIONS
    }
    assert all(abs(part - 1 / 7) < 0.02 for part in share.values()), share
    last = [i for genotype in drawn for _, i in genotype.normal[6:] + genotype.reduce[6:]]
    assert (abs(np.bincount(last) / len(last) - 1 / 5) < 0.03).all()


def test_operation_counts():
    counts = DARTS_V2.operation_counts("normal")
    assert list(counts) == list(space_genotype.OPERATIONS)
    assert counts == {
        "skip_connect": 2,
        "max_pool_3x3": 0,
        "avg_pool_3x3": 0,
        "sep_conv_3x3": 5,
        "sep_conv_5x5": 0,
        "dil_conv_3x3": 1,
        "dil_conv_5x5": 0,
    }
    assert DARTS_V2.operation_counts("reduction")["max_pool_3x3"] == 5


def test_cell_by_type():
    assert DARTS_V2.cell("normal") == (DARTS_V2.normal, DARTS_V2.normal_concat)
    assert DARTS_V2.cell("reduction") == (DARTS_V2.reduce, DARTS_V2.reduce_concat)
