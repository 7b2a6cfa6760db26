r"""A graph as Graphviz DOT text; needs no Graphviz.

All ids are the host's own, and every received string stands in a quoted label as printable ASCII in which quotation
marks, backslashes and ampersands are escaped: neither DOT syntax nor Graphviz' own escapes (`\N`, `\G`, `&lt;`)
can come from a record.

Source: https://graphviz.org/doc/info/lang.html, https://graphviz.org/docs/attr-types/escString/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from trionyx_proxy.story.graph import Edge, Graph, Node
from trionyx_proxy.story.palette import STROKES, fill, heading, status
from trionyx_proxy.story.plaintext import ascii_only

LINE_CHARS: Final = 72
MAX_NOTES: Final = 6


def dot(graph: Graph) -> str:
    """Return the DOT text of a graph."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield "digraph run {"
    yield f"  graph [rankdir=TB, labelloc=t, fontname=monospace, label={_text(heading(graph))}];"
    yield "  node [shape=box, style=filled, fontname=monospace, fontsize=10];"
    yield "  edge [fontname=monospace, fontsize=8];"
    for node in graph.nodes:
        yield f"  {node.id} [{_shape(node)}fillcolor={_text([fill(node)])}, label={_text(_node(node))}];"
    calls = [node.id for node in graph.nodes if node.kind == "call"]
    for before, after in pairwise(calls):
        yield f"  {before} -> {after} [style=invis, weight=10];"
    for edge in graph.edges:
        notes = f", label={_text(edge.notes[:MAX_NOTES])}" if edge.notes else ""
        yield f"  {edge.source} -> {edge.target} [{_style(edge)}{notes}];"
    yield "}"


def _node(node: Node) -> list[str]:
    said = status(node)
    return [
        node.title,
        *([said] if said else []),
        *node.lines,
        *(f"raises {rise}" for rise in node.rises),
    ]


def _shape(node: Node) -> str:
    return "" if node.kind == "call" else "shape=oval, "


def _style(edge: Edge) -> str:
    colour = f'color="{STROKES[edge.kind]}"'
    return f"{colour}, style=dashed, constraint=false" if edge.kind == "taint" else colour


def _text(lines: Iterable[str]) -> str:
    r"""Return a quoted string of several lines; `\l` ends a line and sets it to the left."""
    return '"' + "\\l".join(_escape(ascii_only(line, LINE_CHARS)) for line in lines) + '"'


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
