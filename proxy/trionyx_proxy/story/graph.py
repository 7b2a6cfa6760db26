"""A run as a graph: its prompt, its calls in order, where arguments came from, where labels rose, what that touched.

Nodes: `prompt`, `endorsement` (one for all that people vouched for), `earlier` (calls left out), `elsewhere` (calls
that are not in the log), and `call`. Edges: `provenance` from who vouches to the call, and `taint` from the call that
brought text of unknown writers to each later call that was stopped, or has an argument nobody trusted vouches for.
Strings are as recorded; `dot` and `drawing` make them harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.story.chronicle import Call, Chronicle, Ending, Origin
from trionyx_proxy.story.explanation import Basis, parts_changed
from trionyx_proxy.story.report import basis_json

SCHEMA: Final = "trionyx.graph/v1"
MAX_CALLS: Final = 200
"""Calls that are drawn unless another number is asked for; the last ones."""
MAX_EDGES: Final = 2_000
MAX_ORIGINS: Final = 4
"""Arguments that are named in a call's node."""
MAX_RULES: Final = 4

PROMPT, ENDORSEMENT, EARLIER, ELSEWHERE = "prompt", "endorsement", "earlier", "elsewhere"


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Args:
        id: the host's own, `prompt` or `c7`.
        kind: see above.
        title: what it is called.
        lines: what else is said of it.
        ending: of a call, as in its last record, or `withheld`; else "".
        rises: the parts of the label that it raised, with what they became.
        label: the run's label after it; None for what is no call.
    """

    id: str
    kind: str
    title: str
    lines: tuple[str, ...] = ()
    ending: str = ""
    rises: tuple[str, ...] = ()
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """From node to node; `notes` says which arguments came from where."""

    source: str
    target: str
    kind: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """A run as nodes, in the order in which they are to be drawn, and edges.

    Args:
        left_out: calls before the first one drawn.
        edges_left_out: whether there were more edges than are drawn.
    """

    run: str
    basis: Basis
    start: Label
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    left_out: int
    edges_left_out: bool


def graph_of(chronicle: Chronicle, basis: Basis, *, max_calls: int = MAX_CALLS) -> Graph:
    """Draw up the graph of a run.

    Args:
        chronicle: the run.
        basis: what its records rest on.
        max_calls: ≥ 1; of more calls the last ones are drawn.
    """
    calls = list(chronicle.calls.values())
    left_out = max(0, len(calls) - max_calls)
    drawn = {call.id: call for call in calls[left_out:]}
    edges: dict[tuple[str, str, str], list[str]] = {}
    for call in drawn.values():
        for origin in call.origins:
            for source, note in _sources(chronicle, drawn, origin):
                edges.setdefault((source, _id(call), "provenance"), []).append(note)
    taints = [rise.call for rise in chronicle.taints() if rise.call in chronicle.calls]
    for tainting in taints:
        first = chronicle.calls[tainting]
        source = _id(first) if first.id in drawn else EARLIER
        for call in drawn.values():
            if _is_touched(call, first):
                edges[source, _id(call), "taint"] = _unvouched(call)
    kept = [Edge(*key, notes=tuple(dict.fromkeys(notes))) for key, notes in edges.items()][:MAX_EDGES]
    used = {edge.source for edge in kept}
    nodes = [_outside(kind, chronicle, left_out) for kind in (PROMPT, ENDORSEMENT, EARLIER, ELSEWHERE)]
    always = {PROMPT} | ({EARLIER} if left_out else set())
    return Graph(
        chronicle.run,
        basis,
        chronicle.start,
        (
            *(node for node in nodes if node.id in used | always),
            *_call_nodes(chronicle, drawn.values()),
        ),
        tuple(kept),
        left_out,
        len(edges) > MAX_EDGES,
    )


def _id(call: Call) -> str:
    return f"c{call.number}"


def _sources(chronicle: Chronicle, drawn: dict[str, Call], origin: Origin) -> Iterable[tuple[str, str]]:
    for source in origin.sources:
        note = f"{origin.argument} <- {source.pointer}" if source.pointer else origin.argument
        match source.kind:
            case "prompt":
                yield PROMPT, origin.argument
            case "endorsement":
                yield ENDORSEMENT, origin.argument
            case _ if source.call in drawn:
                yield _id(drawn[source.call]), note
            case _:
                yield (EARLIER if source.call in chronicle.calls else ELSEWHERE), note


def _is_touched(call: Call, tainting: Call) -> bool:
    """Tell whether a call may bear the mark of what the tainting call brought: it was stopped, or is unvouched for."""
    if call.number <= tainting.number or call.seen is None or call.seen.integrity is not Integrity.PUBLIC:
        return False
    return call.ending is Ending.DENIED or call.questions > 0 or bool(_unvouched(call))


def _unvouched(call: Call) -> list[str]:
    return [origin.argument for origin in call.origins if not origin.is_trusted]


def _outside(kind: str, chronicle: Chronicle, left_out: int) -> Node:
    match kind:
        case "prompt":
            known = {True: "registered", False: "not registered", None: "no record says whether registered"}
            return Node(PROMPT, PROMPT, "the prompt", (known[chronicle.registered],))
        case "endorsement":
            return Node(ENDORSEMENT, ENDORSEMENT, "endorsed by a person or a rule")
        case "earlier":
            return Node(EARLIER, EARLIER, f"{left_out} earlier calls, not drawn")
        case _:
            return Node(ELSEWHERE, ELSEWHERE, "calls that are not in this log")


def _call_nodes(chronicle: Chronicle, calls: Iterable[Call]) -> Iterable[Node]:
    rises: dict[str, list[str]] = {}
    labels: list[tuple[int, Label]] = [(rise.seq, rise.after) for rise in chronicle.rises]
    for rise in chronicle.rises:
        after = rise.after.to_json()
        for part in parts_changed(rise.before, rise.after):
            value = after[part]
            words = value if isinstance(value, str) else ", ".join(value[:MAX_RULES]) or "nobody"
            rises.setdefault(rise.call, []).append(f"{part} to {words}")
    place = 0
    label = chronicle.start
    for call in calls:
        # Calls begin in the order in which they are listed, so the rises are gone through once.
        begun = min(call.seqs, default=-1)
        while place < len(labels) and labels[place][0] <= begun:
            label = labels[place][1]
            place += 1
        raised = tuple(rises.get(call.id, ()))
        yield Node(
            _id(call),
            "call",
            f"{call.number}  {call.tool or call.subject or 'a call without a tool'}",
            tuple(_lines(chronicle, call)),
            _ending(call),
            raised,
            label,
        )


def _ending(call: Call) -> str:
    return (
        "withheld" if call.withheld and call.ending in (Ending.OK, Ending.TOOL_ERROR) else call.ending.value
    )


def _lines(chronicle: Chronicle, call: Call) -> Iterable[str]:
    yield f"call {call.id}"
    rules = call.refused_by or (call.decision.rules if call.decision else ())
    if rules:
        yield f"rules {' '.join(rules[:MAX_RULES])}{' …' if len(rules) > MAX_RULES else ''}"
    if call.consent.by:
        yield f"approved by {call.consent.by}"
    # One argument may have several roles from one place, which reads the same.
    yield from dict.fromkeys(
        f"{origin.argument} <- {_place(chronicle, origin)}" for origin in call.origins[:MAX_ORIGINS]
    )
    if len(call.origins) > MAX_ORIGINS:
        yield f"and {len(call.origins) - MAX_ORIGINS} more arguments"


def _place(chronicle: Chronicle, origin: Origin) -> str:
    if not origin.sources:
        return "nobody trusted"
    source = origin.sources[0]
    if source.kind not in ("result", "handle"):
        return source.kind
    other = chronicle.calls.get(source.call)
    return f"{other.number if other else source.call} {source.pointer}".strip()


def to_json(graph: Graph) -> dict[str, object]:
    """Return the stable form of a graph."""
    return {
        "schema": SCHEMA,
        "run": graph.run,
        "log": basis_json(graph.basis),
        "start": graph.start.to_json(),
        "left_out": {"calls": graph.left_out, "edges": graph.edges_left_out},
        "nodes": [
            {
                "id": node.id,
                "kind": node.kind,
                "title": node.title,
                "lines": list(node.lines),
                "ending": node.ending,
                "rises": list(node.rises),
            }
            for node in graph.nodes
        ],
        "edges": [
            {"source": edge.source, "target": edge.target, "kind": edge.kind, "notes": list(edge.notes)}
            for edge in graph.edges
        ],
    }
