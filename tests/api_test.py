"""`import nge_jax as nge`: the names are there, and none of them costs anything before it is used."""

import json
import pydoc
import re
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import nge_jax as nge
from tests.conftest import ROOT

NAMES = re.findall(
    r"^    from .* import \w+ as (\w+)", Path(nge.__file__).read_text(), re.MULTILINE
)
TOUR = ROOT / "docs" / "tour.ipynb"
# Two parts of a path from the root. A page's address and a closed tag are none.
ABSOLUTE_PATH = re.compile(r"(?<![\w./<~])/\w[\w.-]*/|\b[A-Z]:\\")


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


def test_a_config_takes_other_values_but_no_other_keys():
    config = nge.load_config("search_digits", "smoke")
    config.search.epochs = 3
    for group, key in ((config, "sead"), (config.search, "epoch"), (config.weights, "rate")):
        with pytest.raises(AttributeError, match=f'"{key}"'):
            setattr(group, key, 1)
    assert config.search.epochs == 3


def one_line(value, *parts):
    text = repr(value)
    assert "\n" not in text and len(text) < 200, text
    assert all(part in text for part in parts), text


def test_what_a_search_is_made_of_and_ends_with_is_shown_in_a_line():
    for name in ("nge", "alpha"):
        one_line(nge.edge_model(name), f"EdgeModel({name})")
    one_line(nge.random_search(nge.DARTS, 4), "Strategy(random, batch_size=4)")
    for cells in (1, 8):
        supernet = nge.make_supernet(cells, 16, 10, dtype=jnp.bfloat16)
        one_line(supernet, f"{cells} cells, 16 channels, 10 classes, loop, bfloat16")
    genotype, probs = nge.load_genotype("DARTS_V2"), np.zeros(nge.DARTS.shape)
    one = nge.search.SearchResult(genotype, probs, Path("runs/digits"))
    cell = "normal: 2 skip_connect, 5 sep_conv_3x3, 1 dil_conv_3x3; reduction: 3 skip_connect, 5 max_pool_3x3"
    one_line(one, "SearchResult(runs/digits; ", cell)
    one_line(one._replace(of_seeds={0: one, 3: one}), "the first of the seeds 0, 3)")
    one_line(
        one._replace(of_models={"nge": {0: one}, "alpha": {0: one}}), "edge models nge, alpha)"
    )


@pytest.mark.parametrize("task", ["search", "train", "segment"])
def test_the_help_of_a_task_shows_what_runs_it(task):
    text = pydoc.plain(pydoc.render_doc(getattr(nge, task)))
    functions = text.partition("FUNCTIONS")[2]
    assert "    run(config: " in functions and "    summary(config: " in functions
    assert "Result(builtins.tuple)" in text.partition("CLASSES")[2]


def test_the_tour_is_stored_with_the_outputs_of_a_single_pass():
    cells = [c for c in json.loads(TOUR.read_text())["cells"] if c["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert all(cell["outputs"] for cell in cells)
    outputs = [output for cell in cells for output in cell["outputs"]]
    kinds = [
        kind for output in outputs for kind in (output["output_type"], *output.get("data", ()))
    ]
    assert {"image/svg+xml", "image/png"} <= {*kinds} and "error" not in kinds
    assert len(TOUR.read_bytes()) < 500_000


def test_the_outputs_of_the_tour_name_no_folder_of_a_machine():
    assert all(map(ABSOLUTE_PATH.search, ("only=/tmp/runs", "'/root/runs'", "file:/home/me/runs")))
    assert not ABSOLUTE_PATH.search("<g></g> http://www.w3.org/2000/svg runs/tour/report.html")
    for cell in json.loads(TOUR.read_text())["cells"]:
        for output in cell.get("outputs", ()):
            texts = {"text": output.get("text", "")} | output.get("data", {})
            texts.pop("image/png", None)  # base64 has slashes anywhere
            for text in map("".join, texts.values()):
                assert ABSOLUTE_PATH.findall(text) == [], text[:200]


@pytest.mark.whole
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
