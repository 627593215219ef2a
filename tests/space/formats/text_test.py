"""Genotypes as other programs write them: read to the pair, without running anything, or refused by their name."""

import json

import pytest

from nge_jax.errors import GenotypeError
from nge_jax.space import genotype
from nge_jax.space.formats import literals
from nge_jax.space.genotype import KNOWN, Genotype

SMALL = Genotype(
    (("sep_conv_3x3", 0), ("skip_connect", 1)),
    (2,),
    (("max_pool_3x3", 0), ("max_pool_3x3", 1)),
    (2,),
)
PAIRS = "normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat={0}, " \
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], reduce_concat={0}"  # fmt: skip
OTHER = "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1)], normal_concat=[2], " \
    "reduce=[('skip_connect', 0), ('skip_connect', 1)], reduce_concat=[2])"  # fmt: skip


@pytest.mark.parametrize("concat", ["[2]", "(2,)", "range(2, 3)", "list(range(2, 3))"])
@pytest.mark.parametrize("form", [
    "Genotype({})",
    "genotype = Genotype({})",
    "2024-01-05 10:00:00,123 genotype = Genotype({})\n2024 epoch 3 lr 1.0e-3\n",
    "MINE = Genotype({})",
    "\ufeffGenotype(\n  {}\n)",
    "[1] epoch (3) " + OTHER + "\n[2] Genotype({}) <- the last counts",
])  # fmt: skip
def test_what_darts_prints_is_read(tmp_path, form, concat):
    text = form.replace("{}", PAIRS.format(concat))
    (tmp_path / "log.txt").write_text(text, encoding="utf-8")
    assert genotype.load(str(tmp_path / "log.txt")) == genotype.from_text(text) == SMALL
    assert genotype.load(text.strip("\ufeff")) == SMALL


@pytest.mark.parametrize("name", ["DARTS_V2", "PC_DARTS_cifar", "ENASNet", "SNAS_aggressive"])
def test_a_published_cell_survives_its_printed_form(name):
    known = KNOWN[name]
    assert genotype.load(str(known)) == known == genotype.load(repr(known))
    assert genotype.load(f"Genotype{tuple(known)!r}") == known  # the fields by position
    assert genotype.from_text(json.dumps(known)) == known  # as a NamedTuple is dumped


def test_pairs_may_be_grouped_by_node_and_have_weights():
    text = PAIRS.format("[2]").replace("[('sep_conv_3x3', 0), ('skip_connect', 1)]",
                                       "[(('sep_conv_3x3', 0, 0.4), ('skip_connect', 1, 0.2))]")  # fmt: skip
    assert genotype.from_text(f"Genotype({text})") == SMALL


def test_one_of_several_in_a_python_file_is_named(tmp_path):
    mine = f"ONE = {OTHER}\n\nTWO = Genotype({PAIRS.format('range(2, 3)')})\n"
    (tmp_path / "genotypes.py").write_text(mine)
    assert genotype.load(f"{tmp_path / 'genotypes.py'}:TWO") == SMALL
    with pytest.raises(GenotypeError, match="found 2 cells, ONE, TWO; name one: FILE:ONE"):
        genotype.load(str(tmp_path / "genotypes.py"))
    with pytest.raises(
        GenotypeError, match="found no THREE at the top level, expected one of ONE, TWO"
    ):
        genotype.load(f"{tmp_path / 'genotypes.py'}:THREE")


@pytest.mark.parametrize("zero", [
    "np.int64(0)", "numpy.int32(0)", "int64(0)", "tensor(0)", "tensor(0, device='cuda:0')", "int(0)",
])  # fmt: skip
@pytest.mark.parametrize("concat", [
    "range(2, 3, 1)", "array([2])", "np.array([2])", "tensor([2])", "[np.int64(2)]",
    "tuple(range(2, 3))", "np.array(range(2, 3))",
])  # fmt: skip
def test_numbers_of_numpy_and_pytorch_are_read(zero, concat):
    text = f"Genotype({PAIRS.format(concat)})".replace("', 0)", f"', {zero})")
    assert genotype.from_text(text) == SMALL


