"""The text of an HTML mail, in linear time.

The standard library's HTML parser takes minutes for half a megabyte of "<", and mail comes from strangers. Little is needed
of a page: where lines end, what is quoted, what is never shown.
"""

import re
from collections.abc import Iterator
from html import unescape

# Each way of a tag ends at the next "<" at the latest, and nothing is tried twice.
_TAG = re.compile(r"""(<(?>[^<>"']|"[^"<]*"|'[^'<]*')*+>|<[^<>]*+>)""")
_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_CITED = re.compile(r"\stype\s*=|gmail_quote|protonmail_quote", re.IGNORECASE)
_SKIPPED = frozenset({"head", "script", "style", "template", "title"})
_PARAGRAPHS = frozenset({"blockquote", "h1", "h2", "h3", "ol", "p", "pre", "table", "ul"})
_LINES = _PARAGRAPHS | frozenset({"address", "article", "dd", "div", "dl", "dt", "hr", "li", "section", "tr"})


def text_of_html(page: str) -> str:
    """Return the text of a page; what is cited gets the ">" that it has in plain text. A broken page is read as it goes."""
    out = _Lines()
    skipped: str | None = None
    for closing, name, tag, text in _tokens(page):
        if skipped is not None:
            skipped = None if closing and name == skipped else skipped
        elif name in _SKIPPED:
            skipped = None if closing else name
        elif name:
            out.element(name, tag, closing=closing)
        else:
            out.write(unescape(text))
    return "\n".join(line.rstrip() for line in out.lines).strip("\n")


def _tokens(page: str) -> Iterator[tuple[bool, str, str, str]]:
    """Yield each tag as (whether it closes, name, tag, "") and each text as (False, "", "", text)."""
    for index, piece in enumerate(_TAG.split(_without_comments(page))):
        found = _NAME.match(piece) if index % 2 else None
        if found:
            yield bool(found[1]), found[2].lower(), piece, ""
        elif not (index % 2 and piece[1:2] in ("!", "?")):
            yield False, "", "", piece


def _without_comments(page: str) -> str:
    kept: list[str] = []
    at = 0
    while (begin := page.find("<!--", at)) >= 0 and (end := page.find("-->", begin + 4)) >= 0:
        kept.append(page[at:begin])
        at = end + 3
    return "".join((*kept, page[at:]))


class _Lines:
    """Lines of text as a browser would break them."""

    def __init__(self) -> None:
        self.lines = [""]
        self._pre = False
        self._cited: list[bool] = []

    def element(self, name: str, tag: str, *, closing: bool) -> None:
        """Begin or end an element, also one that was never begun."""
        if name == "br":
            self._end_line(blank=True)
        elif name in _LINES:
            self._end_line(blank=name in _PARAGRAPHS)
        if name == "pre":
            self._pre = not closing
        elif name == "li" and not closing:
            self.write("- ")
        elif name == "blockquote" and not closing:
            self._cited.append(_CITED.search(tag) is not None)
        elif name == "blockquote" and self._cited:
            self._cited.pop()

    def write(self, text: str) -> None:
        """Take text in, its white space as a browser shows it."""
        lines = text.split("\n") if self._pre else [re.sub(r"[ \t\r\n\f]+", " ", text)]
        for index, line in enumerate(lines):
            if index:
                self._end_line(blank=True)
            if self.lines[-1]:
                self.lines[-1] += line
            elif shown := line if self._pre else line.lstrip(" "):
                self.lines[-1] = f"> {shown}" if any(self._cited) else shown

    def _end_line(self, *, blank: bool) -> None:
        """End the line that has something on it; with `blank` leave one free after that."""
        if self.lines[-1] or (blank and len(self.lines) > 1 and self.lines[-2]):
            self.lines.append("")
