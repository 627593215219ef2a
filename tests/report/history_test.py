"""The section on the cells that a strategy asked for."""

import numpy as np

from nge_jax.report import history
from nge_jax.report.document import Picture, Table
from nge_jax.space import architecture, genotype
from nge_jax.workdir.artifacts import SearchHistory

CELLS = np.stack([architecture.from_genotype(genotype.random_genotype(s)) for s in range(4)])
HISTORY = SearchHistory(
    architectures=CELLS[[0, 1, 0]],
    rewards=np.array([0.25, 0.5, 0.75], np.float32),
    candidates=CELLS[[1, 0, 3]],
    accuracies=np.array([0.3, 0.6, 0.4], np.float32),
)


def test_headline_has_the_best():
    assert history.facts(HISTORY) == {
        "Cells evaluated": "3",
        "Best reward": "75.00%",
        "Accuracy of the cell in the supernet": "60.00%",
    }


def test_candidates_stand_in_order_each_with_its_best_reward(tmp_path):
    picture, _, table = history.section(tmp_path, HISTORY).blocks
    assert isinstance(picture, Picture) and isinstance(table, Table)
    assert (tmp_path / "rewards.svg").exists() and (tmp_path / "rewards.png").exists()
    assert "cell number 3 of 3" in picture.caption and picture.alt.endswith("25.0% to 75.0%")
    assert [row[:2] for row in table.rows] == [
        ["60.00%", "75.00%"],
        ["40.00%", "the policy's own"],
        ["30.00%", "50.00%"],
    ]


def test_rewards_and_the_best_so_far_are_drawn():
    (axes,) = history.rewards_figure(np.array([0.5, 0.25, 0.75])).axes
    rewards, best = axes.lines
    np.testing.assert_array_equal(rewards.get_ydata(), [0.5, 0.25, 0.75])
    np.testing.assert_array_equal(best.get_ydata(), [0.5, 0.5, 0.75])
