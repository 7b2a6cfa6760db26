"""A graph as SVG, without an outside program: time runs downwards, each call is a box.

A call's box names its outcome, its rules and where its arguments came from. Curves at the right lead from who
vouches to the call (provenance), dashed ones at the left from the call that brought text of unknown writers to what
it touched (taint). The rail at the far left has the colour of the run's integrity at that time.

The document is built as a tree, so that a library escapes what stands in it, and holds no script, link, or
reference to anything outside itself. The same graph gives the same bytes.

Source: SVG 1.1; WAI-ARIA Graphics (role, title, desc).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from trionyx_proxy.core.label import Label
from trionyx_proxy.story.graph import Edge, Graph, Node
from trionyx_proxy.story.palette import RAIL, STROKES, fill, heading, status
from trionyx_proxy.story.plaintext import ascii_only

LINE_CHARS: Final = 84
MAX_NOTES: Final = 6
MAX_LANES: Final = 40
"""Curves side by side; further ones share the outermost lane."""

_CHAR = 7
_LINE = 16
_PAD = 8
_GAP = 14
_LANE = 12
_RAIL_X = 14
_BOX = LINE_CHARS * _CHAR + 2 * _PAD
_TOP = 16


@dataclass(frozen=True, slots=True)
class _Box:
    node: Node
    lines: tuple[str, ...]
    top: int
    height: int

    @property
    def out(self) -> int:
        """Where curves leave."""
        return self.top + self.height - _PAD

    @property
    def into(self) -> int:
        """Where curves arrive."""
        return self.top + _PAD


def svg(graph: Graph) -> str:
    """Return the SVG document of a graph."""
    head = [ascii_only(line, LINE_CHARS) for line in heading(graph)]
    boxes, bottom = _boxes(graph.nodes, _TOP + len(head) * _LINE + _GAP)
    taint = _lanes([edge for edge in graph.edges if edge.kind == "taint"], boxes)
    flow = _lanes([edge for edge in graph.edges if edge.kind != "taint"], boxes)
    left = _RAIL_X + 3 * _LANE + _LANE * max((lane for _, lane in taint), default=-1)
    right = left + _BOX
    width = right + 4 * _LANE + _LANE * max((lane for _, lane in flow), default=0)
    root = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "role": "img",
            "aria-labelledby": "title desc",
            "width": str(width),
            "height": str(bottom),
            "viewBox": f"0 0 {width} {bottom}",
            "font-family": "ui-monospace, monospace",
            "font-size": "12",
        },
    )
    SubElement(root, "title", {"id": "title"}).text = ", ".join(head)
    SubElement(root, "desc", {"id": "desc"}).text = _description(graph)
    _arrows(root)
    SubElement(root, "rect", {"width": str(width), "height": str(bottom), "fill": "#ffffff"})
    for place, line in enumerate(head):
        _line(root, left, _TOP + (place + 1) * _LINE, line, bold=place == 0)
    _rail(root, graph.start, boxes.values(), bottom)
    for edge, lane in flow:
        _curve(root, edge, boxes, edge_x=right, lane_x=right + 2 * _LANE + lane * _LANE)
    for edge, lane in taint:
        _curve(root, edge, boxes, edge_x=left, lane_x=left - _LANE - lane * _LANE)
    for box in boxes.values():
        _draw(root, box, left)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _boxes(nodes: Iterable[Node], top: int) -> tuple[dict[str, _Box], int]:
    boxes: dict[str, _Box] = {}
    for node in nodes:
        said = status(node)
        lines = [f"{node.title}  [{said}]" if said else node.title, *node.lines]
        lines += [f"raises {rise}" for rise in node.rises]
        cut = tuple(ascii_only(line, LINE_CHARS) for line in lines)
        height = len(cut) * _LINE + 2 * _PAD
        boxes[node.id] = _Box(node, cut, top, height)
        top += height + _GAP
    return boxes, top


def _lanes(edges: list[Edge], boxes: dict[str, _Box]) -> list[tuple[Edge, int]]:
    """Give each edge the innermost lane that is free over its whole length, short edges first."""

    def span(edge: Edge) -> tuple[int, int]:
        ends = boxes[edge.source].out, boxes[edge.target].into
        return min(ends), max(ends)

    taken: list[list[tuple[int, int]]] = []
    placed: list[tuple[Edge, int]] = []
    for edge in sorted(edges, key=lambda edge: (span(edge)[1] - span(edge)[0], edge.target, edge.source)):
        low, high = span(edge)
        free = (
            lane for lane, spans in enumerate(taken) if all(high < start or end < low for start, end in spans)
        )
        lane = next(free, len(taken))
        if lane == len(taken) < MAX_LANES:
            taken.append([])
        lane = min(lane, MAX_LANES - 1)
        taken[lane].append((low, high))
        placed.append((edge, lane))
    return placed


def _arrows(root: Element) -> None:
    definitions = SubElement(root, "defs")
    for kind, colour in STROKES.items():
        marker = SubElement(
            definitions,
            "marker",
            {
                "id": kind,
                "viewBox": "0 0 8 8",
                "refX": "7",
                "refY": "4",
                "markerWidth": "7",
                "markerHeight": "7",
                "orient": "auto",
            },
        )
        SubElement(marker, "path", {"d": "M0 0L8 4L0 8z", "fill": colour})


def _curve(root: Element, edge: Edge, boxes: dict[str, _Box], *, edge_x: int, lane_x: int) -> None:
    start, end = boxes[edge.source].out, boxes[edge.target].into
    attributes = {
        "d": f"M{edge_x} {start}C{lane_x} {start} {lane_x} {start} {lane_x} {start + _PAD}"
        f"V{end - _PAD}C{lane_x} {end} {lane_x} {end} {edge_x} {end}",
        "fill": "none",
        "stroke": STROKES[edge.kind],
        "marker-end": f"url(#{edge.kind})",
    }
    if edge.kind == "taint":
        attributes["stroke-dasharray"] = "4 3"
    path = SubElement(root, "path", attributes)
    notes = [ascii_only(note, LINE_CHARS) for note in edge.notes[:MAX_NOTES]]
    SubElement(path, "title").text = "; ".join([f"{edge.kind} {edge.source} to {edge.target}", *notes])


def _rail(root: Element, start: Label, boxes: Iterable[_Box], bottom: int) -> None:
    """Draw the run's integrity over time: each stretch in the colour that it has from that call on."""
    marks = [(_TOP, start)]
    marks += [(box.top, box.node.label) for box in boxes if box.node.label is not None]
    ends = [top for top, _ in marks[1:]] + [bottom - _GAP]
    for (top, label), end in zip(marks, ends, strict=True):
        stretch = SubElement(
            root,
            "rect",
            {
                "x": str(_RAIL_X - 4),
                "y": str(top),
                "width": "8",
                "height": str(max(end - top, 0)),
                "fill": RAIL[label.integrity],
            },
        )
        SubElement(stretch, "title").text = f"integrity {label.integrity.name.lower()}"


