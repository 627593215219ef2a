"""Reads a report's HTML for the tests."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Holds what the tests ask of a page: ids, references, tags, labels and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.references, self.tags, self.text, self.labels = [], [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href", "src", "srcset", "action", "data"):
                self.references.append(value)
            if name == "aria-label":
                self.labels.append(value)
            self.references += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_data(self, data: str) -> None:
        self.text += data
