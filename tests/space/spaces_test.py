"""The two spaces, and that they are data without jax."""

import subprocess
import sys

from nge_jax.space import genotype
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, Space


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
