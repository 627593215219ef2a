"""The edge models: their values against a NumPy transcription of the equations, and their properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.embedding import model as embedding
from nge_jax.embedding import nodes
from nge_jax.embedding.model import Form
from nge_jax.space.genotype import EDGES
from nge_jax.space.spaces import DARTS, NAS_BENCH_201

MODELS = ("nge", "alpha", "plain", "rnn")


def dense(name):
    """Draws all parameters of a model at random, so that X is dense and no logit is small."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(embedding.edge_model(name, "printed").init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf: rng.normal(0, leaf.shape[-2] ** -0.5, leaf.shape).astype(np.float32), shapes
    )


@pytest.fixture(scope="module")
def theta():
    return {name: dense(name) for name in MODELS}


def test_adjacency_as_printed():
    third, quarter, fifth = 1 / 3, 1 / 4, 1 / 5
    expected = [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, third, third, third],
        [0, 0, 0, 0, quarter, quarter],
        [0, 0, 0, 0, 0, fifth],
        [0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(nodes.adjacency_matrix("printed"), expected, rtol=1e-6)


def test_adjacency_of_predecessors():
    third, quarter, fifth, sixth = 1 / 3, 1 / 4, 1 / 5, 1 / 6
    expected = [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [third, third, 0, 0, 0, 0],
        [quarter, quarter, quarter, 0, 0, 0],
        [fifth, fifth, fifth, fifth, 0, 0],
        [sixth, sixth, sixth, sixth, sixth, 0],
    ]
    np.testing.assert_allclose(nodes.adjacency_matrix("predecessors"), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "name, count", [("nge", 45_504 + 768), ("alpha", 196), ("plain", 13_504), ("rnn", 50_368)]
)
def test_parameter_counts(name, count):
    params = jax.eval_shape(embedding.edge_model(name, "printed").init, jax.random.key(0))
    leaves = jax.tree.leaves(params)
    assert sum(leaf.size for leaf in leaves) == count
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


def test_initial_values():
    params = embedding.edge_model("nge", "printed").init(jax.random.key(0))
    x = np.asarray(params["x"]).reshape(12, 64)
    np.testing.assert_array_equal(x @ x.T, np.eye(12))  # 12 different unit vectors
    assert (x.sum(1) == 1).all() and (x.max(1) == 1).all()  # each vector is one-hot
    for weights in (*params["theta_n"], *params["theta_e"], params["theta_o"]):
        deviation = weights.shape[0] ** -0.5
        assert abs(weights.mean()) < 0.2 * deviation
        assert weights.std() == pytest.approx(deviation, rel=0.1)
        assert abs(weights).max() > 2.5 * deviation  # normal, not truncated at two deviations
    alpha = embedding.edge_model("alpha", "printed").init(jax.random.key(0))["alpha"]
    assert alpha.shape == (2, 14, 7)
    assert alpha.std() == pytest.approx(1e-3, rel=0.2)


def test_initial_values_follow_the_key():
    init = embedding.edge_model("nge", "printed").init
    once, again, other = init(jax.random.key(0)), init(jax.random.key(0)), init(jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, once, again)
    assert not np.allclose(once["theta_o"], other["theta_o"])
    first, second = once["theta_e"]
    assert not np.allclose(first[:64], second)  # the layers have different keys


def softmax(logits):
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def probs_by_the_paper(params, embed_nodes):
    """Computes Eq. 9 and 10 one edge at a time in float64, from the embeddings that `embed_nodes` returns."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    probs = np.empty((2, 14, 7))
    for cell in range(2):
        z = embed_nodes(params["x"][cell], params["theta_n"])
        edge = 0
        for k in range(2, 6):
            for i in range(k):
                hidden = np.maximum(np.concatenate([z[i], z[k]]) @ params["theta_e"][0], 0)
                probs[cell, edge] = softmax(hidden @ params["theta_e"][1] @ params["theta_o"])
                edge += 1
    return probs


def graph_convolution_by_the_paper(reading):
    def embed_nodes(x, theta_n):
        for weights in theta_n:
            heard = np.array(x)
            for i in range(2, 6):
                for j in range(i + 1, 6) if reading == "printed" else range(i):
                    heard[i] += x[j] / (i + 1)
            x = np.maximum(heard @ weights, 0)
        return x

    return embed_nodes


def recurrence_by_the_paper(x, theta_n):
    for layer in theta_n:
        states = [np.zeros(layer["recurrent"].shape[0])]
        for node in x:
            states.append(np.tanh(node @ layer["input"] + states[-1] @ layer["recurrent"]))
        x = np.stack(states[1:])
    return x


@pytest.mark.parametrize("reading", ["printed", "predecessors"])
def test_nge_follows_the_equations(theta, reading):
    probs = embedding.edge_model("nge", reading).probs(theta["nge"])
    expected = probs_by_the_paper(theta["nge"], graph_convolution_by_the_paper(reading))
    np.testing.assert_allclose(probs, expected, rtol=1e-5)


def test_plain_follows_the_equations(theta):
    probs = embedding.edge_model("plain", "printed").probs(theta["plain"])
    expected = probs_by_the_paper(theta["plain"], lambda x, theta_n: x)
    np.testing.assert_allclose(probs, expected, rtol=1e-5)


def test_rnn_follows_the_equations(theta):
    probs = embedding.edge_model("rnn", "printed").probs(theta["rnn"])
    expected = probs_by_the_paper(theta["rnn"], recurrence_by_the_paper)
    np.testing.assert_allclose(probs, expected, rtol=1e-5)


def test_alpha_is_a_softmax_of_its_logits(theta):
    probs = embedding.edge_model("alpha", "printed").probs(theta["alpha"])
    logits = np.asarray(theta["alpha"]["alpha"], np.float64)
    expected = [[softmax(edge) for edge in cell] for cell in logits]
    np.testing.assert_allclose(probs, expected, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_of_an_edge_sum_to_one_also_compiled(theta, name):
    model = embedding.edge_model(name, "predecessors")
    probs = model.probs(theta[name])
    assert probs.shape == (2, 14, 7) and probs.dtype == jnp.float32 and (probs > 0).all()
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(model.probs)(theta[name]), probs, rtol=1e-5)
    assert len(np.unique(np.round(probs, 6))) > 100  # the edges differ


def probs_gradient(probs, params):
    """Computes the gradients [2, ...] of each cell type's probabilities, summed with random factors.

    Without the factors the sum would be constant.
    """

    def losses(params):
        out = probs(params)
        return (out * np.random.default_rng(2).normal(size=out.shape[1:])).sum((1, 2))

    return jax.jit(jax.jacrev(losses))(params)


def heard_nodes(embed_nodes, x_VxD):
    """Tells for each pair [i, j] whether the vector of node j influences the embedding of node i."""
    jacobian = jax.jit(jax.jacobian(lambda x: embed_nodes(x[None])[0]))(x_VxD)  # [V, D, V, D]
    return np.asarray(abs(jacobian).sum((1, 3)) > 0)


def test_information_runs_along_the_edges(theta):
    def heard(reading):
        adjacency = nodes.adjacency_matrix(reading)
        params = theta["nge"]
        return heard_nodes(
            lambda x: nodes.graph_convolution(adjacency, x, params["theta_n"]), params["x"][0]
        )

    same, earlier = np.eye(6, dtype=bool), np.tri(6, k=-1, dtype=bool)
    inner = np.arange(6) >= 2
    # As printed, inner nodes hear later nodes, and inputs are isolated.
    np.testing.assert_array_equal(heard("printed"), same | (earlier.T & inner[:, None]))
    # As predecessors, every inner node hears both inputs and the earlier inner nodes.
    np.testing.assert_array_equal(heard("predecessors"), same | (earlier & inner[:, None]))


def test_recurrence_hears_earlier_nodes(theta):
    params = theta["rnn"]
    heard = heard_nodes(lambda x: nodes.recurrence(x, params["theta_n"]), params["x"][0])
    np.testing.assert_array_equal(heard, np.tri(6, dtype=bool))


@pytest.mark.parametrize(
    "reading, nodes", [("printed", (0, 2, 3, 4, 5)), ("predecessors", (0, 1, 2))]
)
def test_an_edge_depends_on_the_nodes_its_ends_hear(theta, reading, nodes):
    model = embedding.edge_model("nge", reading)
    edge = EDGES.index((0, 2))

    gradient = probs_gradient(lambda params: model.probs(params)[:, edge, None], theta["nge"])
    for cell in range(2):
        assert tuple(np.flatnonzero(abs(gradient["x"][cell, cell]).sum(-1))) == nodes


@pytest.mark.parametrize("name", ["nge", "plain", "rnn"])
def test_cell_types_share_all_but_their_nodes(theta, name):
    model = embedding.edge_model(name, "printed")
    gradient = probs_gradient(model.probs, theta[name])  # the leading axis is the cell type
    x = abs(gradient.pop("x")).max((-2, -1))
    np.testing.assert_array_equal(x > 0, np.eye(2, dtype=bool))
    for leaf in jax.tree.leaves(gradient):
        assert (abs(leaf).max((-2, -1)) > 0).all()


def test_each_node_starts_with_another_unit_vector_in_cells_of_any_size():
    for num_nodes in (6, 32):
        x = np.asarray(nodes.one_hot_nodes(2, num_nodes)).reshape(-1, 64)
        np.testing.assert_array_equal(x, np.eye(2 * num_nodes, 64))
    for num_nodes in (34, 300):
        x = np.asarray(nodes.one_hot_nodes(2, num_nodes)).reshape(-1, 64)
        products = x @ x.T
        np.testing.assert_allclose(np.diag(products), 1, rtol=1e-6)
        assert (products - np.eye(len(x))).max() < 0.8


@pytest.mark.parametrize("reading", ["printed", "predecessors"])
def test_no_node_is_dead_at_the_start(theta, reading):
    model = embedding.edge_model("nge", reading)
    start = {**theta["nge"], "x": nodes.one_hot_nodes(2, 6)}
    gradient = probs_gradient(model.probs, start)["x"]
    assert (abs(gradient).sum((0, -1)) > 0).all()


@pytest.mark.parametrize(
    "name, count", [("nge", 45_376 + 256), ("alpha", 30), ("plain", 12_608 + 256), ("rnn", 49_728)]
)
def test_another_search_space(name, count):
    model = embedding.edge_model(name, "predecessors", NAS_BENCH_201)
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    assert jax.eval_shape(model.probs, params).shape == (1, 6, 5)


def test_adjacency_of_another_search_space():
    half, third, quarter = 1 / 2, 1 / 3, 1 / 4
    expected = [[0, 0, 0, 0], [half, 0, 0, 0], [third, third, 0, 0], [quarter, quarter, quarter, 0]]
    np.testing.assert_allclose(nodes.adjacency_matrix("predecessors", 4, 1), expected, rtol=1e-6)


@pytest.mark.parametrize("name, adjacency, message", [
    ("gcn", "printed", "name: found 'gcn', expected one of nge, alpha, plain, rnn"),
    ("nge", "later", "adjacency: found 'later', expected one of printed, predecessors"),
    ("alpha", "", "adjacency: found '', expected one of printed, predecessors"),
])  # fmt: skip
def test_unknown_names_are_refused(name, adjacency, message):
    with pytest.raises(ValueError) as error:
        embedding.edge_model(name, adjacency)
    assert str(error.value) == message


def test_entropy_is_a_mean_over_edges_in_nats():
    certain, uniform, coin = np.eye(7)[0], np.full(7, 1 / 7), np.array([0.5, 0.5, 0, 0, 0, 0, 0])
    probs = np.stack([[uniform, certain], [coin, coin]])
    np.testing.assert_allclose(embedding.entropy(probs), [np.log(7) / 2, np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_weights_of_edges_come_from_their_embeddings_and_leave_p_as_it_is(name):
    """Weights are a softmax over the edges into each node, from edge embeddings or, in alpha, from free logits."""
    model = embedding.edge_model(name, "printed", betas=True)
    key = jax.random.key(3)
    params, without = model.init(key), embedding.edge_model(name, "printed")
    found = model.probs(params)
    np.testing.assert_array_equal(found.probs, without.probs(without.init(key)))
    (added,) = params.keys() - without.init(key).keys()
    assert added == ("beta" if name == "alpha" else "theta_b")

    logits = params[added]
    if name != "alpha":
        maps = {"nge": lambda x: nodes.graph_convolution(adjacency(), x, params["theta_n"])}
        maps |= {"rnn": lambda x: nodes.recurrence(x, params["theta_n"]), "plain": lambda x: x}
        e = embedding.edge_embedding(maps[name](params["x"]), params["theta_e"])
        logits = (e @ logits)[..., 0]
    expected = np.exp(np.asarray(logits, np.float64))
    for node in range(2, 6):
        into = [number for number, (_, k) in enumerate(EDGES) if k == node]
        expected[:, into] /= expected[:, into].sum(1, keepdims=True)
    np.testing.assert_allclose(found.betas, expected, rtol=1e-4)
    assert np.ptp(found.betas[:, :2]) > 0


def adjacency():
    return nodes.adjacency_matrix("printed")


FORMS = {
    "per_edge": Form(classifier="per_edge"),
    "center": Form(norm="center"),
    "pairnorm": Form(norm="pairnorm"),
    "uniform": Form(start="uniform"),
    "free": Form(residual="free"),
    "all": Form("per_edge", "pairnorm_center", "uniform", "free"),
}


def pair_norm_by_hand(z):
    z = z - z.mean(0)
    return z / np.sqrt(np.mean([node @ node for node in z]))


def scores_by_hand(params, form, embed_nodes, theta, space):
    """Computes the logits of a classifier one edge at a time in float64, as the forms' definitions say."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    first, second = params["theta_e"]
    scores = []
    for cell, x in enumerate(params["x"]):
        z = embed_nodes(x, params["theta_n"])
        pairs = [np.concatenate([z[i], z[k]]) for i, k in space.edges]
        embeddings = [np.maximum(pair @ first, 0) @ second for pair in pairs]
        if "center" in form.norm:
            mean = np.mean(embeddings, axis=0)
            embeddings = [e - mean for e in embeddings]
        for edge, e in enumerate(embeddings):
            matrix = params[theta]
            score = e @ (matrix[cell, edge] if form.classifier == "per_edge" else matrix)
            if form.start == "uniform":
                score = score - params["start"][theta][cell, edge]
            if form.residual == "free":
                score = score + params["free"][theta][cell, edge]
            scores.append(score)
    return np.reshape(scores, (len(params["x"]), len(space.edges), -1))


def embed_nodes_by_hand(name, form):
    normalize = pair_norm_by_hand if "pairnorm" in form.norm else lambda z: z

    def convolve(x, theta_n):
        for weights in theta_n:
            x = normalize(graph_convolution_by_the_paper("printed")(x, [weights]))
        return x

    return {
        "nge": convolve,
        "rnn": lambda x, theta_n: normalize(recurrence_by_the_paper(x, theta_n)),
        "plain": lambda x, theta_n: normalize(x),
    }[name]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", ["nge", "plain", "rnn"])
def test_forms_follow_their_definitions(name, form):
    model = embedding.edge_model(name, "printed", betas=True, form=form)
    rng = np.random.default_rng(3)
    params = jax.tree.map(
        lambda leaf: np.float32(leaf + rng.normal(0, 0.1, leaf.shape)),
        model.init(jax.random.key(2)),
    )
    nodes_by_hand = embed_nodes_by_hand(name, form)
    scores, edge_scores = (
        scores_by_hand(params, form, nodes_by_hand, theta, DARTS)
        for theta in ("theta_o", "theta_b")
    )
    logits, mixture = jax.jit(lambda p: (model.logits(p), model.probs(p)))(params)
    np.testing.assert_allclose(logits, scores, rtol=1e-4, atol=1e-5)
    expected = [[softmax(edge) for edge in cell] for cell in scores]
    np.testing.assert_allclose(mixture.probs, expected, rtol=1e-4)
    for cell in range(2):
        for node in DARTS.inner_nodes:
            incoming = [*DARTS.incoming(node)]
            betas = softmax(edge_scores[cell, incoming, 0])
            np.testing.assert_allclose(mixture.betas[cell, incoming], betas, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_papers_form_is_the_default(name):
    plain = embedding.edge_model(name, "printed", betas=True)
    params = plain.init(jax.random.key(0))
    assert not {"free", "start"} & params.keys()
    np.testing.assert_array_equal(jax.nn.softmax(plain.logits(params)), plain.probs(params).probs)


@pytest.mark.parametrize("name", MODELS)
def test_a_uniform_start_is_uniform_and_does_not_stay_so(name):
    model = embedding.edge_model(name, "printed", form=Form(start="uniform"))
    params = model.init(jax.random.key(0))
    np.testing.assert_allclose(model.probs(params), 1 / 7, rtol=1e-6)
    gradient = probs_gradient(model.probs, params)
    for leaf in jax.tree.leaves(gradient.pop("start", ())):
        np.testing.assert_array_equal(leaf, 0)
    assert any(abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_forms_start_with_the_papers_parameters():
    key, paper = jax.random.key(0), embedding.edge_model("nge", "printed")
    for form in FORMS.values():
        params = embedding.edge_model("nge", "printed", form=form).init(key)
        given = paper.init(key)
        if form.classifier == "per_edge":
            assert params["theta_o"].shape == (2, 14, 64, 7)
            assert params["theta_o"].std() == pytest.approx(1 / 8, rel=0.1)
            del params["theta_o"], given["theta_o"]
        jax.tree.map(np.testing.assert_array_equal, {k: params[k] for k in given}, given)


@pytest.mark.parametrize("field", Form._fields)
def test_an_unknown_form_is_refused(field):
    with pytest.raises(ValueError, match=f"form.{field}: found 'nosuch', expected one of"):
        embedding.edge_model("nge", form=Form(**{field: "nosuch"}))
