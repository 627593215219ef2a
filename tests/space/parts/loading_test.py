"""Operations and spaces by name: the package's, and a user's own in a module or a file."""

import sys

import pytest

from nge_jax.errors import InputError
from nge_jax.space.parts import checks, loading, reference
from nge_jax.space.parts.package import NOISE, OPERATIONS
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, S1, SPACES
from tests.helpers.modules import forget_modules

MINE = """
from nge_jax.space.parts.checks import with_operations
from nge_jax.space.parts.operation import Operation
from nge_jax.space.spaces import DARTS

mine = Operation("mine", lambda weights, x, layer: x)
SPACE = with_operations(DARTS, "sep_conv_3x3", mine)
NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_FOUND", {})
    (tmp_path / "own_parts.py").write_text(MINE)
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas" / "own.py").write_text(MINE)
    (tmp_path / "broken_parts.py").write_text("1 / 0")
    yield tmp_path
    forget_modules(tmp_path)


@pytest.mark.parametrize("module", ["own_parts", "ideas/own.py"])
def test_a_space_names_its_own_operations_so_that_another_process_finds_them(folder, module):
    space = checks.find_space(f"{module}:SPACE")
    assert space.operations == ("sep_conv_3x3", f"{module}:mine")
    found = loading.find_operation(space.operations[1])
    assert found is reference.load(f"{module}:mine").value
    assert loading.loaded_operation(f"{module}:mine") is found


def test_a_run_keeps_an_operation_while_the_file_is_edited(folder):
    before = loading.find_operation("own_parts:mine")
    assert not loading.forget_edited()
    (folder / "own_parts.py").write_text(MINE.replace('"mine"', '"edited"'))
    assert loading.find_operation("own_parts:mine") is before
    assert loading.forget_edited() and not loading.forget_edited()
    assert loading.find_operation("own_parts:mine").name == "edited"


def test_an_operation_that_is_not_loaded_stays_unloaded_where_it_is_drawn(folder):
    assert loading.loaded_operation("own_parts:mine") is None and "own_parts" not in sys.modules
    assert loading.is_operation("own_parts:mine") and not loading.is_operation("conv_2x2")
    assert loading.loaded_operation("noise") is NOISE


@pytest.mark.parametrize(
    "name, message",
    [
        ("s5", "found 's5', expected one of darts, .*s1.* or module:attribute"),
        ("own_parts:NONE", "own_parts:NONE: .*own_parts.py has no NONE, expected one of "),
        ("own_parts:NUMBER", "own_parts:NUMBER: found int, expected a Space"),
        ("broken_parts:SPACE", "broken_parts:SPACE: broken_parts.py, line 1: ZeroDivisionError: division by zero"),
        ("missing_parts:SPACE", "missing_parts:SPACE: no missing_parts.py in .*, and no such module is installed"),
        ('{"num_nodes": "six"}', "num_nodes: found 'six', expected 3 to 34"),
        ('{"nodes": 6}', "found .*, expected JSON with operations, num_nodes, allowed"),
        ('{"operations": ["skip_connect", "noise"]}', "operations: .*expected at least one with weights"),
        ('{"operations": ["sep_conv_3x3", "conv_2x2"]}', "operation conv_2x2: expected one of skip_connect, "),
        ('{"allowed": [[], []]}', r"allowed: found \[0, 0\] edges, expected 14 for each cell type"),
        ('{"allowed": 3}', r"allowed: found \[\] edges, expected 14 for each cell type"),
    ],
)  # fmt: skip
def test_what_is_no_space_is_refused_in_one_line(folder, name, message):
    with pytest.raises(InputError, match=f"^{message}") as refused:
        checks.find_space(name)
    assert "\n" not in str(refused.value)


def test_a_value_that_no_module_has_is_refused():
    lost = NOISE._replace(name="lost")
    with pytest.raises(InputError, match="^operation lost: found it in no module"):
        checks.with_operations(DARTS, "sep_conv_3x3", lost)


def test_an_edge_has_names_of_operations(folder):
    space = checks.find_space("own_parts:SPACE")
    mine = loading.find_operation("own_parts:mine")
    for names in (("sep_conv_3x3", mine), mine, "own_parts:mine"):
        limited = space._replace(allowed=((names,) * 14,) * 2)
        line = r"^allowed: found .*mine.* on edge \(0, 2\) .*expected names, some of sep_conv_3x3, own_parts:mine$"
        with pytest.raises(InputError, match=line):
            checks.check_space(limited)


@pytest.mark.parametrize("name", ["sep_conv_3x3", "mine"])
def test_two_operations_of_a_space_have_two_names(folder, name):
    with (folder / "own_parts.py").open("a") as file:
        file.write(f"same = Operation({name!r}, lambda weights, x, layer: x)\n")
    other = {"mine": "own_parts:mine"}.get(name, name)
    line = f"^operations: found the name '{name}' in both {other} and own_parts:same, expected a name for each$"
    with pytest.raises(InputError, match=line):
        checks.with_operations(DARTS, "sep_conv_3x3", "own_parts:mine", "own_parts:same")


def test_the_text_of_a_space_gives_the_space_back():
    own = DARTS._replace(num_nodes=7, operations=("skip_connect", "conv_1x1", "sep_conv_3x3"))
    limited = own._replace(allowed=((("skip_connect", "conv_1x1"),) * 20,) * 2)
    for space in (*SPACES.values(), own, limited):
        assert checks.find_space(checks.to_text(space)) == space
    assert checks.to_text(S1) == "s1"


def test_only_the_benchmarks_cells_have_one_input():
    with pytest.raises(InputError, match="^cell_types: found"):
        checks.check_space(NAS_BENCH_201._replace(operations=("none", "nor_conv_1x1")))


def test_drawings_tell_operations_apart():
    shorts = [operation.short for operation in OPERATIONS.values()]
    colors = [operation.color for operation in OPERATIONS.values() if operation.color]
    assert len({*shorts}) == len(shorts) and len({*colors}) == len(colors) == len(shorts) - 1
