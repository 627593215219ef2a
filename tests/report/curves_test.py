"""The plots over the epochs: a panel for each edge or metric shows the numbers."""

from xml.etree import ElementTree

import numpy as np
import pytest

from nge_jax.report import figure
from nge_jax.report.curves import curves_figure, operations_figure, probabilities_figure
from nge_jax.report.heat import DARKEST, heat_figure
from nge_jax.space.genotype import EDGES, OPERATIONS, derive
from nge_jax.space.spaces import DARTS, NAS_BENCH_201

SVG = "{http://www.w3.org/2000/svg}"


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
        equal, *lines = axes.lines
        np.testing.assert_allclose(equal.get_ydata(), 1 / 7)
        assert axes.get_ylim()[0] == 0
        for o, line in enumerate(lines):
            np.testing.assert_array_equal(line.get_ydata(), probs[:, 0, e, o])
            assert line.get_color() == figure.COLORS[OPERATIONS[o]]
            assert (line.get_linewidth() > 2) == (kept.get(edge) == OPERATIONS[o])
    named = [text.get_text() for text in drawing.legends[0].get_texts()]
    assert named == [*OPERATIONS, "1/7, all equal"]


def titles(drawing) -> list[str]:
    """Returns the texts that a pointer shows on a drawing's parts."""
    elements = ElementTree.fromstring(figure.to_svg(drawing)).iter(SVG + "g")
    return [part.text for group in elements for part in group.findall(SVG + "title")]


@pytest.mark.parametrize("space", [DARTS, NAS_BENCH_201])
def test_the_heat_map_says_each_probability_and_frames_what_is_kept(space):
    shape = [2, *space.shape]
    probs = np.random.default_rng(0).dirichlet(np.ones(shape[-1]), shape[:-1])
    edge, operation = space.edges[1], space.operations[2]
    kept = {kind: {} for kind in space.cell_types} | {space.cell_types[0]: {edge: operation}}
    drawing = heat_figure(probs, space, kept)
    said = titles(drawing)
    assert len(said) == 2 * probs[0].size  # a box and its number
    (name,) = {text for text in said if text.endswith("kept")}
    first, last = probs[:, 0, 1, 2]
    assert f", {operation}: {last:.4f}, before the search {first:.4f}; kept" in name
    shades = [patch.get_alpha() for axes in drawing.axes[:-1] for patch in axes.patches]
    shades = [shade for shade in shades if shade is not None]
    np.testing.assert_allclose(shades, DARKEST * probs[-1].ravel() / probs[-1].max())
    scale = drawing.axes[-1]
    assert scale.get_xlim()[0] == 0
    np.testing.assert_allclose(scale.lines[0].get_xdata(), 1 / len(space.operations))


def test_areas_of_operations_stand_on_each_other_and_say_what_they_are():
    counts = {"normal": {"skip_connect": [8, 5], "sep_conv_3x3": [0, 3]}}
    drawing = operations_figure([0, 1], counts)
    areas = [patch.get_bbox().bounds for patch in drawing.axes[0].patches]
    assert areas == [(-0.5, 0, 1, 8), (0.5, 0, 1, 5), (0.5, 5, 1, 3)]
    assert titles(drawing)[2] == "epoch 1: 3 of 8 are sep_conv_3x3"
    many = operations_figure(range(1000), {"normal": {"skip_connect": [8] * 1000}})
    left = [patch.get_bbox().x0 for patch in many.axes[0].patches]
    assert len(left) <= 120 and many.axes[0].patches[-1].get_bbox().x1 == 999.5


def test_a_loss_is_drawn_on_a_logarithmic_scale_where_it_can_be():
    for values, scale in (([2.0, 0.01], "log"), ([2.0, 0.0], "linear")):
        (axes,) = curves_figure([1, 2], {"Loss": {"a": values}}, logarithmic_panels=["Loss"]).axes
        assert axes.get_yscale() == scale
    (axes,) = curves_figure([1, 2], {"Loss": {"a": [None, 0.5]}}).axes
    assert list(axes.lines[0].get_xdata()) == [2]


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