def _draw(root: Element, box: _Box, left: int) -> None:
    group = SubElement(root, "g", {"role": "group"})
    SubElement(group, "title").text = box.lines[0]
    shape = {
        "x": str(left),
        "y": str(box.top),
        "width": str(_BOX),
        "height": str(box.height),
        "rx": "3" if box.node.kind == "call" else "12",
        "fill": fill(box.node),
        "stroke": "#444444",
    }
    SubElement(group, "rect", shape)
    for place, line in enumerate(box.lines):
        _line(group, left + _PAD, box.top + _PAD + (place + 1) * _LINE - 4, line, bold=place == 0)


def _line(parent: Element, x: int, y: int, text: str, *, bold: bool) -> None:
    attributes = {"x": str(x), "y": str(y), "xml:space": "preserve"}
    if bold:
        attributes["font-weight"] = "bold"
    SubElement(parent, "text", attributes).text = text


def _description(graph: Graph) -> str:
    calls = [node for node in graph.nodes if node.kind == "call"]
    ended = {said: sum(status(node) == said for node in calls) for said in sorted(map(status, calls))}
    counts = ", ".join(f"{count} {said}" for said, count in ended.items()) or "none"
    return (
        f"{len(calls)} calls from top to bottom in the order in which they came: {counts}. Solid curves lead from "
        "where an argument came from to the call; dashed curves from the call that brought text of unknown writers "
        "to the calls it touched. The rail at the left shows by colour who may have written what the run had seen."
    )
