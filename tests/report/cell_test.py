"""The pictures of cells: everything is there, legible and reproducible."""

import itertools
import struct
from xml.etree import ElementTree

import numpy as np
import pytest

from nge_jax.report import cell_layout, cell_routes, figure
from nge_jax.report.cell import _label_width, cell_figure, genotype_figure, genotype_svg
from nge_jax.space.genotype import CELL_TYPES, KNOWN, random_genotype
from nge_jax.space.spaces import NAS_BENCH_201

REPEATED = [  # two edges from the same predecessor at every node, twice with the same operation
    *[("sep_conv_3x3", 0), ("dil_conv_3x3", 0), ("skip_connect", 1), ("max_pool_3x3", 1)],
    *[("sep_conv_5x5", 2), ("sep_conv_5x5", 2), ("max_pool_3x3", 4), ("max_pool_3x3", 4)],
]
CELLS = {f"{name}-{t}": g.cell(t) for name, g in KNOWN.items() for t in CELL_TYPES}
CELLS |= {f"random:{s}-{t}": random_genotype(s).cell(t) for s in range(4) for t in CELL_TYPES}
CELLS["repeated"] = (REPEATED, (2, 3, 4, 5))
CELLS["part of the nodes put out"] = (KNOWN["ENASNet"].normal, (4, 6))


BENCH = {  # NAS-Bench-201: one input, an edge from every node to every later one
    f"{names[0]} ...": [
        (operation, *edge) for operation, edge in zip(names, NAS_BENCH_201.edges, strict=True)
    ]
    for names in (
        ("nor_conv_3x3",) * 6,
        ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "none"),
    )
}


@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize("name", [*CELLS, *BENCH])
def test_nothing_overlaps_in_any_cell(name, downwards):
    if name in BENCH:
        given = BENCH[name], (3,), NAS_BENCH_201.num_inputs, _label_width
        cell = cell_layout.edges_layout(*given, downwards=downwards)
        labels = [item.name for item in itertools.chain(*cell.columns) if item.kind == "label"]
        assert sorted(labels) == sorted(operation for operation, _, _ in BENCH[name])
    else:
        cell = cell_layout.cell_layout(*CELLS[name], _label_width, downwards=downwards)
    boxes = [item for item in itertools.chain(*cell.columns) if item.kind != "pass"]
    for a, b in itertools.combinations(boxes, 2):
        beside = abs(a.x - b.x) >= (a.width + b.width) / 2 + 0.1
        above = abs(a.y - b.y) >= (a.height + b.height) / 2 + 0.1
        assert beside or above, f"{a.name} and {b.name} are too close"
    for box in boxes:
        assert box.x - box.width / 2 >= 0 and box.x + box.width / 2 <= cell.width + 1e-9
        assert box.y - box.height / 2 >= -1e-9 and box.y + box.height / 2 <= cell.height + 1e-9

    for (_, chain), spline in zip(cell.chains, cell_routes.routes(cell), strict=True):
        x = np.linspace(spline.x[0], spline.x[-1], 400)
        for box in (box for box in boxes if box not in chain):
            inside = (abs(x - box.x) < box.width / 2) & (abs(spline(x) - box.y) < box.height / 2)
            assert not inside.any(), f"{chain[0].name} -> {chain[-1].name} runs through {box.name}"
        middle = [item for item in chain if item.kind == "label"]
        assert all(abs(spline(label.x) - label.y) < 1e-9 for label in middle)


@pytest.mark.parametrize("name", ["DARTS_V2-normal", "ENASNet-reduction", "repeated"])
def test_layout_holds_the_cell_from_left_to_right(name):
    pairs, concat = CELLS[name]
    cell = cell_layout.cell_layout(pairs, concat, _label_width)
    drawn = [(op, chain[0].name, chain[-1].name) for op, chain in cell.chains]
    expected = [(op, i, 2 + j // 2) for j, (op, i) in enumerate(pairs)]
    assert drawn == expected + [(None, node, cell_layout.OUTPUT) for node in concat]
    for operation, chain in cell.chains:
        assert [item.name for item in chain if item.kind == "label"] == [operation] * (
            operation is not None
        )
        assert all(np.diff([item.x for item in chain]) > 0.3)
    first, second = sorted(cell.columns[0], key=lambda item: item.name)
    assert first.y > second.y  # c_{k-2} above


@pytest.mark.parametrize(
    "name, fewest",
    [
        ("GDAS_V1-normal", 0),  # a plane graph
        (
            "PC_DARTS_cifar-normal",
            6,
        ),  # K_{2,4} between two columns: each pair of nodes crosses once
    ],
)
def test_layout_crosses_no_more_edges_than_it_must(name, fewest):
    cell = cell_layout.cell_layout(*CELLS[name], _label_width)
    assert cell_layout._crossings(cell.columns, cell.chains) == fewest


def texts(svg: str) -> list[str]:
    """Returns the texts of an SVG document; formulas come letter by letter."""
    elements = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join("".join(element.itertext()).split()) for element in elements]


def test_cell_is_saved_as_png_and_svg_with_all_its_labels(tmp_path):
    pairs, concat = KNOWN["PC_DARTS_cifar"].normal, KNOWN["PC_DARTS_cifar"].normal_concat
    drawing = cell_figure(pairs, concat)
    figure.save(drawing, tmp_path / "cell.v1")  # a dot in the name stays

    svg = (tmp_path / "cell.v1.svg").read_text()
    nodes = ["ck−2", "ck−1", "0", "1", "2", "3", "ck"]
    assert sorted(texts(svg)) == sorted([*nodes, *(operation for operation, _ in pairs)])
    assert all(figure.COLORS[operation] in svg for operation, _ in pairs)
    png = (tmp_path / "cell.v1.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert np.allclose([width, height], 200 * drawing.get_size_inches(), atol=1)
    assert len(png) > 10_000


def test_equal_pictures_have_equal_bytes(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        figure.save(cell_figure(*KNOWN["GDAS_V1"].cell("normal")), tmp_path / name / "cell")
    for suffix in ("svg", "png"):
        first, second = (
            (tmp_path / n / f"cell.{suffix}").read_bytes() for n in ("first", "second")
        )
        assert first == second
    assert "<dc:date>" not in (tmp_path / "first/cell.svg").read_text()


def test_a_cell_drawn_downwards_has_its_inputs_above_and_its_output_below():
    drawing = cell_figure(*KNOWN["DARTS_V2"].cell("normal"), downwards=True)
    place = {text.get_text(): text.get_position() for text in drawing.axes[0].texts}
    (x2, y2), (x1, y1), (_, y) = place["$c_{k-2}$"], place["$c_{k-1}$"], place["$c_k$"]
    assert y1 == y2 > y and x2 < x1
    assert all(y1 >= height >= y for _, height in place.values())


@pytest.mark.parametrize("name", ["DARTS_V2", "PC_DARTS_cifar"])
def test_a_genotype_is_drawn_with_both_cells_side_by_side(name):
    genotype = KNOWN[name]
    svg = genotype_svg(genotype)
    found = texts(svg)
    assert found.count("ck") == 2 and {"normalcell", "reductioncell"} < set(found)
    operations = [operation for operation, _ in genotype.normal + genotype.reduce]
    assert all(found.count(operation) == operations.count(operation) for operation in operations)
    left, right = (axes.get_position() for axes in genotype_figure(genotype).axes)
    assert 0 <= left.x0 < left.x1 < right.x0 < right.x1 <= 1 + 1e-9
    assert min(left.y0, right.y0) == pytest.approx(0) and max(left.y1, right.y1) < 1
    assert svg == genotype_svg(genotype)
