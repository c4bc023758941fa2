"""Figures, tables and lines of a report as HTML, without anything that is loaded from elsewhere."""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

from hpcrefine.report.writing import TEXT_COLUMNS, Grid, Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_UNWANTED = {f"{{{_SVG}}}{name}" for name in ("metadata", "style", "title")}
_REFERENCE = re.compile(r"url\(#")
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")
_COORDINATES = ("d", "x", "y")
_HEADS = ("note: ", "warning: ")


def picture(figure: "Figure", prefix: str, label: str) -> str:
    """Return a figure as inline SVG: letters as paths, so that it looks the same everywhere.

    Parameters
    ----------
    figure : Figure
    prefix : str
        Goes before each id, unique on the page.
    label : str
        What those hear who do not see it.
    """
    from hpcrefine.report.style import as_svg

    out = io.BytesIO(as_svg(figure))
    root = ET.parse(out).getroot()
    for parent in root.iter():
        for child in [child for child in parent if child.tag in _UNWANTED]:
            parent.remove(child)
    for element in root.iter():
        _localise(element, prefix)
    root.attrib = {
        "viewBox": root.get("viewBox", ""),
        "style": f"--width: {root.get('width', '')}",
        "role": "img",
        "aria-label": label,
    }
    ET.register_namespace("", _SVG)
    return ET.tostring(root, encoding="unicode")


def _localise(element: ET.Element, prefix: str) -> None:
    """Make an element's ids and references those of its figure, and everything short."""
    given, element.attrib = element.attrib, {}
    element.text = element.tail = None
    for name, value in given.items():
        if name == "id" and element.tag != f"{{{_SVG}}}g":  # nothing refers to a group
            element.set(name, prefix + value)
        elif name == f"{{{_LINK}}}href":
            element.set("href", f"#{prefix}{value.removeprefix('#')}")
        elif name in _COORDINATES:
            element.set(name, " ".join(_LONG_NUMBER.sub(r"\1", value).split()))
        elif name != "id":
            element.set(name, _REFERENCE.sub(f"url(#{prefix}", value))


def figure(drawn: str, caption: str) -> str:
    """Put a caption under a picture."""
    return (
        f'<figure><div class="picture">{drawn}</div>\n'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(grid: Grid, caption: str = "") -> str:
    """Return a table, in a box of its own that scrolls; columns of text stand to the left."""
    kinds = ["text" if heading in TEXT_COLUMNS else "number" for heading in grid.headings]
    heads = "".join(
        f'<th scope="col" class="{kind}">{escape(heading)}</th>'
        for heading, kind in zip(grid.headings, kinds, strict=True)
    )
    rows = "\n".join(_row(cells, kinds) for cells in grid.rows)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        '<div class="table" tabindex="0" role="region" aria-label="table">'
        f"<table>{said}<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _row(cells: Iterable[str], kinds: Iterable[str]) -> str:
    first, *others = zip(cells, kinds, strict=True)
    head = f'<th scope="row" class="{first[1]}">{escape(first[0])}</th>'
    return (
        "<tr>"
        + head
        + "".join(f'<td class="{kind}">{escape(cell)}</td>' for cell, kind in others)
        + "</tr>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values."""
    rows = "\n".join(
        f'<tr><th scope="row" class="text">{escape(name)}</th><td class="text">{escape(value)}</td>'
        "</tr>"
        for name, value in pairs
    )
    return f'<div class="table"><table class="facts"><tbody>\n{rows}\n</tbody></table></div>'


def lines(said: Iterable[Line]) -> Iterator[str]:
    """Yield what stands for lines of a report: tables, paragraphs, and lists of notes."""
    notes: list[str] = []
    words: list[str] = []
    for line in said:
        if isinstance(line, Grid):
            yield from _paragraph(words)
            yield table(line)
        elif line.startswith(_HEADS):
            notes.append(line)
        elif line:
            words.append(line)
        else:
            yield from _paragraph(words)
    yield from _paragraph(words)
    if notes:
        yield items(notes)


def _paragraph(words: list[str]) -> Iterator[str]:
    """Yield what has been gathered, each line on its own; then nothing is."""
    if words:
        yield "<p>" + "<br>\n".join(map(escape, words)) + "</p>"
    words.clear()


def items(notes: Iterable[str]) -> str:
    """Return notes and warnings as a list."""
    listed = "\n".join(
        f'<li class="{"warning" if note.startswith("warning: ") else "note"}">{escape(note)}</li>'
        for note in notes
    )
    return f'<ul class="notes">\n{listed}\n</ul>'


def details(summary: str, inside: str) -> str:
    """Return something that is shown when it is asked for."""
    return f"<details><summary>{escape(summary)}</summary>\n{inside}\n</details>"


def verbatim(text: str) -> str:
    """Return text as it stands."""
    return f'<pre tabindex="0">{escape(text)}</pre>'
