"""Searches with several edge models as one program: each does the same as alone, and has a folder."""

import json
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from nge_jax.embedding import model as embedding
from nge_jax.errors import InputError
from nge_jax.report import seeds as seeds_report
from nge_jax.report.document import Beside, Section
from nge_jax.search import build as search_build
from nge_jax.search import runner as search_runner
from nge_jax.search.several import mapping
from nge_jax.search.several.members import settings_of_members
from nge_jax.space.mixture import operation_probs
from nge_jax.workdir import artifacts
from nge_jax.workdir import folder as workdir
from nge_jax.workdir.artifacts import Member
from tests.helpers.small_search import make_config, result, stand_ins

MODELS, SEEDS = ("nge", "alpha"), (0, 3)


def config_of(**keys):
    config = make_config("gradient", entropy_weight=0.2, **keys)
    config.embedding.weight_decay = 1e-3
    config.run.random_cells = 0
    config.run.checkpoint_every_steps = config.run.steps_per_dispatch = 4
    return config


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """Workdirs by name: of all in turn, and mapped; of one alone, and its folder gone on with."""
    folder = tmp_path_factory.mktemp("searched")
    config = config_of(edge_models=MODELS, seeds=SEEDS)
    alone = config_of(edge_model="alpha")
    alone.seed = SEEDS[1]
    with stand_ins(data) as patched:
        search_runner.run(alone, folder / "alone")
        with patched.context() as other:
            other.setattr(search_build, "jax", SimpleNamespace(default_backend=lambda: "cuda"))
            search_runner.run(config, folder / "mapped")
        several = search_runner.run(config, folder / "in turn")
        shutil.copytree(folder / "in turn" / "alpha-seed-3", folder / "gone on with")
        search_runner.run(alone, folder / "gone on with")
    assert several.workdir == folder / "in turn" and not several.of_seeds
    folders = {
        (model, seed): single.workdir.name
        for model, results in several.of_models.items()
        for seed, single in results.items()
    }
    assert folders == {(m, s): f"{m}-seed-{s}" for m in MODELS for s in SEEDS}
    return folder


