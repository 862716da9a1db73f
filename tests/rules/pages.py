"""The documentation as the rules read it: its pages, their code, tables, links and headings."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from tests.rules.sources import ROOT, name, tracked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^|\n\n)((?: {4}[^\n]*\n)+)")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"")


@cache
def pages() -> dict[str, str]:
    """Return the text of every page for readers: the README, and what is in ``docs``."""
    chosen = [
        p for p in tracked() if p.suffix == ".md" and (p.parent == ROOT or p.relative_to(ROOT).parts[0] == "docs")
    ]
    return {name(path): path.read_text(encoding="utf-8") for path in chosen if path.name != "CHANGELOG.md"}


def everything() -> str:
    """Return all pages as one text."""
    return "\n".join(pages().values())


def page(path: str) -> str:
    """Return one page; a missing one is empty."""
    return pages().get(path, "")


def blocks(text: str, *languages: str) -> list[str]:
    """Return the fenced blocks of these languages."""
    return [body for _, language, body in _FENCE.findall(text) if language in languages]


def spans(text: str) -> list[str]:
    """Return what stands between single backticks, outside of blocks."""
    return _SPAN.findall(_FENCE.sub("", text))


def code_lines(text: str) -> Iterator[str]:
    """Yield every line of code: of blocks, with prompts taken off and continued lines joined, and of spans."""
    bodies = [body for _, _, body in _FENCE.findall(text)] + _INDENTED.findall(_FENCE.sub("", text))
    for body in bodies:
        for line in body.replace("\\\n", " ").splitlines():
            yield re.sub(r"^\s*(?:\$ )?", "", line)
    yield from spans(text)


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def links(text: str) -> list[str]:
    """Return the targets of links and images, outside of blocks."""
    plain = _FENCE.sub("", text)
    return _LINK.findall(plain) + ["".join(found) for found in _IMAGE.findall(plain)]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?)\s*$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
