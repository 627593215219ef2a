"""The report of a study: the picture of accuracy against size, and what it says of the network that is left."""

import json

import numpy as np
import pytest

from nge_jax.study.plan import FOUND, PLAIN, PUBLISHED, RANDOM
from nge_jax.study.report import describe_limits, describe_network, size_figure
from nge_jax.study.result import StudyResult, Trained
from nge_jax.study.statistics import compare
from nge_jax.workdir import artifacts


def make_result(path):
    """Two cells found and a network of each other kind, of the sizes for which a legend once lay on points."""
    right = np.random.default_rng(0).random((2, 80)) < 0.5
    kinds = [
        (FOUND, "seed 0", 152_876), (RANDOM, "random:11", 153_900), (RANDOM, "random:5", 155_212),
        (FOUND, "seed 1", 150_004), (PUBLISHED, "DARTS_V2", 136_108), (PLAIN, "ResNet, 15-30-59 channels", 153_070),
    ]  # fmt: skip
    networks = [
        Trained(kind, name, None, size, 10 * size, (51.25, 42.5), (1.0, 1.0), right, 0)
        for kind, name, size in kinds
    ]
    return StudyResult(compare([right, right], [right]), (), tuple(networks), {0: 1.0}, path)


@pytest.mark.parametrize("width", [3.9, 6.8])
def test_the_names_of_the_kinds_stand_below_the_axes(tmp_path, width):
    drawing = size_figure(make_result(tmp_path), width)
    (axes,), (legend,) = drawing.axes, drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "cells found", "random, same cost", "DARTS_V2", "plain network",
    ]  # fmt: skip
    renderer = drawing.canvas.get_renderer()
    assert legend.get_window_extent(renderer).y1 <= axes.get_tightbbox(renderer).y0
    assert all("," in label.get_text() for label in axes.get_xticklabels())


@pytest.mark.parametrize("limits", [{}, {"parameters": 0}, {"parameters": 152_876}])
def test_the_network_left_is_described(tmp_path, limits):
    artifacts.write_json(tmp_path / artifacts.CONFIG, {"limits": limits})
    which, how = describe_network(make_result(tmp_path))
    assert "152,876 parameters, 51.25 % of the test images" in which
    assert "not the accuracy on the test images" in how


def test_limits_of_the_recipe_are_told(tmp_path):
    file = tmp_path / artifacts.CONFIG
    result, least = make_result(tmp_path), 155_212
    limits = {"parameters": least, "multiply_adds": 0}
    artifacts.write_json(file, {"recipe": {"limits": limits}})
    told = f"Networks beyond recipe.limits.parameters={least} are left out."
    assert describe_limits(result) == [told]
    # A study of an older version did not keep the limit.
    artifacts.write_json(file, {"recipe": {"limits": {"parameters": least - 1}}})
    assert describe_limits(result) == []
    artifacts.write_json(file, {"recipe": {"train": {"epochs": 3}}, "limits": {"parameters": 9}})
    assert describe_limits(result) == []


def test_a_network_beyond_the_limits_of_the_search_is_told(tmp_path):
    limits = {"parameters": 152_875, "multiply_adds": 10**9}
    (tmp_path / artifacts.CONFIG).write_text(json.dumps({"limits": limits}))
    *_, beyond = describe_network(make_result(tmp_path))
    assert beyond.startswith("The network is beyond limits.parameters=152875.")