def test_pairs_in_an_array_are_read():
    # NumPy makes texts of the numbers beside texts.
    pairs = "array([['sep_conv_3x3', '0'], ['skip_connect', '1']], dtype='<U12')"
    text = PAIRS.format("[2]").replace("[('sep_conv_3x3', 0), ('skip_connect', 1)]", pairs)
    assert genotype.from_text(f"Genotype({text})") == SMALL
    text = PAIRS.format("[2]").replace("'sep_conv_3x3'", "np.str_('sep_conv_3x3')")
    assert genotype.from_text(f"Genotype({text})") == SMALL
    assert literals.read("range(3)") == (0, 1, 2)


def test_a_printed_dict_is_read_with_weights_and_pairs_by_node():
    printed = {
        "normal": [(("sep_conv_3x3", 0, 0.4), ("skip_connect", 1, 0.2))],
        "normal_concat": [2],
        "reduce": [(("max_pool_3x3", 0, 0.4), ("max_pool_3x3", 1, 0.2))],
        "reduce_concat": [2],
    }
    assert genotype.from_text(str(printed)) == genotype.from_text(json.dumps(printed)) == SMALL


def test_json_may_have_ranges_and_a_byte_order_mark(tmp_path):
    fields = SMALL._asdict() | {"normal_concat": "range(2, 3)", "reduce_concat": "range(2,3)"}
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(fields), encoding="utf-8")
    assert genotype.load(str(tmp_path / "a.json")) == SMALL


@pytest.mark.parametrize("text, message", [
    ("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|", "a cell of NAS-Bench-201"),
    ("[1, 2, 3]", "found a list of 3, expected DARTS's Genotype"),
    ("hello", r"found no Genotype\(...\) and no JSON object"),
    ("", r"found no Genotype\(...\)"),
    ("{", "not JSON"),
    ("Genotype(normal=[", "does not end"),
    ("Genotype(normal=[)]", "does not end|expected an expression of Python"),
    ("Genotype(normal=)", r"found Genotype\(normal=\)..., expected an expression of Python"),
    ("Genotype()", 'field "normal": missing'),
    ("Genotype(normal=[], extra=1, normal_concat=[], reduce=[], reduce_concat=[])", '"extra": unknown'),
    ("Genotype(normal=__import__('os').system('touch ran'))", "found __import__"),
    ("Genotype(normal=[x for x in (1,)])", "expected pairs and numbers"),
    ("Genotype(normal_concat=range(2, 10**9))", "expected pairs and numbers"),
    ("Genotype(normal_concat=range(2, 999999999))", "expected pairs and numbers"),
    ("Genotype(normal_concat=range(2, 6, 0))", "expected pairs and numbers"),
    ("Genotype([], [], [], [], [])", "found 5 arguments"),
    ("Genotype([], normal=[])", "found 2 arguments"),
    ("(" * 9000 + "1" + ")" * 9000, "no JSON object|nested"),
    ("Genotype(" + "(" * 9000 + ")" * 9000 + ")", "found Genotype|expected pairs|recursion"),
    ("Genotype(" + "1," * 20_000 + ")", "found 20000 arguments"),
    ("log: Genotype(" + "1," * 20_000 + ")", "does not end"),
    (f"Genotype({PAIRS.format('[2]')})".replace("sep_conv", "nor_conv"), "found nor_conv_3x3, .* AutoDL"),
    (f"Genotype({PAIRS.format('[2]')})".replace("sep_conv", "sep"), "unknown operation 'sep_3x3'"),
])  # fmt: skip
def test_all_else_is_refused_in_one_line_and_nothing_is_run(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenotypeError, match=message) as error:
        genotype.from_text(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert not list(tmp_path.iterdir())
