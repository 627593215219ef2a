"""`import nge_jax as nge`: the names are there, and none of them costs anything before it is used."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import nge_jax as nge
from tests.conftest import ROOT

NAMES = re.findall(
    r"^    from .* import \w+ as (\w+)", Path(nge.__file__).read_text(), re.MULTILINE
)
TOUR = ROOT / "docs" / "tour.ipynb"


def test_importing_the_package_loads_no_jax_and_no_tensorflow(python):
    check = "import sys, nge_jax; print([m for m in ('jax', 'numpy', 'tensorflow', 'matplotlib') if m in sys.modules])"
    done = python("-c", check)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_name_is_there():
    assert len(NAMES) > 20
    for name in NAMES:
        assert getattr(nge, name) is not None
        assert name in dir(nge)
    with pytest.raises(AttributeError):
        nge.no_such_name  # noqa: B018


def test_the_tasks_are_run_by_functions_of_their_packages():
    for task in (nge.search, nge.train, nge.segment):
        assert callable(task.run) and callable(task.summary)


def test_a_genotype_draws_itself():
    genotype = nge.load_genotype("DARTS_V2")
    svg = genotype._repr_svg_()
    assert svg.lstrip().startswith("<") and "<svg" in svg and "sep_conv_3x3" in svg
    assert len(genotype.plot().axes) >= 2


def test_genotypes_are_listed_drawn_at_random_and_derived():
    assert "DARTS_V2" in nge.list_genotypes()
    assert nge.random_genotype(3) == nge.random_genotype(3) != nge.random_genotype(4)
    genotype = nge.derive(np.full(nge.DARTS.shape, 1 / 7))
    assert {operation for operation, _ in genotype.normal} == {
        "skip_connect"
    }  # ties: the lower index
    assert nge.cost.cifar_cost(nge.load_genotype("DARTS_V2")).parameters == 3_349_342


def test_configs_are_loaded_by_name():
    config = nge.load_config("search_cifar", "rnn,small")
    assert config.search.edge_model == "rnn"
    assert config.network.channels == 4


@pytest.mark.slow
def test_the_tour_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebook`")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_ALLOW_INSECURE_WRITES", "1")
    notebook = nbformat.read(TOUR, as_version=4)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": sys.version}
    client = nbclient.NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
