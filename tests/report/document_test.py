"""Documents escape all that they show, and ask no other server for anything."""

import html

import pytest

from nge_jax.errors import InputError
from nge_jax.report.document import (
    Beside,
    Caution,
    Code,
    Document,
    Picture,
    Section,
    Table,
    Text,
    to_html,
    to_markdown,
)
from tests.helpers.page import Page

EVIL = '<script y="&">'
SVG = '<?xml?><svg viewBox="0 0 72 72" width="1" style="a: b"><g id="a"/><use href="#a"/></svg>'


def document(*blocks) -> Document:
    sections = [Section(EVIL, blocks), Section(EVIL + "2", blocks, folded=True)]
    return Document(EVIL, EVIL, [(EVIL, EVIL)], sections)


def every_block() -> list:
    blocks = [Text(EVIL), Caution(EVIL), Code(EVIL), Code(EVIL, summary=EVIL)]
    pictures = [Picture("p", EVIL, EVIL), Beside([Picture("p", EVIL, EVIL)] * 2)]
    return [*blocks, *pictures, Table([EVIL], [[EVIL]])]


def test_every_block_is_escaped_in_html(tmp_path):
    (tmp_path / "p.svg").write_text(SVG)
    page = Page(to_html(document(*every_block()), tmp_path))
    assert "script" not in page.tags
    # title, headline and links; then for each section its own title, ten texts and three aria-labels
    assert page.text.count(EVIL) == 2 + 4 + 2 + 2 * (1 + 10)
    assert page.labels.count(EVIL) == 2 * 3


def test_every_block_is_escaped_in_markdown():
    blocks = [block for block in every_block() if not isinstance(block, Code)]
    text = to_markdown(document(*blocks))
    assert "<" not in text
    # the headline's four; then for each section its own title and ten texts
    assert text.count(html.escape(EVIL, quote=False)) == 4 + 2 * (1 + 10)


def test_code_in_markdown_cannot_end_its_block():
    text = to_markdown(Document("a", "b", [], [Section("c", [Code("````\n<i>\n")])]))
    assert text.endswith("## c\n\n`````\n````\n<i>\n`````\n")


def test_markdown_shows_signs_as_they_are():
    blocks = [Text("a_b *c* [d] | `e`\n\nf"), Table(["x_y"], [["1|2"]])]
    text = to_markdown(Document("a", "b", [("c", "d")], [Section("e", blocks)]))
    assert text == (
        "# a: b\n\n|  |  |\n| --- | --- |\n| c | d |\n\n## e\n\n"
        "a\\_b \\*c\\* \\[d\\] \\| \\`e\\` f\n\n| x\\_y |\n| --- |\n| 1\\|2 |\n"
    )


def test_a_page_forbids_itself_all_resources(tmp_path):
    (tmp_path / "p.svg").write_text(SVG)
    text = to_html(document(*every_block()), tmp_path)
    assert "default-src 'none'" in text and "@import" not in text and "http" not in Page(text).text
    assert Page(text).references == ["#script-y", "#script-y-2", *["#p-a"] * 6]


def test_a_picture_keeps_its_style_and_has_another_for_narrow_screens(tmp_path):
    (tmp_path / "p.svg").write_text(SVG)
    (tmp_path / "q.svg").write_text(SVG)
    picture = Picture("p", "alt", "caption", narrow_stem="q")
    text = to_html(Document("a", "b", [], [Section("c", [picture])]), tmp_path)
    assert 'class="scroll wide"' in text and 'class="scroll narrow"' in text
    page = Page(text)
    assert page.labels[-2:] == ["alt", "alt"] and {"p-a", "q-a"} < set(page.ids)
    assert text.count('style="a: b;min-width:53px;max-width:115px"') == 2


def test_a_picture_without_a_size_is_refused(tmp_path):
    (tmp_path / "p.svg").write_text("<svg></svg>")
    with pytest.raises(InputError, match=r"p\.svg: expected a viewBox"):
        to_html(document(Picture("p", "", "")), tmp_path)


def test_columns_of_numbers_are_set_to_the_right(tmp_path):
    table = Table(
        ["name", "n", "share"],
        [["a", "1,234", "-1.5%"], ["1", "5e-06", "0.1 ± 0.02"], ["", "–", "absent"]],
    )
    text = to_html(Document("a", "b", [], [Section("c", [table])]), tmp_path)
    assert '<td class="text short">a</td><td class="number">1,234</td>' in text
    assert text.count('<th scope="col" class="number">') == 2
    empty = to_html(Document("a", "b", [], [Section("c", [Table(["name"], [])])]), tmp_path)
    assert '<th scope="col" class="text">name</th>' in empty
