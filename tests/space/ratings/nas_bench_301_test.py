"""The surrogate of NAS-Bench-301: what it is asked for a cell, its refusals, and known figures of the real one."""

import itertools
import json
import os
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.space import architecture, genotype
from nge_jax.space.ratings import nas_bench_301
from nge_jax.space.ratings.nas_bench_301 import INACTIVE, PREFIX, Surrogate
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.base import run_strategy
from nge_jax.strategies.random_search import random_search

ENCODING = {}  # as the surrogate's, the keys in its order and the values sorted
for field in ("normal", "reduce"):
    for number in sorted(map(str, range(14))):
        names = [INACTIVE, *sorted(DARTS.operations)]
        ENCODING[f"{PREFIX}edge_{field}_{number}"] = {name: n for n, name in enumerate(names)}
for field, node in itertools.product(("normal", "reduce"), (3, 4, 5)):
    pairs = [f"{i}_{j}" for i, j in itertools.combinations(range(node), 2)]
    key = f"{PREFIX}inputs_node_{field}_{node}"
    ENCODING[key] = {name: n for n, name in enumerate([INACTIVE, *pairs])}


class Session:
    """Guesses the sum of the numbers that it is given."""

    shapes = {"x_cat": [1, 34], "x_cont": [1, 1]}

    def get_inputs(self):
        return [types.SimpleNamespace(name=n, shape=s) for n, s in self.shapes.items()]

    def run(self, outputs, given):
        assert outputs is None and given["x_cont"] == [[98.0]]
        assert given["x_cat"].shape == (1, 34) and given["x_cat"].dtype == np.int32
        return [np.float32([[given["x_cat"].sum(), 6000]])]


def values(cell):
    """Translates the numbers of `encode` into words."""
    numbers = nas_bench_301.encode(architecture.from_genotype(cell), ENCODING)
    words = {}
    for (key, table), number in zip(ENCODING.items(), numbers, strict=True):
        words[key.removeprefix(PREFIX)] = {n: name for name, n in table.items()}[number]
    return words


def test_a_cell_is_encoded_by_its_edges_and_inputs():
    words = values(genotype.load("DARTS_V2"))
    # DARTS_V2, normal: sep 3x3 of 0 and 1; the same; sep 3x3 of 1, skip of 0; skip of 0, dil 3x3 of 2.
    edges = [words[f"edge_normal_{e}"] for e in range(14)]
    none, sep, skip = INACTIVE, "sep_conv_3x3", "skip_connect"
    expected = [sep, sep, sep, sep, none, skip, sep, none, none]
    assert edges == [*expected, skip, none, "dil_conv_3x3", none, none]
    assert [words[f"inputs_node_normal_{node}"] for node in (3, 4, 5)] == ["0_1", "0_1", "0_2"]
    assert words["edge_reduce_0"] == "max_pool_3x3"


def test_every_random_cell_has_16_operations_and_its_inputs():
    for seed in range(20):
        words = values(genotype.random_genotype(seed))
        assert sum(w != INACTIVE for k, w in words.items() if k.startswith("edge")) == 16
        assert INACTIVE not in [w for k, w in words.items() if k.startswith("inputs")]


def test_what_is_no_cell_of_the_space_is_refused():
    cell = architecture.from_genotype(genotype.load("DARTS_V2"))
    cell[0, 2] = architecture.ABSENT
    with pytest.raises(
        ValueError, match="expected 2 edges into node 3 of the normal cell, found 1"
    ):
        nas_bench_301.encode(cell, ENCODING)
    surrogate = Surrogate(Session(), ENCODING)
    for name, found in (("ENASNet", "5 inner nodes"), ("SNAS_aggressive", "none")):
        with pytest.raises(
            ValueError, match=f"expected a cell of the paper's space, found {found}"
        ):
            nas_bench_301.of_genotypes(surrogate, [genotype.load(name)])
    partial = genotype.load("DARTS_V2")._replace(normal_concat=(4, 5))
    with pytest.raises(ValueError, match='"normal_concat": expected all inner nodes, 2..5, .*4, 5'):
        nas_bench_301.of_genotypes(surrogate, [partial])


def test_strategies_are_rewarded_by_its_guesses():
    surrogate = Surrogate(Session(), ENCODING)
    evaluate = nas_bench_301.make_evaluator(surrogate)

    def run(seed):
        key = jax.random.fold_in(jax.random.key(0), seed)
        return run_strategy(random_search(DARTS), evaluate, 5, key)

    history = jax.jit(jax.vmap(run))(np.arange(3))
    expected = [
        [nas_bench_301.encode(cell, ENCODING).sum() / 100 for cell in cells]
        for cells in np.asarray(history.architectures)
    ]
    np.testing.assert_allclose(history.rewards, expected, rtol=1e-5)


def write(folder, encoding=ENCODING, model=b"model"):
    (folder / "encoding.json").write_text(json.dumps(encoding))
    (folder / "nb301.onnx").write_bytes(model)
    return folder


@pytest.mark.parametrize(
    "encoding, message",
    [
        ([], "encoding.json: expected the encoding of the cells that nb301.onnx reads, found"),
        ({f"{PREFIX}edge_normal_0": {}}, "encoding.json: expected the encoding of the cells"),
    ],
)
def test_another_encoding_is_refused_by_name(tmp_path, encoding, message):
    with pytest.raises(InputError, match=message) as error:
        nas_bench_301.load(write(tmp_path, encoding))
    assert "\n" not in str(error.value)


def test_missing_files_and_packages_are_refused_by_name(tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="nb301.onnx: no such file, expected the surrogate's"):
            nas_bench_301.load(folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnxruntime is not installed .*nge_jax\[surrogate\]"):
        nas_bench_301.load(write(tmp_path))


def test_a_model_of_other_inputs_is_refused(tmp_path, monkeypatch):
    session = Session()
    session.shapes = {"x": [1, 2]}
    monkeypatch.setattr(nas_bench_301, "_session", lambda path: session)
    with pytest.raises(InputError, match="nb301.onnx: expected inputs .*x_cat.*, found {'x'"):
        nas_bench_301.load(write(tmp_path))


@pytest.fixture(scope="module")
def real():
    pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install 'nge_jax[surrogate]'")
    if "NGE_DATA_DIR" not in os.environ:
        pytest.skip("NGE_DATA_DIR is not set: no surrogate of NAS-Bench-301 here")
    return nas_bench_301.load(Path(os.environ["NGE_DATA_DIR"]) / "nb301")


def test_known_figures(real):
    cells = [genotype.load(name) for name in ("DARTS_V1", "DARTS_V2", "PC_DARTS_cifar")]
    guesses = nas_bench_301.of_genotypes(real, cells)
    np.testing.assert_allclose(guesses, [95.37, 95.05, 95.49], atol=0.01)
    random = nas_bench_301.random_accuracies(real, 300)
    assert random.mean() == pytest.approx(94.42, abs=0.15)
    assert random.std() == pytest.approx(0.54, abs=0.1)


def test_it_is_no_witness_on_skip_collapse(real):
    """Its own limit, which the documents state."""
    skips = tuple(("skip_connect", i) for i in (0, 1) * 4)
    cell = genotype.Genotype(skips, (2, 3, 4, 5), skips, (2, 3, 4, 5))
    assert nas_bench_301.of_genotypes(real, [cell])[0] > 95


def test_what_is_no_model_is_refused(real, tmp_path):
    del real  # the package is there
    with pytest.raises(InputError, match="nb301.onnx: expected an ONNX model, found") as error:
        nas_bench_301.load(write(tmp_path))
    assert "\n" not in str(error.value)
