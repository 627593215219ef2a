"""Python files with genotypes: what an import of the file would leave counts, and nothing else."""

import pytest

from nge_jax.errors import GenotypeError
from nge_jax.space import genotype

LIVE, OTHER = genotype.load("DARTS_V2"), genotype.load("PDARTS")


def load(folder, text, name="BEST", file="cells.py"):
    (folder / file).write_text(text)
    return genotype.load(str(folder / file) + (f":{name}" if name else ""))


@pytest.mark.parametrize("text", [
    f"BEST = {LIVE}\n# BEST = {OTHER}\n",
    f'BEST = {LIVE}\n"""\nBEST = {OTHER}\n"""\n',
    f"BEST = {LIVE}\nif False:\n    BEST = {OTHER}\n",
    f"BEST = {LIVE}\nif not True:\n    BEST = {OTHER}\nelse:\n    pass\n",
    f"BEST = {LIVE}\nDEBUG = 0\nif DEBUG:\n    BEST = {OTHER}\n",
    f'BEST = {LIVE}\nif __name__ == "__main__":\n    BEST = {OTHER}\n',
    f"BEST = {LIVE}\ndef best():\n    BEST = {OTHER}\n    return BEST\n",
    f"BEST = {LIVE}\nclass Cells:\n    BEST = {OTHER}\n",
    f"BEST = {LIVE}\nBEST_OF_ALL = {OTHER}\n",
    f"BEST = {OTHER}\nBEST = {LIVE}\n",
    f"BEST = {OTHER}\nif True:\n    BEST = {LIVE}\n",
    f"try:\n    BEST = {LIVE}\nfinally:\n    pass\n",
    f"with open('x') as file:\n    BEST = {LIVE}\n",
    f"MINE = {LIVE}\nBEST = MINE\nMINE = {OTHER}\n",
    f"A = B = {LIVE}\nBEST: Genotype = B\n",
    f"import genotypes\nBEST = genotypes.{LIVE}\nprint(len(BEST.normal), [BEST for BEST in 'ab'])\n",
    f"PAIRS = {LIVE.normal}\nOUT = range(2, 6)\nBEST = Genotype(PAIRS, OUT, {LIVE.reduce}, reduce_concat=OUT)\n",
    f"BEST = {LIVE._asdict()}\n",
    f"BEST = {LIVE}\n'\\d'\n",
])  # fmt: skip
@pytest.mark.parametrize("file", ["cells.py", "cells.txt"])
def test_the_live_cell_is_read(tmp_path, text, file):
    assert load(tmp_path, text, file=file) == LIVE


@pytest.mark.parametrize("text, message", [
    (f"BEST = {LIVE}\nimport os\nif os.name == 'x':\n    BEST = {OTHER}\n", "line 4: found BEST set by a condition"),
    (f"BEST = {LIVE}\nfor BEST in ({OTHER},):\n    pass\n", "line 2: found BEST changed by a loop"),
    (f"BEST = {LIVE}\nBEST.normal[0] = ('skip_connect', 0)\n", "line 2: found BEST set or changed in a part"),
    (f"BEST = {LIVE}\nBEST.normal.append(1)\n", "line 2: found BEST changed by a method"),
    ("PAIRS = []\nPAIRS.append(1)\nBEST = Genotype(PAIRS, [2], [], [2])\n", "line 2: found PAIRS changed by a method"),
    (f"BEST = {LIVE}\nBEST += ()\n", "line 2: found BEST changed"),
    (f"BEST = {LIVE}\nfrom other import BEST\n", "line 2: found BEST imported"),
    (f"try:\n    BEST = {LIVE}\nexcept NameError:\n    BEST = {OTHER}\n", "line 3: found BEST set where an exception"),
    (f"BEST = {LIVE}\ndel BEST\n", "line 2: found BEST deleted"),
    (f"BEST = {LIVE}\nLAST = BEST.normal.pop()\n", "line 2: found BEST changed within an expression"),
    (f"# BEST = {LIVE}\n", "found no BEST at the top level"),
    (f"BEST = '''{LIVE}'''\n", "expected DARTS's Genotype"),
    ("BEST = Genotype(normal=make())\n", r"line 1: found make\(\), expected pairs"),
    ("BEST = Genotype(normal=PAIRS)\n", "line 1: found PAIRS, expected pairs"),
    ("print 'of Python 2'\n", r"cells\.py: genotype: found no Python of this version \(line 1: "),
    (f"ONE = {LIVE}\nTWO = {OTHER}\n", "found no BEST at the top level, expected one of ONE, TWO"),
])  # fmt: skip
def test_what_the_file_alone_does_not_tell_is_refused_by_its_line(tmp_path, text, message):
    with pytest.raises(GenotypeError, match=message) as error:
        load(tmp_path, text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_name_is_needed_only_where_cells_differ(tmp_path):
    assert load(tmp_path, f"ONE = {LIVE}\nBEST = ONE\n# TWO = {OTHER}\n", "") == LIVE
    assert load(tmp_path, f"ONE = {OTHER}\nONE = {LIVE}\n", "") == LIVE
    with pytest.raises(GenotypeError, match="found 3 cells, ONE, TWO, BEST; name one: FILE:ONE"):
        load(tmp_path, f"ONE = {LIVE}\nTWO = {OTHER}\nBEST = TWO\n", "")
    with pytest.raises(GenotypeError, match="found no cell at the top level"):
        load(tmp_path, f"# ONE = {LIVE}\n", "")


def test_a_log_is_searched_for_the_last_cell(tmp_path):
    log = f"01/05 epoch 1\n01/05 genotype = {OTHER}\n01/05 epoch 2\n01/05 genotype = {LIVE}\n"
    assert load(tmp_path, log, "", "log.txt") == LIVE
    assert load(tmp_path, f"# the best so far\n# {LIVE}\n", "", "notes.txt") == LIVE
