"""Searches with other forms of the embedding: killed, several at once, in all relaxations and strategies."""

import json

import jax
import numpy as np
import pytest

from nge_jax.embedding.model import Form, edge_model
from nge_jax.errors import InputError
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.search import build as search_build
from nge_jax.search import checks, makers, task
from nge_jax.search import runner as search_runner
from nge_jax.search.several import mapping
from nge_jax.search.steps.gradient import SearchState
from nge_jax.space.cell import derive
from nge_jax.space.spaces import DARTS
from tests.helpers.small_search import Killed, dying, make_config, result, stand_ins

FORM = {
    "rate": "matched",
    "decay": "decoupled",
    "classifier": "per_edge",
    "norm": "pairnorm_center",
    "start": "uniform",
    "residual": "free",
}


def config_of(strategy="gradient", form=FORM, **keys):
    config = make_config(strategy, **keys)
    config.embedding.update(form)
    config.run.random_cells = 0
    return config


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """The workdirs of a search, and of the same search killed twice, the second time while edges mutate.

    The cells' correlation counts by then, too.
    """
    folder, left = tmp_path_factory.mktemp("searched"), [2, 8]
    config = config_of(edge_mutation=0.5, layer_correlation=0.3)
    config.seed, config.network.cells = 3, 4
    with stand_ins(data) as patched:
        search_runner.run(config, folder / "straight")
        with patched.context() as other:
            other.setattr(Checkpoints, "save", dying(left))
            while left:
                with pytest.raises(Killed):
                    search_runner.run(config, folder / "killed")
        search_runner.run(config, folder / "killed")
    return folder


@pytest.fixture(scope="module")
def several(data, tmp_path_factory):
    """The workdir of searches with two edge models, each with the seed of `searched` and another."""
    folder = tmp_path_factory.mktemp("several")
    with stand_ins(data):
        config = config_of(seeds=(0, 3), edge_models=("nge", "alpha"), edge_mutation=0.5)
        config.search.layer_correlation, config.network.cells = 0.3, 4
        search_runner.run(config, folder)
    return folder


def test_killed_it_ends_bit_identical(searched):
    assert result(searched / "killed") == result(searched / "straight")


