"""The plots over the epochs: a panel for each edge or metric, with what the numbers say."""

import numpy as np

from nge_jax.report import figure
from nge_jax.report.curves import curves_figure, probabilities_figure
from nge_jax.space.genotype import EDGES, OPERATIONS, derive
from nge_jax.space.spaces import DARTS


def test_probabilities_have_a_panel_for_each_edge():
    probs = np.random.default_rng(0).dirichlet(np.ones(7), [5, 2, 14]).astype(np.float32)
    pairs = derive(probs[-1]).normal
    kept = {(i, 2 + j // 2): operation for j, (operation, i) in enumerate(pairs)}
    drawing = probabilities_figure(probs[:, 0], DARTS, kept)
    panels = {axes.get_title(loc="left"): axes for axes in drawing.axes if axes.get_visible()}
    names = ("$c_{k-2}$", "$c_{k-1}$", "0", "1", "2", "3")
    assert list(panels) == [f"{names[i]} → {names[k]}" for i, k in EDGES]
    for e, (edge, axes) in enumerate(zip(EDGES, panels.values(), strict=True)):
        assert axes.get_title(loc="right") == kept.get(edge, "")
        for o, line in enumerate(axes.lines):
            np.testing.assert_array_equal(line.get_ydata(), probs[:, 0, e, o])
            assert line.get_color() == figure.COLORS[OPERATIONS[o]]
            assert (line.get_linewidth() > 2) == (kept.get(edge) == OPERATIONS[o])
    assert [text.get_text() for text in drawing.legends[0].get_texts()] == list(OPERATIONS)


def test_curves_stand_side_by_side_or_below_each_other():
    panels = {"Loss": {"a": [2.0, 1.0], "b": [3.0, 2.0]}, "Accuracy": {"a": [0.1, 0.2]}}
    for downwards in (False, True):
        drawing = curves_figure([1, 2], panels, downwards=downwards)
        first, second = drawing.axes
        assert [first.get_title(loc="left"), second.get_title(loc="left")] == list(panels)
        np.testing.assert_array_equal(first.lines[1].get_ydata(), [3, 2])
        places = [axes.get_position() for axes in drawing.axes]
        assert (places[0].y0 > places[1].y1) == downwards
        assert (places[0].x1 < places[1].x0) == (not downwards)


def test_a_single_epoch_has_a_whole_number():
    (axes,) = curves_figure([1], {"Loss": {"a": [2.0]}}).axes
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
