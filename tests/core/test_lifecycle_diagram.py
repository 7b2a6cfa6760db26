"""The Mermaid diagram shows the table: every row that does something, and nothing else."""

from __future__ import annotations

import re

from trionyx_proxy.core.call import State
from trionyx_proxy.core.lifecycle import ROWS, Guard, diagram

ARROW = re.compile(r"^    (\[\*\]|\w+) --> (\[\*\]|\w+)(?: : (.+))?$")


def arrows() -> dict[tuple[str, str], list[str]]:
    found = [match for line in diagram().splitlines() if (match := ARROW.match(line))]
    assert len({match.group(1, 2) for match in found}) == len(found), "one arrow per pair of states"
    return {(match[1], match[2]): (match[3] or "").split("<br/>") for match in found}


def test_each_row_that_does_something_is_one_line_of_one_arrow() -> None:
    drawn = arrows()
    assert drawn.pop(("DONE", "[*]")) == [""]
    lines = sum(len(labels) for labels in drawn.values())
    assert lines == sum(bool(row.steps) for row in ROWS)
    for row in ROWS:
        if row.steps:
            source = "[*]" if row.state is State.NEW else row.state.name
            guard = "" if row.guard is Guard.ALWAYS else f" [{row.guard.value}]"
            label = f"{row.event.__name__}{guard} / {', '.join(step.value for step in row.steps)}"
            assert label in drawn[source, row.next.name]


def test_every_line_is_a_declaration_or_an_arrow() -> None:
    first, *rest = diagram().splitlines()
    assert first == "stateDiagram-v2"
    for line in rest:
        assert ARROW.match(line) or re.fullmatch(r'    state "[a-z ]+" as [A-Z_]+', line), line


def test_labels_hold_nothing_that_mermaid_reads_as_syntax() -> None:
    for labels in arrows().values():
        for label in labels:
            assert not set(label) & set(":;{}\"'#%"), label
