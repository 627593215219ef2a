"""Parts from outside in searches: by name and as values, killed and resumed, and refused in one line if wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nge_jax as nge
from nge_jax.errors import InputError
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.search import build as search_build
from nge_jax.search import runner as search_runner
from nge_jax.settings import configs
from nge_jax.space import architecture
from tests.helpers.small_search import Killed, dying, make_config, result, stand_ins

RATE = nge.Key("mine.rate", 0.5, nge.Limits(float, 0, 9), "", "Noise.", in_program=False)


def noisy(space, numbers):
    def mix(scores, key, progress):
        noise = jax.random.normal(key, space.shape)
        return jax.nn.softmax(scores.logits + progress * numbers["rate"] * noise)

    return nge.RelaxationRule(mix, record=lambda progress: {"noise": progress * numbers["rate"]})


NOISY = nge.Part(noisy, (RATE,))
HERE = "tests.search.parts.outside_test"


def half(space, numbers, head):
    return head(lambda key: [], lambda x, theta: x / 2)


def free(space, numbers, head):
    def logits(params):
        return 3 * params["a"]

    def init(key):
        return {"a": jax.random.normal(key, space.shape)}

    return nge.EdgeModel(init, lambda params: jax.nn.softmax(logits(params)), "", logits)


def bandit(space, numbers, edge_model):
    def probs(state):
        return jax.nn.softmax(state)

    def ask(state, key):
        return architecture.sample(key, probs(state), space)[None]

    def tell(state, cells, rewards):
        return state + rewards[0] * architecture.one_hot(cells[0], space)

    return nge.Strategy(1, lambda key: jnp.zeros(space.shape), ask, tell, probs)


def small_config(**search_keys):
    config = make_config("gradient", **search_keys)
    config.run.random_cells = 0
    return config


def rows(path):
    return result(path).rows


def test_a_search_by_a_part_ends_the_same_killed_or_not_and_its_number_is_an_argument(
    data, tmp_path
):
    config = small_config(edge_model="alpha")
    with stand_ins(data) as patched:
        told = []
        watch = nge.Callback(
            on_begin=lambda path, settings: told.append(settings["search"]["relaxation"]),
            on_epoch=lambda row, state: told.append(row["epoch"]),
            on_end=told.append,
        )
        found = nge.search.run(config, tmp_path / "straight", relaxation=NOISY, callbacks=[watch])
        assert told == [f"{HERE}:NOISY", 1, 2, found]
        left = [2, 9]
        with patched.context() as other:
            other.setattr(Checkpoints, "save", dying(left))
            while left:
                with pytest.raises(Killed):
                    nge.search.run(config, tmp_path / "killed", relaxation=NOISY)
        nge.search.run(config, tmp_path / "killed", relaxation=NOISY)
        with pytest.raises(InputError, match=f"search.relaxation: workdir has '{HERE}:NOISY'"):
            nge.search.run(config, tmp_path / "straight")
    assert result(tmp_path / "killed") == result(tmp_path / "straight")
    np.testing.assert_allclose(found.probabilities.sum(-1), 1, rtol=1e-5)
    assert [row["noise"] for row in rows(tmp_path / "straight")] == [0, 0.5]
    assert config.search.relaxation == "softmax"  # the user's config stays


def plan(data, config=None, **values):
    config, parts = configs.with_parts(config or make_config("gradient"), values)
    with stand_ins(data):
        return search_build.build(configs.complete(config, parts), data, parts)


def test_numbers_are_arguments_of_the_program_unless_the_row_says_otherwise(data):
    assert plan(data, relaxation=NOISY).arguments.relaxation == {"rate": 0.5}
    constant = nge.Part(noisy, (RATE._replace(in_program=True),))
    assert plan(data, relaxation=constant).arguments.relaxation == {}
    assert plan(data).arguments.relaxation is None


def test_an_edge_model_embeds_nodes_or_is_whole(data):
    model = plan(data, edge_model=half).edge_model
    params = model.init(jax.random.key(0))
    plain = nge.edge_model("plain")
    np.testing.assert_allclose(
        model.probs(params), plain.probs({**params, "x": params["x"] / 2}), rtol=1e-6
    )
    assert plan(data, edge_model=free).learner.name == f"{HERE}:free"
    config = make_config("gradient")
    config.embedding.classifier = "per_edge"
    with pytest.raises(
        InputError, match=r"config\.embedding\.classifier: .* makes the whole edge model"
    ):
        plan(data, config, edge_model=free)


def test_searches_of_several_edge_models_take_parts_from_files(data, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def half(space, numbers, head):\n    return head(lambda key: [], lambda x, theta: x / 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    config = small_config(edge_models=("alpha", "./mine.py:half"))
    with stand_ins(data):
        search_runner.run(config, tmp_path / "both")
        alone = small_config(edge_model="mine:half")
        search_runner.run(alone, tmp_path / "alone")
        search_runner.run(alone, tmp_path / "both" / "mine-half-seed-0")  # it may go on alone
    assert (
        result(tmp_path / "both" / "mine-half-seed-0").genotype
        == result(tmp_path / "alone").genotype
    )


def test_a_strategy_from_outside_asks_the_supernet(data):
    search = plan(data, strategy=bandit)
    assert search.strategy.name == f"{HERE}:bandit" and search.learner is None
    assert search.edge_model.name == f"{HERE}:bandit"


def refused(name, where, **fields):
    """A relaxation with other fields than those of softmax, and the beginning of the refusal."""

    def make(space, numbers):
        return nge.RelaxationRule(**{"mix": lambda scores, key, progress: scores.probs, **fields})

    make.__name__ = name
    return make, f"config.search.relaxation: outside_test:{name}: {where}"


def concrete_number(scores, key, progress):
    return scores.probs if progress < 0.5 else scores.logits


@pytest.mark.parametrize(
    "make, message",
    [
        refused("a", "probs: found rows that sum to", probs=jax.nn.sigmoid),
        refused("b", "mix: found the shape (2, 14), expected the shape (2, 14", mix=lambda s, k, p: s.probs[..., 0]),
        refused("c", "mix: found int32, expected float32", mix=lambda s, k, p: s.probs.astype(int)),
        refused("d", "mix: found a gradient of 0", mix=lambda s, k, p: jax.lax.stop_gradient(s.probs)),
        refused("e", "mix: found a gradient with NaN", mix=lambda s, k, p: s.probs + jnp.sqrt(0 * s.logits)),
        refused("f", "outside_test.py, line", mix=concrete_number),
        refused("g", "probs: found the shape (2, 14)", probs=lambda logits: logits.sum(-1)),
        refused("h", "penalty: found the shape (2, 14, 7)", penalty=lambda scores, progress: scores.probs),
        refused("i", "probs: found -", probs=lambda logits: logits, is_distribution=False),
        refused("j", "record: found {'a': nan}", record=lambda progress: {"a": float("nan")}),
        refused("k", "record: returned float, expected a dict", record=lambda progress: progress),
        refused("l", "mix: returned None, expected the shape", mix=lambda scores, key, progress: None),
        refused("m", "mix: outside_test.py, line", mix=lambda scores, key: scores.probs),
        (lambda space, numbers: None, "config.search.relaxation: outside_test:lambda: returned None, expected nge.Rel"),
        (lambda space: None, "found the arguments (space), expected (space, numbers)"),
        (half, "found the arguments (space, numbers, head), as a part for search.edge_model or search.strategy, exp"),
    ],
)  # fmt: skip
def test_a_wrong_relaxation_is_refused_in_one_line(data, make, message):
    with pytest.raises(InputError) as error:
        plan(data, small_config(entropy_weight=0.0), relaxation=make)
    assert message in str(error.value) and "\n" not in str(error.value)


def with_model(**fields):
    model = nge.edge_model("alpha")
    return lambda space, numbers, head: model._replace(**fields)


@pytest.mark.parametrize(
    "make, message",
    [
        (with_model(probs=lambda params: params["alpha"]), "probs: found rows that sum to"),
        (with_model(init=lambda key: {"alpha": jnp.zeros((2, 14, 7), int)}), "init: found an array of int32"),
        (with_model(init=lambda key: {}), "init: found no arrays"),
        (with_model(logits=lambda params: 2 * params["alpha"] + jnp.arange(7.0)), "logits: found others"),
        (with_model(probs=lambda params: jnp.full((2, 14, 7), 1 / 7)), "probs: found a gradient of 0"),
        (with_model(probs=lambda params: params["beta"]), "KeyError: 'beta'"),
        (lambda space, numbers, head: head(lambda key: [], lambda x, theta: None), "embed: outside_test.py, line"),
        (lambda space, numbers: None, "found the arguments (space, numbers), as a part for search.relaxation"),
    ],
)  # fmt: skip
def test_a_wrong_edge_model_is_refused_in_one_line(data, make, message):
    with pytest.raises(InputError) as error:
        plan(data, edge_model=make)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_edge_model_among_several_is_refused_by_their_key(data, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import nge_jax as nge\n"
        "def flat(space, numbers, head):\n    return head(lambda key: [], lambda x, theta: x[0])\n"
        "def bare(space, numbers, head):\n    return nge.edge_model('alpha')._replace(logits=None)\n"
    )
    monkeypatch.chdir(tmp_path)
    for name, relaxation, message in (
        ("flat", "softmax", "embed: .* expected the shape"),
        ("bare", "sigmoid", "found no logits"),
    ):
        keys = {"edge_models": ("alpha", f"mine:{name}"), "relaxation": relaxation}
        with pytest.raises(
            InputError, match=rf"^config\.search\.edge_models: mine:{name}: {message}"
        ):
            plan(data, small_config(entropy_weight=0.0, **keys))


def test_the_entropy_of_rows_that_are_no_probabilities_is_refused(data):
    with pytest.raises(
        InputError, match=r"^config\.search\.entropy_weight: found 0\.1, expected 0 with"
    ):
        plan(data, small_config(entropy_weight=0.1, relaxation="sigmoid"))


def test_a_relaxation_that_sees_logits_needs_an_edge_model_with_logits(data):
    with pytest.raises(InputError, match="found no logits"):
        plan(data, edge_model=with_model(logits=None), relaxation=NOISY)


def with_strategy(**fields):
    return lambda space, numbers, edge_model: nge.random_search(space)._replace(**fields)


@pytest.mark.parametrize(
    "make, message",
    [
        (with_strategy(batch_size=2), "batch_size: found 2, expected 1"),
        (with_strategy(ask=lambda state, key: jnp.zeros((14,), jnp.int32)), "ask: found int32 (14,), expected"),
        (with_strategy(ask=lambda state, key: jnp.full((1, 2, 14), 9)), "ask: found operations 9 to 9"),
        (with_strategy(ask=lambda state, key: jnp.zeros((1, 2, 14), jnp.int32)), "ask: found 3 edges into node 3"),
        (with_strategy(tell=lambda state, cells, rewards: {"a": rewards}), "tell: found a state of other arrays"),
    ],
)  # fmt: skip
def test_a_wrong_strategy_is_refused_in_one_line(data, make, message):
    with pytest.raises(InputError) as error:
        plan(data, strategy=make)
    assert message in str(error.value) and "\n" not in str(error.value)
