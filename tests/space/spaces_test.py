"""The two spaces, and that they are data without jax."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.embedding.model import edge_model
from nge_jax.errors import GenotypeError
from nge_jax.search.steps import relaxation
from nge_jax.space import architecture, genotype
from nge_jax.space.architecture import ABSENT
from nge_jax.space.cell import within
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, S1, Space
from nge_jax.strategies import evolution


def test_the_module_needs_no_jax():
    check = (
        "import sys, nge_jax.space.spaces; sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_darts_is_the_space_of_the_genotypes():
    assert DARTS.edges == genotype.EDGES and DARTS.shape == (2, 14, 7)
    assert [DARTS.kept(node) for node in DARTS.inner_nodes] == [2, 2, 2, 2]
    assert DARTS.incoming(2) == (0, 1) and DARTS.incoming(5) == (9, 10, 11, 12, 13)


def test_nas_bench_201_keeps_every_edge():
    assert NAS_BENCH_201.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert NAS_BENCH_201.shape == (1, 6, 5)
    assert [NAS_BENCH_201.kept(node) for node in NAS_BENCH_201.inner_nodes] == [1, 2, 3]


def test_a_node_keeps_no_more_edges_than_it_has():
    space = Space(("a", "b"), ("normal",), num_inputs=1, num_nodes=4, kept_edges=2)
    assert [space.kept(node) for node in space.inner_nodes] == [1, 2, 2]


def test_s1_has_two_operations_on_each_edge():
    """Both ends of the published lists (automl/RobustDARTS, src/spaces.py), and an edge between."""
    normal, reduction = S1.allowed
    assert normal[0] == ("skip_connect", "dil_conv_3x3") and normal[5][0] == "max_pool_3x3"
    assert normal[13] == ("dil_conv_3x3", "dil_conv_5x5") and len(normal) == len(reduction) == 14
    assert reduction[0] == ("max_pool_3x3", "avg_pool_3x3")
    assert reduction[13] == ("skip_connect", "dil_conv_5x5")
    assert [sum(row) for row in S1.mask[0] + S1.mask[1]] == [2] * 28


def test_random_and_derived_cells_keep_to_what_the_edges_may_have():
    for seed in range(20):
        cell = genotype.random_genotype(seed, S1)
        assert (architecture.from_genotype(cell, S1) >= ABSENT).all()  # refuses other operations
    probs = np.random.default_rng(0).random(S1.shape)
    architecture.from_genotype(genotype.derive(probs, S1), S1)
    with pytest.raises(GenotypeError, match=r'"normal\[0\]": found .* expected skip_connect, '):
        cells = dict(genotype.draw(20))
        for cell in cells.values():
            architecture.from_genotype(
                cell, S1._replace(operations=DARTS.operations, allowed=S1.allowed)
            )


def test_a_drawn_or_changed_cell_keeps_to_what_the_edges_may_have():
    probs = architecture.uniform(S1)
    assert (np.asarray(probs > 0) == np.array(S1.mask)).all()
    draw = jax.jit(lambda key: architecture.sample(key, probs, S1))
    change = jax.jit(lambda key, cell: evolution.mutate(key, cell, probs, S1))
    for seed in range(30):
        cell = draw(jax.random.key(seed))
        for changed in (cell, change(jax.random.key(seed + 100), cell)):
            architecture.from_genotype(architecture.to_genotype(changed, S1), S1)


def test_an_edge_model_gives_no_probability_to_what_an_edge_may_not_have():
    for name in ("nge", "alpha"):
        model = edge_model(name, space=S1)
        probs = np.asarray(model.probs(model.init(jax.random.key(0))))
        assert ((probs > 0) == np.array(S1.mask)).all()
        np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-5)
    drawn = relaxation.draw(jnp.full(S1.shape, 1e-6), jax.random.key(0), 1.0, S1)
    assert np.take_along_axis(np.array(S1.mask), np.asarray(drawn.operations)[..., None], -1).all()


def test_a_genotype_has_the_space_that_it_needs():
    assert genotype.random_genotype(0).space == DARTS
    seven = DARTS._replace(num_nodes=7, operations=("conv_1x1", "mine:conv"))
    cell = genotype.random_genotype(1, seven)
    assert cell.space.num_nodes == 7 and cell.space.operations[7:] == ("conv_1x1", "mine:conv")
    assert genotype.from_json(cell.to_json()) == cell
    assert within(cell, seven) == cell and within(cell, DARTS) is None
    with pytest.raises(
        GenotypeError, match="expected a cell of this space, found dil_conv_3x3, sep"
    ):
        architecture.from_genotype(genotype.load("DARTS_V2"), seven._replace(num_nodes=6))