@pytest.mark.whole
@pytest.mark.parametrize("how", ["in turn", "mapped"])
def test_each_ends_as_its_search_alone(searched, how):
    mine, alone = searched / how / "alpha-seed-3", searched / "alone"
    found, expected = result(mine), result(alone)
    if how == "in turn":
        assert found == expected
    for one, other in zip(found.rows, expected.rows, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    np.testing.assert_allclose(found.probs, expected.probs, rtol=1e-5)
    # Types and shapes of the state's arrays are equal, though values may differ.
    forms = [{k: v[:2] for k, v in r.arrays.items()} for r in (found, expected)]
    assert forms[0] == forms[1]
    others = [result(searched / how / f).probs for f in ("nge-seed-3", "alpha-seed-0")]
    assert found.probs not in others, "the searches have done the same"
    names = [{f.name for f in p.iterdir() if "tfevents" not in f.name} for p in (mine, alone)]
    assert names[0] == names[1]
    config = json.loads((mine / artifacts.CONFIG).read_text())
    assert config["seed"] == 3 and config["search"]["edge_model"] == "alpha"
    workdir.check(mine, json.loads((alone / artifacts.CONFIG).read_text()), overwrite=False)


@pytest.mark.whole
def test_its_folder_is_the_workdir_of_that_search(searched):
    assert result(searched / "gone on with") == result(searched / "alone")


@pytest.mark.whole
@pytest.mark.parametrize("how", ["in turn", "mapped"])
def test_the_place_of_another_model_stays_empty(searched, how):
    newest = searched / how / "checkpoints" / str(result(searched / how).step)
    state = ocp.StandardCheckpointer().restore((newest / "state").resolve())
    of_model = state["params"]["embedding"]["of_model"]
    for number, model in enumerate(MODELS):
        for leaf in jax.tree.leaves(of_model[model]):
            has_model = np.arange(4) // 2 == number
            assert not leaf[~has_model].any()
            assert all(parameters.any() for parameters in leaf[has_model])


@pytest.mark.whole
def test_the_report_has_a_group_for_each_model(searched, monkeypatch):
    whole = searched / "in turn"
    # Other tests are about drawings.
    monkeypatch.setattr(seeds_report.figure, "save", lambda *_: None)
    monkeypatch.setattr(seeds_report.figure, "save_svg", lambda *_: None)
    monkeypatch.setattr(seeds_report.compare, "cell_pictures", lambda *_: Beside([]))
    monkeypatch.setattr(seeds_report, "_curves_section", lambda *_: Section("Curves", []))
    assert search_runner.report(whole) == whole / artifacts.REPORT
    groups = artifacts.read_json(whole / artifacts.SEEDS, ("edge_models",))["edge_models"]
    assert [*groups] == [*MODELS]
    shown = seeds_report.to_text(whole)
    names = [f"{model} {row}" for model in MODELS for row in (*SEEDS, "mean", "sd")]
    assert [line[:12].rstrip() for line in shown.splitlines()[:9]] == ["Search", *names]
    assert max(map(len, shown.splitlines())) <= 80 and "alpha seed 3, normal cell: " in shown
    text = (whole / artifacts.REPORT_MARKDOWN).read_text()
    for model in MODELS:
        accuracies = [result(whole / f"{model}-seed-{s}").rows[-1]["embedding_loss"] for s in SEEDS]
        assert groups[model]["mean"]["embedding_loss"] == pytest.approx(np.mean(accuracies))
        assert groups[model]["sd"]["embedding_loss"] == pytest.approx(np.std(accuracies, ddof=1))
        mean = groups[model]["mean"]["embedding_accuracy"]
        assert f"| {model} mean |" in text and f"{model} {mean:.2%} ± " in text
    for expected in ("| Edge models | nge, alpha |", "search.edge_models=(nge,alpha,)"):
        assert expected in text


def test_mapped_over_models_each_has_its_own_probabilities_and_gradients():
    names = ("rnn", "alpha")
    models = {name: embedding.edge_model(name, betas=True) for name in names}
    each = [mapping.choose_model(models, n) for n in range(len(models))]
    params = [model.init(jax.random.key(n)) for n, model in enumerate(each)]
    # P has zeros. There, the gradients of models that are not chosen easily become NaN.
    target = jax.nn.one_hot(jnp.arange(14) % 7, 7)

    def gradient(probs, params):
        def loss(params):
            mixture = probs(params)
            return -(target * jnp.log(operation_probs(mixture))).sum(), mixture

        return jax.value_and_grad(loss, has_aux=True)(params)

    @jax.jit
    def gradients(params):
        def gradient_of_search(params, number):
            return gradient(mapping.choose_model(models, number).probs, params)

        together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        alone = [
            gradient(m.probs, p.of_model[n])
            for (n, m), p in zip(models.items(), params, strict=True)
        ]
        return jax.vmap(gradient_of_search)(together, jnp.arange(len(models))), alone

    mapped, alone = gradients(params)
    for n, (name, expected) in enumerate(zip(names, alone, strict=True)):
        value_and_mixture, grads = jax.tree.map(lambda leaf, n=n: leaf[n], mapped)
        found = value_and_mixture, grads.of_model.pop(name)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert not any(leaf.any() for leaf in jax.tree.leaves(grads))


def test_a_workdir_tells_which_searches_it_holds(tmp_path):
    def read(search, seed=5):
        artifacts.write_json(tmp_path / artifacts.CONFIG, {"seed": seed, "search": search})
        return artifacts.read_members(tmp_path)

    assert read({}) == read({"seeds": [], "edge_models": []}) == []
    assert [member.folder for member in read({"seeds": [2, 0]})] == ["seed-2", "seed-0"]
    assert read({"edge_models": ["rnn"]}) == [Member(5, "rnn")]
    weighed = read({"cost_weights": [0, 0.25], "seeds": [1, 2]})
    assert weighed == [Member(seed, "", weight) for weight in (0.0, 0.25) for seed in (1, 2)]
    assert [m.folder for m in weighed[1:3]] == ["cost-0-seed-2", "cost-0.25-seed-1"]
    assert artifacts.describe(weighed[:2]) == "cost 0 seed 1, cost 0 seed 2"
    both = read({"edge_models": ["nge", "alpha"], "seeds": [0, 1]})
    assert [str(member) for member in both] == [f"{m} seed {s}" for m in MODELS for s in (0, 1)]
    assert artifacts.describe(both[1:3]) == "nge seed 1, alpha seed 0"
    assert artifacts.describe(read({"seeds": [2, 0]})) == "seeds 2, 0"
    wrong = ({"edge_models": ["../nge"]}, {"cost_weights": [-1]}, {"cost_weights": ["1"]})
    for search, seed in (*((each, 5) for each in wrong), ({"edge_models": ["nge"]}, "five")):
        with pytest.raises(InputError, match="expected"):
            read(search, seed)


def test_a_members_settings_have_the_files_of_a_search_alone(tmp_path):
    files = ["mine:gat", "mine:soft", "own:conv", "space:SPACE"]
    settings = {
        "seed": 0,
        "embedding": {},
        "search": {
            "seeds": [],
            "edge_models": ["alpha", "sub/mine.py:gat"],
            "edge_model": "nge",
            "relaxation": "mine:soft",
            "sources": [f"{name} sha256:0" for name in files],
        },
    }
    found = {
        folder.name: [row.split()[0] for row in values["search"]["sources"]]
        for folder, values in settings_of_members(settings, tmp_path).items()
    }
    assert found == {"alpha-seed-0": files[1:], "mine-gat-seed-0": files}