@pytest.mark.whole
def test_among_several_it_ends_as_alone(searched, several):
    mine, alone = result(several / "nge-seed-3"), result(searched / "straight")
    assert mine.genotype == alone.genotype
    np.testing.assert_allclose(mine.probs, alone.probs, rtol=1e-5)
    for one, other in zip(mine.rows, alone.rows, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.whole
def test_each_model_has_its_rate_in_the_record(several):
    rows = {model: result(several / f"{model}-seed-0").rows[-1] for model in ("nge", "alpha")}
    rate = config_of().embedding.learning_rate
    assert rows["alpha"]["embedding_rate"] == pytest.approx(rate)
    assert rate / 100 < rows["nge"]["embedding_rate"] < rate / 10


def test_a_search_starts_uniform_and_moves(searched):
    first, *_, last = np.array(result(searched / "straight").probs)
    np.testing.assert_allclose(first, 1 / 7, rtol=1e-5)
    assert abs(last - first).max() > 1e-5


def test_edges_are_recorded(searched):
    row = result(searched / "straight").rows[-1]
    for kind in DARTS.cell_types:
        assert 0 <= row[f"common_share_{kind}"] < 0.5
        assert 10 < row[f"edge_rank_{kind}"] <= 14
        assert -1 <= row[f"edge_cosine_{kind}"] <= 1
    assert -0.5 <= row["layer_cosine"] < 1 and row["layer_correlation"] == 0.3


@pytest.mark.parametrize(
    "strategy, keys",
    [
        ("gradient", {"relaxation": "gumbel"}),
        ("gradient", {"relaxation": "partial", "warmup": 0.5}),
        ("gradient", {"alternation": "batch", "order": 2}),
        ("reinforce", {}),
        ("evolution", {}),
    ],
)
def test_forms_go_with_every_relaxation_and_strategy(strategy, keys, data, monkeypatch):
    """Lowers the programs; what they compute is tested elsewhere."""
    form = FORM if strategy == "gradient" else FORM | {"decay": "coupled"}
    config = config_of(strategy, form, **keys)
    config.network.channels = 8
    checks.check(config)
    search = search_build.build(config, data)
    params = jax.eval_shape(search.makers.edge_model("nge").init, jax.random.key(0))
    assert params["theta_o"].shape == (2, 14, 64, 7)
    assert ("theta_b" in params["free"]) == (keys.get("relaxation") == "partial")
    optimizer = search.optimizer
    weights = jax.eval_shape(search.net.init, jax.random.key(0))
    embedding = jax.eval_shape(search.edge_model.init, jax.random.key(0))
    jax.eval_shape(optimizer.init, {"weights": weights, "embedding": embedding})


PARTS = {"nge": 0.03, "alpha": 1.0}


def test_free_logits_beside_the_embedding_have_the_whole_rate_and_initial_logits_none():
    form = Form(start="uniform", residual="free")
    model = mapping.choose_model(
        {name: edge_model(name, form=form) for name in ("nge", "alpha")},
        0,
    )
    params = model.init(jax.random.key(0))
    part_of, of_nge = (makers.make_part_of(PARTS, form, name) for name in (model.name, "nge"))
    assert part_of is not None and of_nge is not None
    parts = jax.tree_util.tree_map_with_path(lambda path, _: part_of(path), params)
    nge, alpha = parts.of_model["nge"], parts.of_model["alpha"]
    assert {*jax.tree.leaves(nge.pop("start"))} == {0.0}
    assert {*jax.tree.leaves(nge.pop("free"))} == {1.0}
    assert {*jax.tree.leaves(nge)} == {0.03}
    assert {*jax.tree.leaves(alpha)} == {1.0}
    alone = jax.tree_util.tree_map_with_path(lambda path, _: of_nge(path), params.of_model["nge"])
    assert alone["x"] == 0.03 and alone["free"] == {"theta_o": 1.0}


def test_one_rate_leaves_the_optimizer_as_it_is():
    assert makers.make_part_of({}, Form(classifier="per_edge", residual="free"), "nge") is None


@pytest.mark.parametrize(
    "keys, form, message",
    [
        ({"edge_model": "alpha"}, {"classifier": "per_edge"}, "classifier: found 'per_edge', expected 'shared' with"),
        ({"edge_model": "alpha"}, {"norm": "center"}, "norm: found 'center', expected 'none' with"),
        ({"edge_models": ("alpha",)}, {"residual": "free"}, "residual: found 'free', expected 'none' with"),
        ({"strategy": "reinforce"}, {"decay": "decoupled"}, "decay: found 'decoupled', expected 'coupled' with"),
    ],
)  # fmt: skip
def test_forms_that_no_model_has_are_refused(keys, form, message):
    config = config_of(form=form, **keys)
    with pytest.raises(InputError, match=rf"^config\.embedding\.{message}"):
        checks.check(config)


@pytest.mark.parametrize("form", [{"start": "uniform"}, {"decay": "decoupled", "rate": "matched"}])
def test_free_logits_take_the_forms_that_they_have(form):
    checks.check(config_of(form=form, edge_model="alpha"))
    checks.check(config_of(edge_models=("alpha", "nge")))


@pytest.mark.parametrize("accuracies, epoch", [((0.6, 0.2), 1), ((0.6, 0.5), 2)])
def test_the_cell_is_from_before_the_supernet_failed(accuracies, epoch, data, tmp_path, capsys):
    """P puts one operation on all edges in each epoch, another in each."""
    config = config_of(form={})
    config.search.keep_best_below = 0.7
    search = search_build.build(config, data)
    history = np.full((3, *DARTS.shape), 0.1, np.float32)
    history[1, ..., 3], history[2, ..., 4] = 0.4, 0.4
    rows = [
        json.dumps({"epoch": n, "step": n, "embedding_accuracy": a})
        for n, a in enumerate(accuracies, 1)
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    state = SearchState(2 * search.steps_per_epoch, {}, None, {}, history)
    cell = task._derive(search, state, tmp_path)
    assert cell.operation_counts("normal")[DARTS.operations[2 + epoch]] == 8
    told = "derived from P after epoch 1" in " ".join(capsys.readouterr().out.split())
    assert told == (epoch == 1)


def test_a_search_that_keeps_the_last_p_says_that_the_supernet_failed(data, tmp_path, capsys):
    search = search_build.build(config_of(form={}, keep_best_below=0.0), data)
    history = np.full((3, *DARTS.shape), 0.1, np.float32)
    history[2, ..., 4] = 0.4
    rows = [{"epoch": n, "embedding_accuracy": a} for n, a in ((1, 0.6), (2, 0.2))]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    state = SearchState(2 * search.steps_per_epoch, {}, None, {}, history)
    cell = task._derive(search, state, tmp_path)
    assert cell.operation_counts("normal")[DARTS.operations[4]] == 8
    told = " ".join(capsys.readouterr().out.split())
    assert "(epoch 2). The cells are derived from the last P all the same" in told


@pytest.mark.parametrize("strategy", ["gradient", "random"])
def test_the_end_tells_of_a_cell_of_one_operation(strategy, data, tmp_path, capsys, monkeypatch):
    """Whichever cell has led before: limits or a last comparison may choose another one."""
    search = search_build.build(config_of(strategy, form={}), data)
    cells = derive(np.eye(7)[np.full((2, 14), 4)], DARTS)
    monkeypatch.setattr(task, "_choose", lambda *_: cells)
    history = np.full((3, *DARTS.shape), 1 / 7, np.float32)
    state = SearchState(2 * search.steps_per_epoch, {}, None, {}, history)
    assert task.conclude(search, state, tmp_path, lambda *_: np.zeros(1)).genotype == cells
    told = " ".join(capsys.readouterr().out.split())
    for kind in DARTS.cell_types:
        assert f"{DARTS.operations[4]} takes 8 of the 8 edges of the {kind} cell." in told
