"""All pictures have colors that can be told apart and seen, and SVG that does not affect a page around it."""

import re
from importlib import resources

import pytest

from nge_jax.report import figure
from nge_jax.space.genotype import OPERATIONS


def themes() -> dict[str, dict[str, str]]:
    """Reads the colors of the style sheet by ground and name."""
    css = (resources.files("nge_jax.report") / "templates" / "report.css").read_text()
    rules = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+);", rule)) for rule in rules)
    return {"light": light, "dark": dark}


def contrast(first: str, second: str) -> float:
    """Computes the contrast ratio of two colors as WCAG 2 defines it."""
    luminances = []
    for color in (first, second):
        channels = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_colors_tell_operations_apart():
    assert set(figure.COLORS) == set(OPERATIONS)
    assert len(set(figure.THEME.values())) == len(figure.THEME)


def test_the_style_sheet_has_the_colors_of_the_pictures_and_others_for_the_dark():
    light, dark = themes().values()
    assert figure.THEME.items() <= light.items()
    assert set(figure.THEME) <= set(dark)
    assert set(light) == set(dark)


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_lines_and_texts_are_seen_on_either_ground(ground):
    theme = themes()[ground]
    for name in (*OPERATIONS, "soft"):
        assert contrast(theme[name], theme["paper"]) >= 3, name
    for text, behind in [("ink", "paper"), ("ink", "tint"), ("ink", "page"), ("quiet", "paper")]:
        assert contrast(theme[text], theme[behind]) >= 4.5, text
    for text, behind in [("quiet", "page"), ("link", "page"), ("warn", "warn-ground")]:
        assert contrast(theme[text], theme[behind]) >= 4.5, text


def test_an_svg_has_text_and_styles_nothing_around_it():
    drawing = figure.new_figure(2, 1)
    drawing.text(0.5, 0.5, "a < b", fontfamily=figure.FONT)
    svg = figure.to_svg(drawing)
    assert ">a &lt; b</text>" in svg and figure.FONT_STACK in svg
    assert "<style" not in svg and "stroke-linejoin: round" in svg
    assert 'width="144pt" height="72pt"' in svg
