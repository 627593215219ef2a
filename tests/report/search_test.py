"""The report of a search, from a workdir as the run leaves it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from nge_jax import errors
from nge_jax.errors import InputError
from nge_jax.report.figure import THEME
from nge_jax.report.search import search_warnings, write_search_report
from nge_jax.space import genotype
from nge_jax.space.spaces import DARTS
from tests.helpers.page import Page

SIZES = [("CIFAR-10, 20 cells, 36 channels", 3_349_342, 539_123_456), ("<b>small</b>", 12_345, 6)]
COMMAND = 'python -m nge_jax.main --config=configs/train_cifar.py --config.genotype="a & b"'
EPOCHS = 3
PICTURES = ("cell_normal", "cell_reduction", "probabilities_normal", "probabilities_reduction")
PICTURES = (*PICTURES, "curves", "operations", "heat")
NARROW = ("curves_narrow", "operations_narrow", "heat_narrow")
ENVIRONMENT = {"versions": {"jax": "0.10.2"}, "device_kind": "NVIDIA H100", "device_count": 2}


def write_search(workdir: Path) -> None:
    """Writes a search with 5 skips in the normal cell since epoch 2, and an undecided reduction cell."""
    probs = np.full([EPOCHS + 1, 2, 14, 7], 1 / 7, np.float32)
    probs[:, 1] += np.linspace(-0.01, 0.01, 7)
    best = [0, 0, 0, 3, 3, 0, 4, 4, 4, 0, 5, 5, 5, 5]
    strength = [0.6, 0.6, 0.6, 0.6, 0.5, 0.6, 0.6, 0.5, 0.5, 0.6, 0.6, 0.5, 0.5, 0.5]
    for e in range(14):
        probs[1:, 0, e] = (1 - strength[e]) / 6
        probs[1:, 0, e, best[e]] = strength[e]
    cells = genotype.derive(probs[-1])
    workdir.mkdir()
    edges = np.array(genotype.EDGES)
    names = np.array(genotype.OPERATIONS)
    np.savez(workdir / "architecture.npz", probs=probs, operations=names, edges=edges)
    (workdir / "genotype.json").write_text(genotype.to_json(cells))
    config = {"task": "search", "seed": 7, "data": {"name": "cifar10", "dir": "<script>x</script>"}}
    config["search"] = {"edge_model": "nge", "betas": [0.5, 0.999]}
    (workdir / "config.json").write_text(json.dumps(config))
    (workdir / "environment.json").write_text(json.dumps(ENVIRONMENT))
    lines = []
    for epoch in range(1, EPOCHS + 1):
        line = {"epoch": epoch, "step": 10 * epoch, "seconds": 1300.5, "images_per_second": 41.0}
        line |= {"weight_loss": 2 / epoch, "weight_accuracy": 0.3, "learning_rate": 0.025 / epoch}
        line |= {"embedding_loss": 2.1 / epoch, "embedding_accuracy": 0.25 + epoch / 100}
        line |= {"entropy_normal": 1.4321, "entropy_reduction": 1.9432}
        for cell_type in genotype.CELL_TYPES:
            counts = cells.operation_counts(cell_type)
            line |= {f"{name}_{cell_type}": count for name, count in counts.items()}
        if epoch == 1:
            line["skip_connect_normal"] = 3
        lines.append(json.dumps(line))
    (workdir / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    beside = {"found": 0.5, "random": {"random:0": 0.25, "random:1": 0.5, "random:2": 0.75}}
    (workdir / "random_cells.json").write_text(json.dumps(beside))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "my <i>search"
    write_search(workdir)
    assert write_search_report(workdir, SIZES, COMMAND) == workdir / "report.html"
    return workdir


@pytest.fixture(scope="module")
def page(workdir) -> Page:
    return Page((workdir / "report.html").read_text())


def test_search_report_writes_its_pictures(workdir):
    for name in PICTURES:
        assert (workdir / f"{name}.png").stat().st_size > 10_000
        assert (workdir / f"{name}.svg").stat().st_size > 10_000
    assert {path.stem for path in workdir.glob("*.svg")} == {*PICTURES, *NARROW}
    assert 100_000 < (workdir / "report.html").stat().st_size < 2_000_000


def test_page_needs_nothing_but_itself(page):
    within = [reference for reference in page.references if reference.startswith("#")]
    carried = [reference for reference in page.references if reference.startswith("data:")]
    assert within and carried and len(within) + len(carried) == len(page.references)
    assert {reference[1:] for reference in within} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert page.tags.count("svg") == len(PICTURES) + len(NARROW)
    assert "@import" not in page.text


def test_margins_are_of_the_kept_edges(page):
    words = " ".join(page.text.split())
    # In the normal cell, the best operation of edge 0 -> 2 has 0.6, and each other a sixth of the rest.
    assert "cₖ₋₂→0skip_connect0.6000+0.5333(max_pool_3x3)none" in words.replace(" ", "")


def test_page_says_what_the_files_say(page, workdir):
    words = " ".join(page.text.split())
    for said in (
        "Data set cifar10",
        "Edge model nge",
        "Seed 7",
        "Device 2 × NVIDIA H100",
        "Epochs 3",
        "Search 1 h 5 min",
        "Supernet accuracy 28.00%",
        "Cell in its weights 50.00%, random ones 50.00%",
        "better than 1 of the 3 random ones. These weights do not tell it from a random cell.",
        "3,349,342",
        "539,123,456",
        "search.betas",
        "[0.5, 0.999]",
        "versions.jax",
    ):
        assert said.replace(" ", "") in words.replace(" ", ""), said
    assert COMMAND in page.text
    assert (workdir / "genotype.json").read_text() in page.text
    # random cells, sizes, two of margins, three over the epochs, settings, environment
    assert page.tags.count("table") == 9


def test_page_escapes_what_it_shows(page, workdir):
    assert "<script>x</script>" in page.text and "<b>small</b>" in page.text
    assert "my <i>search" in page.text
    assert not {"script", "i"} & set(page.tags)
    assert "<script" not in (workdir / "report.md").read_text()


def test_pictures_are_told_in_words(page):
    cell = next(label for label in page.labels if label.startswith("The normal cell"))
    assert "cₖ₋₂ to 0 skip_connect; cₖ₋₁ to 0 skip_connect; cₖ₋₂ to 1 skip_connect" in cell
    assert cell.endswith("cₖ concatenates 0, 1, 2, 3")


def test_inline_pictures_follow_the_colors_of_the_page(workdir):
    html = (workdir / "report.html").read_text()
    svgs = re.findall("<svg.*?</svg>", html, re.DOTALL)
    assert len(svgs) == len(PICTURES) + len(NARROW)
    for svg in svgs:
        assert "var(--ink)" in svg and "#000000" not in svg
        assert not [color for color in THEME.values() if color in svg]
    for name in THEME:
        assert html.count(f"--{name}:") == 2  # light and dark


def test_warnings_count(workdir, page):
    cells = genotype.load(str(workdir / "genotype.json"))
    metrics = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    probs = np.load(workdir / "architecture.npz")["probs"][-1]
    skips, constant, uniform = search_warnings(cells, metrics, probs, DARTS)
    assert skips.startswith("skip_connect takes 5 of the 8 edges of the normal cell; half")
    assert "since epoch 2." in skips
    assert "of the 8 edges of the reduction cell. A random cell" in constant
    assert "reduction cell" in uniform and "1.943 of at most 1.946" in uniform
    assert skips in page.text and uniform in page.text
    assert skips.replace("_", r"\_") in (workdir / "report.md").read_text()


@pytest.mark.parametrize("skips, warned", [(3, False), (4, True)])
def test_half_of_the_cell_is_the_limit(skips, warned):
    pairs = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)] * 4
    pairs[:skips] = [("skip_connect", i) for _, i in pairs[:skips]]
    other = [("sep_conv_3x3", 0), ("dil_conv_3x3", 1)] * 4
    cells = genotype.Genotype(pairs, (2, 3, 4, 5), other, (2, 3, 4, 5))
    epoch = {"epoch": 1, "entropy_normal": 1.0, "entropy_reduction": 1.0}
    epoch |= {"skip_connect_normal": skips, "skip_connect_reduction": 0}
    warnings = search_warnings(cells, [epoch], None, DARTS)
    assert [f"takes {skips} of the 8" in warning for warning in warnings] == [True] * warned


@pytest.mark.parametrize("share", [0.74, 0.2])
def test_a_cell_of_skips_alone_has_one_warning(share):
    pairs = [("skip_connect", 0), ("skip_connect", 1)] * 4
    other = [("sep_conv_3x3", 0), ("dil_conv_3x3", 1)] * 4
    cells = genotype.Genotype(other, (2, 3, 4, 5), pairs, (2, 3, 4, 5))
    epoch = {"epoch": 1, "skip_connect_normal": 0, "skip_connect_reduction": 8}
    (text,) = search_warnings(cells, [epoch | {"common_share_reduction": share}], None, DARTS)
    assert text.startswith("skip_connect takes 8 of the 8 edges of the reduction cell; half or")
    assert ("All edges share parameters: 74% of a step" in text) == (share == 0.74)


@pytest.mark.parametrize("share", [0.74, 0.2, None])
def test_a_cell_of_one_operation_is_told_of_with_its_cause(share):
    pairs = [("sep_conv_5x5", 0), ("sep_conv_5x5", 1)] * 4
    other = [("sep_conv_3x3", 0), ("dil_conv_3x3", 1)] * 4
    cells = genotype.Genotype(pairs, (2, 3, 4, 5), other, (2, 3, 4, 5))
    epoch = {"epoch": 1, "entropy_normal": 1.0, "entropy_reduction": 1.0}
    epoch |= {"skip_connect_normal": 0, "skip_connect_reduction": 0}
    if share is not None:
        epoch |= {"common_share_normal": share, "common_share_reduction": share}
    (text,) = search_warnings(cells, [epoch], None, DARTS)
    assert text.startswith("sep_conv_5x5 takes 8 of the 8 edges of the normal cell.")
    is_told = "74% of a step is common" in text and "embedding.classifier=per_edge" in text
    assert is_told == (share == 0.74)


def test_cells_of_equal_probabilities_are_called_no_choice():
    pairs = [("skip_connect", 0), ("skip_connect", 1)] * 4
    cells = genotype.Genotype(pairs, (2, 3, 4, 5), pairs, (2, 3, 4, 5))
    epoch = {"epoch": 1, "entropy_normal": np.log(7), "entropy_reduction": 1.0}
    epoch |= {"skip_connect_normal": 8, "skip_connect_reduction": 8}
    probs = np.full((2, 14, 7), 1 / 7, np.float32)
    probs[1, 0, :2] = 0.1, 0.2
    equal, skips = search_warnings(cells, [epoch], probs, DARTS)
    assert "of the normal cell are all equal" in equal
    assert skips.startswith("skip_connect takes 8 of the 8 edges of the reduction cell")


def test_markdown_links_its_pictures(workdir):
    text = (workdir / "report.md").read_text()
    links = re.findall(r"!\[[^\n]*\]\((.*)\)", text)
    assert links == [
        f"{name}.png"
        for name in (
            "cell_normal",
            "cell_reduction",
            "curves",
            "operations",
            "heat",
            *PICTURES[2:4],
        )
    ]
    assert "| 3 | 1300.5 | 41.0 | 0.00833 | 0.6667 | 0.7000 | 30.00% | 28.00% |" in text


def test_report_can_be_made_again_to_the_same_bytes(workdir, tmp_path):
    again = tmp_path / workdir.name
    inputs = ("config.json", "environment.json", "metrics.jsonl", "genotype.json")
    again.mkdir()
    for name in (*inputs, "architecture.npz", "random_cells.json"):
        shutil.copy(workdir / name, again)
    for name in ("report.html", "cell_normal.svg"):
        (again / name).write_text("old")
    write_search_report(again, SIZES, COMMAND)
    files = {path.name: path.read_bytes() for path in workdir.iterdir()}
    assert {path.name: path.read_bytes() for path in again.iterdir()} == files


@pytest.mark.parametrize(
    "name",
    ["config.json", "environment.json", "metrics.jsonl", "genotype.json", "architecture.npz"],
)
def test_missing_file_is_refused_by_name(tmp_path, name):
    write_search(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    check_refused(tmp_path / "run", name, "no such file")


@pytest.mark.parametrize(
    "name, text, found",
    [
        ("config.json", "[]", "expected a JSON object"),
        ("config.json", "{", "not JSON"),
        ("environment.json", "{}", "device_kind"),
        ("genotype.json", '{"normal": []}', "normal_concat"),
        ("metrics.jsonl", "", "found none"),
        ("metrics.jsonl", '{"epoch": 1}\n{"epo', "line 2"),
        ("metrics.jsonl", "17", "line 1"),
        ("metrics.jsonl", '{"epoch": 4}', "epoch 4: expected the key seconds"),
        ("architecture.npz", "text", "archive"),
        ("random_cells.json", '{"found": 1, "random": {"x": "y"}}', "expected accuracies"),
    ],
)
def test_broken_file_is_refused_by_name(tmp_path, name, text, found):
    write_search(tmp_path / "run")
    (tmp_path / "run" / name).write_text(text)
    check_refused(tmp_path / "run", name, found)


def check_refused(workdir, name, found):
    before = sorted(workdir.iterdir())
    with pytest.raises(ValueError) as error:
        write_search_report(workdir, SIZES, COMMAND)
    message = str(error.value)
    assert name in message and found in message and "\n" not in message
    assert isinstance(error.value, InputError | errors.GenotypeError)
    assert sorted(workdir.iterdir()) == before  # refused before anything is drawn
