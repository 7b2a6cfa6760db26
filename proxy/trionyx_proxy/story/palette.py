"""Colours and words that both pictures of a graph share; colour never says what words do not say as well.

Source: WCAG 2.2, 1.4.1 (use of colour) and 1.4.3 (contrast): black text on each fill has a contrast above 7 : 1.
"""

from __future__ import annotations

from typing import Final

from trionyx_proxy.core.label import Integrity
from trionyx_proxy.story.explanation import Trust
from trionyx_proxy.story.graph import Graph, Node

_FILLS: Final = {
    "ok": "#d7f0dd",
    "tool_error": "#fdeec2",
    "failed": "#fdeec2",
    "cancelled": "#e6e6e6",
    "in_doubt": "#fbdcc0",
    "denied": "#f9cfcc",
    "withheld": "#f9cfcc",
    "asked": "#dcd9f7",
    "open": "#e6e6e6",
}
_OUTSIDE: Final = "#dbe9f8"
_WORDS: Final = {
    "ok": "done",
    "tool_error": "the tool reported an error",
    "failed": "no usable result",
    "cancelled": "withdrawn",
    "in_doubt": "in doubt: may have taken effect",
    "denied": "DENIED",
    "withheld": "result withheld",
    "asked": "a person was asked, no answer on record",
    "open": "no end on record",
}
RAIL: Final = {
    Integrity.USER: "#2e7d4f",
    Integrity.SYSTEM: "#2f6fb0",
    Integrity.ORG: "#c08a00",
    Integrity.PUBLIC: "#b3261e",
}
"""By who may have written what the run has seen."""

STROKES: Final = {"provenance": "#1f4e79", "taint": "#b3261e"}
"""Of edges, by kind."""


def fill(node: Node) -> str:
    """Return the colour of a node."""
    return _FILLS.get(node.ending, _OUTSIDE)


def status(node: Node) -> str:
    """Return how a call ended, in words; "" for what is no call."""
    return _WORDS.get(node.ending, "")


def heading(graph: Graph) -> list[str]:
    """Return what stands above a picture: the run, and whether its log can be relied on."""
    trust = {
        Trust.VERIFIED: "log verified",
        Trust.UNCHECKED: "log NOT VERIFIED",
        Trust.DAMAGED: "log DOES NOT VERIFY",
    }[graph.basis.trust]
    lines = [f"run {graph.run}", f"log {graph.basis.origin}", trust]
    if graph.left_out:
        lines.append(f"{graph.left_out} earlier calls are not drawn")
    if graph.edges_left_out:
        lines.append("some edges are not drawn")
    return lines
